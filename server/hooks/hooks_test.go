package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const secret = "It's a Secret to Everybody"

func mac(parts ...string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(strings.Join(parts, "")))
	return hex.EncodeToString(m.Sum(nil))
}

// The example of GitHub's documentation.
func TestGitHubsExample(t *testing.T) {
	h := http.Header{"X-Hub-Signature-256": {"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}}
	if err := Verify("github", h, nil, []byte("Hello, World!"), []byte(secret), time.Now()); err != nil {
		t.Error(err)
	}
}

func TestVerify(t *testing.T) {
	now := time.Unix(1_764_000_000, 0)
	const body = `{"ref":"refs/heads/main"}`
	at := strconv.FormatInt(now.Unix(), 10)
	head := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	for what, tt := range map[string]struct {
		provider string
		h        http.Header
		query    string
		ok       bool
	}{
		"github":                            {"github", head("X-Hub-Signature-256", "sha256="+mac(body)), "", true},
		"github in capitals":                {"github", head("X-Hub-Signature-256", "sha256="+strings.ToUpper(mac(body))), "", true},
		"github of another body":            {"github", head("X-Hub-Signature-256", "sha256="+mac("x")), "", false},
		"github without the prefix":         {"github", head("X-Hub-Signature-256", mac(body)), "", false},
		"github by SHA-1":                   {"github", head("X-Hub-Signature", "sha1="+mac(body)), "", false},
		"github by a token":                 {"github", head("Authorization", "Bearer "+secret, "X-Gitlab-Token", secret), "", false},
		"github by the URL":                 {"github", head(), secret, false},
		"github, cut short":                 {"github", head("X-Hub-Signature-256", "sha256="+mac(body)[:32]), "", false},
		"github, empty":                     {"github", head("X-Hub-Signature-256", "sha256="), "", false},
		"gitlab":                            {"gitlab", head("X-Gitlab-Token", secret), "", true},
		"gitlab, wrong":                     {"gitlab", head("X-Gitlab-Token", secret+"x"), "", false},
		"gitlab, empty":                     {"gitlab", head("X-Gitlab-Token", ""), "", false},
		"gitea":                             {"gitea", head("X-Gitea-Signature", mac(body)), "", true},
		"gitea as github":                   {"gitea", head("X-Hub-Signature-256", "sha256="+mac(body)), "", true},
		"gitea, one right and one wrong":    {"gitea", head("X-Gitea-Signature", mac("x"), "X-Hub-Signature-256", "sha256="+mac(body)), "", false},
		"forgejo":                           {"forgejo", head("X-Forgejo-Signature", mac(body)), "", true},
		"bitbucket":                         {"bitbucket", head("X-Hub-Signature", "sha256="+mac(body)), "", true},
		"generic":                           {"generic", head("X-Fairlead-Signature", "sha256="+mac(at, ".", body), "X-Fairlead-Timestamp", at), "", true},
		"generic, long ago":                 {"generic", head("X-Fairlead-Signature", "sha256="+mac("1763990000.", body), "X-Fairlead-Timestamp", "1763990000"), "", false},
		"generic, another time":             {"generic", head("X-Fairlead-Signature", "sha256="+mac("1763990000.", body), "X-Fairlead-Timestamp", at), "", false},
		"generic without a time":            {"generic", head("X-Fairlead-Signature", "sha256="+mac(".", body)), "", false},
		"generic by a token":                {"generic", head("Authorization", "Bearer "+secret), "", true},
		"generic by the URL":                {"generic", head(), secret, false},
		"a registry by a token":             {Registry, head("Authorization", "Bearer "+secret), "", true},
		"a registry by a bare token":        {Registry, head("Authorization", strings.ReplaceAll(secret, " ", "")), "", false},
		"a registry by the URL":             {Registry, head(), secret, true},
		"a registry by a wrong URL":         {Registry, head(), "x", false},
		"a registry, right URL, wrong HMAC": {Registry, head("X-Hub-Signature-256", "sha256="+mac("x")), secret, false},
		"GHCR":                              {Registry, head("X-Hub-Signature-256", "sha256="+mac(body)), "", true},
		"nothing":                           {"generic", head(), "", false},
		"nobody":                            {"gogs", head("X-Gogs-Signature", mac(body)), "", false},
	} {
		query := url.Values{}
		if tt.query != "" {
			query.Set("token", tt.query)
		}
		err := Verify(tt.provider, tt.h, query, []byte(body), []byte(secret), now)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", what, err)
		}
		early := CheckHeaders(tt.provider, tt.h, query)
		if tt.ok && early != nil {
			t.Errorf("%s is turned away early: %v", what, early)
		}
		if err != nil && strings.Contains(err.Error(), "Secret") {
			t.Errorf("%s: the error tells the secret: %v", what, err)
		}
	}
	basic := http.Header{}
	(&http.Request{Header: basic}).SetBasicAuth("anybody", secret)
	if err := Verify(Registry, basic, nil, nil, []byte(secret), now); err != nil {
		t.Errorf("basic: %v", err)
	}
	for _, short := range []string{"", "short"} {
		if Verify("gitlab", head("X-Gitlab-Token", short), nil, nil, []byte(short), now) == nil {
			t.Errorf("the secret %q counts", short)
		}
	}
}

func TestHeadersAreCheckedBeforeTheBody(t *testing.T) {
	signed := "sha256=" + mac("x")
	for what, tt := range map[string]struct {
		provider, kind string
		ok             bool
	}{
		"JSON":              {"github", "application/json", true},
		"with a charset":    {"github", "application/json; charset=utf-8", true},
		"a form":            {"github", "application/x-www-form-urlencoded", true},
		"a form of another": {"forgejo", "application/x-www-form-urlencoded", false},
		"text":              {"github", "text/plain", false},
		"nothing":           {"github", "", true},
		"nonsense":          {"github", "a/b/c;;", false},
		"distribution's":    {Registry, "application/vnd.docker.distribution.events.v1+json", true},
		"a cloud event":     {Registry, "application/cloudevents+json", true},
	} {
		err := CheckHeaders(tt.provider, http.Header{"Content-Type": {tt.kind}, "X-Hub-Signature-256": {signed}}, nil)
		if (err == nil) != tt.ok {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := CheckHeaders("nobody", http.Header{}, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// sample reads a payload of testdata, named after the provider and the event.
func sample(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestGitPayloads(t *testing.T) {
	const fleet = "https://git.acme.com/acme/fleet.git"
	for name, tt := range map[string]struct {
		header  [2]string
		ref     string // that is followed
		nothing string // why it is nothing; empty: it triggers
		ping    bool
	}{
		"github-push":              {[2]string{"X-GitHub-Event", "push"}, "main", "", false},
		"github-push ":             {[2]string{"X-GitHub-Event", "push"}, "production", "production is followed", false},
		"github-push  ":            {[2]string{"X-GitHub-Event", "push"}, "refs/heads/main", "", false},
		"github-push   ":           {[2]string{"X-GitHub-Event", "push"}, "", "", false},
		"github-tag":               {[2]string{"X-GitHub-Event", "create"}, "v2", "", false},
		"github-ping":              {[2]string{"X-GitHub-Event", "ping"}, "main", "", true},
		"github-push    ":          {[2]string{"X-GitHub-Event", "issues"}, "main", "pushes nothing", false},
		"gitlab-push":              {[2]string{"X-Gitlab-Event", "Push Hook"}, "main", "", false},
		"gitlab-tag":               {[2]string{"X-Gitlab-Event", "Tag Push Hook"}, "main", "refs/tags/v2", false},
		"gitea-push":               {[2]string{"X-Gitea-Event", "push"}, "main", "", false},
		"forgejo-push":             {[2]string{"X-Forgejo-Event", "push"}, "main", "", false},
		"forgejo-elsewhere":        {[2]string{"X-Forgejo-Event", "push"}, "main", "which is not followed", false},
		"bitbucket-push":           {[2]string{"X-Event-Key", "repo:push"}, "main", "", false},
		"bitbucket-push ":          {[2]string{"X-Event-Key", "repo:push"}, "old", "", false},
		"bitbucket-push  ":         {[2]string{"X-Event-Key", "repo:push"}, "other", "other is followed", false},
		"bitbucket-server":         {[2]string{"X-Event-Key", "repo:refs_changed"}, "main", "", false},
		"bitbucket-ping":           {[2]string{"X-Event-Key", "diagnostics:ping"}, "main", "", true},
		"generic-push":             {[2]string{}, "main", "", false},
		"generic-empty":            {[2]string{}, "main", "", false},
		"generic-push of a branch": {[2]string{}, "release", "release is followed", false},
	} {
		file := strings.TrimSuffix(strings.TrimSpace(name), " of a branch")
		provider, _, _ := strings.Cut(file, "-")
		h := http.Header{}
		if tt.header[0] != "" {
			h.Set(tt.header[0], tt.header[1])
		}
		d, err := ParseGit(provider, h, sample(t, file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		why := d.Follows(fleet, tt.ref)
		if d.Ping != tt.ping || !tt.ping && (why == "") != (tt.nothing == "") || !strings.Contains(why, tt.nothing) {
			t.Errorf("%s of %s: ping %t, %q", name, tt.ref, d.Ping, why)
		}
	}
}

func TestTheSameRepositoryByAnyURL(t *testing.T) {
	d := Delivery{Refs: []string{"refs/heads/main"}, Repos: []string{"https://git.acme.com/Acme/Fleet.git", "Acme/Fleet"}}
	for repo, same := range map[string]bool{
		"https://git.acme.com/acme/fleet": true, "https://user@git.acme.com/acme/fleet.git/": true, "git@git.acme.com:acme/fleet.git": true,
		"ssh://git@git.acme.com:2222/acme/fleet.git": true, "https://10.0.0.5/acme/fleet": true, "": true,
		"https://git.acme.com/acme/fleet2": false, "https://git.acme.com/acme": false, "https://git.acme.com/x/acme/fleet": false,
	} {
		if why := d.Follows(repo, "main"); (why == "") != same {
			t.Errorf("%s: %q", repo, why)
		}
	}
}

func TestRegistryPayloads(t *testing.T) {
	for name, tt := range map[string]struct {
		event string
		want  []Image
	}{
		"registry-distribution": {"", []Image{{"registry.acme.com:5000", "acme/app", "stable"}}},
		"registry-dockerhub":    {"", []Image{{"docker.io", "acme/app", "stable"}}},
		"registry-ghcr":         {"registry_package", []Image{{"ghcr.io", "acme/app", "stable"}}},
		"registry-harbor":       {"", []Image{{"hub.acme.com", "acme/app", "stable"}}},
		"registry-harborcloud":  {"", []Image{{"hub.acme.com", "acme/app", "stable"}}},
		"registry-quay":         {"", []Image{{"quay.io", "acme/app", "stable"}, {"quay.io", "acme/app", "v2"}}},
		"registry-generic":      {"", []Image{{"ghcr.io", "acme/app", "stable"}}},
		"registry-pull":         {"", nil},
	} {
		h := http.Header{}
		if tt.event != "" {
			h.Set("X-GitHub-Event", tt.event)
		}
		d, err := ParseRegistry(h, sample(t, name))
		if err != nil || !slices.Equal(d.Images, tt.want) {
			t.Errorf("%s: %+v, %v", name, d.Images, err)
		}
	}
	if d, err := ParseRegistry(http.Header{"X-Github-Event": {"ping"}}, []byte(`{"zen":"x"}`)); err != nil || !d.Ping {
		t.Errorf("ping: %+v, %v", d, err)
	}
	if _, err := ParseRegistry(http.Header{}, []byte("[")); err == nil {
		t.Error("nonsense is taken")
	}
}

func TestImagesMatch(t *testing.T) {
	for _, tt := range []struct {
		image, ref string
		same       bool
	}{
		{"ghcr.io/acme/app:stable", "ghcr.io/acme/app:stable", true},
		{"ghcr.io/acme/app", "ghcr.io/acme/app:stable", true},
		{"acme/app:stable", "ghcr.io/acme/app:stable", true}, // the sender does not tell its host
		{"ghcr.io/acme/app:dev", "ghcr.io/acme/app:stable", false},
		{"quay.io/acme/app:stable", "ghcr.io/acme/app:stable", false},
		{"ghcr.io/acme/app2:stable", "ghcr.io/acme/app:stable", false},
		{"docker.io/library/postgres:16", "postgres:16", true},
		{"docker.io/postgres:16", "postgres:16", true},
		{"docker.io/acme/app:x", "acme/app:x", true},
		{"localhost:5000/acme/app:x", "registry.acme.com/acme/app:x", true},
		{"registry.acme.com:5000/app:x", "registry.acme.com:5000/app:x@sha256:" + strings.Repeat("a", 64), true},
	} {
		if got := imageOf(tt.image).Matches(tt.ref); got != tt.same {
			t.Errorf("%s and %s: %t", tt.image, tt.ref, got)
		}
	}
}

func seed(f *testing.F, prefix string) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		if name := strings.TrimSuffix(filepath.Base(file), ".json"); strings.HasPrefix(name, prefix) {
			f.Add(sample(f, name))
		}
	}
}

// check holds for every payload: nothing is longer than its bound.
func check(t *testing.T, d Delivery) {
	if len(d.Refs) > maxOfKind || len(d.Repos) > maxOfKind || len(d.Images) > maxOfKind || len(d.ID) > maxName {
		t.Errorf("%d refs, %d repositories, %d images", len(d.Refs), len(d.Repos), len(d.Images))
	}
	for _, s := range slices.Concat(d.Refs, d.Repos) {
		if len(s) > maxName {
			t.Errorf("a name of %d bytes", len(s))
		}
	}
	d.Follows("https://git.acme.com/acme/fleet.git", "main")
	for _, i := range d.Images {
		i.Matches("ghcr.io/acme/app:stable")
	}
}

func fuzzGit(f *testing.F, provider, event string, headers ...string) {
	seed(f, provider)
	f.Fuzz(func(t *testing.T, body []byte) {
		h := http.Header{}
		for _, name := range headers {
			h.Set(name, event)
		}
		d, err := ParseGit(provider, h, body)
		if err == nil {
			check(t, d)
		}
	})
}

func FuzzGitHub(f *testing.F)    { fuzzGit(f, "github", "push", "X-GitHub-Event", "X-GitHub-Delivery") }
func FuzzGitLab(f *testing.F)    { fuzzGit(f, "gitlab", "Push Hook", "X-Gitlab-Event") }
func FuzzGitea(f *testing.F)     { fuzzGit(f, "gitea", "create", "X-Gitea-Event") }
func FuzzForgejo(f *testing.F)   { fuzzGit(f, "forgejo", "push", "X-Forgejo-Event") }
func FuzzBitbucket(f *testing.F) { fuzzGit(f, "bitbucket", "repo:push", "X-Event-Key") }
func FuzzGeneric(f *testing.F)   { fuzzGit(f, "generic", "") }

func FuzzRegistry(f *testing.F) {
	seed(f, Registry)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, event := range []string{"", "registry_package"} {
			h := http.Header{}
			h.Set("X-GitHub-Event", event)
			if d, err := ParseRegistry(h, body); err == nil {
				check(t, d)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add("github", "X-Hub-Signature-256", "sha256="+mac("x"), "application/json")
	f.Add(Registry, "Authorization", "Basic eDp5", "a/b+json")
	f.Add("generic", "X-Fairlead-Timestamp", "99999999999999999999", "")
	f.Fuzz(func(t *testing.T, provider, name, value, kind string) {
		h := http.Header{"Content-Type": {kind}}
		h.Set(name, value)
		_ = CheckHeaders(provider, h, nil)
		if Verify(provider, h, nil, []byte("x"), []byte(secret), time.Now()) == nil && !strings.Contains(value, mac("x")) && !strings.Contains(value, secret) && !strings.HasPrefix(strings.ToLower(value), "basic ") &&
			!strings.Contains(strings.ToLower(value), mac("x")) {
			t.Errorf("%s: %s: %s is believed", provider, name, value)
		}
	})
}
