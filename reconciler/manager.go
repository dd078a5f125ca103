package reconciler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// Found is an instance that a tree holds.
type Found struct{ Name, Dir string }

// ManagerConfig wires a Manager. All fields but Progress, Lines and Hints are needed.
type ManagerConfig struct {
	Data   string // the data directory
	Driver Driver
	Store  *Store
	Events *Events
	Source Source
	// Changed tells that the source has something new.
	Changed <-chan struct{}
	// Discover lists the instances of a tree. What it returns beside an error
	// counts: the error then says what is wrong with others.
	Discover func(fs.FS) ([]Found, error)
	Load     LoadFunc
	// LoadedBy is that of Config.
	LoadedBy func() string
	// Hints carries the names of instances in which the engine saw something
	// happen, until ctx ends. The empty name means any of them.
	Hints     func(ctx context.Context) <-chan string
	Interval  time.Duration
	DeepEvery time.Duration
	Progress  func(instance string) Progress
	Lines     func(instance string) Lines
	Releases  Releases
	Traffic   Traffic
	Prober    Prober
	// Vouch is that of Config.
	Vouch *Vouching
	// Certificates keeps the certificates; nil: there are none.
	Certificates Certificates
	// Attachments keeps the connectors; nil: they are not run.
	Attachments Attachments
	// Notices tells people what happens; nil: nobody is told.
	Notices Notices
	// Routed is called once, when every instance that was found first leads or
	// holds its requests; nil: nobody waits for it.
	Routed func()
	Log    *logrus.Entry
}

// Manager runs the instances of a repository, each in a goroutine of its own,
// so that none ever waits for another.
type Manager struct {
	cfg ManagerConfig

	mu        sync.Mutex
	instances map[string]*running
	problems  error  // what discovery last said
	cause     *cause // of passes, while a request changes the repository; nil: none does
	hosts     *hosts
}

type running struct {
	*Instance
	dir  string
	stop context.CancelFunc // nil until it runs
	done chan struct{}
	// gone says that the repository no longer has the instance. Its
	// containers are left alone: nobody asked for their removal (law 3).
	gone bool
	left bool // what is left of it is led to
}

// NewManager does no I/O; Run does.
func NewManager(cfg ManagerConfig) *Manager {
	return &Manager{cfg: cfg, instances: map[string]*running{}, hosts: newHosts(cfg.Store)}
}

// Run follows the source until ctx ends, and returns when every instance has
// stopped.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var hints <-chan string
	if m.cfg.Hints != nil {
		hints = m.cfg.Hints(ctx)
	}
	ticker := time.NewTicker(m.cfg.Interval)
	defer ticker.Stop()
	m.discoverAndRun(ctx)
	if m.cfg.Routed != nil {
		go m.sayRouted(ctx)
	}
	for {
		select {
		case <-ctx.Done():
			m.wait()
			return nil
		case <-m.cfg.Changed:
			m.discoverAndRun(ctx)
			m.TriggerAll()
		case <-ticker.C:
			// All at once, so that their observations share one engine call.
			m.discoverAndRun(ctx)
			m.TriggerAll()
		case name, open := <-hints:
			if !open {
				hints = nil
				continue
			}
			m.hint(name)
		}
	}
}

