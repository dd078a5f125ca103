package connectors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// world is what a source is read from and published to: numbers that count up.
// It knows of every generation which numbers it holds.
type world struct {
	mu     sync.Mutex
	last   int
	outs   map[int64][]int // by the start of a run: the numbers that it left
	holds  [][]int         // by generation
	wrong  []string
	runs   int
	under  int
	result string // of the runs to come
	takes  time.Duration
	refuse string // of publications to come
}

func (w *world) bad(format string, args ...any) {
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

// sync is one run: it reads the numbers since its state, or all.
func (w *world) sync(ctx context.Context, j connectors.Job) (connectors.Report, error) {
	w.mu.Lock()
	w.runs++
	if w.under++; w.under > 1 {
		w.bad("%d runs at a time", w.under)
	}
	result, takes := w.result, w.takes
	wants := func(name string) bool {
		return slices.ContainsFunc(j.Tables, func(t connectors.TableSpec) bool { return t.Name == name })
	}
	if wants("orders") {
		w.last++
	}
	s, _ := connectors.ReadState(j.State)
	from := int(s.Tables["orders"].Since)
	var came []int
	for n := from + 1; n <= w.last; n++ {
		came = append(came, n)
	}
	last := w.last
	w.outs[j.Now.UnixNano()] = came
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.under--
	}()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return connectors.Report{}, context.Cause(ctx)
	}
	if result == "fail" {
		return connectors.Report{}, errors.New("the service is down")
	}
	s.Tables["orders"] = connectors.Left{Since: int64(last)}
	r := connectors.Report{State: s.Kept(j.Tables).Encode()}
	if wants("orders") {
		r.Tables = append(r.Tables, connectors.TableResult{Table: "orders", Outcome: connectors.OK, Changes: from > 0})
	}
	switch {
	case wants("events") && result == "partial":
		r.Tables = append(r.Tables, connectors.TableResult{Table: "events", Outcome: connectors.Failed, Error: "it is locked"})
	case wants("events"):
		r.Tables = append(r.Tables, connectors.TableResult{Table: "events", Outcome: connectors.OK})
	}
	return r, nil
}

// publish makes a generation, of which what is not changes is all there is.
func (w *world) publish(p connectors.Publication) (connectors.Published, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := connectors.Published{Tables: slices.Clone(p.Tables), Generation: -1}
	var before []int
	if n := len(w.holds); n > 0 {
		before = w.holds[n-1]
	}
	if p.Base > 0 {
		before = w.holds[p.Base-1]
	}
	now := w.outs[p.At.UnixNano()]
	switch {
	case w.refuse == "all":
		return connectors.Published{}, errors.New("the disk is full")
	case p.Tables[0].Table != "orders":
		now = before
	case w.refuse == "table":
		out.Tables[0].Outcome, out.Tables[0].Error = connectors.Failed, "it is not Parquet"
		now = before
	case p.Tables[0].Changes:
		now = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before, now))))
	}
	if len(now) > 0 && now[len(now)-1] != len(now) {
		w.bad("numbers are missing: %v", now)
	}
	w.holds = append(w.holds, now)
	return out, nil
}

// step is one thing that happens.
type step struct {
	kind string
	d    time.Duration
}

// Whatever happens, and in whatever order: never two runs of a source at once,
// no number that is passed over, no time that is lost, and no storm.
func TestWhateverHappens(t *testing.T) {
	kinds := []string{"pass", "pass", "pass", "ok", "ok", "fail", "partial", "slow", "quick", "restart", "down", "ask", "change", "cancel", "refuse table", "refuse all", "take", "forward", "back", "remove"}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{rapid.SampledFrom(kinds).Draw(t, "kind"), time.Duration(rapid.IntRange(1, 5*3600).Draw(t, "seconds")) * time.Second}
	}), 1, 30)
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.SampledFrom([]string{"every 1h", "cron 7 * * * *", "daily 00:30,01:30,02:30,03:30,04:30,05:30,06:30,07:30,08:30,09:30,10:30,11:30,12:30,13:30,14:30,15:30,16:30,17:30,18:30,19:30,20:30,21:30,22:30,23:30"}).Draw(rt, "schedule")
		spec := source(text, "orders", "events")
		spec.Retries, spec.CatchUp = 2, rapid.Bool().Draw(rt, "catch up")
		if rapid.Bool().Draw(rt, "a schedule of its own") {
			spec.Tables[1].Schedule = &desired.Schedule{Text: "every 90m"}
		}
		all := steps.Draw(rt, "steps")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = history(t, spec, all) })
		if len(wrong) > 0 {
			rt.Fatalf("%q", wrong)
		}
	})
}

