package certs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// The variables of a child process: where it works, and at which step it is
// killed. What its source has is in CHAIN.
const (
	childDir   = "FAIRLEAD_TEST_CERTS_DIR"
	childRoot  = "FAIRLEAD_TEST_CERTS_ROOT"
	childStep  = "FAIRLEAD_TEST_CERTS_STEP"
	childLimit = "FAIRLEAD_TEST_CERTS_LIMIT" // of a file's size, in bytes
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// diskMemory is a Memory of files, each replaced in one step.
type diskMemory struct {
	dir  string
	step func(string)
}

func (m diskMemory) file(key string) string {
	return filepath.Join(m.dir, strings.ReplaceAll(key, "/", "+"))
}

func (m diskMemory) Get(key string) ([]byte, error) {
	data, err := os.ReadFile(m.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (m diskMemory) Put(key string, value []byte) error {
	m.step("remember " + key)
	tmp := m.file(key) + "~"
	if err := os.WriteFile(tmp, value, 0o600); err != nil {
		return err
	}
	m.step("have remembered " + key)
	return os.Rename(tmp, m.file(key))
}

// manager is one on a directory with all that is remembered.
func manager(dir string, step func(string)) *certs.Manager {
	o := certs.Options{Dir: filepath.Join(dir, "certs"), Memory: diskMemory{filepath.Join(dir, "memory"), step}, Fetch: source.New(source.Options{}), Seed: "vm1"}
	return certs.New(o.WithSteps(step))
}

func wantedByChild(root string) reconciler.WantedCertificates {
	return reconciler.WantedCertificates{ByName: map[string]desired.CertificateSpec{name: {
		Domains: []string{domain}, Fullchain: "env://CHAIN", Key: "p256", Every: time.Hour, Fallback: "self-signed", CA: root, Keep: 1,
	}}}
}

// child looks once, asks the source, and may not live to the end.
func child(dir string) error {
	n, at := 0, os.Getenv(childStep)
	step := func(string) {
		if n++; strconv.Itoa(n) == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Hour) // it arrives
		}
	}
	if limit := os.Getenv(childLimit); limit != "" {
		most, err := strconv.ParseUint(limit, 10, 64)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGXFSZ) // the write fails instead, as on a full disk
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: most, Max: most}); err != nil {
			return err
		}
	}
	m := manager(dir, step)
	m.Set(inst, wantedByChild(os.Getenv(childRoot)))
	_ = m.Renew(context.Background(), inst, name, false) // of which Sync tells as well
	return m.Sync(context.Background(), inst)
}

// quick is a directory in memory where there is one: nothing is lost by kill -9
// there, and nobody waits for a disk that others use.
func quick(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fairlead-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// newPlace is a directory for a child.
func newPlace(t testing.TB) string {
	t.Helper()
	dir := quick(t)
	must(t, os.Mkdir(filepath.Join(dir, "memory"), 0o700))
	return dir
}

// run lets a child look; killed says that it was killed on its way.
func run(t testing.TB, dir string, root, chain []byte, more ...string) (killed bool, err error) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), append(more, childDir+"="+dir, childRoot+"="+string(root), "CHAIN="+string(chain))...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return true, nil
	}
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return false, err
}

// next is what the process finds that comes after the child.
func next(t testing.TB, dir string, root []byte) *host {
	t.Helper()
	h := &host{t: t, dir: filepath.Join(dir, "certs"), env: map[string]string{}}
	o := certs.Options{Dir: h.dir, Memory: diskMemory{filepath.Join(dir, "memory"), func(string) {}}, Seed: "vm1", Event: h.report,
		Fetch: source.New(source.Options{Env: h.lookup})}
	h.Manager = certs.New(o)
	h.Set(inst, wantedByChild(string(root)))
	return h
}

// everyStep has a child killed before its first step, its second and so on until
// it comes to its end, each time on what prepare made.
func everyStep(t *testing.T, least int, prepare func() (dir string, root, chain []byte), check func(dir string, root, chain []byte)) {
	t.Helper()
	for n := 1; ; n++ {
		dir, root, chain := prepare()
		killed, err := run(t, dir, root, chain, fmt.Sprintf("%s=%d", childStep, n))
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		check(dir, root, chain)
		if t.Failed() {
			t.Fatalf("killed before step %d", n)
		}
		_ = os.RemoveAll(dir)
		if !killed {
			if n <= least {
				t.Fatalf("only %d steps", n-1)
			}
			t.Logf("%d steps", n-1)
			return
		}
	}
}

