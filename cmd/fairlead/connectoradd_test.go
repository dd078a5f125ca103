package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/server"
)

// TestConnectorByCommands does what the setup in the browser does: a source with
// its token, its tables, a first run, and its end; each change is a commit.
func TestConnectorByCommands(t *testing.T) {
	t.Parallel()
	stack := fakeKeboola(t)
	w, dir := exports(t, map[string]string{"orders.csv": "id,total\n1,10.50\n"})
	w.env = append(w.env, "FAIRLEAD_FETCH_ALLOWED_HOSTS="+strings.TrimPrefix(stack.URL, "http://"))
	w.start()
	for want, args := range map[string][]string{
		"token is secret, and others see":    {"add", "acme/kbc", "keboola", "--set", "url=" + stack.URL, "--set", "token=" + keboolaToken},
		"url is secret, and others see":      {"add", "acme/crm", "postgres", "--set", "url=postgres://u:hunter2@db/x"},
		"url is secret, and others":          {"add", "acme/crm", "postgres", "--set", "url=postgres://u:hunter2%zz@db/x"},
		"url is secret":                      {"add", "acme/crm", "postgres", "--set", "url=postgres://u@db/x?password=hunter2"},
		"the variable NOTHING is empty":      {"add", "acme/kbc", "keboola", "--secret-env", "token=NOTHING"},
		"name some, or all of them":          {"register", "acme/shop"},
		"say of which instance":              {"remove", "shop"},
		"each key once":                      {"add", "acme/shop", "files", "--set", "dir"},
		"of acme: the repository has no":     {"remove", "acme/nope"},
		"acme has no connector yet":          {"register", "acme/shop", "--all"},
		"is not the name of a connector":     {"add", "acme/a-b", "files", "--set", "dir=" + dir},
		"nope: unknown key":                  {"add", "acme/shop", "files", "--set", "nope=x"},
		"it is written NAME or INSTANCE/NAM": {"add", "/shop", "files"},
	} {
		if r := w.must(exitError1, append([]string{"connector"}, args...)...); !strings.Contains(r.stderr, want) || strings.Contains(r.stderr, "hunter2") || strings.Contains(r.stderr, keboolaToken) {
			t.Errorf("%q: %s", args, r.stderr)
		}
	}
	r := w.must(exitDone, "connector", "add", "acme/shop", "files", "--set", "dir="+dir, "--schedule", "every 1h")
	if !strings.Contains(r.stdout, "acme/shop is configured, its service has 1 table: commit ") {
		t.Errorf("add: %s%s", r.stdout, r.stderr)
	}
	if r := w.must(exitDone, "connector", "add", "acme/shop", "files", "--set", "dir="+dir, "--schedule", "every 1h"); !strings.Contains(r.stdout, "nothing to do") {
		t.Errorf("the same again: %s", r.stdout)
	}
	if r := w.must(exitDone, "connector", "register", "acme/shop", "--all", "--dry-run"); !strings.Contains(r.stdout, "would register 1 table") {
		t.Errorf("dry run: %s", r.stdout)
	}
	var done server.DiscoverResult
	if err := json.Unmarshal([]byte(w.must(exitDone, "connector", "register", "acme/shop", "--all", "-o", "json").stdout), &done); err != nil || done.Registered != 1 || done.Commit == "" {
		t.Errorf("register: %+v, %v", done, err)
	}
	if r := w.must(exitError1, "connector", "register", "acme/shop", "nothing.csv"); !strings.Contains(r.stderr, "does not have nothing.csv") || r.stdout != "" {
		t.Errorf("a table that is not there: %s%s", r.stdout, r.stderr)
	}
	w.attachment("shop", live)
	var runs []connectors.Record
	if err := json.Unmarshal([]byte(w.must(exitDone, "connector", "runs", "shop", "-o", "json").stdout), &runs); err != nil || len(runs) == 0 || runs[0].Correlation == "" {
		t.Errorf("the run after the commit goes back to no request: %+v, %v", runs, err)
	}

	if r := w.say(exitDone, keboolaToken+"\n", "connector", "add", "acme/kbc", "keboola", "--set", "url="+stack.URL, "--secret-stdin", "token"); !strings.Contains(r.stdout, "its service has 3 tables") {
		t.Errorf("keboola: %s%s", r.stdout, r.stderr)
	}
	w.write("token", keboolaToken+"\n")
	w.must(exitDone, "connector", "add", "acme/kbc2", "keboola", "--set", "url="+stack.URL, "--secret-file", "token="+filepath.Join(w.dir, "token"))
	if err := os.Remove(filepath.Join(w.dir, "token")); err != nil {
		t.Fatal(err)
	}
	w.wantNowhere(keboolaToken)
	if text := w.git("show", "HEAD~1:connectors/kbc.yaml"); !strings.Contains(text, "${secret:") || strings.Contains(text, keboolaToken) {
		t.Errorf("the file is %s", text)
	}
	if r := w.must(exitDone, "connector", "remove", "acme/kbc"); !strings.Contains(r.stdout, "acme/kbc is removed") {
		t.Errorf("remove: %s", r.stdout)
	}
}
