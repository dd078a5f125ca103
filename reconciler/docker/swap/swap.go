// Package swap decides how one replica of a service gets from the containers
// that are there to the one that is wanted. It is pure: a driver looks, asks
// Next for one step, takes it, and looks again, so an apply that was cut off
// anywhere goes on from what it left. No engine, clock or I/O may come in here.
package swap

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/reconciler"
)

// The endings of the names of containers that do not serve.
const (
	NextSuffix     = ".next"
	PreviousSuffix = ".previous"
)

// Container is what a decision needs to know of one container of the replica.
type Container struct {
	ID   string
	Name string
	// Proper is the name that it was made to serve under.
	Proper string
	State  reconciler.State
	// Fits says that it was made from what is wanted, and that whatever other
	// hands did to it can be mended in place.
	Fits bool
	// Mended says that its networks and limits were compared with the target.
	Mended bool
	// Ready says that the wait of a start-first replacement was fulfilled, and
	// Led that requests are led to it.
	Ready, Led bool
	// Left says that no request is led to it any more.
	Left bool
	// Ended says that its process was proved to have ended.
	Ended bool
	// Revives says that the engine starts it again by itself when the engine is
	// started, although it was stopped: its restart policy is to do so.
	Revives bool
}

// Slot tells the part of a container from its name.
func (c Container) Slot() reconciler.Slot { return SlotOf(c.Name, c.Proper) }

// SlotOf tells the part of a container from the name it has and the name it
// was made to serve under. A container that other hands renamed is current.
func SlotOf(name, proper string) reconciler.Slot {
	switch name {
	case proper + NextSuffix:
		return reconciler.SlotNext
	case proper + PreviousSuffix:
		return reconciler.SlotPrevious
	}
	return reconciler.SlotCurrent
}

// Active says that the container must be stopped before it can be taken away.
func (c Container) Active() bool {
	switch c.State {
	case reconciler.StateRunning, reconciler.StatePaused, reconciler.StateRestarting:
		return true
	}
	return false
}

// unproved says that the container ran once and nobody looked whether its
// process is gone.
func (c Container) unproved() bool { return c.State == reconciler.StateExited && !c.Ended }

// Op is a primitive step.
type Op string

// The steps. Each is one change of the engine, but for Mend, which connects
// networks and sets limits, and those that only look or ask: Wait waits for the
// container to be ready, Lead asks that requests are led to it, Leave that none
// are any more, and Prove makes sure that its process has ended. Disarm takes
// the restart policy away, and Mend gives it back.
const (
	Done    Op = "done"
	Create  Op = "create"
	Rename  Op = "rename"
	Stop    Op = "stop"
	Start   Op = "start"
	Unpause Op = "unpause"
	Remove  Op = "remove"
	Mend    Op = "mend"
	Wait    Op = "wait"
	Lead    Op = "lead"
	Leave   Op = "leave"
	Prove   Op = "prove"
	Disarm  Op = "disarm"
)

// Step is what to do next: Op on the container ID. Name is the new name of a
// Create or Rename.
type Step struct {
	Op   Op
	ID   string
	Name string
}

// Want is what the replica should become.
type Want struct {
	Name       string // the proper name
	StartFirst bool   // the new one starts beside the old one
	Rest       bool   // it is not to be started: a one-shot that is done
}

// parts are the containers of a replica by the part they play.
type parts struct {
	cur, next, prev *Container
	extra           []*Container // more than one in a part: all but the best
}

// Next returns the step that brings the replica nearer to w. The old container
// is stopped only once its replacement exists, and removed only when an older
// one is kept already: then it is a candidate that failed. Nothing is stopped
// to which requests are led, and unless StartFirst nothing is started while
// another one of the replica may still run, or may be started by the engine.
func Next(w Want, have []Container) Step {
	p := sort(w.Name, have)
	if p.cur != nil && p.cur.State == reconciler.StateDead {
		return Step{Op: Remove, ID: p.cur.ID}
	}
	switch {
	case p.cur != nil && p.cur.Fits:
		return keep(w, p)
	case p.prev != nil && p.prev.Fits:
		return restore(w, p)
	case p.next != nil && p.next.Fits:
		return takeOver(w, p)
	case p.next != nil:
		return away(p.next)
	case p.cur == nil:
		return Step{Op: Create, Name: w.Name}
	}
	return Step{Op: Create, Name: w.Name + NextSuffix}
}

