package server

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/fairlead/fairlead/server/auth"
)

const (
	adaPassword   = "plum-lantern-orbit"
	gracePassword = "quiet-harbour-velvet"
)

// village is a house with people of its own, reached by a real listener and by
// the socket.
type village struct {
	*house
	api    *API
	store  *auth.Store
	url    string
	code   *slip
	socket *Client
	notes  *plainNotes
}

// plainNotes are notes before they are sealed.
type plainNotes struct {
	Notes
	mu  sync.Mutex
	all []byte
}

func (n *plainNotes) Put(key string, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(append(n.all, data...), '\n')
	return n.Notes.Put(key, data)
}

// slip is a setup code in memory.
type slip struct {
	mu   sync.Mutex
	code string
}

func (s *slip) Read() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.code == "" {
		return "", fs.ErrNotExist
	}
	return s.code, nil
}

func (s *slip) Write(code string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
	return nil
}

func (s *slip) Remove() error { return s.Write("") }

func newVillage(t *testing.T) *village {
	t.Helper()
	v := &village{house: newHouse(t), code: &slip{}}
	v.notes = &plainNotes{Notes: v.config.Notes}
	db, err := bolt.Open(filepath.Join(t.TempDir(), "people.db"), 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	v.store, err = auth.NewStore(auth.Options{DB: db, Key: bytes.Repeat([]byte("k"), auth.MinKey), Code: v.code, Cost: auth.Cost{Memory: 8, Time: 1, Threads: 1},
		Proxies: auth.Proxies{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	config := v.config
	config.Auth, config.Notes = v.store, v.notes
	v.api = NewAPI(config)
	s := httptest.NewServer(v.api.PublicHandler(Public{People: v.store, Pages: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "page") })}))
	t.Cleanup(s.Close)
	v.url = s.URL
	listener, err := Listen(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.api.Serve(ctx, listener) }()
	v.socket = NewClient(listener.Addr().String(), "")
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return v
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// json reads the answer.
func (a answer) json(t *testing.T) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return v
}

// ask makes a request; headers are "Name: value".
func (v *village) ask(method, path, bearer string, body any, headers ...string) answer {
	v.t.Helper()
	content := []byte{}
	if body != nil {
		content, _ = json.Marshal(body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, v.url+path, bytes.NewReader(content))
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		v.t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Error(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

type object = map[string]any

// want asks and compares the status, and whether the body holds a text.
func (v *village) want(status int, text, method, path, bearer string, body any, headers ...string) answer {
	v.t.Helper()
	a := v.ask(method, path, bearer, body, headers...)
	if a.status != status || !strings.Contains(a.body, text) {
		v.t.Errorf("%s %s: %d %s, want %d and %q", method, path, a.status, a.body, status, text)
	}
	return a
}

// settle makes the first administrator and returns her token.
func (v *village) settle() string {
	v.t.Helper()
	a := v.want(200, "access_token", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "name": "Ada", "password": adaPassword})
	return a.json(v.t)["access_token"].(string)
}

// people makes a user as an administrator and signs them in.
func (v *village) people(admin, email, role string) (id, token string) {
	v.t.Helper()
	u := v.want(201, email, "POST", "/api/users", admin, object{"email": email, "role": role, "password": gracePassword})
	in := v.want(200, "bearer", "POST", "/auth/token", "", object{"email": email, "password": gracePassword})
	return u.json(v.t)["id"].(string), in.json(v.t)["access_token"].(string)
}

// TestTheFirstDay plays what somebody does who has just installed it.
func TestTheFirstDay(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	v.want(503, "POST /auth/bootstrap", "GET", "/api/instances", "", nil)
	v.want(503, "POST /auth/bootstrap", "POST", "/auth/token", "", object{"email": "a@example.com", "password": "x"})
	v.want(200, "ok", "GET", "/healthz", "", nil)
	v.want(422, "at least 12 characters", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com", "password": ""})
	v.want(422, "password", "POST", "/auth/bootstrap", "", object{"email": "ada@example.com"})
	made := v.want(200, "", "POST", "/auth/bootstrap", "", object{"email": "Ada@Example.com", "password": adaPassword}).json(t)
	for key, want := range (object{"token_type": "bearer", "email": "ada@example.com", "role": "admin"}) {
		if made[key] != want {
			t.Errorf("bootstrap: %s is %v, want %v", key, made[key], want)
		}
	}
	if len(made) != 5 || made["access_token"] == "" || made["user_id"] == "" {
		t.Errorf("bootstrap has the shape %v", made)
	}
	v.want(403, "closed", "POST", "/auth/bootstrap", "", object{"email": "eve@example.com", "password": adaPassword})
	in := v.want(200, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword}).json(t)
	if len(in) != 5 || in["user_id"] != made["user_id"] || in["access_token"] == made["access_token"] {
		t.Errorf("a sign-in has the shape %v", in)
	}
	token := in["access_token"].(string)
	v.want(200, `"via":"session"`, "GET", "/api/me", token, nil)
	v.want(200, "acme", "GET", "/api/instances", token, nil)
	v.want(200, "signed out", "POST", "/auth/logout", token, nil)
	v.want(401, "sign in again", "GET", "/api/me", token, nil)
	v.want(200, "ada", "GET", "/api/me", made["access_token"].(string), nil)
	v.want(401, "Authorization: Bearer", "GET", "/api/me", "", nil)
}

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

func TestUsersOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	id, grace := v.people(admin, "grace@example.com", "analyst")
	v.want(409, "already", "POST", "/api/users", admin, object{"email": "GRACE@example.com", "role": "viewer"})
	v.want(422, "role", "POST", "/api/users", admin, object{"email": "x@example.com", "role": "root"})
	v.want(422, "", "POST", "/api/users", admin, object{"email": "x@example.com", "role": "viewer", "admin": true})
	v.want(403, "needs the role admin", "GET", "/api/users", grace, nil)
	v.want(200, `"email":"grace@example.com"`, "GET", "/api/users", admin, nil)
	v.want(200, `"name":"Grace"`, "PATCH", "/api/users/"+id, admin, object{"name": "Grace"})
	v.want(200, "grace", "GET", "/api/me", grace, nil)
	v.want(200, `"role":"viewer"`, "PATCH", "/api/users/"+id, admin, object{"role": "viewer"})
	v.want(401, "sign in again", "GET", "/api/me", grace, nil)
	v.want(404, "no such user", "PATCH", "/api/users/nobody", admin, object{"name": "x"})
	ada := v.ask("GET", "/api/me", admin, nil).json(t)["user_id"].(string)
	v.want(409, "nobody else can sign in as an administrator", "DELETE", "/api/users/"+ada, admin, nil)
	v.want(409, "nobody else", "PATCH", "/api/users/"+ada, admin, object{"role": "viewer"})
	v.want(409, "nobody else", "PATCH", "/api/users/"+ada, admin, object{"disabled": true})
	v.want(200, "grace", "DELETE", "/api/users/grace@example.com", admin, nil)
	v.want(404, "", "GET", "/api/users/"+id, admin, nil)
	if strings.Contains(v.ask("GET", "/api/users", admin, nil).body, "argon2") {
		t.Error("the hashes are shown")
	}
}

func TestSessionsOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	id, grace := v.people(admin, "grace@example.com", "viewer")
	other := v.ask("POST", "/auth/token", "", object{"email": "grace@example.com", "password": gracePassword}).json(t)["access_token"].(string)
	list := v.want(200, `"current":true`, "GET", "/api/sessions", grace, nil)
	if n := strings.Count(list.body, `"id"`); n != 2 || strings.Contains(list.body, "access_token") {
		t.Errorf("grace has %d sessions: %s", n, list.body)
	}
	mine := v.ask("GET", "/api/me", admin, nil).json(t)["session"].(string)
	v.want(404, "no such session", "DELETE", "/api/sessions/"+mine, grace, nil)
	v.want(200, "", "DELETE", "/api/sessions", grace, nil)
	v.want(401, "", "GET", "/api/me", other, nil)
	v.want(200, "", "GET", "/api/me", grace, nil)
	v.want(200, `"user_id":"`+id, "GET", "/api/users/"+id+"/sessions", admin, nil)
	v.want(200, "[]", "DELETE", "/api/users/"+id+"/sessions", admin, nil)
	v.want(401, "", "GET", "/api/me", grace, nil)
}

func TestPasswordOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	v.want(403, "current_password", "POST", "/api/me/password", admin, object{"current_password": "wrong", "new_password": gracePassword})
	v.want(422, "guessed first", "POST", "/api/me/password", admin, object{"current_password": adaPassword, "new_password": "Password2026!"})
	v.want(200, "ada", "POST", "/api/me/password", admin, object{"current_password": adaPassword, "new_password": gracePassword})
	v.want(401, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword})
	v.want(200, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": gracePassword})
}

func TestTokensOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	_, grace := v.people(admin, "grace@example.com", "analyst")
	for _, path := range []string{"/api/tokens", "/auth/tokens"} {
		made := v.want(201, "flp_", "POST", path, grace, object{"name": "ci", "scopes": []string{"read"}}).json(t)
		secret := made["token"].(string)
		if !slices.Contains([]string{made["prefix"].(string)}, secret[:10]) || made["expires_at"] == nil || made["created_at"] == nil {
			t.Errorf("made %v", made)
		}
		v.want(200, "acme", "GET", "/api/instances", secret, nil)
		v.want(403, "pages are for people", "GET", "/instances", secret, nil)
		v.want(403, "scope query", "GET", "/api/instances/acme/catalog", secret, nil)
		v.want(403, "scope admin", "POST", path, secret, object{"name": "another"})
		v.want(403, "", "POST", "/api/me/password", secret, object{"current_password": gracePassword, "new_password": adaPassword})
		whole := v.want(201, "", "POST", path, grace, object{"name": "whole", "expires_in_days": 3650}).json(t)["token"].(string)
		v.want(403, "a token cannot make tokens", "POST", path, whole, object{"name": "another"})
		v.want(403, "changed by who is signed in", "POST", "/api/me/password", whole, object{"current_password": gracePassword, "new_password": adaPassword})
		if list := v.want(200, "last_used_ip", "GET", path, grace, nil); strings.Contains(list.body, secret[10:]) || strings.Contains(list.body, "hash") {
			t.Errorf("the list has secrets: %s", list.body)
		}
		v.want(422, "expires_in_days", "POST", path, grace, object{"name": "x", "expires_in_days": 3651})
		v.want(422, "", "POST", path, grace, object{"name": "x", "expires_in_days": 0})
		v.want(422, "", "POST", path, grace, object{"name": "x", "expires_in_days": "soon"})
		v.want(403, "never end", "POST", path, grace, object{"name": "x", "expires_in_days": nil})
		v.want(201, `"expires_at":null`, "POST", path, admin, object{"name": "x", "expires_in_days": nil})
		v.want(403, "by whose it is", "POST", path, grace, object{"name": "x", "user_id": "ada@example.com"})
		v.want(404, "no such token", "DELETE", path+"/"+made["id"].(string), v.admin2(admin), nil)
		v.want(200, "ci", "DELETE", path+"/"+made["id"].(string), grace, nil)
		v.want(401, "", "GET", "/api/instances", secret, nil)
	}
	v.want(401, "not whole", "GET", "/api/instances", "flp_short", nil)
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

