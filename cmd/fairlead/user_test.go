package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// mode is that of a file under the data directory; 0: there is none.
func (w *world) mode(name string) os.FileMode {
	info, err := os.Stat(filepath.Join(w.data, name))
	if err != nil {
		return 0
	}
	return info.Mode().Perm()
}

// TestUsersAlone manages users where no daemon runs and no repository is.
func TestUsersAlone(t *testing.T) {
	w := newWorld(t)
	password := "--password-file=" + w.write("password", "plum-lantern-orbit\nsecond line\n")
	code := w.must(0, "user", "setup-code").stdout
	if len(code) != 25 || w.mode("state/setup.code") != 0o600 || w.mode("state/jwt.key") != 0o600 {
		t.Errorf("the code is %q, the modes are %v and %v", code, w.mode("state/setup.code"), w.mode("state/jwt.key"))
	}
	if again := w.must(0, "user", "setup-code").stdout; again != code {
		t.Errorf("the code was %q and is %q", code, again)
	}
	key, err := os.ReadFile(filepath.Join(w.data, "state/jwt.key"))
	if err != nil || len(key) < 32 {
		t.Errorf("the key has %d bytes, %v", len(key), err)
	}
	if r := w.must(0, "user", "list"); !strings.Contains(r.stdout, "fairlead user add") {
		t.Errorf("nobody is %q", r.stdout)
	}
	w.must(0, "user", "add", "Ada@Example.com", "--name", "Ada Lovelace", "--role", "admin", password)
	if w.mode("state/setup.code") != 0 {
		t.Error("the setup code is still there")
	}
	if r := w.must(1, "user", "setup-code"); !strings.Contains(r.stderr, "closed") {
		t.Errorf("the code afterwards: %q", r.stderr)
	}
	if r := w.must(1, "user", "add", "grace@example.com", "--password-file", w.write("weak", "Password2026!")); !strings.Contains(r.stderr, "guessed first") || !strings.Contains(r.stderr, "unrelated words") {
		t.Errorf("a weak password: %q", r.stderr)
	}
	w.must(0, "user", "add", "grace@example.com", "--no-password")
	if r := w.must(0, "user", "list"); !strings.Contains(r.stdout, "no password") || !strings.Contains(r.stdout, "Ada Lovelace") {
		t.Errorf("the list is %q", r.stdout)
	}
	w.must(0, "user", "passwd", "grace@example.com", password)
	w.must(0, "user", "role", "grace@example.com", "analyst")
	w.must(1, "user", "role", "grace@example.com", "root")
	if r := w.must(1, "user", "remove", "ada@example.com"); !strings.Contains(r.stderr, "nobody else can sign in as an administrator") {
		t.Errorf("the last administrator: %q", r.stderr)
	}
	token := strings.TrimSpace(w.must(0, "user", "token", "add", "grace@example.com", "nightly export", "--scope", "read,query").stdout)
	if !strings.HasPrefix(token, "flp_") || len(token) != 53 {
		t.Errorf("the token is %q", token)
	}
	var tokens []auth.Token
	if err := json.Unmarshal([]byte(w.must(0, "user", "token", "list", "grace@example.com", "-o", "json").stdout), &tokens); err != nil || len(tokens) != 1 {
		t.Fatalf("tokens %v, %v", tokens, err)
	}
	w.must(0, "user", "token", "remove", tokens[0].ID)
	if r := w.must(0, "user", "token", "list", "grace@example.com"); r.stdout != "no tokens\n" {
		t.Errorf("tokens left: %q", r.stdout)
	}
	w.must(0, "user", "disable", "grace@example.com")
	w.must(0, "user", "enable", "grace@example.com")
	w.must(0, "user", "logout", "grace@example.com")
	w.must(1, "user", "logout", "grace@example.com", "nope")
	w.must(0, "user", "remove", "grace@example.com")
	var log []auth.Entry
	if err := json.Unmarshal([]byte(w.must(0, "user", "audit", "-o", "json").stdout), &log); err != nil || len(log) < 10 {
		t.Fatalf("log %v, %v", log, err)
	}
	if e := log[0]; e.Operation != "deleteUser" || e.Via != auth.ViaSocket || e.Who == "" || e.Target != "grace@example.com" {
		t.Errorf("the newest entry is %+v", e)
	}
	if n := strings.Count(w.must(0, "user", "audit", "--export").stdout, "\n"); n != len(log) {
		t.Errorf("the export has %d lines of %d", n, len(log))
	}
	w.must(0, "user", "audit")
}

