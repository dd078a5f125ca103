//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// attach changes the views. Each source is changed in a transaction of its own:
// one that cannot be attached keeps what it had. Nobody sees the steps, since a
// worker does one thing at a time.
func (w *worker) attach(ctx context.Context, a wire.Attach) wire.AttachReply {
	failed, changed := map[string]string{}, map[string]bool{}
	fail := func(name string, err error) {
		if err != nil {
			failed[name] = strings.TrimPrefix(failed[name]+"; "+w.withoutPaths(firstPart(err.Error())), "; ")
		}
	}
	for _, name := range a.Detach {
		changed[name] = true
		fail(name, w.detach(ctx, name))
	}
	for _, source := range a.Sources {
		before := columnTexts(w.sources[source.Name])
		left, err := w.attachSource(ctx, source)
		fail(source.Name, errors.Join(err, left))
		// A view over a view follows it; its own columns are fixed when it is made.
		for target, columns := range columnTexts(w.sources[source.Name]) {
			changed[target] = before[target] != columns
			delete(before, target)
		}
		for target := range before {
			changed[target] = true
		}
	}
	for name, target := range a.Flat {
		source, _, _ := strings.Cut(target, ".")
		changed["\x00"+name] = true
		if w.flat[name] = target; target == "" {
			delete(w.flat, name)
			fail(name, w.exec(ctx, "DROP VIEW IF EXISTS main."+quoteName(name)))
		} else if _, ok := w.sources[source]; !ok {
			fail(source, fmt.Errorf("%s is not attached", source))
		}
	}
	w.flatten(ctx, changed, fail)
	for _, table := range a.System {
		fail("fairlead."+table.Name, w.systemTable(ctx, table))
	}
	w.publish()
	have := map[string]int{}
	for name, source := range w.sources {
		have[name] = source.Generation
	}
	return wire.AttachReply{Have: have, Failed: failed}
}

// columnTexts are the columns of the tables of a source, each as one text.
func columnTexts(s wire.Source) map[string]string {
	out := make(map[string]string, len(s.Tables))
	for _, t := range s.Tables {
		out[s.Name+"."+t.Name] = fmt.Sprintf("%q", t.Columns)
	}
	return out
}

// exec runs statements with a time limit, since a file may be on a disk that
// hangs and a remote database may be gone.
func (w *worker) exec(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	return w.engine.exec(ctx, statements...)
}

// transaction makes all of the changes or none.
func (w *worker) transaction(ctx context.Context, statements []string) error {
	limited, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	err := w.engine.script(limited, "BEGIN;\n"+strings.Join(statements, ";\n")+";\nCOMMIT")
	if err != nil {
		// After an error of COMMIT there is nothing to roll back, which is one too.
		_ = w.engine.exec(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

func (w *worker) detach(ctx context.Context, name string) error {
	if _, ok := w.sources[name]; !ok {
		return nil
	}
	if err := w.exec(ctx, "DROP SCHEMA IF EXISTS "+quoteName(name)+" CASCADE"); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	delete(w.sources, name)
	return nil
}

// attachSource puts the views of a generation in the place of those that were
// there. What could not be attached of remote databases is in left; it does not
// keep the rest away.
func (w *worker) attachSource(ctx context.Context, s wire.Source) (left, err error) {
	if err := w.sourceName(s.Name); err != nil {
		return nil, err
	}
	schema := quoteName(s.Name)
	statements := []string{"CREATE SCHEMA IF NOT EXISTS " + schema}
	kept := map[string]bool{}
	had := w.sources[s.Name]
	s.Tables = slices.Clone(s.Tables)
	for _, t := range s.Tables {
		text, err := w.view(ctx, s, t)
		if err == nil && t.Remote != nil {
			// The engine asks the database what it has: that fails for itself.
			_, err = w.prepares(ctx, text)
		}
		if err != nil && t.Remote != nil {
			left = errors.Join(left, fmt.Errorf("table %s: %w", t.Name, err))
			continue
		} else if err != nil {
			return nil, fmt.Errorf("attach table %s: %w", t.Name, err)
		}
		kept[t.Name] = true
		statements = append(statements, "CREATE OR REPLACE VIEW "+schema+"."+quoteName(t.Name)+" AS "+text)
	}
	for _, t := range had.Tables {
		if !kept[t.Name] {
			statements = append(statements, "DROP VIEW IF EXISTS "+schema+"."+quoteName(t.Name))
		}
	}
	if err := w.transaction(ctx, statements); err != nil {
		return nil, fmt.Errorf("attach: %w", err)
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t connectors.ManifestTable) bool { return !kept[t.Name] })
	w.sources[s.Name] = s
	return left, nil
}

func (w *worker) prepares(ctx context.Context, text string) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	err = w.engine.during(ctx, func() error {
		s, err := w.engine.prepare(text)
		if err == nil {
			s.close()
		}
		return err
	})
	return err == nil, err
}

// sourceName keeps the engine's own names, and ours, from being a source's.
func (w *worker) sourceName(name string) error {
	taken := []string{"main", "fairlead", "memory", "system", "temp", "information_schema", "pg_catalog", "recurring"}
	if name == "" || slices.Contains(taken, lower(name)) || strings.ContainsAny(name, ".\"'") {
		return fmt.Errorf("attach: a source may not be named %q", name)
	}
	return nil
}

// view is the text of the view of a table: each column by its name and in the
// type that the manifest has for it.
func (w *worker) view(ctx context.Context, s wire.Source, t connectors.ManifestTable) (string, error) {
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

// flatten makes the names of tables without their sources, of those that changed:
// all at once, or one by one to find the one that cannot be made.
func (w *worker) flatten(ctx context.Context, changed map[string]bool, fail func(string, error)) {
	var sources, statements []string
	for _, name := range sortedKeys(w.flat) {
		target := w.flat[name]
		source, table, _ := strings.Cut(target, ".")
		if !changed[source] && !changed[target] && !changed["\x00"+name] {
			continue
		}
		text := "DROP VIEW IF EXISTS main." + quoteName(name)
		if slices.ContainsFunc(w.sources[source].Tables, func(t connectors.ManifestTable) bool { return t.Name == table }) {
			text = "CREATE OR REPLACE VIEW main." + quoteName(name) + " AS FROM " + quoteName(source) + "." + quoteName(table)
		}
		sources, statements = append(sources, source), append(statements, text)
	}
	if len(statements) == 0 || w.transaction(ctx, statements) == nil {
		return
	}
	for i, text := range statements {
		fail(sources[i], w.exec(ctx, text))
	}
}

// systemTable makes a table of a file of JSON lines.
func (w *worker) systemTable(ctx context.Context, t wire.SystemTable) error {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		if err := w.checkType(ctx, c.Type); err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
		columns[i] = quoteName(c.Name) + ": " + quoteText(c.Type)
	}
	text := fmt.Sprintf("CREATE OR REPLACE TABLE fairlead.%s AS FROM read_json(%s, format = 'newline_delimited', columns = {%s})",
		quoteName(t.Name), quoteText(t.File), strings.Join(columns, ", "))
	if err := w.exec(ctx, text); err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	w.system[t.Name] = true
	return nil
}

// publish tells the gate what may be read.
func (w *worker) publish() {
	var names []string
	for name, source := range w.sources {
		for _, t := range source.Tables {
			names = append(names, name+"."+t.Name)
		}
	}
	for name, target := range w.flat {
		if slices.Contains(names, target) {
			names = append(names, name)
		}
	}
	for name := range w.system {
		names = append(names, "fairlead."+name)
	}
	w.gate.publish(names)
}
