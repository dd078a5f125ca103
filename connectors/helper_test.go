package connectors_test

import (
	"context"
	"errors"
	"io/fs"
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
	// askers are the requests that what was said goes back to.
	askers []string
	stop   func()
}

func newHost(t testing.TB) *host {
	h := &host{t: t, mem: &memory{notes: map[string][]byte{}}, by: map[string]*service{}, stop: func() {}}
	h.pub = &publisher{gens: map[string][]connectors.Attached{}, keep: map[string]map[string]string{}}
	h.opts = connectors.Options{
		Dir: quick(t), Memory: h.mem, Publisher: h.pub, MinFree: -1, Seed: "vm1", Now: h.now,
		Event: func(instance, reason, message, correlation string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.said = append(h.said, reason+": "+message)
			h.askers = append(h.askers, correlation)
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
