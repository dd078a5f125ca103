package registry

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"pgregory.net/rapid"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	for in, want := range map[string]time.Duration{
		"120": 2 * time.Minute, " 5 ": 5 * time.Second, "0": time.Second, "99999999999999999999": time.Hour, "7200": time.Hour,
		"Sun, 22 Nov 2026 03:01:30 GMT": 90 * time.Second, "Mon, 23 Nov 2026 03:00:00 GMT": time.Hour,
		"": 0, "-1": 0, "1.5": 0, "soon": 0, "Sun, 22 Nov 2026 02:00:00 GMT": 0, strings.Repeat("1", 65): 0,
	} {
		if got, ok := retryAfter(in, now); got != want || ok != (want > 0) {
			t.Errorf("%q is %v %v, want %v", in, got, ok, want)
		}
	}
	if d := pause(429, "", 0, now); d != time.Minute {
		t.Errorf("a limit that does not say how long: %v", d)
	}
	if d := pause(429, "", 100, now); d != 15*time.Minute {
		t.Errorf("the hundredth: %v", d)
	}
	if pause(503, "", 3, now) != 0 || pause(500, "60", 0, now) != 0 {
		t.Error("a failure became a limit")
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "Sun, 22 Nov 2026 03:01:30 GMT", "", "-1", "0x10", "9999999999999999999999"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := retryAfter(s, now)
		if ok != (d > 0) || (ok && (d < pauseLeast || d > pauseMost)) {
			t.Errorf("%q is %v %v", s, d, ok)
		}
	})
}

