package pages

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/server/auth"
)

// acme is a repository with one instance that has two sources.
func acme() fstest.MapFS {
	return fstest.MapFS{
		"instances/acme/instance.yaml": {Data: []byte("apiVersion: fairlead/v1\nname: acme\nallowEmpty: true\n")},
		"instances/acme/connectors/keboola.yaml": {Data: []byte("keboola: {url: 'https://connection.keboola.com', token: 'in-the-clear-1234'}\nschedule: every 1h\n" +
			"tables:\n- {name: orders, id: in.c-shop.orders}\n- {name: customers, id: in.c-shop.customers}\n")},
		"instances/acme/connectors/shop.yaml": {Data: []byte("postgres: {url: 'postgres://u@db.example.com/shop'}\ntables:\n- {name: invoices, id: public.invoices}\n")},
	}
}

// newAcme serves it, once its sources are wanted.
func newAcme(t testing.TB) *town {
	t.Helper()
	town := newTown(t, acme())
	wait(t, "the sources", func() bool { return len(town.wells.Attachments("acme")) == 2 })
	return town
}

// Whoever signs in comes to where they wanted, and to no other site.
func TestLoginLeadsNowhereElse(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.admin(t)
	for next, want := range map[string]string{
		"/data?q=a%20b": "/data?q=a%20b", "/users": "/users", "": "/", "/": "/", "/login": "/", "/login/../login": "/", "/login?next=/login": "/",
		"https://evil.example/": "/", "//evil.example/": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "/\t/evil.example": "/",
		"javascript:alert(1)": "/", "evil.example": "/", "http:/evil.example": "/", "/%0d%0aLocation:%20x": "/%0d%0aLocation:%20x", "//evil.example@localhost": "/",
		"https:evil.example": "/", "/\r\nSet-Cookie: a=b": "/", "?x": "/", "#x": "/", "data:text/html,x": "/",
	} {
		b := town.browser(t)
		b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		b.get("/login?next=" + url.QueryEscape(next))
		b.post("/login", "email", adminEmail, "password", adminPassword, "next", next)
		if got := b.head.Get("Location"); b.status != 303 || got != want {
			t.Errorf("next=%q leads to %q (%d), want %q", next, got, b.status, want)
		}
	}
}

// A sign-in that fails says the same whether there is such a user or not.
func TestLoginRevealsNobody(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.admin(t)
	said := map[string]string{}
	for _, email := range []string{adminEmail, "nobody@acme.com", "not an address"} {
		b := town.browser(t)
		b.get("/login")
		b.submit("/login", "Sign in", "email", email, "password", "not-their-password")
		b.want(401, "/login", "The email or the password is wrong.")
		said[email] = strings.ReplaceAll(b.text, email, "")
	}
	if said[adminEmail] != said["nobody@acme.com"] {
		t.Error("the pages differ")
	}
	b := town.browser(t)
	for range 40 {
		if b.post("/login", "email", adminEmail, "password", "wrong"); b.status == 429 {
			break
		}
	}
	b.want(429, "/login", "too many attempts", "Come again in")
	if b.head.Get("Retry-After") == "" {
		t.Error("nothing says when to come again")
	}
}

// A stale cookie keeps nobody from signing in, and signing out ends the session.
func TestSignOut(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	b.get("/query")
	b.submit("/query", "Run", "sql", "SELECT 1")
	ran := b.at.RequestURI()
	b.submit("/logout", "")
	b.want(200, "/login")
	b.get(ran)
	b.want(200, "/login?next=")
	b.signIn(adminEmail, adminPassword)
	b.get(ran)
	b.want(200, "/query", "not remembered any more")
}

func TestAccount(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	other := town.browser(t)
	other.signIn(adminEmail, adminPassword)
	b.never = []string{adminPassword, "quiet-harbour-velvet"}
	b.get("/account")
	b.want(200, "/account", "this one", "End all others")
	b.submit("/account/password", "Change password", "current_password", "wrong-wrong-wrong", "password", "quiet-harbour-velvet")
	b.want(403, "/account", "It is wrong.")
	b.submit("/account/password", "Change password", "current_password", adminPassword, "password", "short")
	b.want(422, "/account", "fewer than 12 characters")
	b.submit("/account/password", "Change password", "current_password", adminPassword, "password", "quiet-harbour-velvet")
	b.want(200, "/account", "Your password is changed")
	other.get("/account")
	other.want(200, "/login")
	other.signIn(adminEmail, "quiet-harbour-velvet")
	b.get("/account")
	b.submit("/account/sessions/end", "End all others")
	b.want(200, "/account", "are ended")
	other.get("/account")
	other.want(200, "/login")
	b.submit("/end", "Sign out")
	b.want(200, "/login")
	b.get("/")
	b.want(200, "/login")
}

