package verify

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func mustDecode(t testing.TB, text string) any {
	t.Helper()
	doc, err := decode([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return doc
}

func TestLookup(t *testing.T) {
	doc := mustDecode(t, `{"a": {"b": [{"c": 1}, null]}, "0": "zero", "list": [[7]], "text": "x"}`)
	tests := []struct {
		field string
		want  string // "" is not there
	}{
		{"a.b.0.c", "1"}, {"a.b.1", "null"}, {"0", `"zero"`}, {"list.0.0", "7"}, {"a.b", `[{"c":1},null]`},
		{"", ""}, {"a.", ""}, {".a", ""}, {"a..b", ""}, {"a.b.2", ""}, {"a.b.-1", ""}, {"a.b.+0", ""}, {"a.b.00", ""}, {"a.b.0x0", ""},
		{"a.b.99999999999999999999", ""}, {"text.0", ""}, {"text.x", ""}, {"a.b.1.c", ""}, {"A", ""},
	}
	for _, tt := range tests {
		value, there := lookup(doc, tt.field)
		got := ""
		if there {
			got, _ = compact(value)
		}
		if got != tt.want {
			t.Errorf("%q: %q, want %q", tt.field, got, tt.want)
		}
	}
}

func TestMatchers(t *testing.T) {
	const doc = `{"s": "healthy", "n": 3, "f": 1.50, "t": true, "nil": null, "rows": [[1]], "none": [], "o": {"a": 1},
		"big": 9007199254740993, "huge": 1e400, "digits": "3"}`
	type m = map[string]any
	tests := []struct {
		field string
		want  any
		ok    bool
		says  string // what is expected, in words
	}{
		{"s", "healthy", true, `"healthy"`}, {"s", "sick", false, `"sick"`}, {"gone", "healthy", false, ""}, {"gone", nil, false, "null"},
		{"n", 3, true, "3"}, {"n", 3.0, true, ""}, {"n", uint64(3), true, ""}, {"n", 4, false, "4"}, {"n", "3", false, `"3"`}, {"digits", 3, false, ""},
		{"f", 1.5, true, "1.5"}, {"t", true, true, "true"}, {"t", "true", false, ""}, {"t", 1, false, ""}, {"nil", nil, true, ""}, {"s", nil, false, ""},
		{"big", 9007199254740993, true, ""}, {"big", 9007199254740992, false, "9007199254740992"}, {"huge", 1, false, ""},
		{"rows", []any{[]any{1}}, true, "[[1]]"}, {"rows", []any{}, false, "[]"}, {"none", []any{}, true, ""},
		{"s", m{"not": "unhealthy"}, true, `not "unhealthy"`}, {"s", m{"not": "healthy"}, false, ""}, {"gone", m{"not": "unhealthy"}, false, ""},
		{"nil", m{"not": "unhealthy"}, true, ""}, {"nil", m{"not": nil}, false, "not null"}, {"o", m{"not": m{"a": 1}}, false, ""}, {"o", m{"not": m{"a": 2}}, true, ""},
		{"rows", m{"minItems": 1}, true, "a list of at least 1"}, {"rows", m{"minItems": 2}, false, ""}, {"none", m{"minItems": 0}, true, ""},
		{"s", m{"minItems": 1}, false, ""}, {"o", m{"minItems": 1}, false, ""}, {"gone", m{"minItems": 0}, false, ""},
		{"nil", m{"exists": true}, true, "there"}, {"gone", m{"exists": true}, false, ""}, {"gone", m{"exists": false}, true, "not there"}, {"s", m{"exists": false}, false, ""},
		{"s", m{"matches": "^heal"}, true, "a text that matches ^heal"}, {"s", m{"matches": "^eal"}, false, ""}, {"n", m{"matches": "^3$"}, true, ""},
		{"t", m{"matches": "true"}, true, ""}, {"rows", m{"matches": "1"}, false, ""}, {"gone", m{"matches": "."}, false, ""},
		{"s", m{"matches": "y$", "not": "sick"}, true, `a text that matches y$ and not "sick"`}, {"s", m{"matches": "y$", "not": "healthy"}, false, ""},
	}
	parsed := mustDecode(t, doc)
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.field, " ", tt.want), func(t *testing.T) {
			value, there := lookup(parsed, tt.field)
			says, ok, err := match(value, there, tt.want, newMask())
			if err != nil || ok != tt.ok || (tt.says != "" && says != tt.says) {
				t.Errorf("%v, %q, %v; want %v, %q", ok, says, err, tt.ok, tt.says)
			}
		})
	}
}

