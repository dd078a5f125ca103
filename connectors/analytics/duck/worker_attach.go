//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// source is a generation that is attached.
type source struct {
	wire.Source
	views map[string]string // table -> the text of its view
}

// attach changes what there is to read. A source that cannot be attached keeps
// what it had. Nobody sees the steps, since a worker does one thing at a time.
// The files are looked at here; a view is made when a statement names it.
func (w *worker) attach(ctx context.Context, a wire.Attach) wire.AttachReply {
	failed := map[string]string{}
	fail := func(name string, err error) {
		if err != nil {
			failed[name] = strings.TrimPrefix(failed[name]+"; "+w.withoutPaths(firstPart(err.Error())), "; ")
		}
	}
	for _, name := range a.Detach {
		fail(name, w.detach(ctx, name))
	}
	w.attachSources(ctx, a.Sources, fail)
	w.flatten(a.Flat, fail)
	for _, table := range a.System {
		fail("fairlead."+table.Name, w.systemTable(ctx, table))
	}
	w.publish()
	fail("fairlead.views", w.forget(ctx))
	have := map[string]int{}
	for name, source := range w.sources {
		have[name] = source.Generation
	}
	return wire.AttachReply{Have: have, Failed: failed}
}

// exec runs statements with a time limit, since a file may be on a disk that
// hangs and a remote database may be gone.
func (w *worker) exec(ctx context.Context, statements ...string) error {
	ctx, cancel := context.WithTimeout(ctx, attachLimit)
	defer cancel()
	return w.engine.exec(ctx, statements...)
}

func (w *worker) detach(ctx context.Context, name string) error {
	if _, ok := w.sources[name]; !ok {
		return nil
	}
	if err := w.exec(ctx, "DROP SCHEMA IF EXISTS "+quoteName(name)+" CASCADE"); err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	maps.DeleteFunc(w.made, func(_ string, v tableView) bool { return v.schema == name })
	delete(w.sources, name)
	return nil
}

// attachSources puts generations in the place of those that were there.
func (w *worker) attachSources(ctx context.Context, list []wire.Source, fail func(string, error)) {
	var ready []source
	for _, one := range list {
		s, left, err := w.describe(ctx, one)
		if fail(one.Name, errors.Join(err, left)); err == nil {
			ready = append(ready, s)
		}
	}
	damaged := w.survey(ctx, ready)
	for _, s := range ready {
		if err := damaged[s.Name]; err != nil {
			fail(s.Name, fmt.Errorf("attach: %w", err))
			continue
		}
		w.sources[s.Name] = s
	}
}

// describe writes the views of a generation. What could not be attached of remote
// databases is in left; it does not keep the rest away.
func (w *worker) describe(ctx context.Context, one wire.Source) (s source, left, err error) {
	if err := w.sourceName(one.Name); err != nil {
		return s, nil, err
	}
	s = source{one, make(map[string]string, len(one.Tables))}
	for _, t := range one.Tables {
		text, err := w.viewText(ctx, one, t)
		if err == nil && t.Remote != nil {
			// The engine asks the database what it has: that fails for itself.
			err = w.prepares(ctx, text)
		}
		if err != nil && t.Remote != nil {
			left = errors.Join(left, fmt.Errorf("table %s: %w", t.Name, err))
			continue
		} else if err != nil {
			return s, nil, fmt.Errorf("attach table %s: %w", t.Name, err)
		}
		s.views[t.Name] = text
	}
	s.Tables = slices.DeleteFunc(slices.Clone(one.Tables), func(t connectors.ManifestTable) bool { return s.views[t.Name] == "" })
	return s, left, nil
}

// sourceName keeps the engine's own names, and ours, from being a source's.
func (w *worker) sourceName(name string) error {
	taken := []string{"main", "fairlead", "memory", "system", "temp", "information_schema", "pg_catalog", "recurring"}
	if name == "" || slices.Contains(taken, lower(name)) || strings.ContainsAny(name, ".\"'") {
		return fmt.Errorf("attach: a source may not be named %q", name)
	}
	return nil
}

// flatName is a name without a source, and the table that it stands for.
type flatName struct{ name, target string }

// flatten changes the names of tables without their sources. The engine does not
// tell two spellings of a name apart.
func (w *worker) flatten(changes map[string]string, fail func(string, error)) {
	for name, target := range changes {
		if target == "" && w.flat[lower(name)].name == name {
			delete(w.flat, lower(name))
		}
	}
	for name, target := range changes {
		if target == "" {
			continue
		}
		w.flat[lower(name)] = flatName{name, target}
		source, _, _ := strings.Cut(target, ".")
		if _, ok := w.sources[source]; !ok {
			fail(source, fmt.Errorf("%s is not attached", source))
		}
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

// publish makes out which views there are to be, and tells the gate what may be
// read.
func (w *worker) publish() {
	w.views = make(map[string]tableView, 2*len(w.flat))
	var names []string
	add := func(name string, v tableView) {
		w.views[lower(name)] = v
		names = append(names, name)
	}
	for name, source := range w.sources {
		for table, text := range source.views {
			add(name+"."+table, tableView{name, table, text})
		}
	}
	for _, f := range w.flat {
		source, table, _ := strings.Cut(f.target, ".")
		if text := w.sources[source].views[table]; text != "" {
			add(f.name, tableView{"main", f.name, text})
		}
	}
	for name := range w.system {
		names = append(names, "fairlead."+name)
	}
	w.gate.publish(names)
}
