package verify

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testVariables(saved map[string]string) *variables {
	return &variables{saved: saved, mask: newMask(), secret: func(name string) (string, bool) {
		return "s3cret/of " + name, name == "PASSWORD"
	}}
}

func TestFill(t *testing.T) {
	v := testVariables(map[string]string{"id": "a/b?c", "n": "7", "empty": "", "tricky": "${id}"})
	tests := []struct{ text, want, wrong string }{
		{"plain $ {x} $x", "plain $ {x} $x", ""},
		{"${n}", "7", ""}, {"<${n}${n}>", "<77>", ""}, {"${empty}", "", ""},
		{"${tricky}", "${id}", ""}, // what is put in is not looked at again
		{"$${n}", "${n}", ""}, {"$$${n}", "$${n}", ""}, {"a$${", "a${", ""},
		{"${secret:PASSWORD}", "s3cret/of PASSWORD", ""},
		{"${secret:OTHER}", "", "secret OTHER is not set"},
		{"${later}", "", `no step before has saved "later"`},
		{"${n", "", "no }"}, {"${}", "", "not a variable"}, {"${a b}", "", "not a variable"}, {"${n:-1}", "", "not a variable"},
	}
	for _, tt := range tests {
		got, err := v.fill(tt.text, nil)
		if got != tt.want || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%q: %q, %v; want %q, %q", tt.text, got, err, tt.want, tt.wrong)
		}
	}
	if hidden := v.mask.text("it was s3cret/of PASSWORD or s3cret%2Fof%20PASSWORD or s3cret%2Fof+PASSWORD"); strings.Contains(hidden, "s3cret") {
		t.Errorf("shown: %s", hidden)
	}
}

func TestFillPath(t *testing.T) {
	v := testVariables(map[string]string{"id": "a/b?c=#", "up": "..", "dot": ".", "q": "x&y=z"})
	for text, want := range map[string]string{
		"/things/${id}":       "/things/a%2Fb%3Fc=%23",
		"/${up}/${up}/admin":  "/%2E%2E/%2E%2E/admin",
		"/${dot}/x":           "/%2E/x",
		"/s?q=${q}&r=${id}":   "/s?q=x%26y%3Dz&r=a%2Fb%3Fc%3D%23",
		"/plain?keep=%20&a=b": "/plain?keep=%20&a=b",
	} {
		if got, err := v.path(text); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", text, got, err, want)
		}
	}
}

// TestPathStaysInPlace: whatever an answer gave, a saved value is one segment or
// one parameter.
func TestPathStaysInPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.String().Draw(t, "value")
		v := testVariables(map[string]string{"v": value})
		path, err := v.path("/a/${v}/b?p=${v}&q=1")
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse("http://h" + path)
		if err != nil {
			t.Fatal(err)
		}
		if u.Host != "h" || u.Fragment != "" || strings.Count(u.EscapedPath(), "/") != 3 || strings.Contains(u.EscapedPath(), "/../") {
			t.Fatalf("%q leaves its segment: %s", value, path)
		}
		if q := u.Query(); len(q) != 2 || q.Get("p") != value || q.Get("q") != "1" {
			t.Fatalf("%q leaves its parameter: %s", value, path)
		}
	})
}

func TestFillBody(t *testing.T) {
	v := testVariables(map[string]string{"n": "7"})
	got, err := v.body(map[string]any{"${n}": []any{"${n}!", 7, nil, true}, "deep": map[string]any{"x": "${n}"}})
	text, _ := compact(got)
	if err != nil || text != `{"${n}":["7!",7,null,true],"deep":{"x":"7"}}` {
		t.Errorf("%s, %v", text, err)
	}
	for _, bad := range []any{"${x}", []any{"${x}"}, map[string]any{"a": "${x}"}} {
		if _, err := v.body(bad); err == nil {
			t.Errorf("%v is filled", bad)
		}
	}
}

func FuzzFill(f *testing.F) {
	for _, seed := range []string{"", "${n}", "$${n}", "${secret:PASSWORD}", "${", "$$${n}", "${secret:}", "a${n}b${"} {
		f.Add(seed, "value")
	}
	f.Add("${n}", "${n}")
	f.Fuzz(func(t *testing.T, text, value string) {
		v := testVariables(map[string]string{"n": value})
		got, err := v.fill(text, nil)
		if err != nil {
			return
		}
		if !strings.Contains(text, "${") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
		again, err := v.fill(strings.ReplaceAll(text, "${n}", "${n}"), nil)
		if err != nil || again != got {
			t.Fatalf("%q: once %q, then %q", text, got, again)
		}
		if escaped, err := v.fill(strings.ReplaceAll(got, "${", "$${"), nil); err != nil || escaped != got {
			t.Fatalf("%q does not survive escaping: %q, %v", got, escaped, err)
		}
	})
}
