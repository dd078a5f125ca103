//go:build cgo

package duck

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// reader reads what a connector left.
type reader struct {
	engine *engine
	found  *findings
	limits buildLimits
	taken  string // where the database is that was taken, which nobody needs to know
}

// relation is how a table is read: SQL that gives its rows with the types that
// they are kept in.
type relation struct {
	columns []connectors.Column
	pieces  []piece
	wants   []keptColumn
}

// piece is a part of a relation; of a table without parts there is one.
type piece struct {
	part  string
	query string
	runs  []run
}

// run is some files of a table that are read in the same way.
type run struct {
	files []leftFile
	head  csvHead
	names []string             // as the files have them
	types map[string]*duckType // of names; nil where all is text
}

func (r run) json() bool { return r.files[0].format == "json" || r.files[0].format == "ndjson" }
func (r run) csv() bool  { return r.files[0].format == "csv" || r.files[0].format == "tsv" }

// keptColumn is a column as it is kept, with how it is read.
type keptColumn struct {
	name     string
	to       *duckType
	declared bool
}

// relation finds out how the files of a table are read.
func (r *reader) relation(ctx context.Context, t *left) (relation, error) {
	if t.base != "" {
		return r.baseRelation(ctx, t)
	}
	runs, err := r.runs(ctx, t)
	if err != nil {
		return relation{}, err
	}
	columns, err := r.columns(ctx, t, runs)
	if err != nil {
		return relation{}, err
	}
	rel := relation{wants: columns}
	for _, c := range columns {
		rel.columns = append(rel.columns, connectors.Column{Name: c.name, Type: c.to.String()})
	}
	if f := checkColumns(t.name, names(columns)); f != nil {
		return relation{}, f
	}
	if !t.parted {
		rel.pieces = []piece{{query: union(runs, columns), runs: runs}}
		return rel, nil
	}
	for _, run := range runs {
		for _, f := range run.files {
			one := run
			one.files = []leftFile{f}
			rel.pieces = append(rel.pieces, piece{part: f.part, query: union(wrap(one), columns), runs: wrap(one)})
		}
	}
	return rel, nil
}

func wrap(r run) []run { return []run{r} }

func names(columns []keptColumn) []string {
	out := make([]string, len(columns))
	for i, c := range columns {
		out[i] = c.name
	}
	return out
}

// union is the SQL of all runs, in their order: of several rows of a key the
// last counts. Without files it gives no row.
func union(runs []run, columns []keptColumn) string {
	if len(runs) == 0 {
		return noRows(columns)
	}
	all := make([]string, len(runs))
	for i, r := range runs {
		all[i] = r.query(columns)
	}
	return strings.Join(all, " UNION ALL ")
}

func noRows(columns []keptColumn) string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = "CAST(NULL AS " + c.to.String() + ") AS " + quoteName(c.name)
	}
	return "SELECT " + strings.Join(list, ", ") + " WHERE false"
}

// query is the SQL of one run.
func (r run) query(columns []keptColumn) string {
	if r.names == nil {
		return noRows(columns)
	}
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = r.expression(c) + " AS " + quoteName(c.name)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + r.from(columns)
}

// own is the name that a column has in the files.
func (r run) own(name string) (string, bool) {
	if slices.Contains(r.names, name) {
		return name, true
	}
	i := slices.IndexFunc(r.names, func(n string) bool { return fold(n) == fold(name) })
	if i < 0 {
		return "", false
	}
	return r.names[i], true
}

// text is the expression of a column's text; ok is false where it has none.
func (r run) text(c keptColumn) (x string, ok bool) {
	own, there := r.own(c.name)
	switch {
	case !there || r.names == nil:
		return "", false
	case r.csv() && c.to.name != "VARCHAR":
		return "nullif(" + quoteName(own) + ", '')", true
	case r.csv(), r.json() && c.declared && !c.raw():
		return quoteName(own), true
	}
	return "", false
}

// raw says that the value of JSON is cast as JSON, and not as its text.
func (c keptColumn) raw() bool { return c.to.nested() || c.to.name == "JSON" }

