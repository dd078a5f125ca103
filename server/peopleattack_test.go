package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

// TestBootstrapRaceOverHTTP: of 50 clients exactly one is made administrator.
func TestBootstrapRaceOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses, start := map[int]int{}, make(chan struct{})
	for i := range 50 {
		wg.Go(func() {
			<-start
			a := v.ask("POST", "/auth/bootstrap", "", object{"email": fmt.Sprintf("admin%d@example.com", i), "password": adaPassword})
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	close(start)
	wg.Wait()
	users, err := v.store.Users(t.Context())
	if statuses[200] != 1 || statuses[200]+statuses[403]+statuses[429] != 50 || err != nil || len(users) != 1 {
		t.Errorf("the answers were %v; users %v, %v", statuses, users, err)
	}
}

// TestBootstrapFromElsewhere needs the setup code: a proxy is elsewhere, too.
func TestBootstrapFromElsewhere(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	code, err := v.store.SetupCode()
	if err != nil {
		t.Fatal(err)
	}
	admin := object{"email": "ada@example.com", "password": adaPassword}
	const proxied = "X-Forwarded-For: 198.51.100.1"
	v.want(403, "fairlead user setup-code", "POST", "/auth/bootstrap", "", admin, proxied)
	v.want(403, "setup", "POST", "/auth/bootstrap", "", admin, proxied, "X-Setup-Code: WRONG")
	v.want(403, "setup", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "password": adaPassword, "setup_code": "WRONG"}, proxied)
	v.want(403, "another site", "POST", "/auth/bootstrap", "", admin, "Origin: http://evil.example.com", "Sec-Fetch-Site: cross-site")
	shown, err := v.socket.SetupCode(t.Context())
	if err != nil || !shown.Open || shown.Code != code {
		t.Errorf("on the socket: %+v, %v", shown, err)
	}
	v.want(200, "access_token", "POST", "/auth/bootstrap", "", admin, proxied, "X-Setup-Code: "+code)
	if shown, err := v.socket.SetupCode(t.Context()); err != nil || shown.Open || shown.Code != "" {
		t.Errorf("afterwards: %+v, %v", shown, err)
	}
}

// TestWrongCodesAreLimited from one address, not from others.
func TestWrongCodesAreLimited(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	limited := 0
	for range 30 {
		a := v.ask("POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "password": adaPassword, "setup_code": "WRONG"}, "X-Forwarded-For: 198.51.100.1")
		if a.status == 429 && a.header.Get("Retry-After") != "" {
			limited++
		}
	}
	if limited < 20 {
		t.Errorf("of 30 wrong codes %d were limited", limited)
	}
	v.want(403, "setup_code", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "password": adaPassword}, "X-Forwarded-For: 198.51.100.2")
}

// TestAnswersDoNotTellWhoExists over the wire: the same status, words and headers.
func TestAnswersDoNotTellWhoExists(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	v.settle()
	known := v.want(401, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": gracePassword})
	nobody := v.want(401, "", "POST", "/auth/token", "", object{"email": "eve@example.com", "password": gracePassword})
	for _, h := range []http.Header{known.header, nobody.header} {
		h.Del("Date")
		h.Del(CorrelationHeader)
	}
	if known.body != nobody.body || fmt.Sprint(known.header) != fmt.Sprint(nobody.header) {
		t.Errorf("known %v %s\nunknown %v %s", known.header, known.body, nobody.header, nobody.body)
	}
}

func TestSignInFlood(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	v.settle()
	statuses := map[int]int{}
	for range 100 {
		a := v.ask("POST", "/auth/token", "", object{"email": "ada@example.com", "password": gracePassword}, "X-Forwarded-For: 198.51.100.1")
		if statuses[a.status]++; a.status == 429 && a.header.Get("Retry-After") == "" {
			t.Fatal("429 does not say when to come again")
		}
	}
	if statuses[401] > 15 || statuses[401]+statuses[429] != 100 {
		t.Errorf("the answers were %v", statuses)
	}
	v.want(200, "bearer", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword}) // where she is signed in
}

// TestSessionFixation: a session that somebody came with is never the one that
// they get.
func TestSessionFixation(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	_, eve := v.people(admin, "eve@example.com", "viewer")
	in := v.want(200, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword}, "Cookie: "+auth.PlainCookie+"="+eve).json(t)
	if in["access_token"] == eve {
		t.Error("the session is the one that the client came with")
	}
	v.want(200, "eve@example.com", "GET", "/api/me", eve, nil)
	// A cookie that is over keeps nobody from signing in.
	v.want(200, "bearer", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword}, "Cookie: "+auth.PlainCookie+"=x.y.z")
}

