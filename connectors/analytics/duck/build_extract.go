//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

func (b *builder) link(path string) error {
	if err := linkFile(b.before, b.to, path); err != nil {
		return fmt.Errorf("%w: %w", errHost, err)
	}
	return nil
}

// finish writes extract.duckdb, has everything on the disk for good and fills in
// what the files are.
func (b *builder) finish(ctx context.Context, m *connectors.Manifest) error {
	known := map[string]connectors.ManifestFile{}
	for _, t := range b.had {
		for _, f := range t.Files {
			known[f.Path] = f
		}
	}
	for i := range m.Tables {
		for k, f := range m.Tables[i].Files {
			if err := ctx.Err(); err != nil {
				return err
			}
			sealed, err := seal(b.to, f, known)
			if err != nil {
				return err
			}
			m.Tables[i].Files[k] = sealed
		}
	}
	if err := writeExtract(ctx, b.to, m); err != nil {
		return err
	}
	return syncTree(b.to)
}

// writeExtract writes extract.duckdb for other readers: _meta, _remote_attach and
// views whose paths are those below its own directory. It is whole or not there.
func writeExtract(ctx context.Context, to string, m *connectors.Manifest) error {
	var standIns []string
	statements := []string{"CREATE TABLE fairlead." + strings.TrimPrefix(metaColumns, "CREATE TABLE ")}
	if len(m.Remotes) > 0 {
		statements = append(statements, "CREATE TABLE fairlead._remote_attach (alias VARCHAR, extension VARCHAR, url VARCHAR, token_env VARCHAR)")
		for _, r := range m.Remotes {
			token := "NULL"
			if r.TokenEnv != "" {
				token = quoteText(r.TokenEnv)
			}
			statements = append(statements, fmt.Sprintf("INSERT INTO fairlead._remote_attach VALUES (%s, %s, %s, %s)", quoteText(r.Alias), quoteText(r.Extension), quoteText(r.URL), token))
		}
	}
	made := map[string]bool{}
	for _, t := range m.Tables {
		statements = append(statements, fmt.Sprintf("INSERT INTO fairlead._meta VALUES (%s, %s, %s, %d, make_timestamp(%d), %s)",
			quoteText(t.Name), quoteText(t.Description), rowsOf(t), t.Bytes, t.ExtractedAt.UnixMicro(), quoteText(string(t.QueryMode))))
		if t.Remote != nil {
			standIns = append(standIns, standIn(*t.Remote, made)...)
		}
		statements = append(statements, viewOf(t))
	}
	return writeDatabase(ctx, filepath.Join(to, extractFile), to, standIns, statements)
}

// rowsOf is a number of rows as SQL; of a remote table nobody knows it.
func rowsOf(t connectors.ManifestTable) string {
	if t.Remote != nil {
		return "NULL"
	}
	return strconv.FormatInt(t.Rows, 10)
}

// viewOf is the view of a table.
func viewOf(t connectors.ManifestTable) string {
	view := "CREATE VIEW fairlead." + quoteName(t.Name) + " AS SELECT * FROM "
	if t.Remote == nil {
		return view + "read_parquet(" + relativeList(t) + ")"
	}
	return view + quoteName(t.Remote.Alias) + "." + quoteName(t.Remote.Schema) + "." + quoteName(t.Remote.Table)
}

// standIn makes a table that the view of a remote one is bound to: nothing is
// attached here.
func standIn(r connectors.RemoteTable, made map[string]bool) (out []string) {
	alias := quoteName(r.Alias)
	schema := alias + "." + quoteName(r.Schema)
	table := schema + "." + quoteName(r.Table)
	for _, step := range []struct{ name, statement string }{
		{alias, "ATTACH ':memory:' AS " + alias},
		{schema, "CREATE SCHEMA IF NOT EXISTS " + schema},
		{table, "CREATE TABLE " + table + " (unknown VARCHAR)"},
	} {
		if !made[fold(step.name)] {
			made[fold(step.name)] = true
			out = append(out, step.statement)
		}
	}
	return out
}

func relativeList(t connectors.ManifestTable) string {
	quoted := make([]string, len(t.Files))
	for i, f := range t.Files {
		quoted[i] = quoteText(f.Path)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// storage is the format that the databases have which we write: the oldest that
// keeps all of it, for readers of other versions.
const storage = "v1.2.0"

// writeDatabase writes a database file, which is attached as fairlead, with
// statements, under a temporary name, and gives it its own when it is closed. The
// stand-ins come first: a transaction writes to one database alone.
func writeDatabase(ctx context.Context, path, search string, standIns, statements []string) error {
	temp := path + ".tmp"
	for _, old := range []string{temp, temp + ".wal"} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("write %s: %w", filepath.Base(path), err)
		}
	}
	e, err := openEngine(engineOptions{Memory: "512MB", Threads: 1})
	if err != nil {
		return err
	}
	defer e.close()
	before := []string{"SET file_search_path = " + quoteText(search), "ATTACH " + quoteText(temp) + " AS fairlead (STORAGE_VERSION '" + storage + "')"}
	after := []string{"COMMIT", "CHECKPOINT fairlead", "DETACH fairlead"}
	for _, group := range [][]string{before, standIns, {"BEGIN"}, statements, after} {
		if err := e.exec(ctx, group...); err != nil {
			return fmt.Errorf("write %s: %w", filepath.Base(path), err)
		}
	}
	if _, err := os.Lstat(temp + ".wal"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: its log is still there after it was closed", filepath.Base(path))
	}
	if err := errors.Join(os.Chmod(temp, 0o640), syncPath(temp)); err != nil {
		return err
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return syncPath(filepath.Dir(path))
}
