package jira

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest/resttest"
)

const (
	apiToken = "ATATT3xFfGF0secretsecret"
	pat      = "MjQ2ODsecretpersonal"
)

// tracker is a Jira that speaks the documented API, Cloud's or Data Center's, and
// takes nothing else.
type tracker struct {
	t      *testing.T
	cloud  bool
	zone   string
	page   int // issues, and pieces of one, a page has at most
	fields []any
	issues []*ticket
	users  []any
	// trouble may answer instead; it is asked first.
	trouble func(w http.ResponseWriter, r *http.Request) bool
	// afterPage is called when a page of the search was given.
	afterPage func(n int)

	mu    sync.Mutex
	jqls  []string
	pages int
	hits  map[string]int
}

type ticket struct {
	id               int
	created, updated time.Time
	comments         int
	worklogs         int
	histories        int
	more             object
}

func (k *ticket) key() string { return fmt.Sprintf("SHOP-%d", k.id-10000) }

func newTracker(t *testing.T, cloud bool) *tracker {
	k := &tracker{t: t, cloud: cloud, zone: "Europe/Prague", page: 3, hits: map[string]int{}, fields: []any{
		object{"id": "summary", "name": "Summary", "custom": false, "schema": object{"type": "string"}},
		object{"id": "customfield_10016", "name": "Story Points", "custom": true, "schema": object{"type": "number"}},
		object{"id": "customfield_10020", "name": "Sprint", "custom": true, "schema": object{"type": "array", "items": "json"}},
		object{"id": "customfield_10030", "name": "Story points", "custom": true, "schema": object{"type": "option"}},
		object{"id": "customfield_10031", "name": "Status", "custom": true, "schema": object{"type": "string"}},
	}}
	for i := range 8 {
		at := time.Date(2026, time.Month(1+i/3), 10+i, 12, 0, 0, 0, time.UTC)
		k.issues = append(k.issues, &ticket{id: 10001 + i, created: at, updated: at.Add(time.Hour), comments: i, worklogs: i % 2, histories: i % 5})
	}
	return k
}

func (k *tracker) connect() (*Source, func()) {
	settings := Settings{URL: "https://jira.test/jira", PAT: pat}
	if k.cloud {
		settings = Settings{URL: "https://acme.atlassian.test", Email: "bot@acme.com", Token: apiToken}
	}
	s, err := New(settings)
	if err != nil {
		k.t.Fatal(err)
	}
	return s, resttest.Connect(k.t, s.http, k)
}

func (k *tracker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	k.hits[r.Host+r.URL.Path]++
	k.mu.Unlock()
	if k.trouble != nil && k.trouble(w, r) {
		return
	}
	prefix := "/jira/rest/api/"
	user, password, basic := r.BasicAuth()
	good := !k.cloud && r.Header.Get("Authorization") == "Bearer "+pat
	if k.cloud {
		prefix, good = "/rest/api/", basic && user == "bot@acme.com" && password == apiToken
	}
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	version, path, _ := strings.Cut(path, "/")
	switch {
	case !ok:
		refuse(w, 404, "no route")
	case path == "serverInfo":
		kind := "Server"
		if k.cloud {
			kind = "Cloud"
		}
		reply(w, object{"deploymentType": kind, "serverTime": time.Now().Format("2006-01-02T15:04:05.000-0700")})
	case !good:
		refuse(w, 401, "Client must be authenticated to access this resource. "+r.Header.Get("Authorization"))
	case (version == "3") != k.cloud:
		refuse(w, 404, "another version")
	default:
		k.api(w, r, path)
	}
}

func (k *tracker) api(w http.ResponseWriter, r *http.Request, path string) {
	switch {
	case path == "myself":
		reply(w, object{"accountId": "712020:bot", "name": "bot", "timeZone": k.zone})
	case path == "field":
		reply(w, k.fields)
	case path == "users/search" && k.cloud, path == "user/search" && !k.cloud && r.URL.Query().Get("username") == ".":
		start, _ := strconv.Atoi(r.URL.Query().Get("startAt"))
		reply(w, k.users[min(start, len(k.users)):min(start+200, len(k.users))])
	case path == "search/jql" && k.cloud && r.Method == "POST":
		k.searchCloud(w, r)
	case path == "search" && !k.cloud && r.Method == "POST":
		k.searchCenter(w, r)
	case strings.HasPrefix(path, "issue/") && r.Method == "GET":
		k.piece(w, r, strings.TrimPrefix(path, "issue/"))
	default:
		refuse(w, 404, "no route for "+r.Method+" "+path)
	}
}

