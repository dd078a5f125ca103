package front

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// waiting is a Front with a route that has no container, for tests that need
// no network: what is held touches none.
func waiting(opts Options, hold time.Duration) (*Front, *route) {
	f := New(opts)
	f.Set("acme", []reconciler.Route{{FrontRoute: desired.FrontRoute{Host: "app.test", Service: "app", Hold: hold}}})
	return f, f.table.Load().hosts["app.test"]
}

// here puts a container in place without anything that listens.
func here(f *Front, hold time.Duration) {
	f.Set("acme", []reconciler.Route{{FrontRoute: desired.FrontRoute{Host: "app.test", Service: "app", Hold: hold},
		Endpoints: []reconciler.Endpoint{{Container: "c"}}}})
}

func holdOne(ctx context.Context, rt *route) error {
	return rt.hold(ctx, httptest.NewRequest(http.MethodGet, "/", nil), time.Now())
}

func TestHoldIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, rt := waiting(Options{}, 30*time.Second)
		defer f.stop()
		begin := time.Now()
		if err := holdOne(t.Context(), rt); err != errExpired || time.Since(begin) != 30*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		// It counts from the arrival, however often a request has waited.
		begin = time.Now()
		err := rt.hold(t.Context(), httptest.NewRequest(http.MethodGet, "/", nil), begin.Add(-20*time.Second))
		if err != errExpired || time.Since(begin) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		here(f, 30*time.Second)
		if err := holdOne(t.Context(), rt); err != nil {
			t.Errorf("with a container: %v", err)
		}
		g := f.Gaps("acme", time.Time{})
		if len(g) != 1 || g[0].Refused != 2 || g[0].Held != 0 || g[0].For != 40*time.Second {
			t.Errorf("%+v", g)
		}
		if n := len(f.Gaps("acme", time.Now().Add(time.Second))); n != 0 {
			t.Errorf("%d gaps that had ended before", n)
		}
	})
}

func TestHoldIsBoundedInNumber(t *testing.T) {
	for name, opts := range map[string]Options{
		"of a route": {MaxHeldRoute: 3}, "of all": {MaxHeld: 3}, "in bytes": {MaxHeldBytes: 3 * (waiterBytes + 100)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, rt := waiting(opts, time.Minute)
				defer f.stop()
				ctx, cancel := context.WithCancel(t.Context())
				var group sync.WaitGroup
				for i := range 3 {
					c := ctx
					if i == 0 {
						c = t.Context()
					}
					group.Go(func() { _ = holdOne(c, rt) })
				}
				synctest.Wait()
				if err := holdOne(t.Context(), rt); err != errFull {
					t.Errorf("the fourth: %v", err)
				}
				cancel() // two clients go away, and make room
				synctest.Wait()
				group.Go(func() {
					if err := holdOne(t.Context(), rt); err != nil {
						t.Errorf("after two have left: %v", err)
					}
				})
				synctest.Wait()
				here(f, time.Minute)
				group.Wait()
				if f.held != 0 || f.heldBytes != 0 || rt.queue.Len() != 0 {
					t.Errorf("left: %d, %d bytes, %d in the queue", f.held, f.heldBytes, rt.queue.Len())
				}
			})
		})
	}
}

// The window of an HTTP/2 stream fills while its request is held: 4,000 uploads
// took a gigabyte.
func TestHeldBodiesCount(t *testing.T) {
	for _, tt := range []struct {
		proto int
		size  int64
		want  int64
	}{
		{2, -1, streamWindow}, {2, 1 << 40, streamWindow}, {2, 1000, 1000}, {2, 0, 0}, {1, -1, 0}, {1, 1 << 40, 0},
	} {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.ProtoMajor, r.ContentLength = tt.proto, tt.size
		if got := heldBytes(r) - waiterBytes - int64(len(r.RequestURI)); got != tt.want {
			t.Errorf("HTTP/%d with %d bytes counts for %d, want %d", tt.proto, tt.size, got, tt.want)
		}
	}
}

func TestLetGoInOrderOfArrivalAndInGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, rt := waiting(Options{}, time.Minute)
		defer f.stop()
		const n = 500
		type let struct {
			i  int
			at time.Duration
		}
		order := make(chan let, n)
		var begin time.Time
		for i := range n {
			go func() {
				if err := holdOne(t.Context(), rt); err == nil {
					rt.state.Load().endpoints[0].inflight.Add(1) // a stream that never ends
					order <- let{i, time.Since(begin)}
				}
			}()
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		begin = time.Now()
		here(f, time.Minute)
		groups := map[time.Duration][]int{}
		for range n {
			l := <-order
			groups[l.at] = append(groups[l.at], l.i)
		}
		next := 0
		for _, at := range slices.Sorted(maps.Keys(groups)) {
			g := groups[at]
			slices.Sort(g) // within a group they run at once
			if len(g) > releaseAtOnce || g[0] != next || g[len(g)-1] != next+len(g)-1 {
				t.Errorf("let go after %v: %d to %d, %d of them; it was the turn of %d", at, g[0], g[len(g)-1], len(g), next)
			}
			next += len(g)
		}
		// The first 64 at once, and then 16 each 20 ms although none has ended.
		if took, want := time.Since(begin), time.Duration((n-releaseAtOnce+releaseSlowly-1)/releaseSlowly*releaseStep)*releaseEvery; took > want {
			t.Errorf("it took %v, want at most %v", took, want)
		}
	})
}

func TestEndsOfWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, rt := waiting(Options{}, time.Minute)
		got := make(chan error, 1)
		go func() { got <- holdOne(t.Context(), rt) }()
		synctest.Wait()
		f.Set("acme", nil)
		if err := <-got; err != errGone {
			t.Errorf("its route ends: %v", err)
		}
		if len(f.instances) != 0 {
			t.Errorf("an instance without routes stays: %v", f.instances)
		}
		f, rt = waiting(Options{}, time.Minute)
		go func() { got <- holdOne(t.Context(), rt) }()
		synctest.Wait()
		f.refuseHeld()
		if err := <-got; err != errStopping {
			t.Errorf("the front stops: %v", err)
		}
		if err := holdOne(t.Context(), rt); err != errStopping {
			t.Errorf("after that: %v", err)
		}
	})
}

// Hundreds of held requests reach an application that has just started, and
// none of them is lost.
func TestManyHeldAreServed(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "old", hello("old"))))
	const clients, each = 4, 200 // on one connection a client, which takes 250
	const n = clients * each
	results := make(chan error, n)
	var ways []*http.Client
	for range clients {
		c := h.client(true)
		mustGet(t, c, "https://app.test/", 200, "old")
		ways = append(ways, c)
	}
	if err := h.front.Drain(t.Context(), "acme", "old"); err != nil {
		t.Fatal(err)
	}
	for _, c := range ways {
		for range each {
			go func() {
				s, b, err := get(c, "https://app.test/")
				results <- want(200, "new", s, b, err)
			}()
		}
	}
	eventually(t, "all are held", func() bool { return h.held() == n })
	var now, most atomic.Int64
	h.set(routeTo(newBackend(t, "new", func(w http.ResponseWriter, _ *http.Request) {
		at := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); at > m && !most.CompareAndSwap(m, at); m = most.Load() {
		}
		_, _ = io.WriteString(w, "new")
	})))
	for range n {
		await(t, "held request", results)
	}
	if g := h.front.Gaps("acme", time.Time{}); len(g) != 1 || g[0].Held != n {
		t.Errorf("gaps: %+v", g)
	}
	if most.Load() > n/2 {
		t.Errorf("%d of %d came at once", most.Load(), n)
	}
	t.Logf("at most %d at once", most.Load())
}

func TestRefusalsSayWhenToComeAgain(t *testing.T) {
	h := start(t, Options{})
	r := routeTo()
	r.Hold = 0
	h.set(r)
	c := h.client(true)
	for accept, kind := range map[string]string{"text/html,*/*": "text/html; charset=utf-8", "application/json": "application/json", "": "application/json"} {
		req, _ := http.NewRequest(http.MethodGet, "https://app.test/", nil)
		req.Header.Set("Accept", accept)
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if res.StatusCode != 503 || res.Header.Get("Retry-After") != "10" || res.Header.Get("Content-Type") != kind {
			t.Errorf("%q: %d %v", accept, res.StatusCode, res.Header)
		}
		if page := strings.Contains(string(b), `<meta http-equiv="refresh" content="10">`); page != (accept == "text/html,*/*") || strings.Contains(string(b), "<script") {
			t.Errorf("%q: %s", accept, b)
		}
	}
}

