package notify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// ledger is what is remembered of an instance, or of the host: what is wrong,
// and who was told of it. It survives restarts.
type ledger struct {
	// Seq is the last event that was looked at; those before From are history.
	Seq  int       `json:"seq"`
	From time.Time `json:"from"`
	// Open are the troubles by their key.
	Open map[string]*open `json:"open,omitempty"`
	// Once are the happenings that were told, by channel and stamp.
	Once map[string]time.Time `json:"once,omitempty"`

	told int // how often something was put into Once
}

// open is a trouble that is not over, or not told to be.
type open struct {
	Stamp  string    `json:"stamp,omitempty"`
	Notice Notice    `json:"notice"`
	Seen   time.Time `json:"seen"`          // first
	Gone   time.Time `json:"gone,omitzero"` // since when it is not there; zero: it is
	// Settle is how long it has to last.
	Settle time.Duration `json:"settle,omitempty"`
	Quiet  bool          `json:"quiet,omitempty"` // there are no reminders of it
	// Told is who was told of it, by channel.
	Told map[string]*told `json:"told,omitempty"`
}

type told struct {
	Stamps []string  `json:"stamps"` // each is told once as long as the trouble lasts
	At     time.Time `json:"at"`     // the last time, reminders included
}

const (
	// recovers is how long a trouble has to be over before that is told: what
	// comes and goes is one trouble.
	recovers = time.Minute
	maxOnce  = 500
	// onceLasts is how long the same happening is not told again where a
	// channel has no reminders.
	onceLasts = 24 * time.Hour
	maxStamps = 32
	// deployKey is the key of deployments that fail, which events open.
	deployKey = "deploy"
)

// out is a notice for a channel.
type out struct {
	channel string
	notice  Notice
}

// listener is a channel as the ledger sees it.
type listener struct {
	id       string
	on       []string
	remind   time.Duration
	deferred time.Duration // how long a release may wait before that is told
}

func listenerOf(id string, s desired.NotifySpec) listener {
	return listener{id, s.On, s.Remind, cmp.Or(s.Deferred, desired.DefaultDeferred)}
}

// early says that a channel does not want to know of a trouble yet.
func (l listener) early(key string, n Notice, now time.Time) bool {
	return key == deferredKey && now.Sub(n.Since) < l.deferred
}

func (l listener) wants(k Kind) bool { return len(l.on) == 0 || slices.Contains(l.on, string(k)) }

// happen takes in what happened. Nobody is told twice of the same.
func (l *ledger) happen(now time.Time, h happening, to []listener) (list []out) {
	if h.Opens {
		l.openDeploy(now, h)
		return l.announce(now, deployKey, to)
	}
	if h.Closes {
		list = l.close(now, deployKey, to, h.Notice.Message)
	}
	for _, c := range to {
		id := c.id + " " + h.Stamp
		wait := c.remind
		if wait == 0 {
			wait = onceLasts
		}
		at, before := l.Once[id]
		if !c.wants(h.Notice.Kind) || before && now.Sub(at) < wait {
			continue
		}
		if l.Once == nil {
			l.Once = map[string]time.Time{}
		}
		l.Once[id] = now
		l.told++
		n := h.Notice
		n.Reminder = before
		list = append(list, out{c.id, n})
	}
	l.forgetOnce()
	return list
}

// forgetOnce drops the oldest beyond a bound.
func (l *ledger) forgetOnce() {
	for len(l.Once) > maxOnce {
		oldest := ""
		for id, at := range l.Once {
			if oldest == "" || at.Before(l.Once[oldest]) {
				oldest = id
			}
		}
		delete(l.Once, oldest)
	}
}

func (l *ledger) openDeploy(now time.Time, h happening) {
	o := l.opened(now, deployKey)
	o.Gone = time.Time{}
	o.Stamp, o.Notice = h.Stamp, h.Notice
	if o.Notice.Since.IsZero() {
		o.Notice.Since = o.Seen
	}
}

func (l *ledger) opened(now time.Time, key string) *open {
	if l.Open == nil {
		l.Open = map[string]*open{}
	}
	o, known := l.Open[key]
	if !known {
		o = &open{Seen: now}
		l.Open[key] = o
	}
	return o
}

