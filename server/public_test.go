package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

// crowd are people whose token is the name of their role.
type crowd struct {
	open   bool
	broken error
}

func (c *crowd) Authenticate(r *http.Request) (auth.Caller, bool, error) {
	token, said := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	role, scope, _ := strings.Cut(token, "+")
	switch {
	case !said:
		return auth.Caller{}, false, nil
	case !auth.Role(role).Allows(auth.RoleViewer):
		return auth.Caller{}, true, &auth.Refusal{Kind: auth.Nobody, Detail: "the session is not valid", Hint: "sign in again"}
	}
	who := auth.Caller{ID: role, Email: role + "@example.com", Role: auth.Role(role), Via: auth.ViaToken}
	if who.Via = auth.ViaSession; scope != "" {
		who.Via, who.Scopes = auth.ViaToken, []string{scope}
	}
	return who, true, nil
}

func (c *crowd) Visit(*http.Request) auth.Visit { return auth.Visit{Agent: "test"} }

func (c *crowd) SetupOpen() (bool, error) { return c.open, c.broken }

// town is a house that anybody can reach.
type town struct {
	*house
	people *crowd
	url    string
	pages  http.HandlerFunc
}

func newTown(t *testing.T) *town {
	t.Helper()
	v := &town{house: newHouse(t), people: &crowd{}}
	v.pages = func(w http.ResponseWriter, r *http.Request) {
		_, known := auth.From(r.Context())
		_, _ = io.WriteString(w, "page "+r.URL.Path+" "+map[bool]string{true: "known", false: "unknown"}[known])
	}
	h := v.api.PublicHandler(Public{People: v.people, Hosts: []string{"fairlead.example.com"}, Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { v.pages(w, r) })})
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	v.url = s.URL
	return v
}

// ask makes a request; change may change it.
func (v *town) ask(method, path, token, body string, change func(*http.Request)) (int, http.Header, string) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

func TestWhoMayWhat(t *testing.T) {
	v := newTown(t)
	tests := []struct {
		method, path, token string
		status              int
		want                string
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/healthz", "stale", 200, "ok"},
		{"GET", "/api/instances", "", 401, "Authorization: Bearer"},
		{"GET", "/api/instances", "stale", 401, "sign in again"},
		{"GET", "/api/instances", "viewer", 200, `"name":"acme"`},
		{"GET", "/api/instances/acme/catalog", "viewer", 403, "needs the role analyst; yours is viewer"},
		{"POST", "/api/instances/acme/resume", "analyst", 403, "needs the role admin"},
		{"POST", "/api/instances/acme/resume", "admin", 200, `"acme"`},
		{"POST", "/api/instances/acme/resume", "admin+write", 200, `"acme"`},
		{"POST", "/api/instances/acme/resume", "admin+read", 403, "scope write"},
		{"POST", "/api/source/sync", "admin+sync", 200, `"revision"`},
		{"POST", "/api/source/sync", "admin+write", 403, "scope sync"},
		{"GET", "/api/instances", "admin+query", 403, "scope read"},
		{"GET", "/api/instances", "admin+admin", 200, "acme"},
		{"GET", "/metrics", "", 401, "who asks"},
		{"GET", "/api/nothing", "admin", 404, "no such call"},
		{"GET", "/api", "admin", 404, "no such call"},
		{"GET", "/auth/nothing", "", 404, "no such call"},
		{"GET", "/some/page", "", 200, "page /some/page unknown"},
		{"GET", "/some/page", "stale", 200, "page /some/page unknown"},
		{"GET", "/some/page", "viewer", 200, "page /some/page known"},
		{"GET", "/some/page", "admin+read", 403, "pages are for people"},
		{"DELETE", "/api/version", "", 405, "it takes GET, HEAD, OPTIONS"},
		{"OPTIONS", "/api/version", "", 204, ""},
		{"HEAD", "/api/instances", "viewer", 200, ""},
		{"HEAD", "/api/events?follow=1", "viewer", 200, ""},
	}
	for _, tt := range tests {
		status, header, body := v.ask(tt.method, tt.path, tt.token, "", nil)
		if status != tt.status || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s as %q: %d %s\nwant %d %s", tt.method, tt.path, tt.token, status, body, tt.status, tt.want)
		}
		if got := header.Get("WWW-Authenticate"); (status == 401) != strings.HasPrefix(got, "Bearer") {
			t.Errorf("%s %s: %d with WWW-Authenticate %q", tt.method, tt.path, status, got)
		}
		if (status == 405 || status == 204) && header.Get("Allow") != "GET, HEAD, OPTIONS" {
			t.Errorf("%s %s: Allow is %q", tt.method, tt.path, header.Get("Allow"))
		}
		if header.Get("Content-Security-Policy") != contentPolicy || header.Get("X-Content-Type-Options") != "nosniff" ||
			header.Get("Access-Control-Allow-Origin") != "" || header.Get(CorrelationHeader) == "" {
			t.Errorf("%s %s: headers %v", tt.method, tt.path, header)
		}
	}
}

