package connectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// What a caller may have to tell apart.
var (
	ErrUnknownSource = errors.New("there is no such connector")
	ErrUnknownTable  = errors.New("the connector has no such table")
	ErrUnknownRun    = errors.New("there is no such run")
	ErrRunning       = errors.New("the connector is running already")
	ErrNotRunning    = errors.New("the connector is not running")
	ErrWanted        = errors.New("the connector is still wanted")
	ErrNotReady      = errors.New("the daemon is still starting")
	ErrNoDiscovery   = errors.New("the connector is a program of the user's, which nobody can ask for its tables")
)

func noSource(instance, source string) error {
	return fmt.Errorf("instance %s, connector %s: %w", instance, source, ErrUnknownSource)
}

// Trigger has a source run now, or as soon as there is room: all of its tables,
// or those that are named. It returns the number of the run, which is kept over
// a restart, and carries the id of the request of ctx. The errors are ErrUnknownSource, ErrUnknownTable, ErrRunning, also
// of one that waits for its turn, and ErrNotReady.
func (m *Manager) Trigger(ctx context.Context, instance, source string, tables []string) (runID int64, err error) {
	m.mu.Lock()
	c := m.connector(instance, source)
	if err = c.askable(instance, source, tables); err != nil {
		m.mu.Unlock()
		return 0, err
	}
	c.adopt(c.times(), m.now())
	a := c.ask(tables)
	c.asked = a // from here on nobody else asks
	a.record.Source, a.record.Commit, a.record.Identity, a.record.Started = source, c.commit, c.spec.Identity, m.now()
	a.record.Correlation = reconciler.CorrelationOf(ctx)
	m.mu.Unlock()
	id, err := c.in.number()
	m.mu.Lock()
	if c.asked != a || err != nil { // it was removed meanwhile
		if c.asked == a {
			c.asked = nil
		}
		m.mu.Unlock()
		if err == nil {
			err = noSource(instance, source)
		}
		return 0, fmt.Errorf("ask for a run: %w", err)
	}
	a.record.ID = id
	a.own()
	c.memo.put(a.record)
	m.mu.Unlock()
	if err := c.save(); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		if c.asked == a {
			c.asked = nil
		}
		return 0, fmt.Errorf("ask for a run: %w", err)
	}
	m.mu.Lock()
	a.ready = true
	m.mu.Unlock()
	m.trigger()
	return id, nil
}

// Nudge has a source run soon, since something changed at its service (a
// webhook): at once, or when the run that is under way has ended, and once a
// minute at the most. Any number of nudges are one, and what fails waits as it
// would. The error is ErrUnknownSource.
func (m *Manager) Nudge(ctx context.Context, instance, source string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.connector(instance, source)
	if c == nil || !c.wanted {
		return noSource(instance, source)
	}
	c.nudged, c.nudger = true, reconciler.CorrelationOf(ctx)
	m.trigger()
	return nil
}

// askable says why a run cannot be asked for. m.mu is held.
func (c *connector) askable(instance, source string, tables []string) error {
	switch {
	case c == nil || !c.wanted:
		return noSource(instance, source)
	case c.running != nil || c.asked != nil:
		return fmt.Errorf("instance %s, connector %s: %w", instance, source, ErrRunning)
	case !c.opened || !c.ready:
		return fmt.Errorf("instance %s, connector %s: %w", instance, source, ErrNotReady)
	}
	for _, name := range tables {
		declared := slices.ContainsFunc(c.spec.Tables, func(t desired.ConnectorTable) bool { return t.Name == name })
		if !declared && (c.spec.Program == nil || !ValidName(name)) {
			return fmt.Errorf("instance %s, connector %s, table %q: %w", instance, source, name, ErrUnknownTable)
		}
	}
	return nil
}

// ask makes a run of all lanes, or of tables: of the lanes then that have no
// others. m.mu is held.
func (c *connector) ask(tables []string) *attempt {
	all := c.times()
	turns := map[string]turn{}
	tables = slices.Compact(slices.Sorted(slices.Values(tables)))
	for name := range all {
		of := c.tables(name)
		whole := len(tables) == 0 || len(of) > 0 && (name != "" || c.spec.Program == nil)
		for _, t := range of {
			whole = whole && (len(tables) == 0 || slices.Contains(tables, t))
		}
		if whole {
			turns[name] = turn{due: c.memo.Lanes[name].Due, renew: true, cause: CauseAsked}
		}
	}
	a := newAttempt(c, turns, false)
	if a.only = tables; len(tables) > 0 && c.spec.Program == nil && len(turns) == len(all) {
		a.only = nil // they are all there are
	}
	a.record.Cause = CauseAsked
	return a
}

// Runs are the runs of a source that are remembered, newest first; the one that
// is under way has its progress. limit 0 stands for all.
func (m *Manager) Runs(instance, source string, limit int) ([]Record, error) {
	m.mu.Lock()
	c := m.connector(instance, source)
	if c == nil {
		m.mu.Unlock()
		return nil, noSource(instance, source)
	}
	out, running := slices.Clone(c.memo.Records), c.running
	m.mu.Unlock()
	slices.Reverse(out)
	if limit > 0 {
		out = out[:min(limit, len(out))]
	}
	for i := range out {
		if running != nil && out[i].Outcome == "" {
			out[i].Progress = running.progressNow()
		}
	}
	return out, nil
}

func (a *attempt) progressNow() map[string][2]int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.progress)
}

