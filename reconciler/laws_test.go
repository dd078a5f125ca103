package reconciler_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// lawTest runs in a bubble, so that waits cost no time.
func lawTest(t *testing.T, f func(t *testing.T, h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newHouse(t)) })
}

func TestCommitBecomesContainers(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("db", "db:1"), after(service("app", "app:1"), desired.Healthy, "db"))
		s := h.apply(spec)
		h.converged(spec)
		if s.Sync != reconciler.Synced || s.Health != reconciler.Healthy || s.Phase != reconciler.PhaseIdle || s.Generation != 1 {
			t.Errorf("status = %s %s %s generation %d", s.Sync, s.Health, s.Phase, s.Generation)
		}
		if rec := h.history()[0]; rec.Outcome != reconciler.Applied || rec.Kind != "deploy" || rec.Who != "Ann" || len(rec.Actions) != 3 {
			t.Errorf("record = %+v", rec)
		}
	})
}

// Law 1: the plan after a successful apply is empty, and a pass without a
// change touches nothing.
func TestSecondPassDoesNothing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"), service("job", "job:1"))
		h.apply(spec)
		before := len(h.engine.Steps())
		h.once()
		h.restart()
		s := h.once()
		if extra := h.engine.Steps()[before:]; len(changing(extra)) > 0 {
			t.Errorf("steps of passes without a change: %v", extra)
		}
		if len(h.history()) != 1 || s.Sync != reconciler.Synced {
			t.Errorf("history has %d entries, sync is %s", len(h.history()), s.Sync)
		}
	})
}

// changing drops the steps that change nothing.
func changing(steps []string) (list []string) {
	for _, s := range steps {
		if !strings.HasPrefix(s, "wait ") && !strings.HasPrefix(s, "settle ") && !strings.HasPrefix(s, "pull ") {
			list = append(list, s)
		}
	}
	return list
}

// Law 2: many triggers cause at most one more pass.
func TestTriggersCoalesce(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		ctx, cancel := context.WithCancel(t.Context())
		observed, gate := 0, make(chan struct{})
		close(gate)
		h.engine.Hook = func(step string) error {
			if strings.HasPrefix(step, "observe ") {
				observed++
				<-gate
			}
			return nil
		}
		done := make(chan error, 1)
		go func() { done <- h.inst.Run(ctx) }()
		synctest.Wait()
		observed, gate = 0, make(chan struct{})
		h.inst.Trigger()
		synctest.Wait() // a pass is on its way while the triggers come
		for range 1000 {
			h.inst.Trigger()
		}
		close(gate)
		synctest.Wait()
		if observed < 1 || observed > 2 {
			t.Errorf("1,000 triggers made %d observations, want 1 or 2", observed)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Law 3: what cannot be read removes nothing.
func TestUnreadableSourceRemovesNothing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		h.repo.down = errBoom
		h.engine.Kill("acme-app-1")
		s := h.once()
		h.converged(spec) // law 14: and it is healed all the same
		if s.Sync != reconciler.Unknown || s.Condition(reconciler.SourceReady).Reason != "SourceUnreadable" {
			t.Errorf("sync = %s, condition = %+v", s.Sync, s.Condition(reconciler.SourceReady))
		}
	})
}

func TestUnreachableEngineDecidesNothing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		h.engine.SetDown(errors.Join(reconciler.ErrUnreachable, errBoom))
		h.repo.commit(acme(service("app", "app:2")))
		s := h.once()
		if s.Sync != reconciler.Unknown || s.Condition(reconciler.ContainersReady).Reason != "EngineUnreachable" {
			t.Errorf("status = %s %+v", s.Sync, s.Conditions)
		}
		h.engine.SetDown(nil)
		h.once()
		h.converged(acme(service("app", "app:2")))
		if n := len(h.history()); n != 2 {
			t.Errorf("history has %d records, want the two deployments only", n)
		}
	})
}

func TestEmptySpecNeedsAllowEmpty(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		s := h.apply(acme())
		h.converged(spec)
		if c := s.Condition(reconciler.ContainersReady); s.Phase != reconciler.PhaseStalled || c.Reason != "EmptySpec" || !strings.Contains(c.Message, "allowEmpty") {
			t.Errorf("status = %s %+v", s.Phase, s.Conditions)
		}
		empty := acme()
		empty.AllowEmpty = true
		h.apply(empty)
		h.converged(empty)
	})
}

