package main

import (
	"errors"
	"iter"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// shownRecords is how much of the past queries see.
const shownRecords = 500

// offerSystemTables offers an instance's own history to queries, as tables of
// the schema fairlead, from the first query on.
func (p *dataParts) offerSystemTables(instance string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown[instance] {
		return nil
	}
	err := errors.Join(
		p.analytics.SetSystem(instance, "history", historyColumns(), func() iter.Seq[[]any] { return p.historyRows(instance) }),
		p.analytics.SetSystem(instance, "sync_history", syncColumns(), func() iter.Seq[[]any] { return p.syncRows(instance) }),
		p.analytics.SetSystem(instance, "instances", instanceColumns(), p.instanceRows))
	p.shown[instance] = err == nil
	return err
}

func column(name, kind string) connectors.Column { return connectors.Column{Name: name, Type: kind} }

func historyColumns() []connectors.Column {
	return []connectors.Column{column("seq", "BIGINT"), column("kind", "VARCHAR"), column("outcome", "VARCHAR"), column("started", "TIMESTAMP"),
		column("seconds", "DOUBLE"), column("generation", "BIGINT"), column("commit", "VARCHAR"), column("author", "VARCHAR"), column("subject", "VARCHAR"),
		column("who", "VARCHAR"), column("release", "VARCHAR"), column("actions", "BIGINT"), column("reason", "VARCHAR")}
}

func (p *dataParts) historyRows(instance string) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		r, err := p.fleet.Instance(instance)
		if err != nil {
			return
		}
		list, err := r.History(shownRecords)
		if err != nil {
			return // there is nothing to show of it; the status tells of a store that cannot be read
		}
		for _, h := range list {
			if !yield([]any{h.Seq, h.Kind, h.Outcome, moment(h.Started), h.Duration.Seconds(), h.Generation, h.Revision.Commit, h.Revision.Author,
				h.Revision.Subject, h.Who, h.Release, len(h.Actions), h.Reason}) {
				return
			}
		}
	}
}

func syncColumns() []connectors.Column {
	return []connectors.Column{column("run", "BIGINT"), column("source", "VARCHAR"), column("cause", "VARCHAR"), column("outcome", "VARCHAR"),
		column("started", "TIMESTAMP"), column("ended", "TIMESTAMP"), column("generation", "BIGINT"), column("commit", "VARCHAR"),
		column("table_name", "VARCHAR"), column("table_outcome", "VARCHAR"), column("rows", "BIGINT"), column("bytes", "BIGINT"), column("error", "VARCHAR")}
}

// syncRows has a row for each table of each run, and one for a run that came to
// no table.
func (p *dataParts) syncRows(instance string) iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		for _, c := range p.Attachments(instance) {
			runs, err := p.Runs(instance, c.Name, 0)
			if err != nil {
				continue
			}
			for _, run := range runs {
				if !yieldRun(run, yield) {
					return
				}
			}
		}
	}
}

func yieldRun(run connectors.Record, yield func([]any) bool) bool {
	row := func(table string, outcome any, rows, bytes any, err string) bool {
		return yield([]any{run.ID, run.Source, run.Cause, orNull(string(run.Outcome)), moment(run.Started), moment(run.Ended), run.Generation, run.Commit,
			orNull(table), outcome, rows, bytes, orNull(err)})
	}
	if len(run.Tables) == 0 {
		return row("", nil, nil, nil, run.Error)
	}
	for _, t := range run.Tables {
		if !row(t.Table, t.Outcome, t.Rows, t.Bytes, t.Error) {
			return false
		}
	}
	return true
}

func instanceColumns() []connectors.Column {
	return []connectors.Column{column("name", "VARCHAR"), column("sync", "VARCHAR"), column("health", "VARCHAR"), column("phase", "VARCHAR"),
		column("generation", "BIGINT"), column("commit", "VARCHAR"), column("subject", "VARCHAR"), column("applied_at", "TIMESTAMP")}
}

func (p *dataParts) instanceRows() iter.Seq[[]any] {
	return func(yield func([]any) bool) {
		for _, r := range p.fleet.Instances() {
			s := r.Status()
			if !yield([]any{s.Name, s.Sync, s.Health, s.Phase, s.Generation, s.Applied.Commit, s.Applied.Subject, moment(s.AppliedAt)}) {
				return
			}
		}
	}
}

// moment is a time as DuckDB reads it; nil, which is NULL, for none.
func moment(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02 15:04:05.999999")
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}
