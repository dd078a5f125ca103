package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// settledWorld is a world whose daemon applied something, knows people, and was
// stopped.
func settledWorld(t *testing.T) *world {
	w := newWorld(t)
	w.begin(acme("1"))
	d := w.start()
	w.must(0, "apply")
	password := w.write("password", "plum-lantern-orbit")
	w.must(0, "user", "add", "ada@example.com", "--role", "admin", "--password-file", password)
	w.must(0, "user", "add", "grace@example.com", "--role", "viewer", "--password-file", password)
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Fatalf("the daemon ended with %d:\n%s", code, d.log)
	}
	return w
}

func (w *world) state(name string) string { return filepath.Join(w.data, "state", name) }

// overwrite puts noise over a part of a file.
func overwrite(t *testing.T, name string, from, to float64) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := int(from * float64(len(b))); i < int(to*float64(len(b))); i++ {
		b[i] = byte(i * 7)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedDatabaseIsToldOf: the daemon starts, goes on with the copy that it
// made when it was stopped, and says so wherever people look, until they took the
// report away.
func TestDamagedDatabaseIsToldOf(t *testing.T) {
	t.Parallel()
	w := settledWorld(t)
	overwrite(t, w.state("fairlead.db"), 0, 1)
	if r := w.must(1, "status"); !strings.Contains(r.stderr, "it is damaged") || !strings.Contains(r.stderr, "start the daemon") {
		t.Errorf("without a daemon: %s", r.stderr)
	}
	d := w.start()
	if r := w.must(0, "status"); !strings.Contains(r.stdout, "! the database was found damaged") || !strings.Contains(r.stdout, "state/damaged") {
		t.Errorf("the status is\n%s", r.stdout)
	}
	if r := w.must(0, "history", "acme"); !strings.Contains(r.stdout, "Applied") {
		t.Errorf("the history is\n%s", r.stdout)
	}
	if r := w.must(0, "events", "acme"); !strings.Contains(r.stdout, "StateRecovered") {
		t.Errorf("the events are\n%s", r.stdout)
	}
	if r := w.must(0, "user", "list"); !strings.Contains(r.stdout, "ada@example.com") || !strings.Contains(r.stdout, "grace@example.com") {
		t.Errorf("the users are\n%s", r.stdout)
	}
	if !strings.Contains(d.log.String(), "the database was found damaged") {
		t.Errorf("the log is\n%s", d.log)
	}
	if err := os.RemoveAll(w.state("damaged")); err != nil {
		t.Fatal(err)
	}
	if r := w.must(0, "status"); strings.Contains(r.stdout, "damaged") {
		t.Errorf("afterwards the status is\n%s", r.stdout)
	}
}

// TestEverythingLostKeepsTheSetupClosed: without the database and any copy of it
// nobody who comes first becomes the administrator.
func TestEverythingLostKeepsTheSetupClosed(t *testing.T) {
	t.Parallel()
	w := settledWorld(t)
	if err := errors.Join(os.Remove(w.state("fairlead.db")), os.RemoveAll(w.state("copies"))); err != nil {
		t.Fatal(err)
	}
	w.start()
	if r := w.must(1, "user", "setup-code"); !strings.Contains(r.stderr, "the setup is closed") {
		t.Errorf("got %s", r.stderr)
	}
	if _, err := os.Stat(w.state("setup.code")); err == nil {
		t.Error("there is a setup code again")
	}
	w.must(0, "user", "add", "ada@example.com", "--role", "admin", "--password-file", w.write("password", "plum-lantern-orbit"))
}

// TestDamageKeepsTheSetupClosed: a database that was there, and of which nothing
// can be read, is not a new one, though nothing else says that there was somebody.
func TestDamageKeepsTheSetupClosed(t *testing.T) {
	t.Parallel()
	w := settledWorld(t)
	if err := errors.Join(os.Remove(w.state("setup.closed")), os.RemoveAll(w.state("copies")), os.WriteFile(w.state("fairlead.db"), make([]byte, 64<<10), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.start()
	if r := w.must(1, "user", "setup-code"); !strings.Contains(r.stderr, "the setup is closed") {
		t.Errorf("got %s", r.stderr)
	}
}

// damageVariable makes TestDamageOnce work on a data directory that another test
// made.
const damageVariable = "FAIRLEAD_TEST_DAMAGE"

// TestDamagedDatabasesAreOpened damages the database of a real daemon in all ways
// and opens it as the daemon does, in processes that would die of it.
func TestDamagedDatabasesAreOpened(t *testing.T) {
	t.Parallel()
	w := settledWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestDamageOnce$", "-test.v")
	cmd.Env = append(os.Environ(), damageVariable+"="+w.data)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "seed 23") {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-4000):])
	}
}

