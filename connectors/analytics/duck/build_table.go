//go:build cgo

package duck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

// table writes one table.
func (b *builder) table(ctx context.Context, t *left) (connectors.ManifestTable, error) {
	m := connectors.ManifestTable{Name: t.name, Description: t.description, Owner: t.owner, QueryMode: t.mode, PrimaryKey: t.key, ExtractedAt: t.at, Remote: t.remote, Columns: t.columns}
	if m.ExtractedAt.IsZero() {
		m.ExtractedAt = b.req.From.At
	}
	had, there := b.had[t.name]
	switch {
	case t.err != nil:
		return m, t.err
	case t.remote != nil:
		if there {
			m.SchemaChanges, _ = connectors.SchemaChanges(had.Columns, m.Columns)
		}
		return m, nil
	}
	paths, err := b.rows(ctx, t, had)
	if err != nil {
		b.discard(t.name)
		return m, err
	}
	if err := b.measure(ctx, t, &m, paths); err != nil {
		b.discard(t.name)
		return m, err
	}
	if there && had.Remote == nil {
		m.SchemaChanges, _ = connectors.SchemaChanges(had.Columns, m.Columns)
	}
	return m, nil
}

// rows writes the files of a table and returns their paths under To.
func (b *builder) rows(ctx context.Context, t *left, had connectors.ManifestTable) ([]string, error) {
	if t.changes {
		if err := b.hasBase(t, had); err != nil {
			return nil, err
		}
	}
	if t.unchanged {
		return b.unchanged(ctx, t, had)
	}
	rel, err := b.relation(ctx, t)
	if err != nil {
		return nil, err
	}
	if err := rel.checkKey(t); err != nil {
		return nil, err
	}
	if t.changes && !t.parted {
		return b.merge(ctx, t, rel, had)
	}
	var paths []string
	rows := int64(0)
	for _, p := range rel.pieces {
		path := dataPath(t.name, p.part)
		n, err := b.write(ctx, t, rel, p, path)
		if err != nil {
			return nil, err
		}
		paths, rows = append(paths, path), rows+n
	}
	if !t.changes {
		b.countFault(t, rows)
		return paths, nil
	}
	others, err := b.otherParts(ctx, t, rel, had, paths)
	return append(paths, others...), err
}

// dataPath is where a table, or a part of one, is in a generation.
func dataPath(table, part string) string {
	if part == "" {
		return "data/" + table + ".parquet"
	}
	return "data/" + table + "/" + part + ".parquet"
}

// write copies a piece of a table into a Parquet file.
func (b *builder) write(ctx context.Context, t *left, rel relation, p piece, path string) (int64, error) {
	n, err := b.copy(ctx, p.query, path)
	if err != nil {
		return 0, b.locate(ctx, t, rel.wants, p.runs, b.content(err, t, pieceFiles(p)...))
	}
	return n, nil
}

// copy writes the rows of a query into a Parquet file below To.
func (b *builder) copy(ctx context.Context, query, path string) (int64, error) {
	full := filepath.Join(b.to, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o750); err != nil {
		return 0, fmt.Errorf("%w: %w", errHost, err)
	}
	said, err := b.engine.one(ctx, "COPY ("+query+") TO "+quoteText(full)+" (FORMAT parquet, COMPRESSION zstd)")
	n, _ := said.(int64)
	return n, err
}

// measure reads back what was written: the columns and the rows of a manifest
// are those of the files.
func (b *builder) measure(ctx context.Context, t *left, m *connectors.ManifestTable, paths []string) (err error) {
	slices.Sort(paths)
	files := make([]leftFile, len(paths))
	for i, p := range paths {
		files[i] = leftFile{path: filepath.Join(b.to, p), rel: p}
		info, err := os.Stat(files[i].path)
		if err != nil {
			return fmt.Errorf("%w: %w", errHost, err)
		}
		m.Bytes += info.Size()
		m.Files = append(m.Files, connectors.ManifestFile{Path: p, Size: info.Size()})
	}
	from := "read_parquet(" + pathList(files) + ", hive_partitioning = false)"
	if m.Columns, err = b.describe(ctx, from); err != nil {
		return b.content(err, t)
	}
	said, err := b.engine.one(ctx, "SELECT count(*) FROM "+from)
	if err != nil {
		return b.content(err, t)
	}
	m.Rows, _ = said.(int64)
	return nil
}

// discard takes away what was written of a table that is not good.
func (b *builder) discard(table string) {
	_ = os.Remove(filepath.Join(b.to, "data", table+".parquet")) // To is thrown away when this matters
	_ = os.RemoveAll(filepath.Join(b.to, "data", table))
}

// keep takes a table over from the generation before, if it had it.
func (b *builder) keep(table string) error {
	had, there := b.had[table]
	if !there {
		return nil
	}
	had.SchemaChanges = nil
	for _, f := range had.Files {
		if err := b.link(f.Path); err != nil {
			return err
		}
	}
	if had.Remote != nil {
		for _, r := range b.req.Before.Remotes {
			same := func(o connectors.Remote) bool { return strings.EqualFold(o.Alias, r.Alias) }
			if r.Alias == had.Remote.Alias && !slices.ContainsFunc(b.remotes, same) {
				b.remotes = append(b.remotes, r)
			}
		}
	}
	b.tables = append(b.tables, had)
	return nil
}
