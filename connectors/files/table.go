package files

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

const maxWarnings = 10 // of files of one table

// plan is what a run does for a table.
type plan struct {
	spec    connectors.TableSpec
	read    reading
	all     []object
	fetch   []object // of them
	changes bool     // the others are here
	parts   bool
	dir     bool // NAME is a directory
	gone    []string
	was     left
	only    string
}

// table reads one table. Of an error nothing is left behind.
func (s *Source) table(ctx context.Context, job connectors.Job, spec connectors.TableSpec, was left, only string) (connectors.TableResult, left, error) {
	p, err := s.plan(ctx, spec, was, only)
	if err != nil {
		return connectors.TableResult{}, was, err
	}
	r := &run{Source: s, plan: p, job: job, budget: s.settings.MaxBytes}
	result, now, err := r.do(ctx)
	if err != nil {
		_ = os.RemoveAll(filepath.Join(job.Dir, spec.Name)) // Dir is thrown away with the run in any case
	}
	return result, now, err
}

func (s *Source) plan(ctx context.Context, spec connectors.TableSpec, was left, only string) (p plan, err error) {
	o, err := checkSpec(spec)
	if err != nil {
		return p, err
	}
	if spec.QueryMode != "" && spec.QueryMode != desired.QueryLocal {
		return p, fmt.Errorf("queryMode: files are copied here; %s is not for them", spec.QueryMode)
	}
	p = plan{spec: spec, read: s.reading(spec, o), was: was, only: only, parts: spec.Strategy == connectors.Partitioned}
	if p.all, err = s.find(ctx, spec, only, s.settings.MaxFiles); err != nil {
		return p, err
	}
	if len(p.all) == 0 && !o.allowEmpty {
		return p, connectors.WithHint(fmt.Errorf("%s: no file matches", strings.Join(pathsOf(spec), ", ")), "See that the glob is right, or set allowEmpty to true when there may be none")
	}
	p.dir = p.parts || len(p.all) != 1
	p.fetch = p.all
	if was.Request != request(spec) || !p.kept() {
		return p, nil
	}
	p.changes = true
	p.fetch = slices.DeleteFunc(slices.Clone(p.all), func(o object) bool {
		past, had := was.Files[o.shown]
		return had && o.tag != "" && past.Tag == o.tag
	})
	if p.dir = p.parts || len(p.fetch) != 1; p.parts {
		p.gone = p.lost()
	} else { // of several rows of a key the last counts: that of the newest file
		slices.SortStableFunc(p.fetch, func(a, b object) int { return a.modified.Compare(b.modified) })
	}
	return p, nil
}

// kept says that what was read stays, and only changes are read.
func (p plan) kept() bool {
	return p.spec.Strategy == connectors.Partitioned || p.spec.Strategy == connectors.Incremental
}

// lost are the parts whose files are no more.
func (p plan) lost() (parts []string) {
	there := map[string]bool{}
	for _, o := range p.all {
		there[o.shown] = true
	}
	for shown, past := range p.was.Files {
		if !there[shown] && past.Part != "" {
			parts = append(parts, past.Part)
		}
	}
	slices.Sort(parts)
	return parts
}

// part names the part of a file: by its path, so that people know it, and so that
// no two are the same.
func part(o object) string {
	_, path, remote := strings.Cut(o.shown, "://")
	if !remote {
		path = o.shown
	}
	path, _, _ = strings.Cut(path, "?")
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_=-", r) {
			return r
		}
		return '_'
	}, stem(path))
	name = strings.TrimLeft(name, "_=-")
	return cmp.Or(name[max(0, len(name)-96):], "file") + "-" + digest(o.shown)[:8]
}

// run is one table being read.
type run struct {
	*Source
	plan   plan
	job    connectors.Job
	budget int64 // bytes that may still be read
	done   int64 // bytes that came
	told   int64

	result  connectors.TableResult
	columns []string // of all files, in the order that they were met
	first   []string // of the file that the others are compared with
	bad     int64
	failed  []error
}

func (r *run) do(ctx context.Context) (connectors.TableResult, left, error) {
	p := r.plan
	r.result = connectors.TableResult{Table: p.spec.Name, Outcome: connectors.OK, Changes: p.changes, PrimaryKey: p.spec.PrimaryKey, Gone: p.gone}
	now := left{Request: request(p.spec), Files: map[string]seen{}}
	if p.changes {
		for _, o := range p.all {
			if past, had := p.was.Files[o.shown]; had {
				now.Files[o.shown] = past
			}
		}
		for _, c := range p.was.Columns {
			r.columns, r.first = append(r.columns, c.Name), append(r.first, c.Name)
		}
	}
	if p.dir && len(p.fetch) > 0 {
		if err := os.Mkdir(filepath.Join(r.job.Dir, p.spec.Name), 0o755); err != nil {
			return r.result, now, err
		}
	}
	for i, o := range p.fetch {
		got, err := r.file(ctx, i, &o)
		if err != nil {
			if r.failed = append(r.failed, fmt.Errorf("%s: %w", o.shown, err)); !r.mayGoOn(ctx) {
				return r.result, now, r.failed[0]
			}
			continue
		}
		now.Files[o.shown] = got
	}
	return r.finish(now)
}

