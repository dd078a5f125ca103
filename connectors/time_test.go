package connectors_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// A new connector runs at once, then at its times, over a clock change too.
func TestRunsAtItsTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("daily 02:30,13:00", "orders")
		spec.Schedule.Zone = "Europe/Prague"
		h.want(one(spec))
		same(t, "at once", h.service("shop").times(), []string{"01 00:00:00"})
		if r := h.newest("shop"); r.Cause != connectors.CauseChanged || r.Outcome != connectors.OK || r.Generation != 1 {
			t.Errorf("record %+v", r)
		}
		h.stands("shop", reconciler.AttachmentLive, "")
		h.pass(48 * time.Hour)
		same(t, "two days", h.service("shop").times(), []string{"01 01:30:00", "01 12:00:00", "02 01:30:00", "02 12:00:00"})
		h.jump(82 * 24 * time.Hour) // to 25 March: the day after that 02:30 is skipped
		h.pass(24 * time.Hour)
		h.service("shop").times()
		h.pass(24 * time.Hour)
		same(t, "in spring", h.service("shop").times(), []string{"26 01:00:00", "26 11:00:00"})
		if r := h.newest("shop"); r.Cause != connectors.CauseScheduled || r.Due.IsZero() {
			t.Errorf("record %+v", r)
		}
	})
}

// A source of which no tables are chosen yet waits for them: what could only fail
// is not tried, and nobody is told of it.
func TestWaitsForTables(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s := h.service("shop")
		h.want(one(source("every 15m")))
		h.pass(2 * time.Hour)
		same(t, "runs", s.times(), nil)
		h.stands("shop", reconciler.AttachmentPending, "NoTables")
		if next := h.status("shop").NextRun; !next.IsZero() || len(h.said) > 0 {
			t.Errorf("next %s, said %q", next, h.said)
		}
		h.want(one(source("every 15m", "orders")))
		if r := h.newest("shop"); r.ID != 1 || r.Outcome != connectors.OK {
			t.Errorf("record %+v", r)
		}
		h.stands("shop", reconciler.AttachmentLive, "")
	})
}

// While the instance is suspended nothing runs by itself, what a person asks for
// does, and what was missed is made up for once.
func TestSuspended(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("every 1h", "orders")))
		h.service("shop").times()
		h.Set(inst, reconciler.WantedConnectors{ByName: one(source("every 1h", "orders")), Commit: "c1", Suspended: true})
		h.pass(5 * time.Hour)
		if n := h.service("shop").count(); n != 0 {
			t.Errorf("%d runs while suspended", n)
		}
		if _, err := h.Trigger(t.Context(), inst, "shop", nil); err != nil {
			t.Fatal(err)
		}
		h.pass(time.Second)
		if n := h.service("shop").count(); n != 1 {
			t.Errorf("%d runs when asked", n)
		}
		h.want(one(source("every 1h", "orders")))
		h.pass(61 * time.Minute)
		if n := h.service("shop").count(); n < 1 || n > 2 {
			t.Errorf("%d runs in an hour after it", n)
		}
	})
}

// A failure is tried again with growing pauses and never uses up a time of the
// schedule; after the last retry the next time counts.
func TestFailureDoesNotAdvanceTheSchedule(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("daily 12:00", "orders")))
		s := h.service("shop")
		s.times()
		s.does(fails(errors.New("the service is down")))
		h.pass(12*time.Hour + time.Second)
		if n := s.count(); n != 1 {
			t.Fatalf("%d runs at noon", n)
		}
		h.stands("shop", reconciler.AttachmentDegraded, "RunFailed")
		h.pass(8 * time.Minute) // 1, 2 and 4 minutes at the most
		if n := s.count(); n != 4 {
			t.Errorf("%d runs, not 1 and 3 retries", n)
		}
		if r := h.newest("shop"); r.Cause != connectors.CauseRetry || r.Due.Format("15:04") != "12:00" {
			t.Errorf("record %+v", r)
		}
		h.pass(23*time.Hour + 50*time.Minute)
		if n := s.count(); n != 4 {
			t.Errorf("%d runs before the next time", n)
		}
		h.pass(2 * time.Minute)
		if n := s.count(); n != 5 {
			t.Errorf("%d runs: the next time passed", n)
		}
		s.does(nil)
		h.pass(10 * time.Minute)
		h.stands("shop", reconciler.AttachmentLive, "")
		if f, r := h.told(connectors.ReasonConnectorFailed), h.told(connectors.ReasonConnectorRecovered); len(f) != 1 || len(r) != 1 {
			t.Errorf("told %q and %q", f, r)
		}
	})
}

