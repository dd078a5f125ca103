package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired/git"
)

const keboolaToken = "1234-567890-notinanyfileanywhere"

// fakeKeboola is a stack that takes what the Storage API documents for looking
// at a project, and nothing else.
func fakeKeboola(t *testing.T) *httptest.Server {
	t.Helper()
	table := func(id string) map[string]any {
		return map[string]any{"id": id, "name": id[strings.LastIndex(id, ".")+1:], "primaryKey": []string{"id"}, "rowsCount": 3, "dataSizeBytes": 10, "isAlias": false,
			"lastImportDate": "2026-11-20T10:00:00+0100", "lastChangeDate": "2026-11-20T10:00:00+0100", "columns": []string{"id", "note"}, "metadata": []any{}, "columnMetadata": map[string]any{},
			"bucket": map[string]any{"id": "in.c-shop", "description": "the shop"}}
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Header.Get("X-StorageApi-Token") != keboolaToken:
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":"Invalid access token","code":"storage.tokenInvalid","message":"token %s"}`, r.Header.Get("X-StorageApi-Token"))
		case r.Method == http.MethodGet && r.URL.Path == "/v2/storage/tokens/verify":
			_ = json.NewEncoder(w).Encode(map[string]any{"id": "44", "isExpired": false, "isDisabled": false, "token": keboolaToken})
		case r.Method == http.MethodGet && r.URL.Path == "/v2/storage/tables":
			_ = json.NewEncoder(w).Encode([]any{table("in.c-shop.orders"), table("in.c-shop.items"), table("out.c-shop.orders")})
		case strings.HasPrefix(r.URL.Path, "/v2/storage/tables/"):
			<-r.Context().Done() // a table that takes long
		default:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no route"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// caller makes calls of the API over the socket of a daemon.
type apiCaller struct {
	w    *world
	http *http.Client
}

func (w *world) api() *apiCaller {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(w.data, "fairlead.sock"))
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: limit}
	w.t.Cleanup(client.CloseIdleConnections)
	return &apiCaller{w, client}
}

// call makes one, wants a status, and gives what it answered.
func (a *apiCaller) call(status int, method, path, body string) map[string]any {
	a.w.t.Helper()
	got, out := a.do(method, path, body)
	if got != status {
		a.w.t.Fatalf("%s %s %s: %d, want %d\n%s", method, path, body, got, status, out["(all)"])
	}
	return out
}

func (a *apiCaller) do(method, path, body string) (status int, out map[string]any) {
	a.w.t.Helper()
	req, err := http.NewRequestWithContext(a.w.t.Context(), method, "http://fairlead"+path, strings.NewReader(body))
	if err != nil {
		a.w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := a.http.Do(req)
	if err != nil {
		a.w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.w.t.Fatalf("%s %s %s: %v\n%s", method, path, body, err, text)
	}
	if strings.Contains(string(text), keboolaToken) {
		a.w.t.Fatalf("%s %s answers the token:\n%s", method, path, text)
	}
	out = map[string]any{}
	if len(text) > 0 && text[0] == '{' {
		if err := json.Unmarshal(text, &out); err != nil {
			a.w.t.Fatalf("%s %s: %v\n%s", method, path, err, text)
		}
	}
	out["(all)"] = string(text)
	return resp.StatusCode, out
}

// until repeats a call until what it answers is as it should be.
func (a *apiCaller) until(path string, as func(map[string]any) bool) map[string]any {
	a.w.t.Helper()
	tick, end := time.NewTicker(50*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for {
		status, out := a.do(http.MethodGet, path, "") // an instance of a new commit is not known at once
		if status == http.StatusOK && as(out) {
			return out
		}
		select {
		case <-end:
			a.w.t.Fatalf("GET %s stays %d %v", path, status, out["(all)"])
		case <-tick.C:
		}
	}
}

// freshWorld is a world without a repository and without any configuration.
func freshWorld(t *testing.T, more ...string) *world {
	t.Helper()
	w := newWorld(t)
	w.repo = filepath.Join(w.data, "repo")
	for i, v := range w.env {
		if strings.HasPrefix(v, "FAIRLEAD_REPO=") {
			w.env[i] = "FAIRLEAD_REPO="
		}
	}
	w.env = append(w.env, more...)
	return w
}

func (w *world) git(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", append([]string{"-C", w.repo}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// wantNowhere looks for a text in every file and every object of the data
// directory and the repository.
func (w *world) wantNowhere(secret string, alsoIn ...string) {
	w.t.Helper()
	if all := w.git("cat-file", "--batch-all-objects", "--batch"); strings.Contains(all, secret) {
		w.t.Error("the secret is in the object database")
	}
	err := filepath.WalkDir(w.dir, func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // it went meanwhile, or is a socket
		}
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), secret) {
			w.t.Errorf("the secret is in %s", name)
		}
		return nil
	})
	if err != nil {
		w.t.Error(err)
	}
	for _, text := range alsoIn {
		if strings.Contains(text, secret) {
			w.t.Errorf("the secret is in the log:\n%s", text)
		}
	}
}

