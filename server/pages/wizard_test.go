package pages

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/fairlead/fairlead/server"
)

// wait gives others the time to do what they are at.
func wait(t testing.TB, what string, ready func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ready() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		case <-tick.C:
		}
	}
}

// setUp makes the first administrator on the page for it.
func (b *browser) setUp() {
	b.t.Helper()
	b.get("/")
	b.want(200, "/setup", "Make the first administrator")
	b.submit("/setup", "Make the account", "email", adminEmail, "name", "Ada Lovelace", "password", adminPassword)
	b.want(200, "/setup/source", "Where does your data live?")
}

// until loads a page again until it says something.
func (b *browser) until(says string) {
	b.t.Helper()
	wait(b.t, "a page that says "+says, func() bool {
		b.get(b.at.RequestURI())
		return strings.Contains(b.words(), says)
	})
}

func (town *town) write(name, content string) {
	town.t.Helper()
	if err := os.WriteFile(filepath.Join(town.data, name), []byte(content), 0o600); err != nil {
		town.t.Fatal(err)
	}
}

// The whole way with files, as somebody without JavaScript goes it.
func TestWizardOfFiles(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.write("orders.csv", "id,amount\n1,12.5\n2,8\n")
	town.write("customers.csv", "id,name\n1,Ada\n")
	town.write("notes.csv", "id,text\n1,hello\n")
	b := town.browser(t)
	for _, path := range []string{"/query", "/nothing/of/this/name"} {
		b.get(path)
		b.want(200, "/setup")
	}
	for password, says := range map[string]string{"": "password", "short": "fewer than 12", "password1234": "guessed first", "ada@acme.com!!": "email address"} {
		b.submit("/setup", "Make the account", "email", adminEmail, "name", "Ada Lovelace", "password", password)
		b.want(422, "/setup", says)
	}
	b.setUp()

	b.submit("/setup/source", "Continue", "kind", "files", "instance", "Not A Name")
	b.want(422, "/setup/source", "A name begins with a small letter")
	b.submit("/setup/source", "Continue", "kind", "files", "instance", "shop")
	b.want(200, "/setup/", "Folder on this machine")
	b.submit("/credentials", "Test and continue")
	b.want(422, "/setup/", "Is needed, or an address below")
	b.submit("/credentials", "Test and continue", "dir", "/etc")
	b.want(422, "/setup/", "does not permit /etc")
	b.get(b.at.RequestURI())
	b.want(422, "/setup/", "does not permit /etc")
	b.submit("/credentials", "Test and continue", "dir", town.data)
	b.want(200, "/setup/", "Which tables?", "3 tables", "customers.csv", "3 chosen")

	b.submit("/tables", "Continue", "pick", "orders.csv", "schedule", "other", "other", "whenever it suits")
	b.want(422, "/setup/", "The schedule")
	b.submit("/tables", "Continue", "schedule", "other", "other", "weekly Mon-Fri 06:00")
	b.want(200, "/setup/", "This is what will be committed", "instances/shop/connectors/files.yaml", "weekly Mon-Fri 06:00", "orders.csv", "Ada Lovelace", adminEmail, "Add the connector files to shop")
	if strings.Contains(b.words(), "notes.csv") || strings.Contains(b.words(), "customers.csv") {
		t.Error("a table that was not chosen is to be committed")
	}
	if town.repo.n != 0 {
		t.Fatal("something was committed before it was said so")
	}
	b.submit("/review", "Commit and sync")
	b.want(200, "/setup/", "Committed", "curl")
	b.until("Your data is here")
	if c := town.repo.last; c.Author != (server.Author{Name: "Ada Lovelace", Email: adminEmail}) || !strings.HasPrefix(c.Message, "Add the connector files to shop") {
		t.Errorf("the commit is %q of %+v", c.Message, c.Author)
	}
	town.sameByCurl(t, b)
	done := b.at.RequestURI()
	b.get(strings.Replace(done, "/done", "/review", 1)) // back, and once more
	b.want(200, done)
	b.post(strings.Replace(done, "/done", "/review", 1))
	b.want(200, done)
	if town.repo.n != 1 {
		t.Errorf("%d commits", town.repo.n)
	}
	b.get("/query?sql=SELECT+1")
	b.want(200, "/query", "orders")
	b.get("/setup")
	if b.at.Path != "/" {
		t.Errorf("the setup leads to %s", b.at)
	}
	town.browserThatFindsItClosed(t)
}

var shellJSON = regexp.MustCompile(`-d '(\{.*\})'`)

