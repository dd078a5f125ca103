package load

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// counting serves answers and closes reached after so many requests.
type counting struct {
	after   int64
	n       atomic.Int64
	reached chan struct{}
	answer  http.HandlerFunc
}

func newCounting(after int64, answer http.HandlerFunc) *counting {
	return &counting{after: after, reached: make(chan struct{}), answer: answer}
}

func (c *counting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.n.Add(1) == c.after {
		close(c.reached)
	}
	c.answer(w, r)
}

func ok(http.ResponseWriter, *http.Request) {}

func start(t *testing.T, ctx context.Context, opts Options) *Run {
	t.Helper()
	r, err := Start(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Stop() })
	return r
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	var n atomic.Int64
	c := newCounting(200, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	s := httptest.NewServer(c)
	defer s.Close()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 1000})
	<-c.reached
	got := r.Stop()
	total := int(c.n.Load())
	if got.Sent != total || got.OK+got.Failed != total || got.Gone != 0 || got.Status[200]+got.Status[204] != got.OK ||
		got.Status[503] != got.Failed || got.Errors["answered 503 Service Unavailable"] != got.Failed || got.Failed != (total+3)/4 {
		t.Errorf("%d requests were made: %+v", total, got)
	}
	if got.FailWindow <= 0 || got.FailWindow > got.Took+time.Minute || got.P50 <= 0 || got.P99 < got.P50 || got.Max < got.P99 {
		t.Errorf("times: %+v", got)
	}
	if again := r.Stop(); again.Took != got.Took || again.Sent != got.Sent {
		t.Errorf("a second Stop says %+v, want %+v", again, got)
	}
	if text := got.String(); !strings.Contains(text, fmt.Sprintf("%d sent, %d failed", got.Sent, got.Failed)) || !strings.Contains(text, "× answered 503") {
		t.Errorf("as text: %s", text)
	}
}

func TestSentAtTheRateWhetherAnsweredOrNot(t *testing.T) {
	gate := make(chan struct{})
	c := newCounting(100, func(http.ResponseWriter, *http.Request) { <-gate })
	s := httptest.NewServer(c)
	defer s.Close()
	began := time.Now()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 500})
	begun := time.Now() // the first of them is due by now
	<-c.reached         // though none was answered
	took, held := time.Since(began), time.Since(begun)
	close(gate)
	got := r.Stop()
	if took < 99*time.Second/500 {
		t.Errorf("100 requests at 500 a second left within %s", took)
	}
	if got.Failed != 0 || got.OK != got.Sent || got.Stall < held || got.Max < held-50*time.Millisecond {
		t.Errorf("a stall of %s shows as %+v", held, got)
	}
}

func TestMarksAddUp(t *testing.T) {
	first, second := newCounting(50, ok), newCounting(50, ok)
	var at atomic.Pointer[counting]
	at.Store(first)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { at.Load().ServeHTTP(w, r) }))
	defer s.Close()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 1000})
	<-first.reached
	one := r.Mark()
	at.Store(second)
	<-second.reached
	two := r.Mark()
	all := r.Stop()
	rest := r.Mark()
	if one.Sent == 0 || two.Sent == 0 || one.Sent+two.Sent+rest.Sent != all.Sent || one.OK+two.OK+rest.OK != all.OK || !two.From.After(one.From) {
		t.Errorf("parts %+v, %+v and %+v of %+v", one, two, rest, all)
	}
}

func TestGivenUpIsNotFailed(t *testing.T) {
	defer goleak.VerifyNone(t)
	c := newCounting(20, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(c)
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	r := start(t, ctx, Options{URL: s.URL, Rate: 500})
	<-c.reached
	cancel()
	if got := r.Stop(); got.Gone < 20 || got.Failed != 0 || got.OK != 0 || got.Sent != got.Gone {
		t.Errorf("%+v", got)
	}
}

func TestTimeoutIsAFailure(t *testing.T) {
	c := newCounting(10, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(c)
	defer s.Close()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 500, Timeout: 30 * time.Millisecond})
	<-c.reached
	if got := r.Stop(); got.Failed < 10 || got.OK != 0 || got.Errors[context.DeadlineExceeded.Error()] == 0 {
		t.Errorf("%+v", got)
	}
}

// TestAsksAsConfigured has a server whose name cannot be looked up.
func TestAsksAsConfigured(t *testing.T) {
	for _, tt := range []struct {
		name string
		opts Options
		want string
	}{
		{"HTTP/1.1", Options{Host: "example.com"}, "GET HTTP/1.1 example.com example.com "},
		{"HTTP/1.1 with a port", Options{Host: "example.com:8443"}, "GET HTTP/1.1 example.com:8443 example.com "},
		{"HTTP/2", Options{Host: "example.com", HTTP2: true}, "GET HTTP/2.0 example.com example.com "},
		{"POST", Options{Body: "x=1"}, "POST HTTP/1.1 example.com example.com x=1"},
		{"new connections", Options{Anew: true}, "GET HTTP/1.1 example.com example.com "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var mu sync.Mutex
			seen := map[string]int{}
			c := newCounting(20, func(_ http.ResponseWriter, r *http.Request) {
				body := make([]byte, r.ContentLength)
				_, _ = r.Body.Read(body) // what is read is compared
				mu.Lock()
				defer mu.Unlock()
				seen[r.Method+" "+r.Proto+" "+r.Host+" "+r.TLS.ServerName+" "+string(body)]++
			})
			s := httptest.NewUnstartedServer(c)
			s.EnableHTTP2 = true
			s.StartTLS()
			defer s.Close()
			opts := tt.opts
			opts.URL, opts.Address, opts.Rate = "https://example.com/path", s.Listener.Addr().String(), 50 // handshakes cost a busy machine much
			opts.Roots = x509.NewCertPool()
			opts.Roots.AddCert(s.Certificate()) // it is for example.com
			r := start(t, t.Context(), opts)
			<-c.reached
			got := r.Stop()
			mu.Lock()
			defer mu.Unlock()
			if got.Failed != 0 || got.Retried != 0 || len(seen) != 1 || seen[tt.want] != got.Sent {
				t.Errorf("%s: asked %v", got, seen)
			}
			// Requests that a busy machine lets out all at once have a connection each.
			if opts.Anew != (got.Connections == got.Sent) && (opts.Anew || got.Stall < 20*time.Millisecond) {
				t.Errorf("%d requests on %d connections", got.Sent, got.Connections)
			}
		})
	}
}

