package connectors

import (
	"errors"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	// slack is how far the clock may go back, and a look come late, before
	// anything is made of it.
	slack = 5 * time.Minute

	firstPause = time.Minute
	mostPause  = time.Hour
	// The bounds of a pause that a source asks for.
	leastWait = time.Second
	mostWait  = 24 * time.Hour
)

// wait is what a lane whose last run failed waits for.
type wait string

const (
	waitNone     wait = ""         // nothing failed
	waitPause    wait = "pause"    // the end of a pause, or the next time of the schedule
	waitTold     wait = "told"     // the end of a pause that the source asked for
	waitSchedule wait = "schedule" // the next time of the schedule; without one for somebody
)

// lane is when the tables of a source that share a schedule run. All of its
// times are of the clock on the wall. It changes by what happened alone: a time
// that is due stays due until a run gave something.
type lane struct {
	Schedule string    `json:"schedule,omitempty"` // that Done is about
	Done     time.Time `json:"done,omitzero"`      // the times of the schedule up to this one are done with
	Good     time.Time `json:"good,omitzero"`      // when the last run began that gave something
	Owed     bool      `json:"owed,omitempty"`     // a run began, or was asked for, and none ended well since
	Due      time.Time `json:"due,omitzero"`       // the time of the schedule that is owed
	Late     bool      `json:"late,omitempty"`     // it passed while nothing could run

	Wait   wait          `json:"wait,omitempty"`
	Fails  int           `json:"fails,omitempty"` // in a row, for what is owed
	Failed time.Time     `json:"failed,omitzero"`
	Pause  time.Duration `json:"pause,omitempty"`
}

// turn is when a lane is to run next, and why.
type turn struct {
	at    time.Time
	due   time.Time // the time of the schedule that it is for
	cause Cause
	renew bool // the schedule came round again: there are as many retries as at first
}

// times are the times of a lane's schedule. It remembers the last ones: to find
// them a time zone is read from the disk.
type times struct {
	schedule *desired.Schedule // nil: none
	seed     string
	known    map[time.Time]time.Time
}

func newTimes(s *desired.Schedule, seed string) *times {
	return &times{s, seed, map[time.Time]time.Time{}}
}

func (t *times) next(after time.Time) time.Time {
	if t.schedule == nil {
		return time.Time{}
	}
	if at, known := t.known[after]; known {
		return at
	}
	if len(t.known) >= 8 {
		clear(t.known)
	}
	at := t.schedule.Next(after, t.seed)
	t.known[after] = at
	return at
}

func (t *times) text() string {
	if t.schedule == nil {
		return ""
	}
	return t.schedule.String()
}

// adopt takes a schedule that was not the lane's: only its times from now on
// count. What the clock cannot have shown yet is not believed: after it went
// back, the times until it comes there again would else be lost.
func (l lane) adopt(t *times, now time.Time) lane {
	if text := t.text(); text != l.Schedule || l.Done.IsZero() {
		l.Schedule = text
		l.Done = later(l.Done, now)
	}
	if l.Done.After(now.Add(slack)) {
		l.Done = now
	}
	if l.Failed.After(now.Add(slack)) {
		l.Failed = now
	}
	return l
}

// due is the time of the schedule that is to be done next, or is due.
func (l lane) due(t *times) time.Time { return t.next(l.Done) }

// missed settles a time that passed while nothing could run, which ended at
// looked: it is made up for once, or let go.
func (l lane) missed(t *times, looked, now time.Time, catchUp bool) lane {
	due := l.due(t)
	switch {
	case due.IsZero() || due.After(now.Add(-slack)) || l.Owed:
	case !due.After(looked) || !looked.IsZero() && now.Sub(looked) <= slack:
	case catchUp:
		l.Late = true
	default:
		l.Done = now
	}
	return l
}

// turn says when the lane is to run. changed says that what it has is not what
// is wanted, fresh that what is wanted was not tried yet.
func (l lane) turn(t *times, now time.Time, changed, fresh bool) (turn, bool) {
	due := l.due(t)
	passed := !due.IsZero() && !due.After(now)
	if !changed && !l.Owed && !passed {
		return turn{at: due, due: due, cause: CauseScheduled}, !due.IsZero()
	}
	out := turn{at: now, due: l.Due, cause: CauseScheduled}
	if passed {
		out.due = due
	}
	switch {
	case l.Wait != waitNone && !fresh:
		return l.again(t, out)
	case changed:
		out.cause = CauseChanged
	case l.Owed:
		out.cause = CauseRetry
	case l.Late:
		out.cause = CauseCatchUp
	}
	if fresh {
		out.renew = true
	}
	return out, true
}

// again is the turn of a lane whose last run failed.
func (l lane) again(t *times, out turn) (turn, bool) {
	pause, schedule := l.Failed.Add(l.Pause), t.next(l.Failed)
	out.cause = CauseRetry
	switch {
	case l.Wait == waitTold:
		out.at = pause
	case l.Wait == waitPause && (schedule.IsZero() || pause.Before(schedule)):
		out.at = pause
	case schedule.IsZero():
		return turn{}, false
	default:
		out.at, out.due, out.cause, out.renew = schedule, schedule, CauseScheduled, true
	}
	return out, true
}

// begin notes that a run began: whatever ends it, one is owed until it gave
// something.
func (l lane) begin(t turn) lane {
	l.Owed, l.Due, l.Late = true, t.due, false
	if t.renew {
		l.Fails, l.Wait, l.Pause = 0, waitNone, 0
	}
	return l
}

// well notes that a run gave something. What became due since it began is due.
func (l lane) well(began time.Time) lane {
	return lane{Schedule: l.Schedule, Done: later(l.Done, began), Good: began}
}

// failure is a run that gave nothing.
type failure struct {
	at      time.Time
	err     error
	retries int     // so many are made
	chance  float64 // of [0,1), one for all lanes of the run: they are tried again together
}

// fail notes that a run gave nothing, and how long to wait.
func (l lane) fail(f failure) lane {
	l.Failed = f.at
	if d, told := reconciler.RetryDelay(f.err); told {
		l.Wait, l.Pause = waitTold, min(max(d, leastWait), mostWait)
		return l
	}
	l.Fails++
	away := errors.Is(f.err, reconciler.ErrUnreachable) // the engine, which says nothing of the connector
	if reconciler.IsTerminal(f.err) || l.Fails > f.retries && !away {
		l.Wait, l.Pause = waitSchedule, 0
		return l
	}
	l.Wait, l.Pause = waitPause, pause(l.Fails, f.chance)
	return l
}

// drop notes that a run was ended by a person: it is not made up for.
func (l lane) drop(now time.Time) lane {
	l.Failed, l.Wait, l.Pause = now, waitSchedule, 0
	return l
}

// pause grows with the failures in a row. A quarter of it is chance, so that
// what failed together is not tried again together.
func pause(fails int, chance float64) time.Duration {
	d := mostPause
	if fails < 8 {
		d = min(firstPause<<(fails-1), mostPause)
	}
	return d - time.Duration(chance*float64(d/4))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stale says that what is there is older than two periods of the schedule and
// an hour.
func (l lane) stale(t *times, now time.Time) bool {
	if l.Good.IsZero() {
		return false
	}
	second := t.next(t.next(l.Good))
	return !second.IsZero() && now.After(second.Add(time.Hour))
}
