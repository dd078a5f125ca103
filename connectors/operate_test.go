package connectors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// A run that was asked for has a number at once, is remembered over a restart,
// and may be of some tables.
func TestTrigger(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		if _, err := h.Trigger(t.Context(), inst, "shop", nil); !errors.Is(err, connectors.ErrUnknownSource) {
			t.Errorf("unknown source: %v", err)
		}
		h.want(one(source("", "orders", "events")))
		if _, err := h.Trigger(t.Context(), inst, "shop", []string{"nothing"}); !errors.Is(err, connectors.ErrUnknownTable) {
			t.Errorf("unknown table: %v", err)
		}
		id, err := h.Trigger(t.Context(), inst, "shop", []string{"events", "events"})
		must(t, err)
		synctest.Wait()
		if r := h.newest("shop"); r.ID != id || r.Cause != connectors.CauseAsked || r.Outcome != connectors.OK {
			t.Errorf("record %+v", r)
		}
		if p := h.pub.last(); !slices.Equal(p.Only, []string{"events"}) || len(p.Tables) != 1 {
			t.Errorf("publication %+v", p)
		}
		if n := len(h.told(connectors.ReasonConnectorRan)); n != 2 {
			t.Errorf("told %q", h.said)
		}
		h.service("shop").does(lasts(time.Hour))
		id, err = h.Trigger(t.Context(), inst, "shop", nil)
		must(t, err)
		synctest.Wait()
		if r, under := h.Progress(inst, "shop"); !under || r.ID != id {
			t.Errorf("progress %+v", r)
		}
		h.service("shop").does(nil)
		h.again(one(source("", "orders", "events")))
		if r := h.newest("shop"); r.ID != id || r.Outcome != connectors.Failed || !strings.Contains(r.Error, "interrupted") {
			t.Errorf("record %+v", r)
		}
		h.pass(2 * time.Minute)
		if r := h.newest("shop"); r.ID != id+1 || r.Cause != connectors.CauseRetry || r.Outcome != connectors.OK {
			t.Errorf("record %+v", r)
		}
	})
}

// Somebody ends a run: it is not tried again before the next time.
func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s := h.service("shop")
		h.want(one(source("daily 12:00", "orders")))
		s.does(lasts(5 * time.Hour))
		h.pass(13 * time.Hour)
		must(t, h.Cancel(inst, "shop"))
		synctest.Wait()
		if r := h.newest("shop"); r.Outcome != connectors.Failed || !strings.Contains(r.Error, "cancelled") {
			t.Errorf("record %+v", r)
		}
		if err := h.Cancel(inst, "shop"); !errors.Is(err, connectors.ErrNotRunning) {
			t.Errorf("cancel: %v", err)
		}
		s.times()
		h.pass(24 * time.Hour)
		same(t, "runs", s.times(), []string{"02 12:00:00"})
	})
}

// So many run at a time, of each instance its share, and what waits longest
// comes first.
func TestQueueIsBoundedAndFair(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		many := map[string]desired.ConnectorSpec{}
		for i := range 6 {
			spec := source("", "orders")
			spec.Keboola = &desired.KeboolaSource{URL: "slow"}
			many[fmt.Sprintf("s%d", i)] = spec
		}
		h.service("slow").does(lasts(time.Hour))
		h.Set("big", reconciler.WantedConnectors{ByName: many})
		h.want(one(source("", "orders")))
		h.pass(time.Minute)
		if n := h.service("shop").count(); n != 1 {
			t.Errorf("the small instance had %d runs", n)
		}
		if r := h.newest("shop"); r.Outcome != connectors.OK {
			t.Errorf("record %+v", r)
		}
		h.pass(10 * time.Hour)
		if s := h.service("slow"); s.count() != 6 || s.most > 2 {
			t.Errorf("%d runs, %d at a time", s.count(), s.most)
		}
	})
}

