//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	"github.com/fairlead/fairlead/desired"
)

// foreign is the name under which the file of somebody else is attached.
const foreign = "taken"

// extract reads an extract.duckdb. Nothing that its author wrote is run: tables
// are scanned, and views are only looked at.
type extract struct {
	*reader
	rel    string // what people call the file
	policy wire.RemotePolicy
	data   map[string]*left // what is under data/, by table
	at     time.Time

	bases map[string]string // CREATE TABLE, by name
	views map[string]string // CREATE VIEW
}

const metaColumns = `CREATE TABLE _meta (table_name VARCHAR NOT NULL, description VARCHAR, rows BIGINT, size_bytes BIGINT, extracted_at TIMESTAMP, query_mode VARCHAR DEFAULT 'local')`

// read lists the tables that _meta names. An error says that the file as a whole
// is not good.
func (x *extract) read(ctx context.Context) (map[string]*left, []connectors.Remote, error) {
	if err := x.catalog(ctx); err != nil {
		return nil, nil, err
	}
	if err := x.columnsAre(ctx, "_meta", "table_name VARCHAR", "description VARCHAR", "rows INTEGER", "size_bytes INTEGER", "extracted_at TIMESTAMP", "query_mode VARCHAR"); err != nil {
		return nil, nil, err
	}
	remotes, err := x.remotes(ctx)
	if err != nil {
		return nil, nil, err
	}
	tables, folded := map[string]*left{}, map[string]bool{}
	rows := 0
	err = x.engine.rows(ctx, "SELECT left(table_name, 200), left(description, 4096), CAST(rows AS BIGINT), epoch_ms(CAST(extracted_at AS TIMESTAMP)), left(query_mode, 100) FROM "+foreign+".main._meta", func(row []any) error {
		if rows++; rows > x.limits.maxTables {
			return wrong(badTooMany, x.rel, fmt.Sprintf("_meta has more than %d rows", x.limits.maxTables), "leave fewer tables, or make connectors of some of them")
		}
		name, _ := row[0].(string)
		name = strings.Clone(name)
		if folded[fold(name)] {
			x.found.err(wrong(badDuplicate, x.rel, fmt.Sprintf("_meta names %q twice", short(name)), "write one row a table").of(short(name)), "")
			if t := tables[name]; t != nil && t.err == nil {
				t.err = wrong(badDuplicate, x.rel, "_meta names it twice", "write one row a table").of(name)
			}
			return nil
		}
		folded[fold(name)] = true
		t := x.row(name, row)
		if t != nil {
			tables[name] = t
		}
		return nil
	})
	if err != nil {
		return nil, nil, x.content(err, &left{base: "_meta"}, leftFile{path: x.rel, rel: x.rel})
	}
	for name, t := range tables {
		if t.err == nil {
			t.err = x.resolve(ctx, name, t, remotes)
		}
	}
	return tables, remotes, nil
}

// catalog lists the tables and views of the file, by text alone.
func (x *extract) catalog(ctx context.Context) error {
	x.bases, x.views = map[string]string{}, map[string]string{}
	for _, what := range []struct {
		query string
		into  map[string]string
	}{
		{"SELECT table_name, sql FROM duckdb_tables() WHERE database_name = '" + foreign + "' AND schema_name = 'main'", x.bases},
		{"SELECT view_name, sql FROM duckdb_views() WHERE NOT internal AND database_name = '" + foreign + "' AND schema_name = 'main'", x.views},
	} {
		err := x.engine.rows(ctx, what.query, func(row []any) error {
			if len(what.into) > 4*x.limits.maxTables {
				return wrong(badTooMany, x.rel, fmt.Sprintf("it has more than %d tables or views", 4*x.limits.maxTables), "leave fewer tables, or make connectors of some of them")
			}
			name, _ := row[0].(string)
			sql, _ := row[1].(string)
			what.into[strings.Clone(name)] = strings.Clone(sql)
			return nil
		})
		if err != nil {
			return x.content(err, &left{base: "catalog"}, leftFile{path: x.rel, rel: x.rel})
		}
	}
	return nil
}

