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

// due returns the actions whose objects need not be left alone any longer, and
// how long the next of the others is: nothing for the first heals within ten
// minutes, then 1 s, 2 s, 4 s, up to five minutes. What falls over again and
// again must not keep the rest from being healed.
func (f *flapGuard) due(actions []Action, now time.Time) (due []Action, wait time.Duration) {
	for _, a := range actions {
		left := f.pause(a.Object, now)
		if left <= 0 {
			due = append(due, a)
		} else if wait == 0 || left < wait {
			wait = left
		}
	}
	return due, wait
}

// pause is how long an object is left alone from now on.
func (f *flapGuard) pause(object string, now time.Time) time.Duration {
	recent := f.recent(object, now)
	if len(recent) < flapFree {
		return 0
	}
	pause := min(time.Second<<min(len(recent)-flapFree, 12), flapMax)
	return pause - now.Sub(recent[len(recent)-1])
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
	for object := range f.heals {
		if len(f.recent(object, now)) == 0 {
			delete(f.heals, object)
		}
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
