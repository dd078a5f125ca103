package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// dataDescs are the figures of connectors and of what they have gathered.
type dataDescs struct {
	up, phase, running, good, last, next, published, rows, tables, runs, took *prometheus.Desc
}

func newDataDescs(f *family) dataDescs {
	of := func(name, help string, labels ...string) *prometheus.Desc {
		return f.of("attachment_"+name, help, append([]string{"instance", "connector"}, labels...)...)
	}
	return dataDescs{
		up:        of("up", "1 while data of a connector is attached and its last run went well."),
		phase:     of("phase", "1, with where a connector stands and why.", "kind", "phase", "reason"),
		running:   of("running", "1 while a run is under way."),
		good:      of("last_success_timestamp_seconds", "When a run went well last."),
		last:      of("last_run_timestamp_seconds", "When the last run began."),
		next:      of("next_run_timestamp_seconds", "When the next run is due."),
		published: of("data_timestamp_seconds", "From when the data is that is attached."),
		rows:      of("rows", "Rows that are attached."),
		tables:    of("tables", "Tables that are attached."),
		runs:      of("runs_total", "Runs that ended since the start of the daemon.", "outcome"),
		took:      of("last_run_seconds", "Time of the newest run that ended."),
	}
}

func (d dataDescs) send(out figureSink, s reconciler.Status) {
	for _, a := range s.Attachments {
		out.yes(d.up, a.Phase == reconciler.AttachmentLive, s.Name, a.Name)
		out.gauge(d.phase, 1, s.Name, a.Name, a.Kind, string(a.Phase), a.Reason)
		out.yes(d.running, a.Running, s.Name, a.Name)
		out.time(d.good, a.LastGood, s.Name, a.Name)
		out.time(d.last, a.LastRun, s.Name, a.Name)
		out.time(d.next, a.NextRun, s.Name, a.Name)
		out.time(d.published, a.Published, s.Name, a.Name)
		out.gauge(d.rows, float64(a.Rows), s.Name, a.Name)
		out.gauge(d.tables, float64(len(a.Tables)), s.Name, a.Name)
	}
}

// runTally is what was counted of the runs of a connector so far.
type runTally struct {
	id       int64
	outcomes map[connectors.Outcome]int
	took     time.Duration // negative: not known
}

// runs counts the runs that ended since they were looked at last.
func (f *figures) runs(out figureSink, s reconciler.Status) {
	if f.cfg.Connectors == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	tallies := f.tallyOf(s.Name).runs
	for _, a := range s.Attachments {
		list, err := f.cfg.Connectors.Runs(s.Name, a.Name, 0)
		if err != nil {
			continue // it was removed just now
		}
		t := tallies[a.Name]
		if t == nil {
			t = &runTally{outcomes: map[connectors.Outcome]int{}, took: -1}
			tallies[a.Name] = t
		}
		t.add(list, f.cfg.Version.Started)
		for _, outcome := range []connectors.Outcome{connectors.OK, connectors.Partial, connectors.Failed} {
			out.counter(f.data.runs, t.outcomes[outcome], s.Name, a.Name, string(outcome))
		}
		if t.took >= 0 {
			out.gauge(f.data.took, t.took.Seconds(), s.Name, a.Name)
		}
	}
}

// add takes records, the newest first. One that is under way is counted when it
// has ended, and so is not passed over; runs of a connector do not overlap.
func (t *runTally) add(list []connectors.Record, started time.Time) {
	for i := len(list) - 1; i >= 0; i-- {
		r := list[i]
		if r.ID <= t.id || r.Ended.IsZero() {
			continue
		}
		t.id, t.took = r.ID, r.Ended.Sub(r.Started)
		if r.Ended.After(started) {
			t.outcomes[r.Outcome]++
		}
	}
}
