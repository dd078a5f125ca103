package connectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// instance is what is known of one. What it takes long for is done by one
// goroutine at a time, so that no instance waits for another.
type instance struct {
	m    *Manager
	name string

	// All of this is under m.mu.
	want     reconciler.WantedConnectors
	asked    int // counts the Sets
	settled  int // that was brought about
	working  bool
	retry    time.Time // when to try again what did not work
	problem  string
	kept     map[string]bool // programs that were put away, by hash
	all      map[string]*connector
	reg      register
	read     bool // the register
	sweeping bool
	swept    bool
	sweepAt  time.Time // when to try again
	busy     int       // runs under way

	saving sync.Mutex // orders the writes of the register
}

func newInstance(m *Manager, name string) *instance {
	return &instance{m: m, name: name, all: map[string]*connector{}, kept: map[string]bool{}, reg: register{Sources: map[string]bool{}}}
}

// has says that files are known already.
func (in *instance) has(files map[string]desired.FileTree) bool {
	for hash := range files {
		if _, had := in.want.Files[hash]; !had && !in.kept[hash] {
			return false
		}
	}
	return true
}

// set takes what is wanted. m.mu is held.
func (in *instance) set(want reconciler.WantedConnectors) {
	if want.Files == nil {
		want.Files = map[string]desired.FileTree{}
	}
	for hash, tree := range in.want.Files { // that was not put away yet, and is not handed over again
		if _, here := want.Files[hash]; !here {
			want.Files[hash] = tree
		}
	}
	in.want = want
	in.asked++
	in.retry = time.Time{}
	for name, spec := range want.ByName {
		if in.all[name] == nil {
			in.all[name] = newConnector(in, name)
		}
		in.all[name].set(spec, want.Commit, want.Correlation)
	}
	for name, c := range in.all {
		if _, wanted := want.ByName[name]; !wanted {
			c.leave()
		}
	}
}

// look starts the work that is to be done for the instance as a whole, and says
// when to look again. m.mu is held.
func (in *instance) look(ctx context.Context, workers *sync.WaitGroup, now time.Time) (next time.Time) {
	if in.settled != in.asked && !in.working {
		if in.retry.After(now.Add(recheck)) { // the clock went back
			in.retry = now
		}
		if next = in.retry; !in.retry.After(now) {
			in.working, next = true, time.Time{}
			workers.Go(func() { in.settle(ctx) })
		}
	}
	if in.m.opts.Program == nil || in.swept || in.sweeping {
		return next
	}
	if in.sweepAt.After(now.Add(recheck)) {
		in.sweepAt = now
	}
	if !in.sweepAt.After(now) {
		in.sweeping = true
		workers.Go(func() { in.sweep(ctx) })
	} else if next.IsZero() || in.sweepAt.Before(next) {
		next = in.sweepAt
	}
	return next
}

// sweep ends what an earlier process left running.
func (in *instance) sweep(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, sweepLimit)
	defer cancel()
	err := in.m.opts.Program.Sweep(limited, in.name)
	if err != nil && ctx.Err() == nil {
		in.m.opts.Log.WithField("instance", in.name).WithError(err).Debug("connectors: end what an earlier process left running")
	}
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	in.sweeping, in.swept = false, err == nil
	in.sweepAt = in.m.now().Add(recheck / 2)
	for _, c := range in.all {
		c.unswept = ""
		if err != nil {
			c.unswept = fmt.Sprintf("end what an earlier run left: %v", err)
		}
	}
	in.m.trigger()
}

// settle brings about what the last Set asked for.
func (in *instance) settle(ctx context.Context) {
	in.m.mu.Lock()
	asked, want := in.asked, in.want
	in.m.mu.Unlock()
	err := in.bring(want)
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	in.working = false
	if err != nil {
		if said := err.Error(); said != in.problem {
			in.problem = said
			in.m.opts.Log.WithField("instance", in.name).WithError(err).Error("connectors: prepare to run")
		}
		in.retry = in.m.now().Add(recheck / 2)
	} else {
		in.problem, in.settled = "", asked
		for name := range want.ByName {
			if c := in.all[name]; c != nil {
				c.ready = c.ready || in.asked == asked && c.opened
			}
		}
	}
	if ctx.Err() == nil {
		in.m.trigger()
	}
}

// bring does the work of settle, in an order in which a crash leaves nothing
// that the next start does not find.
func (in *instance) bring(want reconciler.WantedConnectors) error {
	if !validInstance.MatchString(in.name) {
		return fmt.Errorf("run connectors of instance %q: the name cannot be that of a directory", in.name)
	}
	in.keep(want)
	if err := in.readRegister(want); err != nil {
		return err
	}
	in.keepPrograms(want)
	if err := in.open(); err != nil {
		return err
	}
	gone, err := in.enrol(want)
	if err != nil {
		return err
	}
	for _, name := range gone {
		in.m.report(in.name, ReasonConnectorRemoved, name+" is wanted no more: it does not run, and its tables are gone from the catalogue; its data stays", want.Correlation)
	}
	return nil
}

// keep has attached what is wanted and there. It comes first: whatever is wrong
// with what is remembered, the data can be asked.
func (in *instance) keep(want reconciler.WantedConnectors) {
	keep := map[string]string{}
	for name, spec := range want.ByName {
		if ValidName(name) {
			keep[name] = spec.Identity
		}
	}
	in.m.opts.step("keep attached")
	in.m.opts.Publisher.Keep(in.name, keep)
}

