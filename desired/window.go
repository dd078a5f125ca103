package desired

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a host or an image without zone files must read a window as any other
)

// Window is a weekly span in which something may start. One that ends before
// it starts crosses midnight and belongs to the day on which it starts.
type Window struct {
	Days  []time.Weekday // in the order of the week, Monday first
	Start int            // minutes after midnight
	End   int            // minutes after midnight, at most 1440
	Zone  *time.Location
	text  string
}

const windowPattern = `^((Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))?` +
	`(,(Mon|Tue|Wed|Thu|Fri|Sat|Sun)(-(Mon|Tue|Wed|Thu|Fri|Sat|Sun))?)* )?` +
	`([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)( [A-Za-z][A-Za-z0-9_+/-]*)?$`

var windowRegexp = regexp.MustCompile(windowPattern)

// ParseWindow reads "[DAYS] HH:MM-HH:MM [ZONE]", for example
// "Mon-Fri,Sun 02:00-05:00 Europe/Prague". Without days it is every day,
// without a zone it is UTC.
func ParseWindow(s string) (Window, error) {
	if len(s) > 128 || !windowRegexp.MatchString(s) {
		return Window{}, fmt.Errorf("%q is not a window of days, hours and time zone", clip(s))
	}
	words := strings.Split(s, " ")
	w := Window{Zone: time.UTC, text: s, Days: weekdays("Mon-Sun")}
	if !strings.Contains(words[0], ":") {
		w.Days, words = weekdays(words[0]), words[1:]
	}
	from, to, _ := strings.Cut(words[0], "-")
	if w.Start, w.End = minutes(from), minutes(to); w.Start == w.End {
		return Window{}, fmt.Errorf("the window starts and ends at %s", from)
	}
	if len(words) < 2 {
		return w, nil
	}
	zone, err := time.LoadLocation(words[1])
	if err != nil || words[1] == "Local" {
		return Window{}, fmt.Errorf("time zone %q is not known", clip(words[1]))
	}
	w.Zone = zone
	return w, nil
}

// String is the window as written.
func (w Window) String() string { return w.text }

// MarshalText and UnmarshalText keep a Window as it was written.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.text), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (w *Window) UnmarshalText(text []byte) (err error) {
	*w, err = ParseWindow(string(text))
	return err
}

// weekdays reads "Mon-Wed,Sat"; windowPattern has checked the words.
func weekdays(s string) []time.Weekday {
	week := []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	var on [7]bool
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		end := slices.Index(week, last)
		for i := slices.Index(week, first); ; i = (i + 1) % 7 {
			on[i] = true
			if i == end {
				break
			}
		}
	}
	var days []time.Weekday
	for i, yes := range on {
		if yes {
			days = append(days, time.Weekday((i+1)%7))
		}
	}
	return days
}

// minutes reads "HH:MM"; windowPattern has checked the digits.
func minutes(s string) int {
	h, _ := strconv.Atoi(s[:2])
	m, _ := strconv.Atoi(s[3:])
	return h*60 + m
}
