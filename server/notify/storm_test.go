package notify

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// messages counts what a chat got, and what these stand for.
func messages(list []delivery) (sent, told int) {
	for _, d := range list {
		sent++
		told += max(1, len(d.n.Notices))
	}
	return sent, told
}

// failing is an instance whose applies fail.
func failing(name string) reconciler.Status {
	s := well(name)
	s.Sync, s.Phase = reconciler.OutOfSync, reconciler.PhaseRetrying
	return s
}

// A registry that is dead fails one instance after the other. That is told in a
// few messages, of which none is lost.
func TestAStormIsAFewMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(chat("xoxb"))
		for i := range 20 {
			w.set(well(fmt.Sprintf("acme-%02d", i)))
		}
		time.Sleep(time.Minute)
		each := func(reason string, as func(string) reconciler.Status) {
			for i := range 20 {
				w.set(as(fmt.Sprintf("acme-%02d", i)))
				w.event(reconciler.Event{Instance: fmt.Sprintf("acme-%02d", i), Reason: reason, Revision: "aaaa", Generation: 2, Message: "pull example.com/app: connection refused"})
				time.Sleep(13 * time.Second)
			}
			time.Sleep(5 * time.Minute)
		}
		each("Failed", failing)
		if sent, told := messages(w.took()); sent > 8 || told != 20 {
			t.Errorf("20 failures came in %d messages of %d notices", sent, told)
		}
		each("Failed", failing)
		w.want("the same failures again")
		each("Applied", well)
		if sent, told := messages(w.took()); sent > 8 || told != 40 {
			t.Errorf("20 instances that stand again came in %d messages of %d notices", sent, told)
		}
		w.stop()
	})
}

// A channel that was away for hours tells what somebody has to do something
// about, however much came in meanwhile, and tells it once.
func TestNoRoomForWhatMattersLess(t *testing.T) {
	now := time.Now()
	c := &channel{Spec: chat("xoxb")}
	c.push(queued{ID: "bad", Notice: Notice{Kind: Failed}, Since: now})
	for i := range maxQueue + 50 {
		c.push(queued{ID: fmt.Sprint(i), Notice: Notice{Kind: Applied}, Since: now})
	}
	if len(c.Queue) != maxQueue || c.Lost != 51 || c.Queue[0].ID != "bad" {
		t.Fatalf("%d wait, %d are lost, the first is %s", len(c.Queue), c.Lost, c.Queue[0].ID)
	}
	q, ids := c.take(now)
	for i := range 30 { // while it is on its way
		c.push(queued{ID: fmt.Sprintf("new-%d", i), Notice: Notice{Kind: Failed}, Since: now})
	}
	if c.sent(ids, now); q.Notice.Kind != kindDigest || len(c.Queue) != 30 || c.Queue[0].ID != "new-0" {
		t.Errorf("%d wait after a digest of %d", len(c.Queue), len(ids))
	}
}

// Channels of the host may hear of some instances, and then not of the host.
func TestChannelsOfTheHostHearOfTheirInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		sales, all := chat("sales"), chat("all")
		sales.Instances = []string{"sales-*", "shop"}
		w.start(sales, all)
		for _, name := range []string{"sales-eu", "shop", "acme"} {
			w.set(well(name))
		}
		time.Sleep(time.Minute)
		for _, name := range []string{"sales-eu", "shop", "acme"} {
			w.set(failing(name))
			w.event(reconciler.Event{Instance: name, Reason: "Failed", Revision: "aaaa", Message: "x"})
			time.Sleep(time.Minute)
		}
		w.mu.Lock()
		w.host.Problems = fmt.Errorf("instance.yaml is wrong")
		w.mu.Unlock()
		time.Sleep(10 * time.Minute)
		heard := map[string]string{}
		for _, d := range w.took() {
			heard[d.url] += d.n.who() + " "
		}
		if heard[sales.URL] != "sales-eu shop " || heard[all.URL] != "sales-eu shop acme host vm7 " {
			t.Errorf("heard %q", heard)
		}
		w.stop()
	})
}

// Each channel says from when on a release that waits is worth a notice.
func TestAReleaseThatWaitsIsToldWhenAChannelWantsToKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.every = time.Minute
		waits := well("acme")
		waits.Phase = reconciler.PhaseDeferred
		waits.Release = &reconciler.ReleaseStatus{Newest: "app@sha256:1", NewestRelease: "2026.11.3", NewestSeen: time.Now(), Deferred: &reconciler.Deferral{Reason: reconciler.DeferredWindow, Message: "it waits for the window"}}
		w.set(waits)
		w.start()
		soon, usual := hook("soon"), hook("usual")
		soon.Deferred, soon.Remind, usual.Remind = 4*time.Hour, 0, 0
		w.manager.Set("acme", []desired.NotifySpec{soon, usual})
		time.Sleep(3 * time.Hour)
		w.want("too early for both")
		time.Sleep(2 * time.Hour)
		if list := w.took(); len(list) != 1 || list[0].url != soon.URL || list[0].n.Kind != Deferred {
			t.Errorf("after five hours: %+v", list)
		}
		time.Sleep(72 * time.Hour)
		if list := w.took(); len(list) != 1 || list[0].url != usual.URL {
			t.Errorf("after three days: %+v", list)
		}
		taken := well("acme")
		w.set(taken)
		time.Sleep(time.Hour)
		w.want("it was taken", "recovered", "recovered")
		w.stop()
	})
}
