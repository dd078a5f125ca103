package hostile

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// Call is an operation of the document.
type Call struct {
	Method, Path string
	Op           *openapi3.Operation
}

// Known is what there is, so that requests get past the door.
type Known struct {
	// Tokens go into Authorization: Bearer; one is picked each time, and an empty
	// one sends no header. The more often one is in it the more often it comes.
	Tokens []string
	// Values are those of a parameter that name something; nil: Names.
	Values func(c Call, parameter string) []string
	// Names are values of parameters of which nothing else is known.
	Names []string
	// Body is one that an operation takes; empty: it is made from the schema.
	Body func(c Call) string
}

// Attacker makes requests. The same seed makes the same ones.
type Attacker struct {
	Calls []Call
	known Known
	r     *rand.Rand
}

// New makes an attacker of the operations of doc.
func New(doc *openapi3.T, known Known, seed uint64) *Attacker {
	a := &Attacker{known: known, r: rand.New(rand.NewPCG(seed, 7))}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths.Map())) {
		operations := doc.Paths.Value(path).Operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			a.Calls = append(a.Calls, Call{method, path, operations[method]})
		}
	}
	return a
}

// Any picks an operation.
func (a *Attacker) Any() Call { return a.Calls[a.r.IntN(len(a.Calls))] }

func (a *Attacker) pick(list ...string) string { return list[a.r.IntN(len(list))] }

// odd are strings that break what is careless.
func (a *Attacker) odd() string {
	return a.pick("", "acme", "web", "nope", "..", "../../etc/passwd", "%2e%2e%2f", "a/b", "\x00", "\xff\xfe", "é", "💥", "' OR 1=1 --", "{name}", "${HOME}", "-1", "0",
		"9223372036854775808", "1e309", "NaN", "true", "null", "[]", strings.Repeat("A", 129), strings.Repeat("é", 1500), " acme ", "acme\r\nX-Evil: 1", "2026-11-23T00:00:00Z", ".", "~", "*")
}

// value is JSON for a schema, or for none at all.
func (a *Attacker) value(s *openapi3.Schema, depth int) any {
	if s == nil || depth > 4 || a.r.IntN(9) == 0 {
		return []any{nil, true, -1, 1e300, 0.5, a.odd(), []any{}, []any{nil, 1}, map[string]any{}, map[string]any{"a": map[string]any{"b": []any{1}}}}[a.r.IntN(10)]
	}
	switch {
	case s.Type.Includes("object"):
		return a.object(s, depth)
	case s.Type.Includes("array"):
		list := []any{}
		for range a.r.IntN(4) {
			list = append(list, a.value(s.Items.Value, depth+1))
		}
		return list
	case s.Type.Includes("boolean"):
		return a.r.IntN(2) == 0
	case s.Type.Includes("integer"), s.Type.Includes("number"):
		return []any{0, 1, 2, -1, 1 << 40, 1.5}[a.r.IntN(6)]
	}
	if len(s.Enum) > 0 {
		return s.Enum[a.r.IntN(len(s.Enum))]
	}
	return a.odd()
}

func (a *Attacker) object(s *openapi3.Schema, depth int) map[string]any {
	m := map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if slices.Contains(s.Required, name) || a.r.IntN(2) == 0 {
			m[name] = a.value(s.Properties[name].Value, depth+1)
		}
	}
	if a.r.IntN(8) == 0 {
		m[a.odd()] = a.odd()
	}
	return m
}

// bent is a body that fits but for one thing.
func (a *Attacker) bent(good string) string {
	var m map[string]any
	if json.Unmarshal([]byte(good), &m) != nil || len(m) == 0 {
		return good
	}
	keys := slices.Sorted(maps.Keys(m))
	key := keys[a.r.IntN(len(keys))]
	switch a.r.IntN(4) {
	case 0:
		delete(m, key)
	case 1:
		m[a.odd()] = m[key]
	default:
		m[key] = a.value(nil, 0)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return good
	}
	return string(body)
}

// body is what is sent: JSON that fits, JSON that does not, or none.
func (a *Attacker) body(c Call) string {
	switch a.r.IntN(16) {
	case 0:
		return ""
	case 1:
		return a.pick("null", "[]", "1", `"x"`, "{", "{}{}", `{"a":1,"a":2}`, "\xff", `{"sql":1e999}`, "{\"a\":\"\\ud800\"}", " ")
	case 2:
		return strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	case 3:
		return `{"reason":"` + strings.Repeat("x", 70<<10) + `"}`
	}
	if a.known.Body != nil && a.r.IntN(3) > 0 {
		if good := a.known.Body(c); good != "" {
			return a.bent(good)
		}
	}
	var schema *openapi3.Schema
	if c.Op.RequestBody != nil {
		if media := c.Op.RequestBody.Value.Content.Get("application/json"); media != nil && media.Schema != nil {
			schema = media.Schema.Value
		}
	}
	body, err := json.Marshal(a.value(schema, 0))
	if err != nil {
		return "{}"
	}
	return string(body)
}

// named is a value of a parameter: mostly one of something that is there.
func (a *Attacker) named(c Call, parameter string) string {
	list := a.known.Names
	if a.known.Values != nil {
		if known := a.known.Values(c, parameter); len(known) > 0 {
			list = known
		}
	}
	if len(list) > 0 && a.r.IntN(5) > 0 {
		return a.pick(list...)
	}
	return a.odd()
}

func (a *Attacker) target(c Call) string {
	segments := strings.Split(c.Path, "/")
	for i, s := range segments {
		if name, is := strings.CutPrefix(s, "{"); is {
			segments[i] = url.PathEscape(a.named(c, strings.TrimRight(name, ".}")))
		}
	}
	query := url.Values{}
	for _, p := range c.Op.Parameters {
		endless := p.Value.Name == "follow" || p.Value.Name == "wait"
		if p.Value.In == "query" && !endless && (p.Value.Required || a.r.IntN(2) == 0) {
			query.Add(p.Value.Name, a.named(c, p.Value.Name))
		}
	}
	if a.r.IntN(10) == 0 {
		query.Set(a.odd(), a.odd())
	}
	return strings.Join(segments, "/") + a.pick("", "", "", "", "", "", "", "", "", "", "", "", "/", "//", "/..", "/.") + "?" + query.Encode()
}

// Request is one attack on an operation; nil when it is no request at all.
func (a *Attacker) Request(ctx context.Context, base string, c Call) *http.Request {
	method := c.Method
	if a.r.IntN(15) == 0 {
		method = a.pick("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW")
	}
	req, err := http.NewRequestWithContext(ctx, method, base+a.target(c), strings.NewReader(a.body(c)))
	if err != nil {
		return nil
	}
	if token := a.pick(a.known.Tokens...); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for _, h := range []struct {
		name   string
		values []string
	}{
		{"Accept", []string{"*/*", "application/json", "application/x-ndjson", "text/csv", "text/html;q=9", ";;;", "application/vnd.apache.arrow.stream"}},
		{"Content-Type", []string{"", "", "", "", "", "application/json", "application/json", "application/json", "application/json", "application/json; charset=utf-8", "text/plain",
			"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "a+b/c;d", ";+", "application/cbor"}},
		{"Idempotency-Key", []string{"", "", "", "k1", "k2", "with space"}},
		{"Origin", []string{"", "", "", "https://evil.example.com", "null"}},
		{"X-Forwarded-For", []string{"", "", "1.2.3.4, x", ","}},
	} {
		if v := a.pick(h.values...); v != "" {
			req.Header.Set(h.name, v)
		}
	}
	return req
}
