package pages

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/connectors"
	localfiles "github.com/fairlead/fairlead/connectors/files"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/auth/authtest"
)

// town is a daemon that people come to: the real reconciler, loader, users and
// handler over TCP, a repository in memory, and wells instead of DuckDB.
type town struct {
	t     testing.TB
	url   string
	store *auth.Store
	api   *server.API
	site  *Site
	repo  *shelf
	wells *wells
	data  string // a directory that files may be read from
	code  string // the setup code
	db    string // file of the database
}

// patience bounds what a test of these pages waits for.
const patience = 2 * time.Minute

const (
	adminEmail    = "ada@acme.com"
	adminPassword = "plum-lantern-orbit"
)

// shelf is a repository in memory whose commits are its own.
type shelf struct {
	mu      sync.Mutex
	tree    fstest.MapFS
	n       int
	changed chan struct{}
	keeps   bool // changes are handed back as patches
	last    server.Change
	fails   error
}

func (s *shelf) Latest(context.Context) (desired.Snapshot, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return desired.Snapshot{Revision: s.revision(), Tree: maps.Clone(s.tree)}, nil
}

func (s *shelf) revision() desired.Revision {
	return desired.Revision{Commit: fmt.Sprintf("%040x", 0xabc000+s.n), Subject: "Change " + fmt.Sprint(s.n), Author: "Ada", Time: time.Now()}
}

func (s *shelf) Status() reconciler.SourceStatus {
	return reconciler.SourceStatus{Repo: "/srv/repo", Ref: "main"}
}

func (s *shelf) Sync(context.Context) error { return nil }

func (s *shelf) Uncommitted(context.Context) []string { return nil }

func (s *shelf) At(ctx context.Context, _ string) (desired.Snapshot, error) { return s.Latest(ctx) }

func (s *shelf) Restore(context.Context, server.Restoration) (server.Committed, error) {
	return server.Committed{}, errors.New("nothing is restored here")
}

func (s *shelf) Commit(_ context.Context, c server.Change) (server.Committed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return server.Committed{}, s.fails
	}
	s.last = c
	if s.keeps {
		return server.Committed{Patch: "From 0000 Mon Sep 17 00:00:00 2001\nSubject: " + c.Message + "\n"}, nil
	}
	s.tree = maps.Clone(s.tree)
	for name, data := range c.Files {
		s.tree[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		if data == nil {
			delete(s.tree, name)
		}
	}
	s.n++
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return server.Committed{Commit: s.revision().Commit}, nil
}