// The service says when to come again, and nobody comes before.
func TestRetryAfterIsHonoured(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s := h.service("shop")
		s.does(fails(reconciler.RetryAfter(errors.New("slow down"), 3*time.Hour)))
		h.want(one(source("every 30m", "orders")))
		s.times()
		h.pass(3*time.Hour - time.Second)
		if n := s.count(); n != 0 {
			t.Errorf("%d runs before", n)
		}
		h.pass(2 * time.Second)
		if n := s.count(); n != 1 {
			t.Errorf("%d runs after", n)
		}
		h.pass(12 * time.Hour)
		if n := s.count(); n != 5 {
			t.Errorf("%d runs: it does not count as a failure that is given up", n)
		}
	})
}

// What cannot be mended by trying again waits for the schedule, for another spec
// or for somebody; a secret that changed is tried at once.
func TestAnotherSecretIsTriedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s := h.service("shop")
		s.does(fails(reconciler.Terminal(errors.New("the token s3cret-token is refused"))))
		spec := source("", "orders")
		h.want(one(spec))
		h.pass(100 * time.Hour)
		same(t, "runs", s.times(), []string{"01 00:00:00"})
		is := h.stands("shop", reconciler.AttachmentFailed, "RunFailed")
		if strings.Contains(is.Message, "s3cret") || !strings.Contains(is.Message, "(sensitive)") {
			t.Errorf("message %q", is.Message)
		}
		h.again(one(spec))
		h.pass(time.Hour)
		same(t, "runs after a restart", s.times(), nil)
		spec.Keboola = &desired.KeboolaSource{URL: "shop", Token: "another-token"}
		s.does(nil)
		h.want(one(spec))
		same(t, "runs with another token", s.times(), []string{"05 05:00:00"})
		h.stands("shop", reconciler.AttachmentLive, "")
		spec.Keboola = &desired.KeboolaSource{URL: "shop", Token: "a-third-token"}
		h.want(one(spec))
		h.pass(time.Hour)
		same(t, "runs with a third token", s.times(), nil)
	})
}

// A change runs at once, ends a run of before, and starts without a state. Going
// back attaches the data of before at once, and runs.
func TestChangeAndRevert(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s, states := h.service("shop"), []string{}
		s.does(func(ctx context.Context, job connectors.Job) (connectors.Report, error) {
			states = append(states, string(job.State))
			r, err := reads(ctx, job)
			r.State = []byte(`"` + job.Now.Format("15:04") + `"`)
			return r, err
		})
		spec := source("cron 0 */6 * * *", "orders")
		h.want(one(spec))
		h.pass(7 * time.Hour)
		other := source("cron 0 */6 * * *", "orders")
		other.Identity = "v2"
		h.want(one(other))
		if got := states[len(states)-1]; len(states) != 3 || states[0] != "" || states[1] == "" || got != "" {
			t.Errorf("states %q", states)
		}
		s.does(lasts(2 * time.Hour))
		h.pass(6 * time.Hour)
		if !h.status("shop").Running {
			t.Fatal("it does not run")
		}
		h.want(one(spec))
		if is := h.status("shop"); is.Attached != "v1" || !is.Running {
			t.Errorf("after the revert: %+v", is)
		}
		all, err := h.Runs(inst, "shop", 2)
		must(t, err)
		if all[1].Outcome != connectors.Failed || all[0].Cause != connectors.CauseChanged || all[0].Identity != "v1" {
			t.Errorf("records %+v", all)
		}
		if len(h.told(connectors.ReasonConnectorFailed)) > 0 {
			t.Errorf("told %q", h.said)
		}
	})
}

