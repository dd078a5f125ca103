package reconciler_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

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
		if looks < 3 || len(h.observed().Containers[0].Changed) > 0 {
			t.Errorf("%d observations, changed %v", looks, h.observed().Containers[0].Changed)
		}
		cancel()
		<-done
	})
}
