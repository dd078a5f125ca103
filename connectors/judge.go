package connectors

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

const (
	// baseLost is the code of a problem: what the changes are of is gone.
	baseLost = "BaseLost"
	// The most of each that a record holds.
	mostTables   = 1000
	mostProblems = 50
	mostWarnings = 20
)

// verdict is what a run came to.
type verdict struct {
	outcome    Outcome
	err        error // why not everything is good
	stopped    error // why it was ended before its time; nil: it was not
	tables     []TableResult
	problems   []Problem
	generation int
	published  bool
	lost       bool            // what the state is about is gone
	state      json.RawMessage // for the next run, if published
}

func (a *attempt) failed(err error) verdict {
	v := verdict{outcome: Failed, err: err}
	if a.ctx.Err() != nil {
		v.stopped = a.why()
		v.err = v.stopped
	}
	return v
}

// why the run was ended. The end of the daemon is the one that says nothing.
func (a *attempt) why() error {
	cause := context.Cause(a.ctx)
	for _, known := range []error{errRemoved, errChanged, errCancelled} {
		if errors.Is(cause, known) {
			return known
		}
	}
	return errInterrupted
}

// conclude has what the run left published, and judges all of it. What was
// good before the run failed, or its time was over, is kept.
func (a *attempt) conclude(report Report, err error) verdict {
	if a.ctx.Err() != nil {
		return a.failed(err)
	}
	a.complete(&report, err)
	left := verdict{outcome: Failed, err: err, tables: report.Tables}
	if !a.worth(report, err) {
		left.err = cmp.Or(err, tablesError(report.Tables))
		return left
	}
	published, perr := a.publish(report, err)
	if a.ctx.Err() != nil && (perr != nil || published.Generation == 0) {
		return a.failed(perr)
	}
	left.problems = published.Problems
	left.lost = slices.ContainsFunc(left.problems, func(p Problem) bool { return p.Code == baseLost })
	if perr != nil {
		left.err = errors.Join(err, fmt.Errorf("publish: %w", perr))
		return left
	}
	left.tables = overlay(report.Tables, published.Tables)
	left.generation = published.Generation
	if left.outcome = (Report{Tables: left.tables}).Outcome(); left.outcome == OK && err != nil {
		left.outcome = Partial
	}
	if published.Generation == 0 {
		left.outcome = Failed
	}
	if left.outcome != OK && left.err == nil {
		left.err = cmp.Or(tablesError(left.tables), problemsError(left.problems))
	}
	left.published, left.state = true, a.next(report, left)
	return left
}

// complete adds what a source said nothing of: nobody is to take it for gone.
func (a *attempt) complete(report *Report, err error) {
	if a.spec.Program != nil {
		return
	}
	for _, spec := range a.specs() {
		if slices.ContainsFunc(report.Tables, func(t TableResult) bool { return t.Table == spec.Name }) {
			continue
		}
		said := "the source said nothing of it"
		if err != nil {
			said = "it was not read: " + err.Error()
		}
		report.Tables = append(report.Tables, TableResult{Table: spec.Name, Outcome: Failed, Error: said})
	}
}

// worth says that there may be something to publish. Of a program that failed
// that is only what its runner vouches for: a file may have been cut short.
func (a *attempt) worth(report Report, err error) bool {
	if a.spec.Program != nil && err == nil {
		return true
	}
	if len(report.Tables) == 0 {
		return err == nil
	}
	return slices.ContainsFunc(report.Tables, func(t TableResult) bool { return t.Outcome != Failed })
}

// publish makes a generation. It has a time of its own: a run that took all of
// its time still leaves what it had.
func (a *attempt) publish(report Report, err error) (Published, error) {
	p := Publication{
		Instance: a.c.in.name, Source: a.c.name, Identity: a.spec.Identity, Commit: a.record.Commit, Dir: filepath.Join(a.dir, outDir),
		Built: a.spec.Program == nil, Tables: report.Tables, Remotes: report.Remotes, Wanted: wantedOf(a.spec), Only: a.only,
		Base: a.base, Keep: a.spec.Keep, At: a.record.Started,
	}
	if p.Keep <= 0 {
		p.Keep = defaultKeep
	}
	if good := a.vouched(report, err); len(good) > 0 {
		p.Only = good
	}
	limited, cancel := context.WithTimeout(a.ctx, publishLimit)
	defer cancel()
	a.c.m.opts.step("publish")
	out, perr := a.c.m.opts.Publisher.Publish(limited, p)
	a.c.m.opts.step("have published")
	return out, perr
}

// vouched are the tables of a program that are good beside others that are not:
// those keep what they have. None when all are good.
func (a *attempt) vouched(report Report, err error) (good []string) {
	if a.spec.Program == nil || err == nil && report.Outcome() == OK {
		return nil
	}
	for _, t := range report.Tables {
		if t.Outcome != Failed && (len(a.only) == 0 || slices.Contains(a.only, t.Table)) {
			good = append(good, t.Table)
		}
	}
	return good
}