// before is a directory with a certificate of the CA, and the next one.
func before(t testing.TB) (prepare func() (string, []byte, []byte), live, coming []byte) {
	t.Helper()
	template := newPlace(t)
	ca := newAuthority(t, time.Now())
	root := pemOf(ca.root)
	h := next(t, template, root)
	h.sync()
	req, err := h.Request(inst, name)
	must(t, err)
	for range 3 { // the oldest is to go
		live = pemOf(ca.answer(req.PEM, time.Now().Add(-time.Hour), time.Now().Add(90*day)), ca.ca)
		h.put("CHAIN", live)
		must(t, h.Renew(t.Context(), inst, name, false))
	}
	coming = pemOf(ca.answer(req.PEM, time.Now().Add(-time.Minute), time.Now().Add(90*day)), ca.ca)
	return func() (string, []byte, []byte) {
		dir := quick(t)
		must(t, os.CopyFS(dir, os.DirFS(template)))
		must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // which CopyFS gives others
			if err == nil && d.Type().IsDir() {
				err = os.Chmod(path, 0o700)
			}
			return err
		}))
		return dir, root, coming
	}, live, coming
}

// Killed between every pair of writes while a renewal is published: the next
// start serves the old one or the new one at once, and ends with the new one.
func TestKilledWhileRenewing(t *testing.T) {
	t.Parallel()
	prepare, live, coming := before(t)
	everyStep(t, 25, prepare, func(dir string, root, chain []byte) {
		h := next(t, dir, root)
		if got := string(pemOf(h.leaf())); !strings.HasPrefix(string(live), got) && !strings.HasPrefix(string(coming), got) {
			t.Error("the first handshake shows neither")
		}
		h.put("CHAIN", chain)
		must(t, h.Renew(t.Context(), inst, name, false))
		if !strings.HasPrefix(string(coming), string(pemOf(h.leaf()))) {
			t.Error("the new one is not served in the end")
		}
		h.stands(reconciler.CertificateLive, "")
		noLeftovers(t, dir)
	})
}

// Killed while the key, the request and the stand-in are made: one key is there
// in the end, the request is for it, and so is what is served.
func TestKilledWhileBeginning(t *testing.T) {
	t.Parallel()
	root := pemOf(newAuthority(t, time.Now()).root)
	everyStep(t, 20, func() (string, []byte, []byte) { return newPlace(t), root, nil }, func(dir string, root, _ []byte) {
		had, _ := os.ReadFile(filepath.Join(dir, "certs", inst, name, "key.pem"))
		h := next(t, dir, root)
		h.sync()
		h.stands(reconciler.CertificateAwaitsIssuer, "NotThereYet")
		req, err := h.Request(inst, name)
		must(t, err)
		if got := pair.SPKI(h.leaf().PublicKey); got != req.SPKI || len(had) > 0 && pair.SPKI(public(t, had)) != got {
			t.Error("there was more than one key")
		}
		noLeftovers(t, dir)
	})
}

func noLeftovers(t testing.TB, dir string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(dir, "certs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), "tmp-") {
			t.Errorf("left %s", path)
		}
		return err
	}))
}

// A disk that is full, after no byte, some, or most of them: the live one is
// served, it is said what is wrong, and it goes on once there is room.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	prepare, live, coming := before(t)
	for _, limit := range []int{0, 100, 300, 700, 1000} {
		dir, root, chain := prepare()
		if _, err := run(t, dir, root, chain, fmt.Sprintf("%s=%d", childLimit, limit)); err == nil || !strings.Contains(err.Error(), "file too large") {
			t.Fatalf("with room for %d bytes: %v", limit, err)
		}
		h := next(t, dir, root)
		if !strings.HasPrefix(string(live), string(pemOf(h.leaf()))) {
			t.Errorf("with room for %d bytes: another one is served", limit)
		}
		h.put("CHAIN", chain)
		must(t, h.Renew(t.Context(), inst, name, false))
		if !strings.HasPrefix(string(coming), string(pemOf(h.leaf()))) {
			t.Errorf("after room for %d bytes: the new one is not served", limit)
		}
		noLeftovers(t, dir)
	}
}
