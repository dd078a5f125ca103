package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/jackc/pgx/v5/pgconn"
)

const maxTables = 100_000

// table is a table, or what reads like one, as the catalog tells of it.
type table struct {
	Schema     string   `json:"schema"`
	Name       string   `json:"name"`
	Kind       string   `json:"kind"` // pg_class.relkind: r, v, m, p or f
	Comment    string   `json:"comment"`
	Rows       *float64 `json:"rows"`
	Bytes      *int64   `json:"bytes"`
	Columns    []column `json:"columns"`
	PrimaryKey []string `json:"key"`
}

// column is a column; of a domain OID, Mod and the kind are of what it is of.
type column struct {
	Name     string `json:"name"`
	OID      uint32 `json:"oid"`
	Mod      int32  `json:"mod"`
	Type     string `json:"typtype"`
	Category string `json:"category"`
	Readable bool   `json:"readable"`
}

func (c column) form() form { return formOf(c.OID, c.Mod, kind{typtype: c.Type, category: c.Category}) }

func (c column) plain() connectors.Column {
	return connectors.Column{Name: c.Name, Type: c.form().duck}
}

// catalogQuery tells of tables in one statement, a JSON object each. Sizes are
// those of the last ANALYZE or VACUUM: asking the files would wait for locks. A
// partitioned table has the sum of its partitions, which are not listed beside it.
const catalogQuery = `
WITH RECURSIVE bases AS (
	SELECT oid AS top, oid, typtype, typcategory, typbasetype, typtypmod, -1 AS mod FROM pg_catalog.pg_type
	UNION ALL
	SELECT b.top, t.oid, t.typtype, t.typcategory, t.typbasetype, t.typtypmod, b.typtypmod
	FROM bases b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd')
SELECT pg_catalog.json_build_object(
	'schema', n.nspname, 'name', c.relname, 'kind', c.relkind, 'comment', pg_catalog.obj_description(c.oid, 'pg_class'),
	'rows', CASE WHEN c.relkind IN ('r', 'm', 'f', 'p') AND size.pages > 0 AND size.rows >= 0 THEN size.rows END,
	'bytes', CASE WHEN size.pages > 0 THEN size.pages * pg_catalog.current_setting('block_size')::pg_catalog.int8 END,
	'columns', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', a.attname, 'oid', b.oid::pg_catalog.int8,
			'mod', CASE WHEN b.oid = a.atttypid THEN a.atttypmod ELSE b.mod END, 'typtype', b.typtype, 'category', b.typcategory,
			'readable', pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT')) ORDER BY a.attnum)
		FROM pg_catalog.pg_attribute a JOIN bases b ON b.top = a.atttypid AND b.typtype <> 'd'
		WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
	'key', (SELECT pg_catalog.json_agg(a.attname ORDER BY k.at)
		FROM pg_catalog.pg_index i CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY AS k(attnum, at)
		JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
		WHERE i.indrelid = c.oid AND i.indisprimary))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
	SELECT pg_catalog.sum(l.relpages::pg_catalog.int8)::pg_catalog.int8 AS pages, pg_catalog.sum(l.reltuples)::pg_catalog.float8 AS rows
	FROM pg_catalog.pg_class l WHERE CASE WHEN c.relkind = 'p'
		THEN l.oid IN (SELECT p.relid FROM pg_catalog.pg_partition_tree(c.oid) p WHERE p.isleaf) ELSE l.oid = c.oid END) AS size
WHERE c.relkind IN ('r', 'v', 'm', 'p', 'f')
	AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'`

const (
	listed = ` AND NOT c.relispartition AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
ORDER BY n.nspname, c.relname LIMIT $1`
	named   = ` AND c.relname = $1 AND n.nspname = $2`
	visible = ` AND c.relname = $1 AND pg_catalog.pg_table_is_visible(c.oid) AND $2 = ''`
)

// ask returns the first column of the rows of a statement, as texts.
func (s *Source) ask(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) (out []string, err error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	got := conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if got.Err != nil {
		return nil, s.explain(ctx, got.Err)
	}
	for _, row := range got.Rows {
		out = append(out, string(row[0]))
	}
	return out, nil
}

