package reconciler_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// A call to the engine that got no answer in time is no verdict on the release
// that is being waited for.
func TestStuckEngineDoesNotCondemnARelease(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		stuck := true
		h.engine.Hook = func(step string) error {
			if stuck && strings.HasPrefix(step, "wait ") {
				stuck = false
				return errors.Join(reconciler.ErrUnreachable, context.DeadlineExceeded)
			}
			return nil
		}
		next := acme(service("app", "app:2"))
		h.apply(next)
		s := h.once()
		if stuck || len(s.Quarantined) > 0 {
			t.Errorf("stuck %v, quarantined %+v", stuck, s.Quarantined)
		}
		h.converged(next)
	})
}

// Law 12: what a health check or the engine says may repeat a secret.
func TestReasonsHideSecrets(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		const secret = "correct-horse-battery"
		h.apply(acme(service("app", "app:1")))
		failed := false
		h.engine.Hook = func(step string) error {
			if step == "start acme-app-1" && !failed {
				failed = true
				return reconciler.Terminal(errors.New("exec: " + secret + ": not found"))
			}
			return nil
		}
		spec := acme(service("app", "app:2"))
		spec.Sensitive = []string{secret, "horse"}
		h.apply(spec)
		if rec := h.history()[0]; !strings.Contains(rec.Reason, "(sensitive): not found") {
			t.Errorf("reason = %s", rec.Reason)
		}
		if s := h.once(); len(s.Quarantined) != 1 {
			t.Errorf("quarantined %+v: the error lost its class", s.Quarantined)
		}
		h.stop()
		for _, name := range files(t, h.dir) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(data, []byte(secret)) {
				t.Errorf("%s holds the secret in the clear", name)
			}
		}
		h.start()
	})
}

// A hint that comes while the pass looks closely is looked after in the next.
func TestHintDuringADeepLookIsNotLost(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		looks := 0
		h.engine.Hook = func(step string) error {
			if strings.HasPrefix(step, "observe ") {
				switch looks++; looks {
				case 2: // the deep one
					h.inst.Hint()
				case 3: // after it: only another deep one sees this
					h.engine.Update("acme-app-1", "memory", "0", "64m")
				}
			}
			return nil
		}
		h.engine.Stop("acme-app-1")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		h.inst.Trigger()
		go func() { done <- h.inst.Run(ctx) }()
		time.Sleep(20 * time.Second)
		cancel()
		<-done
		if looks < 3 || len(h.observed().Containers[0].Changed) > 0 {
			t.Errorf("%d observations, changed %v", looks, h.observed().Containers[0].Changed)
		}
	})
}

// A service that falls over again and again does not keep another one down.
func TestFlappingServiceDoesNotDelayOthers(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1"), service("db", "db:1")))
		for range 12 {
			h.engine.Kill("acme-app-1")
			h.once() // forced: it counts, and waits for nothing
		}
		run(t, h, func() {
			h.engine.Kill("acme-app-1")
			h.engine.Kill("acme-db-1")
			h.inst.Hint()
			time.Sleep(10 * time.Second)
			for _, c := range h.observed().Containers {
				if up := c.State == reconciler.StateRunning; up != (c.Service == "db") {
					t.Errorf("%s is %s", c.Name, c.State)
				}
			}
		})
	})
}

// An image that is gone, with its registry away, keeps only its own service
// down, and the registry is not asked every second.
func TestMissingImageKeepsOnlyItsOwnServiceDown(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"), service("db", "db:1"))
		h.apply(spec)
		h.engine.FailPull(digestOf(h, "app:1"), errBoom)
		h.engine.RemoveContainer("acme-app-1")
		h.engine.RemoveImage("app:1")
		before := len(h.engine.Steps())
		run(t, h, func() {
			h.inst.Hint()
			time.Sleep(20 * time.Minute)
			h.engine.RemoveContainer("acme-db-1")
			h.inst.Hint()
			time.Sleep(10 * time.Second)
			if o := h.observed(); len(o.Containers) != 1 || o.Containers[0].Service != "db" {
				t.Errorf("containers: %v", names(o))
			}
			if pulls := count(h.engine.Steps()[before:], "pull "); pulls < 3 || pulls > 30 {
				t.Errorf("%d pulls in 20 minutes", pulls)
			}
			h.engine.FailPull(digestOf(h, "app:1"), nil)
			time.Sleep(6 * time.Minute)
			h.converged(spec)
		})
	})
}

