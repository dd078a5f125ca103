package reconciler_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// fleet is a repository with several instances and the manager that runs them.
type fleet struct {
	engine  *drivertest.Engine
	manager *reconciler.Manager
	cfg     reconciler.ManagerConfig
	changed chan struct{}
	hints   chan string

	traffic *table

	mu    sync.Mutex
	found []reconciler.Found
	err   error
	specs map[string]desired.Spec // by directory
	n     int
}

func (f *fleet) Latest(context.Context) (desired.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return desired.Snapshot{Revision: desired.Revision{Commit: strings.Repeat("0", 39) + string(rune('a'+f.n))}, Tree: tree{}}, nil
}

func (f *fleet) Status() reconciler.SourceStatus { return reconciler.SourceStatus{} }

func (f *fleet) discover(fs.FS) ([]reconciler.Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.found, f.err
}

func (f *fleet) load(_ fs.FS, dir string, _ fs.FS) (desired.Spec, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.specs[dir], nil
}

// commit changes the repository and lets everything settle.
func (f *fleet) commit(change func()) {
	f.mu.Lock()
	change()
	f.n++
	f.mu.Unlock()
	f.changed <- struct{}{}
	time.Sleep(30 * time.Second)
}

func (f *fleet) add(name, image string) {
	s := acme(service("app", image))
	s.Name, s.Dir = name, "instances/"+name
	s.Networks = map[string]desired.Network{"default": {Key: "default", Name: name + "_default"}}
	dir := "instances/" + name
	f.found = append(f.found, reconciler.Found{Name: name, Dir: dir})
	f.specs[dir] = s
}

func (f *fleet) running(t *testing.T, instance string) bool {
	t.Helper()
	o, err := f.engine.Observe(t.Context(), instance, false)
	if err != nil {
		t.Fatal(err)
	}
	return len(o.Containers) == 1 && o.Containers[0].State == reconciler.StateRunning
}

func fleetTest(t *testing.T, test func(t *testing.T, f *fleet)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		store, err := reconciler.NewStore(db, reconciler.NewKey())
		if err != nil {
			t.Fatal(err)
		}
		f := &fleet{engine: drivertest.New(), changed: make(chan struct{}, 1), hints: make(chan string), specs: map[string]desired.Spec{},
			traffic: &table{routes: map[string][]reconciler.Route{}}}
		f.engine.Push("app:1", drivertest.Healthy())
		f.engine.Push("app:slow", drivertest.SlowStart(15*time.Second))
		log := logrus.New()
		log.SetOutput(io.Discard)
		f.cfg = reconciler.ManagerConfig{
			Data: dir, Driver: f.engine, Store: store, Events: reconciler.NewEvents(store), Source: f, Changed: f.changed,
			Discover: f.discover, Load: f.load, Interval: time.Minute, DeepEvery: time.Hour, Log: log.WithField("test", t.Name()),
			Hints: func(context.Context) <-chan string { return f.hints }, Traffic: f.traffic,
		}
		f.manager = reconciler.NewManager(f.cfg)
		f.add("acme", "app:1")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.manager.Run(ctx) }()
		time.Sleep(30 * time.Second)
		test(t, f)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestInstancesComeWithCommits(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.add("globex", "app:1") })
		for _, name := range []string{"acme", "globex"} {
			if !f.running(t, name) {
				t.Errorf("%s does not run", name)
			}
		}
		if _, err := f.manager.Instance("initech"); !errors.Is(err, reconciler.ErrNoInstance) {
			t.Errorf("unknown instance: %v", err)
		}
	})
}

// Law 3: an instance that is gone from the repository keeps running and is
// reported; it is taken up again when it comes back.
func TestInstanceThatIsGoneKeepsRunning(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		all := f.found
		f.commit(func() { f.found = []reconciler.Found{} })
		if !f.running(t, "acme") {
			t.Error("acme was stopped")
		}
		inst, err := f.manager.Instance("acme")
		if err != nil {
			t.Fatal(err)
		}
		if c := inst.Status().Condition(reconciler.SourceReady); c.Reason != "InstanceGone" {
			t.Errorf("condition = %+v", c)
		}
		f.commit(func() { f.found = all })
		f.engine.Kill("acme-app-1")
		f.hints <- "acme"
		time.Sleep(10 * time.Second)
		if !f.running(t, "acme") {
			t.Error("acme is not healed after it came back")
		}
	})
}