// TestSetupByFourCalls goes from nothing at all to rows, as the seed's API has
// it, and finds each step as a commit.
func TestSetupByFourCalls(t *testing.T) {
	stack := fakeKeboola(t)
	w := freshWorld(t, "FAIRLEAD_FETCH_ALLOWED_HOSTS="+strings.TrimPrefix(stack.URL, "http://"))
	d := w.start()
	api := w.api()

	api.call(400, "POST", "/api/admin/configure", `{"data_source":"oracle"}`)
	if e := api.call(400, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"`+stack.URL+`"}`); e["detail"] != "Missing KEBOOLA_STORAGE_TOKEN." ||
		!strings.Contains(fmt.Sprint(e["hint"]), "POST /api/admin/configure with keboola_token") {
		t.Errorf("without a token: %v", e)
	}
	if e := api.call(400, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"`+stack.URL+`","keboola_token":"wrong-token-of-somebody"}`); !strings.HasPrefix(fmt.Sprint(e["detail"]), "Keboola connection failed.") ||
		strings.Contains(fmt.Sprint(e), "wrong-token") {
		t.Errorf("with a wrong token: %v", e)
	}
	if e := api.call(400, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"http://localhost:1","keboola_token":"x-y-z-1-2-3"}`); !strings.Contains(fmt.Sprint(e), "localhost") {
		t.Errorf("an address that the host does not permit: %v", e)
	}
	if n := strings.Count(w.git("log", "--format=%H"), "\n"); n != 1 {
		t.Errorf("what failed made %d commits", n-1)
	}

	configured := api.call(200, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"`+stack.URL+`","keboola_token":"`+keboolaToken+`","instance_name":"Acme Ltd."}`)
	if configured["status"] != "ok" || configured["connection"] != "verified" || configured["data_source"] != "keboola" || configured["instance"] != "acme-ltd" || configured["connector"] != "keboola" {
		t.Errorf("configured: %v", configured)
	}
	if got := strings.Fields(w.git("show", "--format=", "--name-only", "HEAD")); strings.Join(got, " ") !=
		"instances/acme-ltd/connectors/keboola.yaml instances/acme-ltd/instance.yaml instances/acme-ltd/secrets.enc.yaml" && len(got) != 4 {
		t.Errorf("the commit has %v", got)
	}
	if got := w.git("show", "HEAD:instances/acme-ltd/connectors/keboola.yaml"); got != "keboola:\n  url: "+stack.URL+"\n  token: ${secret:KEBOOLA_STORAGE_TOKEN}\ntables: []\n" {
		t.Errorf("the file is %q", got)
	}
	api.until("/api/instances/acme-ltd", func(s map[string]any) bool {
		return s["phase"] == "Synced" || s["phase"] == "synced" || fmt.Sprint(s["generation"]) == "1"
	})

	found := api.call(200, "GET", "/api/admin/discover-tables", "")
	if found["count"] != 3.0 || found["source"] != "keboola" {
		t.Errorf("discovered: %v", found["(all)"])
	}
	if dry := api.call(200, "POST", "/api/admin/discover-and-register?dry_run=true", ""); dry["registered"] != 0.0 || dry["would_register"] != 3.0 {
		t.Errorf("dry run: %v", dry["(all)"])
	}
	registered := api.call(200, "POST", "/api/admin/discover-and-register", `{"tables":["in.c-shop.orders","out.c-shop.orders","nothing"]}`)
	if registered["registered"] != 2.0 || registered["errors"] != 1.0 || registered["commit"] == "" {
		t.Errorf("registered: %v", registered["(all)"])
	}
	if got := w.git("show", "HEAD:instances/acme-ltd/connectors/keboola.yaml"); !strings.HasSuffix(got, "tables:\n  - name: orders\n    id: in.c-shop.orders\n  - name: out_c_shop_orders\n    id: out.c-shop.orders\n") {
		t.Errorf("the file is %q", got)
	}
	if again := api.call(200, "POST", "/api/admin/discover-and-register", ""); again["registered"] != 1.0 || again["skipped"] != 2.0 {
		t.Errorf("again: %v", again["(all)"])
	}
	if e := api.call(409, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"`+strings.Replace(stack.URL, "127.0.0.1", "localhost", 1)+`"}`); e["error"] != "connection_change_affects_registrations" {
		t.Errorf("another connection: %v", e)
	}
	if got := w.git("log", "-1", "--format=%an: %s"); !strings.HasPrefix(got, "root: Register 1 table of keboola") && os.Getuid() == 0 {
		t.Errorf("log: %s", got)
	}
	// The run that the commits brought about is joined by the first who asks.
	joined := api.call(200, "POST", "/api/sync/trigger", "")
	refused := api.call(409, "POST", "/api/sync/trigger?source=keboola", `["keboola.orders"]`)
	if refused["error"] != "sync_already_in_progress" || refused["job_id"] != joined["job_id"] || refused["detail"] == "" || !strings.Contains(fmt.Sprint(refused["hint"]), "/api/jobs/") {
		t.Errorf("refused: %v", refused)
	}
	if s := api.call(200, "GET", "/api/sync/status", ""); s["locked"] != true || s["job_id"] != joined["job_id"] {
		t.Errorf("status: %v", s["(all)"])
	}
	api.call(200, "POST", fmt.Sprintf("/api/jobs/%s/cancel", joined["job_id"]), "")
	api.until(fmt.Sprintf("/api/jobs/%s?wait=10", joined["job_id"]), func(j map[string]any) bool { return j["state"] == "cancelled" })
	api.call(200, "POST", "/api/instances/acme-ltd/connectors/keboola/cancel", "")
	api.until("/api/sync/status", func(s map[string]any) bool { return s["locked"] == false })
	slip := api.call(200, "POST", "/api/admin/configure", `{"data_source":"keboola","keboola_url":"`+stack.URL+`","keboola_token":"`+keboolaToken+`","instance":"acme-ldt"}`)
	if configured["warnings"] != nil || !strings.Contains(fmt.Sprint(slip["warnings"]), "acme-ldt is a new instance beside acme-ltd: ") {
		t.Errorf("a slip in the name: %v, the first: %v", slip, configured["warnings"])
	}
	d.signal(syscall.SIGTERM)
	w.wantNowhere(keboolaToken, d.log.String())
}

// TestSyncByTheAPI brings real files in, by calls alone.
func TestSyncByTheAPI(t *testing.T) {
	w := freshWorld(t)
	dir := filepath.Dir(w.write("exports/orders.csv", "id,total\n1,10.50\n2,20\n"))
	w.write("exports/more/items.csv", "id\n1\n")
	w.env = append(w.env, "FAIRLEAD_CONNECTORS_DIRS="+dir)
	w.start()
	api := w.api()
	if s := api.call(200, "GET", "/api/sync/status", ""); s["locked"] != false {
		t.Errorf("at the start: %v", s)
	}
	if e := api.call(200, "POST", "/api/sync/trigger", ""); !strings.Contains(fmt.Sprint(e["message"]), "/api/admin/configure") || e["job_id"] == "" {
		t.Errorf("nothing to bring in: %v", e)
	}
	if e := api.call(400, "POST", "/api/admin/configure", `{"data_source":"files","files_dir":"/etc"}`); !strings.Contains(fmt.Sprint(e["hint"]), `connectors: {dirs: ["/etc"]}`) {
		t.Errorf("a folder that the host does not permit: %v", e)
	}
	// A folder counts also for those who call files local.
	if c := api.call(200, "POST", "/api/admin/configure", `{"data_source":"local","files_dir":"`+dir+`"}`); c["instance"] != "main" || c["data_source"] != "files" || c["connection"] != "verified" || c["tables_found"] != 2.0 {
		t.Errorf("configured: %v", c)
	}
	if e := api.call(200, "POST", "/api/sync/trigger", ""); !strings.Contains(fmt.Sprint(e["message"]), "/api/admin/discover-and-register") {
		t.Errorf("no table is chosen: %v", e)
	}
	if r := api.call(200, "POST", "/api/admin/discover-and-register", `{"tables":["orders.csv"]}`); r["registered"] != 1.0 {
		t.Errorf("registered: %v", r)
	}
	if r := api.call(200, "GET", "/api/sync/runs", ""); strings.Contains(fmt.Sprint(r["(all)"]), `"failed"`) {
		t.Errorf("a run of no tables: %v", r["(all)"])
	}
	api.call(422, "POST", "/api/sync/trigger", `["nothing"]`)
	triggered := api.call(200, "POST", "/api/sync/trigger", `{"tables":["files.orders"]}`)
	if triggered["status"] != "triggered" || triggered["job_id"] == "" || triggered["source"] != "files" {
		t.Errorf("triggered: %v", triggered)
	}
	job := api.until(fmt.Sprintf("/api/jobs/%s?wait=10", triggered["job_id"]), func(j map[string]any) bool { return j["state"] != "running" })
	if job["state"] != "done" || job["done"] != 1.0 || job["total"] != 1.0 || !strings.Contains(fmt.Sprint(job["(all)"]), `"rows":2`) {
		t.Errorf("job: %v", job["(all)"])
	}
	if c := api.call(200, "GET", "/api/catalog/tables", ""); c["count"] != 1.0 || !strings.Contains(fmt.Sprint(c["(all)"]), `"id":"files.orders","name":"orders"`) {
		t.Errorf("catalogue: %v", c["(all)"])
	}
	if m := api.call(200, "GET", "/api/sync/manifest", ""); !strings.Contains(fmt.Sprint(m["(all)"]), `"files.orders":{"hash":"files-`) {
		t.Errorf("manifest: %v", m["(all)"])
	}
	if p := api.call(200, "GET", "/api/catalog/profile/orders", ""); len(p["columns"].([]any)) != 2 {
		t.Errorf("profile: %v", p["(all)"])
	}
	if e := api.call(400, "POST", "/api/query", `{"sql":"SELCT 1"}`); !strings.Contains(fmt.Sprint(e["hint"]), "DuckDB") {
		t.Errorf("a statement that cannot be read: %v", e)
	}
	if q := api.call(200, "POST", "/api/query", `{"sql":"SELECT sum(total) FROM orders"}`); !strings.Contains(fmt.Sprint(q["(all)"]), "30.5") {
		t.Errorf("query: %v", q["(all)"])
	}
	if r := api.call(200, "GET", "/api/sync/runs", ""); !strings.Contains(fmt.Sprint(r["(all)"]), `"outcome":"ok"`) {
		t.Errorf("runs: %v", r["(all)"])
	}
}

