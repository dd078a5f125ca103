package keboola

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest/resttest"
)

const (
	token   = "1234-567890-abcdefghijklmnop"
	apiHost = "connection.keboola.test"
	signing = "X-Amz-Signature=d76f00dd76"
)

// project is a Keboola that speaks the documented API, and takes nothing else.
type project struct {
	t      *testing.T
	tables []map[string]any
	rows   map[string]string // id → CSV without header
	slices map[string][]string
	store  string // https, s3, gs, azure
	polls  int    // that a job is processed for; 0: it is done at once
	host   string
	signed string // what signed addresses begin with
	// trouble may answer instead; it is asked first.
	trouble func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	asked []exportRequest
	jobs  map[string]*running
	hits  map[string]int
}

type running struct {
	table string
	left  int
}

func orders() map[string]any {
	return map[string]any{
		"id": "in.c-shop.orders", "name": "orders", "primaryKey": []string{"id"}, "rowsCount": 3, "dataSizeBytes": 1024,
		"lastImportDate": "2026-11-20T10:00:00+0100", "lastChangeDate": "2026-11-20T10:00:00+0100", "isAlias": false,
		"columns": []string{"id", "amount", "note"}, "metadata": []any{}, "definition": nil,
		"bucket": map[string]any{"id": "in.c-shop", "description": "the shop"},
		"columnMetadata": map[string]any{
			"id": []any{map[string]any{"key": "KBC.datatype.basetype", "value": "INTEGER", "provider": "storage", "timestamp": "2026-01-01T00:00:00+0100"}},
			"amount": []any{
				map[string]any{"key": "KBC.datatype.basetype", "value": "NUMERIC", "provider": "user", "timestamp": "2026-01-01T00:00:00+0100"},
				map[string]any{"key": "KBC.datatype.length", "value": "12,2", "provider": "user", "timestamp": "2026-01-01T00:00:00+0100"}},
		},
	}
}

func newProject(t *testing.T) *project {
	return &project{t: t, tables: []map[string]any{orders()}, store: "s3", polls: 2, host: apiHost, signed: "https://signed.example/", jobs: map[string]*running{}, hits: map[string]int{},
		rows:   map[string]string{"in.c-shop.orders": "\"1\",\"10.50\",\"a\"\n\"2\",\"2\",\"two\nlines, \"\"quoted\"\"\"\n\"3\",\"\",\"\"\n"},
		slices: map[string][]string{}}
}

// connect makes a source that reads the project.
func (p *project) connect() (*Source, func()) {
	s, err := New(Settings{URL: "https://" + apiHost, Token: token})
	if err != nil {
		p.t.Fatal(err)
	}
	return s, resttest.Connect(p.t, s.http, p)
}

func (p *project) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.hits[r.Host+r.URL.Path]++
	p.mu.Unlock()
	if p.trouble != nil && p.trouble(w, r) {
		return
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/signed/"); ok && r.URL.RawQuery == signing {
		p.whole(w, id)
		return
	}
	if r.Host != p.host {
		if r.Header.Get("X-StorageApi-Token") != "" {
			p.t.Errorf("the token was sent to %s", r.Host)
		}
		p.object(w, r)
		return
	}
	if r.Header.Get("X-StorageApi-Token") != token {
		refuse(w, 401, "Invalid access token "+r.Header.Get("X-StorageApi-Token"))
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, "/v2/storage/")
	if !ok {
		refuse(w, 404, "no route")
		return
	}
	p.api(w, r, path)
}

func (p *project) api(w http.ResponseWriter, r *http.Request, path string) {
	kind, rest, _ := strings.Cut(path, "/")
	switch {
	case path == "tokens/verify" && r.Method == "GET":
		reply(w, 200, map[string]any{"id": "44", "isExpired": false, "isDisabled": false, "token": token})
	case path == "tables" && r.Method == "GET":
		if r.URL.Query().Get("include") != "buckets,columns,metadata,columnMetadata" {
			refuse(w, 400, "include")
			return
		}
		reply(w, 200, p.tables)
	case kind == "tables" && r.Method == "POST" && strings.HasSuffix(rest, "/export-async"):
		p.export(w, r, strings.TrimSuffix(rest, "/export-async"))
	case kind == "tables" && r.Method == "GET":
		for _, t := range p.tables {
			if t["id"] == rest {
				reply(w, 200, t)
				return
			}
		}
		refuse(w, 404, "The table \""+rest+"\" was not found in the bucket")
	case kind == "jobs" && r.Method == "GET":
		p.job(w, rest)
	case kind == "files" && r.Method == "GET":
		p.file(w, r, rest)
	default:
		refuse(w, 404, "no route for "+r.Method+" "+path)
	}
}