// history has the steps happen, and returns what was wrong.
func history(t *testing.T, spec desired.ConnectorSpec, steps []step) []string {
	w := &world{outs: map[int64][]int{}}
	h := newHost(t)
	h.service("shop").does(w.sync)
	h.pub.judges(w.publish)
	h.run()
	h.want(one(spec))
	start, extra := h.now(), 1
	for i, s := range steps {
		w.mu.Lock()
		switch s.kind {
		case "ok", "fail", "partial":
			w.result = s.kind
		case "slow":
			w.takes = s.d
		case "quick":
			w.takes = 0
		case "refuse table", "refuse all":
			w.refuse = s.kind[len("refuse "):]
		case "take":
			w.refuse = ""
		}
		w.mu.Unlock()
		extra += h.happens(s, &spec, i)
	}
	passed := h.now().Sub(start).Abs() + time.Duration(len(steps))*5*time.Hour
	w.mu.Lock()
	if most := 2*(int(passed/time.Hour)+2)*(1+spec.Retries) + 8*extra; w.runs > most {
		w.bad("%d runs, not %d at the most", w.runs, most)
	}
	w.result, w.takes, w.refuse = "ok", 0, ""
	w.mu.Unlock()
	h.endsWell(w, spec)
	h.stop()
	return w.wrong
}

// happens does a step, and returns how many runs it may be the cause of.
func (h *host) happens(s step, spec *desired.ConnectorSpec, i int) int {
	switch s.kind {
	case "pass":
		h.pass(s.d)
		return 0
	case "restart":
		h.again(one(*spec))
	case "down":
		h.stop()
		h.pass(s.d)
		h.run()
		h.want(one(*spec))
	case "ask":
		_, _ = h.Trigger(context.Background(), inst, "shop", nil) // it may be running
		synctest.Wait()
	case "change":
		spec.Identity = fmt.Sprintf("v%d", i%3)
		h.want(one(*spec))
	case "cancel":
		_ = h.Cancel(inst, "shop") // it may not be running
		synctest.Wait()
	case "forward":
		h.jump(s.d)
	case "back":
		h.jump(-s.d)
	case "remove":
		h.want(nil)
		h.want(one(*spec))
	default:
		return 0
	}
	return 1
}

// endsWell looks whether everything is as it should be once nothing is wrong any
// more: three hours later all that was due was done, and of everything that there
// was nothing is missing.
func (h *host) endsWell(w *world, spec desired.ConnectorSpec) {
	h.pass(11 * time.Hour) // longer than any run, and any pause
	w.mu.Lock()
	before := w.runs
	w.mu.Unlock()
	h.pass(3 * time.Hour)
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.runs - before; n < 3 || n > 4 && spec.Tables[1].Schedule == nil || n > 6 {
		w.bad("%d runs in three hours", n)
	}
	now := h.now()
	all, err := h.Runs(inst, "shop", 4)
	must(h.t, err)
	all = slices.DeleteFunc(all, func(r connectors.Record) bool { return len(r.Tables) > 0 && r.Tables[0].Table != "orders" })
	r := all[0]
	if due := spec.Schedule.Next(r.Started, "vm1/"+inst+"/shop"); r.Outcome != connectors.OK || due.Before(now.Add(-time.Second)) {
		w.bad("%s is over and the last run was %+v", due, r)
	}
	if r.Identity != spec.Identity {
		w.bad("the last run was for %s", r.Identity)
	}
	if have := w.holds[len(w.holds)-1]; len(have) != w.last {
		w.bad("of %d numbers there are %v", w.last, have)
	}
}
