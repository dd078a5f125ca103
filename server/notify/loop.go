package notify

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// loop is one Run: the only one that changes the state.
type loop struct {
	*Manager
	results chan result
	under   sync.WaitGroup
	dirty   map[string]bool // instances in which something happened
	all     bool            // events may have been missed
	looked  time.Time       // when all were looked at
	saved   []byte
	changed bool // the state, since it was written down
	sick    bool // the state could not be written, which was said
}

// lookEvery is how often the events of all instances are looked at: a listener
// may miss some.
const lookEvery = time.Minute

// begin tells that the daemon began again where it had ended without a word.
func (l *loop) begin() {
	l.mu.Lock()
	crashed := l.state.Running
	l.mu.Unlock()
	if crashed {
		h := happening{Stamp: "Began " + l.began.Format(time.RFC3339), Notice: Notice{Kind: Failed, Title: "the daemon began again",
			Message: "It had ended without being stopped: it crashed, was killed, or the machine lost power. What runs went on meanwhile.",
			Todo:    "journalctl -u fairlead shows its last lines"}}
		l.change(func(s *state) { l.push(s, s.ledger("", l.began).happen(l.began, h, s.channelsOf("", l.opts.Host)), "") })
	}
	l.change(func(s *state) { s.Running = true })
	l.changed = true
}

// end says that the daemon ended as it was to.
func (l *loop) end() {
	l.under.Wait()
	l.change(func(s *state) { s.Running = false })
	l.changed = true
	if len(l.saved) > 0 {
		l.save()
	}
}

func (l *loop) change(f func(*state)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(l.state)
}

// pass looks, decides, writes down and delivers; it returns when the next one is
// due.
func (l *loop) pass(ctx context.Context) time.Duration {
	now := time.Now().UTC()
	l.takeWishes()
	if l.channels() == 0 {
		clear(l.dirty)
		l.all = true
		if len(l.saved) > 0 {
			l.save() // what was of channels that are gone
		}
		return time.Hour // until somebody wants notices
	}
	if now.Sub(l.looked) >= lookEvery || l.all {
		l.all, l.looked = true, now
	}
	for _, s := range l.opts.View.Statuses() {
		l.lookAt(now, s)
	}
	l.lookAtHost(now)
	clear(l.dirty)
	l.all = false
	if !l.save() {
		return l.opts.Every // what is not written down is not told either
	}
	return l.deliver(ctx, now)
}

func (l *loop) channels() (n int) {
	l.change(func(s *state) { n = len(s.Channels) })
	return n
}

// takeWishes takes in what Set was given.
func (l *loop) takeWishes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, w := range l.wanted {
		switch {
		case len(w.specs) > 0:
			l.state.Wanted[name] = w.specs
			l.state.ledger(name, w.since)
		case len(l.opts.Host) == 0:
			delete(l.state.Ledgers, name)
			fallthrough
		default:
			delete(l.state.Wanted, name)
		}
	}
	if l.state.reconcile(l.opts.Host) {
		l.changed = true
	}
}

// lookAt decides what is to tell of an instance.
func (l *loop) lookAt(now time.Time, s reconciler.Status) {
	var to []listener
	var last int
	from := l.began
	l.change(func(st *state) {
		to = st.channelsOf(s.Name, l.opts.Host)
		if w, known := l.wanted[s.Name]; known && w.since.Before(from) {
			from = w.since
		}
		if len(to) > 0 {
			last = st.ledger(s.Name, from).Seq
		}
	})
	if len(to) == 0 {
		return
	}
	var happenings []happening
	if l.all || l.dirty[s.Name] {
		happenings, last = l.happenings(s, last)
	}
	l.change(func(st *state) {
		led := st.ledger(s.Name, from)
		before := led.sign()
		for _, h := range happenings {
			if !h.Notice.At.Before(led.From) {
				l.push(st, led.happen(now, h, to), s.Name)
			}
		}
		led.Seq = max(led.Seq, last)
		if v, ok := look(s, now); ok {
			l.push(st, led.see(now, v, to), s.Name)
		}
		l.changed = l.changed || led.sign() != before
	})
}

// happenings reads the events after seq, oldest first, and the last number.
func (l *loop) happenings(s reconciler.Status, seq int) (list []happening, last int) {
	const few, many = 8, 200
	events, err := l.opts.View.Recent(s.Name, few)
	if err == nil && len(events) == few && events[few-1].Seq > seq+1 {
		events, err = l.opts.View.Recent(s.Name, many)
	}
	if err != nil {
		l.opts.Log.WithError(err).Warn("Read events for notices")
		return nil, seq
	}
	last = seq
	var records []reconciler.Record
	for _, e := range slices.Backward(events) {
		if e.Seq <= seq {
			continue
		}
		last = max(last, e.Seq)
		if records == nil {
			if records, err = l.opts.View.History(s.Name, 20); err != nil {
				l.opts.Log.WithError(err).Warn("Read history for notices")
			}
		}
		if h, ok := happened(e, recordOf(e, s, records)); ok {
			list = joinDrift(list, h)
		}
	}
	return list, last
}