var tokenForm = regexp.MustCompile(`flp_[0-9A-Za-z]{49}`)

// A token is shown once, does what it may, and is of no use when it is deleted.
func TestTokens(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	b.get("/tokens")
	b.submit("/tokens", "Make the token", "name", "")
	b.want(422, "/tokens")
	b.submit("/tokens", "Make the token", "name", "nightly <export>", "scope", "query", "expires", "30")
	b.want(200, "/tokens?made=", "here is the token", "nightly <export>")
	token := tokenForm.FindString(b.text)
	if token == "" {
		t.Fatalf("no token is shown: %s", b.words())
	}
	if strings.Contains(b.at.String(), token) || strings.Contains(b.text, "<export>") {
		t.Error("the token is in the address, or its name is not escaped")
	}
	again := b.at.RequestURI()
	b.never = []string{token}
	b.get(again)
	b.want(200, "/tokens", "nightly <export>", "never")
	call := func() int {
		program := town.browser(t)
		program.header.Set("Authorization", "Bearer "+token)
		program.get("/api/instances/acme/catalog")
		return program.status
	}
	if status := call(); status == 401 {
		t.Errorf("the token is refused: %d", status)
	}
	for _, path := range []string{"/users", "/account", "/query"} { // tokens are for the API, where their scopes count
		program := town.browser(t)
		program.header.Set("Authorization", "Bearer "+token)
		if program.get(path); program.at.Path != "/login" && program.status < 400 {
			t.Errorf("a token opens the page %s: %d", path, program.status)
		}
		if program.post(path, "email", "eve@acme.com", "role", "admin"); program.status < 400 {
			t.Errorf("a token sends the form of %s: %d at %s", path, program.status, program.at)
		}
	}
	b.get("/tokens")
	m := regexp.MustCompile(`/tokens/[^"/]+/delete`).FindString(b.text)
	b.get(m)
	b.want(200, "/tokens/", "It cannot be brought back")
	b.submit("/delete", "Delete it")
	b.want(200, "/tokens", "is deleted")
	if status := call(); status != 401 {
		t.Errorf("a deleted token is answered %d", status)
	}
}

func TestUsers(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	b.get("/users")
	b.submit("/users", "Add user", "email", "not an address")
	b.want(422, "/users", "It is not an address.")
	b.submit("/users", "Add user", "email", "grace@acme.com", "name", "Grace Hopper", "role", "analyst", "password", adminPassword)
	b.want(200, "/users/", "Grace Hopper is added.")
	grace := b.at.Path
	g := town.browser(t)
	g.signIn("grace@acme.com", adminPassword)
	b.get(grace)
	b.submit(grace, "Save", "name", "Grace M. Hopper", "role", "viewer")
	b.want(200, grace, "Grace M. Hopper is changed.", "Viewer")
	g.get("/query")
	g.want(200, "/login")
	g.signIn("grace@acme.com", adminPassword)
	b.get(grace)
	b.submit("/sessions/end", "End all")
	g.get("/")
	g.want(200, "/login")
	b.submit("/password", "Set password", "password", "short")
	b.want(422, grace, "fewer than 12")
	b.submit("/password", "Set password", "password", "quiet-harbour-velvet")
	b.want(200, grace, "has a new password")
	b.submit("/disable", "Disable")
	b.want(200, grace, "Disabled")
	g.get("/login")
	g.submit("/login", "Sign in", "email", "grace@acme.com", "password", "quiet-harbour-velvet")
	g.want(401, "/login")
	b.submit("/enable", "Let in again")
	b.want(200, grace, "may sign in again")
	b.get(grace + "/delete")
	b.submit("/delete", "Delete Grace", "email", "somebody@acme.com")
	b.want(422, grace+"/delete", "That is not their address.")
	b.submit("/delete", "Delete Grace", "email", " GRACE@acme.com ")
	b.want(200, "/users", "is deleted")
	b.get(grace)
	b.want(404, grace, "there is no such user")
}

// The last administrator stays one.
func TestLastAdministrator(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	b.get("/users")
	own := regexp.MustCompile(`/users/[0-9a-f]+`).FindString(b.text)
	b.get(own)
	b.submit(own, "Save", "role", "viewer")
	if b.status < 400 || b.status >= 500 {
		t.Errorf("the last administrator gave it up: %d %s", b.status, b.words())
	}
	b.get("/users")
	b.want(200, "/users")
}

