package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func acme(tag string) map[string]string {
	return map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose(tag, "hello")}
}

// TestOneProcessOwnsTheDataDirectory is law 15.
func TestOneProcessOwnsTheDataDirectory(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	d := w.start()
	held := fmt.Sprintf("it is in use by process %d", d.cmd.Process.Pid)
	for _, args := range [][]string{{"run"}, {"run", "--once"}} {
		if r := w.must(1, args...); !strings.Contains(r.stderr, held) {
			t.Errorf("fairlead %v: %q does not name the process", args, r.stderr)
		}
	}
	if r := w.must(0, "status", "-o", "json"); !strings.Contains(r.stdout, `"name": "acme"`) {
		t.Errorf("the first daemon does not answer any more: %s", r.stdout)
	}
	if d.signal(syscall.SIGKILL) == 0 {
		t.Error("a killed daemon ended well")
	}
	d = w.start() // neither the lock nor the socket of the killed one is in the way
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("ended with %d\n%s", code, d.log)
	}
}

// TestManyStartAndOneWins starts daemons at the same time.
func TestManyStartAndOneWins(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	var mu sync.Mutex
	var group sync.WaitGroup
	refused, locks := 0, []*os.File{}
	if err := os.MkdirAll(w.data, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		group.Go(func() {
			f, err := takeLock(filepath.Join(w.data, "lock"))
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, errHeld) {
				refused++
			} else if err == nil {
				locks = append(locks, f)
			}
		})
	}
	group.Wait()
	if len(locks) != 1 || refused != 7 {
		t.Errorf("%d hold the lock, %d were refused", len(locks), refused)
	}
	for _, f := range locks {
		f.Close()
	}
}

func TestHeldLockWithoutAnAnswer(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	d, err := openData(w.data)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, args := range [][]string{{"status"}, {"plan"}, {"apply"}, {"history"}, {"suspend", "--reason", "x"}} {
		r := w.must(1, args...)
		if !strings.Contains(r.stderr, "does not answer") || !strings.Contains(r.stderr, fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("fairlead %v: %q", args, r.stderr)
		}
	}
	w.must(0, "validate", w.repo)
}

func TestDaemonProtectsWhatItWrites(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	w.start()
	for name, want := range map[string]os.FileMode{
		".": 0o700, "state": 0o700, "journal": 0o700, "instances": 0o700,
		"fairlead.sock": 0o600, "state/store.key": 0o600, "state/fairlead.db": 0o600, "lock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(w.data, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v; want %v", name, info.Mode().Perm(), err, want)
		}
	}
}

func TestReadingAloneWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	for _, args := range [][]string{{"plan"}, {"status"}, {"status", "acme"}, {"history"}, {"events"}, {"plan", "--ref", "main"}} {
		w.must(0, args...)
	}
	if _, err := os.Stat(w.data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was made: %v", err)
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "fairlead-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("scratch directories are left: %v %v", left, err)
	}
}

func TestStatusShowsUncommittedEditsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "FAIRLEAD_POLL=1h")
	w.begin(acme("1"))
	w.start()
	w.must(0, "apply", "-q")
	if r := w.must(0, "status"); strings.Contains(r.stdout, "uncommitted") {
		t.Errorf("nothing was edited: %s", r.stdout)
	}
	w.write("acme/compose.yaml", acme("2")["compose.yaml"])
	w.write("acme/new", "")
	if r := w.must(0, "status"); !strings.Contains(r.stdout, "! uncommitted edits are not applied: compose.yaml, new\n") {
		t.Errorf("got %s", r.stdout)
	}
	if r := w.must(0, "status", "acme"); !strings.Contains(r.stdout, "Uncommitted edits (not applied)\n  compose.yaml\n  new\n") {
		t.Errorf("got %s", r.stdout)
	}
}

func TestApplyAloneIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	if r := w.must(0, "apply"); !strings.Contains(r.stdout, "Plan: 2 to create") || !strings.Contains(r.stdout, "Applied acme: generation 1") {
		t.Errorf("got %s", r.stdout)
	}
	if r := w.must(0, "history", "acme", "-o", "json"); !strings.Contains(r.stdout, `"outcome": "Applied"`) {
		t.Errorf("got %s", r.stdout)
	}
	if r := w.must(0, "apply", "-q"); r.stdout != "" || r.stderr != "" {
		t.Errorf("--quiet printed %q %q", r.stdout, r.stderr)
	}
	if r := w.must(0, "apply", "--now"); !strings.Contains(r.stdout, "acme follows no channel") {
		t.Errorf("got %s", r.stdout)
	}
}

