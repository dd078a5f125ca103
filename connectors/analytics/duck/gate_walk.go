//go:build cgo

package duck

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// walk goes over a syntax tree. It refuses at the first thing that it does not
// know.
type walk struct {
	gate  *gate
	depth int
	// recursive is the name of the recursive query whose right side comes next.
	recursive string
	tables    []string // that were let pass, in lower case
	lists     []string // schemas of SHOW TABLES, likewise
}

// maxTree is how deep a tree may be, which is deeper than brackets: a sum of a
// hundred terms is a hundred deep. What the engine takes to plan one grows with
// the third power of that: 0.3 s for 200 terms, 3 s for 400.
const maxTree = 400

// scope are the names of WITH that can be seen at a place.
type scope struct {
	name  string // in lower case
	outer *scope
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.name == name {
			return true
		}
	}
	return false
}

func anything(*walk, any, *scope) error { return nil }

func isNothing(_ *walk, v any, _ *scope) error {
	if list, ok := v.([]any); v == nil || ok && len(list) == 0 {
		return nil
	}
	return refused("the statement has a part that is not allowed here, such as AT (VERSION => …)", "")
}

func isFalse(_ *walk, v any, _ *scope) error {
	if v == false || v == nil {
		return nil
	}
	return refused("EXPORT_STATE is not allowed", "")
}

// each checks every element of a list.
func each(r rule) rule {
	return func(w *walk, v any, s *scope) error {
		list, ok := v.([]any)
		if !ok && v != nil {
			return unknown("a list")
		}
		for _, element := range list {
			if err := r(w, element, s); err != nil {
				return err
			}
		}
		return nil
	}
}

func unknown(what string) error {
	return refused("the statement has "+what+" that Fairlead does not know", "")
}

// object checks the fields of a node by the shape of its kind.
func (w *walk) object(v any, key string, shapes map[string]shape, s *scope) error {
	if v == nil {
		return nil
	}
	if w.depth++; w.depth > maxTree {
		return refused("the statement is nested too deeply", "")
	}
	defer func() { w.depth-- }()
	node, ok := v.(map[string]any)
	kind, _ := node[key].(string)
	if !ok {
		return unknown("a node")
	}
	shape, ok := shapes[kind]
	if !ok {
		return unknownKind(kind)
	}
	if of, _ := node["type"].(string); !slices.Contains(strings.Fields(shape.types), of) {
		return unknown("an operation (" + of + ")")
	}
	for name, value := range node {
		r, ok := shape.fields[name]
		if !ok {
			return unknown("a part (" + kind + "." + name + ")")
		}
		if err := r(w, value, s); err != nil {
			return err
		}
	}
	return nil
}

func unknownKind(kind string) error {
	if kind == "PARAMETER" {
		return refused("parameters ($1, ?) have no values here", "Write the values into the statement.")
	}
	return unknown("a kind of expression (" + kind + ")")
}

func (w *walk) expression(v any, s *scope) error {
	return w.object(v, "class", w.gate.rules.expressions, s)
}
func (w *walk) modifier(v any, s *scope) error { return w.object(v, "type", w.gate.rules.modifiers, s) }

// query is a statement: a node with its parameters.
func (w *walk) query(v any, s *scope) error {
	if v == nil {
		return nil
	}
	q, ok := v.(map[string]any)
	if !ok {
		return unknown("a query")
	}
	for name, value := range q {
		list, _ := value.([]any)
		if name != "node" && (name != "named_param_map" || len(list) > 0) {
			return unknownKind("PARAMETER")
		}
	}
	return w.node(q["node"], s)
}

// node is a SELECT, a set operation or a recursive query. What WITH names comes
// into sight one after the other, as it does in the engine.
func (w *walk) node(v any, s *scope) error {
	n, _ := v.(map[string]any)
	ctes, _ := n["cte_map"].(map[string]any)
	for key := range ctes {
		if key != "map" {
			return unknown("a part (WITH." + key + ")")
		}
	}
	list, _ := ctes["map"].([]any)
	for _, entry := range list {
		name, err := w.cte(entry, s)
		if err != nil {
			return err
		}
		s = &scope{name, s}
	}
	if n["type"] == "RECURSIVE_CTE_NODE" {
		before := w.recursive
		w.recursive, _ = n["cte_name"].(string)
		defer func() { w.recursive = before }()
	}
	return w.object(v, "type", w.gate.rules.queries, s)
}

func (w *walk) cte(v any, s *scope) (string, error) {
	entry, _ := v.(map[string]any)
	name, _ := entry["key"].(string)
	cte, ok := entry["value"].(map[string]any)
	if !ok || len(entry) != 2 {
		return "", unknown("a WITH")
	}
	if err := cteName(name); err != nil {
		return "", err
	}
	for key, value := range cte {
		var err error
		switch key {
		case "aliases", "materialized":
		case "key_targets":
			err = each((*walk).expression)(w, value, s)
		case "query":
			err = w.query(value, s)
		default:
			err = unknown("a part (WITH." + key + ")")
		}
		if err != nil {
			return "", err
		}
	}
	return lower(name), nil
}

