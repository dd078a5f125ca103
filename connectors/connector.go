package connectors

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// connector is one source of an instance.
type connector struct {
	m    *Manager
	in   *instance
	name string

	// All of this is under m.mu.
	spec    desired.ConnectorSpec
	commit  string
	changer string // the request that changed spec; empty: none did
	wanted  bool
	opened  bool // memo was read
	ready   bool // the publisher knows what is wanted
	unswept string
	memo    memo
	summed  string // sum of spec; empty: to be made
	lanes   map[string]*times
	behind  time.Time // since when workers lack something
	looked  time.Time // when it could have run last
	since   time.Time // since when a run waits
	asked   *attempt  // waits for its turn
	nudged  bool      // something changed at the service
	nudger  string    // the request that said so last
	running *attempt
	phase   reconciler.AttachmentPhase
	reason  string
	stands  time.Time // since when it stands so
	past    bool      // nobody was told yet how it stood when it was opened

	saving sync.Mutex // orders the writes of memo
}

func newConnector(in *instance, name string) *connector {
	return &connector{m: in.m, in: in, name: name, memo: memo{}.ready(), stands: in.m.now(), past: true}
}

// key is the name of its note.
func (c *connector) key() string { return c.in.name + "/" + c.name }

// set says what is wanted. A run for another identity is of no use any more.
// m.mu is held.
func (c *connector) set(spec desired.ConnectorSpec, commit, correlation string) {
	if !c.wanted || c.spec.Identity != spec.Identity {
		c.ready, c.changer = false, correlation
		c.stop(errChanged)
	}
	c.spec, c.commit, c.wanted, c.summed, c.lanes = spec, commit, true, "", nil
}

// leave says that it is wanted no more. m.mu is held.
func (c *connector) leave() {
	if !c.wanted {
		return
	}
	c.wanted, c.ready = false, false
	c.stop(errRemoved)
}

// stop ends what is under way or waits. m.mu is held.
func (c *connector) stop(why error) {
	if c.running != nil {
		c.running.cancel(why)
	}
	if a := c.asked; a != nil && c.running != a {
		if c.asked = nil; a.record.ID == 0 {
			return // it is not written down yet
		}
		a.record.Started, a.record.Ended = c.m.now(), c.m.now()
		a.record.Outcome, a.record.Error = Failed, why.Error()
		c.memo.put(a.record)
	}
}

// tables are those of a lane: the one of the source has what has no schedule of
// its own. What a program leaves is not known before: its lane is of everything.
func (c *connector) tables(name string) []string {
	var out []string
	for _, t := range c.spec.Tables {
		if name == t.Name && t.Schedule != nil || name == "" && (t.Schedule == nil || c.spec.Program != nil) {
			out = append(out, t.Name)
		}
	}
	return out
}

// times are the times of every lane. m.mu is held.
func (c *connector) times() map[string]*times {
	if c.lanes != nil {
		return c.lanes
	}
	all := map[string]*times{}
	c.lanes = all
	seed := c.m.opts.Seed + "/" + c.key()
	own := 0
	for _, t := range c.spec.Tables {
		if t.Schedule != nil {
			all[t.Name] = newTimes(t.Schedule, seed+"/"+t.Name)
			own++
		}
	}
	if own == 0 || own < len(c.spec.Tables) || c.spec.Program != nil {
		all[""] = newTimes(c.spec.Schedule, seed)
	}
	return all
}

// adopt has the lanes be those of the spec. m.mu is held.
func (c *connector) adopt(all map[string]*times, now time.Time) {
	for name := range c.memo.Lanes {
		if _, wanted := all[name]; !wanted {
			delete(c.memo.Lanes, name)
		}
	}
	for name, t := range all {
		c.memo.Lanes[name] = c.memo.Lanes[name].adopt(t, now)
	}
}

// changed says that what is there is not what is wanted. m.mu is held.
func (c *connector) changed() bool { return !c.memo.Ever || c.memo.Good != c.spec.Identity }

