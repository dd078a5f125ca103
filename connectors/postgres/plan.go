package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// plan is what is read of one table.
type plan struct {
	spec    connectors.TableSpec
	from    string // what stands after FROM; its alias is t
	where   string // a condition; empty: all
	columns []column
	key     []string
	about   string
	request string
	kind    string // relkind; empty: a query
	rows    int64  // that are expected; 0: not known
	said    []string

	cursor  *column
	cast    string          // the type that the cursor's greatest value is read as
	overlap string          // as an expression of what is taken off the cursor
	past    connectors.Left // Request is empty where there is nothing to go on from

	part *column
	unit string // day, month or year
}

const (
	optionCursor    = "cursor"
	optionOverlap   = "overlap"
	optionPartition = "partition"
	optionUnit      = "unit"
)

// plan looks at a table, or a query, and decides what is read of it.
func (r *run) plan(ctx context.Context, spec connectors.TableSpec, past connectors.Left) (*plan, error) {
	p := &plan{spec: spec}
	for key := range spec.Options {
		if !slices.Contains([]string{optionCursor, optionOverlap, optionPartition, optionUnit}, key) {
			return nil, connectors.WithHint(fmt.Errorf("options: there is no %q", key), "There are cursor, overlap, partition and unit")
		}
	}
	read := r.fromTable
	if spec.Query != "" || spec.QueryMode == desired.QueryMaterialized {
		read = r.fromQuery
	}
	if err := read(ctx, p); err != nil {
		return nil, err
	}
	if err := p.keyed(); err != nil {
		return nil, err
	}
	p.request = fingerprint(r.source.target, spec, p.key)
	if err := r.filter(ctx, p); err != nil {
		return nil, err
	}
	if err := p.strategy(); err != nil {
		return nil, err
	}
	p.goOn(past)
	return p, nil
}

func (r *run) fromTable(ctx context.Context, p *plan) error {
	id := p.spec.ID
	if id == "" {
		id = p.spec.Name
	}
	t, err := r.source.find(ctx, r.conn, id)
	if err != nil {
		return err
	}
	p.from, p.kind, p.about, p.key = quote(t.Schema)+"."+quote(t.Name), t.Kind, t.Comment, t.PrimaryKey
	if t.Rows != nil {
		p.rows = int64(*t.Rows)
	}
	return p.choose(t.Columns)
}

// fromQuery has the server parse and describe the query, alone: what it takes for
// one statement cannot break out of the parentheses that it then stands in.
func (r *run) fromQuery(ctx context.Context, p *plan) error {
	query := strings.TrimSpace(p.spec.Query)
	query = strings.TrimSpace(strings.TrimSuffix(query, ";"))
	if query == "" || strings.HasSuffix(query, ";") {
		return connectors.WithHint(errors.New("query: must be one SELECT"), hints["42601"])
	}
	described, err := r.conn.Prepare(ctx, "", query, nil)
	if err != nil {
		return fmt.Errorf("query: %w", r.source.explain(ctx, err))
	}
	if len(described.ParamOIDs) > 0 || len(described.Fields) == 0 {
		return connectors.WithHint(errors.New("query: must give columns and have no parameters"), hints["42601"])
	}
	columns := make([]column, len(described.Fields))
	for i, f := range described.Fields {
		columns[i] = column{Name: f.Name, OID: f.DataTypeOID, Mod: f.TypeModifier, Type: "b", Readable: true}
	}
	if err := r.kinds(ctx, columns); err != nil {
		return fmt.Errorf("query: %w", err)
	}
	p.from = "(\n" + query + "\n)"
	return p.choose(columns)
}

// kinds asks for what the description of a statement does not tell of its types.
// Domains have gone from it already.
func (r *run) kinds(ctx context.Context, columns []column) error {
	for i, c := range columns {
		if _, known := forms[c.OID]; known {
			continue
		}
		rows, err := r.source.ask(ctx, r.conn, `SELECT typtype::pg_catalog.text || typcategory::pg_catalog.text FROM pg_catalog.pg_type WHERE oid = $1`, strconv.FormatUint(uint64(c.OID), 10))
		if err != nil {
			return err
		}
		if len(rows) == 1 && len(rows[0]) == 2 {
			columns[i].Type, columns[i].Category = rows[0][:1], rows[0][1:]
		}
	}
	return nil
}

