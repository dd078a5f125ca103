package pages

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
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
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// limit bounds everything that a test waits for.
const limit = 2 * time.Minute

// house is a site over the real reconciler and an engine in memory. Its
// repository holds a directory an instance with one file, wish.
type house struct {
	t        testing.TB
	site     *Site
	api      *server.API
	web      *httptest.Server
	engine   *drivertest.Engine
	manager  *reconciler.Manager
	events   *reconciler.Events
	progress *server.Progress
	changed  chan struct{}
	wait     sync.WaitGroup
	certs    map[string][]reconciler.CertificateStatus
	feeds    map[string][]reconciler.AttachmentStatus

	mu       sync.Mutex
	revs     []desired.Snapshot
	dirty    []string
	asked    int // how often the work tree was looked at
	released map[string]reconciler.Release
	seen     []string // digests of releases
	lines    []string
	restored []server.Restoration
	patch    string
	feed     chan string // lines that a followed log goes on with
}

// wish is what a directory asks for.
type wish struct {
	Tag      string
	Channel  string
	Window   string
	Broken   string   // why it does not validate
	Services []string // beside app
}

func newHouse(t *testing.T) *house { t.Helper(); return houseFor(t) }

func houseFor(t testing.TB) *house {
	t.Helper()
	dir := t.TempDir()
	h := &house{t: t, engine: drivertest.New(), changed: make(chan struct{}, 1), certs: map[string][]reconciler.CertificateStatus{},
		feeds: map[string][]reconciler.AttachmentStatus{}, released: map[string]reconciler.Release{}, feed: make(chan string)}
	for _, tag := range []string{"2026.11.1", "2026.11.2", "2026.11.3", "stable"} {
		h.engine.Push(appImage+tag, drivertest.Healthy())
	}
	h.engine.Push(appImage+"sick", drivertest.Unhealthy())
	h.engine.Push(appImage+"slow", drivertest.SlowStart(time.Hour))
	for _, image := range []string{"caddy", "worker", "postgres", "redis"} {
		h.engine.Push(image+":2", drivertest.Healthy())
	}
	db, err := bolt.Open(filepath.Join(dir, "db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	store, err := reconciler.NewStore(db, reconciler.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	h.events, h.progress = reconciler.NewEvents(store), server.NewProgress()
	h.manager = reconciler.NewManager(reconciler.ManagerConfig{
		Data: dir, Driver: h.engine, Store: store, Events: h.events, Source: h, Changed: h.changed, Load: h.load, Discover: h.discover,
		Interval: time.Hour, DeepEvery: time.Hour, Progress: h.progress.For, Lines: h.progress.Lines, Releases: h, Certificates: certsOf{h}, Attachments: feedsIn{h}, Log: logrus.NewEntry(log),
	})
	h.api = server.NewAPI(server.Config{Fleet: h.manager, Source: h, Events: h.events, Logs: h, Progress: h.progress, Certificates: certsOf{h},
		Version: server.Version{Version: "v1.4.0", PID: 7}})
	h.site = New(Options{API: h.api, Log: logrus.NewEntry(log)})
	h.web = httptest.NewServer(h.door())
	h.commit(nil, "Begin", "Ada Lovelace")
	ctx, cancel := context.WithCancel(t.Context())
	h.wait.Go(func() { _ = h.manager.Run(ctx) })
	t.Cleanup(func() {
		h.web.Close()
		h.site.Close()
		cancel()
		h.wait.Wait()
		_ = db.Close()
	})
	return h
}

const appImage = "ghcr.io/acme/app:"

// door lets in whoever the header names, as a middleware does that knows people.
func (h *house) door() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if role := auth.Role(r.Header.Get("X-Role")); role.Allows(auth.RoleViewer) {
			c := auth.Caller{ID: "u-" + string(role), Name: "Grace Hopper", Email: "grace@example.com", Role: role, Via: auth.ViaSession, Session: "s-" + string(role)}
			r = r.WithContext(auth.With(r.Context(), c))
		}
		h.site.ServeHTTP(w, r)
	})
}

