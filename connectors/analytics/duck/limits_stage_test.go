//go:build cgo

package duck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// probeMode is a child with the places of a build that tries what a build that
// was taken over would.
const probeMode = "probe"

// probe answers with what it could do, as the problems of a build.
func probe(_ context.Context, r wire.BuildRequest, unconfined string) wire.BuildReply {
	reply := wire.BuildReply{Unconfined: unconfined}
	try := func(what string, err error) {
		outcome := "done"
		if err != nil {
			outcome = "refused"
		}
		reply.Problems = append(reply.Problems, connectors.Problem{Table: what, Found: outcome})
	}
	reads := func(name string) error { _, err := os.ReadFile(name); return err }
	writes := func(name string) error { return os.WriteFile(name, []byte("x"), 0o600) }
	outside := filepath.Dir(r.To)
	try("read what the run left", reads(filepath.Join(r.From.Dir, "left.csv")))
	try("write the generation", writes(filepath.Join(r.To, "made")))
	try("write a temporary file", writes(filepath.Join(r.Limits.TempDir, "made")))
	try("link from the generation before", os.Link(filepath.Join(r.BeforeDir, "part"), filepath.Join(r.To, "part")))
	try("read /etc/shadow", reads("/etc/shadow"))
	try("read beside", reads(filepath.Join(outside, "secret")))
	try("read the environment of another process", reads(fmt.Sprintf("/proc/%d/environ", os.Getppid())))
	try("write beside", writes(filepath.Join(outside, "made")))
	try("change what the run left", writes(filepath.Join(r.From.Dir, "left.csv")))
	try("add to what the run left", writes(filepath.Join(r.From.Dir, "more.csv")))
	try("add to the generation before", writes(filepath.Join(r.BeforeDir, "more")))
	try("remove from the generation before", os.Remove(filepath.Join(r.BeforeDir, "part")))
	try("take a file out", os.Rename(filepath.Join(r.To, "made"), filepath.Join(outside, "taken")))
	try("run a program", exec.Command("/bin/true").Run())
	conn, err := net.DialTimeout("tcp", r.From.Source, time.Second)
	if err == nil {
		_ = conn.Close()
	}
	try("connect", err)
	_, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	try("make a socket", err)
	try("be root elsewhere", unix.Chroot(r.To))
	try("mount", unix.Mount("none", r.To, "tmpfs", 0, ""))
	try("trace the parent", unix.PtraceAttach(os.Getppid()))
	try("have rights", rights())
	return reply
}

// rights fails when the process, in none of its threads, has any that it could
// use or get.
func rights() error {
	threads, err := filepath.Glob("/proc/self/task/*/status")
	if err != nil || len(threads) < 2 {
		return fmt.Errorf("there are %d threads: %w", len(threads), err)
	}
	for _, thread := range threads {
		status, err := os.ReadFile(thread)
		if err != nil {
			return nil // it is not shown to have none
		}
		for _, none := range []string{"CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
			if !strings.Contains(string(status), none) {
				return nil
			}
		}
	}
	return errors.New("there are none")
}

// oneJob starts this binary as a child with a job to do once.
func oneJob(t *testing.T, mode string, request, reply any) string {
	t.Helper()
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env, cmd.Stderr = []string{childMode + "=" + mode, "TMPDIR=" + t.TempDir()}, &said
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	err := wire.WriteMessage(in, request)
	_ = in.Close()
	if err == nil {
		var content []byte
		if _, content, err = wire.ReadFrame(out); err == nil {
			err = json.Unmarshal(content, reply)
		}
	}
	_, _ = io.Copy(io.Discard, out)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatalf("%s: %v\n%s", mode, err, said.String())
	}
	return said.String()
}

// landlocked reports which version of Landlock the kernel has; 0: none.
func landlocked() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// TestBuildReachesItsPlacesOnly: whatever takes a build over gets at nothing that
// the build does not need. What the kernel lacks has to be told; all the rest
// holds without it.
func TestBuildReachesItsPlacesOnly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	r := wire.BuildRequest{To: filepath.Join(root, "to"), BeforeDir: filepath.Join(root, "before"), Before: &connectors.Manifest{},
		From: connectors.Publication{Dir: filepath.Join(root, "from"), Source: listener.Addr().String()}, Limits: wire.BuildLimits{TempDir: filepath.Join(root, "temp")}}
	for _, dir := range []string{r.To, r.BeforeDir, r.From.Dir, r.Limits.TempDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{filepath.Join(r.From.Dir, "left.csv"), filepath.Join(r.BeforeDir, "part"), filepath.Join(root, "secret")} {
		if err := os.WriteFile(name, []byte("text"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var reply wire.BuildReply
	oneJob(t, probeMode, r, &reply)
	may := map[string]bool{"read what the run left": true, "write the generation": true, "write a temporary file": true, "link from the generation before": landlocked() != 1}
	withoutLandlock := map[string]bool{"connect": false, "make a socket": false, "be root elsewhere": false, "mount": false, "trace the parent": false, "have rights": false}
	if len(reply.Problems) != 20 {
		t.Fatalf("it tried %d things", len(reply.Problems))
	}
	for _, p := range reply.Problems {
		want, known := may[p.Table]
		if held, stays := withoutLandlock[p.Table]; landlocked() == 0 && !known {
			if want = held; !stays {
				continue // that is Landlock's, which this kernel lacks
			}
		}
		if done := p.Found == "done"; done != want {
			t.Errorf("%s: %s", p.Table, p.Found)
		}
	}
	if told := reply.Unconfined != ""; told != (landlocked() == 0) {
		t.Errorf("unconfined: %q", reply.Unconfined)
	}
}

// TestConfinedBuildReadsWhatAProgramLeft: the files of a run may belong to the
// user of its program, and be for that one only.
func TestConfinedBuildReadsWhatAProgramLeft(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	r := wire.BuildRequest{To: filepath.Join(root, "to"), From: connectors.Publication{Source: "shop", Dir: filepath.Join(root, "from")},
		Limits: wire.BuildLimits{TempDir: filepath.Join(root, "temp")}}
	for _, dir := range []string{r.To, r.From.Dir, r.Limits.TempDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(r.From.Dir, "orders.csv")
	if err := os.WriteFile(left, []byte("id,total\n1,2\n2,3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := errors.Join(os.Chown(left, 65534, 65534), os.Chown(r.From.Dir, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
	}
	var reply wire.BuildReply
	said := oneJob(t, wire.Build, r, &reply)
	if reply.Error != "" || reply.Manifest == nil || len(reply.Manifest.Tables) != 1 || reply.Manifest.Tables[0].Rows != 2 {
		t.Fatalf("the build left %+v\n%s", reply, said)
	}
	var check wire.CheckReply
	oneJob(t, wire.Check, wire.CheckRequest{Path: r.From.Dir, Limits: r.Limits}, &check)
	if check.Error != "" || len(check.Tables) != 1 {
		t.Errorf("the check found %+v", check)
	}
	oneJob(t, wire.Check, wire.CheckRequest{Path: left, Limits: r.Limits}, &check)
	if check.Error != "" || len(check.Tables) != 1 {
		t.Errorf("the check of the file found %+v", check)
	}
}