func TestStrangersCertificateIsRefused(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(ok))
	defer s.Close()
	checked := make(chan struct{}, 1000)
	for insecure, failed := range map[bool]bool{false: true, true: false} {
		r := start(t, t.Context(), Options{URL: s.URL, Rate: 1, Insecure: insecure})
		for n := 0; n == 0; n = r.Mark().Sent {
			select {
			case <-checked:
			case <-time.After(5 * time.Millisecond):
			}
		}
		if got := r.Stop(); (got.Failed == got.Sent) != failed {
			t.Errorf("insecure=%t: %+v", insecure, got)
		}
	}
}

func TestCheckDecides(t *testing.T) {
	c := newCounting(10, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "old") })
	s := httptest.NewServer(c)
	defer s.Close()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 500, Check: func(status int, _ http.Header, body []byte) error {
		if status != http.StatusOK || string(body) != "new" {
			return errors.New("the old one answers")
		}
		return nil
	}})
	<-c.reached
	if got := r.Stop(); got.Failed != got.Sent || got.Errors["the old one answers"] != got.Sent || got.Status[200] != got.Sent {
		t.Errorf("%+v", got)
	}
}

// TestSentAgainShows has a server that closes a connection instead of answering the second request on it.
func TestSentAgainShows(t *testing.T) {
	var mu sync.Mutex
	used := map[string]int{}
	c := newCounting(30, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		used[r.RemoteAddr]++
		again := used[r.RemoteAddr] == 2
		mu.Unlock()
		if !again {
			return
		}
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
	})
	s := httptest.NewServer(c)
	defer s.Close()
	r := start(t, t.Context(), Options{URL: s.URL, Rate: 500})
	<-c.reached
	if got := r.Stop(); got.Failed != 0 || got.Retried == 0 || !strings.Contains(got.String(), "sent again") {
		t.Errorf("%+v", got)
	}
}

func TestStartRefuses(t *testing.T) {
	for _, opts := range []Options{
		{}, {URL: "localhost:80"}, {URL: "ftp://localhost"}, {URL: "http://"}, {URL: "http://a\x00b"},
		{URL: "http://localhost", Rate: -1}, {URL: "http://localhost", Rate: 1e6}, {URL: "http://localhost", Timeout: -1},
	} {
		if _, err := Start(t.Context(), opts); err == nil || !strings.HasPrefix(err.Error(), "start load: ") {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		in   []time.Duration
		p    int
		want time.Duration
	}{
		{nil, 50, 0}, {[]time.Duration{7}, 50, 7}, {[]time.Duration{7}, 99, 7}, {[]time.Duration{1, 2}, 50, 1}, {[]time.Duration{1, 2}, 51, 2},
		{hundred, 50, 50}, {hundred, 99, 99}, {hundred, 100, 100}, {hundred[:99], 99, 99}, {hundred, 0, 1},
	} {
		if got := percentile(tt.in, tt.p); got != tt.want {
			t.Errorf("p%d of %d readings is %d, want %d", tt.p, len(tt.in), got, tt.want)
		}
	}
}

func TestReasonsAreFew(t *testing.T) {
	refused := func(port int) error {
		addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
		return &url.Error{Op: "Get", URL: "http://x", Err: &net.OpError{Op: "dial", Net: "tcp", Addr: addr, Err: syscall.ECONNREFUSED}}
	}
	now := time.Now()
	tl := newTally(now)
	for i := range 100 {
		tl.add(outcome{due: now.Add(time.Duration(i)), err: refused(i)}, now)
	}
	for i := range 100 {
		tl.add(outcome{due: now, err: fmt.Errorf("kind %d", i)}, now)
	}
	r := tl.report(now)
	if r.Errors["dial: connection refused"] != 100 || len(r.Errors) != maxReasons+1 || r.Errors["something else"] != 100-maxReasons+1 || r.FailWindow != 99 {
		t.Errorf("%+v", r)
	}
}

func TestStallReachesOverAMark(t *testing.T) {
	now := time.Now()
	r := &Run{whole: newTally(now), since: newTally(now)}
	r.since.good = now.Add(-time.Hour) // of the part before
	if got := r.Mark(); got.Stall < time.Hour {
		t.Errorf("while it lasts: %s", got.Stall)
	}
	r.count(outcome{due: now})
	if got := r.Mark(); got.Stall < time.Hour {
		t.Errorf("at its end: %s", got.Stall)
	}
	r.count(outcome{due: now})
	if got := r.Mark(); got.Stall > time.Minute {
		t.Errorf("afterwards: %s", got.Stall)
	}
}
