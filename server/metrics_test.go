package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestMetricsFollowWhatHappens scrapes, applies and scrapes again: nothing is
// counted twice, and what is shown is the status.
func TestMetricsFollowWhatHappens(t *testing.T) {
	h := newHouse(t)
	h.reconcile()
	scrape := func() string {
		t.Helper()
		status, header, body := h.raw(http.MethodGet, "/metrics", "")
		if status != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") {
			t.Fatalf("%d %s: %s", status, header.Get("Content-Type"), body)
		}
		return body
	}
	has := func(body string, lines ...string) {
		t.Helper()
		for _, line := range lines {
			if !strings.Contains(body, line+"\n") {
				t.Errorf("there is no %s in\n%s", line, body)
			}
		}
	}
	has(scrape(), `fairlead_applies_total{instance="acme",kind="deploy",outcome="Applied"} 1`,
		`fairlead_instance_generation{instance="acme"} 1`, `fairlead_instance_suspended{instance="acme"} 0`, `fairlead_source_failing 0`,
		`fairlead_instance_info{health="Healthy",instance="acme",phase="Idle",sync="Synced"} 1`)
	h.commit("sick")
	h.reconcile()
	for range 2 {
		has(scrape(), `fairlead_applies_total{instance="acme",kind="deploy",outcome="Applied"} 1`,
			`fairlead_applies_total{instance="acme",kind="deploy",outcome="RolledBack"} 1`, `fairlead_instance_quarantined{instance="acme"} 1`)
	}
	for range 20 { // more than is read at a time
		h.commit("2")
		h.reconcile()
		h.commit("3")
		h.reconcile()
	}
	body := scrape()
	has(body, `fairlead_applies_total{instance="acme",kind="deploy",outcome="Applied"} 41`)
	if strings.Contains(body, "fairlead_release_") {
		t.Error("an instance that follows nothing has figures of a release")
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	h := newHouse(t)
	h.reconcile()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(newFigures(h.config)); err != nil {
		t.Fatal(err)
	}
	if got, err := registry.Gather(); err != nil || len(got) < 8 {
		t.Errorf("%d figures, %v", len(got), err)
	}
}

// TestMetricsOfTwoThatTellTheSame answers an error instead of half the truth.
func TestMetricsOfTwoThatTellTheSame(t *testing.T) {
	h := newHouse(t)
	twice := h.config
	twice.Metrics = []prometheus.Collector{newFigures(h.config)}
	if _, err := NewAPI(twice).metricsHandler(); err == nil {
		t.Error("two collectors of the same are taken")
	}
}
