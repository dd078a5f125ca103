package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

func TestHealthHasTheShapeThatClientsKnow(t *testing.T) {
	v := newTown(t)
	status, _, body := v.ask("GET", "/api/health", "", "", nil)
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
		t.Fatalf("%d %s, %v", status, body, err)
	}
	for _, key := range []string{"status", "version", "channel", "image_tag", "commit_sha", "schema_version", "deployed_at", "timestamp", "warnings", "services"} {
		if _, there := got[key]; !there {
			t.Errorf("there is no %s in %s", key, body)
		}
	}
	if len(got) != 10 || got["status"] != "healthy" || got["version"] != "v1" {
		t.Errorf("got %s", body)
	}
	for _, service := range []string{"reconciler", "repository", "containers", "certificates", "data", "store", "users"} {
		if s, _ := got["services"].(map[string]any)[service].(map[string]any); s["status"] == nil {
			t.Errorf("there is no service %s in %s", service, body)
		}
	}
}

// What is wrong is told to everybody, and where only to those who are known.
func TestHealthOfASickRelease(t *testing.T) {
	v := newTown(t)
	v.commit("sick")
	v.reconcile()
	h, err := v.api.Health(t.Context())
	if err != nil || h.Status != "degraded" || h.Services["reconciler"].Status != SeverityWarning || !strings.Contains(strings.Join(h.Warnings, "\n"), "acme: ") {
		t.Errorf("got %+v, %v", h, err)
	}
	_, _, body := v.ask("GET", "/api/health", "", "", nil)
	if !strings.Contains(body, `"degraded"`) || !strings.Contains(body, "quarantine") || strings.Contains(body, "acme") || strings.Contains(body, "detail") {
		t.Errorf("anybody is told %s", body)
	}
	if status, _, body := v.ask("GET", "/api/health/detailed", "viewer", "", nil); status != 200 || !strings.Contains(body, "acme: ") || !strings.Contains(body, `"instances":1`) {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, _ := v.ask("GET", "/api/health/detailed", "", "", nil); status != 401 {
		t.Errorf("got %d", status)
	}
}

func TestFindings(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	good := func() reconciler.Status {
		return reconciler.Status{Name: "acme", Phase: reconciler.PhaseIdle, Health: reconciler.Healthy, Generation: 1, LastPass: ago(time.Minute),
			Conditions: []reconciler.Condition{{Type: reconciler.ContainersReady, Status: "True"}}}
	}
	certificate := func(phase reconciler.CertificatePhase, from, to time.Duration) func(*reconciler.Status) {
		return func(s *reconciler.Status) {
			s.Certificates = []reconciler.CertificateStatus{{Name: "web", Phase: phase, NotBefore: now.Add(from), NotAfter: now.Add(to)}}
		}
	}
	const day = 24 * time.Hour
	connector := func(c reconciler.AttachmentStatus) func(*reconciler.Status) {
		return func(s *reconciler.Status) { s.Attachments = []reconciler.AttachmentStatus{c} }
	}
	tests := []struct {
		name     string
		change   func(*reconciler.Status)
		service  string
		severity Severity
		public   string
	}{
		{"good", func(*reconciler.Status) {}, "", "", ""},
		{"applying for long", func(s *reconciler.Status) { s.Phase, s.LastPass = reconciler.PhaseApplying, ago(time.Hour) }, "", "", ""},
		{"loop stuck", func(s *reconciler.Status) { s.LastPass = ago(time.Hour) }, healthReconciler, SeverityError, "not looked at"},
		{"refused", func(s *reconciler.Status) { s.Phase = reconciler.PhaseRefused }, healthReconciler, SeverityWarning, "does not validate"},
		{"quarantined", func(s *reconciler.Status) { s.Phase = reconciler.PhaseQuarantined }, healthReconciler, SeverityWarning, "quarantine"},
		{"suspended", func(s *reconciler.Status) { s.Phase = reconciler.PhaseSuspended }, healthReconciler, SeverityWarning, "suspended"},
		{"deprecated", func(s *reconciler.Status) {
			s.Release = &reconciler.ReleaseStatus{RunningRelease: "2026.11.3", Deprecated: "deprecated-2026.11.3"}
		},
			healthReconciler, SeverityWarning, "deprecated"},
		{"registry away", func(s *reconciler.Status) { s.Release = &reconciler.ReleaseStatus{Error: "timeout"} }, healthReconciler, SeverityWarning, "registry"},
		{"missing", func(s *reconciler.Status) { s.Health = reconciler.Missing }, healthContainers, SeverityError, "does not run"},
		{"nothing yet", func(s *reconciler.Status) { s.Health, s.Generation = reconciler.Missing, 0 }, "", "", ""},
		{"degraded", func(s *reconciler.Status) { s.Health = reconciler.Degraded }, healthContainers, SeverityWarning, "as it should"},
		{"engine away", func(s *reconciler.Status) { s.Conditions[0].Status = "Unknown" }, healthContainers, SeverityError, "engine"},
		{"certificate live", certificate(reconciler.CertificateLive, -30*day, 60*day), "", "", ""},
		{"certificate near", certificate(reconciler.CertificateLive, -80*day, 10*day), healthCertificates, SeverityWarning, "ends soon"},
		{"short-lived certificate", certificate(reconciler.CertificateLive, -day, 5*day), "", "", ""},
		{"certificate over", certificate(reconciler.CertificateLive, -90*day, -time.Hour), healthCertificates, SeverityError, "over"},
		{"certificate refused", certificate(reconciler.CertificateDegraded, -30*day, 60*day), healthCertificates, SeverityWarning, "refused"},
		{"data live", connector(reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, LastGood: ago(time.Hour), Schedule: "every 1h"}), "", "", ""},
		{"data stale", connector(reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, LastGood: ago(2 * day), Schedule: "every 1h", NextRun: ago(time.Hour)}),
			healthData, SeverityWarning, "stale"},
		{"data weekly", connector(reconciler.AttachmentStatus{Phase: reconciler.AttachmentLive, LastGood: ago(2 * day), Schedule: "every 168h", NextRun: now.Add(day)}), "", "", ""},
		{"data degraded", connector(reconciler.AttachmentStatus{Phase: reconciler.AttachmentDegraded}), healthData, SeverityWarning, "last good"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, e := good(), examiner{now: now, figures: map[string]map[string]int64{}}
			tt.change(&s)
			e.loop(s)
			e.containers(s)
			e.certificates(s)
			e.attachments(s)
			if tt.service == "" {
				if len(e.found) != 0 {
					t.Errorf("found %+v", e.found)
				}
				return
			}
			if len(e.found) != 1 || e.found[0].service != tt.service || e.found[0].severity != tt.severity || !strings.Contains(e.found[0].public, tt.public) ||
				strings.Contains(e.found[0].public, "acme") || !strings.HasPrefix(e.found[0].detail, "acme:") {
				t.Errorf("found %+v", e.found)
			}
		})
	}
}

