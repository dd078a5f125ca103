package server

import (
	"context"

	"github.com/fairlead/fairlead/reconciler"
)

// Move is something that happened to an instance just now. Exactly one of Event
// and Pull is set.
type Move struct {
	Instance string
	Event    *reconciler.Event
	Pull     *Pull
}

// Statuses is what is known of all instances. Unlike Overview it looks at
// nothing, so it may be asked every second.
func (a *API) Statuses() []reconciler.Status {
	list := []reconciler.Status{}
	for _, r := range a.cfg.Fleet.Instances() {
		list = append(list, r.Status())
	}
	return list
}

// Watch tells what happens to all instances until ctx ends. Whoever does not
// keep up misses steps, and never delays them.
func (a *API) Watch(ctx context.Context, emit func(Move)) {
	events, stopEvents := a.cfg.Events.Listen()
	defer stopEvents()
	pulls, stopPulls := a.cfg.Progress.listen()
	defer stopPulls()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-events:
			emit(Move{Instance: e.Instance, Event: &e})
		case p := <-pulls:
			emit(Move{Instance: p.instance, Pull: &p.Pull})
		}
	}
}
