package reconciler_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// TestWhySaysWhichGateHoldsARelease back, and until when.
func TestWhySaysWhichGateHoldsARelease(t *testing.T) {
	window, err := desired.ParseWindow("Sat 02:00-03:00") // the bubble's clock begins at midnight, 2000-01-01, a Saturday
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		reason string
		gate   func(*desired.Follow)
		push   drivertest.Behaviour
		says   []string
	}{
		{"Window", func(f *desired.Follow) { f.Window = &window }, drivertest.Healthy(), []string{"upgrade.window", "until 2000-01-01T02:00:00Z"}},
		{"MinAge", func(f *desired.Follow) { f.MinAge = 90 * time.Minute }, drivertest.Healthy(), []string{"upgrade.minAge", "until 2000-01-01T01:30:"}},
		{"Quarantined", func(*desired.Follow) {}, drivertest.Unhealthy(), []string{"failed as generation 2", "not tried again"}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			channelTest(t, func(t *testing.T, h *house, _ *channels) {
				spec := channelSpec()
				tt.gate(spec.Follow)
				h.apply(spec)
				before := h.digest("app:stable")
				h.engine.Push("app:stable", tt.push)
				h.once()
				s := h.once()
				h.runs(before)
				why, err := h.inst.Why("app")
				if err != nil || len(why) != 1 || !strings.HasPrefix(why[0].Waiting, tt.reason+": ") {
					t.Fatalf("%+v, %v", why, err)
				}
				cond := s.Condition(reconciler.ReleaseReady)
				for _, text := range tt.says {
					if !strings.Contains(why[0].Waiting, text) || !strings.Contains(cond.Message, text) {
						t.Errorf("%q is not in %q, or not in %+v", text, why[0].Waiting, cond)
					}
				}
				if cond.Status != "False" || cond.Reason != tt.reason {
					t.Errorf("condition %+v", cond)
				}
			})
		})
	}
}
