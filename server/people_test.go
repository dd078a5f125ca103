package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

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

// TestScopeSync has a token with this scope alone bring about what is configured,
// and change nothing of it.
func TestScopeSync(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	admin := v.settle()
	token := v.want(201, "flp_", "POST", "/api/tokens", admin, object{"name": "nightly", "scopes": []string{"sync"}}).json(t)["token"].(string)
	for _, path := range []string{"/api/sync/trigger", "/api/source/sync", "/api/instances/acme/reconcile", "/api/instances/acme/connectors/shop/run"} {
		if got := v.ask("POST", path, token, nil); got.status == 401 || got.status == 403 {
			t.Errorf("POST %s with the scope sync: %d %s", path, got.status, got.body)
		}
	}
	v.want(403, "scope write", "POST", "/api/admin/configure", token, object{"data_source": "local"})
	v.want(403, "scope read", "GET", "/api/instances", token, nil)
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
	v.want(200, "page", "POST", "/query", admin, object{})
	v.want(200, "page", "POST", "/rings/one/polish", "", object{}, "Cookie: "+auth.PlainCookie+"="+admin)
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
		"POST /rings/{name}/polish one done Ada session ",
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
	if page.Entries[5].Correlation != "req-1" || page.Entries[4].Correlation != "req-2" {
		t.Errorf("ids are %q and %q", page.Entries[5].Correlation, page.Entries[4].Correlation)
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
