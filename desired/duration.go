package desired

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as Go writes it, and with d for days of
// 24 hours: "90s", "1h30m", "14d", "1d12h". It is never negative.
type Duration time.Duration

const durationPattern = `^([0-9]+d)?([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$`

var durationRegexp = regexp.MustCompile(durationPattern)

// ParseDuration reads a Duration.
func ParseDuration(s string) (Duration, error) {
	if s == "" || len(s) > 64 || !durationRegexp.MatchString(s) {
		return 0, fmt.Errorf("%q is not a duration", clip(s))
	}
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		count, err := strconv.ParseInt(n, 10, 64)
		if err != nil || count > math.MaxInt64/int64(24*time.Hour) {
			return 0, errors.New("the duration is too long")
		}
		days, s = time.Duration(count)*24*time.Hour, rest
	}
	if s == "" {
		return Duration(days), nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d > math.MaxInt64-days {
		return 0, errors.New("the duration is too long")
	}
	return Duration(days + d), nil
}

// String writes whole days as days, anything else as Go does.
func (d Duration) String() string {
	day := 24 * time.Hour
	if t := time.Duration(d); t > 0 && t%day == 0 {
		return strconv.FormatInt(int64(t/day), 10) + "d"
	}
	return time.Duration(d).String()
}

// clip shortens what somebody wrote to what fits a message.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}