func TestExitCodesAlone(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		args  []string
		code  int
		says  string
	}{
		{"done", acme("1"), []string{"apply"}, 0, ""},
		{"once done", acme("1"), []string{"run", "--once"}, 0, ""},
		{"first release is sick", acme("sick"), []string{"apply"}, 4, "Failed acme"},
		{"once sick", acme("sick"), []string{"run", "--once"}, 4, ""},
		{"image is nowhere", acme("none"), []string{"apply"}, 1, "example.com/app:none"},
		{"does not validate", map[string]string{"compose.yaml": "services:\n  web: {imag: x}\n", "instance.yaml": acmeInstance}, []string{"apply"}, 6, "compose.yaml:2"},
		{"once does not validate", map[string]string{"compose.yaml": "services:\n  web: {imag: x}\n", "instance.yaml": acmeInstance}, []string{"run", "--once"}, 6, ""},
		{"suspended in the repository", map[string]string{"compose.yaml": acmeCompose("1", "x"), "instance.yaml": acmeInstance + "suspend: {reason: stocktaking}\n"}, []string{"apply"}, 5, "stocktaking"},
		{"time is up", map[string]string{"compose.yaml": acmeCompose("slow", "x"), "instance.yaml": strings.Replace(acmeInstance, "5s", "1h", 1)}, []string{"apply", "--timeout", "300ms"}, 7, "timed out after 300ms"},
		{"once time is up", map[string]string{"compose.yaml": acmeCompose("slow", "x"), "instance.yaml": strings.Replace(acmeInstance, "5s", "1h", 1)}, []string{"run", "--once", "--timeout", "300ms"}, 7, "timed out after 300ms"},
		{"there was no time", acme("1"), []string{"apply", "--timeout", "1ns"}, 7, "timed out after 1ns"},
		{"once there was no time", acme("1"), []string{"run", "--once", "--timeout", "1ns"}, 7, "timed out after 1ns"},
		{"no instance", map[string]string{"README.md": "x"}, []string{"apply"}, 6, "holds no instance"},
		{"bad name", map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: Bad_Name\n", "compose.yaml": acmeCompose("1", "x")}, []string{"apply"}, 6, "instance.yaml:2: name"},
		{"once bad name", map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: Bad_Name\n", "compose.yaml": acmeCompose("1", "x")}, []string{"run", "--once"}, 6, "instance.yaml:2: name"},
		{"a bad one beside a good one", map[string]string{"bad/instance.yaml": "apiVersion: fairlead/v1\nname: Bad_Name\n", "good/compose.yaml": acmeCompose("1", "x")}, []string{"apply"}, 6, "Applied good"},
		{"changes", acme("1"), []string{"plan", "--detailed-exitcode"}, 2, ""},
		{"changes do not matter", acme("1"), []string{"plan"}, 0, ""},
		{"unknown instance", acme("1"), []string{"apply", "nope"}, 1, "there are: acme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.begin(tt.files)
			if r := w.must(tt.code, tt.args...); !strings.Contains(r.stdout+r.stderr, tt.says) {
				t.Errorf("it does not say %q:\n%s%s", tt.says, r.stdout, r.stderr)
			}
		})
	}
}

func TestSeveralInstances(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{
		"instances/acme/instance.yaml": acmeInstance, "instances/acme/compose.yaml": acmeCompose("1", "x"),
		"instances/globex/compose.yaml": acmeCompose("none", "x"),
	})
	r := w.must(1, "run", "--once")
	if !strings.Contains(r.stdout, "acme") || !strings.Contains(r.stdout, "globex") {
		t.Errorf("got %s", r.stdout)
	}
	if r := w.must(1, "rollback"); !strings.Contains(r.stderr, "there are: acme, globex") {
		t.Errorf("got %s", r.stderr)
	}
	if r := w.must(0, "history", "acme"); !strings.Contains(r.stdout, "Applied") {
		t.Errorf("the other one kept it back: %s", r.stdout)
	}
	var o server.Overview
	if err := json.Unmarshal([]byte(w.must(0, "status", "-o", "json").stdout), &o); err != nil || len(o.Instances) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
}

func TestDaemonRefusesAnotherRepository(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	w.start()
	if r := w.must(1, "status", "--repo", "https://example.com/other.git"); !strings.Contains(r.stderr, "follows "+w.repo) {
		t.Errorf("got %s", r.stderr)
	}
}

func TestDaemonMakesARepository(t *testing.T) {
	w := newWorld(t)
	w.repo = filepath.Join(w.data, "repo")
	w.env = append(w.env, "FAIRLEAD_REPO=")
	w.start()
	if r := w.must(0, "status"); !strings.Contains(r.stdout, "there is no instance yet: commit instances/NAME/instance.yaml") {
		t.Errorf("got %s", r.stdout)
	}
	w.commit("Add an instance", map[string]string{"instances/acme/compose.yaml": acmeCompose("1", "x")})
	if r := w.must(0, "apply", "acme"); !strings.Contains(r.stdout, "acme: generation 1") && !strings.Contains(r.stdout, "Up to date acme") {
		t.Errorf("got %s", r.stdout)
	}
}

