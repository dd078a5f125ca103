package reconciler_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestNotebooksAreApart: what another room notes is no instance, lies sealed and
// outlives the process.
func TestNotebooksAreApart(t *testing.T) {
	h := newHouse(t)
	h.apply(acme(service("app", "app:1")))
	one := h.store.Notebook("one")
	if b, err := one.Get("a"); b != nil || err != nil {
		t.Errorf("before anything: %q, %v", b, err)
	}
	for _, text := range []string{"first", "second, which is long enough to be found"} {
		if err := one.Put("a", []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	h.restart()
	one, two := h.store.Notebook("one"), h.store.Notebook("two")
	if b, err := one.Get("a"); string(b) != "second, which is long enough to be found" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := two.Get("a"); b != nil || err != nil {
		t.Errorf("another room has %q, %v", b, err)
	}
	h.stop()
	raw, err := os.ReadFile(filepath.Join(h.dir, "fairlead.db"))
	if err != nil || bytes.Contains(raw, []byte("which is long enough")) {
		t.Errorf("it lies there in the clear, or %v", err)
	}
}
