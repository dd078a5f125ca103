//go:build cgo

package duck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	"github.com/fairlead/fairlead/desired"
)

// RunCheck reads a directory or a file as a build would, writes nothing, and
// tells every problem that it finds.
func RunCheck(ctx context.Context, req wire.CheckRequest) wire.CheckReply {
	reply, err := check(ctx, req)
	if err != nil {
		reply.Error = err.Error()
	}
	return reply
}

func check(ctx context.Context, req wire.CheckRequest) (reply wire.CheckReply, err error) {
	l, err := limitsOf(req.Limits)
	if err != nil {
		return reply, err
	}
	defer os.RemoveAll(l.temp)
	dir, file, err := target(req.Path)
	found := &findings{}
	if err == nil {
		err = found.check(ctx, &reply, dir, file, l, req.Remote)
	}
	if f, ok := errors.AsType[*fault](err); ok {
		found.err(f, "")
		err = nil
	}
	reply.Problems = found.sorted()
	return reply, err
}

// target is the directory that is checked, and the file where one is named.
func target(path string) (dir, file string, err error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", "", fmt.Errorf("check: %w", err)
	}
	if info.Mode()&os.ModeSymlink != 0 { // the one that a person names may be a link to a directory
		if info, err = os.Stat(path); err != nil || !info.IsDir() {
			return "", "", wrong(badFileKind, filepath.Base(path), "it is a symbolic link", "name the file itself")
		}
	}
	if info.IsDir() {
		if dir, err = realPath(path); err == nil {
			dir, err = outOf(dir)
		}
		return dir, "", err
	}
	if dir, err = realPath(filepath.Dir(path)); err != nil {
		return "", "", err
	}
	return dir, filepath.Join(dir, filepath.Base(path)), nil
}

func (f *findings) check(ctx context.Context, reply *wire.CheckReply, dir, file string, l buildLimits, policy wire.RemotePolicy) error {
	r, err := openReader(ctx, l, f, dir)
	if err != nil {
		return err
	}
	defer r.engine.close()
	s, err := r.survey(ctx, dir, file, policy, time.Now().UTC())
	reply.Form, reply.Remotes = s.form, s.remotes
	if err != nil {
		return err
	}
	if len(s.tables) == 0 && len(f.list) == 0 {
		return wrong(badEmpty, "", "there is no table", "leave NAME.parquet, .csv or .ndjson, a directory NAME of parts, or an extract.duckdb with _meta")
	}
	for _, name := range slices.Sorted(maps.Keys(s.tables)) {
		t := s.tables[name]
		m, err := r.checkTable(ctx, t)
		if errors.Is(err, errHost) || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if err != nil {
			f.all(err, name)
			continue
		}
		reply.Tables = append(reply.Tables, m)
	}
	return nil
}

// all adds every problem that is joined in an error.
func (f *findings) all(err error, table string) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			f.all(one, table)
		}
		return
	}
	f.err(err, table)
}

// sorted are the problems by table and file.
func (f *findings) sorted() []connectors.Problem {
	slices.SortStableFunc(f.list, func(a, b connectors.Problem) int {
		return cmp.Or(strings.Compare(a.Table, b.Table), strings.Compare(a.File, b.File))
	})
	return f.list
}

// checkTable reads all rows of a table and throws them away.
func (r *reader) checkTable(ctx context.Context, t *left) (connectors.ManifestTable, error) {
	m := connectors.ManifestTable{Name: t.name, Description: t.description, Owner: t.owner, QueryMode: t.mode, PrimaryKey: t.key, ExtractedAt: t.at, Remote: t.remote}
	if t.err != nil || t.remote != nil {
		return m, t.err
	}
	rel, err := r.relation(ctx, t)
	if err != nil {
		return m, err
	}
	if err := rel.checkKey(t); err != nil {
		return m, err
	}
	m.Columns = rel.columns
	for _, p := range rel.pieces {
		list := make([]string, len(rel.columns))
		for i, c := range rel.columns {
			list[i] = quoteName(c.Name)
		}
		said := []int64{}
		// The hash makes the engine read every column, and cast it.
		err := r.engine.rows(ctx, "SELECT count(*), CAST(bit_xor(hash("+strings.Join(list, ", ")+")) & 1 AS BIGINT) FROM ("+p.query+")", func(row []any) error {
			n, _ := row[0].(int64)
			said = append(said, n)
			return nil
		})
		if err != nil {
			return m, r.locate(ctx, t, rel.wants, p.runs, r.content(err, t, pieceFiles(p)...))
		}
		m.Rows += said[0]
	}
	for _, f := range t.files {
		if info, err := os.Lstat(f.path); err == nil {
			m.Bytes += info.Size()
		}
	}
	r.countFault(t, m.Rows)
	return m, nil
}

func pieceFiles(p piece) (out []leftFile) {
	for _, one := range p.runs {
		out = append(out, one.files...)
	}
	return out
}

// countFault reports a number of rows that is not true. The rows count.
func (r *reader) countFault(t *left, rows int64) {
	if t.rows != nil && *t.rows != rows {
		r.found.err(wrong(badCount, "", fmt.Sprintf("%d rows are said to be there, and there are %d", *t.rows, rows), "count the rows after they are written, or leave the number out").of(t.name), "")
	}
}

// checkKey says which columns of the primary key are not there.
func (rel relation) checkKey(t *left) error {
	for _, k := range t.key {
		if !slices.ContainsFunc(rel.columns, func(c connectors.Column) bool { return c.Name == k }) {
			return wrong(badKey, "", "column "+short(k)+" of its primary key is not there", "name columns as the data does").of(t.name)
		}
	}
	if t.changes && !t.parted && len(t.key) == 0 && t.mode != desired.QueryRemote {
		return wrong(badKey, "", "its rows are changes, and it has no primary key to join them by", "declare primary_key, or extract all rows").of(t.name)
	}
	return nil
}
