package desired

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func schedule(t testing.TB, text, zone string) Schedule {
	t.Helper()
	s, err := ParseSchedule(text, zone)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

func TestScheduleNext(t *testing.T) {
	const prague = "Europe/Prague" // +1, from 29 March to 25 October 2026 +2
	for _, c := range []struct{ text, zone, after, want string }{
		{"daily 07:00,13:00", "", "2026-05-01T06:59:59Z", "2026-05-01T07:00:00Z"},
		{"daily 07:00,13:00", "", "2026-05-01T07:00:00Z", "2026-05-01T13:00:00Z"},
		{"daily 13:00,07:00", "", "2026-05-01T13:00:00Z", "2026-05-02T07:00:00Z"},
		{"daily 07:00", prague, "2026-05-01T06:00:00Z", "2026-05-02T05:00:00Z"},
		{"weekly Mon,Thu 05:30", "", "2026-05-01T00:00:00Z", "2026-05-04T05:30:00Z"}, // a Friday
		{"weekly Fri-Mon 05:30", "", "2026-05-01T05:30:00Z", "2026-05-02T05:30:00Z"},
		{"monthly 1 06:00", "", "2026-05-01T06:00:00Z", "2026-06-01T06:00:00Z"},
		{"monthly 31 06:00", "", "2026-05-31T06:00:00Z", "2026-07-31T06:00:00Z"},
		{"monthly last 06:00", "", "2027-02-01T00:00:00Z", "2027-02-28T06:00:00Z"},
		{"cron 0 5 * * *", prague, "2026-01-01T00:00:00Z", "2026-01-01T04:00:00Z"},
		{"cron */20 * * * *", "", "2026-01-01T00:00:00Z", "2026-01-01T00:20:00Z"},
		{"cron 5/20 * * * *", "", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"},
		{"cron 0 0 13 * fri", "", "2026-05-02T00:00:00Z", "2026-05-08T00:00:00Z"},   // a Friday, or a 13th
		{"cron 0 0 */12 * fri", "", "2026-05-02T00:00:00Z", "2026-09-25T00:00:00Z"}, // a star: a 1st, 13th or 25th, and a Friday
		{"cron 0 0 29 2 *", "", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z"},
		{"cron 0 0 29 2 */7", "", "2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"}, // 40 years
		{"cron 0 0 * JAN-mar/2 5-7", "", "2026-01-31T00:00:00Z", "2026-03-01T00:00:00Z"},
		{"cron 0 0 * * 0", "", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"},
		{"cron 0 0 * * 7", "", "2026-05-01T00:00:00Z", "2026-05-03T00:00:00Z"},
		{"cron 0 0 * * fri-sun", "", "2026-05-03T00:00:00Z", "2026-05-08T00:00:00Z"},
		{"cron 0 0 * * sun-sun", "", "2026-05-03T00:00:00Z", "2026-05-10T00:00:00Z"},
		// 2:30 is skipped on 29 March: at 3:00 summer time. It comes twice on 25
		// October, and counts in summer time.
		{"daily 02:30", prague, "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"daily 02:30,03:00", prague, "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"daily 02:30", prague, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"daily 02:30", prague, "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"cron */30 2 * * *", prague, "2026-03-29T00:59:00Z", "2026-03-29T01:00:00Z"},
		{"cron */30 2 * * *", prague, "2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"},
		// Samoa had no 30 December 2011.
		{"daily 07:00", "Pacific/Apia", "2011-12-29T17:00:00Z", "2011-12-30T10:00:00Z"},
	} {
		s := schedule(t, c.text, c.zone)
		if got := s.Next(instant(t, c.after), "x"); !got.Equal(instant(t, c.want)) {
			t.Errorf("%s after %s: %s, want %s", s, c.after, got.UTC().Format(time.RFC3339), c.want)
		}
	}
}

func TestScheduleRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "is not a schedule",
		"hourly":                    `"hourly" is not a schedule`,
		"every":                     "every takes one interval",
		"every 9s":                  "9s is not between 10s and 366d",
		"every 367d":                "is not between",
		"every 10.5s":               "whole seconds",
		"every fortnight":           "is not a duration",
		"daily":                     "daily takes times of day",
		"daily 7:00":                `"7:00" is not times of day, HH:MM`,
		"daily 24:00":               "is not times of day",
		"daily 07:00, 13:00":        "no spaces",
		"weekly 05:30":              "weekly takes days and times",
		"weekly Mo 05:30":           `"Mo" is not days of the week`,
		"monthly 0 06:00":           "is not days of the month",
		"monthly 32 06:00":          "is not days of the month",
		"cron 0 5 * *":              "cron takes five fields",
		"cron 60 * * * *":           "is not right for the minute, 0 to 59",
		"cron 0 24 * * *":           "is not right for the hour",
		"cron 0 0 0 * *":            "is not right for the day of the month",
		"cron 0 0 * 13 *":           "is not right for the month",
		"cron 0 0 * * 8":            "is not right for the day of the week",
		"cron 0 0 * mon *":          "is not right for the month",
		"cron 5-1 * * * *":          "the range",
		"cron */0 * * * *":          "the step",
		"cron */ * * * *":           "the step",
		"cron +1 * * * *":           "is not right",
		"cron 1,,2 * * * *":         "is not right",
		"cron 0 0 31 2 *":           "it never fires",
		"cron 0 0 30,31 feb *":      "it never fires",
		"cron 0 0 31 apr,jun */2":   "it never fires",
		strings.Repeat("daily", 60): "longer than 256 characters",
	} {
		if _, err := ParseSchedule(text, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, zone := range []string{"Local", "Mars/Olympus", "../etc/passwd"} {
		if _, err := ParseSchedule("every 1h", zone); err == nil || !strings.Contains(err.Error(), "time zone") {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
	if got := (Schedule{Text: "hourly"}).Next(time.Now(), ""); !got.IsZero() {
		t.Errorf("what is no schedule fires at %s", got)
	}
}

func TestScheduleIsKeptAsWritten(t *testing.T) {
	s := schedule(t, " daily   07:00 ", "Europe/Prague")
	if s != (Schedule{Text: "daily 07:00", Zone: "Europe/Prague"}) || s.String() != "daily 07:00 Europe/Prague" {
		t.Errorf("%#v, %s", s, s)
	}
}

// Twenty instances with one schedule do not start at once, and each starts at
// the same times after a restart.
func TestIntervalsAreSpread(t *testing.T) {
	s, at := schedule(t, "every 1h", ""), instant(t, "2026-05-01T00:00:00Z")
	firsts := map[time.Time]bool{}
	for i := range 20 {
		seed := fmt.Sprintf("instance-%d/orders", i)
		first := s.Next(at, seed)
		if again := s.Next(first.Add(-time.Second), seed); !again.Equal(first) || !s.Next(first, seed).Equal(first.Add(time.Hour)) {
			t.Errorf("%s is not stable: %s, %s", seed, first, again)
		}
		firsts[first] = true
	}
	if len(firsts) < 19 {
		t.Errorf("20 seeds start at %d times", len(firsts))
	}
}

// drawSchedule draws one of any form.
func drawSchedule(t *rapid.T) Schedule {
	times := rapid.SliceOfN(rapid.StringMatching(timeOfDay), 1, 3)
	list := func(of string, g *rapid.Generator[string]) string {
		return strings.Join(rapid.SliceOfN(g, 1, 3).Draw(t, of), ",")
	}
	day := rapid.SampledFrom([]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"})
	text := ""
	switch rapid.IntRange(0, 4).Draw(t, "form") {
	case 0:
		text = fmt.Sprintf("every %ds", rapid.IntRange(10, 200_000).Draw(t, "every"))
	case 1:
		text = "daily " + strings.Join(times.Draw(t, "times"), ",")
	case 2:
		text = "weekly " + list("days", day) + " " + strings.Join(times.Draw(t, "times"), ",")
	case 3:
		text = "monthly " + list("dates", rapid.StringMatching(dayOfMonth)) + " " + strings.Join(times.Draw(t, "times"), ",")
	case 4:
		text = "cron"
		for _, f := range cronFields() {
			text += " " + drawCronField(t, f)
		}
	}
	zone := rapid.SampledFrom([]string{"", "UTC", "Europe/Prague", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata",
		"America/Havana", "Africa/Casablanca", "Pacific/Apia", "America/St_Johns"}).Draw(t, "zone")
	s, err := ParseSchedule(text, zone)
	if err != nil {
		t.Skip(err) // a cron that never fires
	}
	return s
}

func drawCronField(t *rapid.T, f cronField) string {
	n := rapid.IntRange(f.min, f.max)
	a, b := n.Draw(t, "a"), n.Draw(t, "b")
	return rapid.SampledFrom([]string{"*", "*", fmt.Sprint(a), fmt.Sprintf("%d-%d", min(a, b), max(a, b)),
		fmt.Sprintf("*/%d", max(1, a)), fmt.Sprintf("%d,%d", a, b)}).Draw(t, f.name)
}

// oracle walks minute by minute: a schedule fires at the first instant at which
// the clock has reached one of its times, be it that it jumped over it.
func oracle(t timetable, after time.Time, limit int) (time.Time, bool) {
	at := after.Truncate(time.Minute).Add(-48 * time.Hour)
	wall := func(at time.Time) time.Time {
		_, offset := at.In(t.zone).Zone()
		return at.UTC().Add(time.Duration(offset) * time.Second)
	}
	reached := wall(at)
	for range limit + 48*60 {
		at = at.Add(time.Minute)
		for now := wall(at); reached.Before(now); {
			reached = reached.Add(time.Minute)
			date := reached.Truncate(24 * time.Hour)
			if at.After(after) && t.day(date) && slices.Contains(t.times, reached.Hour()*60+reached.Minute()) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}

func TestScheduleAgreesWithASlowOracle(t *testing.T) {
	starts := []string{"2011-12-28T00:00:00Z", "2026-03-07T00:00:00Z", "2026-03-27T12:00:00Z", "2026-10-24T00:00:00Z",
		"2026-10-31T00:00:00Z", "2026-04-04T00:00:00Z", "2027-02-27T00:00:00Z", "2026-12-30T00:00:00Z"}
	const days = 12
	rapid.Check(t, func(t *rapid.T) {
		s := drawSchedule(t)
		table, err := s.timetable()
		if err != nil {
			t.Fatal(err)
		}
		if table.every > 0 {
			return
		}
		from, err := time.Parse(time.RFC3339, rapid.SampledFrom(starts).Draw(t, "start"))
		if err != nil {
			t.Fatal(err)
		}
		after := from.Add(time.Duration(rapid.Int64Range(0, int64(4*24*time.Hour)).Draw(t, "later")))
		want, ok := oracle(table, after, days*24*60)
		got := s.Next(after, "x")
		if ok && !got.Equal(want) || !ok && got.Before(after.Add((days-1)*24*time.Hour)) {
			t.Fatalf("%s after %s: %s, want %s (found %v)", s, after, got, want, ok)
		}
	})
}

// Next is after what it is asked for, never goes back, and leaves nothing out:
// from anywhere between two of its times it gives the second.
func TestScheduleNeverSkips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, seed := drawSchedule(t), rapid.String().Draw(t, "seed")
		after := time.Unix(rapid.Int64Range(1_000_000_000, 3_000_000_000).Draw(t, "after"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos"))
		first := s.Next(after, seed)
		if !first.After(after) {
			t.Fatalf("%s after %s: %s", s, after, first)
		}
		between := after.Add(time.Duration(rapid.Int64Range(0, int64(first.Sub(after))-1).Draw(t, "between")))
		if got := s.Next(between, seed); !got.Equal(first) {
			t.Fatalf("%s after %s: %s, but after %s: %s", s, after, first, between, got)
		}
		if second := s.Next(first, seed); !second.After(first) {
			t.Fatalf("%s after %s: %s", s, first, second)
		}
	})
}

func FuzzSchedule(f *testing.F) {
	for _, s := range []string{"every 15m", "daily 07:00,13:00", "weekly Mon,Thu 05:30", "monthly 1,last 06:00", "cron 0 5 * * *",
		"cron */5,7 1-4/2 31 jan-mar fri-sun", "cron 0 0 31 2 *", "every 1d12h"} {
		f.Add(s, "Europe/Prague")
	}
	f.Fuzz(func(t *testing.T, text, zone string) {
		s, err := ParseSchedule(text, zone)
		if err != nil {
			return
		}
		again, err := ParseSchedule(s.Text, s.Zone)
		if err != nil || again != s {
			t.Fatalf("%#v is read again as %#v, %v", s, again, err)
		}
		after := time.Unix(1_800_000_000, 0)
		if got := s.Next(after, text); !got.After(after) {
			t.Fatalf("%s after %s: %s", s, after, got)
		}
		if !scheduleRegexp.MatchString(s.Text) {
			t.Fatalf("the schema refuses %q", s.Text)
		}
	})
}
