package certs

import (
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/acme"
	"github.com/fairlead/fairlead/desired"
)

// step is one thing that is done for a certificate.
type step string

// The steps, in the order in which they are done.
const (
	stepRestore step = "restore"         // put back what was changed on disk
	stepRequest step = "signing request" // make the key of this host and the request
	stepPromote step = "staged"          // publish what was staged and is valid now
	stepOrder   step = "order"           // have ACME obtain one
	stepAsk     step = "ask"             // ask the source
	stepStandIn step = "self-signed"     // make one until there is a real one
	stepDeliver step = "deliver"         // bring what is live to other servers
)

// mode is where a certificate comes from.
type mode int

const (
	selfSigned mode = iota // for good
	byRequest              // a chain by URL, for the key of this host
	byURL                  // chain and key by URL
	byACME
)

func modeOf(s desired.CertificateSpec) mode {
	switch {
	case s.ACME != nil:
		return byACME
	case s.Fullchain == "":
		return selfSigned
	case s.Privkey == "":
		return byRequest
	}
	return byURL
}

const (
	restoreEvery = time.Minute
	askEvery     = 24 * time.Hour // when the spec does not say
	askDue       = time.Hour      // when a successor is due
	askCritical  = 15 * time.Minute
	critical     = 48 * time.Hour // before the end, or a tenth of the life
	longestWait  = 7 * 24 * time.Hour
)

// waits are those after the first failure in a row, the second, and so on.
var waits = [...]time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 6 * time.Hour}

func waitAfter(failures int) time.Duration {
	return waits[min(max(failures, 1), len(waits))-1]
}

// leaf is what is live, as far as decisions go. The zero leaf is none.
type leaf struct {
	fingerprint         string
	real                bool
	notBefore, notAfter time.Time
	renewAt             time.Time
	covers              bool // the wanted domains
}

func (l leaf) none() bool { return l.fingerprint == "" }

func (l leaf) validAt(t time.Time) bool {
	return !l.none() && !t.Before(l.notBefore) && !t.After(l.notAfter)
}

// good reports whether there is a real one that needs no successor.
func (l leaf) good(now time.Time) bool {
	return l.real && l.covers && l.validAt(now) && now.Before(l.renewAt)
}

// hurry reports whether a real one ends so soon that its successor is urgent.
func (l leaf) hurry(now time.Time) bool {
	return l.real && l.notAfter.Sub(now) < min(critical, l.notAfter.Sub(l.notBefore)/10)
}

// view is all that a decision depends on.
type view struct {
	now      time.Time
	spec     desired.CertificateSpec
	spread   string // makes hosts and certificates differ
	hash     string // of the spec
	doubt    bool   // the clock cannot be right
	force    bool   // a person wants the source asked
	live     leaf
	real     bool // a real one was live at some time
	memo     memo
	staged   time.Time // of a candidate in memory; zero: there is none
	recheck  bool      // what was refused is to be held against something new
	request  string    // hash of the spec that the request was made for
	ordered  bool      // ACME was told of the spec, with the roots as they are
	restored time.Time
}

// decide says what is to be done, in order. It is pure.
func decide(v view) (steps []step) {
	add := func(s step, due bool) {
		if due {
			steps = append(steps, s)
		}
	}
	m := modeOf(v.spec)
	add(stepRestore, !within(v.restored, v.now, restoreEvery))
	add(stepRequest, m == byRequest && v.request != v.hash)
	add(stepPromote, !v.doubt && !v.staged.IsZero() && !v.now.Before(v.staged))
	add(stepOrder, m == byACME && !v.ordered)
	// The key that the source has is the one to sign a stand-in with, so that one
	// waits for it. Where the key is here nothing does.
	late := m == byURL && v.live.none()
	add(stepStandIn, !late && v.standInDue())
	add(stepAsk, v.askDue())
	add(stepStandIn, late && v.standInDue())
	add(stepDeliver, !v.live.none())
	return steps
}

// within reports whether at was less than d ago. A time to come was written
// while the clock was wrong.
func within(at, now time.Time, d time.Duration) bool {
	return !at.IsZero() && !at.After(now) && now.Sub(at) < d
}

// standInDue reports whether a self-signed one is to be made: where nothing real
// ever was, and only if that is wanted.
func (v view) standInDue() bool {
	wanted := modeOf(v.spec) == selfSigned || v.spec.Fallback == fallbackSelfSigned
	if !wanted || v.real || v.doubt {
		return false
	}
	return v.live.none() || !v.live.covers || !v.live.validAt(v.now) || !v.now.Before(v.live.renewAt)
}

// askDue reports whether the source is to be asked now.
func (v view) askDue() bool {
	if m := modeOf(v.spec); m != byRequest && m != byURL {
		return false
	}
	if v.force {
		return true
	}
	at, ever := v.askAt()
	return ever && !v.now.Before(at)
}

// askAt is when the source is asked next; ever is false when only another spec
// makes it worth while.
func (v view) askAt() (at time.Time, ever bool) {
	m := v.memo
	t := m.Trouble
	switch {
	case t != nil && t.Final:
		return time.Time{}, false
	case t != nil && !t.Absent:
		next := t.Next
		if soon := t.At.Add(v.interval()); !t.Said && soon.Before(next) {
			next = soon
		}
		return v.sane(next, t.At, longestWait), true
	case m.Asked.IsZero() || m.Spec != v.hash || v.recheck || v.lost():
		return time.Time{}, true
	case m.Refusal != nil: // whoever mends it is waited for
		return v.sane(m.Asked.Add(min(waitAfter(m.Refused), v.interval())), m.Asked, longestWait), true
	}
	return v.sane(m.Asked.Add(v.interval()), m.Asked, longestWait+v.interval()), true
}

// sane takes a time that was remembered while the clock was wrong for over.
func (v view) sane(next, from time.Time, most time.Duration) time.Time {
	if from.After(v.now) || next.Sub(v.now) > most {
		return time.Time{}
	}
	return next
}

// lost reports whether what was taken from the source is gone from the disk, or
// what was staged from memory.
func (v view) lost() bool {
	if v.memo.Refusal != nil {
		return false
	}
	if !v.memo.Staged.IsZero() {
		return v.staged.IsZero()
	}
	return v.memo.Took != "" && v.memo.Took != v.live.fingerprint && !slices.Contains(v.memo.Held, v.memo.Took)
}

// interval is the time between two questions that are answered.
func (v view) interval() time.Duration {
	every := v.spec.Every
	if every <= 0 {
		every = askEvery
	}
	switch {
	case fromFiles(v.spec):
		return 0 // a look at a file costs nothing
	case v.live.hurry(v.now), !v.live.real:
		every = min(every, askCritical)
	case !v.live.good(v.now):
		every = min(every, askDue)
	}
	return every - v.jitter(every/10)
}

// jitter is a share of d that belongs to this host and certificate.
func (v view) jitter(d time.Duration) time.Duration {
	if d < time.Second {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(v.spread)) // never fails
	return time.Duration(h.Sum64() % uint64(d))
}

// fromFiles reports whether all that is asked is on this host.
func fromFiles(s desired.CertificateSpec) bool {
	local := func(ref string) bool { return strings.HasPrefix(ref, "file://") }
	return local(s.Fullchain) && (s.Privkey == "" || local(s.Privkey))
}

// needsFront reports whether an authority may come to ports 80 or 443.
func needsFront(a *desired.ACMESpec) bool {
	if len(a.Challenges) == 0 {
		return a.DNS == nil
	}
	for _, c := range a.Challenges {
		if c == acme.HTTP01 || c == acme.TLSALPN01 {
			return true
		}
	}
	return false
}
