package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// limit bounds everything that a test waits for.
const limit = 2 * time.Minute

// house is an API over a real socket, with the real reconciler and an engine
// in memory. Its repository holds one word: the tag of the image.
type house struct {
	t        *testing.T
	socket   string
	client   *Client
	config   Config
	engine   *drivertest.Engine
	changed  chan struct{}
	restored string
	api      *API
	log      *lockedBuffer
	onSync   func() // may be nil

	mu  sync.Mutex
	tag string
	n   int
	bad error
}

func (h *house) Latest(context.Context) (desired.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.snapshot(h.tag, h.n), nil
}

func (h *house) snapshot(tag string, n int) desired.Snapshot {
	return desired.Snapshot{Revision: desired.Revision{Commit: fmt.Sprintf("%040d", n), Subject: tag, Author: "Ada"},
		Tree: fstest.MapFS{"tag": {Data: []byte(tag)}}}
}

func (h *house) Status() reconciler.SourceStatus {
	return reconciler.SourceStatus{Repo: "/srv/repo", Ref: "main"}
}

func (h *house) Sync(context.Context) error {
	if h.onSync != nil {
		h.onSync()
	}
	return nil
}

func (h *house) Uncommitted(context.Context) []string { return []string{"tag"} }

func (h *house) At(_ context.Context, ref string) (desired.Snapshot, error) {
	if ref == "gone" {
		return desired.Snapshot{}, errors.New("no such ref")
	}
	return h.snapshot(ref, 99), nil
}

func (h *house) Commit(context.Context, Change) (Committed, error) {
	return Committed{}, errors.New("nobody changes anything here")
}

func (h *house) Restore(_ context.Context, r Restoration) (Committed, error) {
	h.restored = fmt.Sprintf("%s %s %s", r.Dir, r.Commit, r.Author.Name)
	h.commit("1")
	return Committed{Commit: "restored"}, nil
}

func (h *house) commit(tag string) {
	h.mu.Lock()
	h.tag, h.n = tag, h.n+1
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

func (h *house) load(tree fs.FS, dir string, _ fs.FS) (desired.Spec, error) {
	tag, err := fs.ReadFile(tree, "tag")
	if err != nil {
		return desired.Spec{}, err
	}
	if string(tag) == "invalid" {
		return desired.Spec{}, desired.Problems{{File: "compose.yaml", Line: 3, Field: "services", Text: "is wrong", Hint: "mend it"}}
	}
	return desired.Spec{Name: "acme", Dir: dir, HealthTimeout: time.Minute, Bake: time.Millisecond, RetainGenerations: 5,
		Services: map[string]desired.Service{"web": {Name: "web", Image: "app:" + string(tag), Replicas: 1}}}, nil
}

func (h *house) Logs(ctx context.Context, instance, service string, follow bool, tail int, w io.Writer) error {
	if service == "nobody" {
		return fmt.Errorf("there is no such service: %w", reconciler.ErrUnknownObject)
	}
	fmt.Fprintf(w, "%s %s %d\nsecond ", instance, service, tail)
	fmt.Fprint(w, "line\nthird")
	if follow {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, engine: drivertest.New(), changed: make(chan struct{}, 1), tag: "1", log: &lockedBuffer{}, socket: filepath.Join(dir, "s")}
	for _, tag := range []string{"1", "2", "3"} {
		h.engine.Push("app:"+tag, drivertest.Healthy())
	}
	h.engine.Push("app:sick", drivertest.Behaviour{Check: true, UnhealthyAfter: time.Millisecond})
	h.engine.Push("app:slow", drivertest.SlowStart(time.Hour))
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := reconciler.NewStore(db, reconciler.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(h.log)
	log.SetFormatter(&logrus.JSONFormatter{})
	events, progress := reconciler.NewEvents(store), NewProgress()
	manager := reconciler.NewManager(reconciler.ManagerConfig{
		Data: dir, Driver: h.engine, Store: store, Events: events, Source: h, Changed: h.changed, Load: h.load,
		Discover: func(fs.FS) ([]reconciler.Found, error) {
			return []reconciler.Found{{Name: "acme", Dir: "instances/acme"}}, h.bad
		},
		Interval: time.Hour, DeepEvery: time.Hour, Progress: progress.For, Lines: progress.Lines, Log: logrus.NewEntry(log),
	})
	h.config = Config{Fleet: manager, Source: h, Events: events, Logs: h, Progress: progress, Version: Version{Version: "v1", PID: 7}}
	h.config.Log, h.config.Notes = logrus.NewEntry(log), store.Notebook("server")
	api := NewAPI(h.config)
	h.api = api
	listener, err := Listen(h.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { _ = manager.Run(ctx) })
	group.Go(func() {
		if err := api.Serve(ctx, listener); err != nil {
			t.Error(err)
		}
	})
	h.client = NewClient(h.socket, "")
	t.Cleanup(func() {
		cancel()
		group.Wait()
		_ = h.client.Close()
		_ = db.Close()
	})
	if _, err := h.client.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	h.reconcile()
	return h
}

// reconcile waits until the instance rests.
func (h *house) reconcile() Result {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	r, err := h.client.Reconcile(ctx, "acme", ReconcileRequest{Wait: true}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// raw makes a call as curl would.
func (h *house) raw(method, path, body string) (int, http.Header, string) {
	h.t.Helper()
	return h.rawWith(method, path, body, nil)
}

// rawWith is raw with headers.
func (h *house) rawWith(method, path, body string, headers map[string]string) (int, http.Header, string) {
	h.t.Helper()
	c := &http.Client{Timeout: limit, Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return net.Dial("unix", h.socket)
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(h.t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := c.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}
