package connectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/sirupsen/logrus"
)

// Why a run ended that was not let to its end.
var (
	errInterrupted = errors.New("interrupted: the daemon ended while it ran")
	errRemoved     = errors.New("ended: the connector is wanted no more")
	errChanged     = errors.New("ended: the connector was changed while it ran")
	errCancelled   = errors.New("ended: somebody cancelled it")
)

// mostProgress bounds the tables whose progress is kept.
const mostProgress = 1000

// attempt is one run, from when it is due. Until it begins it is under m.mu;
// then it belongs to its goroutine, but for what is said to be under a lock.
type attempt struct {
	c      *connector
	lanes  map[string]turn
	tables map[string][]string // of each lane
	only   []string            // none: everything
	quiet  bool                // nobody waits to hear how it went
	record Record              // under m.mu once it began

	spec   desired.ConnectorSpec
	state  json.RawMessage
	base   int
	dir    string
	mask   *mask
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu       sync.Mutex
	progress map[string][2]int64
	log      *runLog

	ready bool // under m.mu: one that was asked for is written down
}

// newAttempt is a run of the lanes that are due; of everything when what is
// there is not what is wanted. m.mu is held.
func newAttempt(c *connector, turns map[string]turn, everything bool) *attempt {
	a := &attempt{c: c, lanes: turns, tables: map[string][]string{}}
	all := c.times()
	if everything {
		for name := range all {
			if _, due := turns[name]; !due {
				a.lanes[name] = turn{due: c.memo.Lanes[name].Due, renew: true}
			}
		}
	}
	_, whole := a.lanes[""]
	whole = whole && c.spec.Program != nil || len(a.lanes) == len(all)
	for _, name := range slices.Sorted(maps.Keys(a.lanes)) {
		t := a.lanes[name]
		a.tables[name] = c.tables(name)
		if !whole {
			a.only = append(a.only, a.tables[name]...)
		}
		if t.cause != "" && (a.record.Cause == "" || a.record.Cause == CauseRetry) {
			a.record.Cause, a.record.Due = t.cause, t.due
		}
	}
	slices.Sort(a.only)
	a.record.Correlation = c.asker(a.record.Cause)
	return a
}

// asker is the request that a run by itself goes back to: the one that changed
// what is wanted, or the one of the run that failed. m.mu is held.
func (c *connector) asker(why Cause) string {
	n := len(c.memo.Records)
	switch {
	case why == CauseChanged:
		return c.changer
	case why == CauseRetry && n > 0:
		return c.memo.Records[n-1].Correlation
	}
	return ""
}

// begin takes the source for this run. m.mu is held.
func (a *attempt) begin(ctx context.Context) {
	c, now := a.c, a.c.m.now()
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.spec = c.spec
	a.mask = newMask(c.spec)
	if c.memo.StateOf == c.spec.Identity && len(c.memo.State) > 0 {
		a.state, a.base = c.memo.State, c.memo.Base
	}
	a.own()
	a.record.Source, a.record.Commit, a.record.Identity, a.record.Started = c.name, c.commit, c.spec.Identity, now
	c.memo.Tried = c.sum()
	c.running, c.asked, c.since = a, nil, time.Time{}
	if len(a.only) == 0 {
		c.nudged = false
	}
	c.in.busy++
	c.m.busy++
}

// own notes that the lanes are owed a run. m.mu is held.
func (a *attempt) own() {
	for name, t := range a.lanes {
		a.c.memo.Lanes[name] = a.c.memo.Lanes[name].begin(t)
	}
}

// run makes the run and lets go of the source.
func (a *attempt) run() {
	v := a.work()
	a.cancel(nil)
	said := a.settle(v)
	a.tidy()
	a.c.m.mu.Lock()
	a.c.running, a.c.looked = nil, a.c.m.now() // what became due meanwhile was not missed
	a.c.in.busy--
	a.c.m.busy--
	a.c.m.mu.Unlock()
	for _, e := range said {
		a.c.m.report(a.c.in.name, e.reason, e.message, a.record.Correlation)
	}
}

// timeOver is the cause of the end of a run that took longer than it may.
type timeOver time.Duration

func (t timeOver) Error() string {
	return "it was ended at its time limit of " + time.Duration(t).String()
}
func (timeOver) Unwrap() error { return context.DeadlineExceeded }

// work does what the run is for.
func (a *attempt) work() verdict {
	if err := a.enter(); err != nil {
		return a.failed(err)
	}
	if err := a.prepare(); err != nil {
		return a.failed(err)
	}
	timeout := a.spec.Timeout
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	over := timeOver(timeout)
	limited, cancel := context.WithTimeoutCause(a.ctx, timeout, over)
	report, err := a.extract(limited)
	if err != nil && limited.Err() != nil && a.ctx.Err() == nil && Hint(err) == "" {
		err = WithHint(fmt.Errorf("%w (%w)", over, err), "raise its timeout, or let it read less at a time")
	}
	cancel()
	v := a.conclude(report, err)
	a.note(v)
	return v
}

// enter writes down that the run is under way: a process that comes after this
// one finds it.
func (a *attempt) enter() error {
	c := a.c
	if a.record.ID == 0 {
		id, err := c.in.number()
		if err != nil {
			return err
		}
		c.m.mu.Lock()
		a.record.ID = id
		c.m.mu.Unlock()
	}
	c.m.mu.Lock()
	c.memo.put(a.record)
	a.dir = c.m.opts.runDir(c.in.name, c.name, a.record.ID)
	c.m.mu.Unlock()
	return c.save()
}

// prepare makes the directory and the log.
func (a *attempt) prepare() error {
	o := a.c.m.opts
	if err := o.makeRunDir(a.dir); err != nil {
		return err
	}
	log, err := newRunLog(filepath.Join(a.dir, logFile), a.mask)
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.log = log
	a.mu.Unlock()
	return a.program()
}

