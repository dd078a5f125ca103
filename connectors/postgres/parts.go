package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

const (
	maxParts = 10_000
	// otherPart has the rows without a time, and with one that is before the first
	// year, after 9999 or endless.
	otherPart = "other"
)

// layouts are how a part is named, for PostgreSQL and for Go.
var layouts = map[string][2]string{"day": {"YYYY-MM-DD", time.DateOnly}, "month": {"YYYY-MM", "2006-01"}, "year": {"YYYY", "2006"}}

func (p *plan) ordinary() string {
	name := "t." + quote(p.part.Name)
	return "(" + name + " >= '0001-01-01' AND " + name + " < '10000-01-01')"
}

// within is the condition of one part, in a form that an index on the column helps.
func (p *plan) within(part string) (string, error) {
	if part == otherPart {
		return p.ordinary() + " IS NOT TRUE", nil
	}
	from, err := time.Parse(layouts[p.unit][1], part)
	if err != nil {
		return "", fmt.Errorf("part %q: not a %s", part, p.unit)
	}
	to := from.AddDate(0, 1, 0)
	switch p.unit {
	case "day":
		to = from.AddDate(0, 0, 1)
	case "year":
		to = from.AddDate(1, 0, 0)
	}
	name := "t." + quote(p.part.Name)
	return fmt.Sprintf("(%s >= '%s' AND %s < '%s')", name, from.Format(time.DateOnly), name, to.Format(time.DateOnly)), nil
}

// fingerprints asks what each part holds: how many rows, and the sum of the hashes
// of the cursor, or of whole rows where there is none. So rows that are gone show.
func (r *run) fingerprints(ctx context.Context, p *plan) (map[string]string, error) {
	hashed := make([]string, 0, len(p.columns))
	for _, c := range p.columns {
		hashed = append(hashed, "t."+quote(c.Name))
	}
	of := "ROW(" + strings.Join(hashed, ", ") + ")"
	if p.cursor != nil {
		of = "t." + quote(p.cursor.Name)
	}
	sql := fmt.Sprintf(`SELECT pg_catalog.concat(part, ' ', pg_catalog.count(*), ' ', pg_catalog.sum(hash)) FROM (
	SELECT CASE WHEN %s THEN pg_catalog.to_char(t.%s, '%s') ELSE '%s' END AS part,
		pg_catalog.hashtextextended(coalesce((%s)::pg_catalog.text, ''), 0) AS hash FROM %s AS t%s) AS f
GROUP BY part ORDER BY part LIMIT %d`, p.ordinary(), quote(p.part.Name), layouts[p.unit][0], otherPart, of, p.from, p.conditions(), maxParts+1)
	rows, err := r.source.ask(ctx, r.conn, sql)
	if err != nil {
		return nil, fmt.Errorf("find its parts: %w", err)
	}
	if len(rows) > maxParts {
		return nil, connectors.WithHint(fmt.Errorf("it has more than %d parts", maxParts), "Set options: unit to month or year")
	}
	out := map[string]string{}
	for _, row := range rows {
		part, holds, ok := strings.Cut(row, " ")
		if !ok {
			return nil, errors.New("find its parts: the answer cannot be read")
		}
		out[part] = holds
	}
	return out, nil
}

// partitioned reads the parts that are not what they were.
func (r *run) partitioned(ctx context.Context, p *plan, result *connectors.TableResult, keep *connectors.Left) error {
	have, err := r.fingerprints(ctx, p)
	if err != nil {
		return err
	}
	keep.Parts = have
	result.Changes = len(p.past.Parts) > 0 && len(have) > 0
	parts := slices.Sorted(maps.Keys(have))
	if result.Changes {
		parts, result.Gone = connectors.DifferingParts(p.past.Parts, have)
		result.Parts = parts
	} else if len(parts) == 0 {
		parts = []string{otherPart} // a table has at least one file
		keep.Parts = map[string]string{otherPart: ""}
	}
	for _, part := range parts {
		within, err := p.within(part)
		if err == nil {
			err = r.copy(ctx, p, part, p.conditions(within), result)
		}
		if err != nil {
			return fmt.Errorf("part %s: %w", part, err)
		}
	}
	return nil
}
