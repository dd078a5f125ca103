//go:build cgo

package duck

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// hasBase checks that there is what changes are changes of. The parts of a
// partial first run are good by themselves.
func (b *builder) hasBase(t *left, had connectors.ManifestTable) error {
	base, before := b.req.From.Base, b.req.Before
	lost := had.Name == "" || had.Remote != nil || before.Generation < base
	if !lost || t.parted && t.result.Outcome == connectors.Partial && had.Name == "" {
		return nil
	}
	return wrong(badBase, "", "its rows are changes, and the generation that they are changes of is not there", "run the connector anew for all rows").of(t.name)
}

// pastRows gives the rows that are there the columns of now. A type that
// they do not fit is an error.
func pastRows(had connectors.ManifestTable, now []connectors.Column, from string) (string, error) {
	list := make([]string, len(now))
	for i, c := range now {
		to, err := readType(c.Type)
		if err != nil {
			return "", err
		}
		x := "CAST(NULL AS " + to.String() + ")"
		k := slices.IndexFunc(had.Columns, func(h connectors.Column) bool { return fold(h.Name) == fold(c.Name) })
		if k >= 0 {
			was, err := readType(had.Columns[k].Type)
			if err != nil {
				return "", err
			}
			x = fromValue("b."+quoteName(had.Columns[k].Name), c.Name, was, to)
		}
		list[i] = x + " AS " + quoteName(c.Name)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM " + from + " AS b", nil
}

func (b *builder) parquet(paths []string) string {
	files := make([]leftFile, len(paths))
	for i, p := range paths {
		files[i].path = filepath.Join(b.before, p)
	}
	return "read_parquet(" + pathList(files) + ", hive_partitioning = false)"
}

func filesOf(t connectors.ManifestTable) (out []string) {
	for _, f := range t.Files {
		out = append(out, f.Path)
	}
	return out
}

const retypeHint = "the rows that are there do not fit the type of now: extract all rows once, or declare the type that they have"

// merge joins changed rows with those that are there, by primary key. Of several
// changed rows of one key the last counts.
func (b *builder) merge(ctx context.Context, t *left, rel relation, had connectors.ManifestTable) ([]string, error) {
	p := rel.pieces[0]
	if err := b.engine.exec(ctx, "CREATE OR REPLACE TEMP TABLE fresh AS "+p.query); err != nil {
		return nil, b.locate(ctx, t, rel.wants, p.runs, b.content(err, t, pieceFiles(p)...))
	}
	said, err := b.engine.one(ctx, "SELECT count(*) FROM fresh")
	if n, _ := said.(int64); err == nil && n == 0 && slices.Equal(had.Columns, rel.columns) {
		return b.unchanged(ctx, t, had)
	}
	past, err := pastRows(had, rel.columns, b.parquet(filesOf(had)))
	if err != nil {
		return nil, err
	}
	keys, same := make([]string, len(t.key)), make([]string, len(t.key))
	for i, k := range t.key {
		keys[i] = quoteName(k)
		same[i] = "f." + keys[i] + " IS NOT DISTINCT FROM p." + keys[i]
	}
	query := "SELECT * FROM (" + past + ") AS p WHERE NOT EXISTS (SELECT 1 FROM fresh AS f WHERE " + strings.Join(same, " AND ") + ")" +
		" UNION ALL SELECT * FROM fresh WHERE rowid IN (SELECT max(rowid) FROM fresh GROUP BY " + strings.Join(keys, ", ") + ")"
	path := dataPath(t.name, "")
	if _, err := b.copy(ctx, query, path); err != nil {
		return nil, b.retyped(err, t)
	}
	return []string{path}, b.engine.exec(ctx, "DROP TABLE fresh")
}

// retyped is the error of rows that are there and do not fit.
func (b *builder) retyped(err error, t *left) error {
	err = b.content(err, t)
	if f, ok := err.(*fault); ok && f.Code == badContent {
		f.Code, f.Hint = badType, retypeHint
	}
	return err
}

// unchanged takes the files of before over as they are, without those parts that
// are gone.
func (b *builder) unchanged(ctx context.Context, t *left, had connectors.ManifestTable) (paths []string, err error) {
	for _, p := range filesOf(had) {
		if part, parted := partOf(t.name, p); parted && slices.Contains(t.result.Gone, part) {
			continue
		}
		if err := b.link(p); err != nil {
			return nil, err
		}
		paths = append(paths, p)
	}
	if len(paths) > 0 {
		return paths, nil
	}
	return b.none(ctx, had)
}

// none writes a table without rows.
func (b *builder) none(ctx context.Context, had connectors.ManifestTable) ([]string, error) {
	columns := make([]keptColumn, len(had.Columns))
	for i, c := range had.Columns {
		to, err := readType(c.Type)
		if err != nil {
			return nil, err
		}
		columns[i] = keptColumn{name: c.Name, to: to}
	}
	path := dataPath(had.Name, "")
	_, err := b.copy(ctx, noRows(columns), path)
	return []string{path}, err
}

// partOf is the name of the part that a file is.
func partOf(table, path string) (string, bool) {
	part, ok := strings.CutPrefix(path, "data/"+table+"/")
	return strings.TrimSuffix(part, ".parquet"), ok
}

// otherParts takes over the parts that were not written now. Where the columns
// changed they are written anew, so that all parts have the same.
func (b *builder) otherParts(ctx context.Context, t *left, rel relation, had connectors.ManifestTable, written []string) (paths []string, err error) {
	for _, p := range filesOf(had) {
		part, parted := partOf(t.name, p)
		switch {
		case !parted && had.Rows == 0: // an empty table has no parts
		case !parted:
			return nil, wrong(badBase, "", "its rows are parts, and those that are there are not", "run the connector anew for all rows").of(t.name)
		case slices.ContainsFunc(written, func(w string) bool { return fold(w) == fold(p) }), slices.Contains(t.result.Gone, part):
		case slices.Equal(had.Columns, rel.columns):
			if err := b.link(p); err != nil {
				return nil, err
			}
			paths = append(paths, p)
		default:
			query, err := pastRows(had, rel.columns, b.parquet([]string{p}))
			if err != nil {
				return nil, err
			}
			if _, err := b.copy(ctx, query, p); err != nil {
				return nil, b.retyped(err, t)
			}
			paths = append(paths, p)
		}
	}
	if len(paths)+len(written) == 0 {
		return nil, fmt.Errorf("%w: table %s has no part", errHost, t.name)
	}
	return paths, nil
}
