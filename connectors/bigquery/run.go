package bigquery

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/sirupsen/logrus"
)

// run is one Sync.
type run struct {
	source  *Source
	job     connectors.Job
	next    connectors.State
	remotes []connectors.Remote
}

// wish is one table, looked up and checked.
type wish struct {
	spec   connectors.TableSpec
	table  table
	schema schema // of the columns that are wanted
	some   bool   // not all columns
	key    []string
	past   connectors.Left // Request is empty where there is nothing to go on from
	keep   connectors.Left
	cursor *cursor
	result connectors.TableResult
}

type ask func(ctx context.Context, token string) (rowsPage, error)

// table reads one table and says what it came to.
func (r *run) table(ctx context.Context, spec connectors.TableSpec, past connectors.Left) (connectors.TableResult, error) {
	w, err := r.wish(ctx, spec, past)
	if err != nil {
		return connectors.TableResult{}, fmt.Errorf("plan table %s: %w", spec.Name, err)
	}
	if spec.QueryMode == desired.QueryRemote {
		return r.remote(w)
	}
	if r.job.Log != nil {
		r.job.Log.WithFields(logrus.Fields{"table": spec.Name, "strategy": spec.Strategy, "columns": len(w.schema.Fields)}).Debug("reading a table")
	}
	switch {
	case spec.Query != "":
		err = r.query(ctx, w, spec.Query)
	case spec.Strategy == connectors.Incremental:
		err = r.incremental(ctx, w)
	case spec.Strategy == connectors.Partitioned:
		err = r.partitioned(ctx, w)
	default:
		err = r.whole(ctx, w)
	}
	if err != nil {
		return connectors.TableResult{}, fmt.Errorf("read table %s: %w", spec.Name, err)
	}
	if spec.Strategy == connectors.Incremental || spec.Strategy == connectors.Partitioned {
		r.next.Tables[spec.Name] = w.keep
	}
	return w.result, nil
}

// remote says where a table is, which stays where it is.
func (r *run) remote(w *wish) (connectors.TableResult, error) {
	spec, none := w.spec, connectors.TableResult{}
	switch {
	case spec.Query != "" || spec.Where != "" || w.some || len(spec.Options) > 0 || (spec.Strategy != "" && spec.Strategy != connectors.Full):
		return none, connectors.WithHint(fmt.Errorf("plan table %s: a remote table is there as it is: it has no query, where, columns, options or strategy", spec.Name), "Ask the table with a WHERE, or make it local or materialized")
	case !w.table.stored():
		return none, connectors.WithHint(fmt.Errorf("plan table %s: it is of type %s, whose rows cannot be read from outside", spec.Name, w.table.Type), "Make it local, or materialized with a query")
	}
	remote := r.source.remote(w.table.Reference.Project)
	if !slices.Contains(r.remotes, remote) {
		r.remotes = append(r.remotes, remote)
	}
	w.result.Remote = &connectors.RemoteTable{Alias: remote.Alias, Schema: w.table.Reference.Dataset, Table: w.table.Reference.Table}
	if w.table.Rows != nil {
		w.result.Rows = int64(*w.table.Rows)
	}
	return w.result, nil
}

// sql selects the columns that are wanted.
func (w *wish) sql(conditions ...string) string {
	names := make([]string, 0, len(w.schema.Fields))
	for _, f := range w.schema.Fields {
		names = append(names, "`"+f.Name+"`")
	}
	if w.spec.Where != "" {
		conditions = append(conditions, "(\n"+w.spec.Where+"\n)")
	}
	sql := "SELECT " + strings.Join(names, ", ") + " FROM " + w.table.Reference.sql()
	if len(conditions) > 0 {
		sql += " WHERE " + strings.Join(conditions, " AND ")
	}
	return sql
}

// whole reads all rows: by listing them, which costs nothing, where they are
// stored and all of them are wanted, else by a query.
func (r *run) whole(ctx context.Context, w *wish) error {
	if w.table.stored() && w.spec.Where == "" {
		return r.copy(ctx, w, "", r.list(w, ""))
	}
	return r.query(ctx, w, w.sql())
}

func (r *run) query(ctx context.Context, w *wish, sql string, parameters ...parameter) error {
	if w.spec.Query == "" { // that of a query was asked about before
		planned, err := r.source.plan(ctx, sql, parameters...)
		if err != nil {
			return err
		}
		if !w.schema.like(planned) {
			return errors.New("its columns changed while it was read")
		}
	}
	ref, err := r.source.execute(ctx, sql, parameters...)
	if err != nil {
		return err
	}
	return r.copy(ctx, w, "", r.source.results(ref))
}

