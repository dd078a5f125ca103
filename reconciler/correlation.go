package reconciler

import (
	"context"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
)

type correlationKey struct{}

// WithCorrelation notes the id of the request that something is done for.
func WithCorrelation(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, correlationKey{}, id)
}

// CorrelationOf is the id that WithCorrelation noted; empty without one.
func CorrelationOf(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// cause is the request that asked for the next pass. Triggers carry nothing
// (law 2): a pass does the same with a cause and without, and writes it down
// with what came of it.
type cause struct {
	id string
	// open says that the request is not over, so that the pass which sees what
	// it changed may be yet to come.
	open atomic.Bool
	// attended says that it changed the repository. That is why something is
	// applied, also when somebody asks for a pass meanwhile.
	attended bool
}

// note makes the request of ctx the cause of the next pass.
func (r *Instance) note(ctx context.Context) {
	if id := CorrelationOf(ctx); id != "" {
		r.attend(&cause{id: id})
	}
}

func (r *Instance) attend(c *cause) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cause == nil || c.attended || !r.cause.attended {
		r.cause = c
	}
}

// takeCauseLocked is the id of what asked for the pass that begins. r.mu is held.
func (r *Instance) takeCauseLocked() string {
	c := r.cause
	if c == nil {
		return ""
	}
	if !c.open.Load() {
		r.cause = nil
	}
	return c.id
}

// HintFor is Hint for the request that ctx carries the id of.
func (r *Instance) HintFor(ctx context.Context) {
	r.note(ctx)
	r.Hint()
}

// goOn makes this pass one for the request that began the attempt at key, unless
// it has one of its own.
func (r *Instance) goOn(key string) {
	if r.try.key != key {
		r.try = attempt{key: key}
	}
	if r.correlation == "" {
		r.correlation = r.try.correlation
	}
	r.try.correlation = r.correlation
}

// log is where passes write, with the request that they are made for.
func (r *Instance) log() *logrus.Entry { return correlated(r.cfg.Log, r.correlation) }

func correlated(log *logrus.Entry, id string) *logrus.Entry {
	if id == "" {
		return log
	}
	return log.WithField("correlation", id)
}

// event tells what a pass did. Record and event keep what happened for people;
// an apply does not stand or fall with them.
func (r *Instance) event(reason, message string, rev desired.Revision, generation int) {
	r.tell(r.correlation, reason, message, rev, generation)
}

func (r *Instance) tell(correlation, reason, message string, rev desired.Revision, generation int) {
	ev := Event{Instance: r.cfg.Name, Reason: reason, Message: message, Revision: rev.Commit, Generation: generation, Correlation: correlation}
	if err := r.cfg.Events.add(ev); err != nil {
		correlated(r.cfg.Log, correlation).WithError(err).Error("Record event")
	}
}

// Attend makes a request the cause of the passes that begin until done is
// called, and of the next one after that, which done asks for. It is for a
// request that changes the repository: which pass sees that is not known.
func (m *Manager) Attend(ctx context.Context) (done func()) {
	id := CorrelationOf(ctx)
	if id == "" {
		return func() {}
	}
	c := &cause{id: id, attended: true}
	c.open.Store(true)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cause = c
	for _, r := range m.instances {
		r.attend(c)
	}
	return func() {
		m.mu.Lock()
		if m.cause == c {
			m.cause = nil
		}
		m.mu.Unlock()
		c.open.Store(false)
		m.TriggerAll()
	}
}