// fresh says that the spec, with its secrets, was not tried yet. m.mu is held.
func (c *connector) fresh() bool { return c.memo.Tried != c.sum() }

// regain has everything read anew when what the last good run left is gone, as
// after a disk that damaged it: nobody else would ask for it before the schedule
// does, if there is one. m.mu is held.
func (c *connector) regain(now time.Time) bool {
	if !c.wanted || !c.ready || c.running != nil || c.asked != nil || c.changed() {
		return false
	}
	if last, any := c.memo.lastEnded(); any && now.Sub(last.Ended) < lostPause && !last.Ended.After(now) {
		return false // what the publisher said may be older than the run
	}
	c.memo.Ever, c.memo.Good = false, ""
	c.memo.State, c.memo.StateOf, c.memo.Base = nil, "", 0
	return true
}

// sum identifies a spec, secrets included. Notes are sealed, and nothing is
// compared with the sum but a sum.
func (c *connector) sum() string {
	if c.summed != "" {
		return c.summed
	}
	data, _ := json.Marshal(c.spec) // of texts and numbers alone: it cannot fail
	sum := sha256.Sum256(append(slices.Clip(c.memo.Salt), data...))
	c.summed = hex.EncodeToString(sum[:16])
	return c.summed
}

// look returns the run that is due, or when there is one. m.mu is held.
func (c *connector) look(now time.Time) (*attempt, time.Time) {
	if !c.wanted || !c.opened || !c.ready || c.running != nil || c.unable() {
		return nil, time.Time{}
	}
	all := c.times()
	c.adopt(all, now)
	if c.asked != nil {
		if c.wait(now); !c.asked.ready {
			return nil, time.Time{}
		}
		return c.asked, time.Time{}
	}
	if c.in.want.Suspended || c.tableless() { // its times come while nothing can run
		return nil, time.Time{}
	}
	a, next := c.due(all, now)
	c.looked = now
	if a == nil && c.nudged {
		a, next = c.heed(now, next)
	}
	if a == nil {
		c.since = time.Time{}
		return nil, next
	}
	c.wait(now)
	return a, time.Time{}
}

// heed is the run that a nudge is for. One that comes early waits, and one of a
// source that fails is no reason to try again before its time: a run of
// everything does for it. m.mu is held.
func (c *connector) heed(now, next time.Time) (*attempt, time.Time) {
	for _, l := range c.memo.Lanes {
		if l.Wait != waitNone {
			return nil, next
		}
	}
	at := now
	if n := len(c.memo.Records); n > 0 {
		at = c.memo.Records[n-1].Started.Add(nudgePause)
	}
	if at.After(now) && !at.After(now.Add(nudgePause)) {
		if next.IsZero() || at.Before(next) {
			next = at
		}
		return nil, next
	}
	a := c.ask(nil)
	a.quiet, a.record.Correlation = true, c.nudger
	return a, time.Time{}
}

// wait notes since when a run waits for its turn.
func (c *connector) wait(now time.Time) {
	if c.since.IsZero() || c.since.After(now) {
		c.since = now
	}
}

// unable says that a program cannot run yet.
func (c *connector) unable() bool {
	return c.spec.Program != nil && c.m.opts.Program != nil && !c.in.swept
}

// tableless says that nobody chose tables of a built-in source yet: a run could
// only fail. m.mu is held.
func (c *connector) tableless() bool {
	return c.spec.Program == nil && len(c.spec.Tables) == 0 && !c.memo.Ever
}

// due is a run of all lanes that are due, or the time of the first that will be.
func (c *connector) due(all map[string]*times, now time.Time) (a *attempt, next time.Time) {
	changed, fresh := c.changed(), c.fresh()
	turns := map[string]turn{}
	for name, t := range all {
		l := c.memo.Lanes[name]
		if !changed {
			l = l.missed(t, c.looked, now, c.spec.CatchUp)
			c.memo.Lanes[name] = l
		}
		turn, any := l.turn(t, now, changed, fresh)
		switch {
		case !any:
		case !turn.at.After(now):
			turns[name] = turn
		case next.IsZero() || turn.at.Before(next):
			next = turn.at
		}
	}
	if len(turns) == 0 {
		return nil, next
	}
	return newAttempt(c, turns, changed), time.Time{}
}

