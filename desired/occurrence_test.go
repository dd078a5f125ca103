package desired

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func mustWindow(t interface{ Fatal(...any) }, s string) Window {
	w, err := ParseWindow(s)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func instant(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Each row is one occurrence by its exact edges in UTC: looked for from an
// instant before it.
func TestWindowOccurrences(t *testing.T) {
	tests := map[string]struct{ window, from, start, end string }{
		"plain":                         {"Mon-Fri 02:00-05:00 Europe/Prague", "2026-01-05T00:00:00Z", "2026-01-05T01:00:00Z", "2026-01-05T04:00:00Z"},
		"summer":                        {"Mon-Fri 02:00-05:00 Europe/Prague", "2026-07-06T00:00:01Z", "2026-07-07T00:00:00Z", "2026-07-07T03:00:00Z"},
		"start itself":                  {"Mon-Fri 02:00-05:00 Europe/Prague", "2026-01-05T01:00:00Z", "2026-01-05T01:00:00Z", "2026-01-05T04:00:00Z"},
		"inside: the following one":     {"Mon-Fri 02:00-05:00 Europe/Prague", "2026-01-05T01:00:01Z", "2026-01-06T01:00:00Z", "2026-01-06T04:00:00Z"},
		"over the weekend":              {"Mon-Fri 02:00-05:00 Europe/Prague", "2026-01-09T04:00:00Z", "2026-01-12T01:00:00Z", "2026-01-12T04:00:00Z"},
		"midnight":                      {"Fri 22:00-04:00 Europe/Prague", "2026-01-05T00:00:00Z", "2026-01-09T21:00:00Z", "2026-01-10T03:00:00Z"},
		"whole day":                     {"Sun 00:00-24:00", "2026-01-05T00:00:00Z", "2026-01-11T00:00:00Z", "2026-01-12T00:00:00Z"},
		"to midnight":                   {"Sun 23:00-00:00", "2026-01-05T00:00:00Z", "2026-01-11T23:00:00Z", "2026-01-12T00:00:00Z"},
		"spring, start in the gap":      {"Sun 02:30-05:00 Europe/Prague", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z"},
		"spring, end in the gap":        {"Sun 01:00-02:30 Europe/Prague", "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		"spring, all in the gap":        {"Sun 02:10-02:50 Europe/Prague", "2026-03-28T12:00:00Z", "2026-04-05T00:10:00Z", "2026-04-05T00:50:00Z"},
		"spring, over the gap":          {"Sat 22:00-04:00 Europe/Prague", "2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z", "2026-03-29T02:00:00Z"},
		"autumn, start comes twice":     {"Sun 02:30-05:00 Europe/Prague", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z"},
		"autumn, end comes twice":       {"Sun 01:00-02:30 Europe/Prague", "2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"},
		"autumn, end at the hour":       {"Sun 01:00-03:00 Europe/Prague", "2026-10-24T12:00:00Z", "2026-10-24T23:00:00Z", "2026-10-25T02:00:00Z"},
		"autumn, both come twice":       {"Sun 02:10-02:50 Europe/Prague", "2026-10-24T12:00:00Z", "2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z"},
		"New York, start in the gap":    {"Sun 02:15-04:00 America/New_York", "2026-03-07T12:00:00Z", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z"},
		"New York, end comes twice":     {"Sat 23:00-01:30 America/New_York", "2026-10-31T12:00:00Z", "2026-11-01T03:00:00Z", "2026-11-01T05:30:00Z"},
		"Lord Howe, start in the gap":   {"Sun 02:15-03:00 Australia/Lord_Howe", "2026-10-03T00:00:00Z", "2026-10-03T15:30:00Z", "2026-10-03T16:00:00Z"},
		"Lord Howe, end comes twice":    {"Sun 01:00-01:45 Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-04T14:00:00Z", "2026-04-04T14:45:00Z"},
		"Lord Howe, start comes twice":  {"Sun 01:45-03:00 Australia/Lord_Howe", "2026-04-04T00:00:00Z", "2026-04-04T14:45:00Z", "2026-04-04T16:30:00Z"},
		"Apia, the Friday that was not": {"Fri 10:00-12:00 Pacific/Apia", "2011-12-28T00:00:00Z", "2012-01-05T20:00:00Z", "2012-01-05T22:00:00Z"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			w := mustWindow(t, tt.window)
			from, start, end := instant(t, tt.from), instant(t, tt.start), instant(t, tt.end)
			if got := w.Next(from); !got.Equal(start) {
				t.Errorf("the next start is %s", got.UTC().Format(time.RFC3339))
			}
			if got := w.Until(start); !got.Equal(end) {
				t.Errorf("the end is %s", got.UTC().Format(time.RFC3339))
			}
			last := end.Add(-time.Nanosecond)
			if w.Contains(start.Add(-time.Nanosecond)) || !w.Contains(start) || !w.Contains(last) || w.Contains(end) {
				t.Error("the edges are not the edges")
			}
		})
	}
}

func TestZeroWindowIsClosed(t *testing.T) {
	now := instant(t, "2026-01-05T00:00:00Z")
	if w := (Window{}); w.Contains(now) || !w.Next(now).IsZero() || !w.Until(now).IsZero() {
		t.Error("it is open at some time")
	}
}

// A window that is open all the time has no instant outside.
func TestWindowWithoutAnEnd(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := mustWindow(r, "00:00-24:00 "+drawZone(r))
		if at := drawInstant(r); !w.Contains(at) {
			r.Fatalf("%s is outside of %s", at, w)
		}
	})
}

func drawZone(r *rapid.T) string {
	return rapid.SampledFrom([]string{"UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu",
		"Pacific/Apia", "America/Havana", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tehran", "Pacific/Kiritimati"}).Draw(r, "zone")
}

// drawInstant is any second of 1990 to 2035, half of them near a clock change.
func drawInstant(r *rapid.T) time.Time {
	at := time.Unix(rapid.Int64Range(631152000, 2051222400).Draw(r, "at"), 0)
	if zone, err := time.LoadLocation(drawZone(r)); err == nil && rapid.Bool().Draw(r, "near a change") {
		if _, end := at.In(zone).ZoneBounds(); !end.IsZero() {
			at = end.Add(time.Duration(rapid.Int64Range(-200000, 200000).Draw(r, "seconds")) * time.Second)
		}
	}
	return at
}

func drawWindow(r *rapid.T) Window {
	clock := rapid.Custom(func(r *rapid.T) string {
		return time.Date(2000, 1, 1, 0, rapid.IntRange(0, 1439).Draw(r, "minute"), 0, 0, time.UTC).Format("15:04")
	})
	from, to := clock.Draw(r, "from"), clock.Draw(r, "to")
	if from == to {
		to = "24:00"
	}
	days := rapid.SampledFrom([]string{"", "Sun ", "Sat,Sun ", "Mon-Fri ", "Sat-Mon ", "Wed "}).Draw(r, "days")
	return mustWindow(r, days+from+"-"+to+" "+drawZone(r))
}

func TestWindowProperties(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w, at := drawWindow(r), drawInstant(r)
		next := w.Next(at)
		if next.Before(at) || !w.Contains(next) || next.Sub(at) > 15*24*time.Hour {
			r.Fatalf("%s: the next start after %s is %s", w, at, next)
		}
		closed := at
		if until := w.Until(at); !until.IsZero() {
			if !until.After(at) || until.After(next) && !next.Equal(at) || !w.Contains(until.Add(-time.Nanosecond)) {
				r.Fatalf("%s: %s lasts until %s, the next start is %s", w, at, until, next)
			}
			closed = until
		}
		if gap := int64(next.Sub(closed)); gap > 0 {
			between := closed.Add(time.Duration(rapid.Int64Range(0, gap-1).Draw(r, "between")))
			if w.Contains(between) || !w.Next(between).Equal(next) {
				r.Fatalf("%s: %s lies before the next start %s and is contained", w, between, next)
			}
		}
	})
}

// Where no clock change is near, the window is what the clock on the wall says.
func TestWindowIsTheClockOnTheWall(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w, at := drawWindow(r), drawInstant(r)
		local := at.In(w.Zone)
		if start, end := local.ZoneBounds(); !start.IsZero() && at.Sub(start) < 72*time.Hour || !end.IsZero() && end.Sub(at) < 72*time.Hour {
			return
		}
		if got, want := w.Contains(at), onTheWall(w, local); got != want {
			r.Fatalf("%s: %s is contained: %v", w, local, got)
		}
	})
}

func onTheWall(w Window, local time.Time) bool {
	minute := local.Hour()*60 + local.Minute()
	if w.Start < w.End {
		return w.starts(local.Weekday()) && minute >= w.Start && minute < w.End
	}
	return w.starts(local.Weekday()) && minute >= w.Start || w.starts((local.Weekday()+6)%7) && minute < w.End
}
