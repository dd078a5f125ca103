package server

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/server/hooks"
)

const hookSecret = "0123456789abcdef0123"

// hooked is a house that takes webhooks.
func hooked(t *testing.T) (*house, *API) {
	h := newHouse(t)
	cfg := h.config
	cfg.Webhooks = &Webhooks{Repo: "https://git.acme.com/acme/fleet.git", Secret: func() ([]byte, error) { return []byte(hookSecret), nil },
		Check: func(context.Context, string) error { return nil }}
	return h, NewAPI(cfg)
}

type hookAsk struct {
	path, body string
	header     map[string]string
}

func (a hookAsk) signed(name string) hookAsk {
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write([]byte(a.body))
	a.header[name] = "sha256=" + hex.EncodeToString(mac.Sum(nil))
	return a
}

// deliver makes the request in this process.
func deliver(t *testing.T, api *API, a hookAsk) (int, HookAnswer, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost"+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for name, value := range a.header {
		req.Header.Set(name, value)
	}
	w := &recorder{header: http.Header{}}
	api.PublicHandler(Public{}).ServeHTTP(w, req)
	var answer HookAnswer
	if w.status == http.StatusAccepted {
		if err := json.Unmarshal(w.body.Bytes(), &answer); err != nil {
			t.Fatalf("%s: %v", w.body.String(), err)
		}
	} else {
		answer.Reason = w.body.String()
	}
	return w.status, answer, w.header
}

type recorder struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) { r.WriteHeader(200); return r.body.Write(p) }

func push(ref, id string) hookAsk {
	return hookAsk{"/hooks/git/github", `{"ref":"` + ref + `","repository":{"full_name":"acme/fleet","default_branch":"main"},"n":"` + id + `"}`,
		map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": id}}
}

func TestHooksTriggerWhatMatters(t *testing.T) {
	h, api := hooked(t)
	const ref = "main"
	synced := make(chan struct{}, 16)
	h.onSync = func() { synced <- struct{}{} }
	status, answer, head := deliver(t, api, push("refs/heads/"+ref, "d1").signed("X-Hub-Signature-256"))
	if status != 202 || !answer.Triggered || answer.Correlation == "" || answer.Correlation != head.Get(CorrelationHeader) {
		t.Fatalf("got %d %+v", status, answer)
	}
	<-synced
	for what, tt := range map[string]struct {
		ask    hookAsk
		status int
		reason string
	}{
		"the same again":              {push("refs/heads/"+ref, "d1").signed("X-Hub-Signature-256"), 202, "delivered before"},
		"the same under another name": {hookAsk{"/hooks/git/github", push("refs/heads/"+ref, "d1").body, map[string]string{"X-GitHub-Event": "push", "X-GitHub-Delivery": "d9"}}.signed("X-Hub-Signature-256"), 202, "delivered before"},
		"another branch":              {push("refs/heads/other", "d2").signed("X-Hub-Signature-256"), 202, "is followed"},
		"a ping":                      {hookAsk{"/hooks/git/github", `{"zen":"x"}`, map[string]string{"X-GitHub-Event": "ping"}}.signed("X-Hub-Signature-256"), 202, "set up"},
		"no signature":                {push("refs/heads/"+ref, "d3"), 401, "fairlead hook secret"},
		"a wrong one":                 {hookAsk{"/hooks/git/github", "{}", map[string]string{"X-Hub-Signature-256": "sha256=" + strings.Repeat("0", 64)}}, 401, "not the right one"},
		"nobody":                      {hookAsk{"/hooks/git/gogs", "{}", map[string]string{}}, 404, "forgejo"},
		"no JSON":                     {hookAsk{"/hooks/git/github", "[", map[string]string{"X-GitHub-Event": "push"}}.signed("X-Hub-Signature-256"), 422, "docs/webhooks.md"},
		"GitLab":                      {hookAsk{"/hooks/git/gitlab", `{"object_kind":"push","ref":"refs/heads/` + ref + `"}`, map[string]string{"X-Gitlab-Token": hookSecret}}, 202, "a newer revision"},
		"anybody who knows it":        {hookAsk{"/hooks/git/generic", "", map[string]string{"Authorization": "Bearer " + hookSecret}}, 202, "a newer revision"},
		"a registry":                  {hookAsk{"/hooks/registry?token=" + hookSecret, `{"image":"ghcr.io/acme/other:x"}`, map[string]string{}}, 202, "no instance follows"},
		"a registry by a wrong token": {hookAsk{"/hooks/registry?token=x", `{}`, map[string]string{}}, 401, "secret"},
	} {
		status, answer, _ := deliver(t, api, tt.ask)
		if status != tt.status || !strings.Contains(answer.Reason, tt.reason) {
			t.Errorf("%s: %d %+v", what, status, answer)
		}
	}
	if strings.Contains(fmt.Sprint(h.log.lines(t)), hookSecret) {
		t.Error("the secret is logged")
	}
}

func TestHooksWithoutADaemon(t *testing.T) {
	h := newHouse(t)
	if status, answer, _ := deliver(t, NewAPI(h.config), push("refs/heads/main", "d").signed("X-Hub-Signature-256")); status != 404 {
		t.Errorf("got %d %+v", status, answer)
	}
}

// unread fails when somebody reads it.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read before the headers are looked at")
	return 0, io.EOF
}