// admin2 is a viewer whom an administrator makes for the occasion.
func (v *village) admin2(admin string) string {
	email := fmt.Sprintf("viewer%d@example.com", len(v.ask("GET", "/api/users", admin, nil).body))
	_, token := v.people(admin, email, "viewer")
	return token
}

// TestAuditOverHTTP: every change is written down by itself, with who, from
// where and under which id; what only looks is not.
func TestAuditOverHTTP(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	id, grace := v.people(admin, "grace@example.com", "viewer")
	v.want(200, "", "POST", "/api/instances/acme/suspend", admin, object{"reason": "a secret reason"}, "X-Request-Id: req-1")
	v.want(200, "", "GET", "/api/instances", admin, nil)
	v.want(403, "", "POST", "/api/instances/acme/resume", grace, nil, "X-Request-Id: req-2")
	v.want(404, "", "POST", "/api/instances/nope/resume", admin, nil)
	v.want(200, "", "PATCH", "/api/users/"+id, admin, object{"role": "analyst", "password": adaPassword + "!"})
	if _, err := v.socket.Resume(t.Context(), "acme", ""); err != nil {
		t.Fatal(err)
	}
	a := v.want(200, "", "GET", "/api/audit?limit=100", admin, nil)
	if strings.Contains(a.body, adaPassword) || strings.Contains(a.body, "a secret reason") {
		t.Errorf("the log holds what was sent: %s", a.body)
	}
	var page AuditPage
	if err := json.Unmarshal([]byte(a.body), &page); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range page.Entries {
		got = append(got, fmt.Sprintf("%s %s %s %s %s %s", e.Operation, e.Target, e.Outcome, e.Who, e.Via, e.Detail))
		if e.Via == auth.ViaSession && e.Address != "127.0.0.1" {
			t.Errorf("from %q: %+v", e.Address, e)
		}
	}
	who := UserName(0)
	if page.Entries[0].Who != who { // the tests may run as somebody else
		who = page.Entries[0].Who
	}
	want := []string{
		"resume acme done " + who + " socket ",
		"changeUser grace@example.com role=analyst new password done Ada session ",
		"resume nope refused Ada session 404 Not Found",
		"resume acme refused grace@example.com session 403 Forbidden",
		"suspend acme done Ada session ",
		"signIn grace@example.com done grace@example.com session ",
		"createUser grace@example.com done Ada session ",
		"bootstrap ada@example.com done Ada session ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if page.Entries[4].Correlation != "req-1" || page.Entries[3].Correlation != "req-2" {
		t.Errorf("ids are %q and %q", page.Entries[4].Correlation, page.Entries[3].Correlation)
	}
	v.want(200, `"before":`, "GET", "/api/audit?limit=2", admin, nil)
	if of := v.want(200, "changeUser", "GET", "/api/audit?user="+id, admin, nil); strings.Contains(of.body, "bootstrap") {
		t.Errorf("of grace: %s", of.body)
	}
	v.want(401, "", "GET", "/api/audit", grace, nil)
	lines := v.want(200, "bootstrap", "GET", "/api/audit/export", admin, nil)
	if n := strings.Count(lines.body, "\n"); n != len(want) || lines.header.Get("Content-Type") != ndjson {
		t.Errorf("the export has %d lines of %s", n, lines.header.Get("Content-Type"))
	}
}