func (s *Source) tables(ctx context.Context, conn *pgconn.PgConn, sql string, args ...string) ([]table, error) {
	rows, err := s.ask(ctx, conn, sql, args...)
	if err != nil {
		return nil, err
	}
	out := make([]table, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal([]byte(row), &out[i]); err != nil {
			return nil, fmt.Errorf("decode catalog: %w", err)
		}
	}
	return out, nil
}

// Discover lists what these credentials may read, outside the system's schemas.
func (s *Source) Discover(ctx context.Context, limit int) ([]connectors.Discovered, bool, error) {
	if limit <= 0 || limit > maxTables {
		limit = maxTables
	}
	conn, err := s.enter(ctx)
	if err != nil {
		return nil, false, err
	}
	defer leave(conn)
	all, err := s.tables(ctx, conn, catalogQuery+listed, strconv.Itoa(limit+1))
	if err != nil {
		return nil, false, fmt.Errorf("list tables: %w", err)
	}
	more := len(all) > limit
	all = all[:min(len(all), limit)]
	found, taken := make([]connectors.Discovered, 0, len(all)), map[string]bool{}
	for _, t := range all {
		found = append(found, t.discovered(taken))
	}
	return found, more, nil
}

func (t table) discovered(taken map[string]bool) connectors.Discovered {
	d := connectors.Discovered{ID: t.id(), Name: connectors.Propose(taken, t.Name, t.Schema+"_"+t.Name), Description: t.Comment, Bytes: t.Bytes, PrimaryKey: t.PrimaryKey}
	if t.Rows != nil {
		n := int64(*t.Rows)
		d.Rows = &n
	}
	for _, c := range t.Columns {
		if c.Readable {
			d.Columns = append(d.Columns, c.plain())
		}
	}
	return d
}

// id is the name of a table as a TableSpec has it.
func (t table) id() string { return shown(t.Schema) + "." + shown(t.Name) }

func shown(name string) string {
	if strings.ContainsAny(name, `."`) {
		return quote(name)
	}
	return name
}

// parseID reads SCHEMA.TABLE or TABLE; a part with a dot in it stands in quotes.
// Capitals are what they are, also without quotes.
func parseID(id string) (schema, name string, err error) {
	var parts []string
	for rest := id; ; {
		part := rest
		if strings.HasPrefix(rest, `"`) {
			if part, rest, err = unquote(rest); err != nil {
				return "", "", err
			}
		} else {
			end := strings.IndexByte(rest, '.')
			if end < 0 {
				end = len(rest)
			}
			part, rest = rest[:end], rest[end:]
		}
		if part == "" || strings.ContainsRune(part, 0) {
			return "", "", errors.New("a part of the name is empty")
		}
		parts = append(parts, part)
		if rest == "" {
			break
		}
		if rest[0] != '.' {
			return "", "", errors.New("a dot is missing after a quote")
		}
		rest = rest[1:]
	}
	switch len(parts) {
	case 1:
		return "", parts[0], nil
	case 2:
		return parts[0], parts[1], nil
	}
	return "", "", fmt.Errorf("%d parts", len(parts))
}

func unquote(text string) (part, rest string, err error) {
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			i++
			continue
		}
		return strings.ReplaceAll(text[1:i], `""`, `"`), text[i+1:], nil
	}
	return "", "", errors.New("a quote is not closed")
}

// find looks a table up by the name that a TableSpec has.
func (s *Source) find(ctx context.Context, conn *pgconn.PgConn, id string) (t table, err error) {
	schema, name, err := parseID(id)
	if err != nil {
		return t, connectors.WithHint(fmt.Errorf("find table %q: %w", id, err), hints["42P01"])
	}
	which := named
	if schema == "" {
		which = visible
	}
	found, err := s.tables(ctx, conn, catalogQuery+which, name, schema)
	switch {
	case err != nil:
		return t, fmt.Errorf("find table %s: %w", id, err)
	case len(found) == 0:
		return t, connectors.WithHint(fmt.Errorf("find table %s: there is none of this name", id), hints["42P01"])
	}
	return found[0], nil
}
