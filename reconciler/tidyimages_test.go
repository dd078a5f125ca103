package reconciler_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// has reports whether an image is on the engine.
func (h *house) has(id string) bool {
	h.t.Helper()
	t := reconciler.Target{Spec: acme(service("x", "x")), Images: map[string]reconciler.Image{"x": {ID: id}}}
	t.Spec.Name = "looking"
	_, err := h.engine.Prepare(h.t.Context(), t, nil) // without a digest it is there or it is an error
	_, perr := h.engine.Prepare(h.t.Context(), reconciler.Target{Spec: desired.Spec{Name: "looking"}}, nil)
	if perr != nil {
		h.t.Fatal(perr)
	}
	return err == nil
}

// upgrade moves the channel, and returns the image that it means now.
func (h *house) upgrade(b drivertest.Behaviour) string {
	h.t.Helper()
	h.engine.Push("app:stable", b)
	h.once()
	m, err := h.inst.Generations()
	if err != nil {
		h.t.Fatal(err)
	}
	return m[len(m)-1].Images["app:stable"].ID
}

// Images go with their generations: those that can be gone back to stay, and of
// the failed ones the newest.
func TestImagesGoWithTheirGenerations(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.RetainGenerations = 3
		h.apply(spec)
		list, err := h.inst.Generations()
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{list[0].Images["app:stable"].ID}
		var sick []string
		for range 3 {
			ids = append(ids, h.upgrade(drivertest.Healthy()))
			sick = append(sick, h.upgrade(drivertest.Unhealthy()))
		}
		for i, want := range []bool{false, true, true, true} {
			if h.has(ids[i]) != want {
				t.Errorf("image of good generation %d: there %t, want %t", i, !want, want)
			}
		}
		for i, want := range []bool{false, false, true} {
			if h.has(sick[i]) != want {
				t.Errorf("image of failed generation %d: there %t, want %t", i, !want, want)
			}
		}
		h.engine.SetRegistryDown(true)
		if _, err := h.inst.Rollback(t.Context(), 0, "bob"); err != nil {
			t.Fatal(err)
		}
		if s := h.once(); s.Phase != reconciler.PhaseHeld {
			t.Errorf("a generation that is kept cannot be gone back to without a registry: %s %+v", s.Phase, s.Conditions)
		}
	})
}

// Nothing is removed while an apply is on its way, and a clean-up that fails
// fails nothing.
func TestClearingImagesFailsNothing(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.RetainGenerations = 2
		h.apply(spec)
		pruned, busy := 0, false
		h.engine.Hook = func(step string) error {
			switch {
			case step == "prune":
				pruned++
				if busy {
					t.Error("images were cleared before the apply stood")
				}
				return errBoom
			case strings.HasPrefix(step, "create "):
				busy = true
			case strings.HasPrefix(step, "settle "):
				busy = false
			}
			return nil
		}
		for range 3 {
			h.upgrade(drivertest.Healthy())
		}
		s := h.once()
		h.engine.Hook = nil
		if pruned != 3 {
			t.Errorf("images were cleared %d times after three applies", pruned)
		}
		if s.Sync != reconciler.Synced || s.Phase != reconciler.PhaseIdle || s.Outcome != reconciler.Applied {
			t.Errorf("%s %s %s", s.Sync, s.Phase, s.Outcome)
		}
	})
}