// Law 4: a revision that does not load changes nothing; the last good one is
// kept converged.
func TestBadRevisionChangesNothing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		h.repo.commitBad(desired.Problems{{File: "instances/acme/compose.yaml", Line: 3, Field: "services.app.imgae", Text: "unknown key"}})
		h.engine.RemoveContainer("acme-app-1")
		s := h.once()
		h.converged(spec)
		if s.Phase != reconciler.PhaseRefused || len(s.Problems) != 1 || s.Applied.Commit == s.Attempted.Commit {
			t.Errorf("status = %s, problems %v, attempted %s, applied %s", s.Phase, s.Problems, s.Attempted.Commit, s.Applied.Commit)
		}
		h.restart()
		h.engine.Kill("acme-app-1")
		h.once()
		h.converged(spec) // the last good one survives a restart, too
	})
}

// Law 5: volumes stay, and what is not ours is not touched.
func TestVolumesAndForeignObjectsStay(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.engine.AddForeign("blog-web-1", "project blog")
		h.engine.AddNetwork("blog_default")
		h.engine.AddVolume("blog_data")
		spec := acme(service("app", "app:1"))
		spec.Volumes = map[string]desired.Volume{"data": {Key: "data", Name: "acme_data"}}
		h.apply(spec)
		empty := acme()
		empty.AllowEmpty, empty.Networks = true, nil
		h.apply(empty)
		o := h.observed()
		if _, there := o.Volumes["acme_data"]; !there {
			t.Error("volume acme_data was removed")
		}
		if _, there := o.Networks["acme_default"]; there {
			t.Error("network acme_default was not removed")
		}
		for _, what := range []bool{o.Foreign["blog-web-1"] != "", o.Networks["blog_default"].Name != "", o.Volumes["blog_data"].Name != ""} {
			if !what {
				t.Errorf("a foreign object is gone: %+v", o)
			}
		}
	})
}

// What is held stays said in the passes that do not look closely.
func TestHeldVolumeStaysACondition(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		spec.Volumes = map[string]desired.Volume{"data": {Key: "data", Name: "acme_data"}}
		h.apply(spec)
		spec.Volumes = map[string]desired.Volume{"data": {Key: "data", Name: "acme_data", DriverOpts: map[string]string{"type": "tmpfs"}}}
		h.apply(spec)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := h.inst.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if c := h.inst.Status().Condition(reconciler.ContainersReady); c.Reason != "VolumeDiffers" {
			t.Errorf("condition = %+v", c)
		}
	})
}

func TestForeignNameIsNotTaken(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.engine.AddForeign("acme-app-1", "project acme, made by docker compose")
		s := h.apply(acme(service("app", "app:1")))
		if s.Phase != reconciler.PhaseStalled || !strings.Contains(s.Condition(reconciler.ContainersReady).Message, "acme-app-1") {
			t.Errorf("status = %s %+v", s.Phase, s.Conditions)
		}
		if steps := changing(h.engine.Steps()); len(steps) > 0 {
			t.Errorf("steps before the refusal: %v", steps)
		}
	})
}

// Law 6: nothing is stopped before everything is here.
func TestFailedPullLeavesTheOldOneServing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		h.engine.FailPull("app:2", errBoom)
		before := len(h.engine.Steps())
		s := h.apply(acme(service("app", "app:2")))
		h.converged(spec)
		if steps := changing(h.engine.Steps()[before:]); len(steps) > 0 {
			t.Errorf("steps with a pull that fails: %v", steps)
		}
		if s.Phase != reconciler.PhaseRetrying || s.Sync != reconciler.OutOfSync {
			t.Errorf("status = %s %s", s.Phase, s.Sync)
		}
		h.engine.FailPull("app:2", nil)
		h.once()
		h.converged(acme(service("app", "app:2")))
	})
}

// Law 14: a registry that does not give an image anew keeps no revision from
// being applied with the one that is there. It is told once, and a pass that
// finds nothing to do asks for nothing.
func TestImageThatIsNotGivenAnewIsKept(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		of := func(mode string) desired.Spec {
			s := env(service("app", "app:1"), "MODE", mode)
			s.PullPolicy, s.PullAfter = "refresh", time.Hour
			return acme(s)
		}
		h.apply(of("one"))
		h.engine.FailPull("app:1", errBoom)
		if s := h.apply(of("two")); s.Phase != reconciler.PhaseIdle || s.Sync != reconciler.Synced {
			t.Errorf("status = %s %s", s.Phase, s.Sync)
		}
		h.converged(of("two"))
		before := count(h.engine.Steps(), "pull ")
		h.once()
		h.once()
		if asked := count(h.engine.Steps(), "pull ") - before; asked != 0 {
			t.Errorf("%d pulls in passes with nothing to do", asked)
		}
		if kept := h.events("ImageKept"); kept != 1 {
			t.Errorf("told %d times, want once", kept)
		}
	})
}