// recordOf is the apply that an event is of, or as much as the status knows.
func recordOf(e reconciler.Event, s reconciler.Status, records []reconciler.Record) *reconciler.Record {
	for _, r := range records {
		if e.Generation != 0 && r.Generation == e.Generation && r.Revision.Commit == e.Revision && !r.Started.After(e.At) && (r.Kind == "heal") == (e.Reason == "DriftHealed") {
			return &r
		}
	}
	for _, rev := range []desired.Revision{s.Attempted, s.Applied} {
		if rev.Commit != "" && rev.Commit == e.Revision {
			return &reconciler.Record{Revision: rev}
		}
	}
	return nil
}

// joinDrift makes one of what was healed at the same time.
func joinDrift(list []happening, h happening) []happening {
	h.Notice.At = h.Notice.At.UTC()
	if n := len(list); h.Notice.Kind == DriftHealed && n > 0 && list[n-1].Notice.Kind == DriftHealed && h.Notice.At.Sub(list[n-1].Notice.At) < 5*time.Second {
		list[n-1].Stamp += "\n" + h.Notice.Message
		list[n-1].Notice.Message += "\n" + h.Notice.Message
		return list
	}
	return append(list, h)
}

func (l *loop) lookAtHost(now time.Time) {
	host := l.opts.View.Host()
	l.change(func(st *state) {
		to := st.channelsOf("", l.opts.Host)
		if len(to) == 0 {
			return
		}
		v := view{wrong: hostTroubles(host), fine: true, unknown: map[string]bool{"repository": host.Source.Err != nil}}
		led := st.ledger("", l.began)
		before := led.sign()
		l.push(st, led.see(now, v, to), "")
		l.changed = l.changed || led.sign() != before
	})
}

// push puts notices into the queues of their channels.
func (l *loop) push(st *state, list []out, instance string) {
	for _, o := range list {
		c := st.Channels[o.channel]
		if c == nil {
			continue
		}
		n := o.notice
		n.Instance, n.Host = instance, l.opts.HostName
		if n.At.IsZero() {
			n.At = time.Now().UTC()
		}
		n.Title, n.Link = headline(n), l.opts.Link(instance)
		l.changed = true
		c.push(queued{ID: newID(), Notice: n.bounded(), Since: time.Now().UTC()})
	}
}

// headline puts before a title what it is about.
func headline(n Notice) string {
	between := ": "
	if strings.HasPrefix(n.Title, "is ") {
		between = " "
	}
	title := n.who() + between + n.Title
	if n.Reminder {
		title = "Still: " + title
	}
	return title
}

// save writes the state down if it changed, and says whether it is.
func (l *loop) save() bool {
	if !l.changed {
		return true
	}
	l.mu.Lock()
	data, err := json.Marshal(l.state)
	l.mu.Unlock()
	if err == nil && string(data) == string(l.saved) {
		l.changed = false
		return true
	}
	if err == nil {
		err = l.opts.Book.Put(stateKey, data)
	}
	if err != nil {
		if !l.sick {
			l.opts.Log.WithError(err).Error("Keep notices")
		}
		l.sick = true
		return false
	}
	l.saved, l.sick, l.changed = data, false, false
	return true
}

// deliver begins what is due, and returns when something else is.
func (l *loop) deliver(ctx context.Context, now time.Time) time.Duration {
	next := l.opts.Every
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, c := range l.state.Channels {
		if c.busy {
			continue // its end wakes the loop
		}
		if c.expire(now) {
			l.changed = true
		}
		due := c.due()
		switch {
		case due.IsZero():
			continue
		case due.After(now):
			next = min(next, due.Sub(now))
			continue
		}
		q, ids := c.take(now)
		c.busy = true
		spec := c.Spec
		l.under.Go(func() {
			try, cancel := context.WithTimeout(ctx, sendTimeout)
			defer cancel()
			r := result{id, ids, l.opts.send(try, spec, q)}
			select {
			case l.results <- r:
			case <-ctx.Done(): // it is made again at the next start
			}
		})
	}
	return max(next, 10*time.Millisecond)
}

// settle takes in how a delivery ended.
func (l *loop) settle(r result) {
	now := time.Now().UTC()
	l.changed = true
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.state.Channels[r.id]
	if c == nil {
		return
	}
	c.busy = false
	if r.err == nil {
		c.sent(r.ids, now)
		return
	}
	var wait later
	errors.As(r.err, &wait)
	if c.Tries == 0 {
		l.opts.Log.WithField("channel", Label(c.Spec)).WithError(r.err).Warn("Deliver notice; it is tried again")
	}
	c.failed(r.err, wait.after, l.opts.Jitter(), now)
}
