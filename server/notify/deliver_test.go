package notify

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"

	"github.com/fairlead/fairlead/desired"
)

// childVariable makes this test binary the child that runs the library.
const childVariable = "FAIRLEAD_TEST_SHOUT"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) != "" {
		err := Shout(context.Background(), os.Stdin, os.Stdout, func(host json.RawMessage) (Reach, error) {
			var allowed []string
			if err := json.Unmarshal(host, &allowed); err != nil {
				return Reach{}, err
			}
			return only(allowed...), nil
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// only lets these hosts through.
func only(hosts ...string) Reach {
	nobody := func(*http.Request) (*url.URL, error) { return url.Parse("http://127.0.0.1:1") }
	if len(hosts) > 0 && hosts[0] != "nothing" {
		nobody = nil
	}
	return Reach{Proxy: nobody, Public: func(netip.Addr) error { return nil }, Allow: func(host string, _ netip.Addr) error {
		for _, h := range hosts {
			if h == host {
				return nil
			}
		}
		return errors.New("it is not allowed")
	}}
}

func testChild(env ...string) func(context.Context) *exec.Cmd {
	return func(ctx context.Context) *exec.Cmd {
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(env, childVariable+"=1")
		return cmd
	}
}

func failedNotice() Notice {
	return Notice{Kind: Failed, Instance: "acme", Host: "vm7", Title: "acme: an apply failed", Message: "app is unhealthy", Todo: "look at the logs",
		Commit: "0123456789abcdef", Subject: "Raise the limit", Author: "Ann", Changes: []string{"replace container acme-app-1"}, Link: "https://f.acme.com/", At: time.Now().UTC()}
}

func TestAWebhookIsSigned(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123"
	got := make(chan *http.Request, 1)
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
		got <- r
	}))
	defer server.Close()
	m := New(Options{Reach: only("127.0.0.1"), Agent: "Fairlead/test"})
	spec := desired.NotifySpec{URL: "generic+" + server.URL + "/in?a=b", Secret: secret, Template: "{{.Kind}} {{.Instance}} {{.Commit}}"}
	if err := m.send(t.Context(), spec, queued{ID: "d1", Notice: failedNotice()}); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if sign := Sign(secret, r.Header.Get(headerTimestamp), body); r.Header.Get(headerSignature) != sign || r.Header.Get(headerDelivery) != "d1" || r.Header.Get(headerKind) != "failed" ||
		r.Header.Get("Content-Type") != "application/json" || r.UserAgent() != "Fairlead/test" || r.URL.String() != "/in?a=b" || r.Method != http.MethodPost {
		t.Errorf("got %s %s %v, want the signature %s", r.Method, r.URL, r.Header, sign)
	}
	var p map[string]any
	if err := json.Unmarshal(body, &p); err != nil {
		t.Fatal(err)
	}
	if p["instance"] != "acme" || p["kind"] != "failed" || p["version"] != 1.0 || p["text"] != "acme: an apply failed\nfailed acme 01234567" || p["delivery"] != "d1" {
		t.Errorf("got %s", body)
	}
}

// The example of docs/notices.md, which receivers are written after.
func TestTheSignatureOfTheDocument(t *testing.T) {
	got := Sign("it's a secret to everybody", "1764000000", []byte(`{"kind":"test"}`))
	doc, err := os.ReadFile("../../docs/notices.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), got) {
		t.Errorf("docs/notices.md does not show %s", got)
	}
}

func TestAWebhookThatIsNotTaken(t *testing.T) {
	t.Parallel()
	var elsewhere int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		case "/elsewhere":
			elsewhere++
		case "/busy":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/endless":
			for range 1000 {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer server.Close()
	m := New(Options{Reach: only("127.0.0.1")})
	for path, want := range map[string]string{"/redirect": "redirects are not followed", "/busy": "429", "/broken": "500 Internal Server Error"} {
		err := m.send(t.Context(), desired.NotifySpec{URL: "generic+" + server.URL + path + "?token=hunter2"}, queued{ID: "d"})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", path, err)
		}
		var wait later
		if errors.As(err, &wait) != (path == "/busy") || path == "/busy" && wait.after != 2*time.Minute {
			t.Errorf("%s: wait %v", path, wait)
		}
	}
	if err := m.send(t.Context(), desired.NotifySpec{URL: "generic+" + server.URL + "/endless"}, queued{}); err != nil {
		t.Errorf("an endless answer: %v", err)
	}
	if elsewhere != 0 {
		t.Error("a redirect was followed")
	}
	server.Close()
	if err := m.send(t.Context(), desired.NotifySpec{URL: "generic+" + server.URL + "/a?token=hunter2"}, queued{}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody listens: %v", err)
	}
}

