//go:build cgo

package duck

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func TestRemotesAreThoseThatAreAllowed(t *testing.T) {
	policy := wire.RemotePolicy{Extensions: []string{"postgres", "bigquery", "keboola"}, Tokens: []string{"PG_TOKEN"}, Hosts: []string{"db.acme.com", "one.acme.com:5433", "*.pg.net", "bigquery.googleapis.com", "10.0.0.5"}}
	for _, c := range []struct {
		remote connectors.Remote
		good   bool
	}{
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com dbname=x user=u", TokenEnv: "PG_TOKEN"}, true},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@db.acme.com/x?sslmode=require"}, true},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgresql://u@ONE.acme.com:5433/x"}, true},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@a.b.pg.net/x"}, true},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@10.0.0.5/x"}, true},
		{connectors.Remote{Alias: "bq", Extension: "bigquery", URL: "project=acme billing_project=acme2"}, true},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@one.acme.com/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@pg.net/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@evilpg.net/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@db.acme.com.evil.com/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@db.acme.com,evil.com/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u:secret@db.acme.com/x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@db.acme.com/x?host=evil.com"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres://u@db.acme.com/x?hostaddr=6.6.6.6"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "postgres:///x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com host=evil.com"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com hostaddr=6.6.6.6"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com,evil.com"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host='db.acme.com' password=x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com password=x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "service=prod"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "dbname=x"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=/var/run/postgresql"}, false},
		{connectors.Remote{Alias: "pg", Extension: "sqlite", URL: "/etc/passwd"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "file:///etc/passwd"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: ""}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com", TokenEnv: "AWS_SECRET"}, false},
		{connectors.Remote{Alias: "pg", Extension: "postgres", URL: "host=db.acme.com", TokenEnv: "PG_TOKEN\n"}, false},
		{connectors.Remote{Alias: "main", Extension: "postgres", URL: "host=db.acme.com"}, false},
		{connectors.Remote{Alias: `a"b`, Extension: "postgres", URL: "host=db.acme.com"}, false},
	} {
		f := checkRemote(c.remote, policy)
		if (f == nil) != c.good {
			t.Errorf("%+v: %v", c.remote, f)
		}
		if f != nil && strings.Contains(f.Found, "secret@") {
			t.Errorf("the problem tells a secret: %s", f.Found)
		}
	}
}

func TestHeaders(t *testing.T) {
	head := func(version uint64) []byte {
		return binary.LittleEndian.AppendUint64([]byte("checksumDUCK"), version)
	}
	for version, code := range map[uint64]string{63: badStorage, 64: "", 65: "", 67: "", 68: "", 69: badStorage, 999: badStorage, 0: badStorage, 1 << 63: badStorage} {
		got, f := probeHeader("x", head(version))
		if got != version || (f == nil) != (code == "") || f != nil && (f.Code != code || !strings.Contains(f.Found, fmt.Sprint(version)) || !strings.Contains(f.Hint, "v1.2.0")) {
			t.Errorf("%d: %d, %v", version, got, f)
		}
	}
}

func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"", "DUCK", "checksumDUCK\x40\x00\x00\x00\x00\x00\x00\x00", "SQLite format 3\x00\x10\x00\x01\x01", "checksumDUCK\xe7\x03\x00\x00\x00\x00\x00\x00", "PAR1", strings.Repeat("\x00", 20)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, head []byte) {
		version, fault := probeHeader("x", head)
		if fault == nil && (len(head) < headerBytes || string(head[8:12]) != "DUCK" || version < oldestStorage || version > newestStorage) {
			t.Errorf("%q is taken for version %d", head, version)
		}
		if fault != nil && (fault.Found == "" || fault.Hint == "") {
			t.Errorf("%q: %+v", head, fault)
		}
	})
}

func FuzzMeta(f *testing.F) {
	for _, seed := range []string{`{}`, `{"tables": {"orders": {"description": "d", "primary_key": ["id"], "columns": {"id": "BIGINT"}, "strategy": "incremental", "owner": "o", "rows": 3}}, "complete": ["orders"]}`,
		`{"tables": {"a": {}, "a": {}}}`, `[[[[[[[[[[1]]]]]]]]]]`, `{} {}`, `{"tables": {"../a": {}}}`, `{"tables": {"a": {"columns": {"x": "STRUCT(a INTEGER[], b MAP(VARCHAR, DECIMAL(3,1)))"}}}}`, "\xef\xbb\xbf{}", `{"tables": null}`, `null`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, fault := readMeta(data)
		if fault != nil {
			return
		}
		for name, table := range m.Tables {
			if !connectors.ValidName(name) {
				t.Errorf("%q is a table", name)
			}
			for _, kind := range table.Columns {
				if _, err := readType(kind); err != nil {
					t.Errorf("type %q: %v", kind, err)
				}
			}
		}
	})
}

func FuzzType(f *testing.F) {
	for _, seed := range []string{"BIGINT", "decimal(12, 2)[]", `STRUCT(a INTEGER, "b""c" ENUM('x', 'y''z'))[3]`, "MAP(VARCHAR, TIMESTAMP WITH TIME ZONE)", "UNION(num INTEGER, s VARCHAR)", "double precision", "VARCHAR(20)", "STRUCT(INTEGER, VARCHAR)", "INT); DROP TABLE x; --", strings.Repeat("STRUCT(a ", 50)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		one, err := readType(text)
		if err != nil {
			return
		}
		again, err := readType(one.String())
		if err != nil || again.String() != one.String() {
			t.Errorf("%q is written %q, which reads as %v, %v", text, one, again, err)
		}
		if k, err := kept(one); err == nil && k.has("HUGEINT", "UNION", "ENUM", "INTERVAL", "ARRAY", "VARIANT", "BIT") {
			t.Errorf("%q is kept as %s", text, k)
		}
	})
}

