package postgres

import (
	"database/sql"
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/duckdb/duckdb-go/v2" // what reads the files
	"github.com/fairlead/fairlead/connectors"
	"pgregory.net/rapid"
)

// drawn are the types that values are drawn of, each with how one and the same
// fact of a value is asked of PostgreSQL and of DuckDB.
var drawn = []struct {
	pg, duck string
	value    *rapid.Generator[string] // SQL of a value
	ofPG     string
	ofDuck   string
}{
	{"bool", "BOOLEAN", rapid.SampledFrom([]string{"true", "false"}), "%s::text", "%s::VARCHAR"},
	{"int2", "SMALLINT", number(-1<<15, 1<<15-1), "%s::text", "%s::VARCHAR"},
	{"int4", "INTEGER", number(-1<<31, 1<<31-1), "%s::text", "%s::VARCHAR"},
	{"int8", "BIGINT", number(-1<<63, 1<<63-1), "%s::text", "%s::VARCHAR"},
	{"oid", "UINTEGER", number(0, 1<<32-1), "%s::text", "%s::VARCHAR"},
	{"float4", "FLOAT", floats(), "float4send(%s)::text", "%s::VARCHAR"},
	{"float8", "DOUBLE", floats(), "float8send(%s)::text", "%s::VARCHAR"},
	{"numeric(12,2)", "DECIMAL(12,2)", decimals(10, 2), "%s::text", "%s::VARCHAR"},
	{"numeric(38,10)", "DECIMAL(38,10)", decimals(28, 10), "%s::text", "%s::VARCHAR"},
	{"numeric(5,-3)", "DECIMAL(8,0)", number(-99999000, 99999000), "%s::text", "%s::VARCHAR"},
	{"numeric(60,0)", "VARCHAR", rapid.Just("123456789012345678901234567890123456789012345"), "%s::text", "%s::VARCHAR"},
	{"money", "DECIMAL(22,3)", number(-1<<50, 1<<50), "(%s::numeric(22,3))::text", "%s::VARCHAR"},
	{"date", "DATE", dates(), dateFact, "CASE WHEN isfinite(%[1]s) THEN date_diff('day', DATE '1970-01-01', %[1]s)::VARCHAR ELSE %[1]s::VARCHAR END"},
	{"timestamp", "TIMESTAMP", times(), timeFact, "CASE WHEN isfinite(%[1]s) THEN epoch_us(%[1]s)::VARCHAR ELSE %[1]s::VARCHAR END"},
	{"timestamptz", "TIMESTAMPTZ", times(), timeFact, "CASE WHEN isfinite(%[1]s) THEN epoch_us(%[1]s)::VARCHAR ELSE %[1]s::TIMESTAMP::VARCHAR END"},
	{"time", "TIME", clocks(), "(extract(epoch FROM %s) * 1000000)::int8::text", "epoch_us(%s)::VARCHAR"},
	{"interval", "INTERVAL", intervals(), "concat(extract(year FROM %[1]s) * 12 + extract(month FROM %[1]s), ' ', extract(day FROM %[1]s), ' ', (extract(epoch FROM %[1]s - date_trunc('day', %[1]s)) * 1000000)::int8)",
		"concat(datepart('year', %[1]s) * 12 + datepart('month', %[1]s), ' ', datepart('day', %[1]s), ' ', datepart('hour', %[1]s) * 3600000000 + datepart('minute', %[1]s) * 60000000 + datepart('microsecond', %[1]s))"},
	{"uuid", "UUID", rapid.Just("'0d3f0c1e-27a4-4b7f-9c3e-0123456789ab'"), "%s::text", "%s::VARCHAR"},
	{"bytea", "BLOB", rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return fmt.Sprintf(`'\x%x'`, b) }), "upper(encode(%s, 'hex'))", "hex(%s)"},
	{"text", "VARCHAR", texts(), "encode(convert_to(%s, 'UTF8'), 'hex')", "lower(hex(encode(%s)))"},
	{"char(5)", "VARCHAR", rapid.SampledFrom([]string{"'a'", "''", "'a b'", "'\"'", "','"}), "%s::text", "%s"},
	{"varchar(9)", "VARCHAR", rapid.SampledFrom([]string{"'a '", "''", "' '", "'NULL'", `'\N'`, `'\.'`, "'\"\"'"}), "%s::text", "%s"},
	{"json", "JSON", jsons(), "%s::jsonb::text", "%s::VARCHAR"},
	{"jsonb", "JSON", jsons(), "%s::text", "%s::VARCHAR"},
	{"int4[]", "JSON", rapid.SampledFrom([]string{"'{}'", "'{1,NULL,3}'", "'{{1,2},{3,4}}'"}), "to_json(%s)::text", "%s::VARCHAR"},
	{"text[]", "JSON", rapid.SampledFrom([]string{`ARRAY['a,"b"', NULL, E'\n', '']`}), "to_json(%s)::text", "%s::VARCHAR"},
	{"mood", "VARCHAR", rapid.SampledFrom([]string{"'sad, so'", "'ok'", "''"}), "%s::text", "%s"},
	{"cents", "DECIMAL(9,2)", decimals(7, 2), "%s::text", "%s::VARCHAR"},
	{"point3", "JSON", rapid.Just("ROW(1, 'x,\"y\"', NULL)::point3"), "to_json(%s)::text", "%s::VARCHAR"},
	{"int4range", "VARCHAR", rapid.SampledFrom([]string{"'[1,5)'", "'empty'", "'(,)'"}), "%s::text", "%s"},
	{"inet", "VARCHAR", rapid.SampledFrom([]string{"'10.0.0.1/8'", "'::1'"}), "CASE WHEN %[1]s IS NOT NULL THEN concat(%[1]s) END", "%s"},
	{"bit(3)", "VARCHAR", rapid.Just("B'101'"), "%s::text", "%s"},
	{"timetz", "VARCHAR", rapid.Just("'10:00:00+02'"), "%s::text", "%s"},
	{"xml", "VARCHAR", rapid.Just("'<a>\n</a>'"), "%s::text", "%s"},
	{"tsvector", "VARCHAR", rapid.Just("'a fat cat'"), "%s::text", "%s"},
}