func TestAudit(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	b.get("/tokens")
	b.submit("/tokens", "Make the token", "name", "<i>x</i>")
	for range 130 {
		if err := town.store.Record(auth.Entry{Operation: "sync", Target: "acme", Outcome: auth.OutcomeDone, Email: "cron@acme.com", Who: "cron"}); err != nil {
			t.Fatal(err)
		}
	}
	b.get("/audit")
	b.want(200, "/audit", "cron")
	if n := strings.Count(b.text, "<tr>"); n != auditPage+1 {
		t.Errorf("%d rows", n)
	}
	older := regexp.MustCompile(`/audit\?before=[0-9]+`).FindString(b.text)
	b.get(older)
	b.want(200, "/audit?before=", "createToken", "signIn", "bootstrap", "<i>x</i>")
	b.get("/audit")
	b.submit("/audit", "Show", "user", adminEmail, "operation", "createToken", "since", "1h")
	b.want(200, "/audit?", "createToken")
	if strings.Contains(b.words(), "cron") || strings.Contains(b.words(), "signIn") {
		t.Errorf("the filter lets pass what it should not: %s", b.words())
	}
	b.get("/audit?outcome=failed&user=%3Cscript%3E")
	b.want(200, "/audit?", "No entry fits")
}

// Who may what: a page that is not for a role is 403, and says which role it needs.
func TestRoles(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	town.admin(t)
	viewer, analyst := town.as(t, auth.RoleViewer), town.as(t, auth.RoleAnalyst)
	for path, need := range map[string]auth.Role{
		"/data": auth.RoleViewer, "/data/runs": auth.RoleViewer, "/data/sources/acme/keboola": auth.RoleViewer, "/account": auth.RoleViewer, "/tokens": auth.RoleViewer,
		"/query": auth.RoleAnalyst, "/data/tables/acme/keboola/orders": auth.RoleAnalyst, "/data/runs/acme/keboola/7": auth.RoleAnalyst, "/data/runs/acme/keboola/7/log": auth.RoleAnalyst,
		"/query/download": auth.RoleAnalyst, "/users": auth.RoleAdmin, "/audit": auth.RoleAdmin, "/data/add": auth.RoleAdmin,
	} {
		for _, b := range []*browser{viewer, analyst} {
			role := map[*browser]auth.Role{viewer: auth.RoleViewer, analyst: auth.RoleAnalyst}[b]
			if b.get(path); (b.status == 403) == role.Allows(need) {
				t.Errorf("%s to a %s: %d", path, role, b.status)
			}
		}
	}
	for _, path := range []string{"/data/sources/acme/keboola/run", "/data/sources/acme/keboola/cancel", "/data/sources/acme/keboola/rollback", "/data/add/source", "/users", "/users/x/delete", "/users/x/disable"} {
		if analyst.post(path); analyst.status != 403 {
			t.Errorf("POST %s of an analyst: %d", path, analyst.status)
		}
	}
	viewer.get("/data")
	if strings.Contains(viewer.text, "/data/tables/") || !strings.Contains(viewer.words(), "keboola") || strings.Contains(viewer.text, "Add a source") {
		t.Errorf("a viewer sees other things of data than how they stand: %s", viewer.words())
	}
	if len(town.wells.ran) != 0 {
		t.Errorf("%v ran", town.wells.ran)
	}
}

// A form that another site sends does nothing.
func TestForgedForms(t *testing.T) {
	t.Parallel()
	town := newAcme(t)
	b := town.admin(t)
	for _, header := range []map[string]string{{"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "-", "Origin": "https://evil.example"}, {"Sec-Fetch-Site": "-", "Origin": "null"}} {
		for name, value := range header {
			b.header.Set(name, value)
		}
		if header["Sec-Fetch-Site"] == "-" {
			b.header["Sec-Fetch-Site"] = nil
		}
		for _, path := range []string{"/setup", "/setup/later", "/login", "/logout", "/account/password", "/tokens", "/users", "/data/sources/acme/keboola/run", "/data/add/source", "/query", "/query/forget", "/theme"} {
			r, err := http.NewRequest(http.MethodPost, town.url+path, strings.NewReader(url.Values{"email": {"eve@acme.com"}, "sql": {"SELECT 1"}, "name": {"x"}, "role": {"admin"}, "kind": {"files"}, "instance": {"acme"}}.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = b.header.Clone()
			if header["Sec-Fetch-Site"] == "-" {
				r.Header.Del("Sec-Fetch-Site")
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			resp, err := b.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != 403 {
				t.Errorf("%s with %v: %d", path, header, resp.StatusCode)
			}
		}
	}
	b.header = http.Header{}
	b.get("/")
	b.want(200, "/")
	if users, err := town.store.Users(t.Context()); err != nil || len(users) != 1 || len(town.wells.ran) != 0 || len(town.wells.asked) != 0 {
		t.Errorf("%d users, %v ran, %v was asked: %v", len(users), town.wells.ran, town.wells.asked, err)
	}
}
