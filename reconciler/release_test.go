package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func TestChannelUpgradesByItself(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.Services["worker"] = service("worker", "app:stable")
		h.apply(spec)
		before := h.digest("app:stable")
		h.runs(before)
		h.engine.Push("app:stable", drivertest.Healthy())
		s := h.once()
		h.runs(h.digest("app:stable"))
		if s.Generation != 2 || s.Sync != reconciler.Synced || s.Release.Running != h.digest("app:stable") {
			t.Errorf("generation %d, %s, runs %s", s.Generation, s.Sync, s.Release.Running)
		}
		if rec := h.history()[0]; rec.Who != "channel stable" || len(rec.Actions) != 2 || !strings.Contains(rec.Actions[0].Changes[0].New, "sha256:") {
			t.Errorf("record = %+v", rec)
		}
		if list, err := h.inst.Events(1); err != nil || !strings.Contains(list[0].Message, "generation 2 stands: release ") {
			t.Errorf("the event does not name the release: %+v, %v", list, err)
		}
		steps := len(h.engine.Steps())
		h.once()
		if extra := changing(h.engine.Steps()[steps:]); len(extra) > 0 {
			t.Errorf("the pass after the upgrade did %v", extra)
		}
	})
}

// What runs is compared with what is wanted, each container of its own: an
// upgrade that somebody undid by hand on one of two services is made again,
// though the registry has nothing new (incident 1, agnes-facts 4.3).
func TestDriftOfOneServiceIsFoundWithoutNews(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.Services["worker"] = service("worker", "app:stable")
		h.apply(spec)
		h.engine.Push("app:stable", drivertest.Healthy())
		h.once()
		c.down = errors.New("registry is down")
		h.engine.RemoveContainer("acme-worker-1")
		s := h.once()
		h.runs(h.digest("app:stable"))
		if len(s.Containers) != 2 || s.Generation != 2 {
			t.Errorf("%d containers, generation %d", len(s.Containers), s.Generation)
		}
	})
}

func TestSickReleaseIsUndoneAndNotTriedAgain(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		good := h.digest("app:stable")
		h.engine.Push("app:stable", drivertest.Unhealthy())
		s := h.once()
		h.runs(good)
		if s.Outcome != reconciler.RolledBack || len(s.Quarantined) != 1 || s.Quarantined[0].Release != h.digest("app:stable") {
			t.Errorf("%s, quarantined %+v", s.Outcome, s.Quarantined)
		}
		records := len(h.history())
		for range 3 {
			time.Sleep(10 * time.Minute)
			h.restart()
			s = h.once()
		}
		if len(h.history()) != records || s.Phase != reconciler.PhaseQuarantined || s.Condition(reconciler.ReleaseReady).Reason != "Quarantined" {
			t.Errorf("tried again: %d records, was %d; phase %s", len(h.history()), records, s.Phase)
		}
		h.runs(good)
		h.engine.Push("app:stable", drivertest.Healthy())
		if s = h.once(); s.Generation != 3 {
			t.Errorf("generation %d after the mended release", s.Generation)
		}
		h.runs(h.digest("app:stable"))
	})
}

// With rollback: off the sick release is left in place for whoever looks at it,
// and the next one is taken all the same.
func TestSickReleaseIsLeftInPlaceWhenAskedTo(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.Rollback = "off"
		h.apply(spec)
		h.engine.Push("app:stable", drivertest.Unhealthy())
		h.once()
		s := h.once()
		h.runs(h.digest("app:stable"))
		if s.Phase != reconciler.PhaseQuarantined || s.Generation != 1 {
			t.Errorf("%s, generation %d", s.Phase, s.Generation)
		}
		h.engine.Push("app:stable", drivertest.Healthy())
		h.once()
		h.runs(h.digest("app:stable"))
		h.converged(spec)
	})
}

// A commit to something else is applied with what runs while the newest
// release is in quarantine, and a pin and its end move as they say.
func TestCommitsBesideAQuarantinedRelease(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		good := h.digest("app:stable")
		h.engine.Push("app:stable-1", drivertest.Healthy())
		h.engine.Push("app:stable", drivertest.Unhealthy())
		h.once()
		other := channelSpec()
		other.Services["app"] = env(other.Services["app"], "GREETING", "hi")
		if s := h.apply(other); s.Outcome != reconciler.Applied || s.Generation != 3 {
			t.Errorf("commit beside it: %s, generation %d", s.Outcome, s.Generation)
		}
		h.runs(good)
		pinned := acme(service("app", "app:stable-1"))
		pinned.Follow = &desired.Follow{Ref: "app:stable-1", Version: "1"}
		h.apply(pinned)
		h.runs(h.digest("app:stable-1"))
		s := h.apply(other)
		h.runs(h.digest("app:stable-1"))
		if s.Outcome != reconciler.Applied || s.Condition(reconciler.ReleaseReady).Reason != "Quarantined" {
			t.Errorf("unpinned onto a release that failed: %s %+v", s.Outcome, s.Condition(reconciler.ReleaseReady))
		}
	})
}