// commit gives directories another wish, nil removes one, and makes a revision.
func (h *house) commit(changes map[string]*wish, subject, author string) {
	h.t.Helper()
	h.mu.Lock()
	tree := fstest.MapFS{}
	if len(h.revs) > 0 {
		maps.Copy(tree, h.revs[len(h.revs)-1].Tree.(fstest.MapFS))
	}
	for name, w := range changes {
		path := "instances/" + name + "/wish"
		if w == nil {
			delete(tree, path)
			continue
		}
		b, err := json.Marshal(w)
		if err != nil {
			h.t.Fatal(err)
		}
		tree[path] = &fstest.MapFile{Data: b}
	}
	sum := sha1.Sum(fmt.Append(nil, len(h.revs), subject))
	h.revs = append(h.revs, desired.Snapshot{Tree: tree, Revision: desired.Revision{Commit: fmt.Sprintf("%x", sum), Ref: "main", Subject: subject, Author: author,
		Time: time.Now().Add(-7 * time.Minute)}})
	h.mu.Unlock()
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// settle waits until the instances that are named rest.
func (h *house) settle(names ...string) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), limit)
	defer cancel()
	if err := h.manager.Discover(ctx); err != nil {
		h.t.Fatal(err)
	}
	for _, name := range names {
		if _, err := h.api.Reconcile(ctx, name, server.ReconcileRequest{Wait: true}, nil); err != nil {
			h.t.Fatalf("%s: %v", name, err)
		}
	}
}

// status returns that of an instance.
func (h *house) status(name string) reconciler.Status {
	h.t.Helper()
	s, err := h.api.Status(h.t.Context(), name)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// await waits until something holds of an instance.
func (h *house) await(name string, holds func(reconciler.Status) bool) {
	h.t.Helper()
	ticker, late := time.NewTicker(5*time.Millisecond), time.After(limit)
	defer ticker.Stop()
	for !holds(h.status(name)) {
		select {
		case <-ticker.C:
		case <-late:
			h.t.Fatalf("waited too long: %+v", h.status(name))
		}
	}
}

// answer is what a browser got.
type answer struct {
	status int
	header http.Header
	body   string
	path   string // where it ended up
}

// get asks as somebody with a role, and follows redirects.
func (h *house) get(role auth.Role, path string) answer {
	return h.ask(role, http.MethodGet, path, nil, nil)
}

// post sends a form.
func (h *house) post(role auth.Role, path string, form url.Values) answer {
	return h.ask(role, http.MethodPost, path, form, nil)
}

func (h *house) ask(role auth.Role, method, path string, form url.Values, header map[string]string) answer {
	h.t.Helper()
	jar := &memoryJar{}
	c := &http.Client{Timeout: limit, Jar: jar, Transport: roleTripper{role}}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.web.URL+path, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for k, v := range header {
		req.Header.Set(k, v)
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
	return answer{resp.StatusCode, resp.Header, string(b), resp.Request.URL.RequestURI()}
}

type roleTripper struct{ role auth.Role }

func (t roleTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Role", string(t.role))
	return http.DefaultTransport.RoundTrip(r)
}

// memoryJar keeps the cookies of one site.
type memoryJar struct{ kept []*http.Cookie }

func (j *memoryJar) SetCookies(_ *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		j.kept = slices.DeleteFunc(j.kept, func(o *http.Cookie) bool { return o.Name == c.Name })
		if c.MaxAge >= 0 {
			j.kept = append(j.kept, c)
		}
	}
}

func (j *memoryJar) Cookies(*url.URL) []*http.Cookie { return j.kept }

// The source of revisions.

func (h *house) Latest(context.Context) (desired.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revs[len(h.revs)-1], nil
}

func (h *house) Status() reconciler.SourceStatus {
	return reconciler.SourceStatus{Repo: "https://git.acme.com/fleet.git", Ref: "main", LastSuccess: time.Now().Add(-12 * time.Second)}
}

func (h *house) Sync(context.Context) error { return nil }

func (h *house) Uncommitted(context.Context) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	return h.dirty
}

func (h *house) At(_ context.Context, ref string) (desired.Snapshot, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, r := range h.revs {
		if strings.HasPrefix(r.Commit, ref) {
			return r, nil
		}
	}
	return desired.Snapshot{}, errors.New("no such commit")
}

func (h *house) Commit(context.Context, server.Change) (server.Committed, error) {
	return server.Committed{}, errors.New("nobody commits here")
}

func (h *house) Restore(ctx context.Context, r server.Restoration) (server.Committed, error) {
	h.mu.Lock()
	h.restored = append(h.restored, r)
	patch := h.patch
	h.mu.Unlock()
	if patch != "" {
		return server.Committed{Patch: patch}, nil
	}
	then, err := h.At(ctx, r.Commit)
	if err != nil {
		return server.Committed{}, err
	}
	b, err := fs.ReadFile(then.Tree, r.Dir+"/wish")
	if err != nil {
		return server.Committed{}, err
	}
	var w wish
	if err := json.Unmarshal(b, &w); err != nil {
		return server.Committed{}, err
	}
	h.commit(map[string]*wish{strings.TrimPrefix(r.Dir, "instances/"): &w}, strings.SplitN(r.Message, "\n", 2)[0], r.Author.Name)
	latest, err := h.Latest(ctx)
	return server.Committed{Commit: latest.Commit}, err
}