func TestWarningsAreFolded(t *testing.T) {
	if got := folded([]string{"a", "b", "b", "b", "c"}); !slices.Equal(got, []string{"a", "b (3 times)", "c"}) {
		t.Errorf("got %q", got)
	}
}

// Health is made anew once a second however many ask, and is never older than
// two.
func TestHealthIsFresh(t *testing.T) {
	h := newHouse(t)
	h.api.lastHealth.kept.Store(&writtenHealth{time.Now().Add(-2 * time.Minute), []byte("old")})
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if body, err := h.api.healthBody(); err != nil || string(body) == "old" {
				t.Errorf("got %s, %v", body, err)
			}
		})
	}
	group.Wait()
	kept := h.api.lastHealth.kept.Load()
	if body, err := h.api.healthBody(); err != nil || &body[0] != &kept.body[0] {
		t.Errorf("it was made anew at once, %v", err)
	}
}

func TestCanaryTripsAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var broken error
		tries := 0
		c := &canary{write: func(context.Context) error {
			mu.Lock()
			defer mu.Unlock()
			tries++
			return broken
		}, query: func(context.Context) (bool, error) { return true, nil }}
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { c.run(ctx); close(over) }()
		synctest.Wait()
		set := func(err error) {
			mu.Lock()
			defer mu.Unlock()
			broken = err
		}
		steps := []struct {
			err      error
			ready    bool
			failures int
		}{{nil, true, 0}, {errors.New("disk full"), true, 1}, {errors.New("disk full"), true, 2}, {errors.New("disk full"), false, 3},
			{errors.New("disk full"), false, 4}, {nil, false, 0}, {nil, true, 0}, {errors.New("disk full"), true, 1}, {nil, true, 0}}
		if s := c.now(); !s.Ready || s.Last.IsZero() {
			t.Errorf("at the start: %+v", s)
		}
		for i, step := range steps {
			set(step.err)
			time.Sleep(canaryEvery) // the bubble's time
			synctest.Wait()
			s := c.now()
			if s.Ready != step.ready || s.Failures != step.failures || (len(s.FailedChecks) == 1) != (step.err != nil) || (s.Status == "ready") != step.ready {
				t.Errorf("step %d: %+v", i, s)
			}
			e := examiner{figures: map[string]map[string]int64{}}
			if c.examine(&e); (len(e.found) == 1) != (step.err != nil) {
				t.Errorf("step %d: found %+v", i, e.found)
			}
		}
		before := tries
		for range 100 {
			c.fresh(t.Context(), canaryFresh)
		}
		if tries > before+1 {
			t.Errorf("%d tries for those who ask", tries-before)
		}
		cancel()
		<-over
	})
}