// One that is removed is ended; its runs are remembered until they are purged,
// and its data is not touched. One that comes again runs at once.
func TestRemove(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("", "orders")))
		h.service("shop").does(lasts(time.Hour))
		_, err := h.Trigger(t.Context(), inst, "shop", nil)
		must(t, err)
		h.pass(time.Minute)
		if err := h.Purge(inst, "shop"); !errors.Is(err, connectors.ErrWanted) {
			t.Errorf("purge: %v", err)
		}
		h.Set(inst, reconciler.WantedConnectors{}) // nothing could be read
		h.pass(time.Second)
		if !h.status("shop").Running {
			t.Error("it was ended since nothing is known")
		}
		h.want(nil)
		h.pass(time.Second)
		if r := h.newest("shop"); r.Outcome != connectors.Failed || !strings.Contains(r.Error, "wanted no more") {
			t.Errorf("record %+v", r)
		}
		if n := len(h.told(connectors.ReasonConnectorRemoved)); n != 1 || len(h.Attachments(inst)) != 0 || len(h.pub.Attached(inst)) != 0 {
			t.Errorf("told %q, attached %v", h.said, h.pub.Attached(inst))
		}
		h.service("shop").does(nil)
		h.again(nil)
		same(t, "removed", h.Removed(inst), []string{"shop"})
		if n := len(h.told(connectors.ReasonConnectorRemoved)); n != 1 {
			t.Errorf("told %q", h.said)
		}
		h.want(one(source("", "orders")))
		if r := h.newest("shop"); r.Cause != connectors.CauseChanged || r.Outcome != connectors.OK || r.ID != 3 {
			t.Errorf("record %+v", r)
		}
		h.want(nil)
		must(t, h.Purge(inst, "shop"))
		same(t, "removed", h.Removed(inst), nil)
		if _, err := os.Stat(filepath.Join(h.opts.Dir, inst, "runs", "shop")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("runs are there: %v", err)
		}
		h.again(one(source("", "orders")))
		if r := h.newest("shop"); r.ID != 4 {
			t.Errorf("record %+v: a number was given twice", r)
		}
	})
}

// Logs are kept, as many as are asked for, without what is secret; nothing else
// of a run stays.
func TestLogs(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		inside := make(chan struct{})
		h.service("shop").does(func(ctx context.Context, j connectors.Job) (connectors.Report, error) {
			j.Log.Info("using s3cret-token now")
			j.Progress("orders", 7, 9)
			if len(inside) == 0 {
				inside <- struct{}{}
			}
			return reads(ctx, j)
		})
		h.want(one(source("", "orders")))
		text := func(id int64) string {
			f, err := h.Log(inst, "shop", id)
			must(t, err)
			defer f.Close()
			data, err := io.ReadAll(f)
			must(t, err)
			return string(data)
		}
		if got := text(1); !strings.Contains(got, "using (sensitive) now") || strings.Contains(got, "s3cret") {
			t.Errorf("log of a run under way: %q", got)
		}
		if r, _ := h.Progress(inst, "shop"); r.Progress["orders"] != [2]int64{7, 9} {
			t.Errorf("progress %+v", r)
		}
		<-inside
		synctest.Wait()
		for range 4 {
			_, err := h.Trigger(t.Context(), inst, "shop", nil)
			must(t, err)
			synctest.Wait()
			<-inside
			synctest.Wait()
		}
		same(t, "left", left(t, h.opts.Dir), []string{"shop/3/log", "shop/4/log", "shop/5/log"})
		if got := text(5); !strings.Contains(got, "--- ok, generation 5") {
			t.Errorf("log %q", got)
		}
		for id := range int64(3) {
			if _, err := h.Log(inst, "shop", id); !errors.Is(err, connectors.ErrUnknownRun) {
				t.Errorf("log of %d: %v", id, err)
			}
		}
		info, err := os.Stat(filepath.Join(h.opts.Dir, inst, "runs", "shop", "5", "log"))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %s", info.Mode())
		}
	})
}

