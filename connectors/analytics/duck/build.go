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
	"github.com/fairlead/fairlead/desired"
)

// RunBuild makes of what a run left a generation in the directory req.To. Without
// a Manifest in the reply there is none, and To is to be removed, as it is when
// the process ends before it replies. Nothing outside of To is changed but a
// directory for what does not fit into memory, which is gone at the end.
func RunBuild(ctx context.Context, req wire.BuildRequest) wire.BuildReply {
	var reply wire.BuildReply
	if err := build(ctx, req, &reply); err != nil {
		reply.Manifest, reply.Error = nil, err.Error()
	}
	return reply
}

func build(ctx context.Context, req wire.BuildRequest, reply *wire.BuildReply) error {
	l, err := limitsOf(req.Limits)
	if err != nil {
		return err
	}
	defer os.RemoveAll(l.temp)
	b := &builder{req: req, had: map[string]connectors.ManifestTable{}}
	allowed, err := b.places()
	if err != nil {
		return err
	}
	found := &findings{}
	if b.reader, err = openReader(ctx, l, found, allowed...); err != nil {
		return err
	}
	defer b.engine.close()
	tables, err := b.lefts(ctx)
	if f, ok := errors.AsType[*fault](err); ok {
		found.err(f, "")
		reply.Problems, reply.Tables = found.sorted(), b.allFailed(f)
		return nil
	}
	if err != nil {
		return err
	}
	if err := b.all(ctx, tables); err != nil {
		return err
	}
	reply.Tables, reply.Problems = b.results, found.sorted()
	if b.good == 0 {
		return nil
	}
	reply.Manifest = b.manifest()
	return b.finish(ctx, reply.Manifest)
}

// builder makes one generation.
type builder struct {
	*reader
	req        wire.BuildRequest
	dir        string // what the run left
	to, before string
	had        map[string]connectors.ManifestTable // by name, of the generation before
	remotes    []connectors.Remote
	tables     []connectors.ManifestTable
	results    []connectors.TableResult
	good       int
}

// places finds the directories of a request.
func (b *builder) places() ([]string, error) {
	var err error
	if b.dir, err = realPath(b.req.From.Dir); err != nil {
		return nil, err
	}
	if b.to, err = realPath(b.req.To); err != nil {
		return nil, err
	}
	if strings.Contains(b.to, ",") {
		return nil, fmt.Errorf("open %s: its path has a comma, which stands between paths in DuckDB", b.to)
	}
	allowed := []string{b.dir, b.to}
	if b.req.Before != nil {
		if b.before, err = realPath(b.req.BeforeDir); err != nil {
			return nil, err
		}
		allowed = append(allowed, b.before)
		for _, t := range b.req.Before.Tables {
			b.had[t.Name] = t
		}
	}
	return allowed, os.Mkdir(filepath.Join(b.to, "data"), 0o750)
}

// lefts are the tables of this run, by name.
func (b *builder) lefts(ctx context.Context) (map[string]*left, error) {
	from := b.req.From
	if from.Built {
		return b.builtLefts()
	}
	dir, err := outOf(b.dir)
	if err != nil {
		return nil, err
	}
	s, err := b.survey(ctx, dir, "", b.req.Remote, from.At)
	if err != nil {
		return nil, err
	}
	b.remotes = s.remotes
	if len(s.tables) == 0 {
		return nil, wrong(badEmpty, "", "the run left no table", "leave NAME.parquet, .csv or .ndjson, a directory NAME of parts, or an extract.duckdb with _meta, in out/")
	}
	maps.DeleteFunc(s.tables, func(name string, _ *left) bool { return len(from.Only) > 0 && !slices.Contains(from.Only, name) })
	for _, name := range append(slices.Sorted(maps.Keys(from.Wanted)), from.Only...) {
		if s.tables[name] == nil && (len(from.Only) == 0 || slices.Contains(from.Only, name)) {
			s.tables[name] = &left{name: name, err: wrong(badMissing, "", "table "+short(name)+" is wanted, and the run did not leave it", "leave it, or take it out of the connector's tables").of(name)}
		}
	}
	for _, r := range from.Tables {
		if r.Outcome == connectors.Failed { // what of it is there is not whole
			s.tables[r.Table] = &left{name: r.Table, result: r, err: errors.New(cmp.Or(r.Error, "it failed"))}
		}
	}
	for _, t := range s.tables {
		t.want(from.Wanted[t.name])
		b.past(t)
	}
	return s.tables, nil
}

// past has changes keep the columns that the rows before have: what they leave
// out is null, not gone.
func (b *builder) past(t *left) {
	had, there := b.had[t.name]
	if !t.changes || !there {
		t.changes = t.changes && there && had.Remote == nil // the first rows of a program are all there are
		return
	}
	t.hints = had.Columns
}

// want adds what the desired state says.
func (t *left) want(w connectors.Wanted) {
	t.description = cmp.Or(w.Description, t.description)
	t.owner = cmp.Or(w.Owner, t.owner)
	if w.QueryMode == string(desired.QueryMaterialized) && t.mode == desired.QueryLocal {
		t.mode = desired.QueryMaterialized
	}
	if len(w.PrimaryKey) > 0 {
		t.key = w.PrimaryKey
	}
	if len(w.Types) > 0 {
		t.types = maps.Clone(t.types)
		if t.types == nil {
			t.types = map[string]string{}
		}
		maps.Copy(t.types, w.Types)
	}
}

