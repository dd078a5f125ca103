package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/connectors"
)

// Files of a run that say something about it.
const (
	metaName    = "_meta.json"
	leftName    = "_state.json"
	extractName = "extract.duckdb"
	maxMeta     = 1 << 20 // bytes, of each
)

// formats are how the names of tables' files end, but for .gz.
var formats = []string{".csv", ".tsv", ".json", ".ndjson", ".jsonl", ".parquet"}

// tableOf is the table that an entry of the output belongs to, which may be a
// directory; empty: to none.
func tableOf(name string, dir bool) string {
	if name == metaName || name == leftName || strings.HasPrefix(name, ".") {
		return ""
	}
	stem := strings.TrimSuffix(name, ".gz")
	if ext := path.Ext(stem); slices.Contains(formats, strings.ToLower(ext)) {
		return strings.TrimSuffix(stem, ext)
	}
	if dir {
		return name
	}
	return ""
}

// left is what a program left behind.
type left struct {
	bytes    map[string]int64  // of tables
	spoiled  map[string]string // tables with something that was taken away, and what
	extract  bool              // there is a database, whose tables are not known here
	complete []string          // tables that are whole although the program failed
	state    json.RawMessage
}

// judge says what a run that came to its end is worth.
func (a *attempt) judge(end ended) (connectors.Report, error) {
	l, err := a.collect()
	if err != nil {
		return connectors.Report{}, fmt.Errorf("run %s: %w", a.run.Source, err)
	}
	if end.code != 0 || end.outOfMemory {
		return a.salvage(a.failure(end), l)
	}
	if l.extract && len(l.spoiled) > 0 {
		return connectors.Report{}, a.refused(l) // a database is whole or not at all
	}
	report := connectors.Report{Tables: l.results(), State: l.state}
	if report.State == nil {
		report.State = a.run.Job.State
	}
	if len(report.Tables) == 0 && !l.extract {
		return connectors.Report{}, connectors.WithHint(fmt.Errorf("run %s: the program ended well and left no table", a.run.Source),
			"write NAME.csv, NAME.ndjson or NAME.parquet into the directory that FAIRLEAD_OUT names")
	}
	return report, a.refused(l)
}

// refused is the error of an output with something in it that is no ordinary
// file: what of it is good counts, and nobody takes the rest for gone.
func (a *attempt) refused(l left) error {
	if len(l.spoiled) == 0 {
		return nil
	}
	first := slices.Min(slices.Collect(maps.Keys(l.spoiled)))
	return connectors.WithHint(fmt.Errorf("run %s: %d of its tables were refused: %s", a.run.Source, len(l.spoiled), l.spoiled[first]),
		"leave ordinary files and directories only")
}

// results says of each table whether its files are all there. An output with a
// database names its tables elsewhere.
func (l left) results() (out []connectors.TableResult) {
	names := maps.Clone(l.bytes)
	for t := range l.spoiled {
		names[t] += 0
	}
	for _, t := range slices.Sorted(maps.Keys(names)) {
		if why := l.spoiled[t]; why != "" {
			out = append(out, connectors.TableResult{Table: t, Outcome: connectors.Failed, Error: why,
				Hint: "leave ordinary files and directories only"})
		} else if !l.extract {
			out = append(out, connectors.TableResult{Table: t, Outcome: connectors.OK, Bytes: l.bytes[t]})
		}
	}
	return out
}

// overtime keeps of a run whose time was over what salvage does.
func (a *attempt) overtime(err error) (connectors.Report, error) {
	l, lerr := a.collect()
	if lerr != nil {
		return connectors.Report{}, errors.Join(err, lerr)
	}
	return a.salvage(err, l)
}

// salvage keeps of a run that failed the tables that the program calls whole.
// The state stays what it was: the program knows of it more than was kept.
func (a *attempt) salvage(err error, l left) (connectors.Report, error) {
	if l.extract {
		return connectors.Report{}, err
	}
	report := connectors.Report{State: a.run.Job.State}
	for _, t := range l.results() {
		if t.Outcome == connectors.OK && !slices.Contains(l.complete, t.Table) {
			t = connectors.TableResult{Table: t.Table, Outcome: connectors.Failed, Error: "the program ended before the table was whole"}
			if derr := a.discard(t.Table); derr != nil {
				return connectors.Report{}, errors.Join(err, derr)
			}
		}
		report.Tables = append(report.Tables, t)
	}
	return report, err
}

// killed is the exit code of who was killed.
const killed = 128 + int(syscall.SIGKILL)

