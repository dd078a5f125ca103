//go:build cgo

package duck

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// engineViews are the views that the engine has, each with the text that it has.
func (w *worker) engineViews(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := w.engine.rows(t.Context(), "SELECT schema_name || '.' || view_name, sql FROM duckdb_views() WHERE NOT internal", func(row []any) error {
		name, _ := row[0].(string)
		all[name], _ = row[1].(string)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestViewsAreMadeWhenNamed holds what the engine has against what was asked for,
// and what is answered against what is attached.
func TestViewsAreMadeWhenNamed(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	there := func(want ...string) {
		t.Helper()
		if got := sortedKeys(w.engineViews(t)); !slices.Equal(got, want) {
			t.Errorf("the engine has %q, want %q", got, want)
		}
	}
	there()
	for _, step := range []struct {
		sql  string
		want string // a part of the answer
		have []string
	}{
		{"SELECT 1", "[1]", nil},
		{"WITH c AS (FROM CRM.Customers) SELECT count(*) FROM c", "[50]", []string{"crm.customers"}},
		{"SELECT (SELECT count(*) FROM memory.main.orders)", "[1000]", []string{"crm.customers", "main.orders"}},
		{"SHOW TABLES FROM shop", `["items"]` + "\n" + `["orders"]`, []string{"crm.customers", "main.orders", "shop.items", "shop.orders"}},
		{"SELECT string_agg(name, ',' ORDER BY name) FROM (SHOW TABLES)", `["customers,items,orders"]`, []string{"crm.customers", "main.customers", "main.items", "main.orders", "shop.items", "shop.orders"}},
		{"DESCRIBE shop.items", `"id"`, nil},
		{"SELECT count(*) FROM (SUMMARIZE items)", "[2]", nil},
	} {
		data, _, err := w.answer(t, wire.Query{SQL: step.sql})
		if err != nil || !strings.Contains(data, step.want) {
			t.Errorf("%s: %q, %v", step.sql, data, err)
		}
		if step.have != nil {
			there(step.have...)
		}
	}
	for name, text := range w.engineViews(t) {
		if made := name != "shop.orders" && name != "main.customers"; strings.Contains(text, "read_parquet") != made {
			t.Errorf("%s: %s", name, text)
		}
	}
	if w.count(t, "shop.orders") != "[1000]\n" { // which was listed before
		t.Error("what was listed cannot be read")
	}
}

// TestNoAnswerOfAnotherGeneration asks for every name before and after another
// generation, one that has other tables and other columns.
func TestNoAnswerOfAnotherGeneration(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	if err := w.makeViews(t.Context(), sortedKeys(w.views), []string{"main", "shop", "crm"}); err != nil {
		t.Fatal(err)
	}
	two := h.source(t, "shop", 2, map[string]string{"orders": "SELECT 'x' AS other FROM range(3)", "fresh": "SELECT 1 AS a"})
	// The one flat name is of another source now, the other is written in other letters.
	reply := w.attach(t.Context(), wire.Attach{Sources: []wire.Source{two}, Flat: map[string]string{"items": "", "fresh": "shop.fresh", "Customers": "shop.fresh"}})
	if len(reply.Failed) > 0 {
		t.Fatal(reply.Failed)
	}
	for sql, want := range map[string]string{
		"FROM orders LIMIT 1": `["x"]`, "FROM shop.orders LIMIT 1": `["x"]`, "FROM fresh": "[1]", "FROM customers": "[1]", "SELECT count(*) FROM crm.customers": "[50]",
		"WITH orders AS (FROM orders) SELECT count(*) FROM orders": "[3]", "SELECT count(*) FROM orders a, shop.orders b": "[9]",
		"SELECT string_agg(name, ',' ORDER BY name) FROM (SHOW TABLES)": `["Customers,fresh,orders"]`,
	} {
		if data, _, err := w.answer(t, wire.Query{SQL: sql}); err != nil || strings.TrimSpace(data) != want {
			t.Errorf("%s: %q, want %s, %v", sql, data, want, err)
		}
	}
	for _, name := range []string{"items", "shop.items"} {
		if _, there := w.engineViews(t)[name]; there {
			t.Errorf("%s is still there", name)
		}
	}
	if reply = w.attach(t.Context(), wire.Attach{Detach: []string{"shop"}, Flat: map[string]string{"Customers": "crm.customers", "orders": "", "fresh": ""}}); len(reply.Failed) > 0 {
		t.Error(reply.Failed)
	}
	if w.count(t, "customers") != "[50]\n" || len(w.engineViews(t)) != 2 {
		t.Errorf("the engine has %q", sortedKeys(w.engineViews(t)))
	}
}

// TestDamageAfterAttaching has a file become another one between the moment when
// it was looked at and the first statement that reads it: that one is told so in
// a way that has the files inspected, and the rest goes on.
func TestDamageAfterAttaching(t *testing.T) {
	h := newWarehouse(t)
	w := inProcess(t, h)
	path := filepath.Join(h.sources[0].Dir, h.sources[0].Tables[1].Files[0].Path)
	if err := os.WriteFile(path, []byte("PAR1 and a footer that is none \x10\x00\x00\x00PAR1"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		for _, sql := range []string{"SELECT count(*) FROM orders JOIN customers USING (id)", "DESCRIBE shop.orders"} {
			_, _, err := w.answer(t, wire.Query{SQL: sql})
			if told := w.told(orNothing(err)); told.Code != wire.CodeFailed && told.Code != wire.CodeNotFound {
				t.Errorf("%s: %+v", sql, told)
			}
		}
	}
	if have := w.engineViews(t); len(have) > 0 {
		t.Errorf("half of a statement's views were made: %q", sortedKeys(have))
	}
	if w.count(t, "customers") != "[50]\n" || w.count(t, "items") != "[100]\n" {
		t.Error("the other tables cannot be read")
	}
	if data, _, err := w.answer(t, wire.Query{SQL: "SELECT count(*) FROM (SHOW TABLES)"}); data != "[3]\n" {
		t.Errorf("SHOW TABLES: %q, %v", data, err)
	}
	reply := w.attach(t.Context(), wire.Attach{Sources: h.sources})
	if !strings.Contains(reply.Failed["shop"], "manifest says") || reply.Failed["crm"] != "" {
		t.Errorf("attached again: %+v", reply)
	}
}

// TestEachSourceIsSurveyed attaches many at once of which some are damaged.
func TestEachSourceIsSurveyed(t *testing.T) {
	h := many(t, 12)
	w := inProcess(t, &warehouse{dir: h.dir, temp: h.temp})
	for i, content := range map[int]string{3: "no Parquet", 7: "PAR1\x00\x00\x00\x00\x10\x00\x00\x00PAR1"} {
		table := &h.sources[i].Tables[4]
		path := filepath.Join(h.sources[i].Dir, table.Files[0].Path)
		table.Files[0].Size = int64(len(content))
		if err := errors.Join(os.Remove(path), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	h.sources[9].Tables[2].Columns = []connectors.Column{{Name: "NAME", Type: "VARCHAR"}, {Name: "none", Type: "VARCHAR"}}
	reply := w.attach(t.Context(), h.attach())
	if got := sortedKeys(reply.Failed); !slices.Equal(got, []string{"s3", "s7", "s9"}) || len(reply.Have) != 9 {
		t.Errorf("%+v", reply)
	}
	if !strings.Contains(reply.Failed["s9"], "t9_2 does not have a column none") || w.count(t, "t8_1") != "[1001]\n" {
		t.Errorf("%+v", reply)
	}
}

// TestFooterColumns takes the columns of a table out of files whose columns hold
// others, and are not all in each part.
func TestFooterColumns(t *testing.T) {
	h := &warehouse{dir: t.TempDir(), temp: t.TempDir()}
	h.source(t, "deep", 1, map[string]string{
		"a": "SELECT {'inner': 1, 'list': [{'leaf': 'x'}]} AS s, MAP {'k': 2} AS m, [[1]] AS l, 'b' AS Last",
		"b": "SELECT 1 AS s, 2 AS extra",
	})
	s := h.sources[0]
	s.Tables[0].Columns = append(s.Tables[0].Columns, connectors.Column{Name: "EXTRA", Type: "INTEGER"})
	s.Tables[0].Files = append(s.Tables[0].Files, s.Tables[1].Files...)
	w := inProcess(t, &warehouse{dir: h.dir, temp: h.temp})
	found, err := w.footers(t.Context(), source{Source: s})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{"l", "last", "m", "s"}, {"extra", "s"}} {
		if got := sortedKeys(found[filepath.Join(s.Dir, s.Tables[i].Files[0].Path)].columns); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", s.Tables[i].Name, got, want)
		}
	}
	if wrong := (source{Source: s}).lacks(found); wrong != nil {
		t.Error(wrong)
	}
	s.Tables[0].Columns[0].Name = "leaf"
	if wrong := (source{Source: s}).lacks(found); wrong == nil || !strings.Contains(wrong.Error(), "table a does not have a column leaf") {
		t.Errorf("a column inside of another: %v", wrong)
	}
}
