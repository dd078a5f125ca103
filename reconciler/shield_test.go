package reconciler_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// slowApp is an application that serves half a minute after its start.
func slowApp(n int) desired.Spec {
	s := acme(env(service("app", "app:slow"), "BUILD", fmt.Sprint(n)))
	s.HealthTimeout, s.Bake = 2*time.Minute, 30*time.Second
	return s
}

// background runs the loop until the test ends.
func (h *house) background(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = h.inst.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// serves reports whether somebody would be answered.
func (h *house) serves() bool {
	for _, c := range h.observed().Containers {
		if c.Service == "app" && c.Slot == reconciler.SlotCurrent && c.State == reconciler.StateRunning && c.Health == reconciler.HealthHealthy {
			return true
		}
	}
	return false
}

// arrives commits a specification as a person does: the daemon sees it at once.
func (h *house) arrives(s desired.Spec) { h.repo.commit(s); h.inst.Trigger() }

// Commits that come faster than a single writer starts do not keep it down: of
// three in a row one comes up, and serves for a while (docs/adr/0014).
func TestCommitsThatComeFastDoNotKeepASingleWriterDown(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		h.background(t)
		const second = time.Second
		down, longest, served := time.Duration(0), time.Duration(0), time.Duration(0)
		n := 0
		for at := time.Duration(0); at < 15*time.Minute; at += second {
			if at%(20*second) == 0 {
				n++
				h.arrives(slowApp(n))
			}
			time.Sleep(second)
			if h.serves() {
				down, served = 0, served+second
			} else {
				down += second
			}
			longest = max(longest, down)
		}
		// Twice up to 20 s until a commit cuts it short, then 30 s to come up.
		if longest > 80*second || served < 2*time.Minute {
			t.Errorf("it was down for %s in a row, and served for %s of 15m", longest, served)
		}
		time.Sleep(5 * time.Minute)
		h.converged(slowApp(n))
		if h.events("NewerWaits") == 0 {
			t.Error("nobody was told that newer commits waited")
		}
	})
}

// shielded brings the third apply of a row under way, 5 s from its begin.
func (h *house) shielded(t *testing.T, third desired.Spec) {
	h.apply(acme(service("app", "app:1")))
	h.background(t)
	for _, s := range []desired.Spec{slowApp(1), slowApp(2), third} {
		h.arrives(s)
		time.Sleep(5 * time.Second)
	}
	if s := h.inst.Status(); s.Phase != reconciler.PhaseApplying || h.serves() {
		t.Fatalf("phase %s, serves %t", s.Phase, h.serves())
	}
}

// The first two of a row are still given up at once for the newest commit.
func TestNewestCommitWinsTwiceAtOnce(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.shielded(t, slowApp(3))
		list := h.history()
		if len(list) != 3 || list[0].Outcome != reconciler.Superseded || list[1].Outcome != reconciler.Superseded {
			t.Errorf("history: %+v", list)
		}
	})
}

// An operator who goes back does not wait.
func TestRollbackDoesNotWaitForAShield(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.shielded(t, slowApp(3))
		h.arrives(slowApp(4))
		time.Sleep(time.Second)
		if s := h.inst.Status(); s.Condition(reconciler.SourceReady).Reason != "NewerWaits" {
			t.Errorf("that a commit waits is not shown: %+v", s.Conditions)
		}
		if _, err := h.inst.Rollback(t.Context(), 1, "bob"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if s := h.inst.Status(); s.Phase != reconciler.PhaseHeld || !h.serves() {
			t.Errorf("phase %s, serves %t", s.Phase, h.serves())
		}
	})
}

// A shielded apply that fails is undone as any other, and the commit that mends
// it is taken then.
func TestShieldedApplyThatFailsIsUndone(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		sick := slowApp(3)
		sick.Services["app"] = env(service("app", "app:never"), "BUILD", "3")
		h.engine.Push("app:never", drivertest.SlowStart(time.Hour))
		h.shielded(t, sick)
		good := acme(service("app", "app:2"))
		h.arrives(good)
		time.Sleep(90 * time.Second)
		if h.serves() {
			t.Error("the commit did not wait")
		}
		time.Sleep(90 * time.Second)
		h.converged(good)
		if !h.serves() || h.history()[0].Outcome != reconciler.Applied || h.history()[1].Outcome != reconciler.RolledBack {
			t.Errorf("history: %+v", h.history()[:2])
		}
	})
}

// Where both run for a while nothing is down, and the newest commit always wins
// at once.
func TestStartFirstNeedsNoShield(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		h.background(t)
		for n := range 10 {
			s := slowApp(n)
			app := s.Services["app"]
			app.UpdateOrder = "start-first"
			s.Services["app"] = app
			h.arrives(s)
			time.Sleep(20 * time.Second)
			if !h.serves() {
				t.Fatalf("down after commit %d", n)
			}
		}
		if n := h.events("NewerWaits"); n != 0 {
			t.Errorf("%d commits waited", n)
		}
	})
}