func TestMatchersThatMeanNothing(t *testing.T) {
	for _, want := range []map[string]any{{}, {"maxItems": 1}, {"minItems": -1}, {"minItems": 1.5}, {"minItems": "1"}, {"exists": "yes"}, {"matches": "("}, {"matches": ""}, {"matches": 1}} {
		if _, _, err := match([]any{}, true, want, newMask()); err == nil {
			t.Errorf("%v is taken", want)
		}
	}
}

func TestSameNumber(t *testing.T) {
	equal := [][2]string{{"0", "-0"}, {"0", "0.000"}, {"0e9", "0"}, {"1", "1.0"}, {"1", "1e0"}, {"10", "1e1"}, {"1", "0.1E+1"}, {"0.05", "5e-2"},
		{"1200", "1.2e3"}, {"-7", "-7.00"}, {"1e999999999", "10e999999998"}, {"1e99999999999999999999", "1e99999999999999999999"}}
	different := [][2]string{{"1", "-1"}, {"1", "10"}, {"1e400", "1e401"}, {"9007199254740993", "9007199254740992"}, {"0.1", "0.10000000000000001"}, {"1e99999999999999999999", "2e99999999999999999999"}, {"0.5", "5"}}
	for _, p := range equal {
		if !sameNumber(p[0], p[1]) || !sameNumber(p[1], p[0]) {
			t.Errorf("%s and %s are one number", p[0], p[1])
		}
	}
	for _, p := range different {
		if sameNumber(p[0], p[1]) || sameNumber(p[1], p[0]) {
			t.Errorf("%s and %s are two numbers", p[0], p[1])
		}
	}
}

// TestEqualAgreesWithTheWayThroughJSON: a value is equal to itself once it was
// written and read, and to nothing else that was drawn beside it unless that
// writes the same.
func TestEqualAgreesWithTheWayThroughJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawValue(2).Draw(t, "a"), drawValue(2).Draw(t, "b")
		written := func(v any) any {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := decode(text)
			if err != nil {
				t.Fatal(err)
			}
			return doc
		}
		if !equal(a, written(a)) {
			t.Fatalf("%v is not equal to itself", a)
		}
		if equal(a, written(b)) != equal(b, written(a)) {
			t.Fatalf("%v and %v: not symmetric", a, b)
		}
	})
}

func drawValue(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Int().AsAny(), rapid.IntRange(0, 2).AsAny(), rapid.Uint64().AsAny(), rapid.Bool().AsAny(), rapid.StringMatching(`[a-c]{0,2}`).AsAny(),
		rapid.Float64().Filter(func(f float64) bool { return !math.IsInf(f, 0) && !math.IsNaN(f) }).AsAny(), rapid.Just[any](nil),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	return rapid.OneOf(append(scalars, rapid.SliceOfN(drawValue(depth-1), 0, 3).AsAny(),
		rapid.MapOfN(rapid.StringMatching(`[a-c]`), drawValue(depth-1), 0, 3).AsAny())...)
}

// TestLookupFindsWhatIsThere walks to a drawn place and finds it by its path.
func TestLookupFindsWhatIsThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := any(json.Number(strconv.Itoa(rapid.Int().Draw(t, "value"))))
		doc, path := want, []string{}
		for i := rapid.IntRange(1, 6).Draw(t, "depth"); i > 0; i-- {
			if rapid.Bool().Draw(t, "list") {
				n := rapid.IntRange(0, 3).Draw(t, "index")
				list := make([]any, n+1+rapid.IntRange(0, 2).Draw(t, "more"))
				list[n], path = doc, append([]string{strconv.Itoa(n)}, path...)
				doc = list
				continue
			}
			key := rapid.StringMatching(`[A-Za-z_][A-Za-z0-9_-]{0,5}`).Draw(t, "key")
			doc, path = map[string]any{key: doc}, append([]string{key}, path...)
		}
		if got, there := lookup(doc, strings.Join(path, ".")); !there || got != want {
			t.Fatalf("%v at %v: %v %v", doc, path, got, there)
		}
	})
}

func FuzzLookup(f *testing.F) {
	f.Add(`{"a": [{"b": 1}]}`, "a.0.b")
	f.Add(`[1, 2]`, "1")
	f.Add(`{"": {"": 0}}`, ".")
	f.Add(`{"a": 1e999999999}`, "a")
	f.Fuzz(func(t *testing.T, text, field string) {
		doc, err := decode([]byte(text))
		if err != nil {
			return
		}
		value, there := lookup(doc, field)
		if !there && value != nil {
			t.Fatalf("%q is not there and is %v", field, value)
		}
		if there && !equal(value, value) {
			t.Fatalf("%v is not equal to itself", value)
		}
		if len([]rune(newMask().show(value, there))) > maxExcerpt+2 {
			t.Fatal("what is shown is not bounded")
		}
	})
}
