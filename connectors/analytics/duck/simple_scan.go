//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// left is a table as a connector left it, before anything of it is read.
type left struct {
	name               string
	mode               desired.QueryMode
	description, owner string
	key                []string
	at                 time.Time

	files []leftFile
	// parted says that each file is a part of its own.
	parted bool
	base   string // a base table of the extract file
	remote *connectors.RemoteTable

	columns []connectors.Column // all of them, in order; none: as they are found
	types   map[string]string   // declared, of some
	changes bool                // the rows are only what changed
	rows    *int64              // that there ought to be

	result    connectors.TableResult
	unchanged bool                // nothing is there, since nothing changed
	hints     []connectors.Column // of the rows that changes are joined with
	err       error
	settled   bool // result is the connector's own
}

// leftFile is a file of a table.
type leftFile struct {
	path   string // absolute
	rel    string // as people know it
	part   string
	format string // csv, tsv, json, ndjson, parquet
	gzip   bool
}

// stateFile is for the next run of the program, and no table.
const stateFile = "_state.json"

const (
	maxParts   = 20000 // files of one table
	maxEntries = 50000 // of a directory
)

// fileScanner looks at a directory of the simple output.
type fileScanner struct {
	limits buildLimits
	found  *findings
	tables map[string]*left
	folded map[string]string
}

// scan lists the tables that the files of a directory make. It follows nothing
// and opens nothing.
func scan(dir string, l buildLimits, found *findings) (map[string]*left, error) {
	s := &fileScanner{limits: l, found: found, tables: map[string]*left{}, folded: map[string]string{}}
	entries, err := list(dir, "")
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == metaFile || e.Name() == stateFile {
			continue
		}
		if err := s.entry(dir, e); err != nil {
			found.err(err, "")
		}
	}
	if len(s.tables) > l.maxTables {
		return nil, wrong(badTooMany, "", fmt.Sprintf("%d tables are more than %d", len(s.tables), l.maxTables), "leave fewer tables, or make connectors of some of them")
	}
	return s.tables, nil
}

// list reads a directory, sorted, up to a bound. rel is what people call it.
func list(dir, rel string) ([]fs.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	defer f.Close()
	entries, err := f.ReadDir(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("list directory: %w", err)
	}
	if len(entries) > maxEntries {
		return nil, wrong(badTooMany, rel, fmt.Sprintf("there are more than %d files", maxEntries), "write fewer and larger files")
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// entry takes one name of the directory.
func (s *fileScanner) entry(dir string, e fs.DirEntry) error {
	name := e.Name()
	if e.IsDir() {
		t, err := s.table(name, name)
		if err != nil {
			return err
		}
		t.err = errors.Join(t.err, s.parts(filepath.Join(dir, name), t))
		return nil
	}
	file, stem, ok := formatOf(name)
	if !ok {
		if e.Type().IsRegular() {
			return wrong(badUnknown, short(name), "it is no table", "tables are files NAME.csv, .tsv, .json, .ndjson (also with .gz) or .parquet, or directories of them; write what is for people to standard output")
		}
		return wrong(badFileKind, short(name), "it is a "+kindOf(e.Type()), "leave regular files")
	}
	t, err := s.table(stem, name)
	if err != nil {
		return err
	}
	file.path, file.rel = filepath.Join(dir, name), name
	if err := regular(file.path, file.rel, s.limits.maxBytes); err != nil {
		t.err = errors.Join(t.err, err.of(t.name))
		return nil
	}
	t.files = append(t.files, file)
	return nil
}

// table begins a table. One that is there in two forms is not good in any.
func (s *fileScanner) table(name, file string) (*left, error) {
	if !connectors.ValidName(name) {
		return nil, wrong(badName, short(file), fmt.Sprintf("%q is no name of a table", short(name)), "use letters, digits and _, up to 64, not a digit first")
	}
	if other, there := s.folded[fold(name)]; there {
		t := s.tables[other]
		t.err = errors.Join(t.err, wrong(badDuplicate, short(file), "table "+other+" is there already", "leave each table once, as a file or as a directory of parts").of(other))
		return t, nil
	}
	t := &left{name: name, mode: desired.QueryLocal}
	s.tables[name], s.folded[fold(name)] = t, name
	return t, nil
}

// slices are the parts of one export, which mean nothing by themselves.
var slice = regexp.MustCompile(`^part-[0-9]+$`)

var partName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.=+-]{0,127}$`)

// parts takes the files of a directory.
func (s *fileScanner) parts(dir string, t *left) error {
	entries, err := list(dir, t.name)
	if err != nil {
		return err
	}
	if len(entries) > maxParts {
		return wrong(badTooMany, t.name, fmt.Sprintf("%d parts are more than %d", len(entries), maxParts), "write fewer and larger parts")
	}
	seen, slices := map[string]string{}, 0
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") { // _SUCCESS and the like
			continue
		}
		file, stem, ok := formatOf(name)
		file.path, file.rel, file.part = filepath.Join(dir, name), t.name+"/"+name, stem
		switch {
		case e.IsDir():
			return wrong(badFileKind, short(file.rel), "it is a directory inside of a table's", "put all parts of a table into one directory")
		case !ok && e.Type().IsRegular():
			return wrong(badUnknown, short(file.rel), "it is no part of a table", "parts are files NAME.csv, .tsv, .json, .ndjson (also with .gz) or .parquet")
		case !partName.MatchString(stem):
			return wrong(badName, short(file.rel), fmt.Sprintf("%q is no name of a part", short(stem)), "use letters, digits and _ . = + -, up to 128")
		case seen[fold(stem)] != "":
			return wrong(badDuplicate, file.rel, "part "+stem+" is there already as "+seen[fold(stem)], "leave each part once")
		}
		if err := regular(file.path, file.rel, s.limits.maxBytes); err != nil {
			return err
		}
		if seen[fold(stem)] = name; slice.MatchString(stem) {
			slices++
		}
		t.files = append(t.files, file)
	}
	t.parted = slices < len(t.files) || len(t.files) == 0
	return nil
}

// formatOf reads the format off the name of a file.
func formatOf(name string) (f leftFile, stem string, ok bool) {
	stem, f.gzip = strings.CutSuffix(name, ".gz")
	i := strings.LastIndexByte(stem, '.')
	if i < 0 {
		return f, "", false
	}
	stem, f.format = stem[:i], strings.ToLower(stem[i+1:])
	switch f.format {
	case "jsonl":
		f.format = "ndjson"
	case "csv", "tsv", "json", "ndjson":
	case "parquet":
		return f, stem, !f.gzip
	default:
		return f, "", false
	}
	return f, stem, true
}

// regular says what is wrong with a file that is to be read: anything but a
// regular one blocks, never ends or leads elsewhere.
func regular(path, rel string, most int64) *fault {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return wrong(badMissing, short(rel), short(err.Error()), "leave the file where it was named")
	case !info.Mode().IsRegular():
		return wrong(badFileKind, short(rel), "it is a "+kindOf(info.Mode()), "leave regular files")
	case info.Size() > most:
		return wrong(badSize, short(rel), fmt.Sprintf("it has %d bytes; up to %d are read", info.Size(), most), "write several parts")
	}
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	case m&fs.ModeNamedPipe != 0:
		return "pipe (FIFO)"
	case m&fs.ModeSocket != 0:
		return "socket"
	case m&fs.ModeDevice != 0:
		return "device"
	case m.IsDir():
		return "directory"
	}
	return "special file"
}