// failure says how a program failed. What it wrote itself is in the log, where
// secrets are hidden.
func (a *attempt) failure(end ended) error {
	err := fmt.Errorf("run %s: the program ended with exit code %d; the log of the run says why", a.run.Source, end.code)
	hint := ""
	switch {
	case end.outOfMemory:
		err = fmt.Errorf("run %s: the program ran out of memory (it has %s)", a.run.Source, bytesText(a.memory()))
		hint = "let it keep less in memory, or raise memory"
	case end.code == killed && a.contained():
		// Engines do not always tell (20.10 with cgroup v1 says nothing).
		err = fmt.Errorf("run %s: the program was killed (exit code %d), most likely because it ran out of memory (it has %s)", a.run.Source, killed, bytesText(a.memory()))
		hint = "let it keep less in memory, or raise memory"
	case end.code == 126 || end.code == 127:
		hint = "the program, or what it is started with, is not there or not executable: look at run and image"
	case end.code == killed:
		err = fmt.Errorf("run %s: the program was killed from outside (exit code %d)", a.run.Source, end.code)
	case end.code == 128+int(syscall.SIGXFSZ):
		err = fmt.Errorf("run %s: the program wrote a file larger than its limit of %s", a.run.Source, bytesText(a.disk()))
		hint = "let it write less, or raise disk"
	}
	return connectors.WithHint(err, hint)
}

// collect takes from what a program left whatever is not an ordinary file or
// directory, and reads what the program says of it. Nobody writes there by now.
func (a *attempt) collect() (left, error) {
	l := left{bytes: map[string]int64{}, spoiled: map[string]string{}}
	if _, err := measure(a.run.Job.Dir, bounds{a.disk(), maxEntries, maxDepth}); err != nil {
		return l, err
	}
	root, err := os.OpenRoot(a.run.Job.Dir)
	if err != nil {
		return l, fmt.Errorf("look at what was written: %w", err)
	}
	defer root.Close()
	dirs := map[string]bool{}
	var bad []string
	if err := walk(root, ".", 1, maxDepth, func(name string, info fs.FileInfo) error {
		first, _, deep := strings.Cut(name, "/")
		dirs[name] = info.IsDir() && !deep
		what := unusual(info)
		table := tableOf(first, dirs[first] || what != "")
		if !connectors.ValidName(table) {
			table = "" // whoever reads the files says so
		}
		if what != "" {
			bad = append(bad, name)
			a.say("%q is %s and was removed", name, what)
			if table != "" {
				l.spoiled[table] = fmt.Sprintf("%q is %s", name, what)
			}
		} else if info.Mode().IsRegular() && table != "" {
			l.bytes[table] += sizeOf(info)
		}
		l.extract = l.extract || name == extractName && info.Mode().IsRegular()
		return nil
	}); err != nil {
		return l, err
	}
	for _, name := range bad {
		if err := root.Remove(name); err != nil {
			return l, fmt.Errorf("remove %q: %w", name, err)
		}
	}
	return l, a.readSaid(root, &l)
}

// unusual says what an entry is that is neither a directory nor a file with one
// name.
func unusual(info fs.FileInfo) string {
	switch mode := info.Mode(); {
	case mode.IsDir():
		return ""
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case !mode.IsRegular():
		return "a device"
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		return "a hard link"
	}
	return ""
}

// readSaid reads the state for the next run, and which tables are whole.
func (a *attempt) readSaid(root *os.Root, l *left) error {
	var meta struct {
		Complete []string `json:"complete"`
	}
	data, err := readSmall(root, metaName, maxMeta)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fmt.Errorf("read %s: %w", metaName, err)
	case json.Unmarshal(data, &meta) == nil: // what is wrong with it is said by who reads the rest
		l.complete = meta.Complete
	}
	state, err := readSmall(root, leftName, maxMeta)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !json.Valid(state) {
		err = errors.New("it is not JSON")
	}
	if err == nil {
		err = root.Remove(leftName)
	}
	if err != nil {
		return connectors.WithHint(fmt.Errorf("read %s: %w", leftName, err), fmt.Sprintf("write one JSON value of at most %s", bytesText(maxMeta)))
	}
	l.state = state
	return nil
}

// discard removes the files of a table.
func (a *attempt) discard(table string) error {
	root, err := os.OpenRoot(a.run.Job.Dir)
	if err != nil {
		return fmt.Errorf("remove what is left of %s: %w", table, err)
	}
	defer root.Close()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if tableOf(e.Name(), e.IsDir()) == table {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("remove what is left of %s: %w", table, err)
	}
	return nil
}