// TestPeopleOnTheSocket: the host's administrator does all of it by the client.
func TestPeopleOnTheSocket(t *testing.T) {
	t.Parallel()
	v, ctx := newVillage(t), t.Context()
	u, err := v.socket.CreateUser(ctx, NewUser{Email: "ada@example.com", Role: auth.RoleAdmin, Password: adaPassword})
	if err != nil {
		t.Fatal(err)
	}
	v.want(403, "closed", "POST", "/auth/bootstrap", "", object{"email": "eve@example.com", "password": adaPassword})
	made, err := v.socket.CreateToken(ctx, NewToken{User: "ada@example.com", Name: "ci", Expires: &Lifetime{Forever: true}, Scopes: []string{"read"}})
	if err != nil || made.Expires != nil {
		t.Fatalf("%+v, %v", made, err)
	}
	v.want(200, "acme", "GET", "/api/instances", made.Token, nil)
	if list, err := v.socket.UserTokens(ctx, u.ID); err != nil || len(list) != 1 || list[0].ID != made.ID {
		t.Errorf("tokens: %+v, %v", list, err)
	}
	name := "Ada"
	if u, err = v.socket.ChangeUser(ctx, "ada@example.com", UserChange{Name: &name}); err != nil || u.Name != "Ada" {
		t.Errorf("changed: %+v, %v", u, err)
	}
	v.want(200, "", "POST", "/auth/token", "", object{"email": "ada@example.com", "password": adaPassword})
	list, err := v.socket.UserSessions(ctx, u.ID)
	if err != nil || len(list) != 1 {
		t.Fatalf("sessions: %+v, %v", list, err)
	}
	if x, err := v.socket.EndSession(ctx, list[0].ID); err != nil || x.ID != list[0].ID {
		t.Errorf("ended: %+v, %v", x, err)
	}
	if err := v.socket.EndSessions(ctx, u.ID); err != nil {
		t.Error(err)
	}
	if _, err := v.socket.DeleteToken(ctx, made.ID); err != nil {
		t.Error(err)
	}
	v.want(401, "", "GET", "/api/instances", made.Token, nil)
	if _, err := v.socket.DeleteUser(ctx, u.ID); err == nil || AsError(err).Status != 409 || AsError(err).Hint == "" {
		t.Errorf("the last administrator: %v", err)
	}
	entries, err := v.socket.Audit(ctx, auth.AuditQuery{Limit: 100, User: "ada@example.com"})
	if err != nil || len(entries) < 5 || entries[0].Operation != "deleteUser" || entries[0].Outcome != auth.OutcomeRefused {
		t.Errorf("audit: %+v, %v", entries, err)
	}
	var out bytes.Buffer
	if err := v.socket.ExportAudit(ctx, &out); err != nil || strings.Count(out.String(), "\n") < len(entries) {
		t.Errorf("export: %s, %v", out.String(), err)
	}
	if users, err := v.socket.Users(ctx); err != nil || len(users) != 1 {
		t.Errorf("users: %+v, %v", users, err)
	}
}

// TestValid is what open streams ask from time to time.
func TestValid(t *testing.T) {
	t.Parallel()
	v, ctx := newVillage(t), t.Context()
	admin := v.settle()
	id, grace := v.people(admin, "grace@example.com", "viewer")
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+grace)
	who, _, err := v.store.Authenticate(r)
	if err != nil || !v.api.Valid(ctx, who) {
		t.Fatalf("%+v is not valid, %v", who, err)
	}
	v.want(200, "", "PATCH", "/api/users/"+id, admin, object{"disabled": true})
	if v.api.Valid(ctx, who) {
		t.Error("a disabled user is still believed")
	}
	if !v.api.Valid(ctx, auth.Caller{Via: auth.ViaSocket}) || v.api.Valid(ctx, auth.Caller{}) {
		t.Error("the socket is believed always, nobody never")
	}
}