const (
	dateFact = `CASE WHEN isfinite(%[1]s) THEN (%[1]s - date '1970-01-01')::text ELSE %[1]s::text END`
	timeFact = `CASE WHEN isfinite(%[1]s) THEN (extract(epoch FROM %[1]s) * 1000000)::int8::text ELSE %[1]s::text END`
)

func number(least, most int64) *rapid.Generator[string] {
	return rapid.Map(rapid.Int64Range(least, most), func(n int64) string { return fmt.Sprintf("'%d'", n) })
}

func floats() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"'NaN'", "'Infinity'", "'-Infinity'", "'0'", "'-0'"}),
		rapid.Map(rapid.Float32(), func(f float32) string { return fmt.Sprintf("'%v'", f) }))
}

func decimals(before, after int) *rapid.Generator[string] {
	return rapid.Map(rapid.StringMatching(fmt.Sprintf(`-?[0-9]{1,%d}\.[0-9]{1,%d}`, before, after)), func(s string) string { return "'" + s + "'" })
}

func dates() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"'infinity'", "'-infinity'", "'0044-03-15 BC'", "'4713-01-01 BC'", "'10000-01-01'", "'0001-01-01'", "'0001-12-31 BC'", "'294000-12-31'"}),
		rapid.Map(rapid.IntRange(-800_000, 800_000), func(n int) string { return fmt.Sprintf("date '1970-01-01' + %d", n) }))
}

func times() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"'infinity'", "'-infinity'", "'0044-03-15 23:59:59.999999 BC'", "'4713-01-01 00:00 BC'", "'10000-01-01'", "'200000-12-31 12:00:00.5'"}),
		rapid.Map(rapid.Int64Range(-60_000_000_000, 200_000_000_000), func(n int64) string {
			return fmt.Sprintf("timestamp '1970-01-01' + %d * interval '1 second' + interval '%d microseconds'", n, n&0xfffff)
		}))
}

