package desired

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// written is a random instance.yaml that is right: its lines, and those of
// them that a mutation may change.
type written struct {
	name     string
	timeout  Duration
	lines    []string
	keys     []int // lines KEY: VALUE
	freeKeys []int // of them, those where any key would do
}

func (w *written) add(line string, args ...any) {
	w.keys = append(w.keys, len(w.lines))
	w.lines = append(w.lines, fmt.Sprintf(line, args...))
}

func drawInstance(r *rapid.T) *written {
	w := &written{name: rapid.StringMatching(`[a-z][a-z0-9-]{0,38}`).Draw(r, "name")}
	w.timeout = Duration(rapid.Int64Range(int64(time.Second), int64(24*time.Hour)).Draw(r, "timeout"))
	text := func(pattern string) string { return rapid.StringMatching(pattern).Draw(r, pattern) }
	number := func(from, to int) int { return rapid.IntRange(from, to).Draw(r, "number") }
	sections := []func(){
		func() { w.add("apiVersion: fairlead/v1"); w.add("name: %q", w.name) },
		func() {
			w.lines = append(w.lines, "health:")
			w.add("  timeout: %s", w.timeout)
			w.add("  bake: %ds", number(0, 1000))
		},
		func() {
			w.lines = append(w.lines, "suspend:")
			w.add("  reason: %q", text(`[a-z][a-z "#:]{0,20}[a-z]`))
			w.add("  until: 20%02d-%02d-01T%02d:00:00Z", number(0, 99), number(1, 12), number(0, 23))
		},
		func() { w.add("allowEmpty: %v", rapid.Bool().Draw(r, "empty")) },
		func() {
			w.lines = append(w.lines, "release: # pinned")
			w.add("  image: %q", text(`([a-z0-9]{1,9}\.[a-z]{2,3}/)?[a-z0-9]{1,9}(/[a-z0-9]{1,9}){0,2}`))
			w.add("  version: %04d.%02d.%d", number(2000, 2999), number(1, 12), number(1, 99999))
			w.add("  digest: %q", "sha256:"+text(`[0-9a-f]{64}`))
		},
		func() {
			w.lines = append(w.lines, "compose:")
			w.add("  files: [%q, %q]", text(`(\.\./){0,2}[a-z]{1,9}\.yaml`), "z/"+text(`[a-z]{1,9}\.yml`))
			w.add("  profiles: [%q]", text(`[a-zA-Z0-9][a-zA-Z0-9_.-]{1,9}`))
			w.lines = append(w.lines, "  env:")
			w.freeKeys = append(w.freeKeys, len(w.lines))
			w.add("    %s: %q", text(`[A-Z_][A-Z0-9_]{0,9}`), text(`[a-zA-Z0-9 #:{}$&*-]{0,20}`))
		},
		func() {
			w.lines = append(w.lines, "upgrade:")
			w.add("  every: %dm", number(1, 1000))
			w.add("  window: %q", fmt.Sprintf("Mon-%s 0%d:00-1%d:30 Europe/Prague", text(`Tue|Fri|Sun`), number(0, 9), number(0, 9)))
			w.add("  minAge: %dm", number(0, 1000))
			w.add("  locks: [%q]", text(`[a-z]{1,9}(:/)[a-z]{1,9}(/[a-z0-9]{1,9}){0,3}`))
			w.add("  rollback: %s", text(`auto|notify|off`))
		},
		func() {
			w.lines = append(w.lines, "certificates:", "  web:")
			w.add("    domains: [%q]", text(`(\*\.)?[a-z0-9]{1,9}(\.[a-z]{2,9}){1,3}`))
			w.add("    fullchain: %q", text(`(gs|https|s3|vault)://[a-z]{3,9}(/[a-z]{1,9}){1,3}|sm://[a-z]{6,9}/[a-zA-Z0-9_-]{1,20}(@[0-9]{1,3})?|env://[A-Z]{1,9}|file:(//)(/[a-z]{1,9}){1,4}`))
			w.add("    every: %dd", number(1, 366))
			w.add("    fallback: %s", text(`self-signed`))
			w.lines = append(w.lines, "    csr:")
			w.add("      subject: %q", "/"+text(`(O|OU|CN|L)=[a-zA-Z0-9 .]{1,20}(/(O|OU|CN|L)=[a-z]{1,9}|\\+UID=[0-9]{1,9}){0,2}`))
			w.add("      key: %s", text(`rsa2048|p256|ed25519`))
			w.lines = append(w.lines, "    deliver:", "      - dir: /srv/tls")
			w.add("        owner: \"%d:%d\"", number(0, 70000), number(0, 70000))
			w.add("        mode: %q", text(`0600|0640|0440|0400`))
			w.lines = append(w.lines, "    reload:", "      - service: app")
			w.add("        signal: %s", text(`SIGHUP|SIGUSR1`))
			w.add("        prove: %q", text(`([a-z]{1,9}|192\.0\.2\.1)?:[1-9][0-9]{1,3}`))
			w.add("        within: %ds", number(1, 30))
			w.lines = append(w.lines, "  public:", "    domains: [www.acme.com]", "    acme:")
			w.add("      email: %q", text(`[a-z]{1,9}@[a-z]{1,9}`))
			w.add("      profile: %q", text(`[a-z]{1,9}`))
			w.lines = append(w.lines, "      dns:", "        provider: cloudflare", "        with: {api_token: '${secret:TOKEN}'}")
			w.add("        ttl: %dm", number(1, 1440))
			w.add("        delegate: %q", text(`_?[a-z]{1,9}(\.[a-z]{1,9}){1,3}`))
		},
		func() {
			w.lines = append(w.lines, "smoke:", "  - name: health")
			w.add("    get: %q", text(`(/[a-z0-9]{1,9}){1,4}`))
			w.add("    wait: %ds", number(0, 600))
			w.add("    retries: %d", number(0, 20))
			w.lines = append(w.lines, "    headers:")
			w.freeKeys = append(w.freeKeys, len(w.lines))
			w.add("      %s: %q", text(`X-[A-Za-z]{1,9}`), text(`[a-zA-Z0-9 #:{}&*-]{1,20}`))
		},
		func() {
			w.lines = append(w.lines, "front:", "  - host: a.example.com")
			w.add("    to: %q", text(`[a-z]{1,9}(:8)[0-9]{1,3}`))
			w.add("    hsts: %d", number(0, 31536000))
			w.add("    drain: %ds", number(0, 3600))
			w.add("    hold: %ds", number(0, 3600))
		},
		func() { w.lines = append(w.lines, "retain:"); w.add("  generations: %d", number(1, 1000)) },
	}
	for i, s := range rapid.Permutation(sections).Draw(r, "order") {
		if i%3 == 0 {
			w.lines = append(w.lines, "", "# a comment: with a colon")
		}
		s()
	}
	return w
}