// FuzzView feeds trees as json_serialize_sql makes them to the reader of remote
// views. The seeds are what 1.5.6 makes of views that are allowed and of such
// that are not.
func FuzzView(f *testing.F) {
	e, err := openEngine(engineOptions{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	defer e.close()
	for _, sql := range []string{`SELECT * FROM bq.d.t`, `FROM bq.d.t`, `SELECT * FROM bq."d s"."t""x"`, `SELECT a FROM bq.d.t`, `SELECT * FROM bq.d.t AS x(y)`, `SELECT DISTINCT * FROM bq.d.t`, `SELECT * FROM bq.d.t LIMIT 1`,
		`SELECT * EXCLUDE (a) FROM bq.d.t`, `SELECT * FROM d.t`, `SELECT * FROM bq.d.t, x`, `WITH x AS (SELECT 1) SELECT * FROM bq.d.t`, `SELECT * FROM bq.d.t TABLESAMPLE 1%`, `SELECT * FROM read_text('x')`, `SELECT * FROM bq.d.t UNION ALL SELECT * FROM bq.d.t`, `SELECT * FROM bq.d.t AT (VERSION => 1)`} {
		tree, err := e.one(f.Context(), "SELECT CAST(json_serialize_sql("+quoteText(sql)+") AS VARCHAR)")
		if err != nil {
			f.Fatal(err)
		}
		said, _ := tree.(string)
		f.Add(said)
		allowed := sql == `SELECT * FROM bq.d.t` || sql == `FROM bq.d.t` || sql == `SELECT * FROM bq."d s"."t""x"`
		if got, err := readRemote([]byte(said)); (err == nil) != allowed || allowed && got.Alias != "bq" {
			f.Errorf("%s: %+v, %v", sql, got, err)
		}
	}
	f.Fuzz(func(t *testing.T, tree string) {
		if r, err := readRemote([]byte(tree)); err == nil && (!connectors.ValidName(r.Alias) || !remoteName(r.Schema) || !remoteName(r.Table)) {
			t.Errorf("%q is taken for %+v", tree, r)
		}
	})
}

func FuzzCSVHead(f *testing.F) {
	for _, seed := range []string{"a,b\n1,2\n", "\"a\"\"b\",c\r\n1,2\n", "a;b\n", "\xef\xbb\xbfa\n", "", "\"open", "a\rb\r", "a,\"b\nc\"\n1,2"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, fault := readHead(data, "csv")
		if fault == nil && len(h.delim) != 1 {
			t.Errorf("%q has delimiter %q", data, h.delim)
		}
	})
}

// BenchmarkBuild writes a million rows from each form, with their check.
func BenchmarkBuild(b *testing.B) {
	const rows = 1_000_000
	query := "SELECT i AS id, 'name ' || (i % 1000) AS name, i / 7 AS ratio, TIMESTAMP '2026-01-01' + INTERVAL (i) SECOND AS at FROM range(1000000) t(i)"
	columns := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "name", Type: "VARCHAR"}, {Name: "ratio", Type: "DOUBLE"}, {Name: "at", Type: "TIMESTAMP"}}
	for _, c := range []struct {
		name, file, options string
		declared            bool
	}{
		{"csv-declared", "t.csv", "FORMAT csv, HEADER", true}, {"csv-sniffed", "t.csv", "FORMAT csv, HEADER", false},
		{"ndjson-declared", "t.ndjson", "FORMAT json", true}, {"ndjson-sniffed", "t.ndjson", "FORMAT json", false}, {"parquet", "t.parquet", "FORMAT parquet", false}, {"extract", "extract.duckdb", "", false},
	} {
		b.Run(c.name, func(b *testing.B) {
			var dir string
			if c.options == "" {
				dir = extractOf(b, "CREATE TABLE t AS "+query, row("t", "local"))
			} else {
				dir = b.TempDir()
				sql(b, "COPY ("+query+") TO "+quoteText(dir+"/"+c.file)+" ("+c.options+")")
			}
			from := connectors.Publication{Dir: dir}
			if c.declared {
				from = built(dir, connectors.TableResult{Table: "t", Rows: rows, Columns: columns})
			}
			for b.Loop() {
				m := made{}.build(b, from).good(b)
				b.StopTimer()
				_ = os.RemoveAll(m.dir)
				b.StartTimer()
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// A remote table says itself why its database may not be attached.
func TestBuiltTableOfARefusedRemote(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{"near.csv": "id\n1\n"})
	columns := []connectors.Column{{Name: "id", Type: "BIGINT"}}
	from := built(dir, connectors.TableResult{Table: "near", Rows: 1, Columns: columns},
		connectors.TableResult{Table: "far", Columns: columns, Remote: &connectors.RemoteTable{Alias: "pg", Schema: "public", Table: "far"}})
	from.Remotes = []connectors.Remote{{Alias: "pg", Extension: "postgres", URL: "postgres://u@elsewhere.com/d", TokenEnv: "PG_TOKEN"}}
	got := made{}.build(t, from)
	if got.rows(t, "near") != "1" || len(got.reply.Tables) != 2 {
		t.Fatalf("%+v", got.reply)
	}
	for _, r := range got.reply.Tables {
		if r.Table == "far" && (r.Outcome != connectors.Failed || !strings.Contains(r.Error, "its database may not be attached: host elsewhere.com:5432 is not allowed") || !strings.Contains(r.Hint, "connectors.remote")) {
			t.Errorf("far: %+v", r)
		}
	}
}