// Progress is the run of a source that is under way, or waits for its turn
// because it was asked for; false when there is none.
func (m *Manager) Progress(instance, source string) (Record, bool) {
	m.mu.Lock()
	c := m.connector(instance, source)
	if c == nil || c.running == nil && c.asked == nil {
		m.mu.Unlock()
		return Record{}, false
	}
	a := c.running
	if a == nil {
		a = c.asked
	}
	r := a.record
	m.mu.Unlock()
	r.Progress = a.progressNow()
	return r, true
}

// Log is what a run wrote, without what is secret: its beginning and its end.
// That of a run that is under way ends where it is now.
func (m *Manager) Log(instance, source string, id int64) (io.ReadCloser, error) {
	m.mu.Lock()
	c := m.connector(instance, source)
	var running *attempt
	if c != nil && c.running != nil && c.running.record.ID == id {
		running = c.running
	}
	m.mu.Unlock()
	if c == nil || !ValidName(source) {
		return nil, noSource(instance, source)
	}
	f, err := m.opts.openLog(instance, source, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("instance %s, connector %s: log of run %d: %w, or its log is not kept any more", instance, source, id, ErrUnknownRun)
	}
	if err != nil {
		return nil, fmt.Errorf("read log of run %d: %w", id, err)
	}
	var more []byte
	if running != nil {
		running.mu.Lock()
		log := running.log
		running.mu.Unlock()
		if log != nil {
			more = log.soFar()
		}
	}
	const most = logHead + logTail + 1<<10
	return readCloser{io.LimitReader(io.MultiReader(f, bytes.NewReader(more)), most), f}, nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// Cancel ends the run of a source that is under way or waits. It returns before
// the run has ended. What is due next is the next time of the schedule.
func (m *Manager) Cancel(instance, source string) error {
	m.mu.Lock()
	c := m.connector(instance, source)
	if c == nil {
		m.mu.Unlock()
		return noSource(instance, source)
	}
	if c.running == nil && c.asked == nil {
		m.mu.Unlock()
		return fmt.Errorf("instance %s, connector %s: %w", instance, source, ErrNotRunning)
	}
	queued := c.running == nil
	if queued {
		for name := range c.asked.lanes {
			c.memo.Lanes[name] = c.memo.Lanes[name].drop(m.now())
		}
	}
	c.stop(errCancelled)
	m.mu.Unlock()
	if queued {
		return c.save()
	}
	return nil
}

// Discover lists what a service has: of the connector of that name, or, when
// spec is set, of one that is not in the desired state yet. The errors are also
// ErrUnknownSource and ErrNoDiscovery.
func (m *Manager) Discover(ctx context.Context, instance, source string, spec *desired.ConnectorSpec, limit int) (found []Discovered, more bool, err error) {
	if spec == nil {
		m.mu.Lock()
		c := m.connector(instance, source)
		if c == nil || !c.wanted {
			m.mu.Unlock()
			return nil, false, noSource(instance, source)
		}
		wanted := c.spec
		spec = &wanted
		m.mu.Unlock()
	}
	if spec.Program != nil || m.opts.Sources == nil {
		return nil, false, fmt.Errorf("discover: %w", ErrNoDiscovery)
	}
	ctx, cancel := context.WithTimeout(ctx, discoverLimit)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("discover: the source panicked: %v", p)
		}
		if err != nil {
			err = hiding{newMask(*spec), err}
		}
	}()
	s, err := m.opts.Sources(ctx, *spec)
	if err != nil {
		return nil, false, err
	}
	return s.Discover(ctx, limit)
}

// hiding is an error whose text has nothing secret.
type hiding struct {
	mask *mask
	error
}

func (h hiding) Error() string { return h.mask.text(h.error.Error()) }
func (h hiding) Unwrap() error { return h.error }

// Removed are the connectors of an instance that are wanted no more and of which
// the runs are still remembered.
func (m *Manager) Removed(instance string) (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if in := m.all[instance]; in != nil {
		for name, c := range in.all {
			if !c.wanted && c.opened {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// Purge removes what is remembered of the runs of a connector that is wanted no
// more, and their logs. Its data is the publisher's. The errors are also
// ErrUnknownSource, ErrWanted and ErrRunning.
func (m *Manager) Purge(instance, source string) error {
	m.mu.Lock()
	c := m.connector(instance, source)
	var err error
	switch {
	case c == nil || !ValidName(source):
		err = noSource(instance, source)
	case c.wanted:
		err = WithHint(fmt.Errorf("purge connector %s of instance %s: %w", source, instance, ErrWanted), "remove it from the desired state first")
	case c.running != nil:
		err = fmt.Errorf("purge connector %s of instance %s: %w", source, instance, ErrRunning)
	case !c.opened || !c.in.read:
		err = fmt.Errorf("purge connector %s of instance %s: %w", source, instance, ErrNotReady)
	}
	if err != nil {
		m.mu.Unlock()
		return err
	}
	delete(c.in.all, source)
	delete(c.in.reg.Sources, source)
	m.mu.Unlock()
	c.saving.Lock()
	defer c.saving.Unlock()
	m.opts.step("purge")
	err = os.RemoveAll(m.opts.runsDir(instance, source))
	return errors.Join(err, m.opts.Memory.Put(c.key(), nil), c.in.save())
}

// lastGood is when the last run of a source ended that gave something.
func lastGood(records []Record) (at time.Time) {
	for _, r := range slices.Backward(records) {
		if r.Outcome == OK || r.Outcome == Partial {
			return r.Ended
		}
	}
	return time.Time{}
}