// Also one that was gone already when the daemon started.
func TestInstanceThatIsGoneIsReportedAfterARestart(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.found = []reconciler.Found{} })
		next := reconciler.NewManager(f.cfg)
		if err := next.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		inst, err := next.Instance("acme")
		if err != nil {
			t.Fatal(err)
		}
		if s := inst.Status(); s.Condition(reconciler.SourceReady).Reason != "InstanceGone" || s.Generation != 1 {
			t.Errorf("status = %+v", s)
		}
		f.engine.Kill("acme-app-1")
		inst.Once(t.Context()) // run --once, or apply without a daemon
		s, err := inst.Reconcile(t.Context())
		if err != nil || s.Condition(reconciler.SourceReady).Reason != "InstanceGone" || f.running(t, "acme") {
			t.Errorf("an instance that is gone was acted on: %v %+v", err, s)
		}
	})
}

func TestUnreadableRepositoryKeepsTheInstances(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.found, f.err = nil, errBoom })
		f.engine.Kill("acme-app-1")
		f.hints <- ""
		time.Sleep(10 * time.Second)
		if !f.running(t, "acme") || f.manager.Problems() == nil {
			t.Errorf("running = %v, problems = %v", f.running(t, "acme"), f.manager.Problems())
		}
	})
}

// A name that cannot be read leaves the directory with the instance it was.
func TestInstanceWithoutAReadableNameStays(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.found = []reconciler.Found{{Dir: "instances/acme"}} })
		inst, err := f.manager.Instance("acme")
		if err != nil || inst.Status().Condition(reconciler.SourceReady).Reason == "InstanceGone" {
			t.Errorf("%v %+v", err, inst.Status().Conditions)
		}
	})
}

// Also after a restart: the store knows whose the directory was.
func TestInstanceWithoutAReadableNameStaysAfterARestart(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.found = []reconciler.Found{{Dir: "instances/acme"}} })
		next := reconciler.NewManager(f.cfg)
		if err := next.Discover(t.Context()); err != nil {
			t.Fatal(err)
		}
		inst, err := next.Instance("acme")
		if err != nil || inst.Status().Condition(reconciler.SourceReady).Reason == "InstanceGone" {
			t.Errorf("%v", err)
		}
	})
}

// Instances never wait for each other.
func TestSlowInstanceHoldsNobodyBack(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.mu.Lock()
		f.add("slow", "app:slow")
		f.add("swift", "app:1")
		f.n++
		f.mu.Unlock()
		f.changed <- struct{}{}
		time.Sleep(5 * time.Second)
		swift, err := f.manager.Instance("swift")
		if err != nil || swift.Status().Generation != 1 {
			t.Errorf("swift waits for slow: %v", err)
		}
		slow, err := f.manager.Instance("slow")
		if err != nil || slow.Status().Phase != reconciler.PhaseApplying {
			t.Errorf("slow is %s, want Applying: the test does not show anything", slow.Status().Phase)
		}
		time.Sleep(time.Minute)
	})
}

// A hint heals at once; without one the next tick does.
func TestHintHealsAtOnce(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.engine.Kill("acme-app-1")
		f.hints <- "acme"
		time.Sleep(4 * time.Second)
		if !f.running(t, "acme") {
			t.Error("not healed after a hint")
		}
		f.engine.Kill("acme-app-1")
		time.Sleep(70 * time.Second)
		if !f.running(t, "acme") {
			t.Error("not healed by the tick")
		}
	})
}

func TestReconcileWaitsForItsPass(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		inst, err := f.manager.Instance("acme")
		if err != nil {
			t.Fatal(err)
		}
		f.engine.RemoveContainer("acme-app-1")
		s, err := inst.Reconcile(t.Context())
		if err != nil || s.Outcome != reconciler.Applied || !f.running(t, "acme") {
			t.Errorf("status after reconcile: %s %v", s.Outcome, err)
		}
	})
}
