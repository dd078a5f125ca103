package analytics

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/fairlead/fairlead/connectors"
)

const (
	extractsDir  = "extracts"
	analyticsDir = "analytics"
	stateFile    = "state.json"
	childrenDir  = "tmp" // where children write
	defaultKeep  = 3
)

// reserved are the schemas that are there without any source.
var reserved = []string{systemSchema, "main", "temp", "system", "information_schema", "pg_catalog"}

// instance is the data of one instance. Two locks: change is held while it is
// made out what is to be attached, which reads files; pool is for what queries
// need and is held for moments. Who holds pool does not ask for change.
type instance struct {
	a    *Analytics
	name string
	dir  string

	opening sync.Mutex
	opened  atomic.Bool
	damages atomic.Int64 // generations that were found damaged

	change  sync.Mutex
	stores  map[string]*store
	want    map[string]string // identity, by source
	keep    map[string]int
	state   state
	written []byte                    // of the state, to disk
	bad     map[string]map[int]string // generations that workers cannot attach, and why
	tries   map[string]int            // how often that was tried, by source and generation
	systems map[string]*systemTable
	export  exporter

	pool
}

// state is what has to outlive the daemon.
type state struct {
	Claims map[string][]string `json:"claims,omitempty"` // of flat names, in order of time
	Pins   map[string]pin      `json:"pins,omitempty"`   // what a rollback holds
	// Exported are the generations that the exported database leads to.
	Exported map[string]int `json:"exported,omitempty"`
}

// pin holds a source at a generation until there is a newer one, or another
// identity is wanted.
type pin struct {
	Generation int    `json:"generation"`
	Identity   string `json:"identity,omitempty"` // that was wanted
}

func newInstance(a *Analytics, name, dir string) *instance {
	i := &instance{a: a, name: name, dir: dir, stores: map[string]*store{}, want: map[string]string{}, keep: map[string]int{},
		bad: map[string]map[int]string{}, tries: map[string]int{}, systems: map[string]*systemTable{}}
	i.pool = newPool(i)
	return i
}

// open reads what is on disk, once, and removes what a crash left.
func (i *instance) open() error {
	if i.opened.Load() {
		return nil
	}
	i.opening.Lock()
	defer i.opening.Unlock()
	if i.opened.Load() {
		return nil
	}
	i.change.Lock()
	defer i.change.Unlock()
	if err := i.locate(); err != nil {
		return err
	}
	for _, dir := range []string{extractsDir, analyticsDir, filepath.Join(analyticsDir, systemSchema)} {
		if err := os.MkdirAll(filepath.Join(i.dir, dir), 0o750); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(i.path(analyticsDir, childrenDir)); err != nil {
		return err
	}
	if err := os.Mkdir(i.path(analyticsDir, childrenDir), 0o700); err != nil {
		return err
	}
	if err := sweepSystem(i.path(analyticsDir, systemSchema)); err != nil {
		return err
	}
	if err := i.readState(); err != nil {
		return err
	}
	entries, err := os.ReadDir(i.path(extractsDir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || !connectors.ValidName(e.Name()) {
			continue
		}
		if _, err := i.store(e.Name()); err != nil {
			i.a.event(i.name, e.Name(), "Unreadable", err.Error(), "look at the directory; the other sources go on")
		}
	}
	i.opened.Store(true)
	return nil
}

// locate makes the directory and finds its path without links: DuckDB resolves
// those before it looks whether a file is one that it may read.
func (i *instance) locate() error {
	dir, err := filepath.Abs(i.dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o750)
	}
	if err == nil {
		dir, err = filepath.EvalSymlinks(dir)
	}
	if err == nil {
		i.dir = dir
	}
	return err
}

func (i *instance) path(parts ...string) string {
	return filepath.Join(append([]string{i.dir}, parts...)...)
}

// store is that of a source. The caller has the lock change.
func (i *instance) store(source string) (*store, error) {
	if s := i.stores[source]; s != nil {
		return s, nil
	}
	s, err := openStore(i.path(extractsDir, source), source, i.a.o.step)
	if err != nil {
		return nil, err
	}
	i.stores[source] = s
	return s, nil
}

// readState reads what was remembered. One that cannot be read costs who claimed
// a name first, and what was rolled back: it is set aside, and said.
func (i *instance) readState() error {
	path := i.path(analyticsDir, stateFile)
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &i.state)
		if err != nil {
			i.state = state{}
			i.a.event(i.name, "", "StateLost", fmt.Sprintf("read %s: %v", path, err), "flat names may have other owners now; the file is kept as "+stateFile+".bad")
			err = os.Rename(path, path+".bad")
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if i.state.Claims == nil {
		i.state.Claims = map[string][]string{}
	}
	if i.state.Pins == nil {
		i.state.Pins = map[string]pin{}
	}
	return nil
}

// writeState puts what is to be remembered on disk, if it is something else now.
func (i *instance) writeState() {
	data, err := encode(i.state)
	if err != nil || slices.Equal(data, i.written) {
		return
	}
	path := i.path(analyticsDir, stateFile)
	if err = writeFile(path+".tmp", data, 0o640); err == nil {
		err = errors.Join(os.Rename(path+".tmp", path), syncDir(filepath.Dir(path)))
	}
	if i.written = data; err != nil {
		i.written = nil
		i.a.event(i.name, "", "StateNotWritten", fmt.Sprintf("write %s: %v", path, err), "make room on the disk")
	}
}

// unkept is what is to be attached of an instance that cannot be opened.
type unkept struct {
	want map[string]string
	told string // why, as it was said last
}

// Keep says which sources are to be attached. Where they cannot be for now, Run
// tries again.
func (a *Analytics) Keep(instance string, want map[string]string) {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	a.keep(instance, want)
}

// keepAgain tries again what could not be done.
func (a *Analytics) keepAgain() {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	for name, u := range a.unkept {
		a.keep(name, u.want)
	}
}

// keep is Keep. The caller has the lock keeping.
func (a *Analytics) keep(instance string, want map[string]string) {
	i, err := a.instance(instance)
	if err != nil {
		u := a.unkept[instance]
		if u == nil {
			u = &unkept{}
			a.unkept[instance] = u
		}
		u.want = maps.Clone(want)
		if said := err.Error(); said != u.told && !errors.Is(err, ErrClosed) {
			u.told = said
			a.event(instance, "", "Unreadable", said, "mend the data directory")
		}
		return
	}
	delete(a.unkept, instance)
	i.change.Lock()
	defer i.change.Unlock()
	if maps.Equal(i.want, want) {
		return
	}
	i.want = maps.Clone(want)
	i.resolve()
}

func (a *Analytics) event(instance, source, reason, message, hint string) {
	log := a.o.Log.WithField("instance", instance)
	if source != "" {
		log = log.WithField("source", source)
	}
	log.WithField("reason", reason).Warn(message)
	a.o.Event(Event{instance, source, reason, message, hint})
}
