package reconciler_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// Law 9: a rollback holds until a newer revision changes the instance, and
// healing goes on meanwhile.
func TestRollbackHoldsUntilANewerRevision(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		one, two := acme(service("app", "app:1")), acme(service("app", "app:2"))
		h.apply(one)
		h.apply(two)
		to, err := h.inst.Rollback(t.Context(), 0, "bob")
		if err != nil || to.Number != 1 {
			t.Fatalf("rollback to %d, %v", to.Number, err)
		}
		s := h.once()
		h.converged(one)
		if s.Phase != reconciler.PhaseHeld || s.Hold == nil || s.Hold.By != "bob" {
			t.Errorf("status = %s %+v", s.Phase, s.Hold)
		}
		h.engine.Kill("acme-app-1")
		h.repo.commit(two) // a commit that changes nothing of this instance
		h.restart()
		h.once()
		h.converged(one)
		three := acme(service("app", "app:2"), service("db", "db:1"))
		s = h.apply(three)
		h.converged(three)
		if s.Hold != nil || s.Phase != reconciler.PhaseIdle {
			t.Errorf("after a newer revision: %s %+v", s.Phase, s.Hold)
		}
	})
}

// From a generation far back the next plan still says which fields differ.
func TestFieldsAreNamedAfterAFarRollback(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		greet := func(text string) desired.Spec {
			app := service("app", "app:1")
			app.Environment = map[string]string{"GREETING": text}
			spec := acme(app)
			spec.RetainGenerations = 10
			return spec
		}
		for _, text := range []string{"one", "two", "three", "four", "five", "six", "seven"} {
			h.apply(greet(text))
		}
		if _, err := h.inst.Rollback(t.Context(), 1, "bob"); err != nil {
			t.Fatal(err)
		}
		h.once()
		h.apply(greet("eight"))
		want := reconciler.Change{Field: "environment.GREETING", Old: "one", New: "eight"}
		if got := h.history()[0].Actions; len(got) != 1 || !slices.Equal(got[0].Changes, []reconciler.Change{want}) {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// A commit that renames the instance gives its objects to another loop: this
// one must not touch what bears the new name.
func TestRenamedInstanceIsLeftToItsOwnLoop(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		one := acme(service("app", "app:1"))
		h.apply(one)
		before := len(h.engine.Steps())
		other := acme(service("app", "app:2"))
		other.Name = "other"
		h.repo.commit(other)
		h.once()
		if extra := changing(h.engine.Steps()[before:]); len(extra) > 0 {
			t.Errorf("steps for another instance: %v", extra)
		}
		if len(h.history()) != 1 {
			t.Errorf("history: %+v", h.history())
		}
		h.converged(one)
		h.repo.commit(one)
		if s := h.once(); s.Sync != reconciler.Synced {
			t.Errorf("after the name is back: %s %s", s.Sync, s.Phase)
		}
	})
}

func TestRevertReturnsWithoutANewGeneration(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		one := acme(service("app", "app:1"))
		h.apply(one)
		h.apply(acme(service("app", "app:sick")))
		s := h.apply(one)
		h.converged(one)
		if s.Sync != reconciler.Synced || s.Generation != 1 || s.Applied.Commit != s.Attempted.Commit {
			t.Errorf("after the revert: %s generation %d", s.Sync, s.Generation)
		}
	})
}

// Law 12: no secret in the store, the journal or a record.
func TestSecretsAreNotStoredInTheClear(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		const secret = "correct-horse-battery"
		spec := acme(env(service("app", "app:1"), "SETTING", secret))
		spec.Sensitive = []string{secret}
		h.apply(spec)
		spec = acme(env(service("app", "app:2"), "SETTING", secret+"-new"))
		spec.Sensitive = []string{secret + "-new"}
		h.apply(spec)
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
		changes := h.history()[0].Actions[0].Changes
		if !slices.ContainsFunc(changes, func(c reconciler.Change) bool {
			return c.Field == "environment.SETTING" && c.Old == "(sensitive)" && c.New == "(sensitive)"
		}) {
			t.Errorf("changes = %+v", changes)
		}
	})
}

func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			list = append(list, name)
		}
		return err
	})
	if err != nil || len(list) == 0 {
		t.Fatalf("list %s: %v, %d files", dir, err, len(list))
	}
	return list
}

func TestSuspendStopsHealing(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		spec := acme(service("app", "app:1"))
		h.apply(spec)
		if err := h.inst.Suspend(t.Context(), " ", "bob", time.Time{}); err == nil {
			t.Error("a suspension without a reason was accepted")
		}
		if err := h.inst.Suspend(t.Context(), "stocktaking", "bob", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		h.engine.Stop("acme-app-1")
		if s := h.once(); s.Health != reconciler.Suspended || s.Phase != reconciler.PhaseSuspended {
			t.Errorf("status = %s %s", s.Health, s.Phase)
		}
		if h.observed().Containers[0].State == reconciler.StateRunning {
			t.Error("a suspended instance was healed")
		}
		time.Sleep(2 * time.Hour)
		h.once()
		h.converged(spec)
	})
}
