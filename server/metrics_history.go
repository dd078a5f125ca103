package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/reconciler"
)

// historyDescs are the figures of what was applied.
type historyDescs struct {
	applies, applyTook, rollbacks, live, liveTook, gap, gaps *prometheus.Desc
}

func newHistoryDescs(f *family) historyDescs {
	return historyDescs{
		applies:   f.of("applies_total", "Applies that ended since the start of the daemon.", "instance", "kind", "outcome"),
		applyTook: f.of("apply_duration_seconds", "Time of an apply that stands.", "instance", "kind"),
		rollbacks: f.of("rollback_total", "Returns to an older generation since the start of the daemon, by what failed, or operator.", "instance", "reason"),
		live:      f.of("commit_to_live_seconds", "Time from a commit to the generation that carries it, checks included.", "instance"),
		liveTook:  f.of("last_commit_to_live_seconds", "The same of the newest commit that came to run.", "instance"),
		gap:       f.of("last_interruption_seconds", "How long requests had nowhere to go in the newest replacement.", "instance", "service"),
		gaps:      f.of("interruption_seconds", "How long requests had nowhere to go in a replacement.", "instance"),
	}
}

// tally is what was counted of an instance's history so far.
type tally struct {
	seq       int
	applies   map[[2]string]int // by kind and outcome
	took      map[string]reconciler.Durations
	rollbacks map[string]int
	gaps      map[string]time.Duration // the newest of each service
	gapsTook  reconciler.Durations
	live      reconciler.Durations
	lastLive  time.Duration // negative: not known
	commit    string        // that was applied last
	runs      map[string]*runTally
}

func newTally() *tally {
	const ms, s, m, h = time.Millisecond, time.Second, time.Minute, time.Hour
	return &tally{applies: map[[2]string]int{}, rollbacks: map[string]int{}, gaps: map[string]time.Duration{}, lastLive: -1,
		took: map[string]reconciler.Durations{}, runs: map[string]*runTally{},
		gapsTook: reconciler.NewDurations(10*ms, 50*ms, 100*ms, 250*ms, 500*ms, s, 2500*ms, 5*s, 10*s, 30*s, m),
		live:     reconciler.NewDurations(10*s, 30*s, m, 2*m, 5*m, 10*m, 30*m, h, 6*h, 24*h)}
}

func applyDurations() reconciler.Durations {
	const s = time.Second
	return reconciler.NewDurations(s/2, s, 2500*time.Millisecond, 5*s, 10*s, 30*s, 60*s, 120*s, 300*s, 600*s)
}

// rollbackReasons are the values of a label, so that the first of each is an
// increase. They are what reconciler.Record.Failed may be, and two more.
func rollbackReasons() []string {
	return []string{"start", "stable", "health", "completion", "smoke", "other", "operator"}
}

// past counts what came to the history since it was looked at last.
func (f *figures) past(out figureSink, r *reconciler.Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, d, name := f.tallyOf(r.Name()), f.history, r.Name()
	for _, rec := range t.since(r) {
		t.add(rec, f.cfg.Version.Started)
	}
	for key, n := range t.applies {
		out.counter(d.applies, n, name, key[0], key[1])
	}
	for kind, took := range t.took {
		out.histogram(d.applyTook, took, name, kind)
	}
	for _, reason := range rollbackReasons() {
		out.counter(d.rollbacks, t.rollbacks[reason], name, reason)
	}
	for service, gap := range t.gaps {
		out.gauge(d.gap, gap.Seconds(), name, service)
	}
	out.histogram(d.gaps, t.gapsTook, name)
	out.histogram(d.live, t.live, name)
	if t.lastLive >= 0 {
		out.gauge(d.liveTook, t.lastLive.Seconds(), name)
	}
}

// add counts a record, the older ones first. What ended before the start of the
// daemon is only remembered: a counter begins at nought with it.
func (t *tally) add(rec reconciler.Record, started time.Time) {
	ended := rec.Started.Add(rec.Duration)
	counts := ended.After(started)
	for _, g := range rec.Gaps {
		t.gaps[g.Service] = g.For
		if counts {
			t.gapsTook.Observe(g.For)
		}
	}
	t.wentLive(rec, ended, counts)
	if !counts {
		return
	}
	t.applies[[2]string{rec.Kind, string(rec.Outcome)}]++
	switch {
	case rec.Outcome == reconciler.RolledBack:
		t.rollbacks[rollbackReason(rec.Failed)]++
	case rec.Outcome != reconciler.Applied:
		return
	case rec.Kind == "rollback":
		t.rollbacks["operator"]++
	}
	if rec.Outcome == reconciler.Applied {
		took, known := t.took[rec.Kind]
		if !known {
			took = applyDurations()
		}
		took.Observe(rec.Duration)
		t.took[rec.Kind] = took
	}
}

func rollbackReason(failed string) string {
	for _, known := range rollbackReasons() {
		if failed == known {
			return known
		}
	}
	return "other"
}

// wentLive measures a commit that came to run in place of another one. The
// commit of a first deployment may be years old, and a new release of a channel
// comes with the commit that was there.
func (t *tally) wentLive(rec reconciler.Record, ended time.Time, counts bool) {
	if rec.Outcome != reconciler.Applied || rec.Kind == "heal" {
		return
	}
	before := t.commit
	t.commit = rec.Revision.Commit
	if rec.Kind != "deploy" || before == "" || before == t.commit || rec.Revision.Time.IsZero() {
		return
	}
	t.lastLive = max(0, ended.Sub(rec.Revision.Time))
	if counts {
		t.live.Observe(t.lastLive)
	}
}

// since returns the records that are not counted yet, oldest first.
func (t *tally) since(r *reconciler.Instance) (list []reconciler.Record) {
	limit := 8
	for {
		all, err := r.History(limit)
		if err != nil {
			return nil // the store says so itself; the figures stay what they were
		}
		if len(all) < limit || all[len(all)-1].Seq <= t.seq || limit >= maxLimit {
			for i := len(all) - 1; i >= 0; i-- {
				if all[i].Seq > t.seq {
					list, t.seq = append(list, all[i]), all[i].Seq
				}
			}
			return list
		}
		limit = min(8*limit, maxLimit)
	}
}
