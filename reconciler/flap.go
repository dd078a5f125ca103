package reconciler

import (
	"time"
)

// flapGuard slows down the healing of what falls over again and again, and the
// repetition of the same error in the log.
type flapGuard struct {
	heals   map[string][]time.Time
	lastErr string
	errAt   time.Time
}

const (
	flapWindow = 10 * time.Minute
	flapFree   = 3 // heals of an object in the window that cost no wait
	flapMax    = 5 * time.Minute
	remindLog  = time.Hour
)

// wait says how long to leave these objects alone: nothing for the first heals
// within ten minutes, then 1 s, 2 s, 4 s, up to five minutes.
func (f *flapGuard) wait(actions []Action, now time.Time) time.Duration {
	var longest time.Duration
	for _, a := range actions {
		recent := f.recent(a.Object, now)
		if len(recent) < flapFree {
			continue
		}
		pause := min(time.Second<<min(len(recent)-flapFree, 12), flapMax)
		longest = max(longest, pause-now.Sub(recent[len(recent)-1]))
	}
	return max(longest, 0)
}

func (f *flapGuard) recent(object string, now time.Time) []time.Time {
	var recent []time.Time
	for _, at := range f.heals[object] {
		if now.Sub(at) < flapWindow {
			recent = append(recent, at)
		}
	}
	return recent
}

// healed counts a heal of these objects.
func (f *flapGuard) healed(actions []Action, now time.Time) {
	if f.heals == nil {
		f.heals = map[string][]time.Time{}
	}
	for _, a := range actions {
		f.heals[a.Object] = append(f.recent(a.Object, now), now)
	}
}

// sameError reports whether this error was logged within the last hour, so
// that an outage does not fill the log.
func (f *flapGuard) sameError(err error, now time.Time) bool {
	if err.Error() == f.lastErr && now.Sub(f.errAt) < remindLog {
		return true
	}
	f.lastErr, f.errAt = err.Error(), now
	return false
}