// mayGoOn says whether a table is of use without one of its files: when the
// next run reads that one alone, and nothing that is here is lost meanwhile.
func (r *run) mayGoOn(ctx context.Context) bool {
	return ctx.Err() == nil && r.plan.kept() && (r.plan.changes || r.plan.was.Request == "")
}

// finish says what the table came to.
func (r *run) finish(now left) (connectors.TableResult, left, error) {
	if len(r.failed) > 0 && len(r.failed) == len(r.plan.fetch) {
		return r.result, now, r.failed[0]
	}
	if !r.plan.kept() {
		now.Files = nil // nobody asks for them
	}
	for _, name := range r.columns {
		now.Columns = append(now.Columns, connectors.Column{Name: name, Type: r.plan.spec.Types[name]})
	}
	if len(now.Columns) == 0 {
		now.Columns = r.plan.was.Columns // of no file
	}
	r.result.Columns = now.Columns
	if len(r.plan.was.Columns) > 0 {
		said, _ := connectors.SchemaChanges(r.plan.was.Columns, now.Columns)
		for _, s := range said {
			r.result.Warnings = append(r.result.Warnings, strings.TrimSuffix(s, " ()"))
		}
	}
	r.result.Warnings = append(r.result.Warnings, r.plan.read.unused(r.plan.spec.Types)...)
	if err := r.checkTypes(); err != nil {
		return r.result, now, err
	}
	if r.bad > 0 {
		r.result.Outcome = connectors.Partial
		r.result.Error = fmt.Sprintf("%d rows were left out, as badRows says", r.bad)
	}
	if n := len(r.failed); n > 0 {
		r.result.Outcome, r.result.Hint = connectors.Partial, connectors.Hint(r.failed[0])
		r.result.Error = fmt.Sprintf("%d of %d files failed; the first: %v", n, len(r.plan.fetch), r.failed[0])
	}
	if w := r.result.Warnings; len(w) > maxWarnings {
		r.result.Warnings = append(w[:maxWarnings:maxWarnings], fmt.Sprintf("%d more warnings", len(w)-maxWarnings))
	}
	return r.result, now, nil
}

// checkTypes looks for declared types of columns that no file has.
func (r *run) checkTypes() error {
	if len(r.columns) == 0 || len(r.plan.fetch) == 0 {
		return nil
	}
	for name := range r.plan.spec.Types {
		if slices.Contains(r.columns, name) {
			continue
		}
		text := fmt.Sprintf("types: no file has a column %s", short(name))
		if r.plan.read.strict {
			return errors.New(text)
		}
		r.result.Warnings = append(r.result.Warnings, text)
	}
	return nil
}

// file reads one file into its part.
func (r *run) file(ctx context.Context, i int, o *object) (seen, error) {
	from, err := r.storeOf(o.place, r.plan.only)
	if err != nil {
		return seen{}, err
	}
	path, name := filepath.Join(r.job.Dir, r.plan.spec.Name), ""
	switch {
	case r.plan.parts:
		name = part(*o)
		path = filepath.Join(path, name)
	case r.plan.dir:
		path = filepath.Join(path, fmt.Sprintf("part-%05d", i))
	}
	got, size, err := r.convert(ctx, from, o, path)
	if err != nil {
		return seen{}, err
	}
	if err := r.compare(o.shown, got.columns); err != nil {
		return seen{}, err
	}
	if r.plan.parts && r.plan.changes {
		r.result.Parts = append(r.result.Parts, name)
	}
	for _, s := range got.said {
		r.result.Warnings = append(r.result.Warnings, o.shown+": "+s)
	}
	if got.bad > 0 {
		r.result.Warnings = append(r.result.Warnings, fmt.Sprintf("%s: %d rows were left out; the first: %s", o.shown, got.bad, got.firstly))
	}
	r.bad += got.bad
	r.result.Rows += got.rows
	r.result.Bytes += size
	return seen{Tag: o.tag, Part: name}, nil
}

// compare takes the columns of a file in, and says how they differ from those of
// the first.
func (r *run) compare(shown string, columns []string) error {
	for _, c := range columns {
		if !slices.Contains(r.columns, c) {
			r.columns = append(r.columns, c)
		}
	}
	if len(r.first) == 0 || len(columns) == 0 {
		if len(r.first) == 0 {
			r.first = columns
		}
		return nil
	}
	var said []string
	if less := without(r.first, columns); len(less) > 0 {
		said = append(said, "has no "+shortList(less))
	}
	if more := without(columns, r.first); len(more) > 0 {
		said = append(said, "has "+shortList(more)+" besides")
	}
	if len(said) == 0 {
		return nil
	}
	text := "the columns differ: it " + strings.Join(said, " and ")
	if r.plan.read.strict {
		return wrong("Mend the file, or leave strict out to have empty values where a file has no column", "%s", text)
	}
	r.result.Warnings = append(r.result.Warnings, shown+": "+text)
	return nil
}

func without(names, others []string) (out []string) {
	for _, n := range names {
		if !slices.Contains(others, n) {
			out = append(out, n)
		}
	}
	return out
}