func (p *project) export(w http.ResponseWriter, r *http.Request, id string) {
	var ask exportRequest
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&ask); err != nil || r.Header.Get("Content-Type") != "application/json" || ask.Format != "rfc" || ask.FileType != "csv" || !ask.Gzip {
		refuse(w, 400, "Invalid request")
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, ask)
	job := fmt.Sprint(22070000 + len(p.asked))
	p.jobs[job] = &running{id, p.polls}
	if p.polls == 0 {
		p.mu.Unlock()
		p.job(w, job)
		p.mu.Lock()
		return
	}
	reply(w, 202, map[string]any{"id": json.Number(job), "status": "waiting", "createdTime": time.Now().Format("2006-01-02T15:04:05-0700"), "results": nil})
}

func (p *project) job(w http.ResponseWriter, id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	j := p.jobs[id]
	switch {
	case j == nil:
		refuse(w, 404, "job")
	case j.left > 0:
		j.left--
		reply(w, 200, map[string]any{"id": json.Number(id), "status": "processing"})
	default:
		reply(w, 200, map[string]any{"id": json.Number(id), "status": "success", "results": map[string]any{"file": map[string]any{"id": json.Number(id)}, "cacheHit": false}})
	}
}

func (p *project) file(w http.ResponseWriter, r *http.Request, id string) {
	p.mu.Lock()
	j := p.jobs[id]
	p.mu.Unlock()
	if j == nil || r.URL.Query().Get("federationToken") != "1" {
		refuse(w, 404, "file")
		return
	}
	f := map[string]any{"id": json.Number(id), "isSliced": p.slices[j.table] != nil, "region": "eu-central-1", "sizeBytes": 133,
		"url": p.signed + j.table + "?" + signing}
	switch p.store {
	case "s3":
		f["s3Path"] = map[string]any{"bucket": "kbc-files", "key": "exp-2/" + j.table}
		f["credentials"] = map[string]any{"AccessKeyId": "ASIATEST", "SecretAccessKey": "s3secret", "SessionToken": "s3session"}
	case "gs":
		f["gcsPath"] = map[string]any{"bucket": "kbc-files", "key": "exp-2/" + j.table}
		f["gcsCredentials"] = map[string]any{"access_token": "ya29.token", "token_type": "Bearer", "expires_in": 3600, "projectId": "p"}
	case "azure":
		f["absPath"] = map[string]any{"container": "exp-2", "name": j.table}
		f["absCredentials"] = map[string]any{"SASConnectionString": "BlobEndpoint=https://acct.blob.core.windows.net;SharedAccessSignature=sv=2017-11-09&sig=abc%3D"}
	}
	reply(w, 200, f)
}

// object is the store: of signed addresses, S3, Google and Azure.
func (p *project) object(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	switch r.Host {
	case "signed.example":
		if r.URL.RawQuery != signing {
			refuse(w, 403, "signature")
			return
		}
		p.whole(w, path)
		return
	case "kbc-files.s3.eu-central-1.amazonaws.com":
		if problem := wrongSignature(r, "ASIATEST", "s3secret", "s3session"); problem != "" {
			p.t.Errorf("S3: %s", problem)
			refuse(w, 403, problem)
			return
		}
	case "storage.googleapis.com":
		if r.Header.Get("Authorization") != "Bearer ya29.token" || !strings.HasPrefix(path, "kbc-files/") {
			refuse(w, 401, "gcs")
			return
		}
		path = strings.TrimPrefix(path, "kbc-files/")
	case "acct.blob.core.windows.net":
		if r.URL.RawQuery != "sv=2017-11-09&sig=abc%3D" {
			refuse(w, 403, "sas")
			return
		}
	default:
		p.t.Errorf("asked at %s", r.Host)
		refuse(w, 404, "host")
		return
	}
	for id, parts := range p.slices {
		for i, part := range parts {
			if path == "exp-2/"+key(id, i) {
				_, _ = w.Write(pack(part))
				return
			}
		}
	}
	refuse(w, 404, "object")
}

