package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/server"
)

const ownHost = "fairlead.acme.test"

// visitor asks as a browser does: of an address, under a name.
type visitor struct {
	t      *testing.T
	client *http.Client
}

// through makes a visitor whose connections all go to one address.
func through(t *testing.T, address string) visitor {
	return visitor{t, &http.Client{
		Timeout:       limit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // self-signed, until the real chain appears
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "tcp", address)
			}},
	}}
}

func (v visitor) do(method, url, body string) (int, string, http.Header) {
	v.t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(content), resp.Header
}

func (w *world) server() (l server.Listener) {
	w.t.Helper()
	var o server.Overview
	if err := json.Unmarshal([]byte(w.must(0, "status", "-o", "json").stdout), &o); err != nil || o.Server == nil {
		w.t.Fatalf("%v: %+v", err, o)
	}
	return *o.Server
}

// TestServerBehindTheFront reaches the API under a name of its own, which needs
// no route of any instance, and keeps the setup for those who are on the host.
func TestServerBehindTheFront(t *testing.T) {
	t.Parallel()
	c := newCorporation(t)
	c.begin(c.instance("certificates:\n  data:\n    domains: [" + certHost + ", " + ownHost + "]\n    fullchain: " + c.URL +
		"/chain.pem\n    fallback: self-signed\n"))
	c.start("--listen", "127.0.0.1:0", "--server-host", ownHost, "--server-certificate", "data")
	waitFor(t, "the pages are open", func() bool { return c.server().Open })
	l := c.server()
	if l.URL != "https://"+ownHost || !strings.HasPrefix(l.Address, "127.0.0.1:") {
		t.Errorf("%+v", l)
	}
	front, here := through(t, c.https), through(t, l.Address)
	var status int
	var health string
	waitFor(t, "the front leads to them", func() bool {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: limit}, "tcp", c.https, &tls.Config{ServerName: ownHost, InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		_ = conn.Close()
		status, health, _ = front.do(http.MethodGet, "https://"+ownHost+"/api/health", "")
		return status == http.StatusOK
	})
	if !strings.Contains(health, `"schema_version"`) {
		t.Errorf("health: %s", health)
	}
	if status, _, h := through(t, c.plain).do(http.MethodGet, "http://"+ownHost+"/", ""); status/100 != 3 || !strings.HasPrefix(h.Get("Location"), "https://"+ownHost) {
		t.Errorf("plain HTTP: %d %s", status, h.Get("Location"))
	}

	const admin = `{"email": "ada@example.com", "password": "correct horse battery"}`
	if status, said, _ := front.do(http.MethodPost, "https://"+ownHost+"/auth/bootstrap", admin); status != http.StatusForbidden || !strings.Contains(said, "setup-code") {
		t.Errorf("setup from outside without the code: %d %s", status, said)
	}
	code, err := os.ReadFile(filepath.Join(c.data, "state", "setup.code"))
	if err != nil {
		t.Fatal(err)
	}
	withCode := strings.TrimSuffix(admin, "}") + `, "setup_code": "` + strings.TrimSpace(string(code)) + `"}`
	if status, said, _ := front.do(http.MethodPost, "https://"+ownHost+"/auth/bootstrap", withCode); status != http.StatusOK || !strings.Contains(said, "access_token") {
		t.Errorf("setup from outside with the code: %d %s", status, said)
	}
	for name, v := range map[string]struct {
		visitor
		url  string
		want int
	}{
		"setup again":             {here, "http://" + l.Address + "/auth/bootstrap", http.StatusForbidden},
		"a name that is not ours": {here, "http://evil.example.com/auth/bootstrap", http.StatusMisdirectedRequest},
	} {
		if status, said, _ := v.do(http.MethodPost, v.url, admin); status != v.want {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
}

// TestSmokeOfAFreshStart makes the steps that the clients of the seed's API
// make, on a daemon that nobody configured: health, version, bootstrap (403 the
// second time), token, a query with rows, a sync, and health again.
func TestSmokeOfAFreshStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = slices.DeleteFunc(w.env, func(v string) bool { return strings.HasPrefix(v, "FAIRLEAD_REPO=") })
	w.env = append(w.env, "FAIRLEAD_SMOKE_EMAIL=smoke@example.com", "FAIRLEAD_SMOKE_PASSWORD=correct horse battery")
	w.start("--listen", "127.0.0.1:0")
	waitFor(t, "the pages are open", func() bool { return w.server().Open })
	for range 2 {
		says(t, w.must(0, "smoke", "--url", w.server().URL), "7 passed")
	}
	for _, name := range []string{"age.key", "jwt.key", "store.key"} {
		info, err := os.Stat(filepath.Join(w.data, "state", name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, err := os.Stat(filepath.Join(w.data, "state", "setup.code")); !os.IsNotExist(err) {
		t.Errorf("the setup code outlives the setup: %v", err)
	}
}

// TestServerIsOffWhenItIsToBe: nothing listens that nobody asked for.
func TestServerIsOffWhenItIsToBe(t *testing.T) {
	s := defaultSettings()
	s.Server.Listen = off
	if r := newReception(s, nil, quietLog()); r != nil {
		t.Errorf("it is at %s", r.Addr())
	}
	s.Server.Host, s.Server.Certificate = ownHost, "data"
	if r := newReception(s, nil, quietLog()); r == nil || !strings.HasPrefix(r.Addr().String(), "127.0.0.1:") {
		t.Error("the front has nowhere to lead to")
	}
	if got := defaultSettings().Server.Listen; !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("the default is %s, which others can reach", got)
	}
}
