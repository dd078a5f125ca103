package connectors_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// A run, and what is told of it, goes back to the request that led to it: the
// one that changed what is wanted, that asked for a run, or that said that
// something changed at the service; also when it has to be tried again.
func TestRunsGoBackToARequest(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("daily 07:00", "orders")
		h.Set(inst, reconciler.WantedConnectors{ByName: one(spec), Commit: "c1", Correlation: "req-change"})
		synctest.Wait()
		same(t, "changed", []string{h.newest("shop").Correlation}, []string{"req-change"})

		h.Set(inst, reconciler.WantedConnectors{ByName: one(spec), Commit: "c2", Correlation: "req-other"})
		h.pass(8 * time.Hour)
		same(t, "by the schedule", []string{h.newest("shop").Correlation}, []string{""})

		ask := func(id string) {
			t.Helper()
			_, err := h.Trigger(reconciler.WithCorrelation(t.Context(), id), inst, "shop", nil)
			must(t, err)
			synctest.Wait()
		}
		h.service("shop").does(fails(errors.New("down")))
		ask("req-ask")
		same(t, "asked", []string{h.newest("shop").Correlation}, []string{"req-ask"})
		h.service("shop").does(nil)
		before := h.newest("shop").ID
		h.pass(2 * time.Minute)
		if r := h.newest("shop"); r.ID == before || r.Correlation != "req-ask" {
			t.Errorf("tried again: %+v", r)
		}

		h.pass(time.Hour)
		must(t, h.Nudge(reconciler.WithCorrelation(t.Context(), "req-hook"), inst, "shop"))
		synctest.Wait()
		same(t, "nudged", []string{h.newest("shop").Correlation}, []string{"req-hook"})

		h.mu.Lock()
		defer h.mu.Unlock()
		if want := []string{"req-change", "req-ask", "req-ask"}; !slices.Equal(h.askers, want) {
			t.Errorf("told for %q: %q", h.askers, h.said)
		}
	})
}
