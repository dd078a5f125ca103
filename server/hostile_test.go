package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
)

// attacker makes requests from the document: every operation with what fits,
// and with what does not.
type attacker struct {
	doc   *openapi3.T
	calls []attacked
	r     *rand.Rand
}

type attacked struct {
	method, path string
	op           *openapi3.Operation
}

func newAttacker(doc *openapi3.T, seed uint64) *attacker {
	f := &attacker{doc: doc, r: rand.New(rand.NewPCG(seed, 7))}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		operations := doc.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			f.calls = append(f.calls, attacked{method, path, operations[method]})
		}
	}
	return f
}

func (f *attacker) pick(list ...string) string { return list[f.r.IntN(len(list))] }

// odd are strings that break what is careless.
func (f *attacker) odd() string {
	return f.pick("", "acme", "web", "nope", "..", "../../etc/passwd", "%2e%2e%2f", "a/b", "\x00", "\xff\xfe", "é", "💥", "' OR 1=1 --", "{name}", "${HOME}", "-1", "0",
		"9223372036854775808", "1e309", "NaN", "true", "null", "[]", strings.Repeat("A", 129), strings.Repeat("é", 5000), " acme ", "acme\r\nX-Evil: 1", "2026-11-23T00:00:00Z", ".", "~", "*")
}

// value is JSON for a schema, or for none at all.
func (f *attacker) value(s *openapi3.Schema, depth int) any {
	if s == nil || depth > 4 || f.r.IntN(9) == 0 {
		return []any{nil, true, -1, 1e300, 0.5, f.odd(), []any{}, []any{nil, 1}, map[string]any{}, map[string]any{"a": map[string]any{"b": []any{1}}}}[f.r.IntN(10)]
	}
	switch {
	case s.Type.Includes("object"):
		m := map[string]any{}
		for name, p := range s.Properties {
			if slices.Contains(s.Required, name) || f.r.IntN(2) == 0 {
				m[name] = f.value(p.Value, depth+1)
			}
		}
		if f.r.IntN(8) == 0 {
			m[f.odd()] = f.odd()
		}
		return m
	case s.Type.Includes("array"):
		list := []any{}
		for range f.r.IntN(4) {
			list = append(list, f.value(s.Items.Value, depth+1))
		}
		return list
	case s.Type.Includes("boolean"):
		return f.r.IntN(2) == 0
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		return []any{0, 1, 2, -1, 1 << 40, 1.5}[f.r.IntN(6)]
	}
	if len(s.Enum) > 0 {
		return s.Enum[f.r.IntN(len(s.Enum))]
	}
	return f.odd()
}

// body is what is sent: JSON that fits, JSON that does not, or none.
func (f *attacker) body(op *openapi3.Operation) string {
	switch f.r.IntN(16) {
	case 0:
		return ""
	case 1:
		return f.pick("null", "[]", "1", `"x"`, "{", "{}{}", `{"a":1,"a":2}`, "\xff", `{"sql":1e999}`, "{\"a\":\"\\ud800\"}", " ")
	case 2:
		return strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	case 3:
		return `{"reason":"` + strings.Repeat("x", 70<<10) + `"}`
	}
	var schema *openapi3.Schema
	if op.RequestBody != nil {
		if media := op.RequestBody.Value.Content.Get("application/json"); media != nil && media.Schema != nil {
			schema = media.Schema.Value
		}
	}
	body, err := json.Marshal(f.value(schema, 0))
	if err != nil {
		return "{}"
	}
	return string(body)
}

func (f *attacker) target(c attacked) string {
	segments := strings.Split(c.path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") {
			segments[i] = url.PathEscape(f.pick("acme", "acme", "acme", "acme", f.odd()))
		}
	}
	query := url.Values{}
	for _, p := range c.op.Parameters {
		if p.Value.In == "query" && p.Value.Name != "follow" && (p.Value.Required || f.r.IntN(2) == 0) && p.Value.Name != "wait" {
			query.Add(p.Value.Name, f.pick("1", "acme", "web", f.odd()))
		}
	}
	if f.r.IntN(10) == 0 {
		query.Set(f.odd(), f.odd())
	}
	return strings.Join(segments, "/") + f.pick("", "", "", "", "", "", "", "", "", "", "", "", "/", "//", "/..", "/.") + "?" + query.Encode()
}