// builtLefts joins what a built-in source reported with the files that it left.
func (b *builder) builtLefts() (map[string]*left, error) {
	from := b.req.From
	files, err := scan(b.dir, b.limits, b.found)
	if err != nil {
		return nil, err
	}
	for _, r := range from.Remotes {
		if f := checkRemote(r, b.req.Remote); f != nil {
			b.found.err(f, "")
			continue
		}
		b.remotes = append(b.remotes, r)
	}
	out := map[string]*left{}
	for _, result := range from.Tables {
		t := files[result.Table]
		if t == nil {
			t = &left{name: result.Table, mode: desired.QueryLocal}
		}
		out[t.name] = t
		b.report(t, result, from.Wanted[t.name])
	}
	if len(out) == 0 {
		return nil, wrong(badEmpty, "", "the run was for no table", "name the tables that are wanted")
	}
	return out, nil
}

// report takes over what a built-in source says of a table.
func (b *builder) report(t *left, r connectors.TableResult, w connectors.Wanted) {
	t.result, t.settled, t.at = r, true, b.req.From.At
	t.description, t.key, t.columns, t.changes = r.Description, r.PrimaryKey, r.Columns, r.Changes
	t.want(w)
	t.remote = r.Remote
	if t.remote == nil && w.QueryMode == string(desired.QueryRemote) {
		t.remote = w.Remote
	}
	if !r.Changes {
		t.rows = &r.Rows
	}
	switch {
	case !connectors.ValidName(t.name):
		t.err = wrong(badName, "", fmt.Sprintf("%q is no name of a table", short(t.name)), "use letters, digits and _, up to 64, not a digit first")
	case r.Outcome == connectors.Failed:
		t.err = errors.New(cmp.Or(r.Error, "it failed"))
	case t.remote != nil:
		t.mode = desired.QueryRemote
		t.err = b.checkAlias(t)
	case len(t.files) == 0 && r.Changes:
		t.unchanged = true
	case len(t.files) == 0 && r.Rows > 0:
		t.err = errors.Join(t.err, wrong(badMissing, "", fmt.Sprintf("%d rows are reported, and there is no file", r.Rows), "").of(t.name))
	case r.Changes && len(r.Parts) == 0:
		t.parted = false // to be joined by key, however the files are cut
	case r.Changes:
		t.parted = true
	}
	if t.parted = t.parted && len(t.files) > 0; t.parted && len(r.Parts) > 0 {
		t.files = slices.DeleteFunc(t.files, func(f leftFile) bool { return !slices.Contains(r.Parts, f.part) })
	}
}

func (b *builder) checkAlias(t *left) error {
	if slices.ContainsFunc(b.remotes, func(r connectors.Remote) bool { return r.Alias == t.remote.Alias }) {
		return nil
	}
	for _, r := range b.req.From.Remotes {
		if r.Alias != t.remote.Alias {
			continue
		}
		if f := checkRemote(r, b.req.Remote); f != nil {
			return wrong(f.Code, "", "its database may not be attached: "+f.Found, f.Hint).of(t.name)
		}
	}
	return wrong(badRemote, "", "it is at "+short(t.remote.Alias)+", which is not attached", remoteHint).of(t.name)
}

// all makes the tables one after the other, and keeps what is not made.
func (b *builder) all(ctx context.Context, lefts map[string]*left) error {
	made := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(lefts)) {
		t := lefts[name]
		table, err := b.table(ctx, t)
		if ctx.Err() != nil || errors.Is(err, errHost) {
			return cmp.Or(ctx.Err(), err)
		}
		if err == nil {
			made[name], b.good = true, b.good+1
			b.tables = append(b.tables, table)
			b.results = append(b.results, t.outcome(table))
			continue
		}
		if t.result.Outcome != connectors.Failed {
			b.found.all(err, name)
		}
		b.results = append(b.results, t.failed(err))
		if err := b.keep(name); err != nil {
			return err
		}
		made[name] = true
	}
	if len(b.req.From.Only) == 0 || b.good == 0 {
		return nil
	}
	for name := range b.had {
		if !made[name] {
			if err := b.keep(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// outcome is what is told of a table that was made.
func (t *left) outcome(m connectors.ManifestTable) connectors.TableResult {
	r := t.result
	if !t.settled {
		r = connectors.TableResult{Table: t.name, Outcome: connectors.OK, Rows: m.Rows, Bytes: m.Bytes, Columns: m.Columns, PrimaryKey: m.PrimaryKey, Description: m.Description, Changes: t.changes}
	}
	if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.HasPrefix(w, "schema: ") }) { // the source said it itself
		r.Warnings = append(slices.Clip(r.Warnings), m.SchemaChanges...)
	}
	return r
}

func (t *left) failed(err error) connectors.TableResult {
	r := t.result
	if r.Outcome == connectors.Failed {
		return r
	}
	p := asFault(err, t.name)
	return connectors.TableResult{Table: t.name, Outcome: connectors.Failed, Error: p.Found, Hint: p.Hint, Warnings: r.Warnings}
}

// allFailed are the results of a run of which nothing is good.
func (b *builder) allFailed(f *fault) (out []connectors.TableResult) {
	names := slices.Sorted(maps.Keys(b.had))
	if len(b.req.From.Only) > 0 {
		names = b.req.From.Only
	}
	if b.req.From.Built {
		names = nil
		for _, t := range b.req.From.Tables {
			names = append(names, t.Table)
		}
	}
	for _, n := range names {
		out = append(out, connectors.TableResult{Table: n, Outcome: connectors.Failed, Error: f.Found, Hint: f.Hint})
	}
	return out
}

func (b *builder) manifest() *connectors.Manifest {
	from := b.req.From
	slices.SortFunc(b.tables, func(x, y connectors.ManifestTable) int { return strings.Compare(x.Name, y.Name) })
	return &connectors.Manifest{Version: 1, Source: from.Source, Identity: from.Identity, Commit: from.Commit, At: from.At, Tables: b.tables, Remotes: b.remotes}
}
