package analytics

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	systemSchema = "fairlead" // the schema of our own tables, and the directory of their files
	// systemAge is how old the rows of our own tables may be when one is asked for.
	systemAge = time.Second
	// systemKept is how many files of one table are kept: a worker that is being
	// started may still read one that has been replaced.
	systemKept = 4
)

// systemTable is a table of Fairlead's own.
type systemTable struct {
	columns []connectors.Column
	rows    func() iter.Seq[[]any]
	file    string
	at      time.Time
	files   []string // those written, the newest last
}

// SetSystem gives an instance a table fairlead.NAME. Its rows, a value for each
// column, are asked for when somebody asks for the table.
func (a *Analytics) SetSystem(instance, name string, columns []connectors.Column, rows func() iter.Seq[[]any]) error {
	if !connectors.ValidName(name) {
		return fmt.Errorf("set system table %q: the name is not valid", name)
	}
	i, err := a.instance(instance)
	if err != nil {
		return err
	}
	t := &systemTable{columns: columns, rows: rows, at: time.Now()}
	data, err := encodeRows(columns, rows())
	if err != nil {
		return fmt.Errorf("set system table %s: %w", name, err)
	}
	i.change.Lock()
	defer i.change.Unlock()
	if had := i.systems[name]; had != nil {
		t.files = had.files
	}
	if err := i.writeSystem(name, t, data); err != nil {
		return fmt.Errorf("set system table %s: %w", name, full(err))
	}
	i.systems[name] = t
	i.swapSystem()
	return nil
}

// refreshSystem writes the tables of our own anew whose rows are others now. No
// lock is held while rows are asked for: who has them may be waiting for us.
func (i *instance) refreshSystem() {
	changed := false
	for name, t := range i.dueSystem() {
		data, err := encodeRows(t.columns, t.rows())
		i.change.Lock()
		had := t.file
		if err == nil && i.systems[name] == t {
			err = i.writeSystem(name, t, data)
		}
		changed = changed || t.file != had
		i.change.Unlock()
		if err != nil {
			i.a.o.Log.WithField("instance", i.name).WithError(err).Warnf("the table %s.%s is not up to date", systemSchema, name)
		}
	}
	if changed {
		i.change.Lock()
		defer i.change.Unlock()
		i.swapSystem()
	}
}

// dueSystem are the tables whose rows are to be asked for.
func (i *instance) dueSystem() map[string]*systemTable {
	i.change.Lock()
	defer i.change.Unlock()
	due := map[string]*systemTable{}
	for name, t := range i.systems {
		if time.Since(t.at) >= systemAge {
			t.at = time.Now()
			due[name] = t
		}
	}
	return due
}

// swapSystem has the workers take what there is now of our own tables. The caller
// has the lock change.
func (i *instance) swapSystem() {
	c := *i.catalog()
	c.system = i.systemTables()
	i.swap(&c)
}

// writeSystem writes the rows of a table to a file that is named by its content.
// The caller has the lock change.
func (i *instance) writeSystem(name string, t *systemTable, data []byte) error {
	sum := sha256.Sum256(data)
	path := i.path(analyticsDir, systemSchema, name+"-"+hex.EncodeToString(sum[:8])+".ndjson")
	if path == t.file {
		return nil
	}
	if err := errors.Join(writeFile(path+".tmp", data, 0o640), os.Rename(path+".tmp", path)); err != nil {
		return err
	}
	t.file = path
	t.files = append(slices.DeleteFunc(t.files, func(f string) bool { return f == path }), path)
	for len(t.files) > systemKept {
		_ = os.Remove(t.files[0])
		t.files = t.files[1:]
	}
	return nil
}

// encodeRows writes rows as lines of JSON, each an object with the columns in
// their order.
func encodeRows(columns []connectors.Column, rows iter.Seq[[]any]) ([]byte, error) {
	var w bytes.Buffer
	for row := range rows {
		if len(row) != len(columns) {
			return nil, fmt.Errorf("a row has %d values for %d columns", len(row), len(columns))
		}
		for n, value := range row {
			name, _ := json.Marshal(columns[n].Name)
			data, err := json.Marshal(value)
			if err != nil {
				return nil, fmt.Errorf("column %s: %w", columns[n].Name, err)
			}
			fmt.Fprintf(&w, "%s%s:%s", map[bool]string{true: "{", false: ","}[n == 0], name, data)
		}
		w.WriteString("}\n")
	}
	return w.Bytes(), nil
}

// systemTables are those of our own as workers are told of them. The caller has
// the lock change.
func (i *instance) systemTables() (list []wire.SystemTable) {
	for _, name := range slices.Sorted(maps.Keys(i.systems)) {
		if t := i.systems[name]; t.file != "" {
			list = append(list, wire.SystemTable{Name: name, Columns: t.columns, File: t.file})
		}
	}
	return list
}

// sweepSystem removes files of tables that a daemon before us wrote.
func sweepSystem(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.Contains(e.Name(), ".ndjson") {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}