// choose takes the columns that are wanted, in the order of the table's own where
// none are named.
func (p *plan) choose(all []column) error {
	var readable, hidden []string
	for _, c := range all {
		if c.Readable {
			readable = append(readable, c.Name)
		} else {
			hidden = append(hidden, c.Name)
		}
	}
	wanted := p.spec.Columns
	if len(wanted) == 0 {
		wanted = readable
		if len(hidden) > 0 {
			p.said = append(p.said, "the user may not read, and so left out: "+strings.Join(hidden, ", "))
		}
	}
	taken := map[string]bool{}
	for _, name := range wanted {
		at := slices.IndexFunc(all, func(c column) bool { return c.Name == name })
		switch {
		case at < 0:
			return connectors.WithHint(fmt.Errorf("columns: there is no %s", name), "There are "+strings.Join(readable, ", "))
		case !all[at].Readable:
			return connectors.WithHint(fmt.Errorf("columns: %s may not be read", name), hints["42501"])
		case taken[strings.ToLower(name)]:
			return connectors.WithHint(fmt.Errorf("columns: %s is there twice, capitals set aside", name), "Give each column a name of its own: AS in query, or name some in columns")
		}
		taken[strings.ToLower(name)] = true
		p.columns = append(p.columns, all[at])
	}
	if len(p.columns) == 0 {
		return connectors.WithHint(errors.New("it has no columns that may be read"), hints["42501"])
	}
	return nil
}

func (p *plan) column(name string) *column {
	at := slices.IndexFunc(p.columns, func(c column) bool { return c.Name == name })
	if at < 0 {
		return nil
	}
	return &p.columns[at]
}

func (p *plan) keyed() error {
	if len(p.spec.PrimaryKey) > 0 {
		p.key = p.spec.PrimaryKey
	}
	for _, k := range p.key {
		if p.column(k) != nil {
			continue
		}
		if len(p.spec.PrimaryKey) > 0 {
			return fmt.Errorf("primary_key: column %s is not among those that are read", k)
		}
		p.key = nil
		return nil
	}
	return nil
}

// filter has the server read the condition without running it.
func (r *run) filter(ctx context.Context, p *plan) error {
	p.where = strings.TrimSpace(p.spec.Where)
	if p.where == "" {
		return nil
	}
	if err := checkCondition(p.where); err != nil {
		return connectors.WithHint(fmt.Errorf("where: %w", err), hints["42601"])
	}
	described, err := r.conn.Prepare(ctx, "", "SELECT 1 FROM "+p.from+" AS t WHERE (\n"+p.where+"\n)", nil)
	if err != nil {
		return fmt.Errorf("where: %w", r.source.explain(ctx, err))
	}
	if len(described.ParamOIDs) > 0 {
		return errors.New("where: must have no parameters")
	}
	return nil
}

// strategy reads what the strategy of a table needs.
func (p *plan) strategy() error {
	options := p.spec.Options
	switch p.spec.Strategy {
	case connectors.Full, "":
		if len(options) > 0 {
			return connectors.WithHint(errors.New("options: strategy full has none"), "Set strategy to incremental or partitioned")
		}
		return nil
	case connectors.Incremental:
		if options[optionCursor] == "" {
			return connectors.WithHint(errors.New("strategy incremental: options: cursor is missing"), "Name a column that only grows: updated_at, or an id of rows that never change")
		}
		if options[optionPartition]+options[optionUnit] != "" {
			return errors.New("options: partition and unit are of strategy partitioned")
		}
		return p.grows(options)
	case connectors.Partitioned:
		return p.partitioned(options)
	}
	return fmt.Errorf("strategy %q: must be full, incremental or partitioned", p.spec.Strategy)
}

