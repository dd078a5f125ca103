//go:build cgo

package duck

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	"github.com/fairlead/fairlead/desired"
)

// openReader opens an engine that reaches nothing but these directories.
func openReader(ctx context.Context, l buildLimits, found *findings, allowed ...string) (*reader, error) {
	for _, dir := range append(slices.Clone(allowed), l.temp) {
		if strings.ContainsAny(dir, "*?[]{}") {
			return nil, fmt.Errorf("open %s: its path has a character that stands for a pattern in DuckDB", dir)
		}
	}
	e, err := openEngine(engineOptions{Memory: l.memory, Threads: l.threads, Temp: l.temp, MaxTemp: l.maxTemp})
	if err != nil {
		return nil, err
	}
	if err := e.lockDown(ctx, append(allowed, l.temp)); err != nil {
		e.close()
		return nil, fmt.Errorf("lock engine: %w", err)
	}
	return &reader{engine: e, found: found, limits: l}, nil
}

// limitsOf fills in the defaults. The directory for what does not fit into
// memory is a new one below what is asked for; whoever calls removes it.
func limitsOf(w wire.BuildLimits) (buildLimits, error) {
	l := buildLimits{maxBytes: cmp.Or(w.MaxBytes, 32<<30), maxTables: cmp.Or(w.MaxTables, 2000), memory: cmp.Or(w.Memory, "1GB"),
		threads: cmp.Or(w.Threads, min(runtime.NumCPU(), 4)), maxTemp: "100GB"}
	temp, err := os.MkdirTemp(w.TempDir, "fairlead-build-")
	if err != nil {
		return l, fmt.Errorf("make directory for the build: %w", err)
	}
	l.temp, err = realPath(temp)
	return l, err
}

// realPath is a path without links: the engine resolves those before it looks
// whether a file is one that it may read.
func realPath(path string) (string, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		absolute, err = filepath.EvalSymlinks(absolute)
	}
	if err != nil {
		return "", fmt.Errorf("find %s: %w", path, err)
	}
	return absolute, nil
}

// survey is what a directory holds.
type survey struct {
	form    string
	tables  map[string]*left
	remotes []connectors.Remote
}

// outOf is the directory that a program wrote into: out/, or the one itself.
func outOf(dir string) (string, error) {
	info, err := os.Lstat(filepath.Join(dir, "out"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return dir, nil
	case err != nil:
		return "", fmt.Errorf("find out/: %w", err)
	case !info.IsDir():
		return "", wrong(badFileKind, "out", "it is a "+kindOf(info.Mode()), "leave a directory out/")
	}
	return filepath.Join(dir, "out"), nil
}

// survey looks at what a program left in a directory, or at a file that is named.
func (r *reader) survey(ctx context.Context, dir, file string, policy wire.RemotePolicy, at time.Time) (survey, error) {
	if file == "" {
		file = filepath.Join(dir, extractFile)
		if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
			return r.simple(dir)
		}
	}
	rel := filepath.Base(file)
	own, err := takeExtract(file, rel, r.limits.temp, r.limits.maxBytes)
	if err != nil {
		return survey{form: "extract"}, err
	}
	r.taken = own
	x := &extract{reader: r, rel: rel, policy: policy, at: at}
	if err := r.engine.exec(ctx, "ATTACH "+quoteText(own)+" AS "+foreign+" (READ_ONLY, TYPE duckdb)"); err != nil {
		return survey{form: "extract"}, attachFault(err, own, rel)
	}
	if x.data, err = r.dataFiles(filepath.Join(dir, "data")); err != nil {
		return survey{form: "extract"}, err
	}
	tables, remotes, err := x.read(ctx)
	return survey{"extract", tables, remotes}, err
}

// dataFiles are the Parquet files beside an extract.duckdb.
func (r *reader) dataFiles(dir string) (map[string]*left, error) {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("find data/: %w", err)
	case !info.IsDir():
		return nil, wrong(badFileKind, "data", "it is a "+kindOf(info.Mode()), "leave a directory data/")
	}
	tables, err := scan(dir, r.limits, &findings{}) // what no view names matters to nobody
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		for i := range t.files {
			if t.files[i].rel = "data/" + t.files[i].rel; t.files[i].format != "parquet" {
				t.err = errors.Join(t.err, wrong(badContent, t.files[i].rel, "it is no Parquet file", viewHint).of(t.name))
			}
		}
	}
	return tables, nil
}

func attachFault(err error, own, rel string) error {
	said := strings.ReplaceAll(explain(err.Error()), own, rel)
	if strings.Contains(said, "lock on file") {
		return wrong(badLock, rel, said, "close the database in the program that wrote it before the run ends")
	}
	return wrong(badDamage, rel, said, "write it anew: close it, and rename it to extract.duckdb only when it is whole")
}

// simple looks at files without a database.
func (r *reader) simple(dir string) (survey, error) {
	s := survey{form: "simple"}
	meta, err := loadMeta(filepath.Join(dir, metaFile))
	if err != nil {
		return s, err
	}
	if s.tables, err = scan(dir, r.limits, r.found); err != nil {
		return s, err
	}
	for _, t := range s.tables {
		for _, f := range t.files {
			t.err = errors.Join(t.err, f.shallow())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(meta.Tables)) {
		t := s.tables[name]
		if t == nil {
			t = &left{name: name, mode: desired.QueryLocal, err: wrong(badMissing, metaFile, "it names table "+name+", of which there is no file", "write the file, or take it out of _meta.json").of(name)}
			s.tables[name] = t
			continue
		}
		m := meta.Tables[name]
		t.description, t.owner, t.key, t.types, t.rows = m.Description, m.Owner, m.PrimaryKey, m.Columns, m.Rows
		t.changes = m.Strategy == connectors.Incremental || m.Strategy == connectors.Partitioned
		if m.Strategy == connectors.Partitioned && !t.parted {
			t.err = errors.Join(t.err, wrong(badContent, metaFile, "its strategy is partitioned, and it is no directory of named parts", "write "+name+"/PART.parquet; a part named part-N is taken for a piece of one file").of(name))
		}
		if m.Strategy == connectors.Incremental {
			t.parted = false
		}
	}
	return s, nil
}

// loadMeta reads _meta.json, if there is one.
func loadMeta(path string) (simpleMeta, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return simpleMeta{}, nil
	}
	if f := regular(path, metaFile, maxMeta); f != nil {
		return simpleMeta{}, f
	}
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return simpleMeta{}, fmt.Errorf("read _meta.json: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxMeta+1))
	if err != nil {
		return simpleMeta{}, fmt.Errorf("read _meta.json: %w", err)
	}
	m, f := readMeta(data)
	if f != nil {
		return m, f
	}
	return m, nil
}
