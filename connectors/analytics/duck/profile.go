//go:build cgo

package duck

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	// A table that is longer is sampled.
	profileWhole  = 4_000_000
	profileSample = 1_000_000
	profileTop    = 10
	profileText   = 200 // characters of a value that are shown
)

// columnProfile is what is in a column. Values are texts.
type columnProfile struct {
	Table  string `json:"table"`
	Column string `json:"column"`
	Type   string `json:"type"`
	Rows   int64  `json:"rows"` // of the table
	// Sampled says that the rest is of SampleRows rows only.
	Sampled    bool              `json:"sampled"`
	SampleRows int64             `json:"sample_rows"`
	Nulls      int64             `json:"nulls"`
	Distinct   *int64            `json:"distinct,omitempty"` // about: HyperLogLog
	Min        *string           `json:"min,omitempty"`
	Max        *string           `json:"max,omitempty"`
	Avg        *string           `json:"avg,omitempty"`
	Quantiles  map[string]string `json:"quantiles,omitempty"` // about, of numbers and times
	Top        []profileValue    `json:"top,omitempty"`       // the most frequent
}

type profileValue struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

func (w *worker) profile(ctx context.Context, p wire.Profile) (json.RawMessage, error) {
	limit := p.Deadline
	if limit <= 0 {
		limit = defaultDeadline
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	from, column, err := w.profiled(p)
	if err != nil {
		return nil, err
	}
	if err := w.makeViews(ctx, []string{lower(p.Source + "." + p.Table)}, nil); err != nil {
		return nil, err
	}
	out := columnProfile{Table: p.Source + "." + p.Table, Column: column.Name, Type: column.Type}
	rows, err := w.engine.one(ctx, "SELECT count(*) FROM "+from)
	if err != nil {
		return nil, err
	}
	out.Rows, _ = rows.(int64)
	if out.Rows > profileWhole {
		out.Sampled = true
		from += fmt.Sprintf(" TABLESAMPLE system(%.6f PERCENT) REPEATABLE (1)", 100*float64(profileSample)/float64(out.Rows))
	}
	k, err := w.kindOf(ctx, from, column.Name)
	if err != nil {
		return nil, err
	}
	if err := w.measure(ctx, &out, from, k); err != nil {
		return nil, err
	}
	if err := w.mostFrequent(ctx, &out, from, k); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// profiled finds the column that is asked for.
func (w *worker) profiled(p wire.Profile) (from string, column connectors.Column, err error) {
	source := w.sources[p.Source]
	i := slices.IndexFunc(source.Tables, func(t connectors.ManifestTable) bool { return t.Name == p.Table })
	if i < 0 {
		return "", column, w.gate.missing("", p.Source, p.Table)
	}
	columns := source.Tables[i].Columns
	j := slices.IndexFunc(columns, func(c connectors.Column) bool { return c.Name == p.Column })
	if j < 0 {
		names := make([]string, len(columns))
		for i, c := range columns {
			names[i] = c.Name
		}
		return "", column, &wire.Error{Code: wire.CodeNotFound, Message: fmt.Sprintf("there is no column %s in %s.%s", p.Column, p.Source, p.Table),
			Hint: "It has " + strings.Join(names, ", ") + "."}
	}
	return quoteName(p.Source) + "." + quoteName(p.Table), columns[j], nil
}

func (w *worker) kindOf(ctx context.Context, from, column string) (k kind, err error) {
	err = w.engine.during(ctx, func() error {
		s, err := w.engine.prepare("SELECT " + quoteName(column) + " FROM " + from)
		if err != nil {
			return err
		}
		defer s.close()
		_, types := s.columns()
		k = types[0]
		return nil
	})
	return k, err
}

// numeric, timed and single tell which figures a type has.
func numeric(k kind) bool {
	return slices.Contains([]mapping.Type{mapping.TypeTinyInt, mapping.TypeSmallInt, mapping.TypeInteger, mapping.TypeBigInt,
		mapping.TypeUTinyInt, mapping.TypeUSmallInt, mapping.TypeUInteger, mapping.TypeUBigInt, mapping.TypeHugeInt,
		mapping.TypeUHugeInt, mapping.TypeFloat, mapping.TypeDouble, mapping.TypeDecimal}, k.id)
}

func timed(k kind) bool {
	return slices.Contains([]mapping.Type{mapping.TypeDate, mapping.TypeTimestamp, mapping.TypeTimestampTZ}, k.id)
}

func single(k kind) bool { return len(k.inner) == 0 }

// measure takes all figures in one pass.
func (w *worker) measure(ctx context.Context, out *columnProfile, from string, k kind) error {
	name := quoteName(out.Column)
	figures := []string{"count(*)", "count(" + name + ")"}
	text := func(value string) string { return fmt.Sprintf("left(CAST(%s AS VARCHAR), %d)", value, profileText) }
	if single(k) {
		figures = append(figures, "approx_count_distinct("+name+")", text("min("+name+")"), text("max("+name+")"))
	}
	shares := []string{"0.05", "0.25", "0.5", "0.75", "0.95"}
	if numeric(k) || timed(k) {
		average := text("avg(" + name + ")")
		if timed(k) {
			average = "NULL"
		}
		figures = append(figures, average)
		of := name
		if k.id == mapping.TypeDecimal { // DuckDB 1.5 rounds those of DECIMAL to whole numbers
			of = "CAST(" + name + " AS DOUBLE)"
		}
		for _, share := range shares {
			figures = append(figures, text("approx_quantile("+of+", "+share+")"))
		}
	}
	return w.engine.rows(ctx, "SELECT "+strings.Join(figures, ", ")+" FROM "+from, func(row []any) error {
		present := int64(0)
		out.SampleRows, _ = row[0].(int64)
		present, _ = row[1].(int64)
		out.Nulls = out.SampleRows - present
		if len(row) > 4 {
			distinct, _ := row[2].(int64)
			distinct = min(distinct, present)
			out.Distinct, out.Min, out.Max = &distinct, optional(row[3]), optional(row[4])
		}
		if len(row) > 5 && present > 0 {
			out.Avg, out.Quantiles = optional(row[5]), map[string]string{}
			for i, share := range shares {
				if value := optional(row[6+i]); value != nil {
					out.Quantiles[share] = *value
				}
			}
		}
		return nil
	})
}

func optional(v any) *string {
	if s, ok := v.(string); ok {
		return &s
	}
	return nil
}

func (w *worker) mostFrequent(ctx context.Context, out *columnProfile, from string, k kind) error {
	if !single(k) {
		return nil
	}
	name := quoteName(out.Column)
	return w.engine.rows(ctx, fmt.Sprintf("SELECT left(CAST(%s AS VARCHAR), %d), count(*) AS n FROM %s WHERE %s IS NOT NULL GROUP BY %s ORDER BY n DESC, %s LIMIT %d",
		name, profileText, from, name, name, name, profileTop), func(row []any) error {
		value, _ := row[0].(string)
		n, _ := row[1].(int64)
		out.Top = append(out.Top, profileValue{value, n})
		return nil
	})
}