func (k *tracker) searchCloud(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		JQL        string   `json:"jql"`
		Fields     []string `json:"fields"`
		MaxResults int      `json:"maxResults"`
		Expand     string   `json:"expand"`
		Next       string   `json:"nextPageToken"`
	}
	if !strict(w, r, &ask) {
		return
	}
	found, ok := k.match(w, ask.JQL)
	if !ok {
		return
	}
	after := time.Time{} // a token says where the walk is, whatever changes
	if ask.Next != "" {
		after, _ = time.Parse(time.RFC3339, strings.TrimPrefix(ask.Next, "token-"))
	}
	found = slices.DeleteFunc(found, func(i *ticket) bool { return !i.created.After(after) })
	end := min(k.page, len(found))
	out := object{"issues": k.show(found[:end], ask.Fields, ask.Expand == "changelog"), "isLast": end == len(found)}
	if end < len(found) {
		out["nextPageToken"] = "token-" + found[end-1].created.Format(time.RFC3339)
	}
	k.turned(out, w)
}

func (k *tracker) searchCenter(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		JQL        string   `json:"jql"`
		Fields     []string `json:"fields"`
		MaxResults int      `json:"maxResults"`
		Expand     []string `json:"expand"`
		StartAt    int      `json:"startAt"`
	}
	if !strict(w, r, &ask) {
		return
	}
	found, ok := k.match(w, ask.JQL)
	if !ok {
		return
	}
	start := min(ask.StartAt, len(found))
	end := min(start+k.page, len(found))
	k.turned(object{"startAt": ask.StartAt, "maxResults": k.page, "total": len(found), "issues": k.show(found[start:end], ask.Fields, slices.Contains(ask.Expand, "changelog"))}, w)
}

func (k *tracker) turned(out object, w http.ResponseWriter) {
	k.mu.Lock()
	k.pages++
	n := k.pages
	k.mu.Unlock()
	reply(w, out)
	if k.afterPage != nil {
		k.afterPage(n)
	}
}

var clause = regexp.MustCompile(`(updated|created) (>=|<) "(\d{4}-\d\d-\d\d \d\d:\d\d)"`)

// match reads the times of a JQL in the zone of the user, as Jira does.
func (k *tracker) match(w http.ResponseWriter, jql string) ([]*ticket, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.jqls = append(k.jqls, jql)
	bare, ok := strings.CutSuffix(jql, " ORDER BY created ASC, key ASC")
	clauses := clause.FindAllStringSubmatch(bare, -1)
	if !ok || len(clauses) == 0 {
		refuse(w, 400, "Unbounded JQL queries are not allowed here.")
		return nil, false
	}
	zone, err := time.LoadLocation(k.zone)
	if err != nil {
		zone = time.UTC
	}
	var out []*ticket
	for _, one := range k.issues {
		fits := true
		for _, c := range clauses {
			at, err := time.ParseInLocation("2006-01-02 15:04", c[3], zone)
			if err != nil {
				k.t.Errorf("JQL has the time %q", c[3])
			}
			when := one.updated
			if c[1] == "created" {
				when = one.created
			}
			fits = fits && when.Before(at) == (c[2] == "<")
		}
		if fits {
			out = append(out, one)
		}
	}
	slices.SortFunc(out, func(a, b *ticket) int { return a.created.Compare(b.created) })
	return out, true
}