// grows reads the cursor and how far a run reaches back before it.
func (p *plan) grows(options map[string]string) error {
	if p.cursor = p.column(options[optionCursor]); p.cursor == nil {
		return fmt.Errorf("options: cursor: column %s is not among those that are read", options[optionCursor])
	}
	overlap := options[optionOverlap]
	switch p.cursor.OID {
	case oidInt2, oidInt4, oidInt8, oidNumeric:
		p.cast = "pg_catalog.int8" // which an index of smaller ones takes as well
		if p.cursor.OID == oidNumeric {
			p.cast = "pg_catalog.numeric"
		}
		if overlap == "" {
			overlap = "1000"
		}
		if _, err := strconv.ParseUint(overlap, 10, 62); err != nil {
			return connectors.WithHint(errors.New("options: overlap: not a number"), "Of a cursor that is a number it is a number: 1000")
		}
		p.overlap = overlap + "::" + p.cast
	case oidDate, oidTimestamp, oidTimestampTZ:
		p.cast = map[uint32]string{oidDate: "pg_catalog.date", oidTimestamp: "pg_catalog.timestamp", oidTimestampTZ: "pg_catalog.timestamptz"}[p.cursor.OID]
		if overlap == "" {
			overlap = "1h"
		}
		d, err := time.ParseDuration(overlap)
		if err != nil || d < 0 {
			return connectors.WithHint(errors.New("options: overlap: not a length of time"), "Of a cursor that is a time it is a length of time: 1h, 90m, 48h")
		}
		p.overlap = fmt.Sprintf("(%d * interval '1 microsecond')", d.Microseconds())
	default:
		return connectors.WithHint(fmt.Errorf("options: cursor: column %s is neither a number nor a time", p.cursor.Name), "Name a column that only grows: updated_at, or an id of rows that never change")
	}
	return nil
}

func (p *plan) partitioned(options map[string]string) error {
	name := options[optionPartition]
	if p.part = p.column(name); p.part == nil {
		return connectors.WithHint(fmt.Errorf("options: partition: column %q is not among those that are read", name), "Name a column of dates or times that says which part a row is in")
	}
	if !slices.Contains([]uint32{oidDate, oidTimestamp, oidTimestampTZ}, p.part.OID) {
		return fmt.Errorf("options: partition: column %s is no date and no time", name)
	}
	if p.unit = options[optionUnit]; p.unit == "" {
		p.unit = "month"
	}
	if !slices.Contains([]string{"day", "month", "year"}, p.unit) {
		return fmt.Errorf("options: unit %q: must be day, month or year", p.unit)
	}
	if options[optionOverlap] != "" {
		return errors.New("options: overlap is of strategy incremental")
	}
	if cursor := options[optionCursor]; cursor != "" {
		if p.cursor = p.column(cursor); p.cursor == nil {
			return fmt.Errorf("options: cursor: column %s is not among those that are read", cursor)
		}
	}
	return nil
}

// goOn decides whether what the last run left can be gone on from.
func (p *plan) goOn(past connectors.Left) {
	now := p.plain()
	retyped := false
	if len(past.Columns) > 0 && len(p.spec.Columns) == 0 {
		var said []string
		said, retyped = connectors.SchemaChanges(past.Columns, now)
		p.said = append(p.said, said...)
	}
	switch {
	case p.spec.Strategy != connectors.Incremental && p.spec.Strategy != connectors.Partitioned:
	case p.spec.Strategy == connectors.Incremental && len(p.key) == 0:
		p.said = append(p.said, "the table has no primary key to join changes by: it was read whole")
	case past.Request != p.request:
	case retyped || !slices.Equal(past.Columns, now):
		p.said = append(p.said, "its columns changed: it was read whole")
	default:
		p.past = past
	}
}

func (p *plan) plain() []connectors.Column {
	out := make([]connectors.Column, 0, len(p.columns))
	for _, c := range p.columns {
		out = append(out, c.plain())
	}
	return out
}

// list is what stands between SELECT and FROM.
func (p *plan) list() string {
	parts := make([]string, 0, len(p.columns))
	for _, c := range p.columns {
		parts = append(parts, c.form().write("t."+quote(c.Name))+" AS "+quote(c.Name))
	}
	return strings.Join(parts, ", ")
}

// conditions joins the condition of the table with others.
func (p *plan) conditions(more ...string) string {
	if p.where != "" {
		more = append(more, "(\n"+p.where+"\n)")
	}
	if len(more) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(more, " AND ")
}
