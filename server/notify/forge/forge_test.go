package forge

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
)

const (
	sha   = "0123456789abcdef0123456789abcdef01234567"
	token = "tok-0123456789"
)

// fake is the API of a git host: strict about what it is asked, and it remembers.
type fake struct {
	t        *testing.T
	provider string

	mu    sync.Mutex
	set   []string // "context state commit"
	fails []func(http.ResponseWriter)
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.fails) > 0 {
		fail := f.fails[0]
		f.fails = f.fails[1:]
		fail(w)
		return
	}
	body, _ := io.ReadAll(r.Body)
	var got map[string]string
	if err := json.Unmarshal(body, &got); err != nil {
		f.t.Errorf("body %s: %v", body, err)
	}
	path := map[string]string{"github": "/repos/acme/fleet/statuses/", "gitlab": "/projects/acme%2Ffleet/statuses/", "gitea": "/repos/acme/fleet/statuses/", "forgejo": "/repos/acme/fleet/statuses/"}[f.provider]
	commit, right := strings.CutPrefix(r.URL.EscapedPath(), path)
	if r.Method != http.MethodPost || !right || len(commit) != 40 || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("asked %s %s with %v", r.Method, r.URL.EscapedPath(), r.Header)
		http.NotFound(w, r)
		return
	}
	states, keys, auth := []string{"pending", "success", "failure", "error"}, []string{"context", "description", "state", "target_url"}, [2]string{"Authorization", "token " + token}
	name := got["context"]
	switch f.provider {
	case "github":
		auth[1] = "Bearer " + token
		if r.Header.Get("Accept") != "application/vnd.github+json" || r.Header.Get("X-GitHub-Api-Version") != "2022-11-28" {
			f.t.Errorf("headers %v", r.Header)
		}
	case "gitlab":
		auth = [2]string{"Private-Token", token}
		states, keys, name = []string{"pending", "running", "success", "failed", "canceled", "skipped"}, []string{"description", "name", "state", "target_url"}, got["name"]
	}
	if r.Header.Get(auth[0]) != auth[1] {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	for key := range got {
		if !slices.Contains(keys, key) {
			f.t.Errorf("unknown key %s", key)
		}
	}
	if !slices.Contains(states, got["state"]) || len([]rune(got["description"])) > 140 || name == "" {
		w.WriteHeader(http.StatusUnprocessableEntity)
		f.t.Errorf("body %s", body)
		return
	}
	f.set = append(f.set, name+" "+got["state"]+" "+commit[:4])
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, `{"id":1}`)
}

func (f *fake) took() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.set
	f.set = nil
	return list
}

type memory struct {
	mu   sync.Mutex
	data map[string][]byte
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.data[key], nil
}

func (m *memory) Put(key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.data[key] = data
	return nil
}

func quiet() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return logrus.NewEntry(l)
}

// handlerTransport asks a handler without a network, for tests with a clock of
// their own.
type handlerTransport struct{ http.Handler }

func (h handlerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	answer := w.Result()
	answer.Request = r
	return answer, r.Context().Err()
}

func poster(f *fake, book Book, client *http.Client, api string) *Poster {
	return New(Options{Site: Site{f.provider, api, "acme/fleet"}, Token: func() (string, error) { return token, nil }, Book: book, Client: client, Agent: "Fairlead/test", Log: quiet()})
}

func of(name string, state State) Status {
	return Status{Commit: sha, State: state, Description: strings.Repeat("ä", 200), Context: "fairlead/" + name, Target: "https://fairlead.acme.com/instances/" + name}
}