// columnsAre checks that a table of the contract has the columns of it. INTEGER
// stands for any whole number.
func (x *extract) columnsAre(ctx context.Context, name string, want ...string) error {
	hint := "create it as " + metaColumns
	sql, ok := x.bases[name]
	if !ok {
		return wrong(badMeta, x.rel, "there is no table "+name, hint)
	}
	if generated(sql) {
		return wrong(badMeta, x.rel, name+" has a generated column", hint)
	}
	have := map[string]string{}
	err := x.engine.rows(ctx, "SELECT name, type FROM pragma_table_info("+quoteText(foreign+".main."+quoteName(name))+")", func(row []any) error {
		have[fmt.Sprint(row[0])] = fmt.Sprint(row[1])
		return nil
	})
	if err != nil {
		return x.content(err, &left{base: name}, leftFile{path: x.rel, rel: x.rel})
	}
	for _, w := range want {
		column, kind, _ := strings.Cut(w, " ")
		is, there := have[column]
		t, err := readType(is)
		switch {
		case !there:
			return wrong(badMeta, x.rel, fmt.Sprintf("%s has no column %s", name, column), hint)
		case err != nil, kind == "INTEGER" && !t.integer(), kind == "TIMESTAMP" && !strings.HasPrefix(t.name, kind), kind == "VARCHAR" && t.name != kind:
			return wrong(badMeta, x.rel, fmt.Sprintf("column %s of %s is %s", column, name, short(is)), hint)
		}
	}
	return nil
}

// generated reports whether a table has a column that is an expression, which
// would be run at each scan. A text that says so counts too.
func generated(sql string) bool { return strings.Contains(strings.ToUpper(sql), "GENERATED ALWAYS AS") }

// row takes one row of _meta; nil when its name is none.
func (x *extract) row(name string, row []any) *left {
	t := &left{name: name, mode: desired.QueryLocal, at: x.at}
	if !connectors.ValidName(name) || strings.HasPrefix(name, "_") && (name == "_meta" || name == "_remote_attach") {
		x.found.err(wrong(badName, x.rel, fmt.Sprintf("%q is no name of a table", short(name)), "use letters, digits and _, up to 64, not a digit first").of(short(name)), "")
		return nil
	}
	if s, ok := row[1].(string); ok {
		t.description = strings.Clone(s)
	}
	if n, ok := row[2].(int64); ok {
		t.rows = &n
	}
	if ms, ok := row[3].(int64); ok {
		t.at = time.UnixMilli(ms).UTC()
	}
	if mode, ok := row[4].(string); ok {
		t.mode = desired.QueryMode(strings.Clone(mode))
	}
	if !slices.Contains([]desired.QueryMode{desired.QueryLocal, desired.QueryRemote, desired.QueryMaterialized}, t.mode) {
		t.err = wrong(badMode, x.rel, fmt.Sprintf("query_mode is %q", short(string(t.mode))), "it is local, remote or materialized").of(name)
	}
	return t
}

// resolve finds where the rows of a table are.
func (x *extract) resolve(ctx context.Context, name string, t *left, remotes []connectors.Remote) error {
	if sql, ok := x.bases[name]; ok {
		switch {
		case t.mode == desired.QueryRemote:
			return wrong(badMode, x.rel, "it is a table of the file, and query_mode says remote", "write local").of(name)
		case generated(sql):
			return wrong(badView, x.rel, "it has a generated column", "write the values of the column: no expression of an extract is run").of(name)
		}
		t.base = name
		return nil
	}
	sql, ok := x.views[name]
	if !ok {
		return wrong(badMissing, x.rel, "_meta names it, and the file has no table or view of this name", "create it, or take its row out of _meta").of(name)
	}
	if t.mode == desired.QueryRemote {
		return x.resolveRemote(ctx, sql, t, remotes)
	}
	files := x.data[name]
	if files == nil {
		return wrong(badMissing, x.rel, "it is a view, and there is no data/"+name+".parquet", viewHint).of(name)
	}
	t.files, t.parted = files.files, files.parted
	return errors.Join(files.err)
}

