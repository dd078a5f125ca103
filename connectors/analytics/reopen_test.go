package analytics

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Nobody says again what is to be attached when nothing changes in git: what the
// disk refused at the start is tried until it is there.
func TestWhatCannotBeOpenedIsTriedAgain(t *testing.T) {
	for name, blocked := range map[string]string{"the instance": extractsDir, "a source": filepath.Join(extractsDir, "shop")} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path, aside := filepath.Join(dir, blocked), filepath.Join(dir, "aside")
			want := map[string]string{"shop": "a", "blog": "a"}
			t.Run("before", func(t *testing.T) {
				h := newHouseIn(t, dir, Options{})
				h.Keep(inst, want)
				h.publish("shop", "a", "orders", "v1")
			})
			must(t, os.Rename(path, aside))
			must(t, os.WriteFile(path, nil, 0o600))
			h := newHouseIn(t, dir, Options{Inspect: 10 * time.Millisecond})
			h.Keep(inst, want)
			if _, err := h.ask("", "read orders"); err == nil {
				t.Fatal("it can be read")
			}
			must(t, os.Remove(path))
			must(t, os.Rename(aside, path))
			h.until("it is attached", func() bool { return h.attached("shop").Generation == 1 })
			h.expect("read orders", "v1")
			if n := h.reported("Unreadable"); n > 1 {
				t.Errorf("it was told %d times", n)
			}
		})
	}
}
