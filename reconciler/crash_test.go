package reconciler_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// upgrade is what the crash tests interrupt: services in order, one replaced,
// one new, one gone, one with a changed network of its own, one untouched.
func upgrade(image string) (before, after_ desired.Spec) {
	backend := func(driver string) desired.Network {
		return desired.Network{Key: "back", Name: "acme_back", Driver: driver}
	}
	on := func(s desired.Service, network string) desired.Service {
		s.Networks = append(s.Networks, desired.ServiceNetwork{Network: network})
		return s
	}
	before = acme(service("db", "db:1"), after(service("app", "app:1"), desired.Healthy, "db"),
		on(service("cache", "db:1"), "back"), service("old", "db:1"))
	before.Networks["back"] = backend("bridge")
	app := after(service("app", image), desired.Healthy, "db")
	app.Replicas = 2
	after_ = acme(service("db", "db:1"), app, on(service("cache", "db:1"), "back"), service("new", "db:1"))
	after_.Networks["back"] = backend("macvlan")
	return before, after_
}

// crashAt makes the engine fail for good from the nth step on, as it is for a
// daemon that was killed there, and says whether it came that far.
func (h *house) crashAt(n int64) (reached bool) {
	var steps atomic.Int64
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	h.engine.Hook = func(step string) error {
		if steps.Add(1) >= n {
			cancel(errBoom)
			return errBoom
		}
		return nil
	}
	h.inst.Once(ctx)
	h.engine.Hook = nil
	return steps.Load() >= n
}

// Law 7: killed at any step of an upgrade, the next start converges.
func TestKilledAtEveryStepOfAGoodUpgrade(t *testing.T) {
	before, next := upgrade("app:2")
	points := everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.restart()
		s := h.once()
		h.converged(next)
		if s.Sync != reconciler.Synced || s.Health != reconciler.Healthy {
			t.Errorf("status = %s %s %+v", s.Sync, s.Health, s.Conditions)
		}
		return reached
	})
	t.Logf("%d points", points)
}

// Killed at any step of an upgrade that gets sick, the rollback included, the
// next start ends with the old one.
func TestKilledAtEveryStepOfABadUpgrade(t *testing.T) {
	before, next := upgrade("app:sick")
	points := everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.restart()
		s := h.once()
		s = h.once()
		h.converged(before)
		if s.Phase != reconciler.PhaseQuarantined || s.Health != reconciler.Healthy {
			t.Errorf("status = %s %s %+v", s.Phase, s.Health, s.Conditions)
		}
		return reached
	})
	t.Logf("%d points", points)
}

// Killed twice, at any pair of steps that are not far apart.
func TestKilledTwice(t *testing.T) {
	before, next := upgrade("app:2")
	everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.restart()
		h.crashAt(1 + n%7)
		h.restart()
		h.once()
		h.converged(next)
		return reached
	})
}

// Killed in an upgrade, and the next start finds the revert.
func TestKilledAndReverted(t *testing.T) {
	before, next := upgrade("app:2")
	everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.repo.commit(before)
		h.restart()
		h.once()
		h.converged(before)
		return reached
	})
}

// Killed in an upgrade, and the next start finds a third revision.
func TestKilledAndOvertaken(t *testing.T) {
	before, next := upgrade("app:2")
	third := acme(service("db", "db:1"), service("app", "app:plain"), service("new", "db:1"))
	everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.repo.commit(third)
		h.restart()
		h.once()
		h.converged(third)
		return reached
	})
}

// Killed after the journal's commit and before the store knows of it: the
// generation stands.
func TestKilledBetweenCommitAndStore(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		before, next := upgrade("app:2")
		h.apply(before)
		h.repo.commit(next)
		h.dieAtSettle()
		if err := h.store.Forget("acme", 1); err != nil {
			t.Fatal(err)
		}
		h.repo.down = errBoom // so that nothing but the journal says so
		h.restart()
		if s := h.once(); s.Generation != 2 {
			t.Errorf("generation %d, want 2", s.Generation)
		}
		h.converged(next)
	})
}

// Containers that were set aside are cleared even when nothing but they tells
// of the apply.
func TestLeftOversWithoutAJournalAreCleared(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		before, next := upgrade("app:2")
		h.apply(before)
		h.repo.commit(next)
		h.dieAtSettle()
		if err := os.Remove(filepath.Join(h.dir, "journal", "acme")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		h.restart()
		if err := h.inst.Run(ctx); err != nil {
			t.Fatal(err)
		}
		h.converged(next)
	})
}

// dieAtSettle makes a pass whose last step never happens.
func (h *house) dieAtSettle() {
	h.engine.Hook = func(step string) error {
		if strings.HasPrefix(step, "settle ") {
			return errBoom
		}
		return nil
	}
	h.inst.Once(context.Background())
	h.engine.Hook = nil
}

// Killed at any step of a first deployment.
func TestKilledInTheFirstDeployment(t *testing.T) {
	first, _ := upgrade("app:2")
	everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.repo.commit(first)
		reached := h.crashAt(n)
		h.restart()
		h.once()
		h.converged(first)
		return reached
	})
}

// Cut off, and the repository cannot be read at the next start: what was good
// comes back, without git.
func TestKilledAndGitIsGone(t *testing.T) {
	before, next := upgrade("app:2")
	everyStep(t, func(t *testing.T, h *house, n int64) bool {
		h.apply(before)
		h.repo.commit(next)
		reached := h.crashAt(n)
		h.repo.down = errBoom
		h.restart()
		h.once()
		o := h.observed()
		for _, c := range o.Containers {
			if c.State != reconciler.StateRunning || c.Slot != reconciler.SlotCurrent {
				t.Errorf("%s is %s (slot %q)", c.Name, c.State, c.Slot)
			}
		}
		if len(o.Containers) < 4 {
			t.Errorf("only %v", names(o))
		}
		return reached
	})
}

// everyStep runs a test for step 1, 2, … until the step is not reached.
func everyStep(t *testing.T, test func(t *testing.T, h *house, n int64) (reached bool)) (points int) {
	t.Helper()
	reached := true
	for n := int64(1); reached && !t.Failed(); n++ {
		t.Run(fmt.Sprintf("step %d", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { reached = test(t, newHouse(t), n) })
		})
		points++
	}
	if points < 10 {
		t.Errorf("only %d steps: the test does not reach what it is for", points)
	}
	return points
}
