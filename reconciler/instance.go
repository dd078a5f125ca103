package reconciler

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
)

// Source gives the newest revision that could be read. It does no network
// itself: whoever owns it keeps it fresh.
type Source interface {
	Latest(ctx context.Context) (desired.Snapshot, error)
	Status() SourceStatus
}

// SourceStatus says how fresh a Source is.
type SourceStatus struct {
	Repo        string    `json:"repo"`
	Ref         string    `json:"ref"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	Err         error     `json:"-"` // of the last attempt
}

// LoadFunc reads one instance from a tree, with the host's own files over it.
type LoadFunc func(tree fs.FS, dir string, local fs.FS) (desired.Spec, error)

// Config wires an Instance. Progress, Lines, Releases, Traffic and Prober may be
// nil: nothing is shown, told, asked, led or probed then.
type Config struct {
	Name     string
	Dir      string // in the repository
	Home     string // this instance's directory on the host
	Journals string // directory of the journals
	Driver   Driver
	Store    *Store
	Events   *Events
	Source   Source
	Load     LoadFunc
	// LoadedBy changes whenever a load may give something else although neither
	// the revision nor the local files changed, as with other keys; nil: never.
	LoadedBy func() string
	// Interval is the longest time between two passes, DeepEvery between two
	// deep observations.
	Interval  time.Duration
	DeepEvery time.Duration
	Progress  Progress
	Lines     Lines
	Releases  Releases
	Traffic   Traffic
	Prober    Prober
	// Vouch judges signatures; nil: a policy that asks for them is refused.
	Vouch *Vouching
	// Certificates keeps the certificates; nil: there are none.
	Certificates Certificates
	// Attachments keeps the connectors; nil: they are not run.
	Attachments Attachments
	// Notices tells people what happens; nil: nobody is told.
	Notices Notices
	Log     *logrus.Entry

	hosts *hosts // nil: no other instance is there
}

// Instance converges one desired-state directory. One goroutine runs its
// passes, so none overlaps another; everything else only triggers.
type Instance struct {
	cfg     Config
	journal *journal
	trigger chan struct{} // capacity 1: many triggers, at most one more pass
	newer   chan struct{} // the same, for an apply in progress
	deep    atomic.Bool   // the next pass observes deeply
	gone    atomic.Bool   // from the repository: nothing is done any more
	force   atomic.Bool   // the next pass does not wait for a retry to be due
	going   atomic.Bool   // a new generation is on its way

	routed     chan struct{} // closed when requests are led, or held, as the last generation says
	routedOnce sync.Once

	counted *counted

	mu      sync.Mutex
	status  Status
	waiters []chan struct{}
	cause   *cause // of the next pass; nil: none is known

	// What follows belongs to the goroutine of the passes.
	correlation string // id of the request that this pass is made for
	loaded      loaded
	good        *goodGeneration
	ready       bool         // start-up has read journal and store
	broken      *interrupted // the apply that did not end, if there is one
	said        said         // of the revision, before what runs was looked at
	held        []Held       // what the last deep observation could not have done
	forced      bool         // this pass does not wait for a retry to be due
	try         attempt
	picked      string // digest of the followed reference that this pass chose
	tookOver    bool   // what was begun last was given up for something newer
	cuts        int    // applies in a row that were given up with a service down
	routing     *routing
	untidy      bool // an apply ended since images were cleared
	lastDeep    time.Time
	unseen      bool // the last apply left containers alone whose settings were not looked at
	flaps       flapGuard
}

// goodGeneration is the applied generation with its target.
type goodGeneration struct {
	Generation
	target Target
}

// said is what a decision says of the revision.
type said struct {
	phase Phase
	sync  Sync
}

// attempt is what is known of tries at one target that did not succeed.
type attempt struct {
	key      string // see attemptKey
	failures int
	notUntil time.Time
	err      error
	// correlation is the id of the request that began it.
	correlation string
}

// loaded is a revision as it was read for this instance.
type loaded struct {
	key   string // commit, directory and host files that it was read from
	rev   desired.Revision
	dirty []string
	spec  desired.Spec
	err   error
	// unsigned says that it is refused because nobody vouches for it. With
	// settled, trust is what the next one is judged by; nil: by nothing.
	unsigned, settled bool
	trust             *trusted
}

// NewInstance does no I/O; Run does.
func NewInstance(cfg Config) *Instance {
	return &Instance{
		cfg:     cfg,
		journal: newJournal(cfg.Journals, cfg.Name),
		routing: newRouting(cfg.Name, cfg.Traffic),
		routed:  make(chan struct{}),
		counted: newCounted(),
		trigger: make(chan struct{}, 1),
		newer:   make(chan struct{}, 1),
		status: Status{Name: cfg.Name, Dir: cfg.Dir, Sync: Unknown, Health: Progressing, Phase: PhasePending,
			Conditions: []Condition{}, Containers: []ContainerStatus{}},
	}
}

// Trigger asks for a pass. It never blocks and carries nothing: every pass
// reads everything again (law 2).
func (r *Instance) Trigger() {
	for _, ch := range []chan struct{}{r.trigger, r.newer} {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Hint asks for a pass that looks closely: the engine reported a change.
func (r *Instance) Hint() {
	r.deep.Store(true)
	r.Trigger()
}

// Run makes passes until ctx ends.
func (r *Instance) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.trigger:
		case <-timer.C:
		}
		timer.Reset(r.pass(ctx))
		r.clearImages(ctx) // after the pass: nobody waits for it
	}
}

// Reconcile makes one pass at once, retries that are not due included, and
// returns the status after it. It needs Run to be running.
func (r *Instance) Reconcile(ctx context.Context) (Status, error) {
	if r.gone.Load() {
		return r.Status(), nil
	}
	r.note(ctx)
	done := make(chan struct{})
	r.mu.Lock()
	r.waiters = append(r.waiters, done)
	r.force.Store(true) // under the lock: the pass that answers is the one that is forced
	r.mu.Unlock()
	r.Hint()
	select {
	case <-done:
		return r.Status(), nil
	case <-ctx.Done():
		return r.Status(), fmt.Errorf("wait for the pass of %s: %w", r.cfg.Name, context.Cause(ctx))
	}
}

// Once makes passes until there is nothing more to do at once, without Run.
func (r *Instance) Once(ctx context.Context) Status {
	if r.gone.Load() {
		return r.Status()
	}
	r.note(ctx)
	r.force.Store(true)
	r.deep.Store(true)
	r.pass(ctx)
	for phase := r.Status().Phase; r.broken != nil && ctx.Err() == nil && (phase == PhaseApplying || phase == PhaseBaking); phase = r.Status().Phase {
		r.pass(ctx)
	}
	if r.unseen && r.broken == nil && r.try.err == nil && ctx.Err() == nil {
		r.pass(ctx)
	}
	r.clearImages(ctx)
	return r.Status()
}

// Status returns a copy of what is known.
func (r *Instance) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Conditions = append([]Condition{}, s.Conditions...)
	if r.cfg.Certificates != nil {
		s.certify(r.cfg.Certificates.Certificates(r.cfg.Name))
	}
	if r.cfg.Attachments != nil {
		s.attach(r.cfg.Attachments.Attachments(r.cfg.Name))
	}
	return s
}

func (r *Instance) setStatus(change func(*Status)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.status)
}

// pass is one round: read, decide, observe, plan, apply. It returns the time
// until the next one, if nothing triggers before.
func (r *Instance) pass(ctx context.Context) time.Duration {
	r.mu.Lock()
	waiters := r.waiters
	r.waiters = nil
	r.forced, r.correlation = r.force.Swap(false), r.takeCauseLocked()
	r.mu.Unlock()
	defer func() {
		for _, w := range waiters {
			close(w)
		}
	}()
	next := jitter(r.cfg.Interval)
	select {
	case <-r.newer: // what came before this pass is read by it
	default:
	}
	began := time.Now()
	err := r.converge(ctx)
	if ctx.Err() == nil {
		r.counted.passed(err, time.Since(began))
	}
	r.routedOnce.Do(func() { close(r.routed) }) // also when the store could not be read
	switch wait, asked := RetryDelay(err); {
	case err == nil, ctx.Err() != nil:
	case errors.Is(err, errSuperseded):
		next = 0
	case asked:
		next = min(next, wait)
	case !IsTerminal(err) || time.Now().Before(r.try.notUntil):
		next = min(next, max(time.Until(r.try.notUntil), time.Second))
	}
	r.finishPass(ctx, err, next)
	return next
}

func (r *Instance) finishPass(ctx context.Context, err error, next time.Duration) {
	now := time.Now()
	r.setStatus(func(s *Status) {
		s.LastPass, s.NextPass = now.UTC(), now.Add(next).UTC()
		if err == nil || ctx.Err() != nil || errors.Is(err, errSuperseded) {
			return
		}
		switch {
		case errors.Is(err, ErrUnreachable):
			s.Sync, s.Phase = Unknown, PhaseRetrying
			s.set(now, ContainersReady, "Unknown", "EngineUnreachable", err.Error())
		case IsTerminal(err):
			s.Phase = PhaseStalled
			s.set(now, ContainersReady, "False", reasonOf(err, s.Phase), err.Error())
		case s.Phase == PhaseApplying || s.Phase == PhaseBaking || s.Phase == PhaseIdle || s.Phase == PhasePending:
			s.Phase = PhaseRetrying
			s.set(now, ContainersReady, "False", "Retrying", err.Error())
		}
	})
	if err == nil || ctx.Err() != nil || errors.Is(err, errSuperseded) || r.flaps.sameError(err, now) {
		return
	}
	r.log().WithError(err).WithField("retry_in", next.Round(time.Second)).Error("Reconcile pass")
}

// jitter spreads passes by a tenth to both sides.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(max(d/5, 1))
}

// load reads the newest revision, or takes it from memory when neither it nor
// the host's files changed.
func (r *Instance) load(ctx context.Context) loaded {
	l := r.read(ctx, r.loaded.key)
	if l.key != "" && l.key == r.loaded.key {
		r.loaded.dirty, r.loaded.rev = l.dirty, l.rev
	} else {
		r.loaded = r.remembersTrust(l)
	}
	return r.loaded
}

// read loads the newest revision unless its key is the one that is known.
func (r *Instance) read(ctx context.Context, known string) loaded {
	snapshot, err := r.cfg.Source.Latest(ctx)
	if err != nil {
		return loaded{err: sourceError{fmt.Errorf("read desired state: %w", err)}}
	}
	return r.readSnapshot(snapshot, known)
}

// readSnapshot reads a revision and judges who vouches for it.
func (r *Instance) readSnapshot(snapshot desired.Snapshot, known string) loaded {
	l := r.readTree(snapshot, known)
	if l.key != "" && l.key == known {
		return l
	}
	return r.vouch(snapshot, l)
}

func (r *Instance) readTree(snapshot desired.Snapshot, known string) loaded {
	l := loaded{rev: snapshot.Revision, dirty: snapshot.Dirty}
	local, digest, done, err := localFiles(filepath.Join(r.cfg.Home, "local"))
	if err != nil {
		l.err = err
		return l
	}
	defer done()
	l.key = snapshot.Commit + " " + r.cfg.Dir + " " + digest
	if r.cfg.LoadedBy != nil {
		l.key += " " + r.cfg.LoadedBy()
	}
	if l.key == known {
		return l
	}
	l.spec, l.err = r.cfg.Load(snapshot.Tree, r.cfg.Dir, local)
	if name := l.spec.Name; l.err == nil && name != r.cfg.Name {
		// The directory was renamed, and the manager has not noticed yet. Two
		// loops would act on the objects of the new name.
		l.spec, l.err = desired.Spec{}, sourceError{fmt.Errorf("read desired state: the directory is instance %s at %s", name, l.rev.Short())}
	}
	return l
}

// sourceError says that there is no revision to judge: not a bad revision.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }
