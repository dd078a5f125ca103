//go:build cgo

package duck

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func TestChildAnswersQueries(t *testing.T) {
	h := newWarehouse(t)
	c := h.startWith(t)
	for _, test := range []struct{ sql, want string }{
		{"SELECT 1 AS one", "[1]\n"},
		{"SELECT count(*), sum(amount) FROM orders", "[1000,\"49500.00\"]\n"},
		{"SELECT o.id, c.name FROM shop.orders o JOIN crm.customers c USING (id) ORDER BY id LIMIT 2", "[0,\"c0\"]\n[1,\"c1\"]\n"},
		{"FROM orders SELECT \"at\", day, tags WHERE id = 3;", "[\"2026-01-01T00:00:03\",\"2026-01-04\",[\"a\",\"b\"]]\n"},
	} {
		reply, head, data, err := c.query(wire.Query{SQL: test.sql, Format: wire.FormatJSON})
		if err != nil || reply.Error != nil || data != test.want || head == nil {
			t.Errorf("%s: %q, %+v, %v\n%s", test.sql, data, reply.Error, err, c.log)
		}
	}
	_ = c.in.Close()
	if err := c.ends(t); err != nil {
		t.Errorf("at the end of its input: %v\n%s", err, strings.TrimSpace(c.log.String()))
	}
}

// TestHostileQueries has the child live or die within its limits, and say so. Two
// children share the statements out, as those that do not look at the time are
// waited for.
func TestHostileQueries(t *testing.T) {
	h := newWarehouse(t)
	for deadline, statements := range map[time.Duration][]string{
		200 * time.Millisecond: {
			"SELECT length(repeat(name, 400000000)) FROM orders",
			"WITH RECURSIVE x AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM x) SELECT count(*) FROM x",
			"SELECT count(*) FROM range(10000000000000)",
			"SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1",
			"SELECT a.range FROM range(100000000) a, range(100000000) b ORDER BY hash(a.range + b.range) LIMIT 5",
			"SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
			"SELECT * FROM range(20000000) ORDER BY hash(range)",
		},
		10 * time.Second: { // for these it is memory that is short
			"SELECT length(repeat('x', 4000000000))",
			"SELECT list_sort(range(200000000))[1]",
			"SELECT string_agg(repeat('x', 100000), ',') FROM range(1000000)",
			"SELECT list(range) FROM range(1000000000)",
			"SELECT repeat('x', 60000000) FROM range(100)",
		},
	} {
		t.Run(deadline.String(), func(t *testing.T) {
			t.Parallel()
			c := h.startWith(t)
			for _, sql := range statements {
				c = h.survives(t, c, sql, deadline)
			}
		})
	}
}

// survives has a child run a hostile statement and answer another one after it:
// itself, or the next child.
func (h *warehouse) survives(t *testing.T, c *process, sql string, deadline time.Duration) *process {
	t.Helper()
	started := time.Now()
	reply, _, data, err := c.query(wire.Query{SQL: sql, Format: wire.FormatJSON, MaxRows: 20_000_000, MaxBytes: 8 << 20, Deadline: deadline})
	switch took := time.Since(started); {
	case took > 5*time.Minute:
		t.Errorf("%s: took %s", sql, took)
	case err != nil: // it ended: by itself, or by a limit
		if ended := c.ends(t); !errors.Is(err, io.EOF) || ended == nil {
			t.Errorf("%s: %v, %v", sql, err, ended)
		}
		c = h.startWith(t)
	case reply.Error != nil:
		if code := reply.Error.Code; code != wire.CodeDeadline && code != wire.CodeMemory && code != wire.CodeTooLarge {
			t.Errorf("%s: %+v", sql, reply.Error)
		}
	case !reply.Tail.Truncated || int64(len(data)) > 8<<20:
		t.Errorf("%s: %+v, %d bytes", sql, reply.Tail, len(data))
	}
	// One that gave up by itself says so, and ends.
	health := wire.Query{SQL: "SELECT count(*) FROM orders"}
	reply, _, data, err = c.query(health)
	if err != nil {
		if ended := c.ends(t); ended == nil {
			t.Errorf("after %s: it ended as if all were well", sql)
		}
		c = h.startWith(t)
		reply, _, data, err = c.query(health)
	}
	if err != nil || data != "[1000]\n" {
		t.Fatalf("after %s: %q %+v %v", sql, data, reply.Error, err)
	}
	return c
}

// TestLandlock has the kernel refuse what the engine and the gate would let
// through, if it can; else the worker says that nothing does.
func TestLandlock(t *testing.T) {
	h := newWarehouse(t)
	_, reply := startChild(t, h.setup())
	if reply.Ready == nil {
		t.Fatalf("%+v", reply)
	}
	if !reply.Ready.Landlock && reply.Ready.Unconfined == "" {
		t.Errorf("a worker that is not confined does not say why: %+v", reply.Ready)
	}
	if !reply.Ready.Landlock {
		return
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	errs := confined(confinement{read: []string{h.dir}, write: []string{h.temp}}, func() []error {
		_, outside := os.ReadFile(secret)
		_, inside := os.ReadDir(h.dir)
		return []error{outside, os.WriteFile(filepath.Join(h.dir, "x"), nil, 0o600), inside, os.WriteFile(filepath.Join(h.temp, "x"), nil, 0o600)}
	})
	for i, refused := range []bool{true, true, false, false} {
		if errors.Is(errs[i], os.ErrPermission) != refused {
			t.Errorf("access %d: %v", i, errs[i])
		}
	}
}

// TestBrokenSourceKeepsWhatItHad attaches generations that are not whole.
func TestBrokenSourceKeepsWhatItHad(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	two := h.source(t, "shop", 2, map[string]string{"orders": "SELECT 7::BIGINT AS id", "fresh": "SELECT 1 AS a"})
	file := func(s wire.Source, i int) string { return filepath.Join(s.Dir, s.Tables[i].Files[0].Path) }
	good, err := os.ReadFile(file(two, 1))
	if err != nil {
		t.Fatal(err)
	}
	damage := map[string]func() error{
		"is missing":             func() error { return os.Remove(file(two, 1)) },
		"bytes":                  func() error { return os.WriteFile(file(two, 1), good[:len(good)-9], 0o600) },
		"No magic bytes":         func() error { return os.WriteFile(file(two, 1), []byte(strings.Repeat("x", len(good))), 0o600) },
		"is not a file":          func() error { return errors.Join(os.Remove(file(two, 1)), os.Symlink("/etc/passwd", file(two, 1))) },
		"does not have a column": nil,
	}
	for i, reason := range sortedKeys(damage) {
		broken := two
		if do := damage[reason]; do != nil {
			if err := do(); err != nil {
				t.Fatal(err)
			}
		} else {
			broken.Tables = append([]connectors.ManifestTable{}, two.Tables...)
			broken.Tables[0].Columns = []connectors.Column{{Name: "other", Type: "BIGINT"}}
		}
		reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{broken}})
		if !strings.Contains(reply.Failed["shop"], reason) || reply.Have["shop"] != 1 || strings.Contains(reply.Failed["shop"], h.dir) {
			t.Errorf("%s: %+v", reason, reply)
		}
		if n := w.count(t, "orders"); n != "[1000]\n" {
			t.Errorf("%s: orders are %s", reason, n)
		}
		_ = os.Remove(file(two, 1))
		later := time.Now().Add(time.Duration(i+1) * time.Hour) // what the engine remembers of a file goes by its time
		if err := errors.Join(os.WriteFile(file(two, 1), good, 0o600), os.Chtimes(file(two, 1), later, later)); err != nil {
			t.Fatal(err)
		}
	}
	reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{two}, Flat: map[string]string{"items": ""}})
	if len(reply.Failed) > 0 || reply.Have["shop"] != 2 {
		t.Fatalf("%+v", reply)
	}
	for name, want := range map[string]string{"orders": "[1]\n", "shop.orders": "[1]\n", "shop.fresh": "[1]\n", "customers": "[50]\n"} {
		if n := w.count(t, name); n != want {
			t.Errorf("%s: %s, want %s", name, n, want)
		}
	}
	for _, name := range []string{"items", "shop.items"} {
		if _, err := w.query(t.Context(), 1, wire.Query{SQL: "FROM " + name}); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
	reply = w.attach(t.Context(), wire.Attach{Detach: []string{"shop", "never"}})
	if _, there := reply.Have["shop"]; there || len(reply.Failed) > 0 || w.count(t, "customers") != "[50]\n" {
		t.Errorf("%+v", reply)
	}
	for _, name := range []string{"orders", "shop.orders"} {
		if _, err := w.query(t.Context(), 1, wire.Query{SQL: "FROM " + name}); err == nil {
			t.Errorf("%s is still there", name)
		}
	}
}

// count is the answer to SELECT count(*) FROM a table.
func (w *worker) count(t testing.TB, table string) string {
	t.Helper()
	data, tail, err := w.answer(t, wire.Query{SQL: "SELECT count(*) FROM " + table})
	if err != nil || tail.Rows != 1 {
		t.Errorf("count %s: %v", table, err)
	}
	return data
}

// answer runs a query in this process and puts the pieces of its answer together.
func (w *worker) answer(t testing.TB, q wire.Query) (string, wire.Tail, error) {
	t.Helper()
	out := &answers{}
	w.out = out
	tail, err := w.query(t.Context(), 1, q)
	var data strings.Builder
	for r := strings.NewReader(out.String()); ; {
		kind, content, err := wire.ReadFrame(r)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if kind == wire.Data {
			data.Write(content)
		}
	}
	return data.String(), tail, err
}

// TestNamesOfAnAttachment keeps a source from taking a name that is not its own, and a
// manifest from being more than one.
func TestNamesOfAnAttachment(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	before := strings.Join(w.engineTables(t), "\n")
	good := h.sources[0]
	for _, name := range []string{"", "main", "fairlead", "Memory", "system", "temp", "information_schema", `a"b`, "a.b"} {
		bad := good
		bad.Name = name
		if reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{bad}}); reply.Failed[name] == "" {
			t.Errorf("source %q is attached", name)
		}
	}
	for _, typ := range []string{"", "BIGINT) AS x, (SELECT 1", "BIGINT)), CAST(1 AS BIGINT", "nosuch.t", "BIGINT FROM glob('/*') --", "BIGINT; DROP VIEW orders"} {
		bad := good
		bad.Tables = []connectors.ManifestTable{good.Tables[0]}
		bad.Tables[0].Columns = []connectors.Column{{Name: "id", Type: typ}}
		if reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{bad}}); reply.Failed["shop"] == "" {
			t.Errorf("type %q is taken", typ)
		}
	}
	for _, path := range []string{"../../x.parquet", "/etc/passwd", "data/*.parquet", ""} {
		bad := good
		bad.Tables = []connectors.ManifestTable{good.Tables[0]}
		bad.Tables[0].Files = []connectors.ManifestFile{{Path: path}}
		if reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{bad}}); reply.Failed["shop"] == "" {
			t.Errorf("file %q is read", path)
		}
	}
	if after := strings.Join(w.engineTables(t), "\n"); after != before {
		t.Errorf("something changed: %s", after)
	}
}

// TestSystemTables reads rows of Fairlead's own, which change.
func TestSystemTables(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	table := h.history(t, `{"at": "2026-01-01T00:00:00Z", "instance": "a", "ok": true}`, `{"instance": "b"}`)
	if reply := w.attach(t.Context(), wire.Attach{System: []wire.SystemTable{table}}); len(reply.Failed) > 0 {
		t.Fatal(reply.Failed)
	}
	data, _, err := w.answer(t, wire.Query{SQL: "FROM fairlead.history ORDER BY instance"})
	if want := "[\"2026-01-01T00:00:00\",\"a\",true]\n[null,\"b\",null]\n"; err != nil || data != want {
		t.Errorf("%q, %v", data, err)
	}
	bad := h.history(t, `{"at": "never"}`)
	reply := w.attach(t.Context(), wire.Attach{System: []wire.SystemTable{bad}})
	if reply.Failed["fairlead.history"] == "" || w.count(t, "fairlead.history") != "[2]\n" {
		t.Errorf("a bad file: %+v", reply)
	}
}

// TestRemotesDegradeAlone sets workers up with databases that cannot be attached.
func TestRemotesDegradeAlone(t *testing.T) {
	h := newWarehouse(t)
	setup := h.setup()
	setup.Tokens = map[string]string{"PG_TOKEN": "sesame-opened"}
	setup.Policy = wire.RemotePolicy{Extensions: []string{"postgres", "keboola"}, Tokens: []string{"PG_TOKEN", "NO_TOKEN"}, Hosts: []string{"db.acme.com", "*.keboola.com"}}
	setup.Remotes = []connectors.Remote{
		{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com dbname=x", TokenEnv: "PG_TOKEN"},
		{Alias: "evil", Extension: "postgres", URL: "host=evil.com", TokenEnv: "PG_TOKEN"},
		{Alias: "sq", Extension: "sqlite", URL: "/etc/passwd"},
		{Alias: "none", Extension: "keboola", URL: "https://connection.keboola.com", TokenEnv: "NO_TOKEN"},
		{Alias: "two", Extension: "postgres", URL: "host=db.acme.com dbname=x"},
		{Alias: "two", Extension: "postgres", URL: "host=db.acme.com dbname=y"},
	}
	c, reply := startChild(t, setup)
	if reply.Ready == nil {
		t.Fatalf("%+v\n%s", reply, c.log)
	}
	for alias, want := range map[string]string{"pg": "directory of extensions", "two": "two databases", "evil": "evil.com:5432 is not allowed", "sq": "sqlite", "none": "NO_TOKEN has no value"} {
		if got := reply.Ready.Remotes[alias]; !strings.Contains(got, want) || strings.Contains(got, "sesame") || strings.Contains(got, h.dir) {
			t.Errorf("%s: %q, want %q", alias, got, want)
		}
	}
	a := h.attach()
	a.Sources[1].Tables = append(a.Sources[1].Tables, connectors.ManifestTable{Name: "far", Columns: []connectors.Column{{Name: "id", Type: "BIGINT"}},
		Remote: &connectors.RemoteTable{Alias: "pg", Schema: "public", Table: "far"}})
	answer, _, _, err := c.ask(wire.Request{Attach: &a})
	if err != nil || answer.Attach == nil || answer.Attach.Have["crm"] != 1 || !strings.Contains(answer.Attach.Failed["crm"], "table far: remote pg") {
		t.Errorf("%+v, %v", answer.Attach, err)
	}
	if _, _, data, err := c.query(wire.Query{SQL: "SELECT count(*) FROM crm.customers"}); err != nil || data != "[50]\n" {
		t.Errorf("the table beside a remote one: %q, %v", data, err)
	}
}

// TestRemoteStatements holds what is sent to the engine against what the
// extensions document.
func TestRemoteStatements(t *testing.T) {
	for _, test := range []struct {
		remote connectors.Remote
		token  string
		want   string
	}{
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=h"}, "it's",
			`CREATE SECRET "remote.pg" (TYPE postgres, PASSWORD 'it''s'); ATTACH 'host=h' AS "remote.pg" (TYPE postgres, READ_ONLY, SECRET "remote.pg")`},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=h"}, "", `ATTACH 'host=h' AS "remote.pg" (TYPE postgres, READ_ONLY)`},
		{connectors.Remote{Alias: "bq", Extension: "bigquery", URL: "project=p"}, `{"a":1}`,
			`CREATE SECRET "remote.bq" (TYPE bigquery, SCOPE 'bq://p', SERVICE_ACCOUNT_JSON '{"a":1}'); ATTACH 'project=p' AS "remote.bq" (TYPE bigquery, READ_ONLY)`},
		{connectors.Remote{Alias: "k", Extension: "keboola", URL: "https://k"}, "t", `ATTACH 'https://k' AS "remote.k" (TYPE keboola, READ_ONLY, TOKEN 't')`},
		{connectors.Remote{Alias: "x", Extension: "sqlite", URL: "/x"}, "", ""},
	} {
		statements, err := remoteStatements(test.remote, test.token)
		if got := strings.Join(statements, "; "); got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s: %s, %v", test.remote.Alias, got, err)
		}
	}
}

// TestRemoteTables reads a table of an attached database by its view.
func TestRemoteTables(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	w.remotes["far"] = ""
	if err := w.engine.exec(t.Context(), `ATTACH ':memory:' AS "remote.far"`, `CREATE TABLE "remote.far".main.people AS SELECT 5 AS id`); err != nil {
		t.Fatal(err)
	}
	s := wire.Source{Name: "hr", Generation: 3, Tables: []connectors.ManifestTable{
		{Name: "people", Columns: []connectors.Column{{Name: "id", Type: "BIGINT"}}, Remote: &connectors.RemoteTable{Alias: "far", Schema: "main", Table: "people"}},
		{Name: "gone", Columns: []connectors.Column{{Name: "id", Type: "BIGINT"}}, Remote: &connectors.RemoteTable{Alias: "far", Schema: "main", Table: "gone"}}}}
	reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{s}})
	if reply.Have["hr"] != 3 || !strings.Contains(reply.Failed["hr"], "table gone") || w.count(t, "hr.people") != "[1]\n" {
		t.Errorf("%+v", reply)
	}
	for _, sql := range []string{`FROM "remote.far".main.people`, `FROM hr.gone`} {
		if _, err := w.query(t.Context(), 1, wire.Query{SQL: sql}); err == nil {
			t.Errorf("%s is read", sql)
		}
	}
}

// TestMessagesHoldNoPath has the engine fail on files and shows none.
func TestMessagesHoldNoPath(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	path := filepath.Join(h.sources[0].Dir, h.sources[0].Tables[1].Files[0].Path)
	if err := os.WriteFile(path, []byte("not parquet at all, and longer than a footer"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.query(t.Context(), 1, wire.Query{SQL: "SELECT * FROM orders"})
	told := w.told(err)
	if told.Code == "" || strings.Contains(told.Message+told.Hint, h.dir) || strings.Contains(told.Message, "/shop/") {
		t.Errorf("%+v", told)
	}
	if n := w.count(t, "customers"); n != "[50]\n" {
		t.Errorf("the others: %s", n)
	}
}
