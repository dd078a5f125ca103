package reconciler_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// A release that is healthy at first has to stay so for health.bake.
func TestReleaseThatTurnsBadInTheBake(t *testing.T) {
	for _, tt := range []struct {
		bake    time.Duration
		outcome reconciler.Outcome
	}{
		{10 * time.Second, reconciler.Applied}, // it turns bad afterwards
		{time.Minute, reconciler.RolledBack},
	} {
		t.Run(tt.bake.String(), func(t *testing.T) {
			channelTest(t, func(t *testing.T, h *house, c *channels) {
				spec := channelSpec()
				spec.HealthTimeout, spec.Bake = 5*time.Minute, tt.bake
				h.apply(spec)
				good := h.digest("app:stable")
				h.engine.Push("app:stable", drivertest.TurnsBad(30*time.Second))
				if s := h.once(); s.Outcome != tt.outcome {
					t.Errorf("%s, %+v", s.Outcome, s.Conditions)
				}
				if tt.outcome == reconciler.RolledBack {
					h.runs(good)
				}
			})
		})
	}
}

// worn is ready until it has served a user.
type worn struct{ build }

func (b *worn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" && b.asked.Load() > 0 {
		http.Error(w, "worn out", http.StatusServiceUnavailable)
		return
	}
	b.build.ServeHTTP(w, r)
}

// The HTTP check is made at the end of the bake as well: what users do to a
// release shows only then.
func TestReleaseThatUsersBreak(t *testing.T) {
	t.Parallel()
	spec := streetSpec()
	spec.HealthTimeout = 3 * time.Second
	s := newStreet(t, spec, &build{version: "1"})
	s.engine.Push("app:stable", drivertest.Behaviour{Check: true, Serve: &worn{build{version: "2"}}})
	if st := s.once(); st.Outcome != reconciler.RolledBack || st.Generation != 1 {
		t.Errorf("%s, generation %d: %+v", st.Outcome, st.Generation, st.Conditions)
	}
	s.nobodyNoticed()
}
