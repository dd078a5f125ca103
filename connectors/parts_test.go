package connectors_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

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
