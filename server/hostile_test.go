package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
	"github.com/fairlead/fairlead/server/auth/authtest"
	"github.com/fairlead/fairlead/server/hostile"
)

// judge holds an answer against what must be so whatever was asked.
func judge(t testing.TB, req *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	for _, wrong := range hostile.Judge(req, isCall(req.URL.Path), hostile.Answer{Status: status, Header: header, Body: body}) {
		t.Errorf("as %q: %s", req.Header.Get("Authorization"), wrong)
	}
}

// hostileTown has data and users beside what a town has.
func hostileTown(t *testing.T) (*town, http.Handler) {
	t.Helper()
	v := newTown(t)
	db, err := bolt.Open(filepath.Join(t.TempDir(), "people.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	cfg := v.config
	if cfg.Auth, err = auth.NewStore(authtest.Options(db, nil)); err != nil {
		t.Fatal(err)
	}
	cfg.Data = &answers{tables: 1}
	v.api = NewAPI(cfg)
	return v, v.api.PublicHandler(Public{People: v.people})
}

// TestHostileRequests asks every operation a number of times in ways that it
// does not expect, over a real listener, where most parts are not there. The
// whole daemon is asked in cmd/fairlead.
func TestHostileRequests(t *testing.T) {
	v, h := hostileTown(t)
	s := httptest.NewServer(h)
	defer s.Close()
	f := hostile.New(loadDocument(t, v.api), hostile.Known{Names: []string{"acme", "web", "1"},
		Tokens: []string{"", "stale", "viewer", "analyst", "admin", "admin", "admin", "admin", "admin", "admin", "admin+read"}}, 20261123)
	seen, statuses := map[string]int{}, map[int]int{}
	for range 1000 {
		c := f.Any()
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		req := f.Request(ctx, s.URL, c)
		if req == nil {
			cancel()
			continue
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			if !strings.Contains(err.Error(), "invalid") { // the client refuses to send it
				t.Errorf("%s %s: %v", req.Method, clipped(req.URL.String()), err)
			}
			cancel()
			continue
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Errorf("%s %s: %v", req.Method, clipped(req.URL.String()), err)
		}
		_ = resp.Body.Close()
		cancel()
		seen[c.Op.OperationID]++
		statuses[resp.StatusCode]++
		judge(t, req, resp.StatusCode, resp.Header, body)
	}
	if len(seen) != len(f.Calls) || statuses[200] < 50 || statuses[422] < 50 {
		t.Errorf("%d of %d operations were asked; %v", len(seen), len(f.Calls), statuses)
	}
}

// FuzzAPI asks one operation after the other what the fuzzer thinks of.
func FuzzAPI(f *testing.F) {
	f.Add(uint16(0), "/api/health", "", []byte(nil), "admin")
	f.Add(uint16(3), "/api/instances/acme/suspend", "", []byte(`{"reason":"x"}`), "admin")
	f.Add(uint16(9), "/api/query", "instance=acme", []byte(`{"sql":"SELECT 1","limit":-1}`), "analyst")
	f.Add(uint16(9), "/api/instances/%2e%2e/history", "limit=-5&limit=x", []byte(`[`), "viewer")
	f.Add(uint16(1), "/auth/token", "", []byte(`{"email":1,"password":{}}`), "")
	var v *town
	var h http.Handler
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
	f.Fuzz(func(t *testing.T, n uint16, path, query string, body []byte, token string) {
		if v == nil {
			// One that outlives this input: making another for each would be most of the work.
			a := NewAPI(Config{Fleet: nobodyHere{}, Data: &answers{tables: 1}})
			v = &town{people: &crowd{}}
			h = a.PublicHandler(Public{People: v.people})
		}
		target, err := url.Parse(path)
		if err != nil || strings.Contains(query, "follow") || strings.Contains(query, "wait") {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		req := (&http.Request{Method: methods[int(n)%len(methods)], URL: &url.URL{Path: "/" + strings.TrimLeft(target.Path, "/"), RawQuery: query}, Host: "127.0.0.1",
			Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Authorization": {"Bearer " + token}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: -1}).WithContext(ctx)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, req)
		judge(t, req, rec.Code, rec.Header(), rec.Body.Bytes())
	})
}
