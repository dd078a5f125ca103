package connectors_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

// What the publisher does not take is not passed over by the next run.
func TestStateIsNeverAheadOfTheData(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		var states []string
		var bases []int
		h.service("shop").does(func(ctx context.Context, j connectors.Job) (connectors.Report, error) {
			states = append(states, string(j.State))
			r, err := reads(ctx, j)
			s, _ := connectors.ReadState(j.State)
			for _, table := range j.Tables {
				l := s.Tables[table.Name]
				l.Since++
				s.Tables[table.Name] = l
			}
			r.State = s.Kept(j.Tables).Encode()
			return r, err
		})
		var mu sync.Mutex
		refuse, lost := "", false
		now := func(refuses string, loses bool) {
			mu.Lock()
			defer mu.Unlock()
			refuse, lost = refuses, loses
		}
		h.pub.judges(func(p connectors.Publication) (connectors.Published, error) {
			mu.Lock()
			defer mu.Unlock()
			bases = append(bases, p.Base)
			out := connectors.Published{Tables: slices.Clone(p.Tables), Generation: -1}
			for i := range out.Tables {
				if out.Tables[i].Table == refuse {
					out.Tables[i].Outcome, out.Tables[i].Error = connectors.Failed, "it is not Parquet"
				}
			}
			if lost {
				out.Problems = []connectors.Problem{{Code: "BaseLost"}}
				out.Generation = 0
			}
			return out, nil
		})
		ask := func(tables ...string) {
			t.Helper()
			_, err := h.Trigger(t.Context(), inst, "shop", tables)
			must(t, err)
			synctest.Wait()
		}
		since := func() (int64, int64) {
			t.Helper()
			s, _ := connectors.ReadState([]byte(states[len(states)-1]))
			return s.Tables["orders"].Since, s.Tables["events"].Since
		}
		h.want(one(source("", "orders", "events")))
		now("events", false)
		ask()
		if a, b := since(); a != 1 || b != 1 {
			t.Errorf("state %s", states[1])
		}
		ask("orders")
		if a, b := since(); a != 2 || b != 1 {
			t.Errorf("after a table was refused: %s", states[2])
		}
		now("", false)
		ask()
		if a, b := since(); a != 3 || b != 1 {
			t.Errorf("after a run of one table: %s", states[3])
		}
		if !slices.Equal(bases, []int{0, 1, 2, 3}) {
			t.Errorf("bases %v", bases)
		}
		now("", true)
		ask()
		now("", false)
		h.pass(2 * time.Minute)
		if got := states[len(states)-1]; got != "" || bases[len(bases)-1] != 0 {
			t.Errorf("after the base was lost: %q, base %d", got, bases[len(bases)-1])
		}
	})
}
