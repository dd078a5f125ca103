package pages

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/reconciler"
)

// Events are listed by pages; a daemon remembers no more of an instance.
const maxEvents, eventsPage = 500, 50

// happening is an event with how it is shown.
type happening struct {
	reconciler.Event
	Tone string
}

// eventList is a page of events.
type eventList struct {
	Events []happening
	Pager  pager
}

// events lists those of an instance, or of all, newest first.
func (s *Site) events(v *visit, instance string) (eventList, error) {
	var list []happening
	part := partOfList(v, eventsPage, maxEvents)
	err := s.api.Events(v.Context(), instance, part.limit, false, func(e reconciler.Event) error {
		list = append(list, happening{e, eventTone(e.Reason)})
		return nil
	})
	if err != nil {
		return eventList{}, err
	}
	slices.Reverse(list)
	from, to, p := part.of(len(list))
	return eventList{list[from:to], p}, nil
}

// eventTone is how an event is to be taken, by its reason.
func eventTone(reason string) string {
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(reason, p) })
	}
	switch {
	case has("Fail", "RolledBack", "Quarantin", "Refused", "Stalled", "Expired", "Degraded", "Unreachable", "Broken", "Interrupted"):
		return "bad"
	case has("Drift", "Healed", "Deferred", "Deprecated", "Skipped", "Stale", "Missing", "Taken", "Differs", "Upgrade"):
		return "warn"
	case has("Suspended", "Held", "Superseded"):
		return "pause"
	case has("Applied", "Resumed", "Recovered", "Renewed", "Published", "Live"):
		return "ok"
	case has("Started", "Applying", "Running", "Retry"):
		return "run"
	}
	return "info"
}

// allEventsPage are the events of every instance.
type allEventsPage struct{ eventList }

func (s *Site) allEvents(v *visit) (reply, error) {
	list, err := s.events(v, "")
	if err != nil {
		return nil, err
	}
	return view{Template: "events", Title: "Events", Nav: "events", Live: everything, Reload: 30, Data: allEventsPage{list}}, nil
}

// instanceEventsPage are those of one.
type instanceEventsPage struct {
	instanceHead
	eventList
}

func (s *Site) instanceEvents(v *visit) (reply, error) {
	head, err := s.headOf(v, "events")
	if err != nil {
		return nil, err
	}
	list, err := s.events(v, head.Name)
	if err != nil {
		return nil, err
	}
	view := head.view("instance-events", head.Name+": events", instanceEventsPage{head, list})
	view.Reload = 30
	return view, nil
}