// readRegister reads what is known of the instance, once. Without it numbers go
// on after those of the directories that are there.
func (in *instance) readRegister(want reconciler.WantedConnectors) error {
	if in.read { // which this goroutine alone changes
		return nil
	}
	data, err := in.m.opts.Memory.Get(in.name)
	if err != nil && !errors.Is(err, reconciler.ErrUnsealed) {
		return fmt.Errorf("read what is known of connectors: %w", err)
	}
	reg, unread := readRegister(data)
	err = cmp.Or(err, unread)
	if err != nil {
		if err := in.m.setAside(in.name, in.name, "the list of connectors", data, err); err != nil {
			return err
		}
	}
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	for name := range reg.Sources {
		if in.all[name] == nil {
			in.all[name] = newConnector(in, name)
		}
	}
	if len(data) == 0 || err != nil {
		for name := range want.ByName {
			if ValidName(name) {
				reg.Last = max(reg.Last, in.m.opts.highestRun(in.name, name))
			}
		}
	}
	in.reg, in.read = reg, true
	return nil
}

// keepPrograms puts the files of programs away. Those that cannot be are still
// in memory, and each run tries again.
func (in *instance) keepPrograms(want reconciler.WantedConnectors) {
	wanted := map[string]bool{}
	for name, spec := range want.ByName {
		if spec.Program == nil || spec.Program.Files == "" {
			continue
		}
		hash := spec.Program.Files
		wanted[hash] = true
		in.m.mu.Lock()
		tree, here := want.Files[hash]
		in.m.mu.Unlock()
		if !here {
			continue
		}
		err := in.m.opts.keepProgram(in.name, hash, tree)
		in.m.mu.Lock()
		if err == nil {
			delete(want.Files, hash)
			in.kept[hash] = true
		}
		in.m.mu.Unlock()
		if err != nil {
			in.m.opts.Log.WithFields(map[string]any{"instance": in.name, "connector": name}).WithError(err).Warn("connectors: put files away")
		}
	}
	in.m.opts.prunePrograms(in.name, wanted)
	in.m.mu.Lock()
	defer in.m.mu.Unlock()
	for hash := range in.kept {
		if !wanted[hash] {
			delete(in.kept, hash) // it may be pruned
		}
	}
}

// open reads what is remembered of every connector that was not read yet, and
// clears what a crash left.
func (in *instance) open() error {
	in.m.mu.Lock()
	all := slices.Collect(maps.Values(in.all))
	in.m.mu.Unlock()
	var errs error
	for _, c := range all {
		if ValidName(c.name) {
			errs = errors.Join(errs, c.open())
		}
	}
	return errs
}

// enrol writes down which connectors are wanted, and returns those that were.
func (in *instance) enrol(want reconciler.WantedConnectors) (gone []string, err error) {
	in.m.mu.Lock()
	was := maps.Clone(in.reg.Sources)
	var left []*connector
	for name := range was {
		if _, wanted := want.ByName[name]; !wanted && was[name] {
			gone = append(gone, name)
			left = append(left, in.all[name])
		}
	}
	in.m.mu.Unlock()
	for _, c := range left { // one that comes again runs at once, and reads everything
		if err := c.forget(); err != nil {
			return nil, err
		}
	}
	in.m.mu.Lock()
	for _, name := range gone {
		in.reg.Sources[name] = false
	}
	for name := range want.ByName {
		if ValidName(name) {
			in.reg.Sources[name] = true
		}
	}
	same := maps.Equal(was, in.reg.Sources)
	in.m.mu.Unlock()
	slices.Sort(gone)
	if same {
		return nil, nil
	}
	if err := in.save(); err != nil {
		in.m.mu.Lock()
		in.reg.Sources = was
		in.m.mu.Unlock()
		return nil, err
	}
	return gone, nil
}

// save writes the register.
func (in *instance) save() error {
	in.saving.Lock()
	defer in.saving.Unlock()
	in.m.mu.Lock()
	in.reg.Version = noteVersion
	data, err := json.Marshal(in.reg)
	in.m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("remember connectors: %w", err)
	}
	in.m.opts.step("remember the register")
	if err := in.m.opts.Memory.Put(in.name, data); err != nil {
		return fmt.Errorf("remember connectors: %w", err)
	}
	return nil
}

// number gives a run its number, which is written down before it is used.
func (in *instance) number() (int64, error) {
	in.m.mu.Lock()
	if !in.read {
		in.m.mu.Unlock()
		return 0, fmt.Errorf("number a run: %w", ErrNotReady)
	}
	in.reg.Last++
	id := in.reg.Last
	in.m.mu.Unlock()
	return id, in.save()
}

// setAside tells of a note that cannot be read, and keeps it under another key.
func (m *Manager) setAside(instance, key, what string, data []byte, cause error) error {
	if len(data) > 0 && len(data) <= 2*maxNote {
		if err := m.opts.Memory.Put(key+".damaged", data); err != nil {
			return fmt.Errorf("set a damaged note aside: %w", err)
		}
	}
	m.report(instance, ReasonConnectorNotes, fmt.Sprintf("%s could not be read and was set aside, so everything is read anew: %v", what, cause), "")
	return nil
}
