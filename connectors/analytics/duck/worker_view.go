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

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// tableView is a view of the engine: one over a table of a source, or over the same
// under its flat name, which is in main.
type tableView struct {
	schema, name string
	text         string // empty: it only takes the place of one that nobody has named yet
}

func (v tableView) fullName() string { return quoteName(v.schema) + "." + quoteName(v.name) }

// unread is the text of a view that lists of tables show and no statement reads.
const unread = "SELECT error('this view was not made') AS unread"

// makeViews makes those views that a statement names and that the engine has not,
// or has of another generation: all of them or none. A statement that lists the
// tables of a schema sees those that nobody has named yet, too.
func (w *worker) makeViews(ctx context.Context, names []string, listed []string) error {
	missing := map[string]tableView{}
	for _, name := range names {
		if v, there := w.views[name]; there && w.made[name] != v {
			missing[name] = v
		}
	}
	if len(listed) > 0 {
		for name, v := range w.views {
			if _, made := w.made[name]; !made && missing[name].text == "" && slices.Contains(listed, lower(v.schema)) {
				missing[name] = tableView{v.schema, v.name, ""}
			}
		}
	}
	var statements []string
	schemas := map[string]bool{"main": true}
	for _, name := range sortedKeys(missing) {
		v := missing[name]
		if !schemas[v.schema] {
			schemas[v.schema] = true
			statements = append(statements, "CREATE SCHEMA IF NOT EXISTS "+quoteName(v.schema))
		}
		statements = append(statements, "CREATE OR REPLACE VIEW "+v.fullName()+" AS "+cmp.Or(v.text, unread))
	}
	if err := w.transaction(ctx, statements); err != nil {
		return err
	}
	maps.Copy(w.made, missing)
	return nil
}

// forget drops the views whose names are no more. One of a generation before stays
// until a statement names it, which has the new one made first.
func (w *worker) forget(ctx context.Context) error {
	var names, statements []string
	for _, name := range sortedKeys(w.made) {
		had, now := w.made[name], w.views[name]
		if had.schema != now.schema || had.name != now.name {
			names, statements = append(names, name), append(statements, "DROP VIEW IF EXISTS "+had.fullName())
		}
	}
	if err := w.transaction(ctx, statements); err != nil {
		return fmt.Errorf("drop: %w", err)
	}
	for _, name := range names {
		delete(w.made, name)
	}
	return nil
}

// transaction makes all of the changes or none.
func (w *worker) transaction(ctx context.Context, statements []string) error {
	if len(statements) == 0 {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	err := w.engine.script(limited, "BEGIN;\n"+strings.Join(statements, ";\n")+";\nCOMMIT")
	if err != nil {
		// After an error of COMMIT there is nothing to roll back, which is one too.
		_ = w.engine.exec(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

// prepares says whether a statement can be planned.
func (w *worker) prepares(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	return w.engine.during(ctx, func() error {
		s, err := w.engine.prepare(text)
		if err == nil {
			s.close()
		}
		return err
	})
}

// viewText is the text of the view of a table: each column by its name and in the
// type that the manifest has for it.
func (w *worker) viewText(ctx context.Context, s wire.Source, t connectors.ManifestTable) (string, error) {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if err := w.checkType(ctx, c.Type); err != nil {
			return "", fmt.Errorf("column %s: %w", c.Name, err)
		}
		name := quoteName(c.Name)
		columns[i] = "CAST(file." + name + " AS " + c.Type + ") AS " + name
	}
	from, err := w.from(s, t)
	if err != nil {
		return "", err
	}
	if len(columns) == 0 {
		return "", errors.New("it has no columns")
	}
	return "SELECT " + strings.Join(columns, ", ") + " FROM " + from + " AS file", nil
}

// from names what a table is read from.
func (w *worker) from(s wire.Source, t connectors.ManifestTable) (string, error) {
	if t.Remote != nil {
		if reason, known := w.remotes[t.Remote.Alias]; !known {
			return "", fmt.Errorf("remote %s is not attached", t.Remote.Alias)
		} else if reason != "" {
			return "", fmt.Errorf("remote %s: %s", t.Remote.Alias, reason)
		}
		return quoteName(remoteAlias(t.Remote.Alias)) + "." + quoteName(t.Remote.Schema) + "." + quoteName(t.Remote.Table), nil
	}
	files := make([]string, len(t.Files))
	for i, f := range t.Files {
		path, err := generationFile(s.Dir, f)
		if err != nil {
			return "", err
		}
		files[i] = quoteText(path)
	}
	if len(files) == 0 {
		return "", errors.New("it has no files")
	}
	// Parts may be of different times, and the older have fewer columns.
	return fmt.Sprintf("read_parquet([%s], hive_partitioning = false, union_by_name = %t)",
		strings.Join(files, ", "), len(files) > 1), nil
}

// generationFile is the path of a file of a generation, which is the one that
// the manifest speaks of.
func generationFile(dir string, f connectors.ManifestFile) (string, error) {
	if !filepath.IsLocal(f.Path) || strings.ContainsAny(f.Path, "*?[]{}") {
		return "", fmt.Errorf("%q is not the path of a file", f.Path)
	}
	path := filepath.Join(dir, f.Path)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", fmt.Errorf("file %s is missing", f.Path)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a file", f.Path)
	case f.Size > 0 && info.Size() != f.Size:
		return "", fmt.Errorf("file %s has %d bytes; the manifest says %d", f.Path, info.Size(), f.Size)
	}
	return path, nil
}

// checkType makes sure that the text of a type is one and nothing else, before it
// is part of a statement.
func (w *worker) checkType(ctx context.Context, text string) error {
	if w.types[text] {
		return nil
	}
	admitted, err := w.gate.admit(ctx, "SELECT CAST(NULL AS "+text+")")
	if err != nil || text == "" {
		return fmt.Errorf("%q is not a type", text)
	}
	list, _ := dig(admitted.tree, "node", "select_list")
	elements, _ := list.([]any)
	from, _ := dig(admitted.tree, "node", "from_table", "type")
	if len(elements) != 1 || from != "EMPTY" {
		return fmt.Errorf("%q is not a type", text)
	}
	if class, _ := dig(elements[0], "class"); class != "CAST" {
		return fmt.Errorf("%q is not a type", text)
	}
	w.types[text] = true
	return nil
}