// program writes the files of a program for this run.
func (a *attempt) program() error {
	if a.spec.Program == nil || a.spec.Program.Files == "" {
		return nil
	}
	c, hash := a.c, a.spec.Program.Files
	c.m.mu.Lock()
	tree, here := c.in.want.Files[hash]
	c.m.mu.Unlock()
	if here { // it could not be put away before
		if err := c.m.opts.keepProgram(c.in.name, hash, tree); err != nil {
			return err
		}
	}
	err := c.m.opts.writeProgram(c.in.name, hash, filepath.Join(a.dir, programDir))
	if err != nil {
		c.m.mu.Lock()
		delete(c.in.kept, hash) // when it is handed over again it is taken
		c.m.mu.Unlock()
	}
	return err
}

// extract has the source, or the program, do its work. One that panics fails
// alone.
func (a *attempt) extract(ctx context.Context) (report Report, err error) {
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(a.log, "panic: %v\n%s\n", p, debug.Stack())
			err = fmt.Errorf("run connector: it panicked: %v", p)
		}
	}()
	a.c.m.opts.step("extract")
	job := Job{Dir: filepath.Join(a.dir, outDir), Tables: a.specs(), State: a.state, Now: a.record.Started, Progress: a.tell, Log: a.logger()}
	if a.spec.Program != nil {
		return a.runProgram(ctx, job)
	}
	if a.c.m.opts.Sources == nil {
		return Report{}, reconciler.Terminal(fmt.Errorf("run connector: this daemon has no source %s", a.spec.Kind()))
	}
	source, err := a.c.m.opts.Sources(ctx, a.spec)
	if err != nil {
		return Report{}, err
	}
	return source.Sync(ctx, job)
}

func (a *attempt) runProgram(ctx context.Context, job Job) (Report, error) {
	if a.c.m.opts.Program == nil {
		return Report{}, reconciler.Terminal(errors.New("run connector: this daemon runs no programs"))
	}
	run := Run{Instance: a.c.in.name, Source: a.c.name, Spec: a.spec, Job: job, Output: a.log}
	if a.spec.Program.Files != "" {
		run.Program = filepath.Join(a.dir, programDir)
	}
	return a.c.m.opts.Program.Run(ctx, run)
}

// specs are the tables that the run is for.
func (a *attempt) specs() (out []TableSpec) {
	for _, t := range a.spec.Tables {
		if len(a.only) == 0 || slices.Contains(a.only, t.Name) {
			out = append(out, specOf(t))
		}
	}
	for _, name := range a.only { // of a program, which need not be declared
		if !slices.ContainsFunc(a.spec.Tables, func(t desired.ConnectorTable) bool { return t.Name == name }) {
			out = append(out, TableSpec{Name: name, ID: name})
		}
	}
	return out
}

func specOf(t desired.ConnectorTable) TableSpec {
	s := TableSpec{
		Name: t.Name, ID: t.ID, Strategy: Strategy(t.Strategy), PrimaryKey: t.PrimaryKey, Columns: t.Columns, Where: t.Where,
		Query: t.Query, QueryMode: t.QueryMode, Paths: t.Paths, Format: t.Format, Types: t.Types, Options: t.Options,
	}
	if s.ID == "" {
		s.ID = t.Name
	}
	return s
}

// tell is Job.Progress.
func (a *attempt) tell(table string, done, total int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.progress == nil {
		a.progress = map[string][2]int64{}
	}
	if _, had := a.progress[table]; (had || len(a.progress) < mostProgress) && len(table) <= maxName {
		a.progress[table] = [2]int64{done, total}
	}
}

// logger writes into the log of the run.
func (a *attempt) logger() *logrus.Entry {
	l := logrus.New()
	l.SetOutput(a.log)
	l.SetLevel(logrus.DebugLevel)
	l.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: time.RFC3339})
	entry := l.WithField("connector", a.c.name)
	if a.record.Correlation != "" {
		entry = entry.WithField("correlation", a.record.Correlation)
	}
	return entry
}

// note writes down what the run came to, and ends the log: what a program left
// behind writes no more.
func (a *attempt) note(v verdict) {
	fmt.Fprintf(a.log, "\n--- %s", v.outcome)
	if v.generation > 0 {
		fmt.Fprintf(a.log, ", generation %d", v.generation)
	}
	if v.err != nil {
		fmt.Fprintf(a.log, ": %v%s", v.err, hintText(Hint(v.err)))
	}
	fmt.Fprintln(a.log)
	for _, p := range v.problems[:min(len(v.problems), mostProblems)] {
		where := strings.Join(slices.DeleteFunc([]string{string(p.Code), p.File, p.Table}, func(s string) bool { return s == "" }), " ")
		fmt.Fprintf(a.log, "%s: %s%s\n", where, p.Found, hintText(p.Hint))
	}
	if err := a.log.Close(); err != nil {
		a.c.m.opts.Log.WithField("instance", a.c.in.name).WithError(err).Warnf("connectors: keep log of %s", a.c.name)
	}
}

// tidy removes what the run left besides its log, and the logs of old runs.
func (a *attempt) tidy() {
	c := a.c
	a.mu.Lock()
	log := a.log
	a.mu.Unlock()
	if log != nil {
		_ = log.Close() // of a run that failed before it began
	}
	c.m.mu.Lock()
	keep := newest(c.memo.Records, a.spec.Keep)
	c.m.mu.Unlock()
	if err := c.m.opts.pruneRuns(c.in.name, c.name, keep, 0); err != nil {
		c.m.opts.Log.WithField("instance", c.in.name).WithError(err).Warn("connectors: clean up")
	}
}
