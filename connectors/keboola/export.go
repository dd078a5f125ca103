package keboola

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// plan is what one table's export asks for.
type plan struct {
	spec     connectors.TableSpec
	table    table
	columns  []connectors.Column
	filters  []filter
	key      []string
	request  string // hash of what is asked for
	since    int64  // 0: everything
	warnings []string
}

// export takes one table: it returns what it came to and what is to be
// remembered, or why there is nothing.
func (s *Source) export(ctx context.Context, run connectors.Job, spec connectors.TableSpec, past connectors.Left) (connectors.TableResult, connectors.Left, error) {
	before, err := s.table(ctx, spec.ID)
	if err != nil {
		return connectors.TableResult{}, connectors.Left{}, err
	}
	p, err := s.plan(spec, before, past)
	if err != nil {
		return connectors.TableResult{}, connectors.Left{}, fmt.Errorf("plan table %s: %w", spec.Name, err)
	}
	ask := exportRequest{Format: "rfc", FileType: "csv", Gzip: true, Columns: strings.Join(names(p.columns), ","), WhereFilters: p.filters}
	if p.since > 0 {
		ask.ChangedSince = strconv.FormatInt(p.since, 10)
	}
	file, asked, err := s.unload(ctx, spec.ID, ask)
	if err != nil {
		return connectors.TableResult{}, connectors.Left{}, fmt.Errorf("export table %s: %w", spec.ID, err)
	}
	got, err := s.fetch(ctx, run, p, file)
	if err == nil {
		err = s.complete(ctx, &p, got)
	}
	if err != nil {
		discard(run.Dir, spec.Name)
		return connectors.TableResult{}, connectors.Left{}, fmt.Errorf("fetch table %s: %w", spec.ID, err)
	}
	if asked.IsZero() {
		asked = run.Now
	}
	result := connectors.TableResult{Table: spec.Name, Outcome: connectors.OK, Rows: got.rows, Bytes: got.bytes, Columns: p.columns,
		Changes: p.since > 0, PrimaryKey: p.key, Description: p.table.description(), Warnings: p.warnings}
	return result, connectors.Left{Since: asked.Add(-s.settings.Overlap).Unix(), Request: p.request, Columns: p.columns}, nil
}

// plan decides what is asked for. What cannot be joined to what is there (another
// key, filter or column) is asked for whole.
func (s *Source) plan(spec connectors.TableSpec, t table, past connectors.Left) (plan, error) {
	p := plan{spec: spec, table: t, key: spec.PrimaryKey}
	if len(p.key) == 0 {
		p.key = t.PrimaryKey
	}
	var err error
	if p.filters, err = parseWhere(spec.Where); err != nil {
		return p, connectors.WithHint(err, `Write where as a JSON list: [{"column": "status", "operator": "eq", "values": ["open"]}]`)
	}
	for _, f := range p.filters {
		if !slices.Contains(t.Columns, f.Column) {
			return p, fmt.Errorf("where: the table has no column %s", f.Column)
		}
	}
	if p.columns, err = chosen(spec, t); err != nil {
		return p, connectors.WithHint(err, "The columns of the table are: "+strings.Join(t.Columns, ", "))
	}
	for _, k := range p.key {
		if !slices.Contains(names(p.columns), k) {
			return p, fmt.Errorf("primary_key: column %s is not among those that are exported", k)
		}
	}
	p.request = fingerprint(spec, s.base.String(), p.key)
	if len(past.Columns) > 0 && len(spec.Columns) == 0 {
		p.warnings = changes(past.Columns, p.columns)
	}
	return p, p.reachBack(past)
}

// reachBack decides from when on changes are asked for.
func (p *plan) reachBack(past connectors.Left) error {
	switch p.spec.Strategy {
	case connectors.Full, "":
		return nil
	case connectors.Incremental:
	default:
		return connectors.WithHint(fmt.Errorf("strategy %q: Keboola has no parts", p.spec.Strategy), "Use full or incremental")
	}
	switch {
	case len(p.filters) > 0:
		return connectors.WithHint(errors.New("strategy incremental with where: a row that no longer fits the filter would stay for ever"), "Use strategy full, or leave where out")
	case len(p.key) == 0:
		p.warnings = append(p.warnings, "the table has no primary key to join changes by: it was exported whole")
	case past.Since <= 0 || past.Request != p.request:
	case !slices.Equal(past.Columns, p.columns):
		p.warnings = append(p.warnings, "its columns changed: it was exported whole")
	default:
		p.since = past.Since
	}
	return nil
}

// chosen are the columns that are wanted, in the order of the table's own where
// none are named.
func chosen(spec connectors.TableSpec, t table) ([]connectors.Column, error) {
	wanted := spec.Columns
	if len(wanted) == 0 {
		wanted = t.Columns
	}
	out := make([]connectors.Column, 0, len(wanted))
	for i, name := range wanted {
		switch {
		case !slices.Contains(t.Columns, name):
			return nil, fmt.Errorf("columns: the table has no column %s", name)
		case slices.Contains(wanted[:i], name):
			return nil, fmt.Errorf("columns: %s is named twice", name)
		case strings.ContainsAny(name, ",\r\n"):
			return nil, fmt.Errorf("columns: %q cannot be asked for: the Storage API takes names separated by commas", name)
		}
		out = append(out, connectors.Column{Name: name, Type: t.typeOf(name)})
	}
	return out, nil
}

func names(columns []connectors.Column) []string {
	out := make([]string, 0, len(columns))
	for _, c := range columns {
		out = append(out, c.Name)
	}
	return out
}

// complete compares the rows of a whole export with the service's own count, when
// nothing was imported meanwhile: a slice that is missing shows in nothing else.
func (s *Source) complete(ctx context.Context, p *plan, got fetched) error {
	before := p.table
	if p.since > 0 || len(p.filters) > 0 || before.IsAlias || before.RowsCount == nil || *before.RowsCount == got.rows {
		return nil
	}
	after, err := s.table(ctx, before.ID)
	if err != nil {
		return err
	}
	still := after.LastImportDate == before.LastImportDate && after.LastChangeDate == before.LastChangeDate
	switch {
	case !still || after.RowsCount == nil || *after.RowsCount == got.rows:
		return nil
	case got.rows < *after.RowsCount:
		return connectors.WithHint(fmt.Errorf("the export has %d rows, the table %d: a part is missing", got.rows, *after.RowsCount), "It is tried again with the next run; what was there stays")
	}
	p.warnings = append(p.warnings, fmt.Sprintf("the export has %d rows, the table says %d", got.rows, *after.RowsCount))
	return nil
}

// since shows, for the log, from when on changes are asked for.
func (p plan) sinceText() string {
	if p.since == 0 {
		return "the beginning"
	}
	return time.Unix(p.since, 0).UTC().Format(time.RFC3339)
}