// TestDamageOnce is the body of those processes; without one there is nothing to
// do.
func TestDamageOnce(t *testing.T) {
	made := os.Getenv(damageVariable)
	if made == "" {
		return
	}
	for seed := range uint64(24) {
		t.Log("seed", seed)
		data := filepath.Join(t.TempDir(), strconv.FormatUint(seed, 10))
		if err := os.CopyFS(data, os.DirFS(filepath.Join(made))); err != nil {
			// The socket of the daemon is gone with it; anything else is a fault.
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(seed, 7))
		if seed%2 == 0 {
			if err := os.RemoveAll(filepath.Join(data, "state", "copies")); err != nil {
				t.Fatal(err)
			}
		}
		what := damage(t, filepath.Join(data, "state", "fairlead.db"), r)
		for range 2 { // the second time there is nothing to mend any more
			lookAt(t, data, fmt.Sprintf("seed %d, %s", seed, what), seed%2 == 1)
		}
	}
}

// damage flips bits, cuts, and clears pages.
func damage(t *testing.T, name string, r *rand.Rand) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	what, page := "flipped", r.IntN(len(b)/4096)*4096
	switch r.IntN(4) {
	case 0:
		what, b = "cut", b[:r.IntN(len(b))]
	case 1:
		what = "cleared"
		clear(b[page : page+4096])
	case 2:
		what = "mixed up"
		copy(b[page:page+4096], b[r.IntN(len(b)/4096)*4096:])
	default:
		for range 1 + r.IntN(30) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return what
}

// lookAt opens a data directory as the daemon does, reads it, and writes to it.
func lookAt(t *testing.T, data, what string, withCopy bool) {
	t.Helper()
	d, err := openData(data)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	defer d.Close()
	people, err := keepPeople(settings{}, d, nil)
	if err != nil {
		t.Fatal(err)
	}
	if open, err := people.SetupOpen(); err != nil || open {
		t.Fatalf("%s: the setup is open: %v, %v; %v", what, open, err, d.damage)
	}
	if code, err := people.SetupCode(); err != nil || code != "" {
		t.Fatalf("%s: setup code %q, %v", what, code, err)
	}
	store, err := reconciler.NewStore(d.db, d.key)
	if err != nil {
		t.Fatal(err)
	}
	sys := &system{data: d, events: reconciler.NewEvents(store)}
	if err := sys.recall(quietLog()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	gens, err1 := store.Generations("acme")
	history, err2 := store.History("acme", 100)
	_, err3 := sys.events.Recent("acme", 100)
	users, err4 := people.Users(t.Context())
	_, err5 := people.Audit(t.Context(), auth.AuditQuery{})
	_, err6 := store.ImagesKept()
	if err := errors.Join(err1, err2, err3, err4, err5, err6, people.Record(auth.Entry{Operation: "test", Outcome: auth.OutcomeDone}), people.Tidy(),
		sys.events.Report("acme", "Test", "it can be written to"), store.Notebook("server").Put("test", []byte("x"))); err != nil {
		t.Fatalf("%s: %v; %v", what, err, d.damage)
	}
	if withCopy && (len(gens) == 0 || len(history) == 0 || len(users) != 2) {
		t.Errorf("%s: %d generations, %d of history, %d users are left, although there is a copy: %v", what, len(gens), len(history), len(users), d.damage)
	}
}