// TestUsersOfADaemon are those of the data directory that it runs on, and what
// is changed without it is written down as well.
func TestUsersOfADaemon(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{"instance.yaml": acmeInstance, "compose.yaml": acmeCompose("1", "hello")})
	d := w.start()
	code := strings.TrimSpace(w.must(0, "user", "setup-code").stdout)
	w.must(0, "user", "add", "ada@example.com", "--role", "admin", "--password-file", w.write("password", "plum-lantern-orbit"))
	w.must(0, "apply", "-q")
	w.must(0, "suspend", "--reason", "a look")
	if exit := d.signal(syscall.SIGTERM); exit != 0 {
		t.Fatalf("the daemon ended with %d\n%s", exit, d.log)
	}
	if strings.Contains(d.log.String(), code) || !strings.Contains(d.log.String(), "There is no administrator yet") {
		t.Errorf("the log does not tell of the setup, or tells the code:\n%s", d.log)
	}
	w.must(0, "resume")
	var log []auth.Entry
	if err := json.Unmarshal([]byte(w.must(0, "user", "audit", "-o", "json").stdout), &log); err != nil || len(log) < 4 {
		t.Fatalf("log %v, %v", log, err)
	}
	log = slices.DeleteFunc(log, func(e auth.Entry) bool { return e.Operation == "syncSource" }) // which apply does first
	for i, want := range []string{"resume", "suspend", "reconcile", "createUser"} {
		if e := log[i]; e.Operation != want || e.Outcome != auth.OutcomeDone || e.Via != auth.ViaSocket || (i < 3 && e.Target != "acme") || e.Who != server.UserName(os.Getuid()) {
			t.Errorf("entry %d is %+v, want %s", i, e, want)
		}
	}
}

// TestPasswordsComeFromStandardInput, or are asked for twice on a terminal,
// where nobody sees them.
func TestPasswordsComeFromStandardInput(t *testing.T) {
	w := newWorld(t)
	cmd := w.command("user", "add", "ada@example.com", "--role", "admin")
	cmd.Stdin = strings.NewReader("plum-lantern-orbit\r\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd = w.command("user", "passwd", "ada@example.com")
	cmd.Stdin = strings.NewReader("")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "standard input is empty") {
		t.Errorf("%v: %s", err, out)
	}
	for _, c := range []struct{ second, want string }{{"quiet-harbour-velvet", "has a new password"}, {"another-thing-here", "the two differ"}} {
		seen := w.onTerminal([]typed{{"Password: ", "quiet-harbour-velvet\n"}, {"Once more: ", c.second + "\n"}}, "user", "passwd", "ada@example.com")
		if !strings.Contains(seen, c.want) || strings.Contains(seen, "quiet") {
			t.Errorf("on the terminal stands %q, want %q", seen, c.want)
		}
	}
}

// typed is what somebody types who is asked for something that is not to be seen.
type typed struct{ asked, text string }

// onTerminal runs the program on a terminal and returns what stands there.
func (w *world) onTerminal(input []typed, args ...string) string {
	w.t.Helper()
	master, name := w.openTerminal()
	slave, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := w.command(args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	_ = slave.Close()
	screen := &screen{}
	read := make(chan struct{})
	go func() { // ends when the program does, which closes the other end
		defer close(read)
		buf := make([]byte, 1024)
		for {
			n, err := master.Read(buf)
			screen.add(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	for _, one := range input {
		w.waitFor(one.asked, func() bool { return strings.Contains(screen.text(), one.asked) && silent(master) })
		if _, err := master.WriteString(one.text); err != nil {
			w.t.Fatal(err)
		}
	}
	<-read
	_ = cmd.Wait() // what it says is what counts
	return screen.text()
}

// screen is what was written to a terminal.
type screen struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (s *screen) add(b []byte) { s.mu.Lock(); defer s.mu.Unlock(); s.all.Write(b) }

func (s *screen) text() string { s.mu.Lock(); defer s.mu.Unlock(); return s.all.String() }

// until waits for something, and looks often.
func (w *world) waitFor(what string, true func() bool) {
	w.t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !true() {
		select {
		case <-tick.C:
		case <-end:
			w.t.Fatalf("waited in vain for %q", what)
		}
	}
}

// silent reports whether a terminal shows nothing of what is typed.
func silent(master *os.File) bool {
	state, err := unix.IoctlGetTermios(int(master.Fd()), unix.TCGETS)
	return err == nil && state.Lflag&unix.ECHO == 0
}

// openTerminal makes a pseudo-terminal (pty(7)).
func (w *world) openTerminal() (master *os.File, slave string) {
	w.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		w.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		w.t.Fatal(err)
	}
	return master, fmt.Sprintf("/dev/pts/%d", n)
}