func clocks() *rapid.Generator[string] {
	return rapid.OneOf(rapid.Just("'24:00:00'"), rapid.Map(rapid.IntRange(0, 86_399), func(n int) string { return fmt.Sprintf("time '00:00' + interval '%d seconds %d microseconds'", n, n) }))
}

func intervals() *rapid.Generator[string] {
	part := rapid.IntRange(-100_000, 100_000)
	return rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("interval '%d months %d days %d seconds %d microseconds'", part.Draw(t, "m"), part.Draw(t, "d"), part.Draw(t, "s"), part.Draw(t, "us"))
	})
}

func texts() *rapid.Generator[string] {
	some := rapid.SampledFrom([]rune("ab\"',;|\\\n\r\t é世\U0001f600\ufeff{}#N"))
	return rapid.Map(rapid.StringOfN(some, 0, 12, -1), literal)
}

func jsons() *rapid.Generator[string] {
	return rapid.SampledFrom([]string{`'{"a": [1, 2.5, null], "b": "x,\"y\""}'`, `'null'`, `'"a\nb"'`, `'[]'`, `'12'`})
}

// TestValuesArriveAsTheyWere: rows of every type are read by DuckDB as a build
// reads them, every value as text and then cast, and tell the same facts.
func TestValuesArriveAsTheyWere(t *testing.T) {
	pg := running(t)
	exec := pg.shop(t)
	exec(`CREATE TYPE mood AS ENUM ('sad, so', 'ok', ''); CREATE DOMAIN cents AS numeric(9,2) CHECK (VALUE IS NULL OR VALUE > -1e9); CREATE TYPE point3 AS (x int, y text, z float8)`)
	var declare []string
	for i, k := range drawn {
		declare = append(declare, fmt.Sprintf("c%d %s", i, k.pg))
	}
	exec("CREATE TABLE v (n serial PRIMARY KEY, " + strings.Join(declare, ", ") + ")")
	s := source(t, pg.settings(pg.port, ""))
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rapid.Check(t, func(rt *rapid.T) {
		exec("TRUNCATE v RESTART IDENTITY")
		var rows []string
		for range rapid.IntRange(1, 8).Draw(rt, "rows") {
			row := make([]string, len(drawn))
			for i, k := range drawn {
				row[i] = "NULL"
				if rapid.IntRange(0, 5).Draw(rt, "null") > 0 {
					row[i] = k.value.Draw(rt, k.pg)
				}
			}
			rows = append(rows, "(DEFAULT, "+strings.Join(row, ", ")+")")
		}
		exec("INSERT INTO v VALUES " + strings.Join(rows, ", "))
		dir, got, _ := one(t, s, nil, connectors.TableSpec{Name: "v", ID: "public.v"})
		for i, k := range drawn {
			if got.Columns[i+1].Type != k.duck {
				rt.Fatalf("%s is %s, not %s", k.pg, got.Columns[i+1].Type, k.duck)
			}
		}
		compare(rt, pg, db, filepath.Join(dir, "v.csv.gz"), got.Columns)
	})
}