// request is one attack; nil when it is no request at all.
func (f *attacker) request(ctx context.Context, base string) (*http.Request, attacked) {
	c := f.calls[f.r.IntN(len(f.calls))]
	method := c.method
	if f.r.IntN(15) == 0 {
		method = f.pick("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
	}
	req, err := http.NewRequestWithContext(ctx, method, base+f.target(c), strings.NewReader(f.body(c.op)))
	if err != nil {
		return nil, c
	}
	if token := f.pick("", "stale", "viewer", "analyst", "admin", "admin", "admin", "admin", "admin", "admin", "admin+read"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for name, values := range map[string][]string{
		"Accept": {"*/*", "application/json", "application/x-ndjson", "text/csv", "text/html;q=9", ";;;", "application/vnd.apache.arrow.stream"},
		"Content-Type": {"", "", "", "", "", "application/json", "application/json", "application/json", "application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded",
			"multipart/form-data; boundary=x", "a+b/c;d", ";+", "application/cbor"},
		"Idempotency-Key": {"", "", "", "k1", "k2", "with space"},
		"Origin":          {"", "", "", "https://evil.example.com", "null"},
		"X-Forwarded-For": {"", "", "1.2.3.4, x", ","},
		"Content-Length":  {""},
	} {
		if v := f.pick(values...); v != "" {
			req.Header.Set(name, v)
		}
	}
	return req, c
}

// judge holds an answer against what must be so whatever was asked.
func judge(t testing.TB, op *openapi3.Operation, req *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	what := fmt.Sprintf("%s %s as %q", req.Method, clipped(req.URL.String()), req.Header.Get("Authorization"))
	if status >= 500 && status != http.StatusServiceUnavailable {
		t.Errorf("%s: %d %.400s", what, status, body)
	}
	if header.Get("Content-Security-Policy") == "" || header.Get("X-Content-Type-Options") != "nosniff" || header.Get("X-Evil") != "" {
		t.Errorf("%s: headers %v", what, header)
	}
	if status < 400 || !isCall(req.URL.Path) || req.Method == http.MethodHead || strings.HasPrefix(req.URL.Path, "/readyz") {
		return
	}
	var e struct{ Detail, Hint string }
	if err := json.Unmarshal(body, &e); err != nil || e.Detail == "" || e.Hint == "" || header.Get("Content-Type") != "application/json" {
		t.Errorf("%s: %d without a detail or a hint: %.300s %s", what, status, body, op.OperationID)
	}
	if strings.Contains(e.Detail, strings.Repeat("A", 200)) {
		t.Errorf("%s: %d says all that was sent: %.300s", what, status, body)
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
	if cfg.Auth, err = auth.NewStore(auth.Options{DB: db, Key: bytes.Repeat([]byte("k"), auth.MinKey), Cost: auth.Cost{Memory: 8, Time: 1, Threads: 1}}); err != nil {
		t.Fatal(err)
	}
	cfg.Data = &answers{tables: 1}
	v.api = NewAPI(cfg)
	return v, v.api.PublicHandler(Public{People: v.people})
}

// TestHostileRequests asks every operation a number of times in ways that it
// does not expect, over a real listener.
func TestHostileRequests(t *testing.T) {
	v, h := hostileTown(t)
	s := httptest.NewServer(h)
	defer s.Close()
	f := newAttacker(loadDocument(t, v.api), 20261123)
	seen, statuses := map[string]int{}, map[int]int{}
	for range 1500 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		req, c := f.request(ctx, s.URL)
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
		seen[c.op.OperationID]++
		statuses[resp.StatusCode]++
		judge(t, c.op, req, resp.StatusCode, resp.Header, body)
	}
	if len(seen) != len(f.calls) || statuses[200] < 50 || statuses[422] < 50 {
		t.Errorf("%d of %d operations were asked; %v", len(seen), len(f.calls), statuses)
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
		judge(t, &openapi3.Operation{}, req, rec.Code, rec.Header(), rec.Body.Bytes())
	})
}
