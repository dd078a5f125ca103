package certs

import (
	"fmt"
	"slices"
	"time"
)

const day = 24 * time.Hour

// moments are when people are told that a certificate runs out, in order; the
// last one is its end. None is before it is due: until then all goes as it
// should. One that lives so long that 21 days are less than a quarter of its
// life is told of by days, a shorter one by quarters and tenths as well.
func moments(notBefore, notAfter, due time.Time) (list []time.Time) {
	life := notAfter.Sub(notBefore)
	left := []time.Duration{21 * day, 7 * day, 3 * day, day}
	if life < 4*21*day {
		left = append(left, life/4, life/10)
	}
	for _, d := range left {
		if at := notAfter.Add(-d); at.After(due) {
			list = append(list, at)
		}
	}
	list = append(list, notAfter)
	slices.SortFunc(list, time.Time.Compare)
	return slices.Compact(list)
}

// passed is the last of the moments that is over; zero when none is.
func passed(list []time.Time, now time.Time) (last time.Time) {
	for _, at := range list {
		if !now.Before(at) {
			last = at
		}
	}
	return last
}

// warn tells of a real certificate that runs out, once at each moment.
func (l *look) warn() {
	live := l.leaf()
	if !live.real || l.doubt() != "" {
		return
	}
	at := passed(moments(live.notBefore, live.notAfter, live.renewAt), l.now)
	w := l.memo.Warned
	if at.IsZero() || w.Leaf == live.fingerprint && !at.After(w.Moment) {
		return
	}
	l.memo.Warned = warned{live.fingerprint, at}
	if !l.now.Before(live.notAfter) {
		l.tell(ReasonExpired, "it expired on %s and is served all the same, as there is nothing better: %s", stamp(live.notAfter), l.whyNot())
		return
	}
	left := live.notAfter.Sub(l.now)
	l.tell(ReasonExpiring, "it expires in %s, on %s: %s", roughly(left), stamp(live.notAfter), l.whyNot())
}

// whyNot says why there is no successor.
func (l *look) whyNot() string {
	_, why := acmeTrouble(l.acmeStatus())
	switch {
	case l.memo.Refusal != nil:
		return "the newest one was refused, " + l.memo.Refusal.Problems[0].Found
	case l.memo.Trouble != nil:
		return l.memo.Trouble.Error
	case why != "":
		return why
	case l.staged != nil:
		return "its successor is valid from " + stamp(l.staged.from) + " on"
	}
	return "there is no newer one at " + sourceOf(l.spec)
}

// roughly writes a duration as people say it.
func roughly(d time.Duration) string {
	if d >= 2*day {
		return fmt.Sprintf("%d days", (d+day/2)/day)
	}
	return d.Round(time.Second).String()
}
