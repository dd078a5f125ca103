package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const gathered = gather + time.Second

func TestADeploymentIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: "0000000011", Generation: 1, Message: "history"})
		w.start()
		time.Sleep(time.Second)
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(time.Minute)
		w.want("what was before somebody wanted to know")
		rev := desired.Revision{Commit: "aaaaaaaabbbb", Subject: "Raise the limit", Author: "Ann"}
		w.records["acme"] = []reconciler.Record{{Kind: "deploy", Generation: 2, Revision: rev, Release: "2026.11.3", Outcome: reconciler.Applied, Started: time.Now(),
			Actions: []reconciler.Action{{Verb: reconciler.Replace, Kind: reconciler.KindContainer, Object: "acme-app-1", Reason: "its image differs",
				Changes: []reconciler.Change{{Field: "image", Old: "app@sha256:" + strings.Repeat("a", 64), New: "app@sha256:" + strings.Repeat("b", 64)}, {Field: "env.TOKEN", Old: "(sensitive)", New: "(sensitive)"}}}}}}
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: rev.Commit, Generation: 2, Message: "generation 2 stands: Raise the limit", Correlation: "r1"})
		time.Sleep(gathered)
		got := w.took()
		if len(got) != 1 {
			t.Fatalf("sent %+v", got)
		}
		n := got[0].n
		if n.Kind != Applied || n.Title != "acme: generation 2 is applied" || n.Subject != rev.Subject || n.Author != "Ann" || n.Release != "2026.11.3" || n.Host != "vm7" ||
			n.Request != "r1" || n.Link != "https://fairlead.acme.com/instances/acme" || len(n.Changes) != 1 || !strings.Contains(n.Changes[0], "app@sha256:aaaaaaaaaaaa → app@sha256:bbbbbbbbbbbb") {
			t.Errorf("got %+v", n)
		}
		w.stop()
		w.start() // which has it in the past
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(25 * time.Hour)
		w.want("after a restart")
		w.stop()
	})
}

func TestTroubleIsToldRemindedAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		w.start()
		once := hook("once")
		once.Remind = 0
		w.manager.Set("acme", []desired.NotifySpec{hook("a"), once})
		time.Sleep(time.Minute)
		w.set(sick("acme"))
		time.Sleep(time.Minute)
		w.set(well("acme"))
		time.Sleep(10 * time.Minute)
		w.want("a minute of trouble")
		w.set(sick("acme"))
		time.Sleep(5 * time.Minute)
		w.want("trouble that lasts", "degraded", "degraded")
		time.Sleep(23 * time.Hour)
		w.want("before the reminder")
		time.Sleep(2 * time.Hour)
		w.want("the reminder, of one that wants it", "degraded again")
		w.set(well("acme"))
		time.Sleep(20 * time.Second)
		w.set(sick("acme")) // it flaps
		time.Sleep(time.Minute)
		w.want("flapping")
		w.set(well("acme"))
		time.Sleep(5 * time.Minute)
		w.want("it is over", "recovered", "recovered")
		time.Sleep(25 * time.Hour)
		w.want("later")
		w.stop()
	})
}

func TestARestartNeitherRepeatsNorForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(sick("acme"))
		channels := []desired.NotifySpec{hook("a")}
		w.start()
		w.manager.Set("acme", channels)
		time.Sleep(5 * time.Minute)
		w.want("trouble", "degraded")
		w.stop()
		// Before the first pass nothing is known, also not that all is well.
		w.mu.Lock()
		w.statuses["acme"] = reconciler.Status{Name: "acme", Sync: reconciler.Unknown}
		w.mu.Unlock()
		w.start()
		time.Sleep(10 * time.Minute)
		w.want("before the first pass")
		w.set(sick("acme"))
		time.Sleep(10 * time.Minute)
		w.want("the same trouble")
		w.event(reconciler.Event{Instance: "acme", Reason: "Failed", Revision: "cccc", Generation: 3, Message: "x"})
		w.stop() // before it was told
		w.set(sick("acme"))
		w.start()
		time.Sleep(time.Minute)
		w.want("what happened before the stop", "failed")
		w.set(well("acme"))
		w.stop()
		w.start()
		time.Sleep(10 * time.Minute)
		w.want("what was over meanwhile", "recovered", "recovered")
		w.stop()
	})
}

func TestACrashIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(hook("host"))
		time.Sleep(time.Minute)
		w.mu.Lock()
		kept := slices.Clone(w.book[stateKey])
		w.mu.Unlock()
		w.stop()
		w.book[stateKey] = kept // as it is when nobody had time to end
		w.start(hook("host"))
		time.Sleep(time.Minute)
		got := w.took()
		if len(got) != 1 || got[0].n.Title != "host vm7: the daemon began again" {
			t.Errorf("got %+v", got)
		}
		w.stop()
		w.start(hook("host"))
		time.Sleep(time.Minute)
		w.want("after a stop")
		w.stop()
	})
}

// What was put into the queue is delivered after a kill at any point: the state
// is written before the first try.
func TestTheQueueSurvivesAKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		var kept []byte
		w.answer = func(context.Context, string, Notice) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			kept = slices.Clone(w.book[stateKey])
			return nil
		}
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(time.Minute)
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: "aaaa", Generation: 2, Message: "x"})
		time.Sleep(gathered)
		first := w.took()
		w.stop()
		w.book[stateKey] = kept // as it was when the receiver had it and nobody had written that down
		w.start()
		time.Sleep(time.Minute)
		again := w.took()
		if len(first) != 1 || len(again) < 1 || first[0].id != again[0].id {
			t.Errorf("got %+v\nthen %+v", first, again)
		}
		w.stop()
	})
}

func TestRollbackIsOneNotice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		w.start()
		only := hook("quarantine")
		only.On = []string{"quarantined"}
		w.manager.Set("acme", []desired.NotifySpec{hook("a"), only})
		time.Sleep(time.Minute)
		bad := well("acme")
		bad.Phase, bad.Sync = reconciler.PhaseQuarantined, reconciler.OutOfSync
		w.set(bad)
		w.event(reconciler.Event{Instance: "acme", Reason: "RolledBack", Revision: "aaaa", Generation: 2, Message: "not ready"})
		w.event(reconciler.Event{Instance: "acme", Reason: "Quarantined", Revision: "aaaa", Message: "aaaa failed"})
		time.Sleep(gathered)
		var got []string
		for _, d := range w.took() {
			got = append(got, strings.TrimPrefix(d.url, "generic+https://hooks.acme.com/")+" "+string(d.n.Kind))
		}
		slices.Sort(got)
		if want := []string{"a rolled-back", "quarantine quarantined"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		time.Sleep(25 * time.Hour)
		w.want("a day later", "quarantined again", "quarantined again")
		w.set(well("acme"))
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: "bbbb", Generation: 3, Message: "generation 3 stands"})
		time.Sleep(gathered)
		w.want("the next one stands", "recovered", "applied")
		w.stop()
	})
}

func TestAChannelThatHangsBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		w.answer = func(ctx context.Context, url string, _ Notice) error {
			if strings.HasSuffix(url, "hangs") {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("hangs"), hook("works")})
		for i := range 5 {
			w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: fmt.Sprint("rev", i), Generation: i + 1, Message: "x"})
			time.Sleep(gathered)
			w.want("each one", "applied")
		}
		time.Sleep(15 * time.Minute)
		if list := w.manager.Warnings(); len(list) != 1 || !strings.Contains(list[0], "webhook hooks.acme.com") {
			t.Errorf("warned of %q", list)
		}
		w.mu.Lock()
		w.answer = nil
		w.mu.Unlock()
		time.Sleep(15 * time.Minute)
		w.want("it works again", "applied", "applied", "applied", "applied", "applied")
		if list := w.manager.Warnings(); len(list) != 0 {
			t.Errorf("warned of %q", list)
		}
		w.stop()
	})
}

func TestManyAtOnceAreADigestForAChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		for i := range 20 {
			name := fmt.Sprintf("acme-%02d", i)
			w.set(well(name))
			w.manager.Set(name, []desired.NotifySpec{chat("xoxb"), hook("each")})
		}
		time.Sleep(time.Minute)
		for i := range 20 {
			w.set(sick(fmt.Sprintf("acme-%02d", i)))
		}
		time.Sleep(5 * time.Minute)
		digests, single := 0, 0
		for _, d := range w.took() {
			switch {
			case d.n.Kind == kindDigest:
				digests++
				if len(d.n.Notices) != 20 || d.n.Title != "vm7: 20 notices of 20 instances" || !strings.Contains(text(d.n, ""), "- acme-19 is degraded") {
					t.Errorf("digest %q of %d\n%s", d.n.Title, len(d.n.Notices), text(d.n, ""))
				}
			default:
				single++
			}
		}
		if digests != 1 || single != 20 {
			t.Errorf("sent %d digests and %d single notices", digests, single)
		}
		w.stop()
	})
}

func TestRetriesWaitAsTheReceiverWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		var tries []time.Time
		w.answer = func(context.Context, string, Notice) error {
			tries = append(tries, time.Now())
			switch len(tries) {
			case 1:
				return errors.New("no")
			case 2:
				return later{errors.New("later"), 20 * time.Minute}
			case 3:
				return errors.New("no")
			}
			return nil
		}
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(time.Second)
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: "aaaa", Generation: 1, Message: "x"})
		time.Sleep(2 * time.Hour)
		w.want("in the end", "applied")
		if len(tries) != 4 {
			t.Fatalf("tried %d times", len(tries))
		}
		for i, least := range []time.Duration{firstRetry, 20 * time.Minute, 4 * firstRetry} {
			if wait := tries[i+1].Sub(tries[i]); wait < least || wait > least+time.Minute {
				t.Errorf("try %d came %s after the one before, want %s", i+2, wait, least)
			}
		}
		w.stop()
	})
}

func TestWhatIsTooOldIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.every = 10 * time.Minute
		w.set(well("acme"))
		w.answer = func(context.Context, string, Notice) error { return errors.New("no") }
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(time.Second)
		for i := range maxQueue + 10 {
			w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: fmt.Sprint(i), Generation: i + 1, Message: "x"})
			time.Sleep(time.Second)
		}
		if c := w.manager.Channels(); len(c) != 1 || c[0].Waiting != maxQueue || c[0].Lost != 10 {
			t.Errorf("got %+v", c)
		}
		time.Sleep(expires + time.Hour)
		if c := w.manager.Channels(); c[0].Waiting != 0 || c[0].Lost != maxQueue+10 {
			t.Errorf("got %+v", c)
		}
		w.stop()
	})
}

func TestHostTroubleReachesSomebody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"a", "b"} {
			w.set(well(name))
		}
		w.start()
		w.manager.Set("a", []desired.NotifySpec{hook("shared"), hook("a")})
		w.manager.Set("b", []desired.NotifySpec{hook("shared")})
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.host = HostView{Source: reconciler.SourceStatus{Repo: "https://git.acme.com/fleet.git", LastSuccess: time.Now(), Err: errors.New("401")}}
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		w.want("not yet")
		time.Sleep(10 * time.Minute)
		w.want("each channel once", "source", "source")
		w.mu.Lock()
		w.host = HostView{}
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		w.want("it is back", "recovered", "recovered")
		w.stop()
	})
}

func TestWithoutChannelsNothingIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(sick("acme"))
		w.start()
		w.manager.Set("acme", nil)
		time.Sleep(time.Hour)
		w.event(reconciler.Event{Instance: "acme", Reason: "Failed", Message: "x"})
		time.Sleep(time.Hour)
		w.stop()
		if len(w.book) != 0 || len(w.took()) != 0 {
			t.Errorf("kept %d", len(w.book))
		}
	})
}

// A disk that is full keeps notices from being told, not from being told later.
func TestNothingIsToldThatIsNotWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.set(well("acme"))
		w.start()
		w.manager.Set("acme", []desired.NotifySpec{hook("a")})
		time.Sleep(time.Second)
		w.mu.Lock()
		w.bookErr = errors.New("no space left on device")
		w.mu.Unlock()
		w.event(reconciler.Event{Instance: "acme", Reason: "Applied", Revision: "aaaa", Generation: 1, Message: "x"})
		time.Sleep(time.Hour)
		w.want("while the disk is full")
		w.mu.Lock()
		w.bookErr = nil
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.want("then", "applied")
		w.stop()
	})
}

func TestSecretsAreInNoListing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(chat("xoxb-host-token"))
		spec := hook("a?x=hunter2")
		spec.Secret = "0123456789abcdef"
		w.manager.Set("acme", []desired.NotifySpec{spec, {URL: "telegram://123:tele-token@telegram?chats=@x"}, {URL: "ntfy://user:pass-word@ntfy.acme.com/topic-word"}})
		time.Sleep(time.Second)
		list, err := json.Marshal(w.manager.Channels())
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"xoxb", "hunter2", "0123456789", "tele-token", "pass-word", "topic-word"} {
			if strings.Contains(string(list), secret) {
				t.Errorf("%s is shown: %s", secret, list)
			}
		}
		if !strings.Contains(string(list), "ntfy ntfy.acme.com") {
			t.Errorf("got %s", list)
		}
		w.stop()
	})
}
