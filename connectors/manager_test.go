package connectors_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
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

// Nobody else would ask for what a disk lost of a source without a schedule.
func TestWhatWasLostIsReadAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		specs := one(source("", "orders"))
		h.want(specs)
		lost := true
		h.pub.note = func(a *connectors.Attached) { a.Lost = lost }
		runs := func(after time.Duration, want int) {
			t.Helper()
			h.pass(after)
			h.Attachments(inst)
			synctest.Wait()
			all, err := h.Runs(inst, "shop", 100)
			if err != nil || len(all) != want {
				t.Fatalf("there were %d runs, not %d (%v)", len(all), want, err)
			}
		}
		runs(0, 1) // what is said may be of before the run
		runs(10*time.Minute, 2)
		runs(time.Minute, 2) // it is lost again and again
		runs(9*time.Minute, 3)
		lost = false
		runs(time.Hour, 3)
		lost = true
		h.again(specs)
		runs(0, 4)
		h.service("shop").does(func(context.Context, connectors.Job) (connectors.Report, error) {
			return connectors.Report{}, errors.New("the service is down")
		})
		runs(10*time.Minute, 5)
		runs(40*time.Second, 5) // as after any failure
		runs(time.Minute, 6)
	})
}
