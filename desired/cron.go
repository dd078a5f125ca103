package desired

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// cronField is one of the five fields of crontab(5).
type cronField struct {
	name     string
	min, max int
	names    []string // from min on, or of the days of the week from 0
}

func cronFields() [5]cronField {
	return [5]cronField{
		{"minute", 0, 59, nil},
		{"hour", 0, 23, nil},
		{"day of the month", 1, 31, nil},
		{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
		{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
	}
}

// cronTable reads the five fields. As crontab(5) has it, a day is one that the
// day of the month or the day of the week names when both are given, and one
// that both allow when either begins with a star.
func cronTable(words []string) (timetable, error) {
	fields := cronFields()
	if len(words) != len(fields) {
		return timetable{}, fmt.Errorf("cron takes five fields (minute, hour, day of the month, month, day of the week), not %d", len(words))
	}
	var sets [len(fields)]uint64
	for i, f := range fields {
		set, err := f.read(words[i])
		if err != nil {
			return timetable{}, err
		}
		sets[i] = set
	}
	if sets[4]&(1<<7) != 0 {
		sets[4] |= 1 // 7 is Sunday too
	}
	either := words[2][0] != '*' && words[4][0] != '*'
	if !either && !anyDate(sets[2], sets[3]) {
		return timetable{}, fmt.Errorf("it never fires: no such month has a day %s", clip(words[2]))
	}
	return timetable{times: cronTimes(sets[0], sets[1]), day: func(d time.Time) bool {
		month, week := has(sets[2], d.Day()), has(sets[4], int(d.Weekday()))
		return has(sets[3], int(d.Month())) && (month && week || either && (month || week))
	}}, nil
}

func has(set uint64, n int) bool { return set&(1<<n) != 0 }

// anyDate says whether one of the days is in one of the months of a leap year.
func anyDate(days, months uint64) bool {
	for m := 1; m <= 12; m++ {
		last := time.Date(2024, time.Month(m+1), 0, 0, 0, 0, 0, time.UTC).Day()
		if has(months, m) && bits.TrailingZeros64(days) <= last {
			return true
		}
	}
	return false
}

func cronTimes(minutes, hours uint64) (times []int) {
	for h := range 24 {
		for m := range 60 {
			if has(hours, h) && has(minutes, m) {
				times = append(times, h*60+m)
			}
		}
	}
	return times
}

// read reads "*", "*/5", "1-10/2", "mon-fri" and lists of them into a set.
func (f cronField) read(word string) (set uint64, err error) {
	for part := range strings.SplitSeq(word, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		low, high, err := f.span(span, stepped)
		if err != nil {
			return 0, err
		}
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.max || len(stepText) > 2 {
				return 0, f.wrong(part, "the step")
			}
		}
		for n := low; n <= high; n += step {
			set |= 1 << n
		}
	}
	return set, nil
}

// span reads what stands before the step. A single value with a step goes on to
// the end of the field.
func (f cronField) span(s string, stepped bool) (low, high int, err error) {
	if s == "*" {
		return f.min, f.last(), nil
	}
	from, to, isRange := strings.Cut(s, "-")
	low, ok := f.value(from)
	if !ok {
		return 0, 0, f.wrong(s, "")
	}
	switch {
	case isRange:
		if high, ok = f.value(to); !ok {
			return 0, 0, f.wrong(s, "")
		}
		if high == 0 && low > 0 && f.last() == 6 {
			high = 7 // fri-sun
		}
	case stepped:
		high = f.last()
	default:
		high = low
	}
	if high < low {
		return 0, 0, f.wrong(s, "the range")
	}
	return low, high, nil
}

// last is the greatest value but for the second Sunday.
func (f cronField) last() int {
	if f.max == 7 {
		return 6
	}
	return f.max
}

func (f cronField) value(s string) (int, bool) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.min + i, true
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil && len(s) <= 2 && s[0] != '+' && s[0] != '-' && n >= f.min && n <= f.max
}

func (f cronField) wrong(part, what string) error {
	if what != "" {
		what = what + " in "
	}
	return fmt.Errorf("%s%q is not right for the %s, %d to %d", what, clip(part), f.name, f.min, f.max)
}
