package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// exports is a world whose host lets connectors read from a directory.
func exports(t *testing.T, files map[string]string) (*world, string) {
	t.Helper()
	w := newWorld(t)
	dir := filepath.Join(w.dir, "exports")
	for name, content := range files {
		w.write(filepath.Join("exports", name), content)
	}
	w.env = append(w.env, "FAIRLEAD_CONNECTORS_DIRS="+dir)
	w.begin(map[string]string{"instance.yaml": acmeInstance + "allowEmpty: true\n", "compose.yaml": "services: {}\n"})
	return w, dir
}

func filesConnector(dir, tables string) string {
	return "files: {dir: " + dir + "}\nschedule: every 1h\ntables:\n" + tables
}

const ordersTable = "  - {name: orders, paths: [orders.csv], types: {id: BIGINT, total: \"DECIMAL(10,2)\"}, owner: sales}\n"

// attachment waits until a connector of acme is as it should be.
func (w *world) attachment(name string, as func(reconciler.AttachmentStatus) bool) reconciler.AttachmentStatus {
	w.t.Helper()
	client := server.NewClient(filepath.Join(w.data, "fairlead.sock"), "")
	defer client.Close()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for {
		s, err := client.Status(w.t.Context(), "acme")
		for _, a := range s.Attachments {
			if err == nil && a.Name == name && as(a) {
				return a
			}
		}
		select {
		case <-end:
			w.t.Fatalf("connector %s does not come to be so: %v %+v", name, err, s.Attachments)
		case <-tick.C:
		}
	}
}

func live(a reconciler.AttachmentStatus) bool {
	return a.Phase == reconciler.AttachmentLive && !a.Running
}

// csv is what a query answers.
func (w *world) csv(sql string) string {
	w.t.Helper()
	return strings.ReplaceAll(w.must(exitDone, "query", "-o", "csv", sql).stdout, "\r\n", "\n")
}

func TestConnectorsConverge(t *testing.T) {
	w, dir := exports(t, map[string]string{"orders.csv": "id,total\n1,10.50\n2,20\n", "items.csv": "order_id,sku\n1,a\n1,b\n2,c\n"})
	d := w.start()
	w.commit("Read orders", map[string]string{"connectors/shop.yaml": filesConnector(dir, ordersTable)})
	first := w.attachment("shop", live)
	if got := w.csv("SELECT sum(total) AS t, count(*) AS n FROM orders"); got != "t,n\n30.50,2\n" {
		t.Errorf("query: %q", got)
	}

	// another table, by a commit, in a join
	w.commit("Read items", map[string]string{"connectors/shop.yaml": filesConnector(dir, ordersTable+"  - {name: items, paths: [items.csv]}\n")})
	second := w.attachment("shop", func(a reconciler.AttachmentStatus) bool { return live(a) && len(a.Tables) == 2 })
	if second.Generation <= first.Generation || second.Identity == first.Identity {
		t.Errorf("after another table: %+v, before: %+v", second, first)
	}
	if got := w.csv("SELECT o.id, count(*) AS n FROM shop.orders o JOIN items i ON i.order_id = o.id GROUP BY ALL ORDER BY 1"); got != "id,n\n1,2\n2,1\n" {
		t.Errorf("join: %q", got)
	}

	// it breaks: it is Degraded, its rows stay
	w.write("exports/orders.csv", "<html>Sign in</html>\n")
	r := w.must(exitError1, "connector", "run", "shop")
	if !strings.Contains(r.stdout, "orders") || !strings.Contains(r.stdout, "partial") {
		t.Errorf("connector run: %s", r.stdout)
	}
	w.attachment("shop", func(a reconciler.AttachmentStatus) bool {
		return a.Phase == reconciler.AttachmentDegraded && !a.Running
	})
	if got := w.csv("SELECT count(*) AS n FROM orders"); got != "n\n2\n" {
		t.Errorf("after it broke: %q", got)
	}
	w.write("exports/orders.csv", "id,total\n1,10.50\n2,20\n3,1\n")
	w.must(exitDone, "connector", "run", "acme/shop")
	w.attachment("shop", live)
	var runs []connectors.Record
	if err := json.Unmarshal([]byte(w.must(exitDone, "connector", "runs", "shop", "-o", "json").stdout), &runs); err != nil || len(runs) == 0 || runs[0].Correlation == "" {
		t.Fatalf("a run that was asked for goes back to no request: %+v, %v", runs, err)
	}
	if got := w.must(exitDone, "events", "acme", "-o", "json").stdout; !strings.Contains(got, runs[0].Correlation) {
		t.Errorf("no event goes back to the request %s: %s", runs[0].Correlation, got)
	}

	// and goes: its data stays until it is purged
	w.must(exitError1, "connector", "purge", "acme/shop")
	w.commit("Read nothing", map[string]string{"connectors/shop.yaml": ""})
	if code := d.signal(syscall.SIGTERM); code != 0 {
		t.Errorf("the daemon ended with %d\n%s", code, d.log)
	}
}