func compare(t *rapid.T, pg *server, db *sql.DB, path string, columns []connectors.Column) {
	var names, ofPG, ofDuck []string
	for i, k := range drawn {
		c := columns[i+1]
		ofPG = append(ofPG, "coalesce("+strings.ReplaceAll(strings.ReplaceAll(k.ofPG, "%[1]s", c.Name), "%s", c.Name)+", '(null)')")
		value := "CAST(nullif(" + c.Name + ", '') AS " + c.Type + ")"
		if c.Type == "VARCHAR" {
			value = c.Name
		}
		ofDuck = append(ofDuck, "coalesce("+strings.ReplaceAll(strings.ReplaceAll(k.ofDuck, "%[1]s", value), "%s", value)+", '(null)')")
	}
	for _, c := range columns {
		names = append(names, "'"+c.Name+"': 'VARCHAR'")
	}
	from := readCSV(path, strings.Join(names, ", "))
	conn, err := pg.admin("shop")
	if err != nil {
		t.Fatal(err)
	}
	defer leave(conn)
	want := conn.ExecParams(t.Context(), "SELECT "+strings.Join(ofPG, ", ")+" FROM v ORDER BY n", nil, nil, nil, nil).Read()
	if want.Err != nil {
		t.Fatal(want.Err)
	}
	rows, err := db.Query("SELECT " + strings.Join(ofDuck, ", ") + " FROM " + from + " ORDER BY CAST(n AS INTEGER)")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		have := make([]string, len(drawn))
		into := make([]any, len(have))
		for i := range have {
			into[i] = &have[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		for i, k := range drawn {
			if a, b := string(want.Rows[n][i]), have[i]; !same(k.pg, a, b) {
				t.Errorf("%s: PostgreSQL has %q, DuckDB %q", k.pg, a, b)
			}
		}
	}
	if rows.Err() != nil || n != len(want.Rows) {
		t.Fatalf("%d rows, %v", n, rows.Err())
	}
}

// same compares what the two say. Floats are compared as bits of what DuckDB
// writes, JSON without its spaces, which jsonb changes.
func same(kind, ofPG, ofDuck string) bool {
	switch kind {
	case "bytea": // a build takes an empty field of any type but VARCHAR for NULL
		return ofPG == ofDuck || ofPG == "" && ofDuck == "(null)"
	case "float4", "float8":
		return ofPG == floatBits(kind, ofDuck)
	case "json", "jsonb":
		return strings.ReplaceAll(ofPG, " ", "") == strings.ReplaceAll(ofDuck, " ", "")
	}
	return ofPG == ofDuck
}

// floatBits is what float4send and float8send show.
func floatBits(kind, text string) string {
	if text == "(null)" {
		return text
	}
	bits := 64
	if kind == "float4" {
		bits = 32
	}
	f, err := strconv.ParseFloat(text, bits)
	switch {
	case err != nil:
		return err.Error()
	case math.IsNaN(f): // Go's own has another bit
		return map[int]string{32: `\x7fc00000`, 64: `\x7ff8000000000000`}[bits]
	case bits == 32:
		return fmt.Sprintf(`\x%08x`, math.Float32bits(float32(f)))
	}
	return fmt.Sprintf(`\x%016x`, math.Float64bits(f))
}

// TestATableOfOneColumnKeepsItsNulls: a row of one NULL is an empty line.
func TestATableOfOneColumnKeepsItsNulls(t *testing.T) {
	pg := running(t)
	pg.shop(t)(`CREATE TABLE single (v text); INSERT INTO single VALUES ('a'), (NULL), (''), ('\.'), (NULL), ('b'), (NULL)`)
	dir, got, _ := one(t, source(t, pg.settings(pg.port, "")), nil, connectors.TableSpec{Name: "single", ID: "public.single"})
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all string
	query := fmt.Sprintf("SELECT string_agg(CASE WHEN v IS NULL THEN 'NULL' ELSE concat('[', v, ']') END, ' ' ORDER BY v) FROM %s", readCSV(filepath.Join(dir, "single.csv.gz"), "'v': 'VARCHAR'"))
	if err := db.QueryRow(query).Scan(&all); err != nil || all != `[] [\.] [a] [b] NULL NULL NULL` || got.Rows != 7 {
		t.Errorf("%d rows: %s, %v", got.Rows, all, err)
	}
}

// readCSV is how a build reads CSV, every value as text.
func readCSV(path, columns string) string {
	return fmt.Sprintf(`read_csv('%s', columns = {%s}, auto_detect = false, header = true, delim = ',', quote = '"', escape = '"', nullstr = '', allow_quoted_nulls = false, strict_mode = true, null_padding = false, compression = 'gzip')`, path, columns)
}
