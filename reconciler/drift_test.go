package reconciler_test

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// Drift of every kind is healed, and history says what it was.
func TestDriftIsHealed(t *testing.T) {
	spec := acme(service("app", "app:1"), service("db", "db:1"))
	for name, tamper := range map[string]func(*drivertest.Engine){
		"kill":       func(e *drivertest.Engine) { e.Kill("acme-app-1") },
		"stop":       func(e *drivertest.Engine) { e.Stop("acme-app-1") },
		"pause":      func(e *drivertest.Engine) { e.Pause("acme-app-1") },
		"remove":     func(e *drivertest.Engine) { e.RemoveContainer("acme-app-1") },
		"rename":     func(e *drivertest.Engine) { e.Rename("acme-app-1", "mine") },
		"update":     func(e *drivertest.Engine) { e.Update("acme-app-1", "memory", "0", "64m") },
		"disconnect": func(e *drivertest.Engine) { e.Disconnect("acme-app-1", "acme_default") },
		"recreate":   func(e *drivertest.Engine) { e.Recreate("acme-app-1") },
		"network":    func(e *drivertest.Engine) { e.RemoveNetwork("acme_default") },
	} {
		t.Run(name, func(t *testing.T) {
			lawTest(t, func(t *testing.T, h *house) {
				h.apply(spec)
				tamper(h.engine)
				s := h.once()
				h.converged(spec)
				rec := h.history()[0]
				if rec.Kind != "heal" || rec.Outcome != reconciler.Applied || len(rec.Actions) == 0 || rec.Actions[0].Reason == "" {
					t.Errorf("record = %+v", rec)
				}
				if s.Sync != reconciler.Synced || s.Generation != 1 {
					t.Errorf("status = %s generation %d", s.Sync, s.Generation)
				}
			})
		})
	}
}

// A deployment does not wait for a look at the settings of what it leaves alone;
// what other hands changed there is healed all the same, once it stands.
func TestDriftBesideADeploymentIsHealed(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1"), service("db", "db:1")))
		h.engine.Update("acme-db-1", "memory", "0", "64m")
		spec := acme(service("app", "app:2"), service("db", "db:1"))
		s := h.apply(spec)
		h.converged(spec)
		for _, c := range h.observed().Containers {
			if len(c.Changed) > 0 {
				t.Errorf("%s is still changed: %+v", c.Name, c.Changed)
			}
		}
		list := h.history()
		if len(list) != 3 || list[0].Kind != "heal" || list[0].Actions[0].Object != "acme-db-1" || list[1].Kind != "deploy" || len(list[1].Actions) != 1 {
			t.Errorf("history = %+v", list)
		}
		if s.Phase != reconciler.PhaseIdle || s.Sync != reconciler.Synced || s.Outcome != reconciler.Applied {
			t.Errorf("status = %s %s %s", s.Phase, s.Sync, s.Outcome)
		}
	})
}

func TestOneShotIsNotRunAgain(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		migrate := service("migrate", "job:1")
		migrate.Job = true
		spec := acme(migrate, after(service("app", "app:1"), desired.Completed, "migrate"))
		s := h.apply(spec)
		if s.Health != reconciler.Healthy {
			t.Errorf("health = %s %+v", s.Health, s.Conditions)
		}
		before := len(h.engine.Steps())
		h.once()
		if again := changing(h.engine.Steps()[before:]); len(again) > 0 {
			t.Errorf("steps = %v", again)
		}
	})
}

func TestFlappingIsSlowedDown(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.inst.Run(ctx) }()
		for range 600 {
			time.Sleep(time.Second)
			h.engine.Kill("acme-app-1")
			h.inst.Hint()
		}
		cancel()
		<-done
		heals := len(h.history()) - 1
		if heals < 3 || heals > 20 {
			t.Errorf("healed %d times in ten minutes, want a few with growing pauses", heals)
		}
	})
}
