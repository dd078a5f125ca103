package connectors_test

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const inst = "acme"

// memory is a Memory that outlives a Manager.
type memory struct {
	mu    sync.Mutex
	notes map[string][]byte
	fail  error
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.notes[key]), m.fail
}

func (m *memory) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.notes[key] = slices.Clone(value)
	return nil
}

// publisher keeps what was published of each source, as numbers.
type publisher struct {
	mu    sync.Mutex
	gens  map[string][]connectors.Attached // oldest first
	keep  map[string]map[string]string
	all   []connectors.Publication
	judge func(connectors.Publication) (connectors.Published, error)
	note  func(*connectors.Attached) // changes what is attached
}

func (p *publisher) Publish(ctx context.Context, pub connectors.Publication) (connectors.Published, error) {
	if err := ctx.Err(); err != nil {
		return connectors.Published{}, err
	}
	out := connectors.Published{Tables: slices.Clone(pub.Tables), Generation: -1}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.judge != nil {
		var err error
		if out, err = p.judge(pub); err != nil {
			return out, err
		}
	}
	p.all = append(p.all, pub)
	if _, err := os.ReadDir(pub.Dir); err != nil || out.Generation == 0 {
		return out, err
	}
	key := pub.Instance + "/" + pub.Source
	out.Generation = len(p.gens[key]) + 1
	a := connectors.Attached{Source: pub.Source, Generation: out.Generation, Identity: pub.Identity, Commit: pub.Commit, At: pub.At}
	for _, t := range out.Tables {
		if t.Outcome != connectors.Failed {
			a.Tables = append(a.Tables, connectors.ManifestTable{Name: t.Table, Rows: t.Rows})
		}
	}
	p.gens[key] = append(p.gens[key], a)
	return out, nil
}

func (p *publisher) Keep(instance string, want map[string]string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keep[instance] = maps.Clone(want)
}

func (p *publisher) Attached(instance string) (out []connectors.Attached) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for source, identity := range p.keep[instance] {
		gens := p.gens[instance+"/"+source]
		if len(gens) == 0 {
			continue
		}
		a := gens[len(gens)-1]
		for _, g := range gens {
			if g.Identity == identity {
				a = g
			}
		}
		if p.note != nil {
			p.note(&a)
		}
		out = append(out, a)
	}
	return out
}

func (p *publisher) judges(f func(connectors.Publication) (connectors.Published, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.judge = f
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

func (p *publisher) last() connectors.Publication {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[len(p.all)-1]
}

type job = func(ctx context.Context, job connectors.Job) (connectors.Report, error)

// service is what is read: it does what a test says.
type service struct {
	mu   sync.Mutex
	sync job
	runs []time.Time
	now  int // runs under way
	most int
}

func (s *service) Discover(context.Context, int) ([]connectors.Discovered, bool, error) {
	return []connectors.Discovered{{ID: "in.orders", Name: "orders"}}, true, nil
}

func (s *service) Sync(ctx context.Context, j connectors.Job) (connectors.Report, error) {
	s.mu.Lock()
	s.runs = append(s.runs, j.Now)
	s.now++
	s.most = max(s.most, s.now)
	f := s.sync
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	if f == nil {
		f = reads
	}
	return f(ctx, j)
}

func (s *service) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs)
}

// times are when runs began since it was asked last.
func (s *service) times() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, t := range s.runs {
		out = append(out, t.UTC().Format("02 15:04:05"))
	}
	s.runs = nil
	return out
}

func (s *service) does(f job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sync = f
}

// reads reads all tables well.
func reads(_ context.Context, j connectors.Job) (r connectors.Report, err error) {
	for _, t := range j.Tables {
		if err := os.WriteFile(filepath.Join(j.Dir, t.Name+".csv"), []byte("id\n1\n"), 0o600); err != nil {
			return r, err
		}
		r.Tables = append(r.Tables, connectors.TableResult{Table: t.Name, Outcome: connectors.OK, Rows: 1})
	}
	return r, nil
}

func fails(err error) job {
	return func(context.Context, connectors.Job) (connectors.Report, error) { return connectors.Report{}, err }
}

// lasts is a run of that length.
func lasts(d time.Duration) job {
	return func(ctx context.Context, j connectors.Job) (connectors.Report, error) {
		select {
		case <-time.After(d):
			return reads(ctx, j)
		case <-ctx.Done():
			return connectors.Report{}, context.Cause(ctx)
		}
	}
}