// Law 8: what does not get healthy is rolled back, quarantined, and tried
// again only when it changes.
func TestSickReleaseIsRolledBackOnce(t *testing.T) {
	for _, image := range []string{"app:sick", "app:crash"} {
		t.Run(image, func(t *testing.T) {
			lawTest(t, func(t *testing.T, h *house) {
				good := acme(service("db", "db:1"), after(service("app", "app:1"), desired.Healthy, "db"))
				h.apply(good)
				bad := acme(env(service("db", "db:1"), "MODE", "new"), after(service("app", image), desired.Healthy, "db"))
				s := h.apply(bad)
				h.converged(good) // db as well: a generation is whole or not at all
				if s.Outcome != reconciler.RolledBack || s.Phase != reconciler.PhaseRolledBack {
					t.Errorf("outcome = %s, phase = %s", s.Outcome, s.Phase)
				}
				rec := h.history()[0]
				if rec.Outcome != reconciler.RolledBack || rec.Generation != 2 || rec.From != 1 || rec.Reason == "" {
					t.Errorf("record = %+v", rec)
				}
				steps := len(h.engine.Steps())
				h.restart()
				if s = h.once(); s.Phase != reconciler.PhaseQuarantined || len(s.Quarantined) != 1 {
					t.Errorf("phase = %s, quarantined = %v", s.Phase, s.Quarantined)
				}
				if again := changing(h.engine.Steps()[steps:]); len(again) > 0 {
					t.Errorf("a quarantined generation was tried again: %v", again)
				}
				next := acme(env(service("db", "db:1"), "MODE", "new"), after(service("app", "app:2"), desired.Healthy, "db"))
				h.apply(next)
				h.converged(next)
			})
		})
	}
}

func TestFirstDeploymentThatFailsIsTriedAgain(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		s := h.apply(acme(service("app", "app:sick")))
		if s.Outcome != reconciler.Failed || s.Phase != reconciler.PhaseRetrying {
			t.Errorf("outcome = %s, phase = %s", s.Outcome, s.Phase)
		}
		fixed := acme(service("app", "app:1"))
		h.apply(fixed)
		h.converged(fixed)
	})
}

func TestRollbackPolicyOffLeavesTheNewOne(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		bad := acme(service("app", "app:sick"))
		bad.Rollback = "off"
		s := h.apply(bad)
		h.once()
		h.converged(bad)
		if s.Outcome != reconciler.Failed {
			t.Errorf("outcome = %s, want Failed", s.Outcome)
		}
	})
}

// Law 8: the newest commit cancels an apply in progress.
func TestNewerCommitTakesOver(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.apply(acme(service("app", "app:1")))
		h.repo.commit(acme(service("app", "app:slow")))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- h.inst.Run(ctx) }()
		time.Sleep(5 * time.Second) // of the bubble: the slow one is being waited for
		next := acme(service("app", "app:2"))
		h.repo.commit(next)
		began := time.Now()
		h.inst.Trigger()
		for h.inst.Status().Generation != 3 && time.Since(began) < time.Minute {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the newer revision stood after %s: it waited for the older one", took)
		}
		cancel()
		<-done
		h.converged(next)
		if rec := h.history()[1]; rec.Outcome != reconciler.Superseded {
			t.Errorf("outcome of the older one = %s, want Superseded", rec.Outcome)
		}
	})
}

// An invalid newer revision takes over nothing.
func TestInvalidCommitDoesNotCancel(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		h.repo.commit(acme(service("app", "app:plain")))
		h.engine.Hook = func(step string) error {
			if step == "start acme-app-1" {
				h.repo.commitBad(errBoom)
				h.inst.Trigger()
			}
			return nil
		}
		h.once()
		if rec := h.history()[0]; rec.Outcome != reconciler.Applied {
			t.Errorf("outcome = %s", rec.Outcome)
		}
	})
}