// sameByCurl makes the calls that the last page shows, against another daemon, and
// finds the same file there.
func (town *town) sameByCurl(t *testing.T, b *browser) {
	t.Helper()
	shown := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.Pre && strings.Contains(inner(n), "curl") })
	bodies := shellJSON.FindAllStringSubmatch(inner(shown), -1)
	if len(bodies) != 3 {
		t.Fatalf("%d bodies in\n%s", len(bodies), inner(shown))
	}
	other := newTown(t, nil)
	other.data = town.data
	other.admin(t)
	login, err := other.api.SignIn(context.Background(), server.SignInRequest{Email: adminEmail, Password: adminPassword})
	if err != nil {
		t.Fatal(err)
	}
	call := func(path, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, other.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+login.AccessToken)
		r.Header.Set("Content-Type", "application/json")
		resp, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("POST %s %s: %d %s %v", path, body, resp.StatusCode, answer, err)
		}
	}
	call("/api/admin/configure", bodies[1][1])
	call("/api/admin/discover-and-register?instance=shop&source=files", bodies[2][1])
	const file = "instances/shop/connectors/files.yaml"
	town.repo.mu.Lock()
	want := string(town.repo.tree[file].Data)
	town.repo.mu.Unlock()
	other.repo.mu.Lock()
	defer other.repo.mu.Unlock()
	if got := string(other.repo.tree[file].Data); got != want {
		t.Errorf("the calls make\n%s\nthe pages made\n%s", got, want)
	}
}

func (town *town) browserThatFindsItClosed(t *testing.T) {
	t.Helper()
	other := town.browser(t)
	other.get("/setup")
	other.want(200, "/login", "Sign in")
	other.post("/setup", "email", "eve@acme.com", "password", "quiet-harbour-velvet")
	other.want(200, "/login")
	other.get("/data/add")
	other.want(200, "/login?next=%2Fdata%2Fadd")
	users, err := town.store.Users(t.Context())
	if err != nil || len(users) != 1 {
		t.Errorf("%d users, %v", len(users), err)
	}
}

const wrongToken = "9999-badbadbad-token-of-nobody"

// Credentials that are wrong and then right, hundreds of tables, and no secret in
// any page, address or commit.
func TestWizardOfKeboola(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.browser(t)
	b.never = []string{goodToken, wrongToken, adminPassword}
	b.setUp()
	b.submit("/setup/source", "Continue", "kind", "keboola", "instance", "main")
	b.submit("/credentials", "Test and continue", "token", wrongToken)
	b.want(422, "/setup/", "Keboola connection failed", "Make a new token")
	b.submit("/credentials", "Test and continue", "url", "https://connection.north-europe.azure.keboola.com", "token", goodToken, "name", "kbc")
	b.want(200, "/setup/", "340 tables", "0 chosen", "1–100 of 340")
	tables := b.at.Path

	b.submit("/tables", "Continue")
	b.want(422, tables, "Choose one table at least")
	b.submit("/tables", "Next", "pick", "in.c-shop-00.orders")
	b.want(200, tables+"?page=2", "1 chosen", "101–200 of 340")
	b.submit("/tables", "Search", "q", "payments shop-4")
	b.want(200, tables+"?q=", "1 chosen", "in.c-shop-40.payments")
	b.submit("/tables", "Choose these")
	b.want(200, tables, "9 chosen")
	b.submit("/tables", "None", "q", "payments shop-47")
	b.want(200, tables, "8 chosen")
	b.post(tables, "do", "all", "pick", "in.c-of-somebody-else.secrets")
	b.want(200, tables, "340 chosen")
	b.submit("/tables", "None")
	b.submit("/tables", "Continue", "pick", "in.c-shop-01.events", "schedule", "none")
	b.want(200, "/setup/", "events_01", "${secret:KBC_STORAGE_TOKEN}", "ENC[", "secrets.enc.yaml", "KBC_STORAGE_TOKEN: encrypted")
	review := b.at.RequestURI()
	b.get(strings.Replace(review, "/review", "/credentials", 1))
	b.want(200, "/setup/", "entered; leave it empty to keep it")
	b.submit("/credentials", "Test and continue")
	b.want(200, "/setup/", "1 chosen")
	b.submit("/tables", "Continue")
	b.submit("/review", "Commit and sync")
	b.until("Your data is here")
	for name, file := range town.repo.last.Files {
		b.guard(name, string(file))
	}
	for _, d := range town.site.drafts.byID {
		if d.Values["token"] != "" {
			t.Error("a secret is kept although it is committed")
		}
	}
}

