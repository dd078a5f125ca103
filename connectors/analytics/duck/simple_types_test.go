//go:build cgo

package duck

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// TestTypesKeepTheirValues writes each type of DuckDB 1.5.6 into an extract and
// reads back what became of it: the values are those that were written.
func TestTypesKeepTheirValues(t *testing.T) {
	for i, c := range []struct{ value, kind, text string }{
		{"true", "BOOLEAN", ""}, {"1::TINYINT", "TINYINT", ""}, {"1::SMALLINT", "SMALLINT", ""}, {"1::INTEGER", "INTEGER", ""}, {"9223372036854775807", "BIGINT", ""},
		{"255::UTINYINT", "UTINYINT", ""}, {"65535::USMALLINT", "USMALLINT", ""}, {"4294967295::UINTEGER", "UINTEGER", ""}, {"18446744073709551615::UBIGINT", "UBIGINT", ""},
		{"12345678901234567890123456789012345678::HUGEINT", "DECIMAL(38,0)", ""}, {"12345678901234567890::UHUGEINT", "DECIMAL(38,0)", ""},
		{"1.5::FLOAT", "FLOAT", ""}, {"'nan'::DOUBLE", "DOUBLE", ""}, {"0.1::DOUBLE", "DOUBLE", ""}, {"1.50::DECIMAL(4,2)", "DECIMAL(4,2)", ""}, {"1.5::DECIMAL(38,10)", "DECIMAL(38,10)", ""},
		{"'é\u2028'", "VARCHAR", ""}, {"'a\\xFFb'::BLOB", "BLOB", ""}, {"'2020-02-29'::DATE", "DATE", ""}, {"'infinity'::DATE", "DATE", ""}, {"'10:00:00.123456'::TIME", "TIME", ""},
		{"'10:00:00+02'::TIMETZ", "VARCHAR", "10:00:00+02"}, {"'10:00:00.123456789'::TIME_NS", "VARCHAR", "10:00:00.123456789"},
		{"'2020-01-01 10:00:00.123456'::TIMESTAMP", "TIMESTAMP", ""}, {"'infinity'::TIMESTAMP", "TIMESTAMP", ""}, {"'2020-01-01 10:00:00'::TIMESTAMP_S", "TIMESTAMP", ""},
		{"'2020-01-01 10:00:00.123'::TIMESTAMP_MS", "TIMESTAMP", ""}, {"'2020-01-01 10:00:00.123456789'::TIMESTAMP_NS", "TIMESTAMP_NS", ""}, {"'2020-01-01 10:00:00+02'::TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE", ""},
		{"INTERVAL '-3 days 1 microsecond'", "VARCHAR", "-3 days 00:00:00.000001"}, {"'101010'::BIT", "VARCHAR", "101010"}, {"'12345678901234567890123456789012345678901234567890'::BIGNUM", "VARCHAR", ""},
		{"'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::UUID", "UUID", ""}, {"'ok'::ENUM('sad', 'ok')", "VARCHAR", "ok"}, {`'{"a":1}'::JSON`, "JSON", ""},
		{"[1,2]", "INTEGER[]", ""}, {"[1,2,3]::INTEGER[3]", "INTEGER[]", "[1, 2, 3]"}, {`{'a': 1, 'b c': 'x'}`, `STRUCT(a INTEGER, "b c" VARCHAR)`, ""}, {"MAP {'k': 1}", "MAP(VARCHAR, INTEGER)", ""},
		{"{'a': [1::HUGEINT], 'e': 'ok'::ENUM('ok')}", "STRUCT(a DECIMAL(38,0)[], e VARCHAR)", "{'a': [1], 'e': ok}"}, {"union_value(num := 2)", "JSON", `{"num":2}`}, {"NULL", "INTEGER", ""},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) { // the value would be in a path
			dir := extractOf(t, "CREATE TABLE a AS SELECT "+c.value+" AS x", row("a", "local"))
			m := made{}.build(t, connectors.Publication{Dir: dir}).good(t)
			want := c.text
			if want == "" {
				want = ask(t, "SELECT coalesce(CAST("+c.value+" AS VARCHAR), '∅')")
			}
			got := ask(t, "SELECT coalesce(CAST(x AS VARCHAR), '∅') FROM read_parquet("+quoteText(filepath.Join(m.dir, "data/a.parquet"))+")")
			if kind := m.table(t, "a").Columns[0].Type; kind != c.kind || got != want {
				t.Errorf("%s is %s: %s, and was %s", c.value, kind, got, want)
			}
		})
	}
	for value, code := range map[string]string{
		"'POINT(1 1)'::GEOMETRY": "BadType a", "[union_value(num := 2)]": "BadType a",
		"170141183460469231731687303715884105727::HUGEINT": "BadValue a", // has more digits than any DECIMAL
	} {
		m := made{}.build(t, connectors.Publication{Dir: extractOf(t, "CREATE TABLE a AS SELECT "+value+" AS x", row("a", "local"))})
		if codes(m.reply.Problems) != code || m.reply.Manifest != nil {
			t.Errorf("%s: %+v", value, m.reply)
		}
	}
}