// cteName keeps names away that mean something to the engine where no table has
// them, a file or one of its own views, should it ever see another scope.
func cteName(name string) error {
	low := lower(name)
	for _, prefix := range []string{"duckdb_", "pragma_", "sqlite_", "pg_", "information_schema"} {
		if strings.HasPrefix(low, prefix) {
			return refused(fmt.Sprintf("WITH may not name a query %q", name), "Choose another name.")
		}
	}
	if !regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_ $]{0,127}$`).MatchString(name) {
		return refused(fmt.Sprintf("WITH may not name a query %q", name), "Use letters, digits and underscores.")
	}
	return nil
}

// recursion is the right side of a recursive query, which sees the query itself.
func (w *walk) recursion(v any, s *scope) error {
	if err := cteName(w.recursive); err != nil {
		return err
	}
	name := lower(w.recursive)
	return w.node(v, &scope{name, &scope{"recurring." + name, s}})
}

func (w *walk) check(v any, s *scope) error    { return w.pair(v, s, "when_expr", "then_expr") }
func (w *walk) replaced(v any, s *scope) error { return w.pair(v, s, "value", "key") }

// pair checks an object whose expressions are named; a text among them is plain.
func (w *walk) pair(v any, s *scope, names ...string) error {
	m, ok := v.(map[string]any)
	if !ok {
		return unknown("a pair")
	}
	for name, value := range m {
		if !slices.Contains(names, name) {
			return unknown("a part (" + name + ")")
		}
		if _, plain := value.(string); plain {
			continue
		}
		if err := w.expression(value, s); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) order(v any, s *scope) error { return w.pair(v, s, "type", "null_order", "expression") }

func (w *walk) pivot(v any, s *scope) error {
	m, ok := v.(map[string]any)
	if !ok {
		return unknown("a PIVOT")
	}
	for name, value := range m {
		var err error
		switch name {
		case "unpivot_names":
		case "pivot_enum":
			if value != "" {
				err = refused("PIVOT by an ENUM is not allowed", "Name the values: ON … IN (…).")
			}
		case "pivot_expressions":
			err = each((*walk).expression)(w, value, s)
		case "entries":
			err = each((*walk).pivotEntry)(w, value, s)
		case "subquery":
			err = w.node(value, s)
		default:
			err = unknown("a part (PIVOT." + name + ")")
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) pivotEntry(v any, s *scope) error {
	m, ok := v.(map[string]any)
	if !ok {
		return unknown("a PIVOT")
	}
	for name, value := range m {
		switch name {
		case "alias", "values":
		case "star_expr", "expr":
			if err := w.expression(value, s); err != nil {
				return err
			}
		default:
			return unknown("a part (PIVOT." + name + ")")
		}
	}
	return nil
}

// function is the name of a scalar or an aggregate function.
func (w *walk) function(v any, _ *scope) error {
	name, _ := v.(string)
	if !w.gate.functions[lower(name)] {
		return refused(fmt.Sprintf("the function %s is not allowed", name), "")
	}
	return nil
}

func (w *walk) schema(v any, _ *scope) error  { return w.oneOf(v, "", "main") }
func (w *walk) catalog(v any, _ *scope) error { return w.oneOf(v, "", "system") }

func (w *walk) oneOf(v any, allowed ...string) error {
	if name, ok := v.(string); !ok || !slices.Contains(allowed, name) {
		return refused(fmt.Sprintf("a function may not be named with %v", v), "Use the name of the function alone.")
	}
	return nil
}

func (w *walk) name(v any, _ *scope) error {
	if name, ok := v.(string); !ok || !regexp.MustCompile(`^[A-Za-z0-9_.]{1,64}$`).MatchString(name) {
		return refused(fmt.Sprintf("%v is not a collation", v), "")
	}
	return nil
}

// typed is the type of a cast. A type that the engine looks up is named alone.
func (w *walk) typed(v any, s *scope) error {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			var err error
			switch name {
			case "id", "type", "alias", "name", "size", "width", "scale", "first", "values", "values_count", "collation", "value", "is_null":
			case "catalog", "schema":
				err = isEmpty(value)
			case "extension_info":
				err = isNothing(w, value, s)
			case "type_info", "child_type", "child_types", "second", "user_type_modifiers":
				err = w.typed(value, s)
			default:
				err = unknown("a part (type." + name + ")")
			}
			if err != nil {
				return err
			}
		}
	case []any:
		return each((*walk).typed)(w, v, s)
	}
	return nil
}

func isEmpty(v any) error {
	if v == "" || v == nil {
		return nil
	}
	return refused("a type may not be named with a schema", "")
}
