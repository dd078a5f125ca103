//go:build cgo

package duck

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// table is something to read from.
func (w *walk) table(v any, s *scope) error {
	if t, ok := v.(map[string]any); ok {
		switch t["type"] {
		case "BASE_TABLE":
			if err := w.base(t, s); err != nil {
				return err
			}
		case "SHOW_REF":
			if err := w.show(t); err != nil {
				return err
			}
		}
		if kind, _ := t["type"].(string); w.gate.rules.tables[kind].fields == nil {
			return unknown("a kind of table (" + kind + ")")
		}
	}
	return w.object(v, "type", w.gate.rules.tables, s)
}

// base is a table by its name: one of WITH, or one that is published.
func (w *walk) base(t map[string]any, s *scope) error {
	catalog, _ := t["catalog_name"].(string)
	schema, _ := t["schema_name"].(string)
	name, _ := t["table_name"].(string)
	full := name
	if schema != "" {
		full = schema + "." + name
	}
	with := catalog == "" && s.has(lower(full))
	if lower(catalog) == "memory" || catalog == "" {
		if lower(schema) == "main" {
			full = name
		}
		if !strings.Contains(name, ".") && !strings.Contains(schema, ".") && w.gate.tables[lower(full)] != "" {
			w.tables = append(w.tables, lower(full)) // also beside one of WITH, should the engine see it otherwise
			return nil
		}
	}
	if with {
		return nil
	}
	return w.gate.missing(catalog, schema, name)
}

// missing says why a table cannot be read.
func (g *gate) missing(catalog, schema, name string) error {
	full := strings.Join(slices.DeleteFunc([]string{catalog, schema, name}, func(s string) bool { return s == "" }), ".")
	low := lower(full)
	switch {
	case catalog != "" || !regexp.MustCompile(`^[\p{L}\p{N}_ .$-]*$`).MatchString(full) || regexp.MustCompile(`\.(csv|tsv|parquet|json|ndjson|duckdb|db|txt|gz)$`).MatchString(low):
		return refused(fmt.Sprintf("%q is not a table: files, addresses and other databases cannot be read", full), g.listed())
	case strings.HasPrefix(low, "duckdb_"), strings.HasPrefix(low, "pragma_"), strings.HasPrefix(low, "sqlite_"),
		strings.HasPrefix(low, "pg_"), strings.HasPrefix(low, "information_schema"), strings.HasPrefix(low, "main.duckdb_"):
		return refused(fmt.Sprintf("%q is the engine's own and cannot be read", full), g.listed())
	}
	hint := g.listed()
	if near := g.nearest(low); len(near) > 0 {
		hint = "Did you mean " + strings.Join(near, ", ") + "?"
	}
	return &wire.Error{Code: wire.CodeNotFound, Message: fmt.Sprintf("there is no table %s", full), Hint: hint}
}

func (g *gate) listed() string {
	return "SHOW TABLES lists what can be read; DESCRIBE name says what is in it."
}

// nearest are the published names that are most like one.
func (g *gate) nearest(name string) []string {
	type near struct {
		name string
		far  int
	}
	var found []near
	_, alone, qualified := strings.Cut(name, ".")
	for low, written := range g.tables {
		far := distance(name, low)
		if _, table, ok := strings.Cut(low, "."); ok && !qualified {
			far = min(far, distance(name, table)+1)
		} else if qualified && !ok {
			far = min(far, distance(alone, low)+1)
		}
		if far <= 1+len(name)/3 {
			found = append(found, near{written, far})
		}
	}
	slices.SortFunc(found, func(a, b near) int {
		if a.far != b.far {
			return a.far - b.far
		}
		return strings.Compare(a.name, b.name)
	})
	var out []string
	for _, n := range found[:min(3, len(found))] {
		out = append(out, n.name)
	}
	return out
}

// distance is how many letters differ (Levenshtein's), of names, which are short.
func distance(a, b string) int {
	if len(a) > 128 || len(b) > 128 {
		return 128
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := before
			if a[i] != b[j] {
				cost = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// show is DESCRIBE, SUMMARIZE and SHOW. What has a query is checked with it; the
// rest would list more than what is published.
func (w *walk) show(t map[string]any) error {
	kind, _ := t["show_type"].(string)
	catalog, _ := t["catalog_name"].(string)
	schema, _ := t["schema_name"].(string)
	name, _ := t["table_name"].(string)
	switch {
	case (kind == "DESCRIBE" || kind == "SUMMARY") && t["query"] != nil && schema == "" && name == "":
		return nil
	case kind == "SHOW_UNQUALIFIED" && name == `"tables"` && schema == "":
		w.lists = append(w.lists, "main")
		return nil
	case kind == "SHOW_FROM" && catalog == "" && (w.gate.sources[lower(schema)] || lower(schema) == "main"):
		w.lists = append(w.lists, lower(schema))
		return nil
	}
	return refused("this SHOW is not allowed", "SHOW TABLES, SHOW TABLES FROM a source, DESCRIBE and SUMMARIZE are.")
}

// tableFunction is a function that makes rows. Those here make them of their
// arguments alone.
func (w *walk) tableFunction(v any, s *scope) error {
	f, ok := v.(map[string]any)
	if !ok || f["class"] != "FUNCTION" {
		return unknown("a function")
	}
	name, _ := f["function_name"].(string)
	if !slices.Contains([]string{"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}, lower(name)) {
		return refused(fmt.Sprintf("the table function %s is not allowed", name), w.gate.listed())
	}
	shapes := map[string]shape{"FUNCTION": {"FUNCTION", fields("class type alias query_location distinct is_operator function_name",
		map[string]rule{"schema": (*walk).schema, "catalog": (*walk).catalog, "children": each((*walk).expression),
			"filter": isNothing, "order_bys": (*walk).modifier, "export_state": isFalse})}}
	return w.object(v, "class", shapes, s)
}
