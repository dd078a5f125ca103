package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// A query that is under way when the daemon ends was not wrong.
func TestQueriesWhileTheDaemonEnds(t *testing.T) {
	if got := server.AsError(answered(fmt.Errorf("query: %w", analytics.ErrClosed))); got.Status != http.StatusServiceUnavailable || got.Hint == "" {
		t.Errorf("it answers %d: %+v", got.Status, got)
	}
}

// A daemon that has not looked yet must not say that an instance is gone.
func TestInstancesBeforeTheFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f fleet
		f.Fleet = reconciler.NewManager(reconciler.ManagerConfig{})
		answers := func(want int) {
			t.Helper()
			_, err := f.Instance("acme")
			if got := server.AsError(err); got.Status != want || (want == http.StatusServiceUnavailable) != (got.RetryAfter > 0) {
				t.Fatalf("it answers %d, not %d: %+v", got.Status, want, got)
			}
		}
		answers(http.StatusServiceUnavailable)
		look := f.watch(func(fs.FS) ([]reconciler.Found, error) { return []reconciler.Found{}, errors.New("one is not well") })
		if _, err := look(nil); err == nil {
			t.Fatal("what was found is not handed on")
		}
		answers(http.StatusServiceUnavailable) // what was found is about to be known
		time.Sleep(keptSoon)
		answers(http.StatusNotFound)
	})
}
