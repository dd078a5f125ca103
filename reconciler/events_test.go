package reconciler_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// lives makes passes over what may make an event anew: nothing, a failing
// engine, a restart of the daemon, another engine's trouble.
func (h *house) lives() {
	h.t.Helper()
	h.once()
	h.engine.Kill("acme-app-1")
	h.engine.Hook = func(step string) error {
		if strings.HasPrefix(step, "start ") {
			return errBoom
		}
		return nil
	}
	for range 3 {
		h.once()
		time.Sleep(10 * time.Minute)
	}
	h.engine.Hook = nil
	h.restart()
	h.once()
	h.once()
}

// One event a change: passes, failures, restarts and commits that change nothing
// of it make none.
func TestOneEventAChange(t *testing.T) {
	for _, tt := range []struct {
		reason string
		change func(t *testing.T, h *house)
	}{
		{"Suspended", func(t *testing.T, h *house) {
			if err := h.inst.Suspend(t.Context(), "stocktaking", "bob", time.Time{}); err != nil {
				t.Fatal(err)
			}
		}},
		{"Suspended", func(_ *testing.T, h *house) { // by a commit
			s := acme(service("app", "app:2"))
			s.Suspend = &desired.Suspend{Reason: "stocktaking"}
			h.repo.commit(s)
		}},
		{"Held", func(t *testing.T, h *house) {
			if _, err := h.inst.Rollback(t.Context(), 0, "bob"); err != nil {
				t.Fatal(err)
			}
			h.once()
			h.repo.commit(acme(service("app", "app:2"))) // which changes nothing of it
		}},
		{"Refused", func(_ *testing.T, h *house) { h.repo.commitBad(errors.New("compose.yaml:3: services.app: bad")) }},
		{"Quarantined", func(_ *testing.T, h *house) { h.repo.commit(acme(service("app", "app:sick"))) }},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			lawTest(t, func(t *testing.T, h *house) {
				h.apply(acme(service("app", "app:1")))
				h.apply(acme(service("app", "app:2")))
				tt.change(t, h)
				h.once()
				h.lives()
				if n := h.events(tt.reason); n != 1 {
					list, _ := h.inst.Events(100)
					t.Errorf("%d events %s of one change: %+v", n, tt.reason, list)
				}
			})
		})
	}
}

// What comes back after it was over is told again.
func TestSecondSuspensionIsToldToo(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		for range 2 {
			if err := h.inst.Suspend(t.Context(), "stocktaking", "bob", time.Time{}); err != nil {
				t.Fatal(err)
			}
			h.once()
			if err := h.inst.Resume(t.Context(), "bob"); err != nil {
				t.Fatal(err)
			}
			h.once()
		}
		h.repo.commitBad(errors.New("bad"))
		h.once()
		h.apply(acme(service("app", "app:1")))
		h.repo.commitBad(errors.New("bad"))
		h.once()
		if s, r := h.events("Suspended"), h.events("Refused"); s != 2 || r != 2 {
			t.Errorf("%d suspensions and %d refusals are told, want 2 and 2", s, r)
		}
	})
}

func TestOneEventADeferral(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.Follow.MinAge = 240 * time.Hour
		h.apply(spec)
		h.engine.Push("app:stable", drivertest.Healthy())
		h.once()
		h.lives()
		if n := h.events("Deferred"); n != 1 {
			t.Errorf("%d events of one deferral", n)
		}
		if s := h.inst.Status(); s.Phase != reconciler.PhaseDeferred {
			t.Errorf("phase %s", s.Phase)
		}
	})
}