// like reports whether two schemas have the same fields. The result of a query
// does not tell of what size its numbers are, nor that a column is never NULL.
func (s schema) like(o schema) bool {
	return slices.EqualFunc(s.Fields, o.Fields, func(a, b field) bool {
		return a.Name == b.Name && (a.Mode == "REPEATED") == (b.Mode == "REPEATED") && canonical(a.Type) == canonical(b.Type) && schema{a.Fields}.like(schema{b.Fields})
	})
}

// canonical is the name of a type in GoogleSQL.
func canonical(kind string) string {
	switch kind {
	case "INTEGER":
		return "INT64"
	case "FLOAT":
		return "FLOAT64"
	case "BOOLEAN":
		return "BOOL"
	case "RECORD":
		return "STRUCT"
	}
	return kind
}

// list asks for pages of a table's rows, or of those of a partition.
func (r *run) list(w *wish, partition string) ask {
	path := w.table.Reference.path()
	if partition != "" {
		path += "$" + partition
	}
	return func(ctx context.Context, token string) (page rowsPage, err error) {
		query := url.Values{"maxResults": {strconv.Itoa(pageRows)}, "formatOptions.useInt64Timestamp": {"true"}}
		if w.some {
			names := make([]string, 0, len(w.schema.Fields))
			for _, f := range w.schema.Fields {
				names = append(names, f.Name)
			}
			query.Set("selectedFields", strings.Join(names, ","))
		}
		if token != "" {
			query.Set("pageToken", token)
		}
		return page, r.source.get(ctx, path+"/data", query, &page)
	}
}

// copy writes all pages into a file. One with fewer rows than the service says is
// not taken for whole.
func (r *run) copy(ctx context.Context, w *wish, part string, pages ask) error {
	to, err := create(r.job.Dir, w.spec.Name, part, w.schema, r.source.settings.MaxBytes)
	if err != nil {
		return err
	}
	defer to.file.Close() // for the ways out that have an error already
	if w.cursor != nil {
		to.cursor = w.cursor.at
	}
	total := int64(0)
	err = paged(ctx, func(token string) (string, error) {
		page, err := pages(ctx, token)
		if err != nil {
			return "", err
		}
		if len(page.Schema.Fields) > 0 && !w.schema.like(page.Schema) {
			return "", errors.New("its columns changed while it was read")
		}
		if page.Total != nil {
			total = int64(*page.Total)
		}
		for _, row := range page.Rows {
			if err := to.row(row); err != nil {
				return "", fmt.Errorf("row %d: %w", to.rows+1, err)
			}
		}
		if r.job.Progress != nil {
			r.job.Progress(w.spec.Name, w.result.Rows+to.rows, total)
		}
		return page.Next, nil
	})
	if err != nil {
		return err
	}
	if to.rows < total {
		return connectors.WithHint(fmt.Errorf("%d of %d rows came", to.rows, total), "It changed while it was read, or a page is missing; it is tried again with the next run")
	}
	bytes, err := to.close()
	w.result.Rows += to.rows
	w.result.Bytes += bytes
	w.keep.Cursor = to.newest
	return err
}

// incremental reads what the cursor says is new, less the overlap. Rows without a
// cursor come each time.
func (r *run) incremental(ctx context.Context, w *wish) error {
	if w.past.Cursor == "" {
		return r.whole(ctx, w)
	}
	since, err := w.cursor.since(w.past.Cursor)
	if err != nil {
		return err
	}
	name := "`" + w.schema.Fields[w.cursor.at].Name + "`"
	if err := r.query(ctx, w, w.sql("("+name+" >= @since OR "+name+" IS NULL)"), named("since", w.cursor.kind, since)); err != nil {
		return err
	}
	kind := w.schema.Fields[w.cursor.at].Type
	if w.keep.Cursor != "" && later(kind, w.past.Cursor, w.keep.Cursor) == w.keep.Cursor {
		w.result.Changes = true
		return nil
	}
	discard(r.job.Dir, w.spec.Name)
	w.result.Rows, w.result.Bytes = 0, 0
	w.result.Warnings = append(w.result.Warnings, "the greatest "+name+" is less than it was: the table was read whole")
	return r.whole(ctx, w)
}