// host is a Manager and all that it works with.
type host struct {
	*connectors.Manager
	t    testing.TB
	opts connectors.Options
	mem  *memory
	pub  *publisher
	mu   sync.Mutex
	by   map[string]*service // by Keboola's URL
	off  time.Duration       // of the clock on the wall
	said []string
	stop func()
}

func newHost(t testing.TB) *host {
	h := &host{t: t, mem: &memory{notes: map[string][]byte{}}, by: map[string]*service{}, stop: func() {}}
	h.pub = &publisher{gens: map[string][]connectors.Attached{}, keep: map[string]map[string]string{}}
	h.opts = connectors.Options{
		Dir: quick(t), Memory: h.mem, Publisher: h.pub, MinFree: -1, Seed: "vm1", Now: h.now,
		Event: func(instance, reason, message string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.said = append(h.said, reason+": "+message)
		},
		Sources: func(_ context.Context, spec desired.ConnectorSpec) (connectors.Source, error) {
			return h.service(spec.Keboola.URL), nil
		},
	}
	return h
}

func (h *host) service(name string) *service {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.by[name] == nil {
		h.by[name] = &service{}
	}
	return h.by[name]
}

func (h *host) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.off)
}

// jump sets the clock on the wall.
func (h *host) jump(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off += d
}

// run starts a daemon; stop ends it.
func (h *host) run() {
	h.Manager = connectors.New(h.opts)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	m := h.Manager
	go func() { done <- m.Run(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
		h.stop = func() {}
	}
}

// want sets what the instance wants, and lets that be brought about.
func (h *host) want(specs map[string]desired.ConnectorSpec) {
	h.Set(inst, reconciler.WantedConnectors{ByName: specs, Commit: "c1"})
	synctest.Wait()
}

// again is a daemon that comes after one that ended.
func (h *host) again(specs map[string]desired.ConnectorSpec) {
	h.stop()
	h.run()
	h.want(specs)
}

// pass lets time go by and what is due be done.
func (h *host) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *host) told(reason string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.said {
		if strings.HasPrefix(s, reason+": ") {
			out = append(out, s)
		}
	}
	return out
}

func (h *host) status(name string) reconciler.AttachmentStatus {
	h.t.Helper()
	for _, s := range h.Attachments(inst) {
		if s.Name == name {
			return s
		}
	}
	h.t.Fatalf("there is no status of %s", name)
	return reconciler.AttachmentStatus{}
}

func (h *host) stands(name string, phase reconciler.AttachmentPhase, reason string) reconciler.AttachmentStatus {
	h.t.Helper()
	s := h.status(name)
	if s.Phase != phase || s.Reason != reason {
		h.t.Errorf("%s stands %s %s (%s), not %s %s", name, s.Phase, s.Reason, s.Message, phase, reason)
	}
	return s
}

func (h *host) newest(name string) connectors.Record {
	h.t.Helper()
	all, err := h.Runs(inst, name, 1)
	if err != nil || len(all) == 0 {
		h.t.Fatalf("runs of %s: %v %v", name, all, err)
	}
	return all[0]
}

// inBubble is a host in a time that passes as fast as nothing happens. It begins
// at midnight of the first of January 2000.
func inBubble(t *testing.T, f func(t *testing.T, h *host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		h := newHost(t)
		h.run()
		defer func() { h.stop() }()
		f(t, h)
	})
}

// source is a connector with tables.
func source(schedule string, tables ...string) desired.ConnectorSpec {
	s := desired.ConnectorSpec{Identity: "v1", Keboola: &desired.KeboolaSource{URL: "shop", Token: "s3cret-token"}, Timeout: 10 * time.Hour, Retries: 3, Keep: 3}
	if schedule != "" {
		s.Schedule = &desired.Schedule{Text: schedule}
	}
	for _, name := range tables {
		s.Tables = append(s.Tables, desired.ConnectorTable{Name: name})
	}
	return s
}

func one(spec desired.ConnectorSpec) map[string]desired.ConnectorSpec {
	return map[string]desired.ConnectorSpec{"shop": spec}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// quick is a directory in memory where there is one: nothing is lost by kill -9
// there, and nobody waits for a disk that others use.
func quick(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fairlead-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// left are the files below the directory of an instance's runs.
func left(t testing.TB, dir string) (out []string) {
	t.Helper()
	root := filepath.Join(dir, inst, "runs")
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && (!d.IsDir() || d.Name() == "out") {
			rel, _ := filepath.Rel(root, path)
			out = append(out, rel)
		}
		return err
	}))
	return out
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, not %q", what, got, want)
	}
}
