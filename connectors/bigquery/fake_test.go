package bigquery

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/connectors/internal/rest/resttest"
)

const (
	bearer  = "ya29.c.b0AUFJQsGg_example_token_of_the_tests"
	project = "acme-data"
)

// stored is a table of the fake.
type stored struct {
	meta map[string]any // what tables.get says, besides the reference and numRows
	rows []string       // JSON of rows
	// parts are rows by partition; rows are then those of all of them.
	parts map[string][]string
	// modified is the version of each partition.
	modified map[string]int
}

// outcome is what a query comes to.
type outcome struct {
	schema    string // JSON of fields
	rows      []string
	bytes     int64
	statement string // SELECT when it is empty
	invalid   string // why the dry run is refused
	fails     *jobError
}

// warehouse is a BigQuery that speaks the documented API, and takes nothing else.
type warehouse struct {
	t        *testing.T
	tables   map[string]*stored // dataset.table
	page     int
	polls    int
	location string
	answer   func(sql string, params map[string]string) outcome
	// trouble may answer instead; it is asked first.
	trouble func(w http.ResponseWriter, r *http.Request) bool

	mu        sync.Mutex
	token     string
	jobs      map[string]*running
	ran       []queryConfiguration
	dry       int
	cancelled []string
	hits      map[string]int
}

type running struct {
	left int
	out  outcome
}

func newWarehouse(t *testing.T) *warehouse {
	b := &warehouse{t: t, page: 2, polls: 2, location: "EU", token: bearer, jobs: map[string]*running{}, hits: map[string]int{}, tables: map[string]*stored{
		"shop.orders": {meta: map[string]any{"type": "TABLE", "description": "what was sold", "numBytes": "1024", "schema": fields(orderFields),
			"tableConstraints": map[string]any{"primaryKey": map[string]any{"columns": []string{"id"}}}},
			rows: []string{orderRow(1, "10.5", "a"), orderRow(2, "2", `two\nlines`), orderRow(3, "", "")}},
	}}
	b.answer = func(sql string, _ map[string]string) outcome {
		t.Errorf("asked %s", sql)
		return outcome{invalid: "no answer"}
	}
	return b
}

const orderFields = `[{"name": "id", "type": "INTEGER", "mode": "REQUIRED"}, {"name": "amount", "type": "NUMERIC", "precision": "12", "scale": "2"}, {"name": "note", "type": "STRING"}, {"name": "updated_at", "type": "TIMESTAMP"}]`

// plainFields are those of a query's result: without modes and sizes.
const plainFields = `[{"name": "id", "type": "INTEGER", "mode": "NULLABLE"}, {"name": "amount", "type": "NUMERIC", "mode": "NULLABLE"}, {"name": "note", "type": "STRING"}, {"name": "updated_at", "type": "TIMESTAMP"}]`

func fields(text string) map[string]any { return map[string]any{"fields": json.RawMessage(text)} }

// orderRow is an order that was updated id seconds after the beginning of 2026.
func orderRow(id int, amount, note string) string {
	value := "null"
	if amount != "" {
		value = `"` + amount + `"`
	}
	return fmt.Sprintf(`{"f": [{"v": "%d"}, {"v": %s}, {"v": "%s"}, {"v": "%d"}]}`, id, value, note, 1767225600000000+int64(id)*1000000)
}

// fixed is who asks in a bubble, where no token can be fetched.
type fixed struct{ b *warehouse }

func (f fixed) Get(context.Context) (string, error) {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	return f.b.token, nil
}
func (f fixed) Drop(string) {
	f.b.mu.Lock()
	defer f.b.mu.Unlock()
	f.b.token = bearer
}
func (fixed) Close()      {}
func (fixed) Who() string { return "reader@acme-data.iam.gserviceaccount.com" }

// connect makes a source that reads the warehouse.
func (b *warehouse) connect(settings Settings) (*Source, func()) {
	settings.Project = project
	s, err := New(settings)
	if err != nil {
		b.t.Fatal(err)
	}
	s.tokens = fixed{b}
	return s, resttest.Connect(b.t, s.http, b)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_ = json.NewEncoder(w).Encode(v)
}

// refuse answers as the API does.
func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": message, "status": "X", "errors": []any{map[string]any{"message": message, "domain": "global", "reason": reason}}}})
}