func TestDaemonTellsSystemd(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	name := filepath.Join(w.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.env = append(w.env, "NOTIFY_SOCKET="+name)
	d := w.start()
	read := func() string {
		buf := make([]byte, 100)
		if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	if got := read(); got != "READY=1\n" {
		t.Errorf("got %q", got)
	}
	if code := d.signal(syscall.SIGINT); code != 0 {
		t.Errorf("ended with %d", code)
	}
	if got := read(); got != "STOPPING=1\n" {
		t.Errorf("got %q", got)
	}
	if _, err := os.Stat(filepath.Join(w.data, "fairlead.sock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
}

// A remote that accepts and never answers keeps nothing from beginning.
func TestDaemonIsReadyThoughTheRepositoryHangs(t *testing.T) {
	remote, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	w := newWorld(t)
	name := filepath.Join(w.dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w.env = append(w.env, "NOTIFY_SOCKET="+name, "FAIRLEAD_REPO=http://"+remote.Addr().String()+"/fleet.git")
	d := w.start()
	buf := make([]byte, 100)
	if err := conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "READY=1\n" {
		t.Errorf("got %q, %v", buf[:n], err)
	}
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("ended with %d\n%s", code, d.log)
	}
	if !strings.Contains(d.log.String(), "still being read") {
		t.Errorf("the repository did not hang:\n%s", d.log)
	}
}

func TestDaemonLogsJSON(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	d := w.start("--log-format", "json")
	w.must(0, "apply")
	d.signal(syscall.SIGTERM)
	for _, line := range strings.Split(strings.TrimSpace(d.log.String()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("%s is not JSON", line)
		}
	}
}

func TestFollowingEndsWithTheDaemon(t *testing.T) {
	w := newWorld(t)
	w.begin(acme("1"))
	d := w.start()
	w.must(0, "apply")
	follow := w.command("events", "-f", "-o", "json")
	out, err := follow.StdoutPipe()
	if err == nil {
		err = follow.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	var e reconciler.Event
	if err := json.NewDecoder(out).Decode(&e); err != nil || e.Reason != "Applied" {
		t.Errorf("got %+v, %v", e, err)
	}
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d", code)
	}
	_ = follow.Wait()
	if !follow.ProcessState.Exited() {
		t.Error("it goes on without a daemon")
	}
}

func TestStoreKeyStays(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "store.key")
	first, err := storeKey(name, filepath.Join(dir, "fairlead.db"), filepath.Join(dir, "copies"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := storeKey(name, filepath.Join(dir, "fairlead.db"), filepath.Join(dir, "copies"))
	if err != nil || string(first) != string(second) || len(first) != 32 {
		t.Errorf("the key changed or is short: %d bytes, %v", len(first), err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("more than the key is there: %v %v", left, err)
	}
}

// A new key beside an old database would hide that its secrets are lost.
func TestStoreKeyIsNotMadeAnew(t *testing.T) {
	dir := t.TempDir()
	database := filepath.Join(dir, "fairlead.db")
	if err := os.WriteFile(database, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storeKey(filepath.Join(dir, "store.key"), database, filepath.Join(dir, "copies")); err == nil {
		t.Error("a key was made for a database that was written with another")
	}
}

func TestInvalidExamplesAreRefused(t *testing.T) {
	w := newWorld(t)
	examples, err := filepath.Abs("../../examples")
	if err != nil {
		t.Fatal(err)
	}
	const hostMatter = "invalid/missing-secret" // right, except on a host that does not have the secret
	for _, good := range []string{"minimal", "agnes", "multi", "channel", "policy", hostMatter} {
		if r := w.must(0, "validate", filepath.Join(examples, good)); !strings.HasPrefix(r.stdout, "ok: ") {
			t.Errorf("%s: %s", good, r.stdout)
		}
	}
	bad, err := filepath.Glob(filepath.Join(examples, "invalid", "*", "*.yaml"))
	if err != nil || len(bad) == 0 {
		t.Fatal("there are no invalid examples", err)
	}
	dirs := map[string]bool{}
	for _, file := range bad {
		dirs[filepath.Dir(file)] = true
	}
	delete(dirs, filepath.Join(examples, hostMatter))
	for dir := range dirs {
		r := w.must(1, "validate", dir, "-o", "json")
		var got []validated
		if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || len(got) != 1 || got[0].OK || len(got[0].Problems) == 0 {
			t.Errorf("%s: %+v, %v", dir, got, err)
			continue
		}
		for _, p := range got[0].Problems {
			if !strings.HasPrefix(p.File, dir) {
				t.Errorf("%s: the problem is said to be in %s", dir, p.File)
			}
		}
	}
}