// Whatever the order in which pages are opened, reloaded and left, there is a way on.
func TestWizardInAnyOrder(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.write("orders.csv", "id,amount\n1,12.5\n")
	b := town.browser(t)
	b.setUp()
	b.get("/setup")
	b.want(200, "/setup/source")
	b.submit("/setup/source", "Continue", "kind", "files", "instance", "main")
	first := strings.TrimSuffix(b.at.Path, "/credentials")
	for _, step := range []string{"tables", "review", "done"} {
		b.get(first + "/" + step)
		b.want(200, first+"/credentials")
		b.post(first+"/"+step, "do", "next")
		if step != "done" {
			b.want(200, first+"/credentials")
		}
	}
	b.get("/setup")
	b.want(200, first+"/credentials")

	b.get(first + "/source") // another tab, and another source
	b.submit("/source", "Continue", "kind", "postgres", "instance", "main")
	b.want(200, first+"/credentials", "PostgreSQL", "Database")
	b.submit("/credentials", "Test and continue", "host", "db", "database", "shop", "user", "u", "port", "70000")
	b.want(422, first+"/credentials", "Is not a number from 1 to 65535.")
	b.get("/setup/source")
	b.submit("/setup/source", "Continue", "kind", "files", "instance", "main")
	second := strings.TrimSuffix(b.at.Path, "/credentials")
	b.submit("/credentials", "Test and continue", "dir", town.data)
	b.submit("/tables", "Continue")
	b.want(200, second+"/review")
	b.get(first + "/review")
	b.want(200, first+"/credentials", "PostgreSQL")

	town.site.drafts = newDrafts(time.Now, nil, nil) // as after their time
	for _, step := range []string{"source", "credentials", "tables", "review", "done", "patch"} {
		b.get(second + "/" + step)
		b.want(200, "/data/add", "What you had entered is gone")
	}
	b.post(second + "/review")
	b.want(200, "/data/add", "What you had entered is gone", "Where does your data live?")
	b.submit("/data/add/source", "Continue", "kind", "files")
	b.want(200, "/data/add/")
	b.submit("/discard", "Throw this away")
	b.want(200, "/data", "Nothing was committed")
	if town.repo.n != 0 {
		t.Errorf("%d commits", town.repo.n)
	}
}

func TestWizardLater(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.browser(t)
	b.setUp()
	b.submit("/setup/source", "Continue", "kind", "later")
	b.want(200, "/", "A source of data can be added at any time")
	if b.at.Path != "/" {
		t.Errorf("at %s", b.at)
	}
	b.get("/setup")
	if b.at.Path != "/" {
		t.Errorf("/setup leads to %s", b.at)
	}
	b.get("/setup/source")
	b.want(200, "/data/add")
}

// Where nothing may be pushed the change is handed out as a patch.
func TestWizardHandsOutAPatch(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.repo.keeps = true
	town.write("orders.csv", "id,amount\n1,12.5\n")
	b := town.admin(t)
	b.get("/data/add?kind=files&instance=main")
	b.submit("/data/add/source", "Continue")
	b.submit("/credentials", "Test and continue", "dir", town.data)
	b.submit("/tables", "Continue")
	b.submit("/review", "Commit and sync")
	b.want(200, "/data/add/", "Apply this patch", "git am", "push: true")
	done := b.at.RequestURI()
	b.get(strings.Replace(done, "/done", "/patch", 1))
	if b.status != 200 || !strings.Contains(b.head.Get("Content-Disposition"), "add-files-to-main.patch") || b.head.Get("Content-Type") != "text/x-patch; charset=utf-8" || !strings.Contains(b.text, "Subject: Add the connector") {
		t.Errorf("%d %v\n%s", b.status, b.head, b.text)
	}
}

// A commit that somebody else's came before is said, and can be tried again.
func TestWizardConflict(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	town.write("orders.csv", "id,amount\n1,12.5\n")
	b := town.admin(t)
	b.get("/data/add?kind=files&instance=main")
	b.submit("/data/add/source", "Continue")
	b.submit("/credentials", "Test and continue", "dir", town.data)
	b.submit("/tables", "Continue")
	town.repo.fails = &server.Error{Status: http.StatusConflict, Detail: "the remote has other commits", Hint: "fetch, and try again"}
	b.submit("/review", "Commit and sync")
	b.want(422, "/data/add/", "the remote has other commits", "fetch, and try again", "Commit and sync")
	town.repo.fails = nil
	b.submit("/review", "Commit and sync")
	b.want(200, "/data/add/", "Committed")
}

// From elsewhere the setup asks for the code, and only then.
func TestSetupCode(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	near := town.browser(t)
	near.get("/setup")
	if strings.Contains(near.text, "setup_code") {
		t.Error("the code is asked for on the host itself")
	}
	b := town.browser(t)
	b.never = []string{town.code}
	b.header.Set("X-Forwarded-For", "203.0.113.9")
	b.get("/setup")
	b.want(200, "/setup", "Setup code")
	b.submit("/setup", "Make the account", "email", adminEmail, "password", adminPassword, "setup_code", "AAAA-BBBB")
	b.want(403, "/setup", "The setup asks for the right code")
	b.submit("/setup", "Make the account", "email", adminEmail, "password", adminPassword, "setup_code", strings.ToLower(town.code))
	b.want(200, "/setup/source")
}

// Of those who set up at the same time one becomes the administrator; the others
// are led to where one signs in.
func TestSetupRace(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	var group sync.WaitGroup
	ends := make(chan string, 8)
	var browsers []*browser
	for range cap(ends) {
		b := town.browser(t)
		b.get("/setup")
		browsers = append(browsers, b)
	}
	for i, b := range browsers {
		group.Go(func() {
			b.submit("/setup", "Make the account", "email", string(rune('a'+i))+"@acme.com", "password", adminPassword)
			ends <- b.at.Path
		})
	}
	group.Wait()
	close(ends)
	at := map[string]int{}
	for path := range ends {
		at[path]++
	}
	if at["/setup/source"] != 1 || at["/login"] != cap(ends)-1 {
		t.Errorf("they are at %v", at)
	}
}