// show embeds a part of what hangs on an issue only, as the search does.
func (k *tracker) show(found []*ticket, fields []string, history bool) []any {
	zone, _ := time.LoadLocation("America/New_York") // the server's own
	out := []any{}
	for _, one := range found {
		all := object{"created": stamp(one.created.In(zone)), "updated": stamp(one.updated.In(zone)), "summary": "about " + one.key(),
			"project": object{"key": "SHOP", "name": "Shop"}, "status": object{"name": "Open", "statusCategory": object{"key": "new"}}, "labels": []any{"a<b"},
			"components": []any{object{"name": "cart"}}, "assignee": object{"accountId": "712020:jan", "name": "jan", "displayName": "Jan"}, "timespent": 3600,
			"comment": k.part("comments", one.comments, 0, 2, k.comment), "worklog": k.part("worklogs", one.worklogs, 0, 2, worklog)}
		for name, value := range one.more {
			all[name] = value
		}
		asked := object{}
		for _, f := range fields {
			if value, ok := all[f]; ok {
				asked[f] = value
			}
		}
		i := object{"id": fmt.Sprint(one.id), "key": one.key(), "fields": asked}
		if history {
			most := 2
			if !k.cloud {
				most = 1000
			}
			i["changelog"] = k.part("histories", one.histories, 0, most, history_)
		}
		out = append(out, i)
	}
	return out
}

func (k *tracker) part(name string, total, start, most int, piece func(int) any) object {
	list := []any{}
	for i := start; i < min(total, start+most); i++ {
		list = append(list, piece(i))
	}
	return object{name: list, "startAt": start, "maxResults": most, "total": total}
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000-0700") }

func (k *tracker) comment(i int) any {
	body := any(fmt.Sprintf("comment %d", i))
	if k.cloud {
		body = object{"type": "doc", "version": 1, "content": []any{object{"type": "paragraph", "content": []any{object{"type": "text", "text": body}}}}}
	}
	return object{"id": fmt.Sprint(500 + i), "body": body, "created": "2026-01-11T10:00:00.000+0100", "author": object{"displayName": "Jan", "accountId": "712020:jan"}}
}

func worklog(i int) any {
	return object{"id": fmt.Sprint(700 + i), "timeSpentSeconds": 60 * i, "started": "2026-01-11T10:00:00.000+0000"}
}

func history_(i int) any {
	return object{"id": fmt.Sprint(900 + i), "created": "2026-01-11T10:00:00.000+0000", "items": []any{
		object{"field": "status", "fieldId": "status", "fromString": "Open", "toString": "Done", "from": "1", "to": "2"}, object{"field": "summary", "toString": "x"}}}
}

// piece gives what hangs on one issue, by pages.
func (k *tracker) piece(w http.ResponseWriter, r *http.Request, path string) {
	id, what, _ := strings.Cut(path, "/")
	at := slices.IndexFunc(k.issues, func(i *ticket) bool { return fmt.Sprint(i.id) == id })
	if at < 0 {
		refuse(w, 404, "Issue does not exist or you do not have permission to see it.")
		return
	}
	one := k.issues[at]
	start, _ := strconv.Atoi(r.URL.Query().Get("startAt"))
	switch {
	case what == "comment":
		reply(w, k.part("comments", one.comments, start, k.page, k.comment))
	case what == "worklog":
		reply(w, k.part("worklogs", one.worklogs, start, k.page, worklog))
	case what == "changelog" && k.cloud:
		out := k.part("values", one.histories, start, k.page, history_)
		out["isLast"] = start+k.page >= one.histories
		reply(w, out)
	default:
		refuse(w, 404, "no route for "+path)
	}
}

// strict decodes a body with nothing unknown in it.
func strict(w http.ResponseWriter, r *http.Request, out any) bool {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil || r.Header.Get("Content-Type") != "application/json" {
		refuse(w, 400, "Invalid request payload")
		return false
	}
	return true
}

func reply(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, code int, what string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object{"errorMessages": []string{what}, "errors": object{}})
}

// lines are the rows of a table, by file.
func lines(t *testing.T, dir, name string) map[string][]object {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(dir, name, "*"))
	if single := filepath.Join(dir, name+".ndjson.gz"); len(paths) == 0 {
		paths = []string{single}
	}
	out := map[string][]object{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		file := strings.TrimSuffix(filepath.Base(path), ".ndjson.gz")
		out[file] = []object{}
		for dec := json.NewDecoder(zip); dec.More(); {
			var row object
			if err := dec.Decode(&row); err != nil {
				t.Fatal(err)
			}
			out[file] = append(out[file], row)
		}
	}
	return out
}

func clean(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{apiToken, pat, "Ym90QGFjbWUuY29t"} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows %s", text, secret)
			}
		}
	}
}

func spec(id string, strategy connectors.Strategy) connectors.TableSpec {
	return connectors.TableSpec{Name: "jira_" + id, ID: id, Strategy: strategy}
}