// TestChangesByTheAPI edits what is there: files, tables, releases, instances.
func TestChangesByTheAPI(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{"instances/acme/instance.yaml": "# ours\n" + acmeInstance + "release: {image: example.com/app, channel: stable} # slowly\n",
		"instances/acme/compose.yaml": acmeCompose("1", "hello"), "README.md": "read me\n"})
	w.start()
	api := w.api()
	const file = "/api/instances/acme/connectors/shop/file"
	yaml := func(text string) string { b, _ := json.Marshal(text); return string(b) }
	api.call(404, "GET", file, "")
	e := api.call(422, "PUT", file, `{"yaml":`+yaml("files: {}\nnope: 1\ntables: [{name: a, paths: [https://data.acme.com/a.csv], strategy: some}]\n")+`}`)
	if all := fmt.Sprint(e["(all)"]); !strings.Contains(all, "instances/acme/connectors/shop.yaml") || !strings.Contains(all, "nope") || !strings.Contains(all, "tables[0].strategy") || !strings.Contains(all, `"line":2`) {
		t.Errorf("problems: %s", all)
	}
	good := "# of the shop\nfiles: {}\ntables:\n  - {name: a, paths: [https://data.acme.com/a.csv]} # first\n"
	made := api.call(200, "PUT", file, `{"yaml":`+yaml(good)+`}`)
	if made["commit"] == "" || made["pushed"] != false || strings.TrimSpace(w.git("rev-parse", "HEAD")) != made["commit"] {
		t.Errorf("made: %v", made)
	}
	read := api.call(200, "GET", file, "")
	if read["yaml"] != good || read["base"] != made["commit"] {
		t.Errorf("read: %v", read)
	}
	api.call(409, "PUT", file, `{"yaml":`+yaml(good+"# x\n")+`}`)
	if r := api.call(201, "POST", "/api/admin/register-table", `{"name":"b","paths":["https://data.acme.com/b.csv"],"description":"the second: b"}`); r["id"] != "shop.b" || r["status"] != "registered" {
		t.Errorf("registered: %v", r)
	}
	api.call(409, "POST", "/api/admin/register-table", `{"name":"B","paths":["https://data.acme.com/b.csv"]}`)
	api.call(422, "POST", "/api/admin/register-table", `{"name":"c-d","paths":["https://data.acme.com/b.csv"]}`)
	if r := api.call(200, "GET", "/api/admin/registry", ""); r["count"] != 2.0 {
		t.Errorf("registry: %v", r["(all)"])
	}
	if u := api.call(200, "PUT", "/api/admin/registry/shop.a", `{"description":"first of all","owner":"sales"}`); u["id"] != "shop.a" || fmt.Sprint(u["updated"]) != "[description owner]" {
		t.Errorf("updated: %v", u)
	}
	api.call(404, "PUT", "/api/admin/registry/shop.zz", `{"owner":"x"}`)
	api.call(204, "DELETE", "/api/admin/registry/b", "")
	if got := w.git("show", "HEAD:instances/acme/connectors/shop.yaml"); got != "# of the shop\nfiles: {}\ntables:\n  - {name: a, paths: [https://data.acme.com/a.csv], description: first of all, owner: sales} # first\n" {
		t.Errorf("the file is %q", got)
	}

	// somebody else was faster
	w.commit("By hand", map[string]string{"instances/acme/connectors/shop.yaml": good + "# by hand\n"})
	e = api.call(409, "PUT", file, fmt.Sprintf(`{"yaml":%s,"base":%q}`, yaml(good+"# mine\n"), made["commit"]))
	if !strings.Contains(fmt.Sprint(e["detail"]), "instances/acme/connectors/shop.yaml") || !strings.Contains(fmt.Sprint(e["hint"]), `by Ada, "By hand"; GET `+file+` answers`) {
		t.Errorf("conflict: %v", e)
	}
	api.call(422, "PATCH", "/api/instances/acme/release", `{"version":"2026.10.1","unpin":true}`)
	api.call(200, "PATCH", "/api/instances/acme/release", `{"version":"2026.10.1"}`)
	if got := w.git("show", "HEAD:instances/acme/instance.yaml"); got != "# ours\n"+acmeInstance+"release: {image: example.com/app, channel: stable, version: 2026.10.1} # slowly\n" {
		t.Errorf("pinned: %q", got)
	}
	api.call(200, "PATCH", "/api/instances/acme/release", `{"unpin":true}`)
	if got := w.git("show", "HEAD:instances/acme/instance.yaml"); got != "# ours\n"+acmeInstance+"release: {image: example.com/app, channel: stable} # slowly\n" {
		t.Errorf("unpinned: %q", got)
	}
	if c := api.call(201, "POST", "/api/instances", `{"name":"second"}`); c["instance"] != "second" {
		t.Errorf("made: %v", c)
	}
	api.call(409, "POST", "/api/instances", `{"name":"second"}`)
	api.until("/api/instances/second", func(s map[string]any) bool { return s["name"] == "second" && fmt.Sprint(s["generation"]) == "1" })
	back := strings.TrimSpace(w.git("rev-list", "--max-parents=0", "HEAD"))
	api.call(200, "POST", "/api/instances/acme/revert", `{"commit":"`+back+`"}`)
	if w.git("diff", "--stat", back, "HEAD", "--", "instances/acme") != "" {
		t.Error("the directory is not what it was")
	}
	if w.git("status", "--porcelain") != "" {
		t.Error("the work tree is not clean")
	}
	w.write("acme/instances/acme/connectors/shop.yaml", "somebody writes this\n")
	if e := api.call(409, "POST", "/api/instances/acme/revert", `{"commit":"`+fmt.Sprint(made["commit"])+`"}`); e == nil {
		t.Error("uncommitted edits were lost")
	}
}