// wantedOf is what the desired state says of tables.
func wantedOf(spec desired.ConnectorSpec) map[string]Wanted {
	out := map[string]Wanted{}
	for _, t := range spec.Tables {
		out[t.Name] = Wanted{QueryMode: string(t.QueryMode), Description: t.Description, Owner: cmp.Or(t.Owner, spec.Owner), PrimaryKey: t.PrimaryKey, Types: t.Types}
	}
	return out
}

// overlay joins what a source said of tables with what became of them: the
// worse of two outcomes counts.
func overlay(source, published []TableResult) []TableResult {
	out := slices.Clone(source)
	for _, p := range published {
		i := slices.IndexFunc(out, func(t TableResult) bool { return t.Table == p.Table })
		if i < 0 {
			out = append(out, p)
			continue
		}
		t := out[i]
		p.Outcome = worse(t.Outcome, p.Outcome)
		p.Error, p.Hint = cmp.Or(t.Error, p.Error), cmp.Or(t.Hint, p.Hint)
		for _, w := range t.Warnings {
			if !slices.Contains(p.Warnings, w) {
				p.Warnings = append(slices.Clip(p.Warnings), w)
			}
		}
		out[i] = p
	}
	return out
}

func worse(a, b Outcome) Outcome {
	rank := map[Outcome]int{OK: 1, Partial: 2, Failed: 3}
	if rank[a] >= rank[b] {
		return a
	}
	return b
}

// next is the state for the next run. What a table's part says is there has to
// be there: of one that the source read and nobody published, the part of before
// stays. Tables that the run was not for keep theirs.
func (a *attempt) next(report Report, v verdict) json.RawMessage {
	had := a.state
	if v.lost {
		had = nil
	}
	if v.generation == 0 {
		return had
	}
	refused := map[string]bool{}
	for _, t := range v.tables {
		said := slices.ContainsFunc(report.Tables, func(r TableResult) bool { return r.Table == t.Table && r.Outcome != Failed })
		if t.Outcome == Failed && said {
			refused[t.Table] = true
		}
	}
	if len(report.State) == 0 {
		return had
	}
	merged, ok := mergeState(had, report.State, refused, a.only)
	switch {
	case !ok && len(refused) == 0:
		merged = report.State
	case !ok:
		merged = had
	}
	if len(merged) > maxState {
		return nil
	}
	return merged
}

// mergeState joins two states that are by table (State), and says whether they
// are: tables that were refused, and those that the run was not for, have the
// part that they had.
func mergeState(had, now json.RawMessage, refused map[string]bool, only []string) (json.RawMessage, bool) {
	before, ok := partsOf(had)
	after, ok2 := partsOf(now)
	if !ok && len(had) > 0 || !ok2 {
		return nil, false
	}
	for name := range refused {
		delete(after.Tables, name)
		if part, any := before.Tables[name]; any {
			after.Tables[name] = part
		}
	}
	if len(only) > 0 {
		for name, part := range before.Tables {
			if !slices.Contains(only, name) {
				after.Tables[name] = part
			}
		}
	}
	data, err := json.Marshal(after)
	return data, err == nil
}

// parts is a State whose parts nobody looks into.
type parts struct {
	Version int                        `json:"version"`
	Tables  map[string]json.RawMessage `json:"tables"`
}

func partsOf(state json.RawMessage) (p parts, ok bool) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(state, &fields) != nil || json.Unmarshal(state, &p) != nil || p.Version != 1 || p.Tables == nil || len(fields) != 2 {
		return parts{}, false
	}
	return p, true
}

// tablesError says what is wrong with tables, in one line.
func tablesError(tables []TableResult) error {
	var bad []TableResult
	for _, t := range tables {
		if t.Outcome == Failed || t.Outcome == Partial {
			bad = append(bad, t)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	said := make([]string, 0, 4)
	for _, t := range bad[:min(len(bad), 3)] {
		said = append(said, t.Table+": "+cmp.Or(t.Error, string(t.Outcome)))
	}
	if more := len(bad) - 3; more > 0 {
		said = append(said, fmt.Sprintf("and %d more", more))
	}
	err := fmt.Errorf("%d of %d tables: %s", len(bad), len(tables), strings.Join(said, "; "))
	return WithHint(err, bad[0].Hint)
}

// problemsError says why nothing was published.
func problemsError(problems []Problem) error {
	if len(problems) == 0 {
		return errors.New("nothing of what the run left could be published")
	}
	p := problems[0]
	err := fmt.Errorf("nothing was published: %s", strings.TrimPrefix(strings.Join([]string{cmp.Or(p.Table, p.File), p.Found}, ": "), ": "))
	return WithHint(err, p.Hint)
}