// TestTypesOfParquetFiles has those that no table of an extract can have.
func TestTypesOfParquetFiles(t *testing.T) {
	variant := t.TempDir()
	sql(t, "COPY (SELECT {'a': 1}::VARIANT AS x) TO "+quoteText(variant+"/a.parquet"))
	m := made{}.build(t, connectors.Publication{Dir: variant}).good(t)
	if m.rows(t, "a") != `{"a":1}` || describedAs(m.table(t, "a").Columns) != "x JSON" {
		t.Errorf("%s: %s", describedAs(m.table(t, "a").Columns), m.rows(t, "a"))
	}
	unnamed := t.TempDir()
	sql(t, "COPY (SELECT row(1, 2) AS x) TO "+quoteText(unnamed+"/a.parquet"))
	if m := (made{}).build(t, connectors.Publication{Dir: unnamed}); codes(m.reply.Problems) != "BadType a" {
		t.Errorf("%+v", m.reply)
	}
	parts := t.TempDir()
	put(t, parts, map[string]string{"a/keep": ""})
	if err := os.Rename(parts+"/a/keep", parts+"/a/.keep"); err != nil {
		t.Fatal(err)
	}
	sql(t, "COPY (SELECT 1::INTEGER AS x, 'n' AS n) TO "+quoteText(parts+"/a/1.parquet"), "COPY (SELECT 2.5::DOUBLE AS x) TO "+quoteText(parts+"/a/2.parquet"))
	m = made{}.build(t, connectors.Publication{Dir: parts}).good(t)
	if m.rows(t, "a") != "1|n\n2.5|∅" || describedAs(m.table(t, "a").Columns) != "x DOUBLE, n VARCHAR" {
		t.Errorf("%s: %s", describedAs(m.table(t, "a").Columns), m.rows(t, "a"))
	}
}

// TestDeclaredTypesAreStrict reads text as declared types: what a cast of DuckDB
// would round, cut or take for something else is a problem with its row.
func TestDeclaredTypesAreStrict(t *testing.T) {
	for _, c := range []struct{ kind, value, want string }{
		{"BIGINT", "12", "12"}, {"BIGINT", " 7 ", "7"}, {"BIGINT", "1.0", "1"}, {"BIGINT", "1.5", ""}, {"BIGINT", "0x10", ""}, {"BIGINT", "1_000", ""}, {"BIGINT", "1e3", ""}, {"BIGINT", "9223372036854775808", ""},
		{"UTINYINT", "256", ""}, {"UTINYINT", "-1", ""}, {"DECIMAL(12,2)", "12.34", "12.34"}, {"DECIMAL(12,2)", "12.340", "12.34"}, {"DECIMAL(12,2)", "12.345", ""}, {"DECIMAL(4,2)", "123.4", ""},
		{"DOUBLE", "1e300", "1e+300"}, {"DOUBLE", "abc", ""}, {"BOOLEAN", "TRUE", "true"}, {"BOOLEAN", "0", "false"}, {"BOOLEAN", "maybe", ""},
		{"DATE", "2026-01-02", "2026-01-02"}, {"DATE", "2026-01-02 00:00:00", "2026-01-02"}, {"DATE", "2026-01-02 10:00:00", ""}, {"DATE", "2026-02-30", ""},
		{"TIMESTAMP", "2026-01-02T03:04:05.678", "2026-01-02T03:04:05.678"}, {"TIMESTAMP", "2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05"}, {"TIMESTAMP", "2026-01-02", "2026-01-02T00:00:00"}, {"TIMESTAMP", "noon", ""},
		{"VARCHAR", " as it is ", " as it is "}, {"UUID", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, {"INTEGER[]", "[1, 2]", "[1,2]"},
	} {
		for _, file := range []string{"a.csv", "a.ndjson"} {
			content := "n,x\n0,\n1,\"" + c.value + "\"\n"
			if file == "a.ndjson" {
				content = "{\"n\":0}\n{\"n\":1,\"x\":\"" + c.value + "\"}\n"
				if strings.HasSuffix(c.kind, "[]") {
					content = "{\"n\":1,\"x\":" + c.value + "}\n"
				}
			}
			m := made{}.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{file: content}), Wanted: map[string]connectors.Wanted{"a": {Types: map[string]string{"x": c.kind, "n": "BIGINT"}}}})
			if c.want == "" {
				if codes(m.reply.Problems) != "BadValue a.x" || !strings.Contains(m.reply.Problems[0].Found, "row 2: column x: ") || m.reply.Problems[0].File != file {
					t.Errorf("%s as %s in %s: %+v", c.value, c.kind, file, m.reply.Problems)
				}
				continue
			}
			if got := m.rows(t, "a"); !strings.HasSuffix(got, "1|"+c.want) {
				t.Errorf("%s as %s in %s is %s, %+v", c.value, c.kind, file, got, m.reply.Problems)
			}
		}
	}
}

