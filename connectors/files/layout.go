package files

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// layout is the form of a date or a time, in the letters of strftime: %d.%m.%Y.
type layout struct {
	steps []step
	clock bool // a time of day is written, too
}

type step struct {
	verb byte // 0: text
	text string
}

// parseLayout reads a format. It has to name year, month and day.
func parseLayout(format string, clock bool) (*layout, error) {
	l, has := &layout{clock: clock}, map[byte]bool{}
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			l.steps = append(l.steps, step{text: format[i : i+1]})
			continue
		}
		if i++; i == len(format) {
			return nil, errors.New("ends in %")
		}
		verb := format[i]
		if verb == '%' {
			l.steps = append(l.steps, step{text: "%"})
			continue
		}
		known := "YymdHMSf"
		if !clock {
			known = "Yymd"
		}
		if strings.IndexByte(known, verb) < 0 || has[verb] {
			return nil, fmt.Errorf("%%%c is not known, or there twice; there are %%%s", verb, strings.Join(strings.Split(known, ""), " %"))
		}
		has[verb] = true
		l.steps = append(l.steps, step{verb: verb})
	}
	if has['Y'] == has['y'] || !has['m'] || !has['d'] {
		return nil, errors.New("needs year, month and day; for example %d.%m.%Y")
	}
	return l, nil
}

// rewrite makes a date into 2026-11-23, a time into 2026-11-23 10:00:00.
func (l *layout) rewrite(value, to []byte) ([]byte, bool) {
	year, month, day, hour, minute, second, micro := 0, 0, 0, 0, 0, 0, 0
	for _, s := range l.steps {
		if s.verb == 0 {
			if len(value) == 0 || value[0] != s.text[0] {
				return to, false
			}
			value = value[1:]
			continue
		}
		var ok bool
		switch s.verb {
		case 'Y':
			year, value, ok = digits(value, 4, 4)
		case 'y': // as POSIX has it
			if year, value, ok = digits(value, 2, 2); year < 69 {
				year += 100
			}
			year += 1900
		case 'm':
			month, value, ok = digits(value, 1, 2)
		case 'd':
			day, value, ok = digits(value, 1, 2)
		case 'H':
			hour, value, ok = digits(value, 1, 2)
		case 'M':
			minute, value, ok = digits(value, 1, 2)
		case 'S':
			second, value, ok = digits(value, 1, 2)
		case 'f':
			micro, value, ok = fraction(value)
		}
		if !ok {
			return to, false
		}
	}
	at := time.Date(year, time.Month(month), day, hour, minute, second, micro*1000, time.UTC)
	if len(value) > 0 || at.Year() != year || int(at.Month()) != month || at.Day() != day || at.Hour() != hour || at.Minute() != minute || at.Second() != second {
		return to, false // 31 April, 25 o'clock
	}
	form := time.DateOnly
	if l.clock {
		form = "2006-01-02 15:04:05.999999"
	}
	return at.AppendFormat(to, form), true
}

func digits(value []byte, least, most int) (n int, rest []byte, ok bool) {
	i := 0
	for ; i < len(value) && i < most && value[i] >= '0' && value[i] <= '9'; i++ {
		n = n*10 + int(value[i]-'0')
	}
	return n, value[i:], i >= least
}

// fraction reads up to six digits of a second.
func fraction(value []byte) (micro int, rest []byte, ok bool) {
	n, rest, ok := digits(value, 1, 6)
	for i := len(value) - len(rest); i < 6; i++ {
		n *= 10
	}
	return n, rest, ok
}
