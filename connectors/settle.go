package connectors

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The reasons of the events that a Manager reports.
const (
	ReasonConnectorRan       = "ConnectorRan"
	ReasonConnectorFailed    = "ConnectorFailed"
	ReasonConnectorRecovered = "ConnectorRecovered"
	ReasonSchemaChanged      = "SchemaChanged"
	ReasonConnectorRemoved   = "ConnectorRemoved"
	ReasonConnectorNotes     = "ConnectorNotesDamaged"
)

// event is what people are to be told.
type event struct{ reason, message string }

// settle makes a verdict count: the record, what the next run starts from and
// when that is, in one write. It returns what is to be told.
func (a *attempt) settle(v verdict) []event {
	c := a.c
	a.hide(&v)
	c.m.mu.Lock()
	now := c.m.now()
	before, ever := c.memo.lastEnded()
	a.enterVerdict(v, now)
	if c.wanted {
		a.enterState(v)
		a.enterLanes(v, now)
		a.enterTrouble(v)
	}
	said := a.tellings(v, before, ever)
	c.m.mu.Unlock()
	if a.record.ID == 0 {
		c.m.opts.Log.WithField("instance", c.in.name).WithError(v.err).Warnf("connectors: run %s", c.name)
		return said
	}
	if err := c.save(); err != nil { // it counts until the daemon ends, and then the run is made again
		c.m.opts.Log.WithField("instance", c.in.name).WithError(err).Error("connectors: keep what a run came to")
	}
	return said
}

// hide takes out of a verdict what is secret, and more than has room.
func (a *attempt) hide(v *verdict) {
	v.tables = slices.Clone(v.tables[:min(len(v.tables), mostTables)])
	for i := range v.tables {
		t := &v.tables[i]
		t.Error, t.Hint, t.Description = a.mask.text(t.Error), a.mask.text(t.Hint), ""
		t.Columns, t.Parts, t.PrimaryKey, t.Remote = nil, nil, nil, nil // which manifests have
		warnings := make([]string, 0, min(len(t.Warnings), mostWarnings))
		for _, w := range t.Warnings[:min(len(t.Warnings), mostWarnings)] {
			warnings = append(warnings, a.mask.text(w))
		}
		t.Warnings = warnings
	}
	v.problems = slices.Clone(v.problems[:min(len(v.problems), mostProblems)])
	for i := range v.problems {
		p := &v.problems[i]
		p.File, p.Table, p.Found, p.Hint = a.mask.text(p.File), a.mask.text(p.Table), a.mask.text(p.Found), a.mask.text(p.Hint)
	}
}

// enterVerdict completes the record. m.mu is held.
func (a *attempt) enterVerdict(v verdict, now time.Time) {
	r := &a.record
	r.Ended, r.Outcome, r.Tables, r.Problems, r.Generation, r.Progress = now, v.outcome, v.tables, v.problems, v.generation, nil
	if v.err != nil {
		r.Error, r.Hint = a.mask.text(v.err.Error()), a.mask.text(Hint(v.err))
	}
	if r.ID > 0 {
		a.c.memo.put(*r)
	}
}

// enterState notes what the next run starts from. m.mu is held.
func (a *attempt) enterState(v verdict) {
	m := &a.c.memo
	if v.published && (v.generation > 0 || v.lost) {
		m.State, m.StateOf, m.Base = v.state, a.spec.Identity, v.generation
		if len(v.state) == 0 {
			m.State, m.Base = nil, 0
		}
	}
	if v.outcome != Failed && len(a.only) == 0 {
		m.Ever, m.Good = true, a.spec.Identity
	}
}

// enterLanes notes when the lanes are to run again. m.mu is held.
func (a *attempt) enterLanes(v verdict, now time.Time) {
	failed := failure{now, v.err, a.spec.Retries, rand.Float64()}
	if v.lost || v.stopped == errInterrupted { // which no retry was meant for
		failed.retries = max(failed.retries, 1)
	}
	for name := range a.lanes {
		l, there := a.c.memo.Lanes[name]
		switch {
		case !there || v.stopped == errChanged || v.stopped == errRemoved:
			continue
		case v.stopped == errCancelled:
			l = l.drop(now)
		case v.gave(a.tables[name]):
			l = l.well(a.record.Started)
		default:
			l = l.fail(failed)
		}
		a.c.memo.Lanes[name] = l
	}
}

