package swap

import (
	"slices"

	"github.com/fairlead/fairlead/reconciler"
)

// Apply returns what is there after a step was taken, so that a driver need
// not look again after each. made is the ID of the container of a Create.
func Apply(w Want, have []Container, s Step, made string) []Container {
	out := slices.Clone(have)
	if s.Op == Create {
		return append(out, Container{ID: made, Name: s.Name, Proper: w.Name, State: reconciler.StateCreated, Fits: true})
	}
	i := slices.IndexFunc(out, func(c Container) bool { return c.ID == s.ID })
	if i < 0 {
		return out
	}
	switch s.Op {
	case Rename:
		out[i].Name = s.Name
	case Stop:
		out[i].State, out[i].Ended = reconciler.StateExited, false
		// What was set aside and ran all the same was started by its engine.
		out[i].Revives = out[i].Slot() == reconciler.SlotPrevious
	case Start, Unpause:
		out[i].State, out[i].Left, out[i].Ended = reconciler.StateRunning, false, false
	case Mend:
		out[i].Mended, out[i].Revives = true, false
	case Disarm:
		out[i].Revives = false
	case Wait:
		out[i].Ready = true
	case Lead:
		out[i].Led = true
	case Leave:
		out[i].Left = true
	case Prove:
		out[i].Ended = true
	case Remove:
		out = slices.Delete(out, i, i+1)
	}
	return out
}
