package connectors

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/sirupsen/logrus"
)

// recheck is how often times are held against the clock on the wall, while
// there are any: a timer alone would sleep over a suspended machine.
const recheck = time.Minute

var (
	_ reconciler.Attachments = (*Manager)(nil)

	validInstance = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`)
)

// Manager runs the connectors of all instances. Its methods may be called from
// many goroutines, also before Run.
type Manager struct {
	opts Options
	wake chan struct{}

	mu   sync.Mutex // guards what follows, and all that is said to be under it; held for moments
	all  map[string]*instance
	busy int // runs under way
	runs bool
}

// New returns a Manager. It reads nothing, writes nothing and asks nobody.
func New(o Options) *Manager {
	return &Manager{opts: o.withDefaults(), wake: make(chan struct{}, 1), all: map[string]*instance{}}
}

// now is the time on the wall. The monotonic clock stands still while a machine
// is suspended.
func (m *Manager) now() time.Time { return m.opts.Now().Round(0).UTC() }

// trigger has the loop look now. It carries nothing.
func (m *Manager) trigger() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run runs what is due until ctx ends, and returns when the last run has ended.
// It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.runs {
		m.mu.Unlock()
		return errors.New("run connectors: that is done already")
	}
	m.runs = true
	m.mu.Unlock()
	var workers sync.WaitGroup
	defer workers.Wait()
	workers.Go(func() { m.watch(ctx) })
	for ctx.Err() == nil {
		m.sleep(ctx, m.pass(ctx, &workers))
	}
	return nil
}

// watch looks now and then whether what was published is still there.
func (m *Manager) watch(ctx context.Context) {
	ticker := time.NewTicker(recheck)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.mu.Lock()
		names := slices.Collect(maps.Keys(m.all))
		m.mu.Unlock()
		for _, name := range names {
			m.regain(name)
		}
	}
}

// regain has everything read anew of which nothing else can bring the data again.
func (m *Manager) regain(instance string) {
	for source, have := range m.attached(instance) {
		if !have.Lost {
			continue
		}
		m.mu.Lock()
		if c := m.all[instance].all[source]; c != nil && c.regain(m.now()) {
			m.trigger()
		}
		m.mu.Unlock()
	}
}

// sleep waits until next, unless that is the zero time, or until something
// happens. Its timer ends with it: there is one of them at a time, however often
// the loop is woken.
func (m *Manager) sleep(ctx context.Context, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(min(max(next.Sub(m.now()), 10*time.Millisecond), recheck))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ctx.Done():
	case <-due:
	case <-m.wake:
	}
}

// pass has everything done that is due and that nobody is at, and says when
// there is something to look at again; the zero time is never.
func (m *Manager) pass(ctx context.Context, workers *sync.WaitGroup) (next time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	at := func(t time.Time) {
		if !t.IsZero() && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	var due []*attempt
	for _, in := range m.all {
		at(in.look(ctx, workers, now))
		for _, c := range in.all {
			a, then := c.look(now)
			if at(then); a != nil {
				due = append(due, a)
			}
		}
	}
	m.start(ctx, workers, due)
	return next
}

// start begins as many runs as there is room for: of the instance first that has
// the fewest under way, then what waits longest. No instance of several takes
// all of the room.
func (m *Manager) start(ctx context.Context, workers *sync.WaitGroup, due []*attempt) {
	share, several := m.opts.AtOnce, 0
	for _, in := range m.all {
		several += min(1, len(in.want.ByName))
	}
	if several > 1 {
		share = max(1, share-1)
	}
	for m.busy < m.opts.AtOnce && len(due) > 0 {
		slices.SortFunc(due, func(a, b *attempt) int {
			if d := a.c.in.busy - b.c.in.busy; d != 0 {
				return d
			}
			return a.c.since.Compare(b.c.since)
		})
		a := due[0]
		if due = due[1:]; a.c.in.busy >= share {
			return // as many as all that follow have
		}
		a.begin(ctx)
		workers.Go(func() {
			defer m.trigger()
			a.run()
		})
	}
}

// Set says which connectors an instance wants until the next Set. What runs and
// is wanted no more, or otherwise, is ended; data stays. Without connectors and
// without a commit there is no desired state that could be read, as when the
// first one of an instance does not load: that removes nothing.
func (m *Manager) Set(name string, want reconciler.WantedConnectors) {
	if len(want.ByName) == 0 && want.Commit == "" {
		return
	}
	want.ByName, want.Files = maps.Clone(want.ByName), maps.Clone(want.Files)
	m.mu.Lock()
	defer m.mu.Unlock()
	in := m.all[name]
	if in == nil {
		in = newInstance(m, name)
		m.all[name] = in
	} else if reflect.DeepEqual(in.want.ByName, want.ByName) && in.want.Commit == want.Commit && in.want.Suspended == want.Suspended && in.has(want.Files) {
		return
	}
	in.set(want)
	m.trigger()
}

// connector is one that is known, wanted or not.
func (m *Manager) connector(instance, source string) *connector {
	if in := m.all[instance]; in != nil {
		return in.all[source]
	}
	return nil
}

// report tells people what happened. m.mu is not held.
func (m *Manager) report(instance, reason, message, correlation string) {
	fields := logrus.Fields{"instance": instance, "reason": reason}
	if correlation != "" {
		fields["correlation"] = correlation
	}
	m.opts.Log.WithFields(fields).Info("connectors: " + message)
	if m.opts.Event != nil {
		m.opts.Event(instance, reason, message, correlation)
	}
}