// expression gives a column of the files in the type that it is kept in.
func (r run) expression(c keptColumn) string {
	if x, ok := r.text(c); ok {
		return fromText(x, c.name, c.to)
	}
	own, there := r.own(c.name)
	switch {
	case !there:
		return "CAST(NULL AS " + c.to.String() + ")"
	case r.json() && c.declared:
		return "CAST(" + quoteName(own) + " AS " + c.to.String() + ")"
	}
	return fromValue(quoteName(own), c.name, r.types[own], c.to)
}

// from is the table function that reads the files.
func (r run) from(columns []keptColumn) string {
	switch {
	case r.csv():
		return fromCSV(r.files, r.head)
	case r.json():
		list := []string{}
		for _, c := range columns {
			own, there := r.own(c.name)
			if !there {
				continue
			}
			as := "VARCHAR"
			if !c.declared {
				as = r.types[own].String()
			} else if c.raw() {
				as = "JSON"
			}
			list = append(list, quoteText(own)+": "+quoteText(as))
		}
		return fromJSON(r.files, "columns = {"+strings.Join(list, ", ")+"}, auto_detect = false")
	}
	return "read_parquet(" + pathList(r.files) + ", hive_partitioning = false)"
}

func fromJSON(files []leftFile, more string) string {
	format, compression := "auto", "uncompressed"
	if files[0].format == "ndjson" {
		format = "newline_delimited"
	}
	if files[0].gzip {
		compression = "gzip"
	}
	return fmt.Sprintf("read_json(%s, format = '%s', records = true, compression = '%s', maximum_object_size = %d, %s)",
		pathList(files), format, compression, maxRow, more)
}

// runs joins files that follow each other and are read in the same way.
func (r *reader) runs(ctx context.Context, t *left) ([]run, error) {
	var out []run
	for _, f := range t.files {
		one, err := r.run(ctx, t, f)
		if err != nil {
			return nil, err
		}
		if last := len(out) - 1; last >= 0 && out[last].joins(one) {
			out[last].files = append(out[last].files, one.files...)
			continue
		}
		out = append(out, one)
	}
	for i := range out {
		if out[i].json() {
			if err := r.sniffJSON(ctx, t, &out[i]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (r run) joins(o run) bool {
	a, b := r.files[0], o.files[0]
	if a.format != b.format || a.gzip != b.gzip || r.head.delim != o.head.delim || !slices.Equal(r.names, o.names) {
		return false
	}
	for n, t := range r.types {
		if t.String() != o.types[n].String() {
			return false
		}
	}
	return true
}

// run looks at one file.
func (r *reader) run(ctx context.Context, t *left, f leftFile) (run, error) {
	one := run{files: []leftFile{f}}
	switch f.format {
	case "parquet":
		described, err := r.describe(ctx, one.from(nil))
		if err != nil {
			return one, r.content(err, t, f)
		}
		one.names, one.types, err = typed(f.rel, described)
		return one, err
	case "csv", "tsv":
		head, err := f.head()
		if err != nil {
			return one, err
		}
		if head.names != nil {
			if f := checkColumns(f.rel, head.names); f != nil {
				return one, f
			}
		}
		if head.mixed {
			if f, err = f.even(r.limits.temp); err != nil {
				return one, err
			}
		}
		return run{files: []leftFile{f}, head: head, names: head.names}, nil
	}
	return one, nil
}

// typed reads the types of columns.
func typed(file string, described []connectors.Column) (names []string, types map[string]*duckType, err error) {
	types = map[string]*duckType{}
	for _, c := range described {
		t, err := readType(c.Type)
		if err != nil {
			return nil, nil, wrong(badType, file, fmt.Sprintf("column %s: %v", short(c.Name), err), "write the column with another type")
		}
		names, types[c.Name] = append(names, c.Name), t
	}
	return names, types, nil
}

// describe tells the columns of a table function.
func (r *reader) describe(ctx context.Context, from string) (out []connectors.Column, err error) {
	err = r.engine.rows(ctx, "DESCRIBE FROM "+from, func(row []any) error {
		if len(out) > maxColumns {
			return wrong(badColumns, "", fmt.Sprintf("there are more than %d columns", maxColumns), "write fewer columns, or rows of name and value")
		}
		name, _ := row[0].(string)
		kind, _ := row[1].(string)
		out = append(out, connectors.Column{Name: strings.Clone(name), Type: strings.Clone(kind)})
		return nil
	})
	return out, err
}