// gave says that some of the tables are good; without any, that the run was.
func (v verdict) gave(tables []string) bool {
	if v.outcome == Failed || len(tables) == 0 {
		return v.outcome != Failed
	}
	return slices.ContainsFunc(v.tables, func(t TableResult) bool { return t.Outcome != Failed && slices.Contains(tables, t.Table) })
}

// enterTrouble notes what is wrong with the source and its tables. m.mu is held.
func (a *attempt) enterTrouble(v verdict) {
	m := &a.c.memo
	if v.stopped != nil {
		return
	}
	if len(a.only) == 0 {
		clear(m.Bad)
	}
	for _, t := range v.tables {
		if delete(m.Bad, t.Table); t.Outcome != OK {
			m.Bad[t.Table] = trouble{t.Outcome, cmp.Or(t.Error, string(t.Outcome)), t.Hint}
		}
	}
	m.Trouble = nil
	if v.outcome != OK && (v.outcome == Failed || len(m.Bad) == 0) {
		m.Trouble = &trouble{v.outcome, a.record.Error, a.record.Hint}
	}
}

// tellings are what people are to be told: what changed, and what was asked for,
// and a cause of failures once until it is well again. m.mu is held.
func (a *attempt) tellings(v verdict, before Record, ever bool) (said []event) {
	m, name, asked := &a.c.memo, a.c.name, a.record.Cause == CauseAsked && !a.quiet
	add := func(reason, format string, args ...any) {
		said = append(said, event{reason, name + ": " + fmt.Sprintf(format, args...)})
	}
	if changes := schemaChanges(v.tables); len(changes) > 0 && v.generation > 0 {
		add(ReasonSchemaChanged, "%s", strings.Join(changes, "; "))
	}
	switch {
	case v.stopped == errCancelled:
		add(ReasonConnectorRan, "run %d was cancelled", a.record.ID)
	case v.stopped != nil:
	case v.outcome == OK && len(m.Bad) == 0 && len(m.Told) > 0:
		m.Told = nil
		add(ReasonConnectorRecovered, "%s", a.came(v))
	case v.outcome == OK && (asked || !ever || before.Identity != a.record.Identity):
		add(ReasonConnectorRan, "%s", a.came(v))
	case v.outcome != OK:
		if cause := causeOf(v.outcome, a.record.Error); !m.known(cause) || asked {
			add(ReasonConnectorFailed, "run %d: %s: %s%s", a.record.ID, v.outcome, a.record.Error, hintText(a.record.Hint))
		}
	}
	return said
}

func hintText(hint string) string {
	if hint == "" {
		return ""
	}
	return " (" + hint + ")"
}

// came says what a good run came to.
func (a *attempt) came(v verdict) string {
	var rows int64
	for _, t := range v.tables {
		rows += t.Rows
	}
	return fmt.Sprintf("run %d (%s) read %d tables with %d rows and published generation %d", a.record.ID, a.record.Cause, len(v.tables), rows, v.generation)
}

var (
	// varying is what differs in a message from one time to the next.
	varying = regexp.MustCompile(`[0-9a-fA-F]*[0-9][0-9a-fA-F]*|\s+`)
)

// causeOf identifies a cause by its message, without what differs each time.
func causeOf(outcome Outcome, message string) string {
	sum := sha256.Sum256([]byte(string(outcome) + varying.ReplaceAllString(message, "#")))
	return hex.EncodeToString(sum[:8])
}

// schemaChanges are the warnings of SchemaChanges, a few of each table.
func schemaChanges(tables []TableResult) (out []string) {
	const most = 10
	for _, t := range tables {
		for _, w := range t.Warnings {
			said, is := strings.CutPrefix(w, "schema: ")
			if !is {
				continue
			}
			if len(out) == most {
				return append(out, "and more")
			}
			out = append(out, t.Table+": "+said)
		}
	}
	return out
}