// Times that passed while nothing could run are made up for once, or let go.
func TestCatchUp(t *testing.T) {
	for _, catchUp := range []bool{true, false} {
		inBubble(t, func(t *testing.T, h *host) {
			spec := source("daily 06:00", "orders")
			spec.CatchUp = catchUp
			h.want(one(spec))
			s := h.service("shop")
			s.times()
			h.stop()
			h.pass(4*24*time.Hour + 8*time.Hour)
			h.again(one(spec))
			if !catchUp {
				same(t, "let go", s.times(), nil)
				h.stands("shop", reconciler.AttachmentDegraded, "Stale")
			} else {
				same(t, "made up for", s.times(), []string{"05 08:00:00"})
				if r := h.newest("shop"); r.Cause != connectors.CauseCatchUp {
					t.Errorf("record %+v", r)
				}
			}
			h.pass(24 * time.Hour)
			same(t, "then", s.times(), []string{"06 06:00:00"})
			h.stands("shop", reconciler.AttachmentLive, "")
		})
	}
}

// The clock goes back and forth by years: neither a storm nor silence.
func TestClockJumps(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("every 1h", "orders")))
		s := h.service("shop")
		for _, d := range []time.Duration{10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour, -20 * 24 * time.Hour, time.Hour, -time.Minute, 5 * 365 * 24 * time.Hour} {
			h.pass(90 * time.Minute)
			s.times()
			h.jump(d)
			h.pass(10 * time.Hour)
			if n := s.count(); n < 9 || n > 12 {
				t.Errorf("after a jump of %s: %d runs in ten hours", d, n)
			}
		}
		s.does(fails(errors.New("down")))
		h.pass(time.Hour)
		s.times()
		h.jump(-365 * 24 * time.Hour)
		h.pass(10 * time.Hour)
		if n := s.count(); n < 9 || n > 45 {
			t.Errorf("while it fails: %d runs in ten hours", n)
		}
	})
}

// Runs of one source never overlap; a time that comes meanwhile is not lost.
func TestNoOverlap(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		s := h.service("shop")
		s.does(lasts(100 * time.Minute))
		h.want(one(source("every 1h", "orders")))
		h.pass(10*time.Hour + time.Second)
		if n := s.count(); n < 6 || s.most != 1 {
			t.Errorf("%d runs, %d at a time", n, s.most)
		}
		if _, err := h.Trigger(t.Context(), inst, "shop", nil); !errors.Is(err, connectors.ErrRunning) {
			t.Errorf("trigger: %v", err)
		}
	})
}

// Tables with schedules of their own run apart, and those of the others stay.
func TestTablesWithTheirOwnSchedules(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("daily 12:00", "orders", "events", "stock")
		spec.Tables[1].Schedule = &desired.Schedule{Text: "cron 0 */4 * * *"}
		h.want(one(spec))
		if p := h.pub.last(); p.Only != nil || len(p.Tables) != 3 {
			t.Errorf("first %+v", p)
		}
		h.pass(4*time.Hour + time.Second)
		if p := h.pub.last(); !slices.Equal(p.Only, []string{"events"}) || len(p.Tables) != 1 {
			t.Errorf("then %+v", p)
		}
		h.pass(8 * time.Hour)
		if p := h.pub.last(); p.Only != nil || len(p.Tables) != 3 || h.pub.count() != 4 {
			t.Errorf("at noon %d: %+v", h.pub.count(), p)
		}
		h.service("shop").does(func(ctx context.Context, job connectors.Job) (connectors.Report, error) {
			r, err := reads(ctx, job)
			for i := range r.Tables {
				if r.Tables[i].Table == "events" {
					r.Tables[i] = connectors.TableResult{Table: "events", Outcome: connectors.Failed, Error: "it is locked", Hint: "unlock it"}
				}
			}
			return r, err
		})
		h.service("shop").times()
		h.pass(4*time.Hour + 10*time.Minute)
		if n := h.service("shop").count(); n != 4 { // and three retries
			t.Errorf("%d runs of a table that fails", n)
		}
		if s := h.stands("shop", reconciler.AttachmentDegraded, "RunFailed"); !strings.Contains(s.Message, "events: it is locked") || s.Hint != "unlock it" {
			t.Errorf("status %+v", s)
		}
		h.pass(20 * time.Hour)
		h.stands("shop", reconciler.AttachmentDegraded, "RunFailed")
		if n := len(h.told(connectors.ReasonConnectorFailed)); n > 2 { // of the table alone, and in a run of all
			t.Errorf("told %d times", n)
		}
	})
}