func TestNextPage(t *testing.T) {
	for in, want := range map[string]string{
		`</v2/app/tags/list?last=b&n=2>; rel="next"`:               "last=b&n=2",
		`<https://evil.example/x?last=b>; rel=next`:                "last=b",
		`</a?x=1>; rel="prev", </b?last=c>; title="x"; rel="next"`: "last=c",
		`</v2/app/tags/list?last=b>; rel="prev"`:                   "",
		``:                                                         "",
		`rel="next"`:                                               "",
		`</x`:                                                      "",
		`<` + strings.Repeat("a", 5000) + `?last=b>; rel="next"`:        "",
		`</v2/app/tags/list?last=` + "\r\nHost: evil" + `>; rel="next"`: "",
		`</v2/app/tags/list?last=a%26b%20%23>; rel="next"`:              "last=a%26b+%23",
	} {
		if got := nextPage(in); got != want {
			t.Errorf("%.60q is %q, want %q", in, got, want)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{`</v2/app/tags/list?last=b&n=2>; rel="next"`, `</a>; rel="prev", </b?last=c>; rel="next"`, "<", "<>,<>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q := nextPage(s)
		if strings.ContainsAny(q, " \r\n#?/") {
			t.Errorf("%q has the query %q", s, q)
		}
		if _, err := http.NewRequest(http.MethodGet, "https://h/v2/app/tags/list?"+q, nil); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("Authorization: Bearer abcdef123456", "abcdef")
	f.Add("x s3cret \x00\n y", "s3cret")
	f.Fuzz(func(t *testing.T, text, secret string) {
		got := clean(text, []string{secret})
		if strings.ContainsAny(got, "\n\r\x00\x1b") || len([]rune(got)) > 201 {
			t.Errorf("%q became %q", text, got)
		}
	})
}

func TestPick(t *testing.T) {
	list := func(all ...string) (ds []v1.Descriptor) {
		for i, s := range all {
			p := append(strings.Split(s, "/"), "", "")
			ds = append(ds, v1.Descriptor{Size: int64(i), Platform: &v1.Platform{OS: p[0], Architecture: p[1], Variant: p[2]}})
		}
		return append(ds, v1.Descriptor{Size: 99}) // says no platform
	}
	for _, tt := range []struct {
		in   []string
		want string
		at   int64
	}{
		{[]string{"linux/arm64/v8", "linux/amd64"}, "linux/amd64", 1},
		{[]string{"linux/arm64", "linux/amd64"}, "linux/arm64/v8", 0},
		{[]string{"linux/arm64/v8", "linux/amd64"}, "linux/arm64", 0},
		{[]string{"linux/amd64/v3", "linux/amd64"}, "linux/amd64", 1},
		{[]string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v3"}, "linux/amd64/v2", 1},
		{[]string{"linux/arm/v5", "linux/arm/v7", "linux/arm/v6"}, "linux/arm/v6", 2},
		{[]string{"linux/arm/v6", "linux/arm/v7"}, "linux/arm", 1},
		{[]string{"windows/amd64"}, "linux/amd64", -1},
		{[]string{"unknown/unknown"}, "unknown/unknown", -1},
		{nil, "linux/amd64", -1},
	} {
		best, there := pick(list(tt.in...), tt.want)
		if (best == nil) != (tt.at < 0) || (best != nil && best.Size != tt.at) || len(there) == 0 {
			t.Errorf("%s in %v is %+v (%v)", tt.want, tt.in, best, there)
		}
	}
}

func TestRunsOn(t *testing.T) {
	for _, tt := range []struct {
		os, arch, variant, platform string
		want                        bool
	}{
		{"linux", "amd64", "", "linux/amd64", true},
		{"linux", "x86_64", "", "linux/amd64", true},
		{"linux", "amd64", "v3", "linux/amd64", false},
		{"linux", "amd64", "v2", "linux/amd64/v3", true},
		{"linux", "arm64", "", "linux/amd64", false},
		{"windows", "amd64", "", "linux/amd64", false},
		{"linux", "arm64", "v8", "linux/arm64", true},
		{"linux", "arm64", "", "linux/arm64/v8", true},
		{"linux", "aarch64", "", "linux/arm64", true},
		{"linux", "arm", "v6", "linux/arm/v7", true},
		{"linux", "arm", "v5", "linux/arm/v7", true},
		{"linux", "arm", "v7", "linux/arm/v6", false},
		{"linux", "armhf", "", "linux/arm/v6", false},
		{"linux", "arm", "", "linux/arm/v6", true},
		{"linux", "arm", "v7", "linux/arm", true},
		{"linux", "arm", "v7", "linux/arm64", false},
		{"linux", "386", "", "linux/amd64", false},
		{"", "", "", "linux/amd64", true},
		{"linux", "", "", "linux/arm64", true},
	} {
		if got := runsOn(tt.os, tt.arch, tt.variant, tt.platform); got != tt.want {
			t.Errorf("%s/%s/%s on %s: %t", tt.os, tt.arch, tt.variant, tt.platform, got)
		}
	}
}

func TestMirrored(t *testing.T) {
	repo, err := name.NewRepository("nginx")
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"https://mirror.example":             "mirror.example/library/nginx",
		"https://mirror.example:5000/hub/x/": "mirror.example:5000/hub/x/library/nginx",
		"http://127.0.0.1:5000":              "127.0.0.1:5000/library/nginx",
		"mirror.example":                     "",
		"ftp://mirror.example":               "",
		"https://user:pw@mirror.example":     "",
		"https://mirror.example/?x":          "",
		"https://mirror":                     "",
		"https://":                           "",
	} {
		got, err := mirrored(in, repo)
		if (err == nil) != (want != "") || (err == nil && got.Name() != want) {
			t.Errorf("%q is %q, %v", in, got.Name(), err)
		} else if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("a password is in %q", err)
		}
	}
}

func TestWrittenRepository(t *testing.T) {
	for in, want := range map[string]string{
		"nginx": "nginx", "nginx:1": "nginx", "localhost:5000/a/b": "localhost:5000/a/b", "localhost:5000/a/b:t": "localhost:5000/a/b",
		"ghcr.io/a/b:t@sha256:ab": "ghcr.io/a/b", "a@sha256:ab": "a",
	} {
		if got := writtenRepository(in); got != want {
			t.Errorf("%q is %q", in, got)
		}
	}
}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(-5, 1_000_000).Draw(t, "fails")
		if d := backoff(n); d < backoffFirst*3/4 || d > backoffMost {
			t.Fatalf("after %d failures %v", n, d)
		}
		every := time.Duration(rapid.Int64Range(1, int64(maxEvery)).Draw(t, "every"))
		if d := shorten(every); d > every || d < every*9/10-1 {
			t.Fatalf("%v became %v", every, d)
		}
	})
}

func TestSimilar(t *testing.T) {
	got := similar("stabel", []string{"latest", "stable-2026.04.3", "sha-1234567", "stable", "dev"})
	if len(got) != 3 || got[0] != "stable" {
		t.Errorf("similar %q", got)
	}
	if got := similar("stable-2026", []string{"stable-2026.04.3", "stable-2026.04.11", "dev", "x"}); got[0] != "stable-2026.04.11" {
		t.Errorf("similar %q", got)
	}
}