// open reads what is remembered, and settles what an earlier process left under
// way. It is called by one goroutine at a time.
func (c *connector) open() error {
	c.m.mu.Lock()
	opened := c.opened
	c.m.mu.Unlock()
	if opened {
		return nil
	}
	data, err := c.m.opts.Memory.Get(c.key())
	if err != nil && !errors.Is(err, reconciler.ErrUnsealed) {
		return fmt.Errorf("read what is remembered of connector %s: %w", c.name, err)
	}
	read, unread := readMemo(data)
	if err = cmp.Or(err, unread); err != nil {
		if err := c.m.setAside(c.in.name, c.key(), "what is remembered of connector "+c.name, data, err); err != nil {
			return err
		}
	}
	if len(read.Salt) == 0 {
		read.Salt = make([]byte, 16)
		_, _ = rand.Read(read.Salt) // it never fails
	}
	interrupted := c.interrupt(&read)
	c.clean(read)
	c.m.mu.Lock()
	for _, r := range read.Records { // a register that was lost
		c.in.reg.Last = max(c.in.reg.Last, r.ID)
	}
	c.memo, c.summed = read, ""
	c.m.mu.Unlock()
	if interrupted {
		if err := c.save(); err != nil {
			return err
		}
	}
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	c.opened = true
	return nil
}

// interrupt ends the record of a run that was under way when the process died.
// It is made up for, once at least.
func (c *connector) interrupt(m *memo) (any bool) {
	now := c.m.now()
	failed := failure{now, errInterrupted, 1, mathrand.Float64()}
	for _, r := range slices.Clone(m.Records) {
		if r.Outcome != "" {
			continue
		}
		any = true
		r.Outcome, r.Ended, r.Error = Failed, now, errInterrupted.Error()
		m.put(r)
	}
	for name, l := range m.Lanes {
		if any && l.Owed && l.Wait == waitNone {
			m.Lanes[name] = l.fail(failed)
		}
	}
	return any
}

// clean removes what runs left but for the newest logs. What cannot be removed
// now is tried again after the next run.
func (c *connector) clean(m memo) {
	c.m.mu.Lock()
	keep := c.spec.Keep
	c.m.mu.Unlock()
	if err := c.m.opts.pruneRuns(c.in.name, c.name, newest(m.Records, keep), 0); err != nil {
		c.m.opts.Log.WithField("instance", c.in.name).WithError(err).Warn("connectors: clean up")
	}
}

// newest are the numbers of the runs whose logs are kept.
func newest(records []Record, keep int) (ids []int64) {
	if keep <= 0 {
		keep = defaultKeep
	}
	for _, r := range records[max(0, len(records)-keep):] {
		ids = append(ids, r.ID)
	}
	return ids
}

// forget makes one that is wanted no more one that never was, but for its past.
func (c *connector) forget() error {
	c.m.mu.Lock()
	c.memo.Ever, c.memo.Good, c.memo.State, c.memo.StateOf, c.memo.Base = false, "", nil, "", 0
	c.memo.Lanes, c.memo.Trouble, c.memo.Bad, c.memo.Told = nil, nil, nil, nil
	c.memo = c.memo.ready()
	c.m.mu.Unlock()
	return c.save()
}

// save writes the memo as it is.
func (c *connector) save() error {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.m.mu.Lock()
	data, err := c.memo.write()
	c.m.mu.Unlock()
	if err != nil {
		return fmt.Errorf("remember connector %s: %w", c.name, err)
	}
	c.m.opts.step("remember " + c.name)
	if err := c.m.opts.Memory.Put(c.key(), data); err != nil {
		return fmt.Errorf("remember connector %s: %w", c.name, err)
	}
	return nil
}