// key is that of a slice; one has a character that must be escaped.
func key(id string, i int) string { return fmt.Sprintf("%s.csv.gz_%d_part+00=.csv.gz", id, i) }

// whole gives a file, or the manifest of a sliced one, with the slices as text
// sorts them.
func (p *project) whole(w http.ResponseWriter, id string) {
	parts := p.slices[id]
	if parts == nil {
		columns := p.columns(id)
		_, _ = w.Write(pack(`"` + strings.Join(columns, `","`) + "\"\n" + p.rows[id]))
		return
	}
	prefix := map[string]string{"s3": "s3://kbc-files/exp-2/", "gs": "gs://kbc-files/exp-2/", "azure": "azure://acct.blob.core.windows.net/exp-2/"}[p.store]
	entries := []map[string]string{}
	for i := range parts {
		entries = append(entries, map[string]string{"url": prefix + key(id, i)})
	}
	slices.SortFunc(entries, func(a, b map[string]string) int { return strings.Compare(a["url"], b["url"]) })
	reply(w, 200, map[string]any{"entries": entries})
}

func (p *project) columns(id string) []string {
	for _, t := range p.tables {
		if t["id"] == id {
			return t["columns"].([]string)
		}
	}
	return nil
}

// wrongSignature checks AWS Signature Version 4 from what a request carries.
func wrongSignature(r *http.Request, id, secret, session string) string {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	fields := map[string]string{}
	for part := range strings.SplitSeq(auth, ", ") {
		k, v, _ := strings.Cut(part, "=")
		fields[k] = v
	}
	scope, found := strings.CutPrefix(fields["Credential"], id+"/")
	if !ok || !found || r.Header.Get("X-Amz-Security-Token") != session {
		return "no credentials"
	}
	canonical := r.Method + "\n" + r.URL.EscapedPath() + "\n" + r.URL.RawQuery + "\n"
	for name := range strings.SplitSeq(fields["SignedHeaders"], ";") {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		canonical += name + ":" + value + "\n"
	}
	canonical += "\n" + fields["SignedHeaders"] + "\n" + r.Header.Get("X-Amz-Content-Sha256")
	sum := sha256.Sum256([]byte(canonical))
	signing := []byte("AWS4" + secret)
	for step := range strings.SplitSeq(scope, "/") {
		h := hmac.New(sha256.New, signing)
		_, _ = io.WriteString(h, step)
		signing = h.Sum(nil)
	}
	h := hmac.New(sha256.New, signing)
	_, _ = fmt.Fprintf(h, "AWS4-HMAC-SHA256\n%s\n%s\n%x", r.Header.Get("X-Amz-Date"), scope, sum)
	if hex.EncodeToString(h.Sum(nil)) != fields["Signature"] {
		return "the signature does not match"
	}
	if strings.Contains(r.URL.EscapedPath(), "+") || strings.Contains(r.URL.EscapedPath(), "=") {
		return "the path is not escaped as it was signed"
	}
	return ""
}

func pack(text string) []byte {
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	_, _ = io.WriteString(zip, text)
	_ = zip.Close()
	return b.Bytes()
}

func reply(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func refuse(w http.ResponseWriter, code int, what string) {
	reply(w, code, map[string]any{"error": what, "code": "storage.error", "exceptionId": "e-1"})
}

// unpacked is a table's CSV in the order of its files.
func unpacked(t *testing.T, dir, name string) string {
	t.Helper()
	paths, _ := filepath.Glob(filepath.Join(dir, name, "*"))
	if single := filepath.Join(dir, name+".csv.gz"); len(paths) == 0 {
		paths = []string{single}
	}
	out := ""
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		zip, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(zip)
		if err != nil {
			t.Fatal(err)
		}
		out += string(text)
	}
	return out
}

// clean fails when something secret is where it must not be.
func clean(t *testing.T, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, secret := range []string{token, signing, "s3secret", "s3session", "ya29", "sig=abc", url.QueryEscape(token)} {
			if strings.Contains(text, secret) {
				t.Errorf("%q shows %s", text, secret)
			}
		}
	}
}

func orderSpec() connectors.TableSpec {
	return connectors.TableSpec{Name: "orders", ID: "in.c-shop.orders"}
}