func TestHookBodiesAreReadLateAndBounded(t *testing.T) {
	_, api := hooked(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://localhost/hooks/git/github", unread{t})
	if err != nil {
		t.Fatal(err)
	}
	w := &recorder{header: http.Header{}}
	if api.PublicHandler(Public{}).ServeHTTP(w, req); w.status != http.StatusUnauthorized {
		t.Errorf("got %d", w.status)
	}
	big := hookAsk{"/hooks/git/github", strings.Repeat(" ", hooks.MaxBody+1), map[string]string{"X-GitHub-Event": "push"}}
	if status, answer, _ := deliver(t, api, big.signed("X-Hub-Signature-256")); status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %+v", status, answer)
	}
}

func TestHooksAreCounted(t *testing.T) {
	_, api := hooked(t)
	codes := map[int]int{}
	var after string
	for i := range 60 {
		status, _, head := deliver(t, api, push("refs/heads/other", fmt.Sprint("n", i)).signed("X-Hub-Signature-256"))
		if codes[status]++; status == http.StatusTooManyRequests {
			after = head.Get("Retry-After")
		}
	}
	if codes[202] < hookPace.burst || codes[429] == 0 || after == "" {
		t.Errorf("got %v, Retry-After %q", codes, after)
	}
}

func TestHookRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newHookRates()
		for range hookPace.burst {
			if wait := r.take("a", time.Now()); wait > 0 {
				t.Fatalf("wait %s", wait)
			}
		}
		wait := r.take("a", time.Now())
		if wait <= 0 || r.take("b", time.Now()) > 0 {
			t.Fatalf("wait %s", wait)
		}
		time.Sleep(wait)
		if r.take("a", time.Now()) > 0 {
			t.Error("it does not come back")
		}
		for range deniedPace.burst + 1 {
			wait = r.denied("c", time.Now())
		}
		if wait <= 0 || r.take("c", time.Now()) <= 0 {
			t.Error("who guesses is not held up")
		}
		time.Sleep(time.Minute)
		if r.take("c", time.Now()) > 0 {
			t.Error("who guessed is held up for good")
		}
		for i := range 3 * maxSenders {
			r.take(fmt.Sprint(i), time.Now())
			time.Sleep(time.Second)
		}
		if len(r.from) > maxSenders {
			t.Errorf("remembers %d", len(r.from))
		}
	})
}

func TestDeliveriesAreBounded(t *testing.T) {
	d := &deliveries{at: map[[32]byte]time.Time{}}
	now := time.Now()
	for i := range 2 * maxDeliveries {
		if d.before(hooks.Delivery{ID: fmt.Sprint(i)}, nil, nil, now) {
			t.Fatal("a new one is old")
		}
	}
	if len(d.at) != maxDeliveries || len(d.order) != maxDeliveries {
		t.Errorf("remembers %d", len(d.at))
	}
	if !d.before(hooks.Delivery{ID: fmt.Sprint(2*maxDeliveries - 1)}, nil, nil, now) || d.before(hooks.Delivery{ID: fmt.Sprint(2*maxDeliveries - 1)}, nil, nil, now.Add(25*time.Hour)) {
		t.Error("the last one is forgotten, or remembered for good")
	}
	for range 2 {
		if d.before(hooks.Delivery{}, nil, nil, now) {
			t.Error("what has no name is taken for the same")
		}
	}
}

// However many ask while one look is under way, one more follows it.
func TestLooksAreTakenTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, n := &looks{running: map[string]*looking{}}, 0
		for range 1000 {
			l.begin(t.Context(), "", func(context.Context) error { time.Sleep(time.Second); n++; return nil }, nil)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n < 1 || n > 2 || len(l.running) != 0 {
			t.Errorf("looked %d times, %d under way", n, len(l.running))
		}
	})
}