// sayRouted waits for the instances that are known now.
func (m *Manager) sayRouted(ctx context.Context) {
	m.mu.Lock()
	var all []*running
	for _, r := range m.instances {
		all = append(all, &running{Instance: r.Instance, gone: r.gone})
	}
	m.mu.Unlock()
	for _, r := range all {
		if r.gone {
			r.routeGone(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.routed:
		}
	}
	m.cfg.Routed()
}

func (m *Manager) hint(name string) {
	for _, r := range m.Instances() {
		if name == "" || r.cfg.Name == name {
			r.Hint()
		}
	}
}

// TriggerAll asks every instance for a pass.
func (m *Manager) TriggerAll() {
	for _, r := range m.Instances() {
		r.Trigger()
	}
}

func (m *Manager) wait() {
	m.mu.Lock()
	var all []*running
	for _, r := range m.instances {
		all = append(all, r)
	}
	m.mu.Unlock()
	for _, r := range all {
		if r.done != nil {
			<-r.done
		}
	}
}

func (m *Manager) discoverAndRun(ctx context.Context) {
	before := m.Problems()
	err := m.Discover(ctx)
	if err != nil && (before == nil || before.Error() != err.Error()) {
		m.cfg.Log.WithError(err).Error("Discover instances")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.instances {
		if r.stop == nil && !r.gone {
			m.runLocked(ctx, r)
		}
		if r.gone && !r.left {
			m.leadOnLocked(ctx, r)
		}
	}
}

// runLocked starts the goroutine of an instance. m.mu is held.
func (m *Manager) runLocked(ctx context.Context, r *running) {
	ctx, stop := context.WithCancel(ctx)
	r.stop, r.done = stop, make(chan struct{})
	done := r.done
	go func() {
		defer close(done)
		_ = r.Run(ctx) // it ends with ctx and has no other error
	}()
}

// leadOnLocked takes over from the goroutine of an instance that is gone. m.mu
// is held.
func (m *Manager) leadOnLocked(ctx context.Context, r *running) {
	before := r.done
	ctx, stop := context.WithCancel(ctx)
	r.stop, r.done, r.left = stop, make(chan struct{}), true
	done := r.done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		r.leadOn(ctx)
	}()
}

// Discover reads which instances the newest revision has. New ones become
// known; those that are gone stop being reconciled and keep running.
func (m *Manager) Discover(ctx context.Context) error {
	snapshot, err := m.cfg.Source.Latest(ctx)
	if err != nil {
		err = fmt.Errorf("read desired state: %w", err)
		m.setProblems(err)
		return err
	}
	found, err := m.cfg.Discover(snapshot.Tree)
	found, unread := m.withKept(snapshot, found)
	if unread != nil {
		found, err = nil, unread
	}
	m.setProblems(err)
	if len(found) == 0 && err != nil {
		return err // nothing could be read: that is not the same as nothing there
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keepLocked(found)
	return errors.Join(err, m.rememberGoneLocked())
}

// keepLocked makes the known instances those that were found. m.mu is held.
func (m *Manager) keepLocked(found []Found) {
	here := map[string]bool{}
	for _, f := range found {
		// An instance.yaml that cannot be read hides the name; the directory
		// then still means the instance that it was.
		if f.Name == "" {
			f.Name = m.nameOfDirLocked(f.Dir)
		}
		if f.Name == "" {
			continue
		}
		here[f.Name] = true
		old, known := m.instances[f.Name]
		if known && old.dir == f.Dir && !old.gone {
			continue
		}
		if known && old.stop != nil {
			old.stop()
			<-old.done
		}
		m.instances[f.Name] = &running{Instance: m.newInstance(f), dir: f.Dir}
	}
	for name, r := range m.instances {
		if here[name] || r.gone {
			continue
		}
		r.gone = true
		if r.stop != nil {
			r.stop()
		}
		m.sayGone(r)
	}
}

func (m *Manager) sayGone(r *running) {
	name := r.cfg.Name
	r.Instance.gone.Store(true)
	m.hosts.leave(name)
	m.cfg.Log.WithField("instance", name).Warn("Leave instance alone: it is gone from the repository; its containers keep running")
	r.setStatus(func(s *Status) {
		s.Sync, s.Phase = Unknown, PhaseStalled
		s.set(time.Now(), SourceReady, "False", "InstanceGone", "its directory is gone from the repository; its containers are left "+
			"running. Bring it back by git revert, or remove them: docker compose -p "+name+" down")
	})
}

// rememberGoneLocked makes known the instances that were applied by an earlier
// run of the daemon and that the repository no longer has. m.mu is held.
func (m *Manager) rememberGoneLocked() error {
	names, err := m.cfg.Store.instances()
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, known := m.instances[name]; known {
			continue
		}
		memo, err := m.cfg.Store.memo(name)
		if err != nil {
			return err
		}
		if memo.LastGood == 0 {
			continue
		}
		r := &running{Instance: m.newInstance(Found{Name: name}), gone: true}
		r.setStatus(func(s *Status) { s.Generation, s.Applied, s.AppliedAt = memo.LastGood, memo.Applied, memo.AppliedAt })
		m.instances[name] = r
		m.sayGone(r)
	}
	return nil
}

func (m *Manager) nameOfDirLocked(dir string) string {
	for name, r := range m.instances {
		if r.dir == dir && !r.gone {
			return name
		}
	}
	return m.cfg.Store.appliedFrom(dir)
}

func (m *Manager) newInstance(f Found) *Instance {
	cfg := Config{
		Name: f.Name, Dir: f.Dir,
		Home:     filepath.Join(m.cfg.Data, "instances", f.Name),
		Journals: filepath.Join(m.cfg.Data, "journal"),
		Driver:   m.cfg.Driver, Store: m.cfg.Store, Events: m.cfg.Events, Source: m.cfg.Source, Load: m.cfg.Load, LoadedBy: m.cfg.LoadedBy,
		// Its own timer is only for retries: the manager triggers all at once.
		Interval: 2 * m.cfg.Interval, DeepEvery: m.cfg.DeepEvery,
		Releases: m.cfg.Releases, Traffic: m.cfg.Traffic, Prober: m.cfg.Prober, Vouch: m.cfg.Vouch, Certificates: m.cfg.Certificates, Attachments: m.cfg.Attachments, Notices: m.cfg.Notices,
		Log: m.cfg.Log.WithField("instance", f.Name), hosts: m.hosts,
	}
	if m.cfg.Progress != nil {
		cfg.Progress = m.cfg.Progress(f.Name)
	}
	if m.cfg.Lines != nil {
		cfg.Lines = m.cfg.Lines(f.Name)
	}
	inst := NewInstance(cfg)
	inst.cause = m.cause
	m.hosts.join(f.Name, inst.routing)
	return inst
}

func (m *Manager) setProblems(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.problems = err
}

// Problems returns what is wrong with the repository as a whole.
func (m *Manager) Problems() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.problems
}

// Instances returns all known instances in order of name.
func (m *Manager) Instances() []*Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*Instance, 0, len(m.instances))
	for _, r := range m.instances {
		list = append(list, r.Instance)
	}
	slices.SortFunc(list, func(a, b *Instance) int { return cmp.Compare(a.cfg.Name, b.cfg.Name) })
	return list
}

// ErrNoInstance says that there is no instance of that name.
var ErrNoInstance = errors.New("no such instance")

// Instance returns the instance of a name.
func (m *Manager) Instance(name string) (*Instance, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, known := m.instances[name]; known {
		return r.Instance, nil
	}
	return nil, fmt.Errorf("find instance %s: %w", name, ErrNoInstance)
}

// Source returns how fresh the desired state is.
func (m *Manager) Source() SourceStatus { return m.cfg.Source.Status() }
