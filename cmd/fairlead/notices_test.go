package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/notify"
	"github.com/fairlead/fairlead/server/notify/forge"
)

// audience receives what is told of a daemon.
type audience struct {
	*httptest.Server
	secret string
	got    chan notify.Notice
	chat   chan string

	mu     sync.Mutex
	refuse bool
}

func newAudience(t *testing.T, secret string) *audience {
	l := &audience{secret: secret, got: make(chan notify.Notice, 64), chat: make(chan string, 64)}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		refuse := l.refuse
		l.mu.Unlock()
		if refuse {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/chat" {
			l.chat <- r.Header.Get("Title")
			_, _ = io.WriteString(w, "{}")
			return
		}
		var n notify.Notice
		if notify.Sign(l.secret, r.Header.Get("X-Fairlead-Timestamp"), body) != r.Header.Get("X-Fairlead-Signature") || json.Unmarshal(body, &n) != nil {
			t.Errorf("got %v %s", r.Header, body)
		}
		l.got <- n
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *audience) refuses(yes bool) { l.mu.Lock(); defer l.mu.Unlock(); l.refuse = yes }

// next waits for a notice of a kind; others may come before.
func (l *audience) next(t *testing.T, kind notify.Kind) notify.Notice {
	t.Helper()
	for end := time.After(limit); ; {
		select {
		case n := <-l.got:
			if n.Kind == kind {
				return n
			}
		case <-end:
			t.Fatalf("no notice of %s", kind)
		}
	}
}

// TestNotices follows them from a commit to whoever listens: a webhook that is
// signed, a chat by a child process, over a kill.
func TestNotices(t *testing.T) {
	const secret = "0123456789abcdef0123"
	l := newAudience(t, secret)
	w := newWorld(t)
	w.env = append(w.env, "FAIRLEAD_FETCH_ALLOWED_HOSTS=127.0.0.1")
	address := strings.TrimPrefix(l.URL, "http://")
	channels := `notify:
  - {url: "generic+http://` + address + `/hook", secret: "${secret:SIGN}", name: deploys}
  - {url: "ntfy://` + address + `/chat?scheme=http", on: [applied]}
`
	files := func(tag string) map[string]string {
		return map[string]string{"instance.yaml": acmeInstance + channels, "compose.yaml": acmeCompose(tag, "hello")}
	}
	w.begin(files("1"))
	w.write("data/instances/acme/local/.env", "SIGN="+secret+"\n")
	d := w.start()
	first := l.next(t, notify.Applied)
	if first.Instance != "acme" || first.Author != "Ada" || first.Generation != 1 || first.Commit == "" || len(first.Changes) == 0 {
		t.Errorf("got %+v", first)
	}
	select {
	case title := <-l.chat:
		if title != "acme: generation 1 is applied" {
			t.Errorf("the chat reads %q", title)
		}
	case <-time.After(limit):
		t.Fatal("the chat hears nothing")
	}
	w.commit("Break it", files("sick"))
	if n := l.next(t, notify.RolledBack); n.Subject != "Break it" || n.Todo == "" || !strings.Contains(n.Message, "generation 1 is back") {
		t.Errorf("got %+v", n)
	}
	list := w.must(0, "notify", "ls").stdout
	if !strings.Contains(list, "deploys") || strings.Contains(list, secret) || strings.Contains(list, "/hook") {
		t.Errorf("got\n%s", list)
	}
	if r := w.must(0, "notify", "test", "deploys"); !strings.Contains(r.stdout, "deploys: sent") {
		t.Errorf("got\n%s", r.stdout)
	}
	l.refuses(true)
	w.commit("Break it otherwise", map[string]string{"compose.yaml": "services: {web: {image: [}"})
	for end := time.Now().Add(limit); !strings.Contains(w.must(0, "notify", "ls").stdout, "503"); {
		if time.Now().After(end) {
			t.Fatal("nothing fails")
		}
	}
	d.signal(syscall.SIGKILL)
	l.refuses(false)
	d = w.start()
	if n := l.next(t, notify.Failed); !strings.Contains(n.Message, "compose.yaml") {
		t.Errorf("after a kill: %+v", n)
	}
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("ended with %d\n%s", code, d.log)
	}
	if strings.Contains(d.log.String(), secret) {
		t.Error("the log tells the secret")
	}
}