// A run that takes too long is ended, and what was good by then is kept.
func TestTimeoutKeepsWhatIsGood(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.service("shop").does(func(ctx context.Context, job connectors.Job) (connectors.Report, error) {
			first := job
			first.Tables = job.Tables[:1]
			r, err := reads(ctx, first)
			if err != nil {
				return r, err
			}
			<-ctx.Done()
			return r, ctx.Err()
		})
		spec := source("", "orders", "events")
		spec.Timeout, spec.Retries = 20*time.Minute, 0
		h.want(one(spec))
		h.pass(21 * time.Minute)
		r := h.newest("shop")
		if r.Outcome != connectors.Partial || r.Generation != 1 || !strings.HasPrefix(r.Error, "it was ended at its time limit of 20m0s (") || r.Hint == "" {
			t.Errorf("record %+v", r)
		}
		if p := h.pub.last(); len(p.Tables) != 2 || p.Tables[1].Outcome != connectors.Failed || p.Only != nil {
			t.Errorf("publication %+v", p)
		}
		h.stands("shop", reconciler.AttachmentDegraded, "Partial")
	})
}

// With nothing to do nobody looks at the clock.
func TestNothingToDoCostsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		looks := 0
		h.stop()
		h.opts.Now = func() time.Time { looks++; return h.now() }
		h.run()
		h.want(nil)
		h.want(one(source("", "orders")))
		before := looks
		h.pass(1000 * time.Hour)
		if looks != before {
			t.Errorf("%d looks", looks-before)
		}
	})
}

// Tables that failed together are tried again together, and the run says why it
// was made.
func TestLanesThatFailTogether(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("daily 12:00", "orders", "events", "stock")
		spec.Tables[1].Schedule = &desired.Schedule{Text: "daily 13:00"}
		spec.Tables[2].Schedule = &desired.Schedule{Text: "daily 14:00"}
		h.service("shop").does(fails(errors.New("down")))
		h.want(one(spec))
		h.pass(20 * time.Minute)
		all, err := h.Runs(inst, "shop", 0)
		must(t, err)
		if len(all) != 4 || all[3].Cause != connectors.CauseChanged {
			t.Fatalf("%d runs: %+v", len(all), all)
		}
		for _, r := range all[:3] {
			if r.Cause != connectors.CauseRetry {
				t.Errorf("cause %q", r.Cause)
			}
		}
	})
}

// A change of the schedule is no reason to run: only its times from then on count.
func TestScheduleThatChanges(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("daily 12:00", "orders")))
		s := h.service("shop")
		h.pass(13 * time.Hour)
		s.times()
		h.want(one(source("daily 10:00", "orders")))
		h.pass(8 * time.Hour)
		same(t, "runs", s.times(), nil)
		h.again(one(source("daily 22:00", "orders")))
		h.pass(2 * time.Hour)
		same(t, "runs", s.times(), []string{"01 22:00:00"})
		if next := h.status("shop").NextRun; !next.Equal(time.Date(2000, 1, 2, 22, 0, 0, 0, time.UTC)) {
			t.Errorf("next run %s", next)
		}
	})
}
