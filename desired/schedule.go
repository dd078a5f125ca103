package desired

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Schedule is when a connector runs: "every 15m", "daily 07:00,13:00",
// "weekly Mon,Thu 05:30", "monthly 1 06:00" or "cron 0 5 * * *", in a time
// zone. ParseSchedule makes one that is right; two that are equal fire together.
type Schedule struct {
	Text string `json:"text"`
	Zone string `json:"zone,omitempty"` // IANA name; empty: UTC
}

// The bounds of an interval, and of a text.
const (
	minEvery    = 10 * time.Second
	maxEvery    = 366 * 24 * time.Hour
	maxSchedule = 256
)

// ParseSchedule reads a schedule for a time zone, of which the empty one is UTC.
// One that would never fire is refused.
func ParseSchedule(text, zone string) (Schedule, error) {
	if len(text) > maxSchedule {
		return Schedule{}, fmt.Errorf("the schedule is longer than %d characters", maxSchedule)
	}
	s := Schedule{Text: strings.Join(strings.Fields(text), " "), Zone: zone}
	if _, err := s.timetable(); err != nil {
		return Schedule{}, err
	}
	return s, nil
}

// String is the schedule as written, with its zone.
func (s Schedule) String() string { return strings.TrimSpace(s.Text + " " + s.Zone) }

// Next is the first time after another at which the schedule fires; the zero
// time when it is not a schedule. A time of day that a clock change skips fires
// at the moment after the gap; one that comes twice fires the first time only.
//
// The seed shifts an interval by a part of itself that is always the same for
// one seed, so that what has the same schedule does not all run at once. It
// has no bearing on the other forms, which name their times.
func (s Schedule) Next(after time.Time, seed string) time.Time {
	t, err := s.timetable()
	if err != nil {
		return time.Time{}
	}
	return t.next(after, seed)
}

// timetable is a Schedule that was read: an interval, or times of days.
type timetable struct {
	every time.Duration
	zone  *time.Location
	times []int // minutes after midnight, in order
	day   func(date time.Time) bool
}

func (s Schedule) timetable() (timetable, error) {
	zone, err := zoneNamed(s.Zone)
	if err != nil {
		return timetable{}, err
	}
	form, rest, _ := strings.Cut(s.Text, " ")
	words := strings.Fields(rest)
	var t timetable
	switch form {
	case "every":
		t, err = everyTable(words)
	case "daily":
		t, err = dailyTable(words)
	case "weekly":
		t, err = weeklyTable(words)
	case "monthly":
		t, err = monthlyTable(words)
	case "cron":
		t, err = cronTable(words)
	default:
		err = fmt.Errorf("%q is not a schedule", clip(s.Text))
	}
	t.zone = zone
	return t, err
}

func zoneNamed(name string) (*time.Location, error) {
	if name == "Local" { // would mean another time on each host
		return nil, fmt.Errorf("time zone %q is not known", name)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("time zone %q is not known", clip(name))
	}
	return zone, nil
}

func everyTable(words []string) (timetable, error) {
	if len(words) != 1 {
		return timetable{}, errors.New("every takes one interval")
	}
	d, err := ParseDuration(words[0])
	switch every := time.Duration(d); {
	case err != nil:
		return timetable{}, err
	case every < minEvery || every > maxEvery:
		return timetable{}, fmt.Errorf("%s is not between %s and %s", d, Duration(minEvery), Duration(maxEvery))
	case every%time.Second != 0:
		return timetable{}, fmt.Errorf("%s is not whole seconds", d)
	default:
		return timetable{every: every}, nil
	}
}

// next is Schedule.Next.
func (t timetable) next(after time.Time, seed string) time.Time {
	if t.every > 0 {
		return t.nextEvery(after, seed)
	}
	year, month, day := after.In(t.zone).Date()
	// Two days back, since a clock that is set back over midnight repeats a part
	// of a date, and some islands have skipped or repeated a whole one.
	for i := -2; i <= maxGap; i++ {
		date := time.Date(year, month, day+i, 0, 0, 0, 0, time.UTC) // a date on the wall, not an instant
		if !t.day(date) {
			continue
		}
		if at, ok := t.firstOn(date, after); ok {
			return at
		}
	}
	return time.Time{}
}

// maxGap is the longest time, in days, from one day that a schedule can name to
// the next: a 29th of February on a given weekday comes after 40 years at the
// latest.
const maxGap = 41 * 366

// firstOn is the first of a day's times that comes after an instant. Instants
// are in the order of their times of day, but those in a gap are all the same.
func (t timetable) firstOn(date, after time.Time) (time.Time, bool) {
	low, high := 0, len(t.times)
	for low < high {
		mid := (low + high) / 2
		if t.instant(date, t.times[mid]).After(after) {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low == len(t.times) {
		return time.Time{}, false
	}
	return t.instant(date, t.times[low]), true
}

func (t timetable) instant(date time.Time, minute int) time.Time {
	return firstShown(t.zone, date.Add(time.Duration(minute)*time.Minute))
}

// nextEvery counts intervals from the start of Unix time, so that they stay
// where they are over restarts.
func (t timetable) nextEvery(after time.Time, seed string) time.Time {
	period := int64(t.every / time.Second)
	sum := sha256.Sum256([]byte(seed))
	offset := int64(binary.BigEndian.Uint64(sum[:8]) % uint64(period))
	n := (after.Unix() - offset) / period
	if after.Unix() < offset && (after.Unix()-offset)%period != 0 {
		n-- // division rounds towards zero
	}
	return time.Unix((n+1)*period+offset, 0).In(t.zone)
}
