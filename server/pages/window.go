package pages

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// windowStrip draws when releases are taken in the next seven days.
type windowStrip struct {
	Text  string
	Zone  string
	Open  bool
	Until time.Time // the end of the window that is open, or the start of the next
	Days  []stripDay
	Spans []stripSpan
	Label string
}

// stripDay is a line at midnight, in the zone of the window.
type stripDay struct {
	X, Name string
	Last    bool // there is little room for its name
}

// stripSpan is a window on the strip, in percent of its width.
type stripSpan struct{ X, W, Title string }

const (
	stripWidth = 100.0
	stripDays  = 7
)

// drawWindow returns nil for a text that is no window.
func drawWindow(text string, now time.Time) *windowStrip {
	w, err := desired.ParseWindow(text)
	if err != nil {
		return nil
	}
	zone := w.Zone
	if zone == nil {
		zone = time.UTC
	}
	local := now.In(zone)
	end := local.AddDate(0, 0, stripDays)
	at := func(t time.Time) float64 { return float64(t.Sub(local)) / float64(end.Sub(local)) * stripWidth }
	strip := &windowStrip{Text: text, Zone: zone.String(), Open: w.Contains(now), Until: w.Until(now)}
	if !strip.Open {
		strip.Until = w.Next(now)
	}
	for day := 1; day <= stripDays; day++ {
		midnight := time.Date(local.Year(), local.Month(), local.Day()+day, 0, 0, 0, 0, zone)
		if x := at(midnight); x < stripWidth-4 {
			strip.Days = append(strip.Days, stripDay{unit(x), midnight.Format("Mon 2"), x > stripWidth-13})
		}
	}
	from := now
	if until := w.Until(now); !until.IsZero() {
		strip.add(local, until.In(zone), at)
		from = until
	}
	for next := w.Next(from); !next.IsZero() && next.Before(end); next = w.Next(from) {
		until := w.Until(next)
		strip.add(next.In(zone), until.In(zone), at)
		from = until
	}
	strip.Label = fmt.Sprintf("%s in the next %d days (%s)", reconciler.Count(len(strip.Spans), "window"), stripDays, strip.Zone)
	return strip
}

func (s *windowStrip) add(from, to time.Time, at func(time.Time) float64) {
	x, end := at(from), min(at(to), stripWidth)
	s.Spans = append(s.Spans, stripSpan{unit(x), unit(max(end-x, 0.4)), from.Format("Mon 2 Jan 15:04") + " to " + to.Format("15:04 MST")})
}

// unit is a length in a drawing.
func unit(x float64) string { return strconv.FormatFloat(x, 'f', 2, 64) + "%" }