// resolveRemote reads where a remote table is.
func (x *extract) resolveRemote(ctx context.Context, sql string, t *left, remotes []connectors.Remote) error {
	bad := func(found string) error { return wrong(badView, x.rel, found, viewHint).of(t.name) }
	query, ok := selectOf(t.name, sql)
	if !ok || len(query) > maxText {
		return bad("its view is not SELECT * FROM alias.schema.table")
	}
	tree, err := x.engine.one(ctx, "SELECT CAST(json_serialize_sql("+quoteText(query)+") AS VARCHAR)")
	if err != nil {
		return bad("its view cannot be read: " + explain(err.Error()))
	}
	said, _ := tree.(string)
	remote, err := readRemote([]byte(said))
	if err != nil {
		return bad("its view: " + err.Error())
	}
	if !slices.ContainsFunc(remotes, func(r connectors.Remote) bool { return r.Alias == remote.Alias }) {
		return bad(fmt.Sprintf("its view reads alias %s, which _remote_attach does not have, or must not", remote.Alias))
	}
	t.remote = &remote
	return nil
}

const maxRemotes = 100

// remotes reads _remote_attach. What may not be attached is a problem, and left out.
func (x *extract) remotes(ctx context.Context) (out []connectors.Remote, err error) {
	const table = "_remote_attach"
	if _, ok := x.bases[table]; !ok {
		if _, view := x.views[table]; view {
			x.found.err(wrong(badMeta, x.rel, "_remote_attach is a view", "make it a table"), "")
		}
		return nil, nil
	}
	if err := x.columnsAre(ctx, table, "alias VARCHAR", "extension VARCHAR", "url VARCHAR", "token_env VARCHAR"); err != nil {
		return nil, err
	}
	rows := 0
	err = x.engine.rows(ctx, "SELECT left(alias, 200), left(extension, 200), left(url, 4096), left(token_env, 200) FROM "+foreign+".main."+table, func(row []any) error {
		if rows++; rows > maxRemotes {
			return wrong(badTooMany, x.rel, fmt.Sprintf("_remote_attach has more than %d rows", maxRemotes), "attach fewer databases")
		}
		texts := [4]string{}
		for i := range texts {
			s, _ := row[i].(string)
			texts[i] = strings.Clone(s)
		}
		r := connectors.Remote{Alias: texts[0], Extension: texts[1], URL: texts[2], TokenEnv: texts[3]}
		if f := checkRemote(r, x.policy); f != nil {
			f.File = x.rel
			x.found.err(f, "")
			return nil
		}
		if slices.ContainsFunc(out, func(o connectors.Remote) bool { return fold(o.Alias) == fold(r.Alias) }) {
			x.found.err(wrong(badDuplicate, x.rel, "_remote_attach has alias "+r.Alias+" twice", "write one row an alias"), "")
			return nil
		}
		out = append(out, r)
		return nil
	})
	if err != nil {
		return nil, x.content(err, &left{base: table})
	}
	return out, nil
}

// baseRelation reads a base table.
func (r *reader) baseRelation(ctx context.Context, t *left) (relation, error) {
	from := foreign + ".main." + quoteName(t.base)
	described, err := r.describe(ctx, from)
	if err != nil {
		return relation{}, r.content(err, t)
	}
	names, types, err := typed("", described)
	if err != nil {
		return relation{}, err
	}
	if f := checkColumns("", names); f != nil {
		return relation{}, f
	}
	wanted := make([]keptColumn, len(names))
	list := make([]string, len(names))
	rel := relation{}
	for i, n := range names {
		to := types[n]
		if declared, ok := t.types[n]; ok {
			if to, err = readType(declared); err != nil {
				return relation{}, wrong(badType, "", fmt.Sprintf("column %s: %v", n, err), "declare a type of DuckDB")
			}
		}
		if to, err = kept(to); err != nil {
			return relation{}, wrong(badType, "", fmt.Sprintf("column %s: %v", n, err), "write it as VARCHAR, JSON or BLOB")
		}
		wanted[i] = keptColumn{name: n, to: to}
		list[i] = fromValue(quoteName(n), n, types[n], to) + " AS " + quoteName(n)
		rel.columns = append(rel.columns, connectors.Column{Name: n, Type: to.String()})
	}
	rel.wants = wanted
	rel.pieces = []piece{{query: "SELECT " + strings.Join(list, ", ") + " FROM " + from}}
	return rel, nil
}
