package analytics

import (
	"os"
	"path/filepath"
	"testing"
)

// What was damaged, or removed as a whole, only a run brings again. What cannot
// be attached although it is as it was would be the same after a run, and what
// somebody rolled back to is to stay.
func TestWhatOnlyARunBringsAgain(t *testing.T) {
	dir := t.TempDir()
	want := map[string]string{"shop": "a", "blog": "a"}
	path := func(source, file string) string { return filepath.Join(dir, extractsDir, source, file) }
	lost := func(h *house, source string, generation int, is bool) {
		t.Helper()
		if at := h.attached(source); at.Lost != is || at.Generation != generation {
			t.Fatalf("%s: lost is not %t, or it is not generation %d: %+v", source, is, generation, at)
		}
	}
	t.Run("while attached", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		h.Keep(inst, want)
		lost(h, "shop", 0, true)
		for _, v := range []string{"v1", "v2", "v3"} {
			h.publish("shop", "a", "orders", v)
			h.publish("blog", "a", "posts", v)
		}
		h.expect("read orders", "v3")
		lost(h, "shop", 3, false)
		must(t, os.WriteFile(path("shop", "3/data/orders.parquet"), []byte("garbage"), 0o600))
		h.expect("read orders", "v2")
		lost(h, "shop", 2, true)
		must(t, h.Rollback(inst, "shop", 1))
		h.expect("read orders", "v1")
		lost(h, "shop", 1, false)
		must(t, os.Rename(path("blog", ""), filepath.Join(dir, "gone")))
		if changed, err := h.Inspect(inst, false); err != nil || !changed {
			t.Fatalf("%v, %v", changed, err)
		}
		lost(h, "blog", 0, true)
		h.publish("blog", "a", "posts", "v4")
		h.expect("read posts", "v4")
		lost(h, "blog", 4, false)
		h.publish("shop", "a", "orders", "poison")
		h.until("the one before is attached", func() bool { return h.attached("shop").Problem != "" && h.attached("shop").Generation > 0 })
		if h.attached("shop").Lost {
			t.Fatalf("it would be the same again: %+v", h.attached("shop"))
		}
	})
	must(t, os.RemoveAll(path("blog", "")))
	t.Run("before the start", func(t *testing.T) {
		h := newHouseIn(t, dir, Options{})
		if at := h.Attached(inst); len(at) != 0 { // nobody said what is wanted
			t.Fatalf("attached %+v", at)
		}
		h.Keep(inst, want)
		lost(h, "blog", 0, true)
	})
}
