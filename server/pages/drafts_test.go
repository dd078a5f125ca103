package pages

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/fairlead/fairlead/connectors"
)

// A draft is its session's: nobody else sees it, not even another administrator.
func TestDraftsOfOthers(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	b.get("/data/add?kind=keboola&instance=main")
	b.submit("/data/add/source", "Continue")
	path := b.at.Path
	again := town.browser(t)
	again.signIn(adminEmail, adminPassword)
	again.get(path)
	again.want(200, "/data/add", "What you had entered is gone")
	viewer := town.as(t, "viewer")
	viewer.get(path)
	viewer.want(403, path, "this needs the role admin")
}

// What is kept of drafts is bounded, and does not outlive its time.
func TestDraftsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := newDrafts(func() time.Time { return now }, nil, nil)
	first := d.begin("ada", false)
	for range draftsEach {
		now = now.Add(time.Second)
		d.begin("ada", false)
	}
	if _, there := d.get("ada", first.ID); there || len(d.byID) != draftsEach {
		t.Errorf("%d drafts of one session; the first is there: %t", len(d.byID), there)
	}
	for i := range 2 * draftsMost {
		now = now.Add(time.Second)
		d.begin(string(rune('A'+i)), true)
	}
	if len(d.byID) > draftsMost {
		t.Errorf("%d drafts", len(d.byID))
	}
	last := d.begin("eve", true)
	now = now.Add(draftLife + time.Second)
	if _, there := d.get("eve", last.ID); there || len(d.byID) != 0 {
		t.Errorf("%d drafts are there after their time", len(d.byID))
	}
	last.Done = &committed{}
	if d.put(last); len(d.byID) != 0 {
		t.Error("a draft that was forgotten is there again")
	}
}

// restart is a new start of the daemon with what the last one kept.
func (town *town) restart() {
	town.site.settler.Store(nil)
	town.site.drafts = newDrafts(time.Now, town.api.Notebook(), func(err error) { town.t.Error(err) })
}

// After a restart one goes on where one was, and enters the secrets again: they,
// and whatever else was answered, stand nowhere on the disk in the clear.
func TestDraftsOverARestart(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.browser(t)
	b.setUp()
	b.submit("/setup/source", "Continue", "kind", "keboola", "instance", "main")
	first := strings.TrimSuffix(b.at.Path, "/credentials")
	b.submit("/credentials", "Test and continue", "url", "https://connection.north.example", "token", goodToken)
	b.want(200, first+"/tables")
	b.submit("/tables", "Continue", "schedule", "daily 05:00", "pick", "in.c-shop-00.products")
	b.want(200, first+"/review")

	town.restart()
	b.get("/setup")
	b.want(200, first+"/credentials", "The daemon was started anew since", "https://connection.north.example")
	if strings.Contains(b.text, "leave it empty to keep it") {
		t.Error("the page says that it has a secret")
	}
	b.get(first + "/review")
	b.want(200, first+"/credentials")
	b.submit("/credentials", "Test and continue")
	b.want(422, first+"/credentials")
	b.submit("/credentials", "Test and continue", "token", goodToken)
	b.want(200, first+"/tables")
	chosen := find(b.page, func(n *html.Node) bool { return n.DataAtom == atom.Option && attr(n, "value") == "daily 05:00" })
	if _, is := attributes(chosen)["selected"]; !is {
		t.Error("the schedule is forgotten")
	}
	if _, is := attributes(find(b.page, func(n *html.Node) bool {
		return attr(n, "name") == "pick" && attr(n, "value") == "in.c-shop-00.products"
	}))["checked"]; !is {
		t.Error("the choice of tables is forgotten")
	}
	b.submit("/tables", "Continue")
	b.submit("/review", "Commit")
	b.want(200, first+"/done")

	town.restart()
	b.get(first + "/done")
	b.want(200, first+"/done")
	data, err := os.ReadFile(town.db)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{goodToken, "connection.north.example"} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("%s is on the disk in the clear", text)
		}
	}
}

// notesInMemory keep notes as they come.
type notesInMemory map[string][]byte

func (n notesInMemory) Get(key string) ([]byte, error)    { return n[key], nil }
func (n notesInMemory) Put(key string, data []byte) error { n[key] = data; return nil }