func TestReachIsKept(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("it was asked") }))
	defer server.Close()
	all := Reach{Allow: func(string, netip.Addr) error { return nil }}
	for _, tt := range []struct {
		url   string
		reach Reach
	}{{server.URL, only("hooks.acme.com")}, {server.URL, Reach{}}, {"http://169.254.169.254/latest/meta-data", all}, {"http://[fe80::1]/", all}, {"http://0.0.0.0/", all}, {"http://224.0.0.1/", all}} {
		err := New(Options{Reach: tt.reach}).send(t.Context(), desired.NotifySpec{URL: "generic+" + tt.url}, queued{})
		var r refusal
		if !errors.As(err, &r) {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}

// A service with a server of its own, by the library in a child process.
func TestAChatIsToldByAChild(t *testing.T) {
	t.Parallel()
	type asked struct{ path, title, body string }
	got := make(chan asked, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- asked{r.URL.Path, r.Header.Get("Title"), string(body)}
		_, _ = io.WriteString(w, `{"id":"1"}`)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	m := New(Options{Command: testChild(), ChildHost: json.RawMessage(`["127.0.0.1"]`)})
	spec := desired.NotifySpec{URL: "ntfy://" + host + "/deployments?scheme=http"}
	if err := m.send(t.Context(), spec, queued{ID: "d", Notice: failedNotice()}); err != nil {
		t.Fatal(err)
	}
	a := <-got
	for _, want := range []string{"app is unhealthy", "Commit 01234567 “Raise the limit” by Ann", "- replace container acme-app-1", "What to do: look at the logs", "https://f.acme.com/"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("it lacks %q: %s", want, a.body)
		}
	}
	if a.path != "/deployments" || a.title != "acme: an apply failed" {
		t.Errorf("got %+v", a)
	}
	m.opts.ChildHost = json.RawMessage(`["ntfy.acme.com"]`)
	var r refusal
	if err := m.send(t.Context(), spec, queued{}); !errors.As(err, &r) {
		t.Errorf("a server that is not allowed: %v", err)
	}
}

// Slack's address is the library's own: it goes by the transport of the child,
// which asks too, and what fails does not tell the token.
func TestAChildTellsNoToken(t *testing.T) {
	t.Parallel()
	m := New(Options{Command: testChild(), ChildHost: json.RawMessage(`["nothing"]`)})
	for _, url := range []string{"slack://hook:TAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook", "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@channelname",
		"gotify://127.0.0.1:1/AzyoeNS.D4iJLVa/?disabletls=yes", "slack://nonsensetoken", "pushover://shoutrrr:pushovertokenword@pushoveruserword/", "teams://groupword@tenantword/altword/ownerword?host=x.webhook.office.com"} {
		err := m.send(t.Context(), desired.NotifySpec{URL: url}, queued{Notice: failedNotice()})
		if err == nil {
			t.Errorf("%s: it was sent", url)
			continue
		}
		for _, secret := range []string{"AAAA", "1234567891", "AAHdq", "channelname", "Azyoe", "nonsensetoken", "pushovertokenword", "groupword", "tenantword"} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error tells %s: %v", url, secret, err)
			}
		}
		if os.Getenv("VERBOSE") != "" {
			t.Log(url, err)
		}
	}
}

// A mail server that takes the connection and says nothing is left after a
// while, and its process with it.
func TestAChildThatHangsIsEnded(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := make(chan net.Conn, 1)
	go func() {
		if c, err := l.Accept(); err == nil {
			taken <- c
		}
	}()
	ctx, cancel := context.WithCancel(t.Context())
	m := New(Options{Command: testChild(), ChildHost: json.RawMessage(`["127.0.0.1"]`)})
	done := make(chan error, 1)
	go func() {
		done <- m.send(ctx, desired.NotifySpec{URL: "smtp://" + l.Addr().String() + "/?from=a@acme.com&to=b@acme.com&encryption=None&useStartTLS=no"}, queued{Notice: failedNotice()})
	}()
	c := <-taken
	defer c.Close()
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("got %v", err)
	}
}

// A commit's subject calls nobody.
func TestNobodyIsCalled(t *testing.T) {
	if got := tame("slack", "Fix <!channel> & <https://evil.example|bank> @here"); got != "Fix &lt;!channel&gt; &amp; &lt;https://evil.example|bank&gt; @\u200bhere" {
		t.Errorf("got %q", got)
	}
	if got := tame("discord", "@everyone ann@acme.com @Hereford"); got != "@\u200beveryone ann@acme.com @Hereford" {
		t.Errorf("got %q", got)
	}
}

// The list that desired checks against is that of the library.
func TestServicesAreThoseOfTheLibrary(t *testing.T) {
	known := map[string]bool{"generic": true, "logger": true}
	for _, s := range desired.NoticeServices() {
		known[s] = true
	}
	all := (&router.ServiceRouter{}).ListServices()
	for _, s := range all {
		if !known[s] {
			t.Errorf("%s is not in desired.NoticeServices", s)
		}
	}
	if len(all) != len(known) {
		t.Errorf("the library has %d services, desired %d", len(all), len(known))
	}
}

func TestPrivateAuthoritiesAreTrusted(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	reach := only("127.0.0.1")
	if err := New(Options{Reach: reach}).send(t.Context(), desired.NotifySpec{URL: "generic+" + server.URL}, queued{}); err == nil {
		t.Error("an unknown authority is trusted")
	}
	reach.Roots = x509.NewCertPool()
	reach.Roots.AddCert(server.Certificate())
	if err := New(Options{Reach: reach}).send(t.Context(), desired.NotifySpec{URL: "generic+" + server.URL}, queued{}); err != nil {
		t.Error(err)
	}
}
