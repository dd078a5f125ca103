package acme

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Manager keeps the certificates that were asked for. Its methods may be called
// from several goroutines, also before Run.
type Manager struct {
	opts       Options
	store      *store
	challenges challenges
	trigger    chan struct{} // a look is wanted
	ended      chan struct{} // a worker has ended
	slots      chan struct{} // one for each order in progress

	mu      sync.Mutex // guards what follows, and the entries
	entries map[string]*entry
	// busy are the names that have a worker, also of an entry that was forgotten.
	busy map[string]context.CancelFunc
}

// entry is one request. While its name is busy, the worker alone uses last and
// handed.
type entry struct {
	req    Request
	asked  time.Time // when a renewal was asked for that was not made yet
	status Status

	last   *record
	handed string // fingerprint of the leaf
}

// New returns a Manager that keeps nothing yet.
func New(opts Options) *Manager {
	opts.fill()
	return &Manager{
		opts: opts, store: newStore(opts.Dir), entries: map[string]*entry{}, busy: map[string]context.CancelFunc{},
		trigger: make(chan struct{}, 1), ended: make(chan struct{}, 1), slots: make(chan struct{}, opts.Parallel),
	}
}

// Ensure asks for a certificate to be there and to stay valid, from now until
// Forget. It replaces an earlier request of the same name, returns at once, and
// may be called as often as one likes. The error says what is wrong with the
// request.
func (m *Manager) Ensure(req Request) error {
	req.Domains, req.Issuers, req.Challenges = slices.Clone(req.Domains), slices.Clone(req.Issuers), slices.Clone(req.Challenges)
	if err := req.check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[req.Name]
	if e == nil {
		e = &entry{status: Status{Name: req.Name, Phase: Pending}}
		m.entries[req.Name] = e
	}
	changed := e.req.Name == "" || e.req.digest() != req.digest()
	e.req = req
	if changed {
		m.wake()
	}
	return nil
}

// Forget stops keeping a certificate, and gives up the order that is under way.
// It does not wait for a call of Issued that has begun. The files stay.
func (m *Manager) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, name)
	if cancel := m.busy[name]; cancel != nil {
		cancel()
	}
}

// Renew orders a successor now, whatever the time and earlier failures, but not
// against what the authority said about waiting, and not beyond Orders. If that
// fails it is tried again, after the usual waits, until there is one or the
// process ends.
func (m *Manager) Renew(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[name]
	if e == nil {
		return fmt.Errorf("renew certificate %s: it is not obtained by ACME", name)
	}
	e.asked = wall()
	m.wake()
	return nil
}

// Status tells of every certificate, sorted by name.
func (m *Manager) Status() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.entries))
	for _, e := range m.entries {
		all = append(all, e.status)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// HTTPHandler answers HTTP-01 under /.well-known/acme-challenge/, and 404 to
// anything else.
func (m *Manager) HTTPHandler() http.Handler { return &m.challenges }

// ChallengeCertificate returns what to show a client that proves a name by
// TLS-ALPN-01: nil if no such proof is under way. The second result is false
// for every other client. Whoever calls it offers Protocol among NextProtos.
func (m *Manager) ChallengeCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, bool) {
	return m.challenges.certificate(hello)
}

// Run keeps the certificates until ctx ends. It repairs the directory first;
// what it cannot repair is reported, and shows in the status of what it concerns.
// It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	did, err := m.store.repair()
	for _, what := range did {
		m.opts.Log.Warn("acme: " + what + ", which a crash left so")
	}
	if err != nil {
		m.opts.Log.WithError(err).Error("acme: directory cannot be repaired")
	}
	var workers sync.WaitGroup
	defer workers.Wait()
	for ctx.Err() == nil {
		m.pass(ctx, &workers)
		m.rest(ctx)
	}
	return nil
}

// rest waits for the next look. The clock on the wall is read anew with each: a
// timer for the date of a renewal would sleep over a suspended machine.
func (m *Manager) rest(ctx context.Context) {
	began := time.Now()
	for {
		timer := time.NewTimer(time.Until(began.Add(m.pause())))
		select {
		case <-m.ended: // what it has found may want to be looked at sooner
			timer.Stop()
			continue
		case <-ctx.Done():
		case <-m.trigger:
		case <-timer.C:
		}
		timer.Stop()
		return
	}
}

// pause is the time between two looks: less than Every if a certificate lives
// so shortly that it could run out between them.
func (m *Manager) pause() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	pause := m.opts.Every
	for _, e := range m.entries {
		if s := e.status; !s.NotAfter.IsZero() {
			pause = min(pause, max(s.NotAfter.Sub(s.Issued)/20, time.Second))
		}
	}
	return pause
}

func (m *Manager) wake() { signal(m.trigger) }

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// pass gives every certificate that has no worker one.
func (m *Manager) pass(ctx context.Context, workers *sync.WaitGroup) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, e := range m.entries {
		if m.busy[name] != nil || ctx.Err() != nil {
			continue
		}
		ctx, cancel := context.WithCancel(ctx)
		m.busy[name] = cancel
		job := &job{Manager: m, entry: e, req: e.req, asked: e.asked, now: wall()}
		workers.Go(func() {
			defer cancel()
			m.finish(name, job, job.run(ctx))
		})
	}
}

// finish publishes what a worker has found, and has a request that changed
// meanwhile looked at again.
func (m *Manager) finish(name string, j *job, s Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.busy, name)
	j.entry.status = s
	signal(m.ended)
	if e := m.entries[name]; e != nil && (e != j.entry || e.asked.After(j.asked) || e.req.digest() != j.req.digest()) {
		m.wake()
	}
}

// wall is the time on the wall. The monotonic clock stands still while a
// machine is suspended.
func wall() time.Time { return time.Now().Round(0).UTC() }