func (b *warehouse) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.hits[r.Method+" "+r.URL.Path]++
	b.mu.Unlock()
	if b.trouble != nil && b.trouble(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+bearer {
		refuse(w, 401, "authError", "Request had invalid authentication credentials: "+r.Header.Get("Authorization"))
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/bigquery/v2/projects/"+project+"/")
	parts := strings.Split(path, "/")
	switch {
	case !ok:
		refuse(w, 403, "accessDenied", "Access Denied: Project: User does not have bigquery.datasets.get permission")
	case path == "datasets" && r.Method == "GET":
		b.datasets(w, r)
	case parts[0] == "datasets" && len(parts) == 3 && parts[2] == "tables" && r.Method == "GET":
		b.list(w, r, parts[1])
	case parts[0] == "datasets" && len(parts) == 4 && r.Method == "GET":
		b.table(w, parts[1], parts[3])
	case parts[0] == "datasets" && len(parts) == 5 && parts[4] == "data" && r.Method == "GET":
		b.data(w, r, parts[1], parts[3])
	case path == "jobs" && r.Method == "POST":
		b.insert(w, r)
	case parts[0] == "jobs" && len(parts) == 2 && r.Method == "GET":
		b.job(w, r, parts[1])
	case parts[0] == "jobs" && len(parts) == 3 && parts[2] == "cancel" && r.Method == "POST":
		b.mu.Lock()
		b.cancelled = append(b.cancelled, parts[1])
		b.mu.Unlock()
		reply(w, map[string]any{"kind": "bigquery#jobCancelResponse"})
	case parts[0] == "queries" && len(parts) == 2 && r.Method == "GET":
		b.results(w, r, parts[1])
	default:
		refuse(w, 404, "notFound", "no route for "+r.Method+" "+r.URL.Path)
	}
}

// cut gives one page of n things, and the token of the next. Tokens are bound to
// what is paged.
func (b *warehouse) cut(w http.ResponseWriter, r *http.Request, of string, n int) (from, to int, next string, ok bool) {
	if most, err := strconv.Atoi(r.URL.Query().Get("maxResults")); err != nil || most < 1 {
		refuse(w, 400, "invalid", "maxResults")
		return 0, 0, "", false
	}
	if token := r.URL.Query().Get("pageToken"); token != "" {
		at, found := strings.CutPrefix(token, "page of "+of+" from ")
		var err error
		if from, err = strconv.Atoi(at); err != nil || !found || from > n {
			refuse(w, 400, "invalid", "Invalid page token")
			return 0, 0, "", false
		}
	}
	if to = min(from+b.page, n); to < n {
		next = fmt.Sprintf("page of %s from %d", of, to)
	}
	return from, to, next, true
}

func (b *warehouse) datasets(w http.ResponseWriter, r *http.Request) {
	seen := []string{"empty"}
	for id := range b.tables {
		if name, _, _ := strings.Cut(id, "."); !slices.Contains(seen, name) {
			seen = append(seen, name)
		}
	}
	slices.Sort(seen)
	from, to, next, ok := b.cut(w, r, "datasets", len(seen))
	if !ok {
		return
	}
	list := []any{}
	for _, d := range seen[from:to] {
		list = append(list, map[string]any{"kind": "bigquery#dataset", "id": project + ":" + d, "datasetReference": map[string]any{"projectId": project, "datasetId": d}, "location": b.location})
	}
	reply(w, map[string]any{"datasets": list, "nextPageToken": next})
}

func (b *warehouse) list(w http.ResponseWriter, r *http.Request, dataset string) {
	var names []string
	for id := range b.tables {
		if name, ok := strings.CutPrefix(id, dataset+"."); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	from, to, next, ok := b.cut(w, r, dataset, len(names))
	if !ok {
		return
	}
	list := []any{}
	for _, n := range names[from:to] {
		list = append(list, map[string]any{"tableReference": map[string]any{"projectId": project, "datasetId": dataset, "tableId": n}, "type": "TABLE"})
	}
	reply(w, map[string]any{"tables": list, "nextPageToken": next, "totalItems": len(names)})
}

func (b *warehouse) table(w http.ResponseWriter, dataset, name string) {
	t := b.tables[dataset+"."+name]
	if t == nil {
		refuse(w, 404, "notFound", "Not found: Table "+project+":"+dataset+"."+name)
		return
	}
	answer := map[string]any{"tableReference": map[string]any{"projectId": project, "datasetId": dataset, "tableId": name}, "location": b.location, "numRows": fmt.Sprint(len(t.rows))}
	for k, v := range t.meta {
		answer[k] = v
	}
	reply(w, answer)
}

func (b *warehouse) data(w http.ResponseWriter, r *http.Request, dataset, name string) {
	name, part, decorated := strings.Cut(name, "$")
	t := b.tables[dataset+"."+name]
	query := r.URL.Query()
	if t == nil || t.meta["type"] != "TABLE" || query.Get("formatOptions.useInt64Timestamp") != "true" {
		refuse(w, 400, "invalid", "Cannot list a table of type VIEW.")
		return
	}
	rows := t.rows
	if decorated {
		rows = t.parts[part]
	}
	from, to, next, ok := b.cut(w, r, name+"$"+part, len(rows))
	if !ok {
		return
	}
	reply(w, map[string]any{"totalRows": fmt.Sprint(len(rows)), "pageToken": next, "rows": b.selected(t, rows[from:to], query.Get("selectedFields"))})
}

// selected are rows with the fields that are asked for, in the table's order.
func (b *warehouse) selected(t *stored, rows []string, want string) (out []json.RawMessage) {
	var all []field
	schema, _ := json.Marshal(t.meta["schema"])
	var s struct{ Fields []field }
	_ = json.Unmarshal(schema, &s)
	all = s.Fields
	for _, text := range rows {
		if want == "" {
			out = append(out, json.RawMessage(text))
			continue
		}
		var r, chosen row
		_ = json.Unmarshal([]byte(text), &r)
		for i, f := range all {
			if slices.Contains(strings.Split(want, ","), f.Name) {
				chosen.F = append(chosen.F, r.F[i])
			}
		}
		data, _ := json.Marshal(chosen)
		out = append(out, data)
	}
	return out
}

func (b *warehouse) insert(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		JobReference struct {
			ProjectID, JobID, Location string
		} `json:"jobReference"`
		Configuration struct {
			DryRun       bool              `json:"dryRun"`
			JobTimeoutMs string            `json:"jobTimeoutMs"`
			Labels       map[string]string `json:"labels"`
			Query        struct {
				Query              string      `json:"query"`
				UseLegacySQL       *bool       `json:"useLegacySql"`
				MaximumBytesBilled string      `json:"maximumBytesBilled"`
				ParameterMode      string      `json:"parameterMode"`
				Parameters         []parameter `json:"queryParameters"`
			} `json:"query"`
		} `json:"configuration"`
	}
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	err := dec.Decode(&ask)
	q := ask.Configuration.Query
	switch {
	case err != nil || r.Header.Get("Content-Type") != "application/json":
		refuse(w, 400, "parseError", fmt.Sprint("Invalid JSON payload: ", err))
		return
	case ask.JobReference.ProjectID != project || q.UseLegacySQL == nil || *q.UseLegacySQL || (len(q.Parameters) > 0) != (q.ParameterMode == "NAMED"):
		refuse(w, 400, "invalid", "Invalid request")
		return
	case ask.JobReference.Location != "" && ask.JobReference.Location != b.location:
		refuse(w, 404, "notFound", "Not found: Dataset was not found in location "+ask.JobReference.Location)
		return
	}
	params := map[string]string{}
	for _, p := range q.Parameters {
		params[p.Name] = p.Type.Type + " " + p.Value.Value
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.answer(q.Query, params)
	if out.invalid != "" {
		refuse(w, 400, "invalidQuery", out.invalid)
		return
	}
	if ask.Configuration.DryRun {
		b.dry++
		statement := out.statement
		if statement == "" {
			statement = "SELECT"
		}
		reply(w, map[string]any{"status": map[string]any{"state": "DONE"}, "jobReference": map[string]any{"projectId": project, "location": b.location},
			"statistics": map[string]any{"totalBytesProcessed": fmt.Sprint(out.bytes), "query": map[string]any{"totalBytesProcessed": fmt.Sprint(out.bytes), "statementType": statement, "schema": fields(out.schema)}}})
		return
	}
	id := ask.JobReference.JobID
	if b.jobs[id] != nil {
		refuse(w, 409, "duplicate", "Already Exists: Job "+id)
		return
	}
	if most, _ := strconv.ParseInt(q.MaximumBytesBilled, 10, 64); most > 0 && most < out.bytes {
		out.fails = &jobError{"bytesBilledLimitExceeded", "Query exceeded limit for bytes billed"}
	}
	b.ran = append(b.ran, queryConfiguration{Query: q.Query, MaximumBytesBilled: q.MaximumBytesBilled, Parameters: q.Parameters})
	b.jobs[id] = &running{b.polls, out}
	reply(w, b.status(id))
}

func (b *warehouse) status(id string) map[string]any {
	j, status := b.jobs[id], map[string]any{"state": "RUNNING"}
	if j.left--; j.left < 0 {
		status["state"] = "DONE"
		if j.out.fails != nil {
			status["errorResult"] = j.out.fails
		}
	}
	return map[string]any{"jobReference": map[string]any{"projectId": project, "jobId": id, "location": b.location}, "status": status, "statistics": map[string]any{"creationTime": "1"}}
}

// known sees that a job is asked for where it is.
func (b *warehouse) known(w http.ResponseWriter, r *http.Request, id string) bool {
	if b.jobs[id] == nil || (r.URL.Query().Get("location") != b.location && b.location != "US" && b.location != "EU") {
		refuse(w, 404, "notFound", "Not found: Job "+id)
		return false
	}
	return true
}

func (b *warehouse) job(w http.ResponseWriter, r *http.Request, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known(w, r, id) {
		reply(w, b.status(id))
	}
}

func (b *warehouse) results(w http.ResponseWriter, r *http.Request, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.known(w, r, id) {
		return
	}
	j := b.jobs[id]
	if j.left >= 0 || r.URL.Query().Get("formatOptions.useInt64Timestamp") != "true" {
		reply(w, map[string]any{"jobComplete": false})
		return
	}
	from, to, next, ok := b.cut(w, r, id, len(j.out.rows))
	if !ok {
		return
	}
	rows := []json.RawMessage{}
	for _, text := range j.out.rows[from:to] {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(text)); err != nil {
			b.t.Error(err)
		}
		rows = append(rows, compact.Bytes())
	}
	reply(w, map[string]any{"jobComplete": true, "totalRows": fmt.Sprint(len(j.out.rows)), "schema": fields(j.out.schema), "rows": rows, "pageToken": next})
}