// see takes in what is wrong now. What is not known is as it was, and what is no
// more ends without a word.
func (l *ledger) see(now time.Time, v view, to []listener) (list []out) {
	there := map[string]bool{}
	for _, t := range v.wrong {
		there[t.Key] = true
		o := l.opened(now, t.Key)
		o.Gone, o.Stamp, o.Notice, o.Settle, o.Quiet = time.Time{}, t.Stamp, t.Notice, t.Settle, t.Quiet
	}
	there[deployKey] = !v.fine
	for _, key := range slices.Sorted(maps.Keys(l.Open)) {
		o := l.Open[key]
		switch {
		case v.unknown[key]:
		case there[key]:
			o.Gone = time.Time{}
			list = append(list, l.announce(now, key, to)...)
		case o.Gone.IsZero():
			o.Gone = now
		case now.Sub(o.Gone) < recovers:
		case v.parts != nil && isPart(key) && !v.parts[key]:
			delete(l.Open, key)
		default:
			list = append(list, l.close(now, key, to, "")...)
		}
	}
	return list
}

// view is what is seen at one time.
type view struct {
	wrong []trouble
	// fine says that deployments are: what runs is what is wanted.
	fine bool
	// unknown are keys of which nothing can be said.
	unknown map[string]bool
	// parts are the keys of all certificates and attachments that there are; nil:
	// there is no such list.
	parts map[string]bool
}

func isPart(key string) bool {
	return strings.HasPrefix(key, "certificate ") || strings.HasPrefix(key, "attachment ")
}

// announce tells of an open trouble those who do not know it, and reminds the
// others.
func (l *ledger) announce(now time.Time, key string, to []listener) (list []out) {
	o := l.Open[key]
	if now.Sub(o.Seen) < o.Settle {
		return nil
	}
	for _, c := range to {
		t := o.Told[c.id]
		known := t != nil && (slices.Contains(t.Stamps, o.Stamp) || follows(t.Stamps, o.Stamp))
		due := known && !o.Quiet && c.remind > 0 && now.Sub(t.At) >= c.remind
		if !c.wants(o.Notice.Kind) || known && !due || c.early(key, o.Notice, now) {
			continue
		}
		if t == nil {
			t = &told{}
			if o.Told == nil {
				o.Told = map[string]*told{}
			}
			o.Told[c.id] = t
		}
		if !known {
			t.Stamps = append(t.Stamps, o.Stamp)
			t.Stamps = t.Stamps[max(0, len(t.Stamps)-maxStamps):]
		}
		t.At = now
		n := o.Notice
		n.At, n.Reminder = now, known
		list = append(list, out{c.id, n})
	}
	return list
}

// follows says whether a stamp tells nothing new: that a revision which was
// rolled back is in quarantine.
func follows(stamps []string, stamp string) bool {
	rest, ok := strings.CutPrefix(stamp, "Quarantined ")
	commit, _, _ := strings.Cut(rest, " ")
	return ok && slices.ContainsFunc(stamps, func(s string) bool { return strings.HasPrefix(s, "RolledBack "+commit+" ") })
}

// close ends a trouble, and tells those who were told of it.
func (l *ledger) close(now time.Time, key string, to []listener, why string) (list []out) {
	o, there := l.Open[key]
	if !there {
		return nil
	}
	delete(l.Open, key)
	for _, c := range to {
		if o.Told[c.id] == nil || !c.wants(Recovered) {
			continue
		}
		n := Notice{Kind: Recovered, Of: o.Notice.Kind, Instance: o.Notice.Instance, Title: "recovered: " + o.Notice.Title, Message: why,
			Since: o.Notice.Since, At: now}
		list = append(list, out{c.id, n})
	}
	return list
}

// sign changes whenever something does that has to survive a restart.
func (l *ledger) sign() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d", l.Seq, l.told)
	for _, key := range slices.Sorted(maps.Keys(l.Open)) {
		o := l.Open[key]
		fmt.Fprintf(&b, "|%s %s %t", key, o.Stamp, o.Gone.IsZero())
		for _, id := range slices.Sorted(maps.Keys(o.Told)) {
			fmt.Fprintf(&b, " %s %s", id, o.Told[id].At)
		}
	}
	return b.String()
}

// fingerprint tells texts apart.
func fingerprint(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