// Each of the three over real TLS, by an authority of one's own.
func TestEachProvider(t *testing.T) {
	t.Parallel()
	for _, provider := range Providers() {
		f := &fake{t: t, provider: provider}
		server := httptest.NewTLSServer(f)
		defer server.Close()
		site := Site{provider, server.URL, "acme/fleet"}
		for _, state := range []State{Pending, Success, Failure, Error} {
			if err := site.set(t.Context(), server.Client(), token, "Fairlead/test", of("acme", state)); err != nil {
				t.Errorf("%s: %v", provider, err)
			}
		}
		want := []string{"fairlead/acme pending 0123", "fairlead/acme success 0123", "fairlead/acme failure 0123", "fairlead/acme error 0123"}
		if provider == "gitlab" {
			want = []string{"fairlead/acme running 0123", "fairlead/acme success 0123", "fairlead/acme failed 0123", "fairlead/acme failed 0123"}
		}
		if got := f.took(); !slices.Equal(got, want) {
			t.Errorf("%s: %q", provider, got)
		}
		if err := site.set(t.Context(), server.Client(), "wrong-"+token, "", of("acme", Success)); err == nil || strings.Contains(err.Error(), "wrong-") {
			t.Errorf("%s: a wrong token: %v", provider, err)
		}
		if err := site.set(t.Context(), &http.Client{}, token, "", of("acme", Success)); err == nil {
			t.Errorf("%s: an authority that nobody trusts", provider)
		}
	}
}

func TestSites(t *testing.T) {
	for repo, want := range map[string]Site{
		"https://github.com/acme/fleet.git":                {"github", "https://api.github.com", "acme/fleet"},
		"git@github.com:acme/fleet.git":                    {"github", "https://api.github.com", "acme/fleet"},
		"ssh://git@github.com/acme/fleet":                  {"github", "https://api.github.com", "acme/fleet"},
		"https://user:pw@gitlab.acme.com/group/sub/fleet/": {"gitlab", "https://gitlab.acme.com/api/v4", "group/sub/fleet"},
		"https://gitea.acme.com:3000/acme/fleet":           {"gitea", "https://gitea.acme.com:3000/api/v1", "acme/fleet"},
		"https://codeberg.org/acme/fleet":                  {"forgejo", "https://codeberg.org/api/v1", "acme/fleet"},
		"ssh://git@gitea.acme.com:2222/acme/fleet.git":     {"gitea", "https://gitea.acme.com/api/v1", "acme/fleet"},
		"https://github.acme.com/acme/fleet.git":           {"github", "https://github.acme.com/api/v3", "acme/fleet"},
	} {
		if got, err := SiteOf(repo, "", ""); err != nil || got != want {
			t.Errorf("%s: %+v, %v", repo, got, err)
		}
	}
	for _, bad := range [][3]string{{"https://git.acme.com/acme/fleet"}, {"/srv/fleet"}, {"file:///srv/a/fleet"}, {"https://github.com/"}, {"https://git.acme.com/acme/fleet", "gitea", "ftp://x"}, {"https://git.acme.com/acme/fleet", "gitea", "https://u:p@x/api"}} {
		if got, err := SiteOf(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
	if got, err := SiteOf("https://git.acme.com/acme/fleet", "forgejo", "https://git.acme.com/forge/api/v1/"); err != nil || got.API != "https://git.acme.com/forge/api/v1" {
		t.Errorf("%+v, %v", got, err)
	}
}

func running(t *testing.T, p *Poster) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("run: %v", err)
		}
	}()
	return func() { cancel(); <-done }
}

func TestWhatStandsIsNotSetAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, book := &fake{t: t, provider: "github"}, &memory{data: map[string][]byte{}}
		client := &http.Client{Transport: handlerTransport{f}}
		p := poster(f, book, client, "https://api.github.com")
		stop := running(t, p)
		p.Want([]Status{of("a", Pending), of("b", Success)})
		synctest.Wait()
		p.Want([]Status{of("a", Pending), of("b", Success)})
		p.Want([]Status{of("a", Success), of("b", Success)})
		time.Sleep(3 * time.Hour)
		if got, want := f.took(), []string{"fairlead/a pending 0123", "fairlead/b success 0123", "fairlead/a success 0123"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
		stop()
		p = poster(f, book, client, "https://api.github.com") // a restart
		stop = running(t, p)
		p.Want([]Status{of("a", Success), of("b", Failure)})
		time.Sleep(time.Minute)
		if got, want := f.took(), []string{"fairlead/b failure 0123"}; !slices.Equal(got, want) {
			t.Errorf("after a restart: %q", got)
		}
		stop()
	})
}

func TestItIsTriedAgainAndTheNewestWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, provider: "gitea"}
		p := poster(f, &memory{data: map[string][]byte{}}, &http.Client{Transport: handlerTransport{f}}, "https://gitea.acme.com")
		answer := func(status int, kv ...string) func(http.ResponseWriter) {
			return func(w http.ResponseWriter) {
				for i := 0; i < len(kv); i += 2 {
					w.Header().Set(kv[i], kv[i+1])
				}
				w.WriteHeader(status)
			}
		}
		f.fails = []func(http.ResponseWriter){answer(500), answer(429, "Retry-After", "600")}
		stop := running(t, p)
		p.Want([]Status{of("a", Pending)})
		time.Sleep(time.Minute)
		if p.Err() == nil {
			t.Error("nobody is told that it fails")
		}
		p.Want([]Status{of("a", Success)})
		time.Sleep(8 * time.Minute)
		if got := f.took(); len(got) != 0 {
			t.Errorf("it came before its time: %q", got)
		}
		time.Sleep(3 * time.Minute)
		if got, want := f.took(), []string{"fairlead/a success 0123"}; !slices.Equal(got, want) || p.Err() != nil {
			t.Errorf("got %q, %v", got, p.Err())
		}
		f.fails = []func(http.ResponseWriter){answer(404), answer(302, "Location", "https://evil.example/")}
		p.Want([]Status{of("a", Failure)})
		time.Sleep(time.Hour)
		p.Want([]Status{of("a", Error)})
		time.Sleep(time.Hour)
		if got := f.took(); len(got) != 0 {
			t.Errorf("what is refused is set: %q", got)
		}
		p.Want([]Status{of("a", Success), of("b", Success)})
		time.Sleep(time.Minute)
		if got, want := f.took(), []string{"fairlead/a success 0123", "fairlead/b success 0123"}; !slices.Equal(got, want) {
			t.Errorf("one that was refused holds up others: %q", got)
		}
		stop()
	})
}

func TestRateLimits(t *testing.T) {
	now := time.Unix(1_764_000_000, 0)
	for what, tt := range map[string]struct {
		h    http.Header
		want time.Duration
	}{
		"seconds":    {http.Header{"Retry-After": {"60"}}, time.Minute},
		"a date":     {http.Header{"Retry-After": {now.Add(time.Minute).UTC().Format(http.TimeFormat)}}, time.Minute},
		"GitHub's":   {http.Header{"X-Ratelimit-Reset": {strconv.FormatInt(now.Add(time.Minute).Unix(), 10)}}, time.Minute},
		"a long one": {http.Header{"Retry-After": {"99999999"}}, time.Hour},
		"a past one": {http.Header{"Retry-After": {"-5"}}, 0},
		"nonsense":   {http.Header{"Retry-After": {"soon"}}, 0},
	} {
		if got := wait(tt.h, now); got != tt.want {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// GitLab refuses to set what is set already.
func TestGitLabSaysItTwice(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "https://gitlab.com/", nil)
	answer := &http.Response{StatusCode: http.StatusBadRequest, Request: r}
	if err := (Site{Provider: "gitlab"}).judge(answer, []byte(`{"message":"Cannot transition status via :run from :running (Reason(s): Status cannot transition via \"run\")"}`)); err != nil {
		t.Error(err)
	}
	if err := (Site{Provider: "github"}).judge(answer, []byte(`{"message":"Cannot transition"}`)); err == nil {
		t.Error("another's refusal is taken for it")
	}
}

func FuzzSiteOf(f *testing.F) {
	for _, s := range []string{"https://github.com/acme/fleet.git", "git@github.com:acme/fleet.git", "ssh://git@gitea.acme.com:2222/a/b", "a:b/c", "::", "https://[::1]:80/a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, repo string) {
		s, err := SiteOf(repo, "github", "")
		if err == nil && (s.Repo == "" || !strings.HasPrefix(s.API, "https://")) {
			t.Errorf("%q: %+v", repo, s)
		}
	})
}