// TestConnectorsOutliveTheDaemon restarts it: what is attached is attached
// again at once, also by a command that works alone.
func TestConnectorsOutliveTheDaemon(t *testing.T) {
	w, dir := exports(t, map[string]string{"orders.csv": "id,total\n1,10.50\n"})
	d := w.start()
	w.commit("Read orders", map[string]string{"connectors/shop.yaml": filesConnector(dir, ordersTable)})
	before := w.attachment("shop", live)
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-d.done
	if err := os.Remove(filepath.Join(dir, "orders.csv")); err != nil {
		t.Fatal(err)
	}
	if got := w.csv("FROM orders"); got != "id,total\n1,10.50\n" {
		t.Errorf("alone: %q", got)
	}
	if got := w.must(exitDone, "connector", "ls").stdout; !strings.Contains(got, "Pending") || !strings.Contains(got, "no daemon runs") {
		t.Errorf("alone: %s", got)
	}
	for _, what := range []string{"runs", "log"} {
		if got := w.must(exitError1, "connector", what, "shop").stderr; !strings.Contains(got, "no daemon runs") {
			t.Errorf("alone: %s: %s", what, got)
		}
	}
	w.start()
	after := w.attachment("shop", live)
	if after.Generation != before.Generation || !after.LastGood.Equal(before.LastGood) {
		t.Errorf("after the restart: %+v, before: %+v", after, before)
	}
	var runs []connectors.Record
	if err := json.Unmarshal([]byte(w.must(exitDone, "connector", "runs", "shop", "-o", "json").stdout), &runs); err != nil || len(runs) != 1 {
		t.Errorf("runs: %v %v", runs, err)
	}
}