// newTown serves an empty repository, or one with files.
func newTown(t testing.TB, tree fstest.MapFS) *town {
	t.Helper()
	dir := t.TempDir()
	town := &town{t: t, data: t.TempDir(), wells: newWells(), repo: &shelf{tree: tree, changed: make(chan struct{}, 1)}}
	if tree == nil {
		town.repo.tree = fstest.MapFS{"README.md": {Data: []byte("the desired state")}}
	}
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	town.db = db.Path()
	notes, err := reconciler.NewStore(db, reconciler.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	options := authtest.Options(db, &authtest.Code{})
	options.Proxies = auth.Proxies{netip.MustParsePrefix("127.0.0.0/8")}
	town.store, err = auth.NewStore(options)
	if err != nil {
		t.Fatal(err)
	}
	if town.code, err = town.store.SetupCode(); err != nil {
		t.Fatal(err)
	}
	text, keys, err := secrets.NewKey(time.Now())
	if err != nil || len(text) == 0 {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	events := reconciler.NewEvents(notes)
	load := func(tree fs.FS, dir string, local fs.FS) (desired.Spec, error) {
		return desired.Load(desired.Input{Tree: tree, Dir: dir, Local: local, Compose: compose.Load, Secrets: secrets.Reader{Keys: func() (*secrets.Keys, error) { return keys, nil }}})
	}
	manager := reconciler.NewManager(reconciler.ManagerConfig{Data: dir, Driver: drivertest.New(), Store: notes, Events: events, Source: town.repo, Changed: town.repo.changed,
		Load: load, Discover: findInstances, Interval: time.Hour, DeepEvery: time.Hour, Attachments: town.wells, Log: logrus.NewEntry(log)})
	office := &office{town: town, keys: keys}
	town.api = server.NewAPI(server.Config{Fleet: manager, Source: town.repo, Events: events, Auth: town.store, Connectors: town.wells, Data: town.wells,
		Drafts: office, Secrets: office, Notes: notes.Notebook("server"), Version: server.Version{Version: "2026.11.3"}})
	town.site = New(Options{API: town.api, Setup: func(ctx context.Context) bool { open, _ := town.api.SetupOpen(ctx); return open }, Log: logrus.NewEntry(log)})
	web := httptest.NewServer(town.api.PublicHandler(server.Public{People: town.store, Pages: town.site}))
	town.url = web.URL
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() { _ = manager.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		town.site.Close()
		web.Close()
		group.Wait()
		_ = db.Close()
	})
	return town
}

func findInstances(tree fs.FS) ([]reconciler.Found, error) {
	dirs, err := desired.Discover(tree, nil)
	var found []reconciler.Found
	for _, dir := range dirs {
		name, _ := desired.NameOf(tree, dir, "")
		found = append(found, reconciler.Found{Name: name, Dir: dir})
	}
	return found, err
}

// office answers about drafts: connectors are read by the real loader, files are
// looked at by the real source, and secrets are encrypted with a real key.
type office struct {
	town *town
	keys *secrets.Keys
}

func (o *office) Find(tree fs.FS) ([]reconciler.Found, error) { return findInstances(tree) }

func (o *office) Connector(tree fs.FS, instance, dir, name string, file []byte, values map[string]string) (desired.ConnectorSpec, error) {
	return desired.LoadConnector(desired.Input{Tree: tree, Dir: dir, Compose: compose.Load, Secrets: secrets.Reader{Keys: o.mine}}, instance, name, file, values)
}

func (o *office) Probe(ctx context.Context, spec desired.ConnectorSpec, limit int) (server.Discovery, error) {
	switch {
	case spec.Files != nil:
		settings := localfiles.Settings{FilesSource: *spec.Files, AllowDir: o.allow}
		for _, t := range spec.Tables {
			settings.Paths = append(settings.Paths, t.Paths...)
		}
		source, err := localfiles.New(settings)
		if err != nil {
			return server.Discovery{}, err
		}
		found, more, err := source.Discover(ctx, limit)
		return server.Discovery{Tables: found, More: more}, err
	case spec.Keboola != nil && spec.Keboola.Token == goodToken:
		return server.Discovery{Tables: manyTables()}, nil
	case spec.Keboola != nil:
		return server.Discovery{}, connectors.WithHint(fmt.Errorf("verify token %s: Keboola answered 401", spec.Keboola.Token), "Make a new token in the project")
	}
	return server.Discovery{}, errors.New("nobody answers")
}

func (o *office) allow(dir string) error {
	if dir != o.town.data {
		return fmt.Errorf("this host does not permit %s", dir)
	}
	return nil
}

func (o *office) Change(tree fs.FS, dir string, values map[string]*string) (map[string][]byte, error) {
	return secrets.Change(tree, dir, o.keys, values, time.Now())
}

func (o *office) Admit(fs.FS, string, server.Admission) (map[string][]byte, error) {
	return nil, errors.New("nobody is admitted here")
}

func (o *office) List(fs.FS, string) (server.SecretList, error) {
	return server.SecretList{}, errors.New("nothing is listed here")
}

const goodToken = "1234-567890-aVeryGoodStorageToken"

// manyTables are what a large project has.
func manyTables() (list []connectors.Discovered) {
	for i := range 340 {
		rows, size := int64(i*37%9000*11), int64(i*37%9000*900)
		name := []string{"orders", "customers", "products", "events", "invoices", "sessions", "payments"}[i%7]
		list = append(list, connectors.Discovered{ID: fmt.Sprintf("in.c-shop-%02d.%s", i/7, name), Name: fmt.Sprintf("%s_%02d", name, i/7), Rows: &rows, Bytes: &size,
			Columns: make([]connectors.Column, 4+i%19), Description: map[bool]string{true: "One row for each " + strings.TrimSuffix(name, "s")}[i%5 == 0]})
	}
	return list
}

// wells are the data of the town: what is wanted is attached at once, with tables
// that are made up.
type wells struct {
	mu     sync.Mutex
	wanted map[string]reconciler.WantedConnectors
	states map[string]reconciler.AttachmentStatus // by INSTANCE/NAME, instead of the usual
	runs   map[string][]connectors.Record
	asked  []server.Query
	refuse error
	rows   []string // of every answer
	cols   []connectors.Column
	ran    []string
}

func newWells() *wells {
	return &wells{wanted: map[string]reconciler.WantedConnectors{}, states: map[string]reconciler.AttachmentStatus{}, runs: map[string][]connectors.Record{}}
}

func (w *wells) Set(instance string, want reconciler.WantedConnectors) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wanted[instance] = want
}

func (w *wells) Attachments(instance string) (list []reconciler.AttachmentStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	want := w.wanted[instance]
	for _, name := range slices.Sorted(maps.Keys(want.ByName)) {
		spec := want.ByName[name]
		a, special := w.states[instance+"/"+name]
		if !special {
			a = reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, Published: time.Now(), LastRun: time.Now(), LastGood: time.Now(), Generation: 3}
		}
		a.Name, a.Kind, a.Commit, a.Identity = name, spec.Kind(), want.Commit, spec.Identity
		if spec.Schedule != nil {
			a.Schedule = spec.Schedule.String()
		}
		for _, t := range spec.Tables {
			a.Tables, a.Rows = append(a.Tables, t.Name), a.Rows+1234
		}
		list = append(list, a)
	}
	return list
}