// TestHooks: whoever knows the secret is heard, through the daemon's socket as
// through its address.
func TestHooks(t *testing.T) {
	w := newWorld(t)
	w.env = append(w.env, "FAIRLEAD_SERVER_HOST=fairlead.acme.com")
	w.begin(acme("1"))
	d := w.start()
	secret := strings.TrimSpace(w.must(0, "hook", "secret").stdout)
	if info, err := os.Stat(filepath.Join(w.data, "state", "hook.secret")); err != nil || info.Mode().Perm() != 0o600 || len(secret) != 64 {
		t.Errorf("%v, %v, %d characters", info, err, len(secret))
	}
	if r := w.must(0, "hook", "url", "forgejo"); r.stdout != "https://fairlead.acme.com/hooks/git/forgejo\n" {
		t.Errorf("got %q", r.stdout)
	}
	w.must(1, "hook", "url", "gogs")
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "fairlead.sock"))
	}}}
	defer client.CloseIdleConnections()
	for token, want := range map[string]int{secret: http.StatusAccepted, "wrong-" + secret: http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://fairlead/hooks/git/generic", bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != want || strings.Contains(string(body), secret) || want == http.StatusAccepted && !strings.Contains(string(body), `"triggered":true`) {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
	}
	d.signal(syscall.SIGTERM)
	if strings.Contains(d.log.String(), secret) {
		t.Error("the log tells the secret")
	}
}

func TestChannelsOfTheHost(t *testing.T) {
	w := newWorld(t)
	urls := w.write("urls", "# everything\nslack://hook:xoxb-1-2-3@webhook\n\ngeneric+https://hooks.acme.com/x\n")
	sign := w.write("sign", "0123456789abcdef\n")
	n := noticeSettings{URLs: []string{"ntfy://ntfy.sh/x"}, URLFile: urls, SecretFile: sign}
	list, err := n.channels()
	if err != nil || len(list) != 3 || list[2].Secret != "0123456789abcdef" || list[1].Secret != "" || list[0].Remind != desired.DefaultRemind {
		t.Errorf("got %+v, %v", list, err)
	}
	for content, want := range map[string]string{"http://x\n": "urls:1: ", "\n\nslack\n": "urls:3: "} {
		w.write("urls", content)
		if _, err := n.channels(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", content, err)
		}
	}
	n.SecretFile = w.write("sign", "short\n")
	if _, err := n.channels(); err == nil || strings.Contains(err.Error(), "short\n") {
		t.Errorf("got %v", err)
	}
	for _, args := range [][]string{{"--notify-url", "slack://hook:xoxb-hunter2@webhook"}, {"--notify-url", "nothing"}, {"--commit-status-provider", "svn"}, {"--commit-status-url", "ftp://x"}} {
		if r := w.must(1, append([]string{"status"}, args...)...); !strings.Contains(r.stderr, args[0]) || strings.Contains(r.stderr, "hunter2") {
			t.Errorf("%q: %s", args, r.stderr)
		}
	}
	if openToOthers(sign) != true || openToOthers(filepath.Join(w.dir, "none")) {
		t.Error("modes are misread")
	}
}

func TestCommitStatuses(t *testing.T) {
	rev := desired.Revision{Commit: strings.Repeat("a", 40)}
	at := func(phase reconciler.Phase, sync reconciler.Sync) reconciler.Status {
		return reconciler.Status{Name: "acme", Phase: phase, Sync: sync, Attempted: rev, Generation: 3, LastPass: time.Now(),
			Quarantined: []reconciler.Quarantined{{Revision: rev, Reason: "app is unhealthy\nits log"}}, Problems: []desired.Problem{{File: "compose.yaml", Line: 3, Text: "is wrong"}}}
	}
	for phase, want := range map[reconciler.Phase]struct {
		state forge.State
		text  string
	}{
		reconciler.PhaseApplying: {forge.Pending, "generation 4 is being applied"}, reconciler.PhaseBaking: {forge.Pending, "healthy"},
		reconciler.PhaseIdle: {forge.Success, "generation 3 stands"}, reconciler.PhaseDeferred: {forge.Success, "waits"},
		reconciler.PhaseRefused: {forge.Error, "refused: compose.yaml:3: is wrong"}, reconciler.PhaseQuarantined: {forge.Failure, "app is unhealthy"},
		reconciler.PhaseRolledBack: {forge.Failure, "rolled back: app is unhealthy"}, reconciler.PhaseRetrying: {forge.Failure, "tried again"},
		reconciler.PhaseStalled: {forge.Error, "stalled"}, reconciler.PhaseHeld: {forge.Pending, "holds generation 3"}, reconciler.PhaseSuspended: {forge.Pending, "suspended"},
		reconciler.PhasePending: {forge.Pending, "looked at"},
	} {
		st, known := commitStatus(at(phase, reconciler.OutOfSync))
		if !known || st.State != want.state || !strings.Contains(st.Description, want.text) || st.Commit != rev.Commit {
			t.Errorf("%s: %+v, %t", phase, st, known)
		}
	}
	if _, known := commitStatus(at(reconciler.PhaseRetrying, reconciler.Unknown)); known {
		t.Error("a repository that cannot be read is the commit's fault")
	}
	if _, known := commitStatus(reconciler.Status{Attempted: rev}); known {
		t.Error("something is said before the first pass")
	}
}
