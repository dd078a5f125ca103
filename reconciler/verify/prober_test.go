package verify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestHealthWaitsForTheApplication(t *testing.T) {
	var asked atomic.Int32
	base, begin := later(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); {
		case n == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 2:
			breakConn(t, w, "reset")
		case r.URL.RequestURI() != "/readyz":
			w.WriteHeader(http.StatusNotFound)
		case n == 3:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	time.AfterFunc(200*time.Millisecond, begin)
	if err := New(Options{}).Health(t.Context(), base, desired.HTTPCheck{Service: "app", Path: "/readyz", Port: 8000}); err != nil || asked.Load() != 4 {
		t.Errorf("error %v after %d questions", err, asked.Load())
	}
}

func TestHealthAnswers(t *testing.T) {
	for status, good := range map[int]bool{200: true, 204: true, 302: true, 399: true, 400: false, 401: false, 404: false, 500: false, 503: false} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			t.Parallel()
			base := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/away")
				w.WriteHeader(status)
				if status >= 400 {
					fmt.Fprint(w, "migration is under way")
				}
			})
			within := 3 * time.Second // which one that does not answer well takes
			if good {
				within = time.Minute
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			err := New(Options{}).Health(ctx, base, desired.HTTPCheck{Service: "app", Path: "/readyz"})
			if good {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var sick *reconciler.NotReady
			if !errors.As(err, &sick) || sick.Phase != "health" || sick.Container != "app" || !strings.Contains(sick.Reason, fmt.Sprintf("GET %s/readyz: answered %d", base, status)) ||
				!strings.HasSuffix(sick.Reason, ": migration is under way") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestHealthOfNothing(t *testing.T) {
	base, _ := later(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var sick *reconciler.NotReady
	if err := New(Options{}).Health(ctx, base, desired.HTTPCheck{Service: "app", Path: "/"}); !errors.As(err, &sick) || !strings.Contains(sick.Reason, "connection refused") {
		t.Errorf("error %v", err)
	}
	if err := New(Options{}).Health(t.Context(), base, desired.HTTPCheck{Service: "app", Port: 8000}); err != nil {
		t.Errorf("a check without a path asks: %v", err)
	}
	newer := errors.New("a newer revision takes over")
	ctx, supersede := context.WithCancelCause(t.Context())
	time.AfterFunc(50*time.Millisecond, func() { supersede(newer) })
	if err := New(Options{}).Health(ctx, base, desired.HTTPCheck{Path: "/"}); !errors.Is(err, newer) {
		t.Errorf("error %v", err)
	}
}

// TestHealthKeepsTheLastAnswer when the time ends in the middle of a try.
func TestHealthKeepsTheLastAnswer(t *testing.T) {
	var asked atomic.Int32
	base := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			http.Error(w, "warming up", http.StatusServiceUnavailable)
			return
		}
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var sick *reconciler.NotReady
	if err := New(Options{}).Health(ctx, base, desired.HTTPCheck{Path: "/"}); !errors.As(err, &sick) || !strings.Contains(sick.Reason, "503 Service Unavailable: warming up") {
		t.Errorf("error %v", err)
	}
}

func TestBusy(t *testing.T) {
	tests := []struct {
		name   string
		status int
		body   string
		busy   bool
		wrong  string // "" is no error
	}{
		{"busy", 200, `{"sync": {"locked": true}}`, true, ""},
		{"idle", 200, `{"sync": {"locked": false}}`, false, ""},
		{"no field", 200, `{"sync": {}}`, false, "field sync.locked is not there, not true or false"},
		{"a text", 200, `{"sync": {"locked": "true"}}`, false, `field sync.locked is "true", not`},
		{"not JSON", 200, `locked`, false, "not JSON"},
		{"an error", 500, `{"sync": {"locked": true}}`, false, "answered 500"},
		{"a redirect", 302, ``, false, "answered 302"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			base := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.RequestURI != "/api/sync/status?x=1" {
					t.Errorf("asked for %s", r.RequestURI)
				}
				w.WriteHeader(tt.status)
				fmt.Fprint(w, tt.body)
			})
			busy, err := New(Options{}).Busy(t.Context(), base, desired.BusyCheck{Service: "app", Path: "/api/sync/status?x=1", Field: "sync.locked"})
			if busy != tt.busy || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
				t.Errorf("%v, %v; want %v, %q", busy, err, tt.busy, tt.wrong)
			}
		})
	}
	base, _ := later(t, nil)
	if busy, err := New(Options{}).Busy(t.Context(), base, desired.BusyCheck{Path: "/", Field: "x"}); busy || err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v, %v", busy, err)
	}
}

func TestTLS(t *testing.T) {
	var asked atomic.Int32
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is refused
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	steps := Steps(parse(t, "- {name: s, get: /}"))
	got := New(Options{}).Run(t.Context(), s.URL, steps, nil, nil).Steps[0]
	if got.Status != CannotTest || got.Tries != 1 || asked.Load() != 0 || !strings.Contains(got.Message, "certificate") {
		t.Errorf("%+v", got) // a certificate does not become better by asking again
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	for _, cfg := range []*tls.Config{{RootCAs: roots, MinVersion: tls.VersionTLS12}, {InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}} {
		if got := New(Options{TLS: cfg}).Run(t.Context(), s.URL, steps, nil, nil).Steps[0]; got.Status != Passed {
			t.Errorf("%+v", got)
		}
	}
}
