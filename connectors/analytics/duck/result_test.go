//go:build cgo

package duck

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// TestValues writes every type as JSON and as CSV.
func TestValues(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	for _, test := range []struct{ sql, json, csv, typ string }{
		{"NULL", `null`, ``, "INTEGER"},
		{"true", `true`, `true`, "BOOLEAN"},
		{"(-128)::TINYINT", `-128`, `-128`, "TINYINT"},
		{"65535::USMALLINT", `65535`, `65535`, "USMALLINT"},
		{"9007199254740991::BIGINT", `9007199254740991`, `9007199254740991`, "BIGINT"},
		{"9007199254740992::BIGINT", `"9007199254740992"`, `9007199254740992`, "BIGINT"},
		{"(-9223372036854775808)::BIGINT", `"-9223372036854775808"`, `-9223372036854775808`, "BIGINT"},
		{"18446744073709551615::UBIGINT", `"18446744073709551615"`, `18446744073709551615`, "UBIGINT"},
		{"5::HUGEINT", `5`, `5`, "HUGEINT"},
		{"(-170141183460469231731687303715884105728)::HUGEINT", `"-170141183460469231731687303715884105728"`, `-170141183460469231731687303715884105728`, "HUGEINT"},
		{"340282366920938463463374607431768211455::UHUGEINT", `"340282366920938463463374607431768211455"`, `340282366920938463463374607431768211455`, "UHUGEINT"},
		{"12.50::DECIMAL(10,2)", `"12.50"`, `12.50`, "DECIMAL(10,2)"},
		{"-0.05::DECIMAL(3,2)", `"-0.05"`, `-0.05`, "DECIMAL(3,2)"},
		{"7::DECIMAL(4,0)", `"7"`, `7`, "DECIMAL(4,0)"},
		{"12345678901234567890.123456789::DECIMAL(38,9)", `"12345678901234567890.123456789"`, `12345678901234567890.123456789`, "DECIMAL(38,9)"},
		{"0.1::DOUBLE", `0.1`, `0.1`, "DOUBLE"},
		{"1e300::DOUBLE", `1e+300`, `1e+300`, "DOUBLE"},
		{"0.1::FLOAT", `0.1`, `0.1`, "FLOAT"},
		{"'nan'::DOUBLE", `"NaN"`, `NaN`, "DOUBLE"},
		{"'-inf'::FLOAT", `"-Infinity"`, `-Infinity`, "FLOAT"},
		{"'a\"b,c\\d' || chr(10) || chr(1)", `"a\"b,c\\d\n\u0001"`, "\"a\"\"b,c\\d\n\x01\"", "VARCHAR"},
		{"''", `""`, `""`, "VARCHAR"},
		{"'a text that is longer than twelve bytes: ďábel 💥'", `"a text that is longer than twelve bytes: ďábel 💥"`, `a text that is longer than twelve bytes: ďábel 💥`, "VARCHAR"},
		{"'\\x00\\xFF'::BLOB", `"AP8="`, `AP8=`, "BLOB"},
		{"DATE '2026-02-28'", `"2026-02-28"`, `2026-02-28`, "DATE"},
		{"'infinity'::DATE", `"infinity"`, `infinity`, "DATE"},
		{"TIME '10:00:00.5'", `"10:00:00.5"`, `10:00:00.5`, "TIME"},
		{"TIMESTAMP '2026-02-28 10:00:00.123456'", `"2026-02-28T10:00:00.123456"`, `2026-02-28T10:00:00.123456`, "TIMESTAMP"},
		{"TIMESTAMP '1900-01-01'", `"1900-01-01T00:00:00"`, `1900-01-01T00:00:00`, "TIMESTAMP"},
		{"'2026-02-28 10:00:00.123456789'::TIMESTAMP_NS", `"2026-02-28T10:00:00.123456789"`, `2026-02-28T10:00:00.123456789`, "TIMESTAMP_NS"},
		{"'-infinity'::TIMESTAMP", `"-infinity"`, `-infinity`, "TIMESTAMP"},
		{"TIMESTAMPTZ '2026-02-28 10:00:00+02'", `"2026-02-28T08:00:00Z"`, `2026-02-28T08:00:00Z`, "TIMESTAMP WITH TIME ZONE"},
		{"INTERVAL 3 DAY", `"3 days"`, `3 days`, "INTERVAL"},
		{"'0101'::BIT", `"0101"`, `0101`, "BIT"},
		{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`, "UUID"},
		{"'b'::ENUM('a', 'b')", `"b"`, `b`, "ENUM('a', 'b')"},
		{"[1, NULL, 3]", `[1,null,3]`, `"[1,null,3]"`, "INTEGER[]"},
		{"[]::VARCHAR[]", `[]`, `[]`, "VARCHAR[]"},
		{"[[1.5::DECIMAL(3,1)], NULL]", `[["1.5"],null]`, `"[[""1.5""],null]"`, "DECIMAL(3,1)[][]"},
		{"[1, 2]::INTEGER[2]", `[1,2]`, `"[1,2]"`, "INTEGER[2]"},
		{"{'a': 1, 'b': {'c': 'x'}}", `{"a":1,"b":{"c":"x"}}`, `"{""a"":1,""b"":{""c"":""x""}}"`, `STRUCT("a" INTEGER, "b" STRUCT("c" VARCHAR))`},
		{"row(1, 'a')", `[1,"a"]`, `"[1,""a""]"`, `STRUCT("" INTEGER, "" VARCHAR)`},
		{"MAP {'a': 1, 'b': NULL}", `{"a":1,"b":null}`, `"{""a"":1,""b"":null}"`, "MAP(VARCHAR, INTEGER)"},
		{"MAP {DATE '2026-01-01': [1]}", `{"2026-01-01":[1]}`, `"{""2026-01-01"":[1]}"`, "MAP(DATE, INTEGER[])"},
		{"'{\"a\": [1,\n2]}'::JSON", `{"a": [1, 2]}`, "\"{\"\"a\"\": [1,\n2]}\"", "JSON"},
		{"[INTERVAL 1 DAY]", `"[1 day]"`, `[1 day]`, "INTERVAL[]"},
		{"1::UNION(a INTEGER, b VARCHAR)", `"1"`, `1`, `UNION("a" INTEGER, "b" VARCHAR)`},
	} {
		r := &result{worker: w, query: withDefaults(wire.Query{})}
		for format, want := range map[wire.Format]string{wire.FormatJSON: "[" + test.json + "]\n", wire.FormatCSV: "v\r\n" + test.csv + "\r\n"} {
			got, _, err := w.answer(t, wire.Query{SQL: "SELECT " + test.sql + " AS v", Format: format})
			if err != nil || got != want {
				t.Errorf("%s as %s: %q, %v, want %q", test.sql, format, got, err, want)
			}
			if format == wire.FormatJSON && !json.Valid([]byte(got)) {
				t.Errorf("%s: not JSON: %s", test.sql, got)
			}
		}
		a, err := w.gate.admit(t.Context(), "SELECT "+test.sql+" AS v")
		if err != nil {
			t.Fatal(err)
		}
		s, err := w.wrap(t.Context(), a, r.query, "*")
		if err != nil {
			t.Fatal(err)
		}
		if _, kinds := s.columns(); kinds[0].String() != test.typ {
			t.Errorf("%s has the type %s, want %s", test.sql, kinds[0], test.typ)
		}
		s.close()
	}
}

const mixed = "SELECT i::BIGINT AS id, CASE WHEN i %% 7 > 0 THEN 'value ' || i END AS s, i / 3 AS d, (i * 10)::DECIMAL(18,2) AS amount, " +
	"DATE '2026-01-01' + (i %% 365)::INTEGER AS day, TIMESTAMP '2026-01-01' + to_seconds(i) AS moment, i %% 2 = 0 AS even, [i, NULL] AS l, " +
	"{'a': i, 'b': 'x' || i} AS st, MAP {'k': i} AS m, i::HUGEINT AS h, i::INTEGER::VARCHAR::BLOB AS b FROM range(%d) t(i)"

// TestFormatsAgree reads a result back from each format and compares it with the
// engine's own values.
func TestFormatsAgree(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	sql := fmt.Sprintf(mixed, 100_000)
	want := w.sums(t, "("+sql+")")
	for _, format := range []wire.Format{wire.FormatArrow, wire.FormatParquet} {
		data, tail, err := w.answer(t, wire.Query{SQL: sql, Format: format, MaxRows: 200_000})
		if err != nil || tail.Rows != 100_000 || tail.Truncated || tail.Bytes != int64(len(data)) {
			t.Fatalf("%s: %+v, %d bytes, %v", format, tail, len(data), err)
		}
		path := filepath.Join(w.setup.Temp, "back."+string(format))
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if format == wire.FormatParquet {
			if got := w.sums(t, "read_parquet("+quoteText(path)+")"); got != want {
				t.Errorf("parquet: %s, want %s", got, want)
			}
			continue
		}
		r, err := ipc.NewReader(strings.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		rows, first := int64(0), ""
		for r.Next() {
			if rows == 0 {
				line, err := r.RecordBatch().NewSlice(8, 9).MarshalJSON()
				if err != nil {
					t.Fatal(err)
				}
				first = string(line)
			}
			rows += r.RecordBatch().NumRows()
		}
		for _, part := range []string{`"id":8`, `"s":"value 8"`, `"amount":"80"`, `"day":"2026-01-09"`, `"even":true`, `"l":[8,null]`, `"a":8`, `"b":"x8"`, `"h":"8"`} {
			if !strings.Contains(strings.ReplaceAll(first, ": ", ":"), part) {
				t.Errorf("arrow: %s lacks %s", first, part)
			}
		}
		if r.Err() != nil || rows != 100_000 {
			t.Errorf("arrow: %d rows, %v", rows, r.Err())
		}
	}
	data, _, err := w.answer(t, wire.Query{SQL: sql, Format: wire.FormatCSV, MaxRows: 200_000})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := csv.NewReader(strings.NewReader(data)).ReadAll(); err != nil || len(all) != 100_001 || all[9][1] != "value 8" {
		t.Errorf("csv: %d, %v", len(all), err)
	}
}

// sums is a digest of the columns of mixed.
func (w *worker) sums(t *testing.T, from string) (digest string) {
	t.Helper()
	err := w.engine.rows(t.Context(), "SELECT count(*), sum(id), count(s), sum(amount)::VARCHAR, max(day)::VARCHAR, max(moment)::VARCHAR, "+
		"count_if(even), sum(l[1])::VARCHAR, sum(st.a)::VARCHAR, sum(m['k'])::VARCHAR, sum(h)::VARCHAR, max(b)::VARCHAR FROM "+from,
		func(row []any) error {
			digest = fmt.Sprint(row...)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// TestCaps ends results at the number of rows and of bytes that they may have.
func TestCaps(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	for _, format := range []wire.Format{wire.FormatJSON, wire.FormatCSV, wire.FormatArrow, wire.FormatParquet} {
		for _, test := range []struct {
			rows      int64
			truncated bool
		}{{999, true}, {1000, false}, {1001, false}, {1, true}} {
			data, tail, err := w.answer(t, wire.Query{SQL: "FROM orders", Format: format, MaxRows: test.rows})
			if err != nil || tail.Rows != min(test.rows, 1000) || tail.Truncated != test.truncated || tail.Bytes != int64(len(data)) {
				t.Errorf("%s, at most %d rows: %+v, %v", format, test.rows, tail, err)
			}
		}
		data, tail, err := w.answer(t, wire.Query{SQL: "SELECT 1 AS a WHERE false", Format: format})
		if err != nil || tail.Rows != 0 || tail.Truncated || (format != wire.FormatJSON && len(data) == 0) {
			t.Errorf("%s, no rows: %+v, %v", format, tail, err)
		}
		_, _, err = w.answer(t, wire.Query{SQL: "SELECT hash(range)::VARCHAR || repeat(md5(range::VARCHAR), 1000) AS a FROM range(100)", Format: format, MaxBytes: 1000})
		if e, ok := errors.AsType[*wire.Error](err); !ok || e.Code != wire.CodeTooLarge {
			t.Errorf("%s, a row that is too long: %v", format, err)
		}
		if format == wire.FormatParquet {
			continue // which is a file or none
		}
		const most = 20_000
		data, tail, err = w.answer(t, wire.Query{SQL: "SELECT range AS i, repeat('x', 50) AS s FROM range(100000)", Format: format, MaxBytes: most, MaxRows: 200_000})
		if err != nil || !tail.Truncated || len(data) > most || len(data) < most/3 || tail.Rows < 50 {
			t.Errorf("%s, at most %d bytes: %d, %+v, %v", format, most, len(data), tail, err)
		}
		if format == wire.FormatArrow {
			r, err := ipc.NewReader(strings.NewReader(data))
			if err != nil {
				t.Fatal(err)
			}
			rows := int64(0)
			for r.Next() {
				rows += r.RecordBatch().NumRows()
			}
			if r.Err() != nil || rows != tail.Rows {
				t.Errorf("a short stream of Arrow: %d rows, %v", rows, r.Err())
			}
		}
	}
	if left := everyFile(t, w.setup.Temp); len(left) > 1 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPages puts the pages of an ordered result together.
func TestPages(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	whole, _, err := w.answer(t, wire.Query{SQL: "SELECT id FROM orders ORDER BY id DESC"})
	if err != nil {
		t.Fatal(err)
	}
	var pages bytes.Buffer
	for offset := int64(0); ; offset += 300 {
		data, tail, err := w.answer(t, wire.Query{SQL: "SELECT id FROM orders ORDER BY id DESC", Offset: offset, MaxRows: 300})
		if err != nil {
			t.Fatal(err)
		}
		pages.WriteString(data)
		if !tail.Truncated {
			break
		}
	}
	if pages.String() != whole {
		t.Error("the pages are not the whole")
	}
}

// TestErrors gives each cause its code, and nothing of the text that was put
// around the statement.
func TestErrors(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	for _, test := range []struct{ sql, code, message string }{
		{"SELECT 1 +", wire.CodeSyntax, "syntax error at end of input"},
		{"SELECT nam FROM orders", wire.CodeNotFound, `Referenced column "nam" not found`},
		{"SELECT o.nam FROM orders o", wire.CodeNotFound, `"nam"`},
		{"FROM nowhere", wire.CodeNotFound, "there is no table nowhere"},
		{"SELECT 'x'::INTEGER", wire.CodeFailed, "Could not convert string 'x'"},
		{"SELECT error('my message')", wire.CodeFailed, "my message"},
		{"SELECT 9223372036854775807 + id FROM orders", wire.CodeFailed, "Overflow"},
		{"SELECT abs('a', 'b', 1)", wire.CodeFailed, "No function matches"},
		{"SELECT glob('x')", wire.CodeRefused, "glob"},
	} {
		_, _, err := w.answer(t, wire.Query{SQL: test.sql})
		told := w.told(orNothing(err))
		if told.Code != test.code || !strings.Contains(told.Message, test.message) || strings.Contains(told.Message, "LIMIT 10001") || strings.Contains(told.Message, "0x") {
			t.Errorf("%s: %+v", test.sql, told)
		}
	}
	// Last, since an engine is of no use after an error of its own.
	defer func() {
		_, _, err := w.answer(t, wire.Query{SQL: "SELECT array_inner_product([1]::FLOAT[1], [NULL]::FLOAT[1])"})
		if told := w.told(orNothing(err)); told.Code != wire.CodeFatal || !strings.Contains(told.Message, "flat vector") || strings.Contains(told.Message, "\n") {
			t.Errorf("an error of the engine's own: %+v", told)
		}
	}()
	for _, sql := range []string{"SELECT error(repeat('é', 5000000))", "SELECT CAST(repeat('x', 5000000) AS INTEGER)"} {
		_, _, err := w.answer(t, wire.Query{SQL: sql})
		if told := w.told(orNothing(err)); told.Code != wire.CodeFailed || len(told.Message) > 2*maxErrorText || !utf8.ValidString(told.Message) {
			t.Errorf("%s: %s with a message of %d bytes", sql, told.Code, len(told.Message))
		}
	}
	if _, _, err := w.answer(t, wire.Query{SQL: "SELECT 1", Format: "xml"}); w.told(orNothing(err)).Code != wire.CodeRefused {
		t.Errorf("xml: %v", err)
	}
}

// TestProfile looks at columns of every sort.
func TestProfile(t *testing.T) {
	h := newWarehouse(t)
	h.source(t, "wide", 1, map[string]string{"t": "SELECT CASE WHEN i % 10 > 0 THEN i END::BIGINT AS n, 'k' || (i % 3) AS s, " +
		"DATE '2026-01-01' + i::INTEGER AS d, [i] AS l, i % 2 = 0 AS b, i::DECIMAL(9,2) AS m, (i / 1000)::DECIMAL(9,4) AS share, (i / 7)::DOUBLE AS f, " +
		"TIMESTAMPTZ '2026-01-01 00:00:00+00' + to_seconds(i) AS z, uuid() AS u FROM range(1000) t(i)"})
	w := inProcess(t, h)
	ask := func(column string) (p columnProfile) {
		t.Helper()
		raw, err := w.profile(t.Context(), wire.Profile{Source: "wide", Table: "t", Column: column})
		if err != nil {
			t.Errorf("%s: %v", column, err)
			return p
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	n := ask("n")
	if n.Rows != 1000 || n.SampleRows != 1000 || n.Sampled || n.Nulls != 100 || n.Distinct == nil || *n.Distinct < 800 || *n.Distinct > 900 ||
		n.Min == nil || *n.Min != "1" || *n.Max != "999" || *n.Avg != "500.0" || n.Quantiles["0.5"] == "" || len(n.Top) != profileTop {
		t.Errorf("n: %+v", n)
	}
	if s := ask("s"); len(s.Top) != 3 || s.Top[0].Value != "k0" || s.Top[0].Count != 334 || s.Avg != nil {
		t.Errorf("s: %+v", s)
	}
	if q := ask("share").Quantiles; !strings.HasPrefix(q["0.5"], "0.5") && !strings.HasPrefix(q["0.5"], "0.49") || !strings.HasPrefix(q["0.05"], "0.0") {
		t.Errorf("quantiles of a DECIMAL: %v", q)
	}
	if l := ask("l"); l.Distinct != nil || l.Top != nil || l.SampleRows != 1000 {
		t.Errorf("l: %+v", l)
	}
	for _, column := range []string{"d", "b", "m", "f", "z", "u"} {
		if p := ask(column); p.Min == nil || p.Max == nil || p.Nulls != 0 {
			t.Errorf("%s: %+v", column, p)
		}
	}
	for _, p := range []wire.Profile{{Source: "wide", Table: "t", Column: "x"}, {Source: "wide", Table: "x"}, {Source: "x"}} {
		if _, err := w.profile(t.Context(), p); w.told(orNothing(err)).Code != wire.CodeNotFound {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// TestProfileOfALongTable says that it looked at a sample.
func TestProfileOfALongTable(t *testing.T) {
	h := newWarehouse(t)
	h.source(t, "big", 1, map[string]string{"t": "SELECT i % 5 AS n FROM range(4500000) t(i)"})
	w := inProcess(t, h)
	raw, err := w.profile(t.Context(), wire.Profile{Source: "big", Table: "t", Column: "n"})
	var p columnProfile
	if err := errors.Join(err, json.Unmarshal(raw, &p)); err != nil {
		t.Fatal(err)
	}
	if !p.Sampled || p.Rows != 4_500_000 || p.SampleRows > 2_000_000 || p.SampleRows < 300_000 || len(p.Top) != 5 {
		t.Errorf("%+v", p)
	}
}
