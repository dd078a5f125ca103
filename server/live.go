package server

import (
	"context"
	"strings"

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

// Notebook is where the pages keep notes over restarts, under keys that begin with
// "pages-"; nil: they are forgotten.
func (a *API) Notebook() Notes { return a.cfg.Notes }

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

// ApplyLog gives the lines of what is done for an instance that have a number
// above after, oldest first, as far as they are kept; and then, if follow is set,
// each as it comes, until ctx ends. Whoever does not keep up delays nobody, and
// is told in a line of the kind LineMissed what is not kept any more.
func (a *API) ApplyLog(ctx context.Context, name string, after int64, follow bool, emit func(ApplyLine) error) error {
	if _, err := a.find(name); err != nil {
		return err
	}
	for {
		lines, more := a.cfg.Progress.logs.since(name, after)
		for _, l := range lines {
			if err := emit(l); err != nil {
				return err
			}
			after = l.Seq
		}
		if more == nil {
			continue
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-more:
		}
	}
}

// clip cuts a text to so many bytes, between characters.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