// A rollback to what cannot be fetched any more is tried with pauses, and what
// runs is healed meanwhile (law 14).
func TestRollbackThatCannotBeFetchedKeepsHealing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		one, two := acme(service("app", "app:1")), acme(service("app", "app:2"))
		h.apply(one)
		h.apply(two)
		h.engine.RemoveImage("app:1")
		h.engine.FailPull(digestOf(h, "app:1"), errBoom)
		if _, err := h.inst.Rollback(t.Context(), 0, "bob"); err != nil {
			t.Fatal(err)
		}
		before := len(h.engine.Steps())
		run(t, h, func() {
			time.Sleep(time.Minute)
			h.engine.Kill("acme-app-1")
			h.inst.Hint()
			time.Sleep(10 * time.Second)
			h.converged(two)
			time.Sleep(20 * time.Minute)
			if pulls := count(h.engine.Steps()[before:], "pull "); pulls < 3 || pulls > 30 {
				t.Errorf("%d pulls in 20 minutes", pulls)
			}
			h.engine.FailPull(digestOf(h, "app:1"), nil)
			time.Sleep(6 * time.Minute)
			h.converged(one)
		})
	})
}

// What a hand on the host has mended is noticed without a new revision.
func TestStalledIsLookedAtAgain(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		spec.Networks["edge"] = desired.Network{Key: "edge", Name: "edge", External: true}
		if s := h.apply(spec); s.Phase != reconciler.PhaseStalled {
			t.Errorf("phase = %s", s.Phase)
		}
		run(t, h, func() {
			time.Sleep(time.Minute)
			h.engine.AddNetwork("edge")
			time.Sleep(6 * time.Minute)
			h.converged(spec)
		})
	})
}

// run lets the loop run while f acts.
func run(t *testing.T, h *house, f func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.inst.Run(ctx) }()
	time.Sleep(time.Second)
	f()
	cancel()
	<-done
}

func digestOf(h *house, ref string) string {
	h.t.Helper()
	list, err := h.inst.Generations()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, g := range list {
		if d := g.Images[ref].Digest; d != "" {
			return d
		}
	}
	h.t.Fatalf("no generation has %s", ref)
	return ""
}

func count(steps []string, prefix string) (n int) {
	for _, s := range steps {
		if strings.HasPrefix(s, prefix) {
			n++
		}
	}
	return n
}

// A rollback without a number, asked while a new generation is on its way,
// means away from that one.
func TestRollbackDuringADeployGoesToTheAppliedOne(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		two := acme(service("app", "app:2"))
		h.apply(two)
		h.repo.commit(acme(service("app", "app:slow")))
		run(t, h, func() {
			to, err := h.inst.Rollback(t.Context(), 0, "bob")
			if err != nil || to.Number != 2 {
				t.Errorf("rollback to %d, %v", to.Number, err)
			}
			time.Sleep(5 * time.Second)
			h.converged(two)
			if s := h.inst.Status(); s.Phase != reconciler.PhaseHeld {
				t.Errorf("phase = %s", s.Phase)
			}
		})
	})
}

// A daemon that is told to stop leaves no container stopped whose replacement
// was not started.
func TestStopOfTheDaemonEndsTheSwapFirst(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		two := acme(service("app", "app:2"))
		h.repo.commit(two)
		ctx, cancel := context.WithCancel(t.Context())
		h.engine.Hook = func(step string) error {
			if step == "rename acme-app-1 acme-app-1.previous" { // stopped already
				cancel()
			}
			return nil
		}
		h.inst.Once(ctx)
		h.engine.Hook = nil
		up := false
		for _, c := range h.observed().Containers {
			up = up || c.Name == "acme-app-1" && c.State == reconciler.StateRunning
		}
		if !up {
			t.Errorf("nothing serves: %v", names(h.observed()))
		}
		h.restart()
		h.once()
		h.converged(two)
	})
}

// The way back is gone even when nothing can be written down any more.
func TestRollbackWithoutAJournal(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		one := acme(service("app", "app:1"))
		h.apply(one)
		h.repo.commit(acme(service("app", "app:sick")))
		h.engine.Hook = func(step string) error {
			if step == "start acme-app-1" {
				h.inst.CloseJournal()
			}
			return nil
		}
		h.once()
		h.engine.Hook = nil
		for _, c := range h.observed().Containers {
			if c.Name == "acme-app-1" && (c.ImageRef != "app:1" || c.State != reconciler.StateRunning) {
				t.Errorf("%s of %s is %s", c.Name, c.ImageRef, c.State)
			}
		}
		h.restart()
		h.once()
		h.converged(one)
	})
}
