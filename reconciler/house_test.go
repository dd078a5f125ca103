package reconciler_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// house is one instance with everything real but the engine and the
// repository, and what is needed to kill the daemon and start it again.
type house struct {
	t      *testing.T
	dir    string
	engine *drivertest.Engine
	repo   *repo
	db     *bolt.DB
	store  *reconciler.Store
	key    []byte
	inst   *reconciler.Instance
	passes int

	releases reconciler.Releases
	traffic  reconciler.Traffic
	prober   reconciler.Prober
	lines    reconciler.Lines
	vouch    *reconciler.Vouching

	certificates reconciler.Certificates
	attachments  reconciler.Attachments
}

// repo is a Source whose revisions are specs.
type repo struct {
	mu     sync.Mutex
	n      int
	specs  map[string]desired.Spec
	errs   map[string]error // revisions that do not load
	latest desired.Revision
	down   error // nothing can be read
	signed map[string]desired.Signature
	loads  int
}

func (r *repo) Latest(context.Context) (desired.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down != nil {
		return desired.Snapshot{}, r.down
	}
	return desired.Snapshot{Revision: r.latest, Tree: tree{r.latest.Commit}, Signature: r.signed[r.latest.Commit]}, nil
}

func (r *repo) Status() reconciler.SourceStatus { return reconciler.SourceStatus{} }

// tree carries the commit to load; nothing reads files from it.
type tree struct{ commit string }

func (tree) Open(name string) (fs.File, error) { return nil, fs.ErrNotExist }

func (r *repo) load(t fs.FS, dir string, local fs.FS) (desired.Spec, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads++
	commit := t.(tree).commit
	return r.specs[commit], r.errs[commit]
}

// commit adds a revision and returns its hash.
func (r *repo) commit(s desired.Spec) string { return r.add(s, nil) }

// commitBad adds a revision that does not load.
func (r *repo) commitBad(err error) string { return r.add(desired.Spec{}, err) }

func (r *repo) add(s desired.Spec, err error) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	id := fmt.Sprintf("%040d", r.n)
	r.specs[id], r.errs[id] = s, err
	r.latest = desired.Revision{Commit: id, Author: "Ann", Subject: fmt.Sprintf("revision %d", r.n)}
	return id
}

func newHouse(t *testing.T) *house {
	h := &house{
		t: t, dir: t.TempDir(), engine: drivertest.New(), key: reconciler.NewKey(),
		repo: &repo{specs: map[string]desired.Spec{}, errs: map[string]error{}},
	}
	for ref, b := range map[string]drivertest.Behaviour{
		"app:1": drivertest.Healthy(), "app:2": drivertest.Healthy(), "db:1": drivertest.Healthy(), "app:plain": drivertest.Plain(),
		"app:sick": drivertest.Unhealthy(), "app:crash": drivertest.CrashLoop(), "job:1": drivertest.Exit(0, time.Second),
		"app:slow": drivertest.SlowStart(30 * time.Second),
	} {
		h.engine.Push(ref, b)
	}
	h.start()
	t.Cleanup(h.stop)
	return h
}

// start begins a new life of the daemon on what the old one left.
func (h *house) start() {
	h.t.Helper()
	db, err := bolt.Open(filepath.Join(h.dir, "fairlead.db"), 0o600, &bolt.Options{Timeout: time.Second, NoSync: true})
	if err != nil {
		h.t.Fatal(err)
	}
	h.db = db
	if h.store, err = reconciler.NewStore(db, h.key); err != nil {
		h.t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	h.inst = reconciler.NewInstance(reconciler.Config{
		Name: "acme", Dir: "instances/acme", Home: filepath.Join(h.dir, "instances", "acme"), Journals: filepath.Join(h.dir, "journal"),
		Driver: h.engine, Store: h.store, Events: reconciler.NewEvents(h.store), Source: h.repo, Load: h.repo.load,
		Releases: h.releases, Traffic: h.traffic, Prober: h.prober, Lines: h.lines, Vouch: h.vouch, Certificates: h.certificates, Attachments: h.attachments,
		Interval: time.Minute, DeepEvery: 10 * time.Minute, Log: log.WithField("test", h.t.Name()),
	})
}

func (h *house) stop() {
	if h.db != nil {
		_ = h.db.Close()
		h.db = nil
	}
}

// restart is a kill of the daemon and its next start.
func (h *house) restart() { h.stop(); h.start() }

// once runs until there is nothing more to do at once.
func (h *house) once() reconciler.Status {
	h.t.Helper()
	h.passes++
	return h.inst.Once(h.t.Context())
}

func (h *house) apply(s desired.Spec) reconciler.Status {
	h.t.Helper()
	h.repo.commit(s)
	return h.once()
}

func (h *house) history() []reconciler.Record {
	h.t.Helper()
	list, err := h.inst.History(100)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// observed is everything of the instance on the engine.
func (h *house) observed() reconciler.Observed {
	h.t.Helper()
	o, err := h.engine.Observe(context.Background(), "acme", true)
	if err != nil {
		h.t.Fatal(err)
	}
	return o
}

// converged fails the test unless exactly the containers of the spec run,
// under their proper names, with nothing set aside and no journal left.
func (h *house) converged(s desired.Spec) {
	h.t.Helper()
	o := h.observed()
	want := 0
	for _, svc := range s.Services {
		want += svc.Replicas
	}
	if len(o.Containers) != want {
		h.t.Errorf("%d containers, want %d: %v", len(o.Containers), want, names(o))
	}
	for _, c := range o.Containers {
		svc, known := s.Services[c.Service]
		switch {
		case !known || c.Name != s.ContainerName(c.Service, c.Replica):
			h.t.Errorf("container %s (service %q, slot %q) is left over", c.Name, c.Service, c.Slot)
		case c.Hash != svc.Hash() || c.ImageRef != svc.Image:
			h.t.Errorf("container %s was made from %s %s, want %s %s", c.Name, c.ImageRef, c.Hash, svc.Image, svc.Hash())
		case c.State != reconciler.StateRunning && !svc.Job:
			h.t.Errorf("container %s is %s", c.Name, c.State)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "journal", "*")); len(left) > 0 {
		h.t.Errorf("journal is left: %v", left)
	}
}

func names(o reconciler.Observed) (list []string) {
	for _, c := range o.Containers {
		list = append(list, c.Name+" "+string(c.State))
	}
	return list
}

func service(name, image string) desired.Service {
	return desired.Service{Name: name, Image: image, Replicas: 1, Networks: []desired.ServiceNetwork{{Network: "default"}}}
}

// acme is a specification with these services.
func acme(services ...desired.Service) desired.Spec {
	s := desired.Spec{
		Name: "acme", HealthTimeout: 20 * time.Second, Bake: 2 * time.Second, RetainGenerations: 5,
		Services: map[string]desired.Service{},
		Networks: map[string]desired.Network{"default": {Key: "default", Name: "acme_default"}},
	}
	for _, svc := range services {
		s.Services[svc.Name] = svc
	}
	return s
}

func after(s desired.Service, condition desired.Condition, deps ...string) desired.Service {
	for _, d := range deps {
		s.DependsOn = append(s.DependsOn, desired.Dependency{Service: d, Condition: condition, Required: true})
	}
	return s
}

func env(s desired.Service, pairs ...string) desired.Service {
	s.Environment = map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		s.Environment[pairs[i]] = pairs[i+1]
	}
	return s
}

var errBoom = errors.New("boom")
