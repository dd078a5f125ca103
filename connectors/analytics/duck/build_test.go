//go:build cgo

package duck

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// noon is when the runs of the tests are.
func noon() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// put writes files below a directory and returns it.
func put(t testing.TB, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data := []byte(content)
		if strings.HasSuffix(name, ".gz") {
			var b bytes.Buffer
			w := gzip.NewWriter(&b)
			_, _ = w.Write(data) // into memory
			_ = w.Close()
			data = b.Bytes()
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// sql runs statements in an engine without limits.
func sql(t testing.TB, statements ...string) {
	t.Helper()
	e, err := openEngine(engineOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if err := e.exec(t.Context(), statements...); err != nil {
		t.Fatalf("%v", err)
	}
}

// ask returns the rows of a query as text, a line each, null as ∅.
func ask(t testing.TB, query string, before ...string) string {
	t.Helper()
	e, err := openEngine(engineOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.close()
	if err := e.exec(t.Context(), before...); err != nil {
		t.Fatal(err)
	}
	var lines []string
	err = e.rows(t.Context(), query, func(row []any) error {
		fields := make([]string, len(row))
		for i, v := range row {
			if fields[i] = fmt.Sprint(v); v == nil {
				fields[i] = "∅"
			}
		}
		lines = append(lines, strings.Join(fields, "|"))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return strings.Join(lines, "\n")
}

// made is a generation that a test built.
type made struct {
	dir   string
	reply wire.BuildReply
}

// build builds a generation over the one before, if there is one.
func (m made) build(t testing.TB, from connectors.Publication) made {
	t.Helper()
	if from.At.IsZero() {
		from.At = noon()
	}
	from.Source = "shop"
	req := wire.BuildRequest{From: from, To: t.TempDir(), Limits: wire.BuildLimits{TempDir: t.TempDir(), Threads: 2, Memory: "512MB"},
		Remote: wire.RemotePolicy{Extensions: []string{"postgres", "bigquery"}, Tokens: []string{"PG_TOKEN"}, Hosts: []string{"db.acme.com", "bigquery.googleapis.com"}}}
	if m.reply.Manifest != nil {
		req.Before, req.BeforeDir = m.reply.Manifest, m.dir
	}
	out := made{req.To, RunBuild(t.Context(), req)}
	if left, err := os.ReadDir(req.Limits.TempDir); err != nil || len(left) > 0 {
		t.Errorf("the build left %v in its directory, %v", left, err)
	}
	return out
}

// good fails the test when something was wrong with a build.
func (m made) good(t testing.TB) made {
	t.Helper()
	if m.reply.Error != "" || len(m.reply.Problems) > 0 || m.reply.Manifest == nil {
		t.Fatalf("build: %q, %+v", m.reply.Error, m.reply.Problems)
	}
	return m
}

func (m made) table(t testing.TB, name string) connectors.ManifestTable {
	t.Helper()
	if m.reply.Manifest == nil {
		t.Fatalf("no manifest: %q %+v", m.reply.Error, m.reply.Problems)
	}
	i := slices.IndexFunc(m.reply.Manifest.Tables, func(x connectors.ManifestTable) bool { return x.Name == name })
	if i < 0 {
		t.Fatalf("no table %s in %+v", name, m.reply.Manifest.Tables)
	}
	return m.reply.Manifest.Tables[i]
}

// rows are those of a table, sorted by all columns unless an order is named.
func (m made) rows(t testing.TB, name string) string {
	t.Helper()
	files := []string{}
	for _, f := range m.table(t, name).Files {
		files = append(files, quoteText(filepath.Join(m.dir, f.Path)))
	}
	return ask(t, "SELECT * FROM read_parquet(["+strings.Join(files, ", ")+"]) ORDER BY ALL")
}

// codes are the problems as CODE table.
func codes(problems []connectors.Problem) string {
	out := []string{}
	for _, p := range problems {
		out = append(out, strings.TrimSpace(p.Code+" "+p.Table))
	}
	return strings.Join(out, ", ")
}

func describedAs(list []connectors.Column) string {
	out := []string{}
	for _, c := range list {
		out = append(out, c.Name+" "+c.Type)
	}
	return strings.Join(out, ", ")
}

func TestSimpleOutputBecomesAGeneration(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{
		"out/orders.csv":           "id,amount,paid,day,at,code\n1,10.5,true,2026-01-02,2026-01-02 03:04:05,007\n2,,false,,,\"x, y\"\n",
		"out/people.ndjson.gz":     "{\"id\":1,\"name\":\"Ann\",\"tags\":[\"a\",\"b\"]}\n{\"id\":2}\n",
		"out/list.json":            "[{\"a\":1},{\"a\":2}]",
		"out/tabs.tsv":             "a\tb\n1\tx y\n",
		"out/events/2026-01.csv":   "id,v\n1,a\n",
		"out/events/2026-02.csv":   "id,v\n2,\n3,c\n",
		"out/sliced/part-0.csv.gz": "id\n1\n",
		"out/sliced/part-1.csv.gz": "id\n2\n",
		"out/_meta.json":           `{"tables": {"orders": {"description": "what was sold", "owner": "ann@acme.com", "primary_key": ["id"], "columns": {"amount": "DECIMAL(10,2)"}, "rows": 2}}}`,
	})
	m := made{}.build(t, connectors.Publication{Dir: dir, Identity: "i", Commit: "c", Wanted: map[string]connectors.Wanted{"list": {Types: map[string]string{"a": "DOUBLE"}, Owner: "bo"}}}).good(t)
	for _, c := range []struct{ table, columns, rows string }{
		{"orders", "id BIGINT, amount DECIMAL(10,2), paid BOOLEAN, day DATE, at TIMESTAMP, code VARCHAR", "1|10.50|true|2026-01-02|2026-01-02T03:04:05|007\n2|∅|false|∅|∅|x, y"},
		{"people", "id BIGINT, name VARCHAR, tags VARCHAR[]", "1|Ann|[\"a\",\"b\"]\n2|∅|∅"},
		{"list", "a DOUBLE", "1\n2"},
		{"tabs", "a BIGINT, b VARCHAR", "1|x y"},
		{"events", "id BIGINT, v VARCHAR", "1|a\n2|∅\n3|c"},
		{"sliced", "id BIGINT", "1\n2"},
	} {
		got := m.table(t, c.table)
		if describedAs(got.Columns) != c.columns || m.rows(t, c.table) != c.rows {
			t.Errorf("%s is %s\n%s", c.table, describedAs(got.Columns), m.rows(t, c.table))
		}
		for _, f := range got.Files {
			if f.Size == 0 || len(f.SHA256) != 64 || f.Modified.IsZero() {
				t.Errorf("%s: file %+v", c.table, f)
			}
		}
	}
	if got := m.table(t, "orders"); got.Description != "what was sold" || got.Owner != "ann@acme.com" || got.PrimaryKey[0] != "id" || got.Rows != 2 || !got.ExtractedAt.Equal(noon()) || got.Files[0].Path != "data/orders.parquet" {
		t.Errorf("orders: %+v", got)
	}
	if got := m.table(t, "events"); len(got.Files) != 2 || got.Files[1].Path != "data/events/2026-02.parquet" || got.Rows != 3 {
		t.Errorf("events: %+v", got)
	}
	if got := m.table(t, "sliced"); len(got.Files) != 1 || m.table(t, "list").Owner != "bo" {
		t.Errorf("sliced: %+v", got)
	}
}

func TestTheExtractOfAGenerationIsOneOfTheContract(t *testing.T) {
	dir := put(t, t.TempDir(), map[string]string{"orders.csv": "id,name\n1,it's\n"})
	m := made{}.build(t, connectors.Publication{Dir: dir, Wanted: map[string]connectors.Wanted{"orders": {Description: "it's \"sold\""}}}).good(t)
	head, err := os.ReadFile(filepath.Join(m.dir, "extract.duckdb"))
	if err != nil {
		t.Fatal(err)
	}
	if version, f := probeHeader("extract.duckdb", head[:headerBytes]); f != nil || version != 65 {
		t.Errorf("version %d, %v", version, f)
	}
	for _, gone := range []string{"extract.duckdb.wal", "extract.duckdb.tmp", "extract.duckdb.tmp.wal"} {
		if _, err := os.Lstat(filepath.Join(m.dir, gone)); err == nil {
			t.Errorf("%s is there", gone)
		}
	}
	attach := []string{"SET file_search_path = " + quoteText(m.dir), "ATTACH " + quoteText(filepath.Join(m.dir, "extract.duckdb")) + " AS x (READ_ONLY)"}
	if got := ask(t, "FROM x.orders", attach...); got != "1|it's" {
		t.Errorf("its view gives %s", got)
	}
	got := ask(t, "SELECT * EXCLUDE (size_bytes) FROM x._meta", attach...)
	if got != "orders|it's \"sold\"|1|2026-03-01T12:00:00|local" {
		t.Errorf("_meta is %s", got)
	}
	again := RunCheck(t.Context(), wire.CheckRequest{Path: m.dir, Limits: wire.BuildLimits{TempDir: t.TempDir()}})
	if again.Error != "" || len(again.Problems) > 0 || again.Form != "extract" || len(again.Tables) != 1 || again.Tables[0].Rows != 1 {
		t.Errorf("our own extract: %+v", again)
	}
	second := made{}.build(t, connectors.Publication{Dir: m.dir}).good(t)
	if second.rows(t, "orders") != "1|it's" {
		t.Errorf("what was built from it is %s", second.rows(t, "orders"))
	}
}
