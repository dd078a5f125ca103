package bigquery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// wish looks a table up, or has a query read, and checks what is wanted of it.
func (r *run) wish(ctx context.Context, spec connectors.TableSpec, past connectors.Left) (w *wish, err error) {
	w = &wish{spec: spec, result: connectors.TableResult{Table: spec.Name, Outcome: connectors.OK}}
	if spec.Query != "" || spec.QueryMode == desired.QueryMaterialized {
		return w, r.asked(ctx, w)
	}
	if w.table, err = r.source.lookup(ctx, cmp.Or(spec.ID, spec.Name)); err != nil {
		return nil, err
	}
	if err := w.choose(); err != nil {
		return nil, err
	}
	if strings.Contains(spec.Where, ";") {
		return nil, connectors.WithHint(errors.New("where: must be one condition, without ;"), hintOf("invalidQuery"))
	}
	if w.key = spec.PrimaryKey; len(w.key) == 0 {
		w.key = w.table.Constraints.PrimaryKey.Columns
	}
	for _, k := range w.key {
		if w.schema.field(k) == nil {
			if len(spec.PrimaryKey) > 0 {
				return nil, fmt.Errorf("primary_key: column %s is not among those that are read", k)
			}
			w.key = nil
			break
		}
	}
	w.result.Columns, w.result.PrimaryKey, w.result.Description = w.schema.plain(), w.key, w.table.Description
	return w, w.strategy(past)
}

// asked has the query read, and refuses what has no meaning beside one.
func (r *run) asked(ctx context.Context, w *wish) (err error) {
	spec := w.spec
	switch {
	case strings.TrimSpace(spec.Query) == "":
		return connectors.WithHint(errors.New("query: is missing"), "Write the SELECT whose result is kept")
	case spec.Where != "" || len(spec.Columns) > 0 || len(spec.Options) > 0 || (spec.Strategy != "" && spec.Strategy != connectors.Full):
		return connectors.WithHint(errors.New("a query has no where, columns, options or strategy"), "Write them into the query")
	}
	if w.schema, err = r.source.plan(ctx, spec.Query); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	if err := distinct(w.schema); err != nil {
		return err
	}
	w.result.Columns, w.result.PrimaryKey = w.schema.plain(), spec.PrimaryKey
	return nil
}

// choose takes the columns that are wanted, in the table's own order.
func (w *wish) choose() error {
	all := w.table.Schema
	w.schema = all
	if len(w.spec.Columns) > 0 {
		w.schema, w.some = schema{}, true
		for _, f := range all.Fields {
			if slices.Contains(w.spec.Columns, f.Name) {
				w.schema.Fields = append(w.schema.Fields, f)
			}
		}
	}
	for i, name := range w.spec.Columns {
		if f := all.field(name); f == nil || f.Name != name {
			names := make([]string, 0, len(all.Fields))
			for _, f := range all.Fields {
				names = append(names, f.Name)
			}
			return connectors.WithHint(fmt.Errorf("columns: there is no %s", name), "There are "+strings.Join(names, ", "))
		}
		if slices.Contains(w.spec.Columns[:i], name) {
			return fmt.Errorf("columns: %s is named twice", name)
		}
	}
	return distinct(w.schema)
}

// distinct refuses columns that cannot stand in one table here, or in a query.
func distinct(s schema) error {
	seen := map[string]bool{}
	for _, f := range s.Fields {
		name := strings.ToLower(f.Name)
		if seen[name] || name == "" || strings.ContainsAny(name, "`\\\x00\n,") {
			return connectors.WithHint(fmt.Errorf("column %q has no name of its own that can be kept", f.Name), "Give each column a name: AS in query")
		}
		seen[name] = true
	}
	return nil
}

// strategy reads what the strategy of a table needs, and decides whether what the
// last run left can be gone on from.
func (w *wish) strategy(past connectors.Left) (err error) {
	spec := w.spec
	switch spec.Strategy {
	case connectors.Full, "":
		if len(spec.Options) > 0 {
			return connectors.WithHint(errors.New("options: strategy full has none"), "Set strategy to incremental")
		}
		return nil
	case connectors.Incremental:
		if w.cursor, err = readCursor(spec.Options, w.schema); err != nil {
			return err
		}
	case connectors.Partitioned:
		if len(spec.Options) > 0 || spec.Where != "" {
			return connectors.WithHint(errors.New("strategy partitioned: has no where and no options: partitions come as they are"), "Use incremental, or materialized with a query")
		}
		if w.table.Partitioning == nil && w.table.Range == nil {
			return connectors.WithHint(errors.New("strategy partitioned: the table has no partitions"), "Use full or incremental")
		}
	default:
		return fmt.Errorf("strategy %q: must be full, incremental or partitioned", spec.Strategy)
	}
	columns := w.schema.plain()
	w.keep = connectors.Left{Request: fingerprint(w.table.Reference, spec, w.key), Columns: columns}
	retyped := false
	if len(past.Columns) > 0 && !w.some {
		w.result.Warnings, retyped = connectors.SchemaChanges(past.Columns, columns)
	}
	switch {
	case w.cursor != nil && len(w.key) == 0:
		w.result.Warnings = append(w.result.Warnings, "the table has no primary key to join changes by: it was read whole")
	case past.Request != w.keep.Request:
	case retyped || !slices.Equal(past.Columns, columns):
		w.result.Warnings = append(w.result.Warnings, "its columns changed: it was read whole")
	default:
		w.past = past
	}
	return nil
}