// What is wrong with what a run left is in its log, one line each.
func TestProblemsInTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.pub.judge = func(p connectors.Publication) (connectors.Published, error) {
			return connectors.Published{Tables: p.Tables, Generation: -1, Problems: []connectors.Problem{
				{Code: "BadValue", File: "orders.csv", Table: "orders.id", Found: "row 1: no number", Hint: "mend it"},
				{Code: "BadMeta", File: "_meta.json", Found: "it is no JSON"},
			}}, nil
		}
		h.want(one(source("", "orders")))
		f, err := h.Log(inst, "shop", 1)
		must(t, err)
		defer f.Close()
		data, err := io.ReadAll(f)
		must(t, err)
		for _, line := range []string{"BadValue orders.csv orders.id: row 1: no number (mend it)\n", "BadMeta _meta.json: it is no JSON\n"} {
			if !strings.Contains(string(data), line) {
				t.Errorf("no line %q in %q", line, data)
			}
		}
	})
}

// A disk that is full, a source that panics, notes that are damaged: each is
// said, and nothing is left behind.
func TestTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.stop()
		h.opts.MinFree = 1 << 60
		h.run()
		h.want(one(source("", "orders")))
		if s := h.stands("shop", reconciler.AttachmentFailed, "RunFailed"); !strings.Contains(s.Message, "free") || s.Hint == "" {
			t.Errorf("status %+v", s)
		}
		same(t, "left", left(t, h.opts.Dir), nil)
		h.stop()
		h.opts.MinFree = 0
		h.run()
		h.service("shop").does(func(context.Context, connectors.Job) (connectors.Report, error) { panic("of s3cret-token") })
		h.want(one(source("", "orders")))
		h.pass(2 * time.Minute)
		if s := h.status("shop"); !strings.Contains(s.Message, "panicked: of (sensitive)") {
			t.Errorf("status %+v", s)
		}
		h.stop()
		h.mem.notes[inst+"/shop"] = []byte(`{"version": 1, "records": [{"id": -4}]}`)
		h.mem.notes[inst] = []byte(`[`)
		h.service("shop").does(nil)
		h.run()
		h.want(one(source("", "orders")))
		h.stands("shop", reconciler.AttachmentLive, "")
		if n := len(h.told(connectors.ReasonConnectorNotes)); n != 2 || len(h.mem.notes[inst+".damaged"]) == 0 || len(h.mem.notes[inst+"/shop.damaged"]) == 0 {
			t.Errorf("told %q", h.said)
		}
		if r := h.newest("shop"); r.ID < 3 {
			t.Errorf("number %d was given twice", r.ID)
		}
	})
}

// Notes that cannot be written are no reason to stop, nor to go on without them.
func TestNotesCannotBeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("every 1h", "orders")))
		s := h.service("shop")
		s.times()
		h.mem.mu.Lock()
		h.mem.fail = errors.New("the disk is gone")
		h.mem.mu.Unlock()
		h.pass(3 * time.Hour)
		same(t, "runs without notes", s.times(), nil)
		h.stands("shop", reconciler.AttachmentDegraded, "RunFailed")
		h.mem.mu.Lock()
		h.mem.fail = nil
		h.mem.mu.Unlock()
		h.pass(time.Hour)
		h.stands("shop", reconciler.AttachmentLive, "")
	})
}