func TestWhoIsKnownIsNamed(t *testing.T) {
	v := newTown(t)
	if status, _, body := v.ask("POST", "/api/instances/acme/suspend", "admin", `{"reason":"x"}`, nil); status != 200 || !strings.Contains(body, `"by":"admin@example.com"`) {
		t.Errorf("got %d %s", status, body)
	}
	// What names the person behind root on the socket counts for nobody here.
	_, _, body := v.ask("POST", "/api/instances/acme/suspend", "admin", `{"reason":"y"}`, func(r *http.Request) { r.Header.Set(operatorHeader, "root") })
	if !strings.Contains(body, `"by":"admin@example.com"`) {
		t.Errorf("got %s", body)
	}
}

func TestSetupMode(t *testing.T) {
	v := newTown(t)
	v.people.open = true
	tests := []struct {
		path   string
		status int
		want   string
	}{
		{"/healthz", 200, "ok"},
		{"/api/instances", 503, "POST /auth/bootstrap"},
		{"/api/nothing", 503, "no administrator yet"},
		{"/metrics", 503, "no administrator yet"},
		{"/setup", 200, "page /setup"},
	}
	for _, tt := range tests {
		for _, token := range []string{"", "admin"} {
			if status, _, body := v.ask("GET", tt.path, token, "", nil); status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("%s as %q: %d %s", tt.path, token, status, body)
			}
		}
	}
	v.people.broken = errors.New("the store is gone")
	if status, _, body := v.ask("GET", "/api/instances", "admin", "", nil); status != 503 || !strings.Contains(body, "the store is gone") {
		t.Errorf("got %d %s", status, body)
	}
	if status, _, _ := v.raw("GET", "/api/instances", ""); status != 200 {
		t.Errorf("the socket answers %d", status)
	}
}

func TestHosts(t *testing.T) {
	v := newTown(t)
	for host, want := range map[string]int{"127.0.0.1:1234": 200, "[::1]:80": 200, "10.1.2.3": 200, "localhost": 200, "LocalHost.:99": 200,
		"fairlead.example.com": 200, "FAIRLEAD.example.com:443": 200, "evil.example.com": 421, "localhost.evil.example": 421, "127.0.0.1.evil.example:80": 421} {
		if status, _, body := v.ask("GET", "/healthz", "", "", func(r *http.Request) { r.Host = host }); status != want {
			t.Errorf("%s: %d %s", host, status, body)
		}
	}
}

func TestForgedRequests(t *testing.T) {
	v := newTown(t)
	tests := []struct {
		name, method, token string
		header              http.Header
		status              int
	}{
		{"a browser's own", "POST", "admin", http.Header{"Sec-Fetch-Site": {"same-origin"}}, 200},
		{"another site", "POST", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 403},
		{"another site, older browser", "POST", "", http.Header{"Origin": {"https://evil.example.com"}}, 403},
		{"another site with a token", "POST", "admin", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 200},
		{"a program", "POST", "", nil, 401},
		{"a link", "GET", "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, 405},
	}
	for _, tt := range tests {
		status, _, body := v.ask(tt.method, "/api/instances/acme/resume", tt.token, "", func(r *http.Request) {
			for k, values := range tt.header {
				r.Header[k] = values
			}
		})
		if status != tt.status {
			t.Errorf("%s: %d %s, want %d", tt.name, status, body, tt.status)
		}
	}
}

func TestPanicIsAnAnswer(t *testing.T) {
	v := newTown(t)
	v.pages = func(http.ResponseWriter, *http.Request) { panic("secret") }
	status, _, body := v.ask("GET", "/page", "", "", nil)
	if status != 500 || strings.Contains(body, "secret") || !strings.Contains(body, `"hint"`) || !strings.Contains(fmt.Sprint(v.log.lines(t)), "secret") {
		t.Errorf("got %d %s; log %s", status, body, fmt.Sprint(v.log.lines(t)))
	}
	v.pages = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 10000))
		panic("after half")
	}
	resp, err := http.Get(v.url + "/page")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("half of an answer looks like one")
	}
}
