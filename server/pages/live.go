package pages

import (
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// livePage is what goes on at an instance now: what is being done, how far the
// pulls are, and what happened since it began.
type livePage struct {
	instanceHead
	Going  bool
	Line   string
	Pulls  []pullRow
	Events []happening
	Last   *entry // the newest apply that ended
}

// pullRow is how far an image is.
type pullRow struct {
	Image, Text string
	Meter       meter
}

// The events that are shown beside an apply.
const liveEvents = 40

func (s *Site) underWay(v *visit) (reply, error) {
	head, err := s.headOf(v, "live")
	if err != nil {
		return nil, err
	}
	s.hub.touch() // a browser without the stream comes back in a moment
	p := livePage{instanceHead: head, Line: reconciler.Summary(head.Pending)}
	p.Going = head.Phase == reconciler.PhaseApplying || head.Phase == reconciler.PhaseBaking || head.Phase == reconciler.PhasePending
	for _, pull := range s.hub.pullsOf(head.Name) {
		p.Pulls = append(p.Pulls, pullRowOf(pull))
	}
	records, err := s.api.History(v.Context(), head.Name, 1)
	if err != nil {
		return nil, err
	}
	if len(records) > 0 {
		p.Last = &entry{Record: records[0], Badge: outcomeBadge(records[0].Outcome)}
	}
	err = s.api.Events(v.Context(), head.Name, liveEvents, false, func(e reconciler.Event) error {
		p.Events = append(p.Events, happening{e, eventTone(e.Reason)})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Reverse(p.Events)
	view := head.view("live", head.Name+": live", p)
	view.Reload = 10
	if p.Going {
		view.Reload = 2
	}
	return view, nil
}

func pullRowOf(p server.Pull) pullRow {
	row := pullRow{Image: p.Image}
	switch {
	case p.Total <= 0:
		row.Text = bytesOf(p.Current)
		row.Meter = newMeter("run", 0, row.Text)
	default:
		share := float64(p.Current) / float64(p.Total)
		row.Text = fmt.Sprintf("%s of %s", bytesOf(p.Current), bytesOf(p.Total))
		row.Meter = newMeter("run", share, fmt.Sprintf("%.0f percent", 100*min(share, 1)))
	}
	return row
}

// Since is how long the newest apply ago ended.
func (p livePage) Since() time.Time { return p.Last.Started.Add(p.Last.Duration) }