// TestChangesOfARemote are pushed where that is allowed, and else handed back.
func TestChangesOfARemote(t *testing.T) {
	for _, push := range []bool{true, false} {
		w := newWorld(t)
		remote := serveRepository(t, map[string]string{"instances/acme/instance.yaml": acmeInstance + "allowEmpty: true\n"})
		w.repo = remote.bare
		w.env = append(w.env, "FAIRLEAD_REPO="+remote.url, fmt.Sprintf("FAIRLEAD_PUSH=%t", push))
		w.start()
		api := w.api()
		before := w.git("rev-parse", "main")
		out := api.call(200, "PUT", "/api/instances/acme/connectors/shop/file", `{"yaml":"files: {}\ntables: []\n"}`)
		after := w.git("rev-parse", "main")
		if push {
			if out["pushed"] != true || strings.TrimSpace(after) != out["commit"] || after == before {
				t.Errorf("pushed: %v", out)
			}
			remote.stop()
			if e := api.call(502, "PUT", "/api/instances/acme/secrets/TOKEN", `{"value":"one-two-three"}`); !strings.Contains(fmt.Sprint(e["hint"]), "nothing was committed") {
				t.Errorf("the repository cannot be reached: %v", e)
			}
			continue
		}
		patch, _ := out["patch"].(string)
		if out["pushed"] != false || after != before || !strings.Contains(fmt.Sprint(out["hint"]), "git am") {
			t.Fatalf("not pushed: %v", out)
		}
		clone := filepath.Join(w.dir, "clone")
		w.git("clone", "-q", remote.bare, clone)
		cmd := exec.CommandContext(t.Context(), "git", "-C", clone, "-c", "user.name=x", "-c", "user.email=x@example.com", "am", "-q")
		cmd.Stdin = strings.NewReader(patch)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git am: %v\n%s", err, text)
		}
		if text, err := os.ReadFile(filepath.Join(clone, "instances/acme/connectors/shop.yaml")); err != nil || string(text) != "files: {}\ntables: []\n" {
			t.Errorf("%q, %v", text, err)
		}
	}
}

type servedRepository struct {
	url, bare string
	stop      func()
}

// serveRepository is a repository behind a real git server.
func serveRepository(t *testing.T, files map[string]string) servedRepository {
	t.Helper()
	dir := t.TempDir()
	work := filepath.Join(dir, "work")
	if _, err := git.Init(work, contents(files), someone); err != nil {
		t.Fatal(err)
	}
	bare := filepath.Join(dir, "fleet.git")
	for _, args := range [][]string{{"clone", "-q", "--bare", work, bare}, {"-C", bare, "config", "http.receivepack", "true"}} {
		if out, err := exec.CommandContext(t.Context(), "git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	path, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(gitBackend(strings.TrimSpace(string(path))+"/git-http-backend", dir))
	t.Cleanup(s.Close)
	return servedRepository{s.URL + "/fleet.git", bare, s.Close}
}

func gitBackend(program, root string) http.Handler {
	return &cgi.Handler{Path: program, Stderr: io.Discard, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent", "REMOTE_USER=ann"}}
}