// keep removes what is left over and brings the current container into effect.
func keep(w Want, p parts) Step {
	if p.next != nil {
		return away(p.next)
	}
	if len(p.extra) > 0 {
		return away(p.extra[0])
	}
	c := p.cur
	switch {
	case c.Name != w.Name:
		return Step{Op: Rename, ID: c.ID, Name: w.Name}
	case c.State == reconciler.StatePaused:
		return Step{Op: Unpause, ID: c.ID}
	case p.prev != nil && p.prev.Active():
		// Other hands started it, or an engine that was started again did.
		return end(p.prev)
	case p.prev != nil && p.prev.Revives:
		// An engine or a host that is started again must not start it beside
		// its successor.
		return Step{Op: Disarm, ID: p.prev.ID}
	case !c.Mended:
		return Step{Op: Mend, ID: c.ID}
	case c.Active() || w.Rest:
		return Step{Op: Done}
	case p.prev != nil && p.prev.unproved():
		return Step{Op: Prove, ID: p.prev.ID}
	}
	return Step{Op: Start, ID: c.ID}
}

// restore puts the kept container back in place of one that failed. It is
// mended first: its name still tells who took its restart policy away.
func restore(w Want, p parts) Step {
	if p.next != nil {
		return away(p.next)
	}
	if p.cur != nil {
		return away(p.cur)
	}
	if !p.prev.Mended {
		return Step{Op: Mend, ID: p.prev.ID}
	}
	return Step{Op: Rename, ID: p.prev.ID, Name: w.Name}
}

// takeOver puts the next container in the current one's place.
func takeOver(w Want, p parts) Step {
	if w.StartFirst && p.cur != nil && p.cur.Active() && !p.next.Led {
		switch {
		case p.next.State == reconciler.StatePaused:
			return Step{Op: Unpause, ID: p.next.ID}
		case !p.next.Mended:
			return Step{Op: Mend, ID: p.next.ID}
		case !p.next.Active():
			return Step{Op: Start, ID: p.next.ID}
		case !p.next.Ready:
			return Step{Op: Wait, ID: p.next.ID}
		}
		return Step{Op: Lead, ID: p.next.ID}
	}
	if p.cur != nil {
		return aside(p.cur, p.prev != nil)
	}
	return Step{Op: Rename, ID: p.next.ID, Name: w.Name}
}

// NextRemoval returns the step that takes the replica away: what serves is
// stopped and kept, what never served is removed. object is the name that the
// replica has or should have; when several containers claim to be the replica
// it may be the name of one of them, and then only that one goes.
func NextRemoval(object string, have []Container) Step {
	p := sort(object, have)
	if p.cur != nil && p.cur.Name != object && p.cur.Proper != object {
		return Step{Op: Done}
	}
	stray := p.cur != nil && p.cur.Name != p.cur.Proper && len(p.extra) > 0
	switch {
	case p.next != nil && !stray:
		return away(p.next)
	case p.cur == nil:
		return Step{Op: Done}
	case p.cur.State == reconciler.StateDead:
		return Step{Op: Remove, ID: p.cur.ID}
	}
	st := aside(p.cur, p.prev != nil || stray)
	if st.Op == Rename && p.cur.Revives {
		// Nobody comes back to one that is not in its place any more.
		return Step{Op: Disarm, ID: p.cur.ID}
	}
	return st
}

// end stops a container once no request is led to it.
func end(c *Container) Step {
	if !c.Left {
		return Step{Op: Leave, ID: c.ID}
	}
	return Step{Op: Stop, ID: c.ID}
}

// away stops and removes. That it ended is proved while it is there to ask.
func away(c *Container) Step {
	switch {
	case c.Active():
		return end(c)
	case c.unproved():
		return Step{Op: Prove, ID: c.ID}
	}
	return Step{Op: Remove, ID: c.ID}
}

// aside stops and keeps; a container that would hide a kept one is removed.
func aside(c *Container, kept bool) Step {
	if kept || c.Active() || c.unproved() {
		return away(c)
	}
	return Step{Op: Rename, ID: c.ID, Name: c.Proper + PreviousSuffix}
}

// sort gives every container its part. Of several in one part the best is
// taken: the one under the wanted name, then one that fits, then by name.
func sort(name string, have []Container) parts {
	list := make([]*Container, len(have))
	for i := range have {
		list[i] = &have[i]
	}
	slices.SortFunc(list, func(a, b *Container) int {
		if c := rank(name, b) - rank(name, a); c != 0 {
			return c
		}
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	var p parts
	for _, c := range list {
		part := &p.cur
		switch c.Slot() {
		case reconciler.SlotNext:
			part = &p.next
		case reconciler.SlotPrevious:
			part = &p.prev
		}
		if *part == nil {
			*part = c
			continue
		}
		p.extra = append(p.extra, c)
	}
	return p
}

func rank(name string, c *Container) int {
	r := 0
	if c.Name == name {
		r += 4
	}
	if c.Fits {
		r += 2
	}
	if c.Name == c.Proper {
		r++
	}
	return r
}