func TestCanaryThatFailsAtFirstIsNotReady(t *testing.T) {
	c := &canary{write: func(context.Context) error { return errors.New("read-only file system") }, query: func(context.Context) (bool, error) { return false, nil }}
	if s := c.fresh(t.Context(), time.Minute); s.Ready || s.Status != "not_ready" || !slices.Equal(s.FailedChecks, []string{checkWrite}) {
		t.Errorf("got %+v", s)
	}
}

// A write that hangs fails the tries that come meanwhile, and holds up nobody.
func TestCanaryOnADiskThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		c := &canary{write: func(context.Context) error { <-free; return nil }, query: func(context.Context) (bool, error) { return false, nil }}
		for i := range canaryTrips {
			began := time.Now()
			if s := c.fresh(t.Context(), 0); s.Ready || s.Failures != i+1 {
				t.Errorf("got %+v", s)
			}
			if took := time.Since(began); took > canaryLimit {
				t.Errorf("try %d took %s", i, took)
			}
		}
		close(free)
		synctest.Wait()
		c.fresh(t.Context(), 0)
		if s := c.fresh(t.Context(), 0); !s.Ready {
			t.Errorf("got %+v", s)
		}
	})
}

// answers is data that answers with an error, or one row.
type answers struct {
	tables int
	err    error
	asked  int
}

func (d *answers) Catalog(string) ([]connectors.CatalogTable, error) {
	return make([]connectors.CatalogTable, d.tables), nil
}

func (d *answers) Query(_ context.Context, _ string, q Query, begin func(QueryResult) error, w io.Writer) (QueryResult, error) {
	d.asked++
	if d.err != nil {
		return QueryResult{}, d.err
	}
	res := QueryResult{Columns: []connectors.Column{{Name: "n", Type: "INTEGER"}}, Rows: 1}
	if err := begin(res); err != nil {
		return res, err
	}
	_, err := io.WriteString(w, map[string]string{"json": "[1]\n", "csv": "n\n1\n"}[q.Format])
	return res, err
}

func (d *answers) Profile(context.Context, string, string, string, string, string) (json.RawMessage, error) {
	return json.RawMessage(`{}`), d.err
}

func TestReadiness(t *testing.T) {
	h := newHouse(t)
	tests := []struct {
		name   string
		write  error
		data   *answers
		status int
		want   string
		asked  int
	}{
		{"nothing to ask", nil, &answers{}, 200, `"queried":false`, 0},
		{"answers", nil, &answers{tables: 1}, 200, `"queried":true`, 1},
		{"busy", nil, &answers{tables: 1, err: &Error{Status: 429, Detail: "too many"}}, 200, `"failed_checks":[]`, 1},
		{"no answer", nil, &answers{tables: 1, err: errors.New("the worker is gone")}, 503, `"failed_checks":["query"]`, 1},
		{"cannot write", errors.New("disk full"), &answers{tables: 1}, 503, `"failed_checks":["write"]`, 1},
		{"nothing goes", errors.New("disk full"), &answers{tables: 1, err: errors.New("gone")}, 503, `"failed_checks":["write","query"]`, 1},
	}
	for _, tt := range tests {
		cfg := h.config
		cfg.Data, cfg.Write = tt.data, func(context.Context) error { return tt.write }
		rec := httptest.NewRecorder()
		NewAPI(cfg).PublicHandler(Public{}).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/readyz", nil))
		body := rec.Body.String()
		if rec.Code != tt.status || !strings.Contains(body, tt.want) || tt.data.asked != tt.asked || strings.Contains(body, "disk full") || strings.Contains(body, "acme") {
			t.Errorf("%s: %d %s after %d queries", tt.name, rec.Code, body, tt.data.asked)
		}
	}
}

// BenchmarkHealth is what a request for the health costs the daemon, without
// the network.
func BenchmarkHealth(b *testing.B) {
	a := NewAPI(Config{Fleet: nobodyHere{}, Version: Version{Version: "v1"}})
	h := a.PublicHandler(Public{})
	b.ReportAllocs()
	for b.Loop() {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "http://127.0.0.1/api/health", nil))
		if rec.Code != 200 {
			b.Fatal(rec.Body.String())
		}
	}
}

// BenchmarkHealthOverTCP has sixteen clients ask at once.
func BenchmarkHealthOverTCP(b *testing.B) {
	a := NewAPI(Config{Fleet: nobodyHere{}, Version: Version{Version: "v1"}})
	s := httptest.NewServer(a.PublicHandler(Public{}))
	defer s.Close()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			resp, err := client.Get(s.URL + "/api/health")
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}

// nobodyHere is a fleet without instances.
type nobodyHere struct{}

func (nobodyHere) Instances() []*reconciler.Instance { return nil }

func (nobodyHere) Instance(string) (*reconciler.Instance, error) {
	return nil, reconciler.ErrNoInstance
}

func (nobodyHere) Discover(context.Context) error { return nil }

func (nobodyHere) Problems() error { return nil }

func (nobodyHere) Source() reconciler.SourceStatus { return reconciler.SourceStatus{} }

func (nobodyHere) Attend(context.Context) func() { return func() {} }