// A commit is answered with what its reference means now, not with what it meant
// when it was asked for last.
func TestCommitAsksAnew(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.engine.Push("app:dev", drivertest.Healthy())
		h.apply(channelSpec())
		c.ages = true // from here on only a fresh question sees news
		h.engine.Push("app:dev", drivertest.Healthy())
		dev := acme(service("app", "app:dev"))
		dev.Follow = &desired.Follow{Ref: "app:dev", Channel: "dev", Every: time.Hour}
		h.apply(dev)
		h.runs(h.digest("app:dev"))
		h.engine.Push("app:dev", drivertest.Healthy())
		before := h.digest("app:dev")
		if h.inst.Once(t.Context()); h.history()[0].Generation != 3 {
			t.Errorf("a pass that was asked for looks for news: generation %d", h.history()[0].Generation)
		}
		h.runs(before)
	})
}

func TestWindowOpensAndTheReleaseIsTaken(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec() // the bubble's clock begins at midnight, 2000-01-01, a Saturday
		w, err := desired.ParseWindow("Sat 02:00-03:00")
		if err != nil {
			t.Fatal(err)
		}
		spec.Follow.Window, spec.Follow.MinAge = &w, 90*time.Minute
		h.apply(spec)
		h.engine.Push("app:stable", drivertest.Healthy())
		s := h.once()
		if s.Phase != reconciler.PhaseDeferred || s.Release.Deferred.Reason != "MinAge" {
			t.Errorf("phase %s, %+v", s.Phase, s.Release.Deferred)
		}
		time.Sleep(100 * time.Minute)
		if s = h.once(); s.Release.Deferred == nil || s.Release.Deferred.Reason != "Window" || s.Generation != 1 {
			t.Errorf("before the window: %+v", s.Release)
		}
		h.once()
		if n := h.events("Deferred"); n != 2 { // one for its age, one for the window
			t.Errorf("%d events of a deferral", n)
		}
		time.Sleep(30 * time.Minute)
		if s = h.once(); s.Generation != 2 || s.Phase != reconciler.PhaseIdle {
			t.Errorf("in the window: generation %d, %s", s.Generation, s.Phase)
		}
	})
}

func TestUpgradeNowWaitsForNothing(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		spec := channelSpec()
		spec.Follow.MinAge = 24 * time.Hour
		h.apply(spec)
		h.engine.Push("app:stable", drivertest.Healthy())
		h.once()
		if err := h.inst.UpgradeNow(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		if s := h.once(); s.Generation != 2 {
			t.Errorf("generation %d, %s", s.Generation, s.Phase)
		}
		h.engine.Push("app:stable", drivertest.Healthy())
		if s := h.once(); s.Phase != reconciler.PhaseDeferred {
			t.Errorf("the release after it does not wait: %s", s.Phase)
		}
	})
}

func TestRegistryDownKeepsWhatRuns(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		good := h.digest("app:stable")
		c.down = errors.New("connection refused")
		h.engine.Kill("acme-app-1")
		h.restart()
		s := h.once()
		h.runs(good)
		cond := s.Condition(reconciler.ReleaseReady)
		if cond.Status != "Unknown" || cond.Reason != "RegistryUnreachable" || !strings.Contains(cond.Message, "connection refused") || s.Sync != reconciler.Synced {
			t.Errorf("%s %+v", s.Sync, cond)
		}
		if plan, err := h.inst.Preview(t.Context(), nil); err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "connection refused") {
			t.Errorf("the plan does not say that the registry could not be asked: %+v, %v", plan.Notes, err)
		}
	})
}

// The way back of a release needs neither git nor a registry, also when the
// daemon is killed at any point of it.
func TestWayBackOfAReleaseNeedsNobody(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		good := h.digest("app:stable")
		h.engine.Push("app:stable", drivertest.Unhealthy())
		h.engine.Hook = func(step string) error {
			if strings.HasPrefix(step, "start ") { // the sick one is there: now everybody goes away
				c.mu.Lock()
				c.down = errors.New("registry is down")
				c.mu.Unlock()
				h.repo.mu.Lock()
				h.repo.down = errors.New("git is down")
				h.repo.mu.Unlock()
			}
			if strings.HasPrefix(step, "pull ") && c.down != nil {
				return fmt.Errorf("no registry for %s", step)
			}
			return nil
		}
		s := h.once()
		h.engine.Hook = nil
		if s.Outcome != reconciler.RolledBack {
			t.Errorf("outcome %s: %+v", s.Outcome, s.Conditions)
		}
		h.runs(good)
	})
}

