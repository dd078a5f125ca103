package analytics

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// limitFiles has writes beyond a size fail, as those on a full disk do.
func limitFiles(bytes uint64) error {
	signal.Ignore(syscall.SIGXFSZ)
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes})
}

// furnished is a store with two generations, of which a third has the first removed.
func furnished(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	s := openTestStore(t, dir)
	put(t, s, "v1")
	put(t, s, "v2")
	return dir
}

// whole checks that what counts is the generation before or the next one, with
// nothing missing, that nothing is left over, and that the next one can be made.
func whole(t *testing.T, dir string, highest int) {
	t.Helper()
	if _, err := os.Stat(filepath.Join(dir, "current", manifestFile)); err != nil {
		t.Fatalf("before the next start current leads nowhere: %v", err)
	}
	s := openTestStore(t, dir)
	g := s.get(s.currentNumber())
	if g == nil {
		t.Fatalf("nothing is current: %+v", s.list())
	}
	if err := g.verify(true); err != nil {
		t.Fatal(err)
	}
	if got := text(t, g); got != "v2" && !strings.HasPrefix(got, "next ") {
		t.Fatalf("current has %q", got)
	}
	for _, one := range s.good() {
		if err := one.verify(true); err != nil {
			t.Errorf("a good generation is not: %v", err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, tmpPrefix+"*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	if n, why := s.newestDamaged(); n != 0 {
		t.Errorf("generation %d is damaged: %s", n, why)
	}
	had := s.good()[0].number
	if g := put(t, s, "after"); g.number <= had || g.number > highest+1 || text(t, g) != "after" {
		t.Errorf("the next one is %d after %d", g.number, had)
	}
}

// Killed before any step of a publication, the next start has the generation
// before or the next one, whole.
func TestKilledWhilePublishing(t *testing.T) {
	for n := 1; ; n++ {
		dir := furnished(t)
		out, err := exec.CommandContext(t.Context(), self(t), "store", "kill", dir, fmt.Sprint(n)).CombinedOutput()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if err != nil && !killed {
			t.Fatalf("step %d: %v: %s", n, err, out)
		}
		if whole(t, dir, 3); t.Failed() {
			t.Fatalf("killed before step %d", n)
		}
		if !killed {
			if n < 15 {
				t.Fatalf("only %d steps", n-1)
			}
			t.Logf("%d steps", n-1)
			return
		}
	}
}

// On a disk that is full after no byte or some, the generation before stays, the
// error says what to do, and nothing is left over at once.
func TestDiskFull(t *testing.T) {
	failures := 0
	for _, limit := range []int{0, 1, 2, 100, 1000, 2999, 3100, 1 << 20} {
		dir := furnished(t)
		out, err := exec.CommandContext(t.Context(), self(t), "store", "full", dir, fmt.Sprint(limit)).CombinedOutput()
		if err != nil {
			if failures++; !strings.Contains(string(out), "file too large") {
				t.Errorf("limit %d: %s", limit, out)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, tmpPrefix+"*")); len(left) > 0 {
				t.Errorf("limit %d: left %v", limit, left)
			}
		} else if limit < 3000 {
			t.Errorf("limit %d was no limit", limit)
		}
		whole(t, dir, 3)
	}
	if failures < 6 {
		t.Errorf("only %d limits had an effect", failures)
	}
}