// TestCookiesAreForOwnPages: with a cookie, a page of another site changes
// nothing; a bearer token is sent by nobody unasked.
func TestCookiesAreForOwnPages(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	cookie := "Cookie: " + auth.PlainCookie + "=" + admin
	v.want(200, "ada", "GET", "/api/me", "", nil, cookie)
	v.want(403, "another site", "POST", "/api/instances/acme/resume", "", nil, cookie, "Origin: https://evil.example.com")
	v.want(403, "another site", "DELETE", "/api/sessions", "", nil, cookie, "Sec-Fetch-Site: cross-site")
	v.want(403, "another site", "DELETE", "/api/sessions", "", nil, cookie, "Sec-Fetch-Site: cross-site", "Authorization: Basic dTpw")
	v.want(200, "acme", "POST", "/api/instances/acme/resume", "", nil, cookie, "Origin: "+v.url)
	v.want(200, "acme", "POST", "/api/instances/acme/resume", admin, nil, "Sec-Fetch-Site: cross-site")
	out := v.want(200, "signed out", "POST", "/auth/logout", "", nil, cookie)
	if set := out.header.Get("Set-Cookie"); !strings.Contains(set, auth.PlainCookie+"=;") || !strings.Contains(set, "Max-Age=0") {
		t.Errorf("the cookie is set to %q", set)
	}
	v.want(401, "", "GET", "/api/me", "", nil, cookie)
}

// TestPathTricks: no way of writing a path leads round who may.
func TestPathTricks(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	_, viewer := v.people(admin, "grace@example.com", "viewer")
	for _, path := range []string{"/api/users", "/api/users/", "//api/users", "/api//users", "/api/./users", "/api/../api/users", "/auth/../api/users", "/static/../api/users",
		"/healthz/../api/users", "/api/users%2f", "/api/%75sers", "/API/users", "/api/users;x=/healthz", "/api/users?x=/healthz", "/api/users/%2e%2e/users", "/api/me/../users", "/setup/..%2fapi/users"} {
		for _, bearer := range []string{"", viewer} {
			if a := v.ask("GET", path, bearer, nil); strings.Contains(a.body, "ada@example.com") || (a.status == 200 && a.body != "page") {
				t.Errorf("%s as %.6q: %d %s", path, bearer, a.status, a.body)
			}
		}
	}
	for _, header := range []string{"X-HTTP-Method-Override: DELETE", "X-Original-URL: /api/users", "X-Rewrite-URL: /api/users", "X-Fairlead-Operator: root", "X-Forwarded-User: ada@example.com"} {
		v.want(403, "needs the role admin", "GET", "/api/users", viewer, nil, header)
		v.want(401, "", "GET", "/api/users", "", nil, header)
	}
}

// TestRepeatedRequestsKeepNoSecret: a POST that comes twice with one key makes
// one token, which is written down nowhere, and neither is a hash of a password.
func TestRepeatedRequestsKeepNoSecret(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	const key = "Idempotency-Key: once"
	one := v.want(201, "flp_", "POST", "/api/tokens", admin, object{"name": "ci"}, key)
	two := v.want(201, "flp_", "POST", "/api/tokens", admin, object{"name": "ci"}, key)
	if one.body != two.body {
		t.Errorf("%s is not %s", one.body, two.body)
	}
	user := object{"email": "grace@example.com", "role": "viewer", "password": gracePassword}
	v.want(201, "grace", "POST", "/api/users", admin, user, key)
	v.want(200, "ada", "POST", "/api/me/password", admin, object{"current_password": adaPassword, "new_password": gracePassword}, key)
	v.want(200, "acme", "POST", "/api/instances/acme/resume", admin, nil, key)
	body, _ := json.Marshal(user)
	hash := sha256.Sum256(body)
	v.notes.mu.Lock()
	defer v.notes.mu.Unlock()
	for what, secret := range map[string]string{"token": one.json(t)["token"].(string)[10:], "token's answer": base64.StdEncoding.EncodeToString([]byte(one.body))[:40], "hash": hex.EncodeToString(hash[:])} {
		if bytes.Contains(v.notes.all, []byte(secret)) {
			t.Errorf("the %s is written down", what)
		}
	}
	if !bytes.Contains(v.notes.all, []byte(`"status":200`)) {
		t.Error("it was not looked where answers are kept")
	}
}
