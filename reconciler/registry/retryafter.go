package registry

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Bounds of a pause that a registry asks for, and the pause when it does not
// say how long.
const (
	pauseLeast   = time.Second
	pauseMost    = time.Hour
	pauseUnsaid  = time.Minute
	pauseLongest = 15 * time.Minute // of those unsaid
)

// retryAfter reads the header of that name (RFC 9110, 10.2.3): seconds or a
// date. Nonsense and the past say nothing.
func retryAfter(header string, now time.Time) (time.Duration, bool) {
	header = strings.TrimSpace(header)
	if header == "" || len(header) > 64 {
		return 0, false
	}
	if strings.Trim(header, "0123456789") == "" {
		n, err := strconv.ParseInt(header, 10, 64)
		if err != nil || n > int64(pauseMost/time.Second) {
			return pauseMost, true
		}
		return max(time.Duration(n)*time.Second, pauseLeast), true
	}
	at, err := http.ParseTime(header)
	if err != nil || !at.After(now) {
		return 0, false
	}
	return min(max(at.Sub(now), pauseLeast), pauseMost), true
}

// pause is how long an answer asks to be left alone; 0 when it does not.
// limits counts those before it in a row.
func pause(status int, header string, limits int, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	d, said := retryAfter(header, now)
	switch {
	case said:
		return d
	case status == http.StatusTooManyRequests:
		return min(pauseUnsaid<<min(limits, 10), pauseLongest)
	}
	return 0
}
