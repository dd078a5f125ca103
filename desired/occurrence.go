package desired

import "time"

// An edge of a window is the first instant at which the clock of the zone
// shows the written time or a later one. That settles what clock changes leave
// open: a time that is skipped counts from the end of the gap, a time that
// comes twice counts the first time. Edges never swap, so one occurrence never
// runs into the next; one that lies in a gap altogether does not take place.

// horizon is how many days ahead an occurrence is looked for. A week is enough
// but for the occurrences that a clock change leaves out.
const horizon = 60

// span is one occurrence: from its start up to, and without, its end.
type span struct{ start, end time.Time }

func (s span) contains(t time.Time) bool { return !t.Before(s.start) && t.Before(s.end) }

// Contains reports whether t is in the window. The end is not.
func (w Window) Contains(t time.Time) bool { return !w.Until(t).IsZero() }

// Until is the end of the occurrence that contains t, and the zero time when
// none does.
func (w Window) Until(t time.Time) time.Time {
	// A clock that is set back over midnight repeats a part of a date, and some
	// islands have skipped or repeated a whole one: hence two days either way.
	for day := -2; day <= 2; day++ {
		if s, ok := w.on(t, day); ok && s.contains(t) {
			return s.end
		}
	}
	return time.Time{}
}

// Next is the next start at or after t. For a t inside an occurrence, after
// its start, that is the start of the following one. The zero time, if there
// is none, comes only of the zero Window.
func (w Window) Next(t time.Time) time.Time {
	for day := -2; day <= horizon; day++ {
		if s, ok := w.on(t, day); ok && !s.start.Before(t) {
			return s.start
		}
	}
	return time.Time{}
}

// on is the occurrence that starts some days after the date that t has in the
// window's zone.
func (w Window) on(t time.Time, days int) (span, bool) {
	zone := w.zone()
	year, month, day := t.In(zone).Date()
	date := time.Date(year, month, day+days, 0, 0, 0, 0, time.UTC) // a date on the wall, not an instant
	if !w.starts(date.Weekday()) {
		return span{}, false
	}
	end := w.End
	if end <= w.Start {
		end += minutesOfDay
	}
	s := span{
		start: firstShown(zone, date.Add(time.Duration(w.Start)*time.Minute)),
		end:   firstShown(zone, date.Add(time.Duration(end)*time.Minute)),
	}
	return s, s.start.Before(s.end)
}

const minutesOfDay = 24 * 60

func (w Window) starts(day time.Weekday) bool {
	for _, d := range w.Days {
		if d == day {
			return true
		}
	}
	return false
}

func (w Window) zone() *time.Location {
	if w.Zone == nil {
		return time.UTC
	}
	return w.Zone
}

// firstShown is the first instant at which the clock of a zone shows wall or a
// later time; wall is given as if it were in UTC. It walks the zone's periods
// of equal offset from an instant at which no clock on earth shows wall yet.
func firstShown(zone *time.Location, wall time.Time) time.Time {
	t := wall.Add(-26 * time.Hour).In(zone)
	for {
		_, offset := t.Zone()
		shown := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if shown.Before(t) {
			return t
		}
		if _, end := t.ZoneBounds(); end.IsZero() || shown.Before(end) {
			return shown
		} else {
			t = end
		}
	}
}
