//go:build cgo

package duck

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// gateCase is a line of testdata/gate.txt.
type gateCase struct {
	run bool
	sql string
}

func gateCases(t testing.TB) (cases []gateCase) {
	t.Helper()
	data, err := os.ReadFile("testdata/gate.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		word, sql, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "run", "deny":
			cases = append(cases, gateCase{word == "run", strings.TrimSpace(sql)})
		case "", "#":
		default:
			t.Fatalf("testdata/gate.txt: %q", line)
		}
	}
	// What cannot stand in a line.
	for _, sql := range []string{
		"SELECT 1\x00; SELECT 2", "SELECT '\xff'", "SELECT 1\n;\nSELECT 2", "SELECT\u00a01 FROM\u00a0glob('/*')",
		"SELECT\u20031;\u2003DROP VIEW orders", "FROM 'x\u200b.csv'", "FROM \"ord\u0435rs\"", "SELECT * FROM ｇlob('/*')",
		"SELECT 1 --\nFROM glob('/*')", "SELECT 1 --\rFROM glob('/*')", "SELECT 1 /*\n*/ FROM\nglob('/*')",
		"SELECT U&'\\0041' FROM glob('/*')", strings.Repeat("(", 200) + "SELECT 1" + strings.Repeat(")", 200),
		"SELECT " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000), "SELECT '" + strings.Repeat("x", maxStatement) + "'",
		"SELECT " + strings.Repeat("-", 3) + "1\n FROM glob('/*')",
		"SELECT " + strings.Repeat("NOT ", 8000) + "true", "SELECT 1" + strings.Repeat("+1", 20000), "SELECT 1" + strings.Repeat("::INT", 8000),
		"SELECT " + strings.Repeat("CASE WHEN true THEN ", 3000) + "1" + strings.Repeat(" END", 3000),
		"SELECT x" + strings.Repeat("[1]", 15000), "SELECT " + strings.Repeat("a->", 15000) + "1",
		"SELECT " + strings.Repeat("EXISTS FROM ", 3000) + "t", strings.Repeat("FROM (", 100) + "glob('/*')" + strings.Repeat(")", 100),
	} {
		cases = append(cases, gateCase{false, sql})
	}
	for _, sql := range []string{
		"SELECT\n1\n--\n", "SELECT\t'a\nb' AS a\r\n", "SELECT\u00a01", "SELECT 'ďábel', '💥' AS \"✓\"",
		"SELECT " + strings.Repeat("(", 60) + "1" + strings.Repeat(")", 60), "SELECT 1" + strings.Repeat("+1", 200),
		"SELECT 1" + strings.Repeat(" UNION SELECT 1", 1000), "SELECT 1 IN (" + strings.Repeat("1,", 5000) + "2)", "SELECT * FROM range(3)" + strings.Repeat(" UNION ALL SELECT 1", 100),
		"SELECT true" + strings.Repeat(" OR 1 = 2", 500),
	} {
		cases = append(cases, gateCase{true, sql})
	}
	return cases
}

// inProcess is a worker without the limits of a process, which a test keeps.
func inProcess(t testing.TB, h *warehouse) *worker {
	t.Helper()
	out := &answers{}
	w := newWorker(h.setup(), out, out)
	ready := wire.Ready{Remotes: map[string]string{}}
	if err := w.open(t.Context(), &ready); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.gate.close(); w.engine.close() })
	a := h.attach()
	a.System = []wire.SystemTable{h.history(t, `{"at": "2026-01-01T00:00:00Z", "instance": "acme", "ok": true}`)}
	if reply := w.attach(t.Context(), a); len(reply.Failed) > 0 {
		t.Fatal(reply.Failed)
	}
	return w
}

func (h *warehouse) history(t testing.TB, lines ...string) wire.SystemTable {
	t.Helper()
	f, err := os.CreateTemp(h.dir, "history-*.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(lines, "\n") + "\n"); err != nil {
		t.Fatal(err)
	}
	return wire.SystemTable{Name: "history", File: f.Name(), Columns: []connectors.Column{
		{Name: "at", Type: "TIMESTAMP"}, {Name: "instance", Type: "VARCHAR"}, {Name: "ok", Type: "BOOLEAN"}}}
}

// answers takes what a worker writes.
type answers struct{ strings.Builder }

// TestGate holds the gate against every statement of the table: what is denied
// never reaches the engine with the data, and what is not runs to its end.
func TestGate(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	if err := w.makeViews(t.Context(), sortedKeys(w.views), nil); err != nil {
		t.Fatal(err)
	}
	before, files := w.engineTables(t), everyFile(t, h.dir, h.temp)
	for _, test := range gateCases(t) {
		_, err := w.query(t.Context(), 1, wire.Query{SQL: test.sql, Format: wire.FormatJSON, MaxRows: 2000})
		_, admitted := w.gate.admit(t.Context(), test.sql)
		short := test.sql[:min(len(test.sql), 160)]
		switch {
		case test.run && err != nil:
			t.Errorf("does not run: %s\n\t%v", short, err)
		case !test.run && admitted == nil:
			t.Errorf("is let through: %s\n\t%v", short, err)
		case !test.run && !errors.As(admitted, new(*wire.Error)):
			t.Errorf("is denied without a reason for the user: %s\n\t%v", short, admitted)
		}
	}
	if after := w.engineTables(t); len(after) == 0 || !slices.Equal(after, before) {
		t.Errorf("the statements changed something: FuzzGate tells which\n%q\n%q", before, after)
	}
	if now := everyFile(t, h.dir, h.temp); !slices.Equal(now, files) {
		t.Errorf("the statements left files: FuzzGate tells which\n%q\n%q", files, now)
	}
}