func TestQueryCommand(t *testing.T) {
	w, dir := exports(t, map[string]string{"orders.csv": "id,total\n1,10.50\n2,20\n3,5\n"})
	w.start()
	w.commit("Read orders", map[string]string{"connectors/shop.yaml": filesConnector(dir, ordersTable)})
	w.attachment("shop", live)
	for _, c := range []struct {
		args           []string
		code           int
		stdout, stderr string // that it holds
	}{
		{[]string{"query", "SELECT id, total FROM orders ORDER BY id"}, 0, "id  total\n1   10.50\n2   20.00\n3   5.00\n", ""},
		{[]string{"query", "--limit", "1", "FROM orders ORDER BY id"}, 0, "1   10.50\n", "--limit shows more"},
		{[]string{"query", "--limit", "1", "--offset", "1", "FROM orders ORDER BY id"}, 0, "2   20.00\n", "--offset the next"},
		{[]string{"query", "-o", "json", "SELECT 1 AS one, NULL AS none, 'a\nb' AS text"}, 0, `"rows":[[1,null,"a\nb"]],"row_count":1,"truncated":false}`, ""},
		{[]string{"query", "-o", "csv", "SELECT 'a,b' AS x"}, 0, "x\r\n\"a,b\"\r\n", ""},
		{[]string{"query", "-o", "xml", "SELECT 1"}, 1, "", "it is table, csv, json, arrow or parquet"},
		{[]string{"query", "FROM orderz"}, 1, "", "orders"},
		{[]string{"query", "SELECT * FROM read_text('/etc/passwd')"}, 1, "", "read_text"},
		{[]string{"query", "DROP VIEW orders"}, 1, "", "SELECT"},
		{[]string{"query", ""}, 1, "", "there is no statement"},
		{[]string{"query", "SELECT source, outcome FROM fairlead.sync_history"}, 0, "shop    ok", ""},
		{[]string{"query", "SELECT name, health FROM fairlead.instances"}, 0, "acme  Healthy", ""},
		{[]string{"query", "SELECT kind FROM fairlead.history LIMIT 1"}, 0, "deploy", ""},
		{[]string{"tables"}, 0, "shop.orders  orders  local  3", ""},
		{[]string{"tables", "orders"}, 0, "total   DECIMAL(10,2)", ""},
		{[]string{"tables", "nothing"}, 1, "", "there is no table nothing"},
		{[]string{"profile", "shop.orders", "total"}, 0, "rows: 3", ""},
		{[]string{"profile", "orders", "nothing"}, 1, "", "there is no column nothing"},
		{[]string{"connector", "ls"}, 0, "shop  files  Live   1       3", ""},
		{[]string{"connector", "show", "shop"}, 0, "every 1h", ""},
		{[]string{"connector", "show", "nobody"}, 1, "", "there are: acme/shop"},
		{[]string{"connector", "generations", "shop"}, 0, "attached", ""},
		{[]string{"connector", "discover", "shop"}, 0, "orders.csv", ""},
		{[]string{"connector", "run", "shop", "--table", "nothing"}, 1, "", "no such table"},
		{[]string{"connector", "rollback", "shop"}, 1, "", "there is none before"},
		{[]string{"connector", "log", "shop", "99"}, 1, "", "no such run"},
		{[]string{"why", "shop"}, 0, "shop", ""},
	} {
		r := w.run(c.args...)
		if r.code != c.code || !strings.Contains(r.stdout, c.stdout) || !strings.Contains(r.stderr, c.stderr) {
			t.Errorf("fairlead %q ended with %d, want %d\n%s%s\nwant %q and %q", c.args, r.code, c.code, r.stdout, r.stderr, c.stdout, c.stderr)
		}
	}
	parquet := filepath.Join(w.dir, "out.parquet")
	w.must(exitDone, "query", "-o", "parquet", "--to", parquet, "FROM orders")
	if data, err := os.ReadFile(parquet); err != nil || !strings.HasPrefix(string(data), "PAR1") {
		t.Errorf("parquet: %.8q %v", data, err)
	}
}

func TestConnectorTestCommand(t *testing.T) {
	w := newWorld(t)
	w.write("good/out/orders.csv", "id,total\n1,2\n")
	w.write("bad/out/orders.csv", "id,id\n1,2\n")
	w.write("bad/out/drop table;.csv", "a\n1\n")
	if r := w.must(exitDone, "connector", "test", "good"); !strings.Contains(r.stdout, "1 table would be published") {
		t.Errorf("good: %s", r.stdout)
	}
	r := w.must(exitError1, "connector", "test", "bad")
	if !strings.Contains(r.stdout, "2 problems") {
		t.Errorf("bad: %s", r.stdout)
	}
	var reply struct{ Problems []connectors.Problem }
	if err := json.Unmarshal([]byte(w.must(exitError1, "connector", "test", "-o", "json", "bad").stdout), &reply); err != nil || len(reply.Problems) != 2 {
		t.Errorf("bad as JSON: %+v %v", reply, err)
	}
	for _, p := range reply.Problems {
		if p.Code == "" || p.Found == "" || p.Hint == "" {
			t.Errorf("a problem that does not help: %+v", p)
		}
	}
	w.must(exitError1, "connector", "test", "nowhere")
}

func TestConnectorNewCommand(t *testing.T) {
	w := newWorld(t)
	w.begin(map[string]string{"instance.yaml": acmeInstance + "allowEmpty: true\n", "compose.yaml": "services: {}\n"})
	for _, args := range [][]string{{"mine", "--tier", "a"}, {"theirs", "--tier", "b"}, {"exported", "--tier", "c", "--source", "files"}} {
		w.must(exitDone, append([]string{"connector", "new", "--dir", w.repo}, args...)...)
	}
	w.must(exitDone, "validate", w.repo)
	w.must(exitError1, "connector", "new", "--dir", w.repo, "mine")
}