// TestTextThatIsNoData has files that their programs wrote badly. No row is lost
// without a word.
func TestTextThatIsNoData(t *testing.T) {
	for name, c := range map[string]struct{ file, content, code, says string }{
		"a field too many":    {"a.csv", "id,v\n1,a\n2,b,c\n", "BadContent a", "Line: 3: Expected Number of Columns: 2 Found: 3"},
		"a field too few":     {"a.csv", "id,v\n1,a\n2\n", "BadContent a", "Line: 3"},
		"quotes left open":    {"a.csv", "id,v\n1,\"a\n2,b\n", "BadContent a", "unterminated quote"},
		"text after quotes":   {"a.csv", "id,v\n1,\"a\"b\n", "BadContent a", "Line: 2"},
		"not UTF-8":           {"a.csv", "id,v\n1,a\xff\n", "BadContent a", "Invalid unicode"},
		"no first row":        {"a.csv", "", "BadColumns a", "no columns"},
		"columns twice":       {"a.csv", "id,ID\n1,2\n", "BadColumns a", "same to SQL"},
		"a column of no name": {"a.csv", "id,\n1,2\n", "BadColumns a", "no name"},
		"a NUL in a name":     {"a.csv", "id,a\x00b\n1,2\n", "BadColumns a", "control"},
		"not gzip":            {"a.csv.gz.csv.gz", "", "", ""},
		"cut JSON":            {"a.ndjson", "{\"id\":1}\n{\"id\":", "BadContent a", "in line"},
		"no object":           {"a.ndjson", "{\"id\":1}\n[1]\n", "BadContent a", "non-record"},
		"a key twice":         {"a.ndjson", "{\"id\":1,\"id\":2}\n", "BadContent a", "duplicate key"},
		"no Parquet":          {"a.parquet", "PAR1 this is none PAR1", "BadContent a", ""},
		"a name of no table":  {"a-b.csv", "id\n1\n", "BadName, Nothing", ""},
		"no table at all":     {"notes.txt", "hello", "UnknownFile, Nothing", ""},
		"parts in parts":      {"a/b/c.csv", "id\n1\n", "NotARegularFile a", ""},
		"a name of no part":   {"a/ä.csv", "id\n1\n", "BadName a", ""},
	} {
		if c.code == "" {
			continue
		}
		dir := put(t, t.TempDir(), map[string]string{c.file: c.content})
		reply := checked(t, dir, 0)
		m := made{}.build(t, connectors.Publication{Dir: dir})
		want := strings.TrimSuffix(c.code, ", Nothing")
		if codes(reply.Problems) != want || !strings.HasPrefix(codes(m.reply.Problems), want) && !strings.HasSuffix(codes(m.reply.Problems), want) || m.reply.Manifest != nil || !strings.Contains(reply.Problems[0].Found, c.says) || reply.Problems[0].Hint == "" {
			t.Errorf("%s: check %+v\nbuild %+v", name, reply.Problems, m.reply)
		}
	}
	dir := put(t, t.TempDir(), map[string]string{"a.csv": "id\n1\n", "a.ndjson": "{}", "b.csv": "x\n1\n"})
	if m := (made{}).build(t, connectors.Publication{Dir: dir}); codes(m.reply.Problems) != "Duplicate a" || m.rows(t, "b") != "1" {
		t.Errorf("%+v", m.reply)
	}
	plain := t.TempDir()
	if err := os.WriteFile(filepath.Join(plain, "a.csv.gz"), []byte("id\n1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if reply := checked(t, plain, 0); codes(reply.Problems) != "BadContent a" || !strings.Contains(reply.Problems[0].Found, "gzip") {
		t.Errorf("%+v", reply.Problems)
	}
}

// TestDialectsOfBuiltInSources reads back what Keboola, Jira and PostgreSQL leave.
func TestDialectsOfBuiltInSources(t *testing.T) {
	columns := []connectors.Column{{Name: "id", Type: "BIGINT"}, {Name: "name", Type: "VARCHAR"}, {Name: "when \"x\"", Type: "TIMESTAMP"}, {Name: "j", Type: "JSON"}}
	keboola := "\"id\",\"name\",\"when \"\"x\"\"\",\"j\"\n" + "\"1\",\"a \"\"b\"\"\n\",\"2026-01-02 03:04:05\",\"\"\n" + "\"\",\"\",\"\",\"\"\n" + "2,NULL,,\"{\"\"k\"\":[1]}\"\n"
	crlf := strings.Replace(strings.ReplaceAll(keboola, "\n", "\r\n"), "\r\n", "\n", 1) // our first row before rows of theirs
	crlf = strings.Replace(crlf, "\"\"b\"\"\r\n", "\"\"b\"\"\n", 1)
	jira := `{"id":1,"name":"a \"b\"\n","when \"x\"":"2026-01-02T03:04:05.000","j":null}` + "\n" + `{"id":null,"name":"","when \"x\"":null}` + "\n" + `{"id":2,"name":"NULL","when \"x\"":null,"j":{"k":[1]}}` + "\n"
	want := "1|a \"b\"\n|2026-01-02T03:04:05|∅\n2|NULL|∅|{\"k\":[1]}\n∅||∅|∅"
	for name, files := range map[string]map[string]string{
		"keboola":           {"t.csv.gz": keboola},
		"keboola, CRLF":     {"t.csv.gz": crlf},
		"keboola, slices":   {"t/part-00000.csv.gz": keboola, "t/part-00001.csv.gz": "\"id\",\"name\",\"when \"\"x\"\"\",\"j\"\n"},
		"jira":              {"t.ndjson.gz": jira},
		"jira, parts":       {"t/2026-01.ndjson.gz": jira},
		"jira, empty parts": {"t/2026-01.ndjson.gz": jira, "t/2026-02.ndjson.gz": ""},
	} {
		m := made{}.build(t, built(put(t, t.TempDir(), files), connectors.TableResult{Table: "t", Rows: 3, Columns: columns})).good(t)
		if got := m.rows(t, "t"); got != want {
			t.Errorf("%s:\n%q\nwant\n%q", name, got, want)
		}
	}
	m := made{}.build(t, built(t.TempDir(), connectors.TableResult{Table: "t", Columns: columns})).good(t)
	if got := m.table(t, "t"); got.Rows != 0 || describedAs(got.Columns) != describedAs(columns) {
		t.Errorf("an empty table: %+v", got)
	}
}

func TestExportIsForAnyReader(t *testing.T) {
	m := made{}.build(t, connectors.Publication{Dir: put(t, t.TempDir(), map[string]string{"orders.csv": "id\n1\n", "parts/a.csv": "id\n1\n", "parts/b.csv": "id\n2\n"})}).good(t)
	to := filepath.Join(t.TempDir(), "server.duckdb")
	req := wire.ExportRequest{To: to, Flat: map[string]string{"orders": "shop.orders", "lost": "shop.lost"}, Sources: []wire.Source{
		{Name: "shop", Dir: m.dir, Tables: append(m.reply.Manifest.Tables, connectors.ManifestTable{Name: "far", Remote: &connectors.RemoteTable{Alias: "pg"}})}, {Name: "empty", Dir: m.dir}}}
	for range 2 { // the second replaces the first
		if err := RunExport(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	attach := "ATTACH " + quoteText(to) + " AS x (READ_ONLY)"
	if got := ask(t, "SELECT (SELECT count(*) FROM x.shop.parts), (SELECT id FROM x.main.orders), (SELECT count(*) FROM duckdb_views() WHERE database_name = 'x' AND NOT internal)", attach); got != "2|1|3" {
		t.Errorf("the database gives %s", got)
	}
	script, err := os.ReadFile(filepath.Join(filepath.Dir(to), "attach.sql"))
	if err != nil {
		t.Fatal(err)
	}
	var statements []string
	for _, line := range strings.Split(string(script), "\n") {
		if line != "" && !strings.HasPrefix(line, "--") {
			statements = append(statements, line)
		}
	}
	if got := ask(t, "SELECT (SELECT count(*) FROM shop.parts), (SELECT id FROM orders)", statements...); got != "2|1" {
		t.Errorf("the script gives %s", got)
	}
	for _, file := range []string{to, filepath.Join(filepath.Dir(to), "attach.sql")} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o027 != 0 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
	}
}