// While the daemon starts, a host that is not known yet may still come.
func TestStartRefusesNobody(t *testing.T) {
	h := start(t, Options{})
	done := background(func() error {
		s, b, err := get(h.client(true), "https://app.test/")
		return want(200, "b", s, b, err)
	})
	plain := background(func() error {
		s, b, err := get(h.client(false), "http://app.test/")
		return want(301, "", s, b, err)
	})
	eventually(t, "both have connected", func() bool { return h.front.total.open.Load() == 2 })
	r := routeTo(newBackend(t, "b", hello("b")))
	r.RedirectHTTP = true
	h.set(r)
	await(t, "over TLS", done)
	await(t, "in the clear", plain)
	unknown := background(func() error { _, _, err := get(h.client(true), "https://nobody.test/"); return err })
	h.front.Ready()
	select {
	case err := <-unknown:
		if err == nil || !strings.Contains(err.Error(), "unrecognized name") {
			t.Errorf("%v", err)
		}
	case <-time.After(limit):
		t.Error("it waits although the front is ready")
	}
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	h := start(t, Options{ShutdownTimeout: limit})
	begun, end := make(chan struct{}), make(chan struct{})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-end
		_, _ = io.WriteString(w, "whole")
	})))
	done := background(func() error {
		s, b, err := get(h.client(false), "https://app.test/")
		return want(200, "whole", s, b, err)
	})
	<-begun
	h.cancel()
	eventually(t, "it accepts no more", func() bool {
		_, _, err := get(h.client(false), "http://app.test/")
		return err != nil
	})
	close(end)
	await(t, "request in flight", done)
	h.stop()
}

func TestShutdownRefusesWhatIsHeldAndCutsTheRest(t *testing.T) {
	h := start(t, Options{ShutdownTimeout: 3 * time.Second})
	stuck, held := routeTo(newBackend(t, "b", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })), routeTo()
	held.Host, held.Service = "held.test", "held"
	h.set(stuck, held)
	asked := background(func() error { _, _, err := get(h.client(true), "https://app.test/"); return err })
	waits := background(func() error {
		s, _, err := get(h.client(true), "https://held.test/")
		if err != nil || s != http.StatusServiceUnavailable {
			return fmt.Errorf("held request: %d %v", s, err)
		}
		return nil
	})
	eventually(t, "both are under way", func() bool {
		return h.held() == 1 && h.front.table.Load().hosts["app.test"].stats.inflight.Load() == 1
	})
	h.stop()
	await(t, "held", waits)
	select {
	case err := <-asked:
		if err == nil {
			t.Error("it was answered")
		}
	case <-time.After(limit):
		t.Error("it is not cut off")
	}
}

func TestMetricsGather(t *testing.T) {
	h := start(t, Options{})
	h.set(routeTo(newBackend(t, "b", hello("b"))))
	h.front.Ready()
	mustGet(t, h.client(true), "https://app.test/", 200, "b")
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(h.front); err != nil {
		t.Fatal(err)
	}
	value := func(name, code string) float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, mf := range families {
			for _, m := range mf.Metric {
				labels := map[string]string{}
				for _, l := range m.Label {
					labels[l.GetName()] = l.GetValue()
				}
				if mf.GetName() == "fairlead_front_"+name && labels["code"] == code && labels["host"] == "app.test" && labels["instance"] == "acme" {
					return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
		}
		t.Fatalf("no %s with code %q", name, code)
		return 0
	}
	eventually(t, "the request is counted", func() bool { return value("requests_total", "2xx") == 1 && value("request_duration_seconds", "") == 1 })
	if value("requests_total", "5xx") != 0 || value("endpoints", "") != 1 || value("requests_in_flight", "") != 0 {
		t.Error("wrong figures")
	}
}

func TestAccessLogIsSampled(t *testing.T) {
	var out logBuffer
	log := logrus.New()
	log.SetOutput(&out)
	h := start(t, Options{AccessEvery: 5, Log: logrus.NewEntry(log)})
	h.set(routeTo(newBackend(t, "b", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/sick" {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})))
	c := h.client(false)
	for range 10 {
		mustGet(t, c, "https://app.test/fine?token=secret", 200, "")
	}
	mustGet(t, c, "https://app.test/sick", 500, "")
	eventually(t, "the last one is logged", func() bool { return strings.Contains(out.String(), "/sick") })
	if n := strings.Count(out.String(), "path=/fine"); n != 2 || strings.Contains(out.String(), "secret") {
		t.Errorf("%d lines:\n%s", n, out.String())
	}
}

// logBuffer is written to and read at the same time.
type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
