package store_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

// The variables of a child process: what it does, where, and at which step it
// is killed.
const (
	childDoes  = "FAIRLEAD_TEST_STORE_DOES"
	childDir   = "FAIRLEAD_TEST_STORE_DIR"
	childPair  = "FAIRLEAD_TEST_STORE_PAIR"
	childStep  = "FAIRLEAD_TEST_STORE_STEP"
	childLimit = "FAIRLEAD_TEST_STORE_LIMIT" // of a file's size, in bytes
)

func TestMain(m *testing.M) {
	if does := os.Getenv(childDoes); does != "" {
		if err := child(does); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does one thing to the store and may not live to its end.
func child(does string) error {
	dir, from := os.Getenv(childDir), os.Getenv(childPair)
	n, step := 0, os.Getenv(childStep)
	steps := func(string) {
		if n++; strconv.Itoa(n) == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			time.Sleep(time.Hour) // it arrives
		}
	}
	if limit := os.Getenv(childLimit); limit != "" {
		max, err := strconv.ParseUint(limit, 10, 64)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGXFSZ) // the write fails instead, as on a full disk
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: max, Max: max}); err != nil {
			return err
		}
	}
	chain, err := os.ReadFile(from + ".chain")
	if err != nil {
		return err
	}
	key, err := os.ReadFile(from + ".key")
	if err != nil {
		return err
	}
	p, err := pair.Load(chain, key)
	if err != nil {
		return err
	}
	if does == "deliver" {
		_, err := store.Deliver(p, store.Target{Dir: dir, UID: -1, GID: -1, Formats: allFormats(), Password: "x"}.WithSteps(steps))
		return err
	}
	s, _, err := store.Open(dir, store.Options{Keep: 1}.WithSteps(steps))
	if err != nil {
		return err
	}
	switch does {
	case "publish":
		_, err = s.Publish(p, store.Origin{})
	case "restore":
		gone := os.RemoveAll(filepath.Join(dir, "2"))
		_, err = s.Restore()
		err = errors.Join(gone, err)
	case "key":
		if _, _, err = s.Key(pair.P256); err == nil {
			_, _, err = s.CSR(nil, []string{"data.acme.com"})
		}
	}
	return err
}

// keep writes a pair where a child finds it.
func keep(t *testing.T, p pair.Pair) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pair")
	key, err := p.PrivateKey()
	must(t, err)
	write(t, name+".key", key)
	write(t, name+".chain", p.Fullchain())
	return name
}

// run lets a child do something; killed says that it was killed on its way.
func run(t *testing.T, does, dir, from string, more ...string) (killed bool, err error) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), append(more, childDoes+"="+does, childDir+"="+dir, childPair+"="+from)...)
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

// everyStep has a child killed before its first step, its second and so on until
// it comes to its end, each time on a fresh directory.
func everyStep(t *testing.T, does string, least int, prepare func() (dir, from string), check func(dir string)) {
	t.Helper()
	for n := 1; ; n++ {
		dir, from := prepare()
		killed, err := run(t, does, dir, from, fmt.Sprintf("%s=%d", childStep, n))
		if err != nil {
			t.Fatalf("step %d: %v", n, err)
		}
		check(dir)
		if t.Failed() {
			t.Fatalf("killed before step %d", n)
		}
		if !killed {
			if n <= least {
				t.Fatalf("only %d steps", n-1)
			}
			t.Logf("%d steps", n-1)
			return
		}
	}
}

// Killed between every pair of steps of a publication, the next start serves
// the old pair or the new one, whole, and can publish.
func TestKilledWhilePublishing(t *testing.T) {
	key := newKey(t)
	before, next := realPair(t, key), realPair(t, key)
	from := keep(t, next)
	prepare := func() (string, string) {
		dir := newDir(t)
		s, _, err := store.Open(dir, store.Options{Keep: 1})
		must(t, err)
		publish(t, s, realPair(t, key))
		publish(t, s, before) // the first one is removed by the child
		must(t, s.Close())
		return dir, from
	}
	everyStep(t, "publish", 15, prepare, func(dir string) {
		if p := onDisk(t, dir); !p.Equal(before) && !p.Equal(next) {
			t.Error("before the next start, current is neither")
		}
		s, _ := open(t, dir)
		g, ok := s.Current()
		if !ok || !g.Pair.Equal(before) && !g.Pair.Equal(next) {
			t.Fatalf("current is %v", g.Pair)
		}
		live(t, s, dir, g.Pair)
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("left %v", left)
		}
		publish(t, s, next)
		live(t, s, dir, next)
	})
}

