package connectors_test

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
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

// broken is a memory of which one note cannot be read.
type broken struct {
	*memory
	key string
	how atomic.Pointer[error]
}

func (b *broken) Get(key string) ([]byte, error) {
	if key == b.key {
		return nil, *b.how.Load()
	}
	return b.memory.Get(key)
}

// One note of one source must not cost the others their runs, nor anybody the data.
func TestNotesThatCannotBeRead(t *testing.T) {
	for _, note := range []string{inst + "/shop", inst} {
		inBubble(t, func(t *testing.T, h *host) {
			specs := map[string]desired.ConnectorSpec{"shop": source("", "orders"), "blog": source("", "posts")}
			h.want(specs)
			memory := &broken{memory: h.mem, key: note}
			down := errors.New("input/output error")
			memory.how.Store(&down)
			h.opts.Memory = memory
			h.stop()
			h.pub.keep = map[string]map[string]string{} // which is in memory alone
			h.again(specs)
			if at := h.pub.Attached(inst); len(at) != 2 {
				t.Fatalf("%s: attached is %+v", note, at)
			}
			memory.how.Store(&reconciler.ErrUnsealed)
			h.pass(time.Minute)
			h.stands("shop", reconciler.AttachmentLive, "")
			h.stands("blog", reconciler.AttachmentLive, "")
			if told := h.told(connectors.ReasonConnectorNotes); len(told) != 1 {
				t.Errorf("%s: told %q", note, told)
			}
			if r := h.newest("shop"); (r.ID == 3) != (note != inst) {
				t.Errorf("%s: the newest run is %d", note, r.ID)
			}
		})
	}
}

// Nobody else would ask for what a disk lost of a source without a schedule.
func TestWhatWasLostIsReadAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		specs := one(source("", "orders"))
		h.want(specs)
		loses := func(lost bool) {
			h.pub.mu.Lock()
			defer h.pub.mu.Unlock()
			h.pub.note = func(a *connectors.Attached) { a.Lost = lost }
		}
		loses(true)
		runs := func(after time.Duration, want int) {
			t.Helper()
			h.pass(after)
			all, err := h.Runs(inst, "shop", 100)
			if err != nil || len(all) != want {
				t.Fatalf("there were %d runs, not %d (%v)", len(all), want, err)
			}
		}
		runs(9*time.Minute, 1) // what is said may be of before the run
		runs(2*time.Minute, 2)
		runs(8*time.Minute, 2) // it is lost again and again
		runs(2*time.Minute, 3)
		loses(false)
		runs(time.Hour, 3)
		loses(true)
		h.again(specs)
		runs(2*time.Minute, 4)
		h.service("shop").does(func(context.Context, connectors.Job) (connectors.Report, error) {
			return connectors.Report{}, errors.New("the service is down")
		})
		runs(11*time.Minute, 6) // it is tried again as after any failure
	})
}
