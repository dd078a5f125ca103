package reconciler_test

import (
	"context"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// asker counts the smoke steps that are asked for.
type asker struct {
	smokes int
	sick   bool
}

func (*asker) Health(context.Context, string, desired.HTTPCheck) error { return nil }

func (a *asker) Smoke(context.Context, string, []desired.SmokeStep) error {
	a.smokes++
	if a.sick {
		return &reconciler.NotReady{Phase: "smoke", Reason: "the password of the smoke test is another by now"}
	}
	return nil
}

func (*asker) Busy(context.Context, string, desired.BusyCheck) (bool, error) { return false, nil }

// What is tidied up after a crash is no release: no smoke step is made, which
// may leave traces, and one that would fail keeps nothing from coming to rest.
func TestTidyingUpMakesNoSmokeSteps(t *testing.T) {
	lawTest(t, func(t *testing.T, h *house) {
		a := &asker{}
		h.prober = a
		h.restart()
		spec := func(value string) desired.Spec {
			s := acme(env(service("app", "app:1"), "A", value))
			s.Check = &desired.HTTPCheck{Service: "app", Port: 8000}
			s.Smoke = []desired.SmokeStep{{Name: "login", Get: "/"}}
			return s
		}
		h.apply(spec("a"))
		if a.smokes != 1 {
			t.Fatalf("a deployment made the steps %d times", a.smokes)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		h.engine.Hook = func(step string) error {
			if !strings.HasPrefix(step, "observe ") && !strings.HasPrefix(step, "pull ") && !strings.HasPrefix(step, "inspect ") {
				cancel(errBoom)
				return errBoom
			}
			return nil
		}
		h.repo.commit(spec("b"))
		h.inst.Once(ctx)
		h.engine.Hook = nil
		h.restart()
		a.smokes, a.sick = 0, true
		s := h.apply(spec("a"))
		h.converged(spec("a"))
		if a.smokes != 0 || s.Phase != reconciler.PhaseIdle {
			t.Errorf("%d smoke runs, %s: %+v", a.smokes, s.Phase, s.Conditions)
		}
	})
}