// engineTables are all tables and views that there are, with their definitions.
func (w *worker) engineTables(t testing.TB) []string {
	t.Helper()
	var all []string
	err := w.engine.rows(t.Context(), "SELECT schema_name || '.' || view_name || ' ' || sql FROM duckdb_views() WHERE NOT internal "+
		"UNION ALL SELECT schema_name || '.' || table_name || ' ' || sql FROM duckdb_tables() "+
		"UNION ALL SELECT database_name FROM duckdb_databases() UNION ALL SELECT schema_name FROM duckdb_schemas() "+
		"UNION ALL SELECT name || '=' || coalesce(value, '') FROM duckdb_settings() "+
		"UNION ALL SELECT function_name FROM duckdb_functions() WHERE NOT internal UNION ALL SELECT name FROM duckdb_variables() ORDER BY ALL",
		func(row []any) error {
			text, _ := row[0].(string)
			all = append(all, text)
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestFunctionsAreReviewed fails when the engine has other functions than those
// that somebody looked at, which is so after every upgrade.
func TestFunctionsAreReviewed(t *testing.T) {
	e, known := testEngine(t), reviewed()
	there := map[string]bool{}
	err := e.rows(t.Context(), "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('scalar', 'aggregate', 'macro')",
		func(row []any) error {
			name, _ := row[0].(string)
			there[name] = true
			if _, ok := known[name]; !ok {
				t.Errorf("function %s is new: add it to gate_functions.txt, refused (- %s  why) or not", name, name)
			}
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if !there[name] {
			t.Errorf("function %s is no more: take it out of gate_functions.txt", name)
		}
	}
	for _, name := range []string{"current_setting", "getvariable", "nextval", "currval", "write_log", "sleep_ms", "pg_sleep",
		"json_serialize_plan", "txid_current", "current_query"} {
		if allowedFunctions()[name] {
			t.Errorf("%s is allowed", name)
		}
	}
}

// TestNearestNames has an error propose what was probably meant.
func TestNearestNames(t *testing.T) {
	w := inProcess(t, newWarehouse(t))
	for sql, hint := range map[string]string{
		"FROM ordres": "orders", "FROM shop.order": "shop.orders", "FROM custmers": "customers", "FROM sales.orders": "orders",
		"FROM zzzzzzzzz": "SHOW TABLES", "SELECT nam FROM orders": "name",
	} {
		_, err := w.query(t.Context(), 1, wire.Query{SQL: sql})
		told := w.told(err)
		if told.Code != wire.CodeNotFound || !strings.Contains(told.Hint, hint) {
			t.Errorf("%s: %s: %s (%s), want %s", sql, told.Code, told.Message, told.Hint, hint)
		}
	}
}

// FuzzGate runs what is let through on an engine that would read any file there
// is, and says so when it tried.
func FuzzGate(f *testing.F) {
	fuzzing := flag.Lookup("test.fuzz").Value.String() != ""
	for i, c := range gateCases(f) {
		if len(c.sql) < 4000 && (fuzzing || i%8 == 0) { // TestGate runs all of them
			f.Add(c.sql)
		}
	}
	h := newWarehouse(f)
	w := inProcess(f, h)
	if err := w.makeViews(f.Context(), sortedKeys(w.views), nil); err != nil {
		f.Fatal(err)
	}
	before := strings.Join(w.engineTables(f), "\n")
	files := strings.Join(everyFile(f, h.dir, h.temp), "\n")
	f.Fuzz(func(t *testing.T, sql string) {
		a, err := w.gate.admit(t.Context(), sql)
		if err != nil {
			if !errors.As(err, new(*wire.Error)) {
				t.Fatalf("refused without a reason: %v", err)
			}
			return
		}
		_, err = w.query(t.Context(), 1, wire.Query{SQL: sql, MaxRows: 100, MaxBytes: 1 << 20, Deadline: 2e9})
		if told := w.told(orNothing(err)); strings.Contains(told.Message, "Permission Error") || told.Code == wire.CodeFatal {
			t.Fatalf("%q reached for a file, or broke the engine: %v", a.text, err)
		}
		if after := strings.Join(w.engineTables(t), "\n"); after != before {
			t.Fatalf("%q changed something", a.text)
		}
		if now := strings.Join(everyFile(t, h.dir, h.temp), "\n"); now != files {
			t.Fatalf("%q left files:\n%s", a.text, now)
		}
	})
}

func orNothing(err error) error {
	if err == nil {
		return &wire.Error{}
	}
	return err
}

func everyFile(t testing.TB, dirs ...string) (all []string) {
	t.Helper()
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			all = append(all, path)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}
