package connectors_test

import (
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"

	"github.com/fairlead/fairlead/reconciler"
)

// A commit may come every second for years, and each wakes the loop.
func TestWakingTheLoopLeavesNothingBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		specs := one(source("every 24h", "orders"))
		wake := func(times int) {
			for i := range times {
				h.Set(inst, reconciler.WantedConnectors{ByName: specs, Commit: strconv.Itoa(i)})
				synctest.Wait()
			}
		}
		wake(100)
		before := objects()
		wake(2000)
		if grown := objects() - before; grown > 1000 {
			t.Errorf("after 2000 wakes there are %d objects more", grown)
		}
	})
}

func objects() int64 {
	var s runtime.MemStats
	for range 2 { // what a finalizer held goes in the second round
		runtime.GC()
	}
	runtime.ReadMemStats(&s)
	return int64(s.HeapObjects)
}
