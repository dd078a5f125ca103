//go:build cgo

package duck

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// columns are those that a table is kept with.
func (r *reader) columns(ctx context.Context, t *left, runs []run) ([]keptColumn, error) {
	wanted, err := t.wanted(runs)
	if err != nil {
		return nil, err
	}
	for i := range wanted {
		c := &wanted[i]
		if c.declared {
			continue
		}
		if c.to, err = r.infer(ctx, t, c.name, runs); err != nil {
			return nil, err
		}
	}
	if err := r.sniff(ctx, t, wanted, runs); err != nil {
		return nil, err
	}
	for i := range wanted {
		k, err := kept(wanted[i].to)
		if err != nil {
			return nil, wrong(badType, "", fmt.Sprintf("column %s: %v", wanted[i].name, err), "write it as VARCHAR, JSON or BLOB").of(t.name)
		}
		wanted[i].to = k
	}
	return wanted, nil
}

// wanted are the names of the columns in their order, with the types that are
// declared.
func (t *left) wanted(runs []run) ([]keptColumn, error) {
	var out []keptColumn
	at := map[string]int{}
	add := func(name, kind string) error {
		i, there := at[fold(name)]
		if !there {
			i = len(out)
			at[fold(name)], out = i, append(out, keptColumn{name: name})
		}
		if kind == "" {
			return nil
		}
		to, err := readType(kind)
		if err != nil {
			return wrong(badType, "", fmt.Sprintf("column %s: %v", name, err), "declare a type of DuckDB: VARCHAR, BIGINT, DOUBLE, DECIMAL(12,2), BOOLEAN, DATE, TIMESTAMP, JSON").of(t.name)
		}
		out[i].to, out[i].declared = to, true
		return nil
	}
	for _, c := range t.columns {
		if err := add(c.Name, c.Type); err != nil {
			return nil, err
		}
	}
	for _, c := range t.hints {
		if err := add(c.Name, c.Type); err != nil {
			return nil, err
		}
	}
	if len(t.columns) == 0 {
		for _, r := range runs {
			for _, n := range r.names {
				if err := add(n, ""); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.types)) {
		if _, there := at[fold(name)]; !there && !anyJSON(runs) {
			return nil, wrong(badColumns, "", fmt.Sprintf("column %s is declared, and not there", name), "name it as the file does, or leave its type out").of(t.name)
		}
		if err := add(name, t.types[name]); err != nil {
			return nil, err
		}
	}
	return out, t.present(out, runs)
}

// present says which column a file lacks that was to have it. In JSON a value
// that is null may be left out.
func (t *left) present(wanted []keptColumn, runs []run) error {
	if len(t.columns) == 0 {
		return nil
	}
	for _, r := range runs {
		for _, c := range wanted {
			if _, there := r.own(c.name); !there && !r.json() && r.names != nil {
				return wrong(badColumns, r.files[0].rel, "column "+c.name+" is not there; there are "+short(strings.Join(r.names, ", ")), "write all columns into each file").of(t.name)
			}
		}
	}
	return nil
}

func anyJSON(runs []run) bool { return slices.ContainsFunc(runs, run.json) }

// infer is the type that the runs agree on for a column that is not declared;
// nil where it is text whose type has to be sniffed.
func (r *reader) infer(ctx context.Context, t *left, name string, runs []run) (*duckType, error) {
	var all []string
	text := false
	for _, one := range runs {
		own, there := one.own(name)
		switch {
		case !there:
		case one.csv():
			text = true
		case one.types[own] != nil:
			if s := one.types[own].String(); !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	switch {
	case len(all) == 0 && text:
		return nil, nil
	case len(all) == 0 || text: // nowhere, or both as text and as something else
		return &duckType{name: "VARCHAR"}, nil
	case len(all) == 1:
		return readType(all[0])
	}
	parts := make([]string, len(all))
	for i, s := range all {
		parts[i] = "SELECT CAST(NULL AS " + s + ") AS x"
	}
	said, err := r.engine.one(ctx, "SELECT column_type FROM (DESCRIBE "+strings.Join(parts, " UNION ALL ")+")")
	kind, _ := said.(string)
	if err != nil {
		return nil, wrong(badType, "", fmt.Sprintf("column %s is %s", name, short(strings.Join(all, " and "))), "write it with one type in all files").of(t.name)
	}
	return readType(kind)
}

// guesses are the types that are looked for in text, the narrower ones first,
// each with the form that its values have. 007 is no number, and 1 no truth.
func guesses() []struct{ name, form string } {
	return []struct{ name, form string }{
		{"BOOLEAN", `(?i)true|false`},
		{"BIGINT", `-?(0|[1-9][0-9]{0,18})`},
		{"DOUBLE", `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`},
		{"DATE", `[0-9]{4}-[0-9]{2}-[0-9]{2}`},
		{"TIMESTAMP", `[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?Z?`},
	}
}

// fewRows rule most guesses out before all rows are asked.
const fewRows = 2000

// sniff finds the types of text by looking at every value of it.
func (r *reader) sniff(ctx context.Context, t *left, wanted []keptColumn, runs []run) error {
	open := map[int][]int{} // the guesses that are left of a column
	for i, c := range wanted {
		if c.to == nil {
			for g := range guesses() {
				open[i] = append(open[i], g)
			}
		}
	}
	if len(open) == 0 {
		return nil
	}
	for _, limit := range []string{fmt.Sprintf(" LIMIT %d", fewRows), ""} {
		filled := map[int]bool{}
		for _, one := range runs {
			if err := r.rule(ctx, t, wanted, one, limit, open, filled); err != nil {
				return err
			}
		}
		for i := range open {
			if !filled[i] && limit == "" {
				open[i] = nil // all null
			}
		}
	}
	for i, left := range open {
		wanted[i].to = &duckType{name: "VARCHAR"}
		if len(left) > 0 {
			wanted[i].to = &duckType{name: guesses()[left[0]].name}
		}
	}
	return nil
}

// rule takes away the guesses that a run does not bear out.
func (r *reader) rule(ctx context.Context, t *left, wanted []keptColumn, one run, limit string, open map[int][]int, filled map[int]bool) error {
	var asked, columns []string
	var of [][2]int // column, and guess or -1
	for _, i := range slices.Sorted(maps.Keys(open)) {
		own, there := one.own(wanted[i].name)
		if !there || len(open[i]) == 0 {
			continue
		}
		x := fmt.Sprintf("c%d", i)
		columns = append(columns, "nullif("+quoteName(own)+", '') AS "+x)
		asked, of = append(asked, "count("+x+") > 0"), append(of, [2]int{i, -1})
		for _, g := range open[i] {
			guess := guesses()[g]
			asked = append(asked, fmt.Sprintf("coalesce(bool_and(%s IS NULL OR (regexp_full_match(%s, %s) AND TRY_CAST(%s AS %s) IS NOT NULL)), true)", x, x, quoteText(guess.form), x, guess.name))
			of = append(of, [2]int{i, g})
		}
	}
	if len(asked) == 0 || one.names == nil {
		return nil
	}
	query := "SELECT " + strings.Join(asked, ", ") + " FROM (SELECT " + strings.Join(columns, ", ") + " FROM " + one.from(nil) + limit + ")"
	err := r.engine.rows(ctx, query, func(row []any) error {
		for k, at := range of {
			yes, _ := row[k].(bool)
			switch {
			case at[1] < 0:
				filled[at[0]] = filled[at[0]] || yes
			case !yes:
				open[at[0]] = slices.DeleteFunc(open[at[0]], func(g int) bool { return g == at[1] })
			}
		}
		return nil
	})
	return r.content(err, t, one.files...)
}

// sniffJSON finds the columns of JSON, unless all are declared.
func (r *reader) sniffJSON(ctx context.Context, t *left, one *run) error {
	declared := len(t.columns) > 0
	for _, c := range t.columns {
		declared = declared && (c.Type != "" || t.types[c.Name] != "")
		one.names = append(one.names, c.Name)
	}
	if declared {
		return nil
	}
	from := fromJSON(one.files, "sample_size = -1, union_by_name = true, field_appearance_threshold = 0, map_inference_threshold = -1, maximum_depth = 12")
	described, err := r.describe(ctx, from)
	if err != nil {
		return r.content(err, t, one.files...)
	}
	if len(described) == 1 && described[0].Name == "json" { // what DuckDB calls the column of nothing
		some, err := r.engine.one(ctx, "SELECT count(*) FROM (FROM "+from+" LIMIT 1)")
		if n, _ := some.(int64); err == nil && n == 0 {
			described = nil
		}
	}
	one.names, one.types, err = typed(one.files[0].rel, described)
	return err
}