func (h *house) discover(tree fs.FS) (found []reconciler.Found, err error) {
	names, err := fs.Glob(tree, "instances/*/wish")
	for _, path := range names {
		name := strings.Split(path, "/")[1]
		found = append(found, reconciler.Found{Name: name, Dir: "instances/" + name})
	}
	return found, err
}

func (h *house) load(tree fs.FS, dir string, _ fs.FS) (desired.Spec, error) {
	b, err := fs.ReadFile(tree, dir+"/wish")
	if err != nil {
		return desired.Spec{}, err
	}
	var w wish
	if err := json.Unmarshal(b, &w); err != nil {
		return desired.Spec{}, err
	}
	if w.Broken != "" {
		return desired.Spec{}, desired.Problems{
			{File: dir + "/compose.yaml", Line: 14, Field: "services.app.ports[0]", Text: w.Broken, Hint: "write HOST:CONTAINER"},
			{File: dir + "/instance.yaml", Line: 3, Field: "upgrade.window", Text: "is not a window", Hint: "for example Mon-Fri 02:00-05:00 Europe/Prague"}}
	}
	name := strings.TrimPrefix(dir, "instances/")
	spec := desired.Spec{Name: name, Dir: dir, HealthTimeout: 5 * time.Second, Bake: time.Millisecond, RetainGenerations: 10,
		Services: map[string]desired.Service{"app": {Name: "app", Image: appImage + w.Tag, Replicas: 1,
			Environment: map[string]string{"DOMAIN": name + ".acme.com", "API_TOKEN": "s3cr3t-value", "RELEASE": w.Tag},
			Ports:       []desired.Port{{Target: 8000, Published: strconv.Itoa(8000 + int(name[0])), HostIP: "127.0.0.1"}}}}}
	if w.Channel != "" {
		window, err := desired.ParseWindow(w.Window)
		if err != nil {
			return spec, err
		}
		spec.Follow = &desired.Follow{Ref: appImage + w.Tag, Channel: w.Channel, Every: time.Minute, Window: &window}
	}
	for _, s := range w.Services {
		spec.Services[s] = desired.Service{Name: s, Image: s + ":2", Replicas: 1}
	}
	return spec, nil
}

// Release implements reconciler.Releases.
func (h *house) Release(_ context.Context, ref string, _ reconciler.Ask) (reconciler.Release, error) {
	digest, err := h.engine.Digest(ref)
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.released[ref]
	if known.Digest != digest {
		known.Seen, known.Version = time.Now().Add(-3*time.Hour), fmt.Sprintf("2026.11.%d", 12+len(h.seen))
		h.seen = append(h.seen, digest)
	}
	known.Ref, known.Digest, known.Asked = ref, digest, time.Now()
	h.released[ref] = known
	return known, err
}

// The containers write these lines.

func (h *house) Logs(ctx context.Context, instance, service string, follow bool, tail int, w io.Writer) error {
	h.mu.Lock()
	lines := slices.Clone(h.lines)
	h.mu.Unlock()
	for _, line := range lines[max(0, len(lines)-tail):] {
		if _, err := fmt.Fprintf(w, "%s-%s-1 | %s\n", instance, service, line); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case line, open := <-h.feed:
			if !open {
				return nil
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *house) Restarts(_ context.Context, instance string) (map[string]int, error) {
	return map[string]int{instance + "-app-1": 3}, nil
}

// Certificates and connectors are as a test says that they are.

type certsOf struct{ *house }

func (certsOf) Set(string, reconciler.WantedCertificates) {}
func (h certsOf) Certificates(instance string) []reconciler.CertificateStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.certs[instance]
}

type feedsIn struct{ *house }

func (feedsIn) Set(string, reconciler.WantedConnectors) {}
func (h feedsIn) Attachments(instance string) []reconciler.AttachmentStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.feeds[instance]
}

func (certsOf) Look(context.Context, string) error                { return nil }
func (certsOf) Renew(context.Context, string, string, bool) error { return nil }

func (certsOf) Test(context.Context, string, server.CertificateTest) (server.CertificateReport, error) {
	return server.CertificateReport{}, errors.New("nothing is tested here")
}

func (certsOf) Request(_, name string) (server.CertificateRequest, error) {
	return server.CertificateRequest{PEM: "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n", File: "/var/lib/fairlead/certs/" + name + "/cert.csr"}, nil
}

func (h certsOf) Rollback(_ context.Context, instance, name string, generation int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := slices.Clone(h.certs[instance])
	for i := range list {
		if list[i].Name == name {
			list[i].Generation = generation
		}
	}
	h.certs[instance] = list
	return nil
}
