package reconciler

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	spec := desired.Spec{Name: "acme", Services: map[string]desired.Service{"app": {Name: "app", Image: "app:2"}}}
	hash := spec.Hash()
	bad := errors.New("does not validate")
	with := func(change func(*desired.Spec)) desired.Spec { s := spec; change(&s); return s }
	quarantined := memo{Quarantined: []Quarantined{{SpecHash: hash, Generation: 2}}}
	held := memo{Hold: &Hold{Generation: 1, Instead: hash}}
	for _, tt := range []struct {
		name  string
		s     situation
		want  choice
		phase Phase
	}{
		{"first revision", situation{spec: spec}, chooseNew, PhaseApplying},
		{"newer revision", situation{spec: spec, lastSpec: "old"}, chooseNew, PhaseApplying},
		{"applied already", situation{spec: spec, lastSpec: hash}, chooseLastGood, PhaseIdle},
		{"does not load", situation{loadErr: bad, lastSpec: "old"}, chooseLastGood, PhaseRefused},
		{"does not load, nothing applied", situation{loadErr: bad}, chooseNothing, PhaseRefused},
		{"quarantined", situation{spec: spec, lastSpec: "old", memo: quarantined}, chooseLastGood, PhaseQuarantined},
		{"quarantined, nothing applied", situation{spec: spec, memo: quarantined}, chooseNothing, PhaseQuarantined},
		{"quarantined, rollback off", situation{spec: with(func(s *desired.Spec) { s.Rollback = "off" }), lastSpec: "old",
			memo: memo{Quarantined: []Quarantined{{SpecHash: with(func(s *desired.Spec) { s.Rollback = "off" }).Hash()}}}}, chooseNothing, PhaseQuarantined},
		{"held", situation{spec: spec, lastSpec: "old", memo: held}, chooseHeld, PhaseHeld},
		{"held, and the newest does not load", situation{loadErr: bad, lastSpec: "old", memo: held}, chooseHeld, PhaseHeld},
		{"held, and a newer revision came", situation{spec: with(func(s *desired.Spec) { s.Bake = 1 }), lastSpec: "old", memo: held}, chooseNew, PhaseApplying},
		{"suspended by an operator", situation{spec: spec, lastSpec: hash, memo: memo{Suspended: &Suspension{Reason: "x"}}}, chooseNothing, PhaseSuspended},
		{"suspension over", situation{spec: spec, lastSpec: hash, memo: memo{Suspended: &Suspension{Until: now.Add(-1)}}}, chooseLastGood, PhaseIdle},
		{"suspended in the repository", situation{spec: with(func(s *desired.Spec) { s.Suspend = &desired.Suspend{Reason: "x", Until: now.Add(1)} }), lastSpec: hash}, chooseNothing, PhaseSuspended},
		{"that suspension over", situation{spec: with(func(s *desired.Spec) { s.Suspend = &desired.Suspend{Until: now.Add(-1)} }), lastSpec: hash}, chooseLastGood, PhaseIdle},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.s.now = now
			if d := decide(tt.s); d.choice != tt.want || d.phase != tt.phase {
				t.Errorf("decided %d %s, want %d %s", d.choice, d.phase, tt.want, tt.phase)
			}
		})
	}
}