// Of every kind, no secret is even handed to where it would be sealed; what is
// kept is bounded, and goes after its time.
func TestWhatIsKeptOfDrafts(t *testing.T) {
	t.Parallel()
	now, notes := time.Now(), notesInMemory{}
	clock := func() time.Time { return now }
	fail := func(err error) { t.Error(err) }
	d := newDrafts(clock, notes, fail)
	for _, kind := range sourceKinds() {
		x := d.begin("ada", false)
		x.Kind, x.Values = kind.Kind, map[string]string{"unknown": "planted-secret"}
		for _, q := range kind.Fields {
			if x.Values[q.Name] = "answer-" + q.Name; q.Secret {
				x.Values[q.Name] = "planted-secret"
			}
		}
		d.put(x)
		if text := string(notes[draftsKey]); strings.Contains(text, "planted-secret") || !strings.Contains(text, `"kind":"`+kind.Kind+`"`) {
			t.Errorf("of %s is kept: %s", kind.Kind, text)
		}
	}
	large := d.begin("eve", false)
	large.Kind, large.Values, large.Chosen = "files", map[string]string{"dir": "/srv"}, map[string]bool{}
	for i := range draftTables {
		large.Chosen[fmt.Sprintf("table-with-a-long-name-%d", i)] = true
	}
	if d.put(large); strings.Contains(string(notes[draftsKey]), "table-with-a-long-name") {
		t.Error("a draft of a hundred kilobytes is kept")
	}
	const visitors = 60
	for i := range visitors {
		now = now.Add(time.Second)
		x := d.begin(fmt.Sprint("visitor", i), false)
		x.Kind, x.Values = "files", map[string]string{"dir": strings.Repeat("x", 40<<10)}
		d.put(x)
	}
	if size := len(notes[draftsKey]); size > draftsAllMost+draftsMost || size < draftsAllMost/2 {
		t.Errorf("%d bytes are kept", size)
	}
	again := newDrafts(clock, notes, fail)
	x, there := again.unfinished(fmt.Sprint("visitor", visitors-1), false)
	if !there || !x.Again || x.Tried || len(x.Values["dir"]) != 40<<10 {
		t.Errorf("the newest is %t, again %t", there, x.Again)
	}
	now = now.Add(draftLife + time.Second)
	if _, there := newDrafts(clock, notes, fail).get(x.Session, x.ID); there {
		t.Error("it is there after its time")
	}
	notes[draftsKey] = []byte("{broken")
	said := 0
	broken := newDrafts(clock, notes, func(error) { said++ })
	if x := broken.begin("ada", false); x.ID == "" || said != 1 {
		t.Errorf("notes that cannot be read are complained of %d times", said)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	form := url.Values{"url": {" https://a.example "}, "token": {""}}
	got, problems := answersOf("keboola", form, map[string]string{"token": "kept"})
	if got["token"] != "kept" || got["url"] != "https://a.example" || len(problems) != 0 {
		t.Errorf("%v %v", got, problems)
	}
	for name, value := range map[string]string{"two lines": "a\nb", "a bell": "a\ab", "long": strings.Repeat("x", draftValues+1)} {
		if got, problems := answersOf("keboola", url.Values{"url": {value}, "token": {"t"}}, nil); problems["url"] == "" || got["url"] != "" {
			t.Errorf("%s: %v %v", name, got, problems)
		}
	}
	address := postgresURL(map[string]string{"host": "::1", "database": "a b/c", "user": "o:p@q", "sslmode": "require"}, "${secret:P}")
	if want := "postgres://o%3Ap%40q:${secret:P}@[::1]:5432/a%20b%2Fc?sslmode=require"; address != want {
		t.Errorf("got %s, want %s", address, want)
	}
}

// Every kind can be set up: what its fields give is a connector that loads.
func TestKindsLoad(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	answers := map[string]map[string]string{
		"files":    {"dir": "/srv/data", "paths": "https://a.example/x.csv\ns3://b/y.parquet", "authorization": "Bearer abcdefgh", "region": "eu-central-1", "access_key": "AK", "secret_key": "very-secret-key"},
		"keboola":  {"url": "https://connection.keboola.com", "token": goodToken},
		"bigquery": {"project": "acme-data", "location": "EU", "key": `{"type":"service_account","client_email":"a@b.example","private_key":"x"}`},
		"postgres": {"host": "db.example.com", "database": "shop", "user": "reader", "password": "p@ss/w:rd"},
		"jira":     {"url": "https://acme.atlassian.net", "email": "ana@example.com", "token": "jira-token-1234"},
	}
	for _, kind := range sourceKinds() {
		d := draft{Kind: kind.Kind, Instance: "main", Name: kind.Kind, Values: answers[kind.Kind], Schedule: "every 1h"}
		c, err := connectorDraft(d, false)
		if err != nil || c.Name != kind.Kind {
			t.Fatalf("%s: %v", kind.Kind, err)
		}
		for _, q := range kind.Fields {
			if v := d.Values[q.Name]; q.Secret && v != "" && (strings.Contains(string(c.Fields), v) || !slices.Contains(mapValues(c.Secrets), v)) {
				t.Errorf("%s: the secret %s is not one: %s", kind.Kind, q.Name, c.Fields)
			}
		}
		tables := manyTables()[:2]
		if kind.Kind == "jira" {
			tables = []connectors.Discovered{{ID: "issues", Name: "issues"}}
		}
		p, err := town.api.PreviewConnector(context.Background(), "main", c, tables)
		if err != nil {
			t.Errorf("%s: %v", kind.Kind, err)
		}
		for _, f := range p.Files {
			for _, secret := range c.Secrets {
				if strings.Contains(f.Text, secret) {
					t.Errorf("%s: %s holds a secret", kind.Kind, f.Path)
				}
			}
		}
	}
}

func mapValues(m map[string]string) (list []string) {
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// The credentials are asked for by fields that no browser fills in from elsewhere,
// and that programs which read aloud can name.
func TestCredentialFields(t *testing.T) {
	t.Parallel()
	town := newTown(t, nil)
	b := town.admin(t)
	for _, kind := range sourceKinds() {
		b.get("/data/add?kind=" + kind.Kind + "&instance=main")
		b.submit("/data/add/source", "Continue")
		b.want(200, "/data/add/", kind.Title)
		for _, q := range kind.Fields {
			n := find(b.page, func(n *html.Node) bool {
				return (n.DataAtom == atom.Input || n.DataAtom == atom.Textarea || n.DataAtom == atom.Select) && attr(n, "name") == q.Name
			})
			if n == nil {
				t.Fatalf("%s has no field %s", kind.Kind, q.Name)
			}
			if q.Type == "password" && attr(n, "type") != "password" {
				t.Errorf("%s: %s is shown while it is typed", kind.Kind, q.Name)
			}
		}
	}
}
