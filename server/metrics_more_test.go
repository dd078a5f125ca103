package server

import (
	"errors"
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// gathered is the value of one counter or gauge; -1 when there is none.
func gathered(t *testing.T, c prometheus.Collector, labels map[string]string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	for _, m := range families[0].GetMetric() {
		have := map[string]string{}
		for _, l := range m.GetLabel() {
			have[l.GetName()] = l.GetValue()
		}
		if maps.Equal(have, labels) {
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return -1
}

// TestWhatIsAskedIsCounted counts by operation and status, never by path.
func TestWhatIsAskedIsCounted(t *testing.T) {
	h := newHouse(t)
	for range 3 {
		h.raw(http.MethodGet, "/api/instances/acme", "")
		h.raw(http.MethodGet, "/api/instances/nobody", "")
		h.raw(http.MethodGet, "/such/a/path", "")
	}
	requests := h.api.traffic.requests
	for operation, status := range map[string]string{"getInstance": "200", noOperation: "404"} {
		if n := gathered(t, requests, map[string]string{"operation": operation, "status": status}); n != 3 {
			t.Errorf("%s with %s is counted %v times", operation, status, n)
		}
	}
}

func TestRefusalsAndQueriesAreCounted(t *testing.T) {
	t.Parallel()
	c := newTraffic()
	if n := gathered(t, c.refusals, map[string]string{"reason": "forbidden"}); n != 0 {
		t.Errorf("the first refusal is no increase: %v", n)
	}
	c.saw(&visit{}, http.StatusForbidden, time.Second)
	for outcome, err := range map[string]error{"ok": nil, "refused": &Error{Status: 403}, "timeout": &Error{Status: 504}, "busy": &Error{Status: 503},
		"failed": errors.New("x"), "invalid": &Error{Status: 400}} {
		c.queried("acme", err, time.Second)
		if n := gathered(t, c.queries, map[string]string{"instance": "acme", "outcome": outcome}); n != 1 {
			t.Errorf("%s: %v", outcome, n)
		}
	}
	if n := gathered(t, c.refusals, map[string]string{"reason": "forbidden"}); n != 1 {
		t.Errorf("a refusal is counted %v times", n)
	}
}

// TestCommitToLive measures commits that came to run in place of others.
func TestCommitToLive(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	rec := func(kind, commit string, outcome reconciler.Outcome, committed, ended time.Duration) reconciler.Record {
		return reconciler.Record{Kind: kind, Outcome: outcome, Started: start.Add(ended), Revision: desired.Revision{Commit: commit, Time: start.Add(committed)}}
	}
	const m = time.Minute
	tally := newTally()
	for _, step := range []struct {
		rec   reconciler.Record
		last  time.Duration
		count int
	}{
		{rec("deploy", "a", reconciler.Applied, -9000*time.Hour, -2*time.Hour), -1, 0}, // the first: nothing was replaced
		{rec("deploy", "b", reconciler.Applied, -65*m, -60*m), 5 * m, 0},               // before the start: not counted, but known
		{rec("deploy", "c", reconciler.RolledBack, 0, m), 5 * m, 0},                    // never came to run
		{rec("deploy", "d", reconciler.Applied, m, 3*m), 2 * m, 1},
		{rec("heal", "d", reconciler.Applied, m, 60*m), 2 * m, 1},
		{rec("deploy", "d", reconciler.Applied, m, 90*m), 2 * m, 1}, // a release, with the commit that was there
		{rec("rollback", "b", reconciler.Applied, -65*m, 95*m), 2 * m, 1},
		{rec("deploy", "e", reconciler.Applied, 101*m, 100*m), 0, 2}, // a clock that goes before ours
	} {
		tally.add(step.rec, start)
		if tally.lastLive != step.last || tally.live.Count != step.count {
			t.Errorf("after %s of %s: %s, %d counted, want %s, %d", step.rec.Kind, step.rec.Revision.Commit, tally.lastLive, tally.live.Count, step.last, step.count)
		}
	}
	if tally.rollbacks["operator"] != 1 || tally.rollbacks["other"] != 1 {
		t.Errorf("rollbacks = %v", tally.rollbacks)
	}
	tally.add(reconciler.Record{Kind: "deploy", Outcome: reconciler.RolledBack, Failed: "smoke", Started: start.Add(m)}, start)
	if tally.rollbacks["smoke"] != 1 {
		t.Errorf("rollbacks = %v", tally.rollbacks)
	}
}

// TestRunsAreCountedOnce takes the same records again and again, as scrapes do.
func TestRunsAreCountedOnce(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	runs := &runTally{outcomes: map[connectors.Outcome]int{}, took: -1}
	list := []connectors.Record{{ID: 3, Started: at(3)}, {ID: 2, Started: at(1), Ended: at(2), Outcome: connectors.Failed},
		{ID: 1, Started: at(-9), Ended: at(-1), Outcome: connectors.OK}}
	for range 3 {
		runs.add(list, start)
	}
	if runs.outcomes[connectors.Failed] != 1 || runs.outcomes[connectors.OK] != 0 || runs.took != time.Minute {
		t.Errorf("tally = %+v", runs)
	}
	list[0].Ended, list[0].Outcome = at(5), connectors.OK
	for range 3 {
		runs.add(list, start)
	}
	if runs.outcomes[connectors.OK] != 1 || runs.took != 2*time.Minute {
		t.Errorf("tally = %+v", runs)
	}
}
