package desired

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	timeOfDay   = `([01][0-9]|2[0-3]):[0-5][0-9]`
	dayOfWeek   = `(Mon|Tue|Wed|Thu|Fri|Sat|Sun)`
	daysOfWeek  = dayOfWeek + `(-` + dayOfWeek + `)?(,` + dayOfWeek + `(-` + dayOfWeek + `)?)*`
	dayOfMonth  = `([1-9]|[12][0-9]|3[01]|last)`
	daysOfMonth = dayOfMonth + `(,` + dayOfMonth + `)*`
	timesOfDay  = timeOfDay + `(,` + timeOfDay + `)*`

	scheduleForms = "every 15m, daily 07:00,13:00, weekly Mon-Fri 05:30, monthly 1 06:00 or cron 0 5 * * *"
	// schedulePattern is for the JSON Schema: what it lets through is read by
	// ParseSchedule, which is the authority.
	schedulePattern = `^(every [0-9]+(s|m|h|d)([0-9]+(s|m|h))*|daily ` + timesOfDay + `|weekly ` + daysOfWeek + ` ` + timesOfDay +
		`|monthly ` + daysOfMonth + ` ` + timesOfDay + `|cron( [0-9A-Za-z*/,-]+){5})$`
)

var (
	timesRegexp = regexp.MustCompile(`^` + timesOfDay + `$`)
	weekRegexp  = regexp.MustCompile(`^` + daysOfWeek + `$`)
	monthRegexp = regexp.MustCompile(`^` + daysOfMonth + `$`)

	scheduleRegexp = regexp.MustCompile(schedulePattern)
)

func dailyTable(words []string) (timetable, error) {
	if len(words) != 1 {
		return timetable{}, errors.New("daily takes times of day, with commas and no spaces between them")
	}
	times, err := timesNamed(words[0])
	return timetable{times: times, day: func(time.Time) bool { return true }}, err
}

func weeklyTable(words []string) (timetable, error) {
	if len(words) != 2 {
		return timetable{}, errors.New("weekly takes days and times of day, with commas and no spaces between them")
	}
	if !weekRegexp.MatchString(words[0]) {
		return timetable{}, fmt.Errorf("%q is not days of the week", clip(words[0]))
	}
	days := weekdays(words[0])
	times, err := timesNamed(words[1])
	return timetable{times: times, day: func(d time.Time) bool { return slices.Contains(days, d.Weekday()) }}, err
}

func monthlyTable(words []string) (timetable, error) {
	if len(words) != 2 {
		return timetable{}, errors.New("monthly takes days of the month and times of day, with commas and no spaces between them")
	}
	if !monthRegexp.MatchString(words[0]) {
		return timetable{}, fmt.Errorf("%q is not days of the month", clip(words[0]))
	}
	var on [32]bool
	last := false
	for word := range strings.SplitSeq(words[0], ",") {
		if n, err := strconv.Atoi(word); err == nil {
			on[n] = true
		} else {
			last = true
		}
	}
	times, err := timesNamed(words[1])
	return timetable{times: times, day: func(d time.Time) bool { return on[d.Day()] || last && d.AddDate(0, 0, 1).Day() == 1 }}, err
}

// timesNamed reads "07:00,13:00", in order and each once.
func timesNamed(s string) ([]int, error) {
	if !timesRegexp.MatchString(s) {
		return nil, fmt.Errorf("%q is not times of day, HH:MM", clip(s))
	}
	var times []int
	for word := range strings.SplitSeq(s, ",") {
		times = append(times, minutes(word))
	}
	slices.Sort(times)
	return slices.Compact(times), nil
}