// However often a source is nudged, it runs once a minute at the most, and once
// more after the last time; nobody is told each time.
func TestNudge(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		if err := h.Nudge(t.Context(), inst, "shop"); !errors.Is(err, connectors.ErrUnknownSource) {
			t.Error(err)
		}
		h.want(one(source("", "orders")))
		s := h.service("shop")
		h.pass(time.Hour)
		s.times()
		must(t, h.Nudge(t.Context(), inst, "shop"))
		synctest.Wait()
		same(t, "at once", s.times(), []string{"01 01:00:00"})
		for range 600 {
			must(t, h.Nudge(t.Context(), inst, "shop"))
			h.pass(time.Second)
		}
		if n := s.count(); n < 9 || n > 11 {
			t.Errorf("%d runs in ten minutes", n)
		}
		h.pass(time.Hour)
		s.times()
		s.does(lasts(30 * time.Minute))
		must(t, h.Nudge(t.Context(), inst, "shop"))
		h.pass(10 * time.Minute)
		must(t, h.Nudge(t.Context(), inst, "shop"))
		h.pass(3 * time.Hour)
		if n := s.count(); n != 2 {
			t.Errorf("%d runs, of which the second is for what came during the first", n)
		}
		s.does(fails(reconciler.RetryAfter(errors.New("slow down"), time.Hour)))
		must(t, h.Nudge(t.Context(), inst, "shop"))
		synctest.Wait()
		s.times()
		must(t, h.Nudge(t.Context(), inst, "shop"))
		h.pass(50 * time.Minute)
		same(t, "while the service wants a pause", s.times(), nil)
		if n := len(h.told(connectors.ReasonConnectorRan)); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

// What tables are like changed, and it is told once a run.
func TestSchemaChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.service("shop").does(func(ctx context.Context, j connectors.Job) (connectors.Report, error) {
			r, err := reads(ctx, j)
			r.Tables[0].Warnings = []string{"schema: column a is new (BIGINT)", "something else"}
			return r, err
		})
		h.want(one(source("", "orders")))
		same(t, "told", h.told(connectors.ReasonSchemaChanged), []string{"SchemaChanged: shop: orders: column a is new (BIGINT)"})
	})
}

// Workers that lack something are told of when that lasts.
func TestBehind(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("", "orders")))
		h.pub.note = func(a *connectors.Attached) { a.Behind = true }
		h.stands("shop", reconciler.AttachmentLive, "")
		h.pass(2 * time.Minute)
		h.stands("shop", reconciler.AttachmentDegraded, "Behind")
		h.pub.note = func(a *connectors.Attached) { a.Problem, a.Hint = "the file is damaged", "run it again" }
		if s := h.stands("shop", reconciler.AttachmentDegraded, "NotAttached"); s.Hint != "run it again" {
			t.Errorf("status %+v", s)
		}
		h.pub.note = func(a *connectors.Attached) { a.Generation, a.Behind = 0, true }
		h.stands("shop", reconciler.AttachmentPending, "Behind") // as after a start: nothing that failed
	})
}

func TestDiscover(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("", "orders")
		h.want(one(spec))
		found, more, err := h.Discover(t.Context(), inst, "shop", nil, 10)
		if err != nil || !more || len(found) != 1 {
			t.Errorf("%v %v %v", found, more, err)
		}
		if _, _, err := h.Discover(t.Context(), inst, "other", nil, 10); !errors.Is(err, connectors.ErrUnknownSource) {
			t.Error(err)
		}
		program := desired.ConnectorSpec{Program: &desired.ProgramSource{Image: "x"}}
		if _, _, err := h.Discover(t.Context(), inst, "", &program, 10); !errors.Is(err, connectors.ErrNoDiscovery) {
			t.Error(err)
		}
		if _, _, err := h.Discover(t.Context(), inst, "", &spec, 10); err != nil {
			t.Error(err)
		}
	})
}

// A name that is none is said to be none, and harms nobody else.
func TestNamesThatAreNone(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(map[string]desired.ConnectorSpec{"../x": source("", "orders"), "shop": source("", "orders")})
		h.stands("../x", reconciler.AttachmentFailed, "InvalidName")
		h.stands("shop", reconciler.AttachmentLive, "")
		if _, err := h.Trigger(t.Context(), inst, "../x", nil); !errors.Is(err, connectors.ErrNotReady) {
			t.Errorf("trigger: %v", err)
		}
		if _, err := h.Log(inst, "../x", 1); !errors.Is(err, connectors.ErrUnknownSource) {
			t.Errorf("log: %v", err)
		}
	})
}