func TestKilledWhileRestoring(t *testing.T) {
	from := keep(t, realPair(t, newKey(t)))
	var first, second pair.Pair
	prepare := func() (dir, _ string) {
		var s *store.Store
		dir, s, first, second = furnished(t)
		must(t, s.Close())
		return dir, from
	}
	everyStep(t, "restore", 10, prepare, func(dir string) {
		s, _ := open(t, dir)
		g, ok := s.Current()
		if !ok || !g.Pair.Equal(first) && !g.Pair.Equal(second) {
			t.Fatalf("current is %v", g.Pair)
		}
		live(t, s, dir, g.Pair)
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// Killed while key and request are made: there is none, or one that is whole,
// and it is not made twice.
func TestKilledWhileMakingTheKey(t *testing.T) {
	from := keep(t, realPair(t, newKey(t)))
	everyStep(t, "key", 8, func() (string, string) { return newDir(t), from }, func(dir string) {
		had, _ := os.ReadFile(filepath.Join(dir, "key.pem"))
		s, _ := open(t, dir)
		key, made, err := s.Key(pair.P256)
		if err != nil || made != (len(had) == 0) {
			t.Fatalf("made %t over %d bytes, %v", made, len(had), err)
		}
		csr, _, err := s.CSR(nil, []string{"data.acme.com"})
		if err != nil || pair.CSRMatches(csr, key.Public(), nil, []string{"data.acme.com"}) != nil {
			t.Errorf("request: %v", err)
		}
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

func TestKilledWhileDelivering(t *testing.T) {
	key := newKey(t)
	before, next := realPair(t, key), realPair(t, key)
	from := keep(t, next)
	prepare := func() (string, string) {
		dir := newDir(t)
		for _, p := range []pair.Pair{realPair(t, key), before} {
			_, err := store.Deliver(p, target(dir))
			must(t, err)
		}
		return dir, from
	}
	everyStep(t, "deliver", 15, prepare, func(dir string) {
		if p := delivered(t, dir); !p.Equal(before) && !p.Equal(next) {
			t.Error("what is there is neither")
		}
		if _, err := store.Deliver(next, target(dir)); err != nil || !delivered(t, dir).Equal(next) {
			t.Errorf("deliver: %v", err)
		}
		if left := leftovers(t, dir); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// A disk that is full, after no byte, some, or most of them: the live pair stays,
// nothing is left over, and it works again once there is room.
func TestDiskFull(t *testing.T) {
	next := realPair(t, newKey(t))
	from := keep(t, next)
	for _, limit := range []int{0, 1, 200, 240, 600} {
		for _, does := range []string{"publish", "deliver"} {
			dir, s, _, second := furnished(t)
			must(t, s.Close())
			at := dir
			if does == "deliver" {
				at = newDir(t)
				_, err := store.Deliver(second, target(at))
				must(t, err)
			}
			_, err := run(t, does, at, from, fmt.Sprintf("%s=%d", childLimit, limit))
			if err == nil || !strings.Contains(err.Error(), "file too large") {
				t.Fatalf("%s with room for %d bytes: %v", does, limit, err)
			}
			if left := leftovers(t, at); len(left) > 0 {
				t.Errorf("%s with room for %d bytes: left %v", does, limit, left)
			}
			if does == "deliver" {
				if !delivered(t, at).Equal(second) {
					t.Errorf("with room for %d bytes: another pair is there", limit)
				}
				continue
			}
			again, repairs := open(t, dir)
			live(t, again, dir, second)
			if len(repairs) > 0 {
				t.Errorf("with room for %d bytes: repairs %v", limit, repairs)
			}
			publish(t, again, next)
			live(t, again, dir, next)
		}
	}
}