func (w *written) text() []byte { return []byte(strings.Join(w.lines, "\n") + "\n") }

func TestValidInstancesAreRead(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := drawInstance(r)
		got, err := ParseInstance("i", w.text())
		if err != nil {
			r.Fatalf("%v\n%s", err, w.text())
		}
		if got.Name != w.name || *got.Health.Timeout != w.timeout || len(got.Certificates) != 2 || len(got.Compose.Env) != 1 {
			r.Fatalf("got %+v\n%s", got, w.text())
		}
	})
}

func TestMutationsAreReportedAtTheirLine(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := drawInstance(r)
		at := rapid.SampledFrom(w.keys).Draw(r, "line")
		key, value, _ := strings.Cut(w.lines[at], ":")
		line := at + 1
		switch how := rapid.IntRange(0, 3).Draw(r, "mutation"); {
		case how == 0 && !slices.Contains(w.freeKeys, at):
			w.lines[at] = key + "zz:" + value
		case how == 1:
			w.lines = slices.Insert(w.lines, at+1, w.lines[at])
			line++
		case how == 2:
			w.lines[at] = key + ": [[1]]"
		default:
			w.lines[at] = key + ":"
		}
		_, err := ParseInstance("i", w.text())
		var problems Problems
		if !errors.As(err, &problems) || !slices.ContainsFunc(problems, func(p Problem) bool { return p.Line == line }) {
			r.Fatalf("nothing at line %d: %v\n%s", line, err, w.text())
		}
	})
}

func FuzzParseInstance(f *testing.F) {
	files, err := os.ReadDir("testdata/problems")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range files {
		data, err := os.ReadFile("testdata/problems/" + e.Name())
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	example, err := os.ReadFile("testdata/spec-example.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ParseInstance("i", data)
		if err == nil && (got.APIVersion != "fairlead/v1" || syntaxes["name"].text(got.Name) != "") {
			t.Errorf("taken: %+v", got)
		}
		var problems Problems
		if err != nil && !errors.As(err, &problems) {
			t.Errorf("not problems: %v", err)
		}
		lines := 1 + strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + strings.Count(string(data), "\u0085") +
			strings.Count(string(data), "\u2028") + strings.Count(string(data), "\u2029")
		for _, p := range problems {
			if len(data) <= maxBytes && (p.Line < 1 || p.Line > lines) || p.Text == "" || strings.ContainsAny(p.String(), "\n\r") {
				t.Errorf("%+v with %d lines", p, lines)
			}
		}
	})
}

func FuzzParseWindow(f *testing.F) {
	for _, s := range []string{windowExample, "02:00-05:00", "Sat-Mon,Wed 22:00-24:00 UTC"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWindow(s)
		if err == nil && (w.Zone == nil || len(w.Days) == 0 || w.Start == w.End || w.Start < 0 || w.Start >= 1440 || w.End > 1440 || w.String() != s) {
			t.Errorf("%q: %+v", s, w)
		}
	})
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1d12h", "90s", "106751d24h", "1.5h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		again, err := ParseDuration(d.String())
		if d < 0 || err != nil || again != d {
			t.Errorf("%q is %v, which reads as %v, %v", s, d, again, err)
		}
		if g, err := time.ParseDuration(s); err == nil && Duration(g) != d {
			t.Errorf("%q is %v, Go says %v", s, d, g)
		}
	})
}

func FuzzParseImageRef(f *testing.F) {
	for _, s := range []string{"redis", "127.0.0.1:5000/a/b:c", "a@sha256:" + hex64} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := ParseImageRef(s)
		if err == nil && (ref.String() != s || ref.Repository == "" || !strings.Contains(CanonicalRepository(ref.Repository), "/")) {
			t.Errorf("%q: %+v", s, ref)
		}
	})
}

// CalVer is a pattern; what it lets through must be a month and a number.
func FuzzVersion(f *testing.F) {
	f.Add("2026.04.3")
	f.Fuzz(func(t *testing.T, s string) {
		if syntaxes["version"].text(s) != "" {
			return
		}
		var year, month, n int
		if c, err := fmt.Sscanf(s, "%4d.%2d.%d", &year, &month, &n); c != 3 || err != nil || month < 1 || month > 12 || n < 1 || fmt.Sprintf("%04d.%02d.%d", year, month, n) != s {
			t.Errorf("%q: %d %d %d, %v", s, year, month, n, err)
		}
	})
}
