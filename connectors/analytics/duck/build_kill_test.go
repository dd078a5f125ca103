//go:build cgo

package duck

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// What this binary does when a test starts it again as a helper.
const (
	helperVariable = "FAIRLEAD_TEST_HELPER"
	helperArgument = "FAIRLEAD_TEST_ARGUMENT"
	helperHold     = "hold"  // has a database open until its input ends
	helperBuild    = "build" // runs the build request of a file
	helperFull     = "full"  // the same, and may write no more than 256 KiB into a file
)

// TestHelper is what a helper does; without one there is nothing to do.
func TestHelper(t *testing.T) {
	argument := os.Getenv(helperArgument)
	switch os.Getenv(helperVariable) {
	case helperHold:
		e, err := openEngine(engineOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.close()
		if err := e.exec(t.Context(), "ATTACH "+quoteText(argument)+" AS x"); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ready\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
	case helperBuild, helperFull:
		if os.Getenv(helperVariable) == helperFull {
			signal.Ignore(syscall.SIGXFSZ) // writing fails, as it does on a disk that is full
			if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 256 << 10, Max: 256 << 10}); err != nil {
				t.Fatal(err)
			}
		}
		data, err := os.ReadFile(argument)
		if err != nil {
			t.Fatal(err)
		}
		var req wire.BuildRequest
		if err := json.Unmarshal(data, &req); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("ready\n")
		reply := RunBuild(context.Background(), req)
		said, err := json.Marshal(reply)
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.Write(append(said, '\n'))
	}
}

type helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// startHelper starts this binary again and waits until it is ready.
func startHelper(t testing.TB, mode, argument string) helper {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := helper{cmd: exec.Command(exe, "-test.run=^TestHelper$")}
	h.cmd.Env = append(os.Environ(), helperVariable+"="+mode, helperArgument+"="+argument)
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.cmd.Process.Kill(); _ = h.cmd.Wait() })
	h.out = bufio.NewReader(out)
	if line, err := h.out.ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("helper said %q, %v", line, err)
	}
	return h
}

func (h helper) end(t testing.TB) {
	t.Helper()
	_ = h.in.Close()
	if err := h.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestKilledBuildHarmsNothing kills builds at any point: what the generation
// before has stays, byte by byte, and what was begun can be removed.
func TestKilledBuildHarmsNothing(t *testing.T) {
	id := connectors.Column{Name: "id", Type: "BIGINT"}
	columns := []connectors.Column{id, {Name: "v", Type: "VARCHAR"}}
	rows := func(n int) string {
		var b strings.Builder
		b.WriteString("id,v\n")
		for i := range n {
			b.WriteString(strings.Repeat("1", 1+i%7) + ",some text that is kept\n")
		}
		return b.String()
	}
	first := put(t, t.TempDir(), map[string]string{"a.csv": rows(20000), "p/one.csv": rows(10), "p/two.csv": rows(10)})
	before := made{}.build(t, connectors.Publication{Dir: first, Built: true, Tables: []connectors.TableResult{
		{Table: "a", Outcome: connectors.OK, Rows: 20000, Columns: columns}, {Table: "p", Outcome: connectors.OK, Rows: 20, Columns: columns}}}).good(t)
	was := sums(t, before)
	dir := put(t, t.TempDir(), map[string]string{"a.csv": rows(60000), "p/two.csv": rows(20000)})
	for range 12 {
		to := t.TempDir()
		req := wire.BuildRequest{To: to, Before: before.reply.Manifest, BeforeDir: before.dir, Limits: wire.BuildLimits{TempDir: t.TempDir()},
			From: connectors.Publication{Dir: dir, Built: true, Source: "shop", At: noon(), Tables: []connectors.TableResult{
				{Table: "a", Outcome: connectors.OK, Rows: 60000, Columns: columns, Changes: true, PrimaryKey: []string{"id"}},
				{Table: "p", Outcome: connectors.OK, Rows: 20000, Columns: columns, Changes: true, Parts: []string{"two"}}}}}
		h := startHelper(t, helperBuild, requestFile(t, req))
		kill := time.NewTimer(time.Duration(rand.IntN(400)) * time.Millisecond)
		<-kill.C
		_ = h.cmd.Process.Kill()
		_ = h.cmd.Wait() // it was killed, or was done before
		if now := sums(t, before); now != was {
			t.Fatalf("the generation before changed:\n%s\n%s", was, now)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
	if now := sums(t, before); now != was {
		t.Errorf("removing what was begun changed the generation before")
	}
}

func requestFile(t testing.TB, req wire.BuildRequest) string {
	t.Helper()
	data, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestFullDisk has no room for what is written: there is no generation, not one
// that lacks something, and it is said why.
func TestFullDisk(t *testing.T) {
	small := made{}.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"a.csv": "x\n1\n", "b.csv": "x\n1\n"})}).good(t)
	was, dir := sums(t, small), t.TempDir()
	put(t, dir, map[string]string{"a.csv": "x\n1\n"})
	sql(t, "COPY (SELECT md5(i::VARCHAR) AS x FROM range(100000) t(i)) TO "+quoteText(dir+"/b.parquet"))
	req := wire.BuildRequest{To: t.TempDir(), Before: small.reply.Manifest, BeforeDir: small.dir, Limits: wire.BuildLimits{TempDir: t.TempDir()}, From: connectors.Publication{Dir: dir, Source: "shop", At: noon()}}
	h := startHelper(t, helperFull, requestFile(t, req))
	line, err := h.out.ReadBytes('\n')
	var reply wire.BuildReply
	if err == nil {
		err = json.Unmarshal(line, &reply)
	}
	if err != nil || reply.Manifest != nil || !strings.Contains(reply.Error, "File too large") {
		t.Errorf("%v: %+v", err, reply)
	}
	if sums(t, small) != was {
		t.Error("the generation before changed")
	}
}

func TestCancelledBuild(t *testing.T) {
	dir := t.TempDir()
	sql(t, "COPY (SELECT i AS x FROM range(3000000) t(i)) TO "+quoteText(dir+"/b.csv")+" (FORMAT csv, HEADER)")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	reply := RunBuild(ctx, wire.BuildRequest{To: t.TempDir(), Limits: wire.BuildLimits{TempDir: t.TempDir()}, From: connectors.Publication{Dir: dir, Source: "shop", At: noon()}})
	if reply.Manifest != nil || !strings.Contains(reply.Error, context.Canceled.Error()) {
		t.Errorf("%+v", reply)
	}
}

// sums are the files of a generation with what they are.
func sums(t testing.TB, m made) string {
	t.Helper()
	var out []string
	for _, table := range m.reply.Manifest.Tables {
		for _, f := range table.Files {
			sealed, err := seal(m.dir, connectors.ManifestFile{Path: f.Path}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if sealed.SHA256 != f.SHA256 {
				t.Errorf("%s has hash %s in the manifest and is %s", f.Path, f.SHA256, sealed.SHA256)
			}
			out = append(out, f.Path+" "+sealed.SHA256+" "+sealed.Modified.String())
		}
	}
	return strings.Join(out, "\n")
}