// A rollback goes back from a release to the one before, though no commit lies
// between them, and holds until a newer release or commit.
func TestRollbackOfARelease(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		first := h.digest("app:stable")
		h.engine.Push("app:stable", drivertest.Healthy())
		h.once()
		to, err := h.inst.Rollback(t.Context(), 0, "bob")
		if err != nil || to.Number != 1 {
			t.Fatalf("rollback to %d, %v", to.Number, err)
		}
		if s := h.once(); s.Phase != reconciler.PhaseHeld {
			t.Errorf("phase %s", s.Phase)
		}
		h.runs(first)
		h.restart()
		h.once()
		h.runs(first)
		if plan, err := h.inst.Preview(t.Context(), nil); err != nil || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "held by bob") {
			t.Errorf("the plan does not say that it is held: %+v, %v", plan.Notes, err)
		}
		if why, err := h.inst.Why("app"); err != nil || len(why) != 1 || !strings.HasPrefix(why[0].Waiting, "generation 1 is held by bob") {
			t.Errorf("why: %+v, %v", why, err)
		}
		if err := h.inst.Suspend(t.Context(), "inventory", "bob", time.Time{}); err != nil {
			t.Fatal(err)
		}
		if plan, err := h.inst.Preview(t.Context(), nil); err != nil || len(plan.Notes) != 2 || !strings.Contains(plan.Notes[0], "inventory") {
			t.Errorf("the plan does not say that it is suspended: %+v, %v", plan.Notes, err)
		}
		if err := h.inst.Resume(t.Context(), "bob"); err != nil {
			t.Fatal(err)
		}
		h.engine.Push("app:stable", drivertest.Healthy())
		if s := h.once(); s.Hold != nil || s.Phase != reconciler.PhaseIdle {
			t.Errorf("a newer release does not end the hold: %s %+v", s.Phase, s.Hold)
		}
		h.runs(h.digest("app:stable"))
	})
}

// A newer release takes over from one that is being waited for.
func TestNewerReleaseTakesOver(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		h.engine.Push("app:stable", drivertest.SlowStart(time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.inst.Run(ctx) }()
		time.Sleep(5 * time.Second)
		h.engine.Push("app:stable", drivertest.Healthy())
		h.inst.Trigger()
		began := time.Now()
		for h.inst.Status().Generation < 2 && time.Since(began) < time.Minute {
			time.Sleep(time.Second)
		}
		cancel()
		<-done
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it stood after %s", took)
		}
		h.runs(h.digest("app:stable"))
		if rec := h.history()[1]; rec.Outcome != reconciler.Superseded {
			t.Errorf("the older one: %s", rec.Outcome)
		}
	})
}

// A channel that moves faster than the application starts does not keep it from
// ever being up: a release that took over from another is waited for.
func TestRestlessChannelKeepsNothingDown(t *testing.T) {
	channelTest(t, func(t *testing.T, h *house, c *channels) {
		h.apply(channelSpec())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.inst.Run(ctx) }()
		for range 12 {
			h.engine.Push("app:stable", drivertest.SlowStart(8*time.Second))
			h.inst.Trigger()
			time.Sleep(5 * time.Second)
		}
		stood := 0
		for _, rec := range h.history() {
			if rec.Outcome == reconciler.Applied {
				stood++
			}
		}
		cancel()
		<-done
		if stood < 3 { // the first of all, and at least two in a minute
			t.Errorf("%d stood in a minute", stood)
		}
	})
}

// The daemon is killed at each step of an upgrade, and what it finds in the
// next life is finished: the newest release runs, or the one before.
func TestUpgradeSurvivesAKillAtEachStep(t *testing.T) {
	for kill := 1; ; kill++ {
		over := false
		channelTest(t, func(t *testing.T, h *house, c *channels) {
			h.apply(channelSpec())
			h.engine.Push("app:stable", drivertest.Healthy())
			at := 0
			ctx, cancel := context.WithCancelCause(t.Context())
			h.engine.Hook = func(string) error {
				if at++; at == kill {
					cancel(errors.New("killed"))
					return errors.New("killed")
				}
				if at > kill {
					return errors.New("killed")
				}
				return nil
			}
			h.inst.Once(ctx)
			h.engine.Hook = nil
			over = at < kill
			h.restart()
			h.once()
			s := h.once()
			h.runs(h.digest("app:stable"))
			h.converged(channelSpec())
			if s.Phase != reconciler.PhaseIdle || len(s.Quarantined) != 0 {
				t.Errorf("killed at %d: %s, quarantined %+v", kill, s.Phase, s.Quarantined)
			}
		})
		if over || t.Failed() {
			if kill < 8 {
				t.Errorf("only %d steps were cut", kill)
			}
			return
		}
	}
}