func (w *wells) Catalog(instance string) (list []connectors.CatalogTable, err error) {
	for _, a := range w.Attachments(instance) {
		for _, name := range a.Tables {
			list = append(list, connectors.CatalogTable{Source: a.Name, Name: name, Flat: name, QueryMode: desired.QueryLocal, Rows: 1234, Bytes: 98765, PublishedAt: a.Published, Generation: a.Generation,
				Description: "One row for each of the " + name, PrimaryKey: []string{"id"},
				Columns: []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "Order Date", Type: "DATE"}, {Name: "amount", Type: "DECIMAL(12,2)"}, {Name: "note", Type: "VARCHAR"}}})
		}
	}
	return list, nil
}

func (w *wells) Query(_ context.Context, _ string, q server.Query, begin func(server.QueryResult) error, out io.Writer) (server.QueryResult, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, q)
	if w.refuse != nil {
		return server.QueryResult{}, w.refuse
	}
	cols, rows := w.cols, w.rows
	if cols == nil {
		cols = []connectors.Column{{Name: "day", Type: "DATE"}, {Name: "total", Type: "DECIMAL(38,2)"}, {Name: "customer", Type: "VARCHAR"}}
		for i := range 24 {
			rows = append(rows, fmt.Sprintf(`["2026-11-%02d",%d.25,"Customer %d"]`, i+1, 900+i*i*13%700, i))
		}
		rows[3] = `["2026-11-04",null,""]`
	}
	most := min(int64(len(rows)), q.Limit)
	res := server.QueryResult{Columns: cols, Rows: most, Truncated: most < int64(len(rows)), Took: 12 * time.Millisecond}
	if err := begin(res); err != nil {
		return res, err
	}
	for _, row := range rows[:most] {
		if _, err := io.WriteString(out, row+"\n"); err != nil {
			return res, err
		}
	}
	return res, nil
}

func (w *wells) Profile(_ context.Context, _, _, _, _, column string) (json.RawMessage, error) {
	return json.RawMessage(`{"column":` + fmt.Sprintf("%q", column) + `,"type":"DECIMAL(12,2)","rows":1234,"nulls":17,"distinct":640,"min":"-3.5","max":"9120.00","avg":"311.4",
		"quantiles":{"0.25":"12.5","0.5":"80","0.75":"402.75"},"top":[{"value":"19.90","count":210},{"value":"<b>5</b>","count":90},{"value":"","count":12}]}`), nil
}

func (w *wells) Trigger(_ context.Context, instance, name string, _ []string) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran = append(w.ran, instance+"/"+name)
	return 42, nil
}

func (w *wells) Cancel(string, string) error { return nil }

func (w *wells) Runs(instance, name string, _ int) ([]connectors.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if list, known := w.runs[instance+"/"+name]; known {
		return list, nil
	}
	record := connectors.Record{ID: 7, Source: name, Cause: connectors.CauseChanged, Commit: w.wanted[instance].Commit, Started: time.Now().Add(-3 * time.Second), Ended: time.Now(), Outcome: connectors.OK, Generation: 3}
	for _, t := range w.wanted[instance].ByName[name].Tables {
		record.Tables = append(record.Tables, connectors.TableResult{Table: t.Name, Outcome: connectors.OK, Rows: 1234, Bytes: 98765})
	}
	return []connectors.Record{record}, nil
}

func (w *wells) Log(string, string, int64) (io.ReadCloser, error) {
	return io.NopCloser(strings.NewReader("07:00:01 verify token\n07:00:02 export orders <script>alert(1)</script>\n")), nil
}

func (w *wells) Discover(context.Context, string, string, int) (server.Discovery, error) {
	return server.Discovery{}, nil
}

func (w *wells) Generations(string, string) ([]server.DataGeneration, error) {
	return []server.DataGeneration{{Generation: 3, At: time.Now(), Tables: 4, Rows: 4936, Bytes: 395060, Current: true}, {Generation: 2, At: time.Now().Add(-26 * time.Hour), Tables: 4, Rows: 4800, Bytes: 380000}}, nil
}

func (w *wells) Rollback(context.Context, string, string, int) error { return nil }

func (w *wells) Purge(context.Context, string, string) error { return nil }

func (w *wells) Webhook(context.Context, string, string, string, []byte) error { return nil }

func (w *wells) Removed(string) []string { return nil }

func (o *office) mine() (*secrets.Keys, error) { return o.keys, nil }
