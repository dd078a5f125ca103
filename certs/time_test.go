package certs_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// inBubble is a host in a time that passes as fast as nothing happens.
func inBubble(t *testing.T, f func(t *testing.T, h *host), change ...func(*host)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Helper()
		change := append([]func(*host){func(h *host) {
			h.opts.Every = 10 * time.Minute
			h.off = 27 * 365 * day
		}}, change...)
		f(t, newHost(t, change...))
	})
}

// each has the loop look that often: a year has many ticks.
func each(d time.Duration) func(*host) { return func(h *host) { h.opts.Every = d } }

// pass lets time go by and what is due be done.
func (h *host) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (h *host) again(spec desired.CertificateSpec) {
	h.restart()
	h.want(spec)
	h.run()
	synctest.Wait()
}

// obtained has the CA answer the request, and waits until that is served.
func (h *host) obtained(ca *authority, life time.Duration) {
	h.t.Helper()
	req, err := h.Request(inst, name)
	must(h.t, err)
	leaf := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(life))
	h.put("CHAIN", pemOf(leaf, ca.ca))
	h.pass(time.Hour)
	h.serves(leaf)
}

// A certificate is renewed by itself, year after year, through restarts, and the
// source is asked rarely until that is due.
func TestRenewsUnattended(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		ca := newAuthority(t, h.now())
		spec := byRequest(ca)
		spec.Every = day
		h.want(spec)
		h.run()
		h.pass(time.Second)
		h.obtained(ca, 90*day)
		for range 2 {
			before := h.questions()
			h.pass(50 * day)
			if n := h.questions() - before; n < 45 || n > 62 {
				t.Errorf("asked %d times in 50 days", n)
			}
			h.again(spec)
			before = h.questions()
			h.pass(12 * day) // it is due since day 60 at the latest
			if n := h.questions() - before; n < 40 {
				t.Errorf("asked %d times in 12 days, of which two are due", n)
			}
			h.stands(reconciler.CertificateLive, "")
			h.obtained(ca, 90*day)
		}
		if n := len(h.told(certs.ReasonPublished)); n != 3 {
			t.Errorf("published %d times", n)
		}
		if all := append(h.told(certs.ReasonExpiring), h.told(certs.ReasonRefused)...); len(all) > 0 {
			t.Errorf("reported %q", all)
		}
	}, each(30*time.Minute))
}

// A self-signed one is renewed on the same key at two thirds of its life.
func TestStandInIsRenewed(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(desired.CertificateSpec{Domains: []string{domain}})
		h.run()
		h.pass(19 * day)
		first := h.leaf()
		if s := h.stands(reconciler.CertificateSelfSigned, ""); s.Generation != 1 || !s.RenewAt.After(h.now()) {
			t.Errorf("status %+v", s)
		}
		h.pass(2 * day)
		next := h.leaf()
		if next.Equal(first) || pair.SPKI(next.PublicKey) != pair.SPKI(first.PublicKey) {
			t.Errorf("not renewed, or on another key")
		}
		h.pass(60 * day)
		if s := h.status(); s.Generation != 5 || h.now().After(s.NotAfter) {
			t.Errorf("generation %d until %s", s.Generation, s.NotAfter)
		}
		if len(h.told(certs.ReasonExpiring)) > 0 {
			t.Error("a stand-in is warned of")
		}
	}, each(time.Hour))
}

// One that nobody renews is warned of before its end, once each time, through
// restarts; it is served to the end and after it.
func TestWarnsBeforeTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		ca := newAuthority(t, h.now())
		spec := byRequest(ca)
		h.want(spec)
		h.run()
		h.pass(time.Second)
		h.obtained(ca, 90*day)
		leaf := h.leaf()
		ends := leaf.NotAfter
		for i, left := range []time.Duration{21 * day, 7 * day, 3 * day, day} {
			h.pass(ends.Add(-left).Sub(h.now()) - time.Hour)
			if n := len(h.told(certs.ReasonExpiring)); n != i {
				t.Errorf("an hour before %s are left: warned %d times, want %d", left, n, i)
			}
			h.pass(2 * time.Hour)
			h.again(spec)
			h.pass(time.Hour)
			if n := len(h.told(certs.ReasonExpiring)); n != i+1 {
				t.Errorf("when %s are left: warned %d times, want %d", left, n, i+1)
			}
		}
		h.stands(reconciler.CertificateDegraded, "NotRenewed")
		before := h.questions()
		h.pass(6 * time.Hour)
		if n := h.questions() - before; n < 12 {
			t.Errorf("asked %d times in 6 hours of its last day", n)
		}
		h.pass(2 * day)
		h.again(spec)
		h.serves(leaf)
		h.stands(reconciler.CertificateExpired, "Expired")
		h.once(certs.ReasonExpired, "served all the same")
		if _, live, _ := h.Certificate(inst, name, domain); live {
			t.Error("an expired one counts as live")
		}
		h.obtained(ca, 90*day)
		h.stands(reconciler.CertificateLive, "")
	}, each(20*time.Minute))
}

// A certificate for later is kept until its time comes, also over a restart.
func TestStagedUntilItsTime(t *testing.T) {
	for _, restart := range []bool{false, true} {
		inBubble(t, func(t *testing.T, h *host) {
			ca := newAuthority(t, h.now())
			spec := byRequest(ca)
			h.want(spec)
			h.run()
			h.pass(time.Second)
			h.obtained(ca, 90*day)
			live := h.leaf()
			next := ca.issue(live.PublicKey, h.now().Add(3*day), h.now().Add(99*day), domain)
			h.put("CHAIN", pemOf(next, ca.ca))
			h.pass(2 * day)
			h.serves(live)
			if s := h.stands(reconciler.CertificateLive, ""); !s.Staged.Equal(next.NotBefore) {
				t.Errorf("staged %s, want %s", s.Staged, next.NotBefore)
			}
			if restart {
				h.again(spec)
			}
			h.once(certs.ReasonStaged, "from then on")
			h.serves(live)
			h.pass(day + time.Hour)
			h.serves(next)
			if s := h.stands(reconciler.CertificateLive, ""); !s.Staged.IsZero() {
				t.Errorf("staged %s still", s.Staged)
			}
			h.once(certs.ReasonStaged, "")
		})
	}
}

// Failures are waited out longer and longer, over restarts; Retry-After wins;
// what is hopeless is asked again with another spec only.
func TestBacksOff(t *testing.T) {
	web := newSite(t)
	inBubble(t, func(t *testing.T, h *host) {
		ca := newAuthority(t, h.now())
		spec := web.at(ca)
		spec.Every = day
		h.want(spec)
		h.run()
		h.pass(time.Second)
		req, err := h.Request(inst, name)
		must(t, err)
		leaf := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(90*day))
		web.put("/chain.pem", pemOf(leaf, ca.ca))
		h.pass(time.Hour)
		h.serves(leaf)
		trouble := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }
		web.on("/chain.pem", trouble)
		h.pass(day) // the first failure is in it
		web.questions()
		h.pass(5 * day)
		if n := web.questions(); n < 18 || n > 23 {
			t.Errorf("asked %d times in 5 days of failures, want one in 6 hours", n)
		}
		h.again(spec)
		h.pass(time.Minute)
		if n := web.questions(); n != 0 {
			t.Errorf("a restart asked %d times", n)
		}
		h.once(certs.ReasonFetchFailed, "403")
		if s := h.stands(reconciler.CertificateLive, ""); !s.NextTry.After(h.now()) {
			t.Errorf("next try %s", s.NextTry)
		}
		web.on("/chain.pem", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3500")
			w.WriteHeader(http.StatusTooManyRequests)
		})
		h.pass(7 * time.Hour)
		web.questions()
		h.pass(10 * time.Hour)
		if n := web.questions(); n < 8 || n > 11 {
			t.Errorf("asked %d times in 10 hours, want one an hour as it said", n)
		}
		spec.Fullchain = "https://user:hush@pki.acme.com/chain.pem"
		h.want(spec)
		h.pass(day)
		s := h.stands(reconciler.CertificateDegraded, "Stalled")
		if !s.NextTry.IsZero() || strings.Contains(s.Message+s.Source, "hush") {
			t.Errorf("status %+v", s)
		}
		web.put("/chain.pem", pemOf(ca.issue(leaf.PublicKey, h.now(), h.now().Add(90*day), domain), ca.ca))
		h.want(web.at(ca))
		h.pass(time.Second)
		h.stands(reconciler.CertificateLive, "")
		if h.leaf().Equal(leaf) {
			t.Error("the new one was not taken at once")
		}
	}, web.with)
}

// A clock that goes back is doubted until it is set again, or until it has run
// steadily for an hour; nothing is decided meanwhile, and all is served.
func TestClockGoesBack(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		ca := newAuthority(t, h.now())
		spec := byRequest(ca)
		h.want(spec)
		h.run()
		h.pass(time.Second)
		h.obtained(ca, 90*day)
		live := h.leaf()
		h.jump(-400 * day)
		h.pass(20 * time.Minute)
		h.stands(reconciler.CertificateClockSuspect, "ClockSuspect")
		h.serves(live)
		h.put("CHAIN", pemOf(ca.issue(live.PublicKey, h.now().Add(-time.Hour), h.now().Add(99*day), domain), ca.ca))
		h.again(spec) // which does not make it right
		h.pass(20 * time.Minute)
		h.stands(reconciler.CertificateClockSuspect, "ClockSuspect")
		h.serves(live)
		h.jump(400 * day)
		h.pass(20 * time.Minute)
		h.serves(live)
		if s := h.status(); s.Phase == reconciler.CertificateClockSuspect {
			t.Errorf("the clock is right, and still doubted: %s", s.Message)
		}
		h.put("CHAIN", pemOf(ca.issue(live.PublicKey, h.now().Add(-time.Hour), h.now().Add(99*day), domain), ca.ca))
		h.pass(3 * time.Hour)
		h.stands(reconciler.CertificateLive, "")
		h.jump(-10 * day) // and this time it was wrong before
		h.pass(30 * time.Minute)
		h.stands(reconciler.CertificateClockSuspect, "ClockSuspect")
		h.pass(2 * time.Hour)
		if s := h.status(); s.Phase == reconciler.CertificateClockSuspect {
			t.Errorf("steady for two hours, and still doubted: %s", s.Message)
		}
		if n := len(h.told(certs.ReasonClockSuspect)); n < 2 || n > 3 { // a restart says it again
			t.Errorf("reported %d times", n)
		}
	})
}

// A source whose clock is another one: nothing is taken until they agree.
func TestClockIsOffTheSources(t *testing.T) {
	web := newSite(t)
	inBubble(t, func(t *testing.T, h *host) {
		first := h.off
		h.tell = func(true time.Time) { web.says(true.Add(first)) }
		ca := newAuthority(t, h.now())
		h.want(web.at(ca))
		h.run()
		h.pass(time.Second)
		req, err := h.Request(inst, name)
		must(t, err)
		live := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(90*day))
		web.put("/chain.pem", pemOf(live, ca.ca))
		h.pass(time.Hour)
		h.serves(live)
		next := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(90*day))
		web.put("/chain.pem", pemOf(next, ca.ca))
		h.jump(20 * 365 * day) // the site's clock stays
		h.pass(3 * time.Hour)
		h.serves(live)
		s := h.stands(reconciler.CertificateClockSuspect, "ClockSuspect")
		if !strings.Contains(s.Message, "off that of the source") {
			t.Errorf("says %q", s.Message)
		}
		h.once(certs.ReasonClockSuspect, "Look at the clocks")
		h.jump(-20 * 365 * day)
		h.pass(2 * time.Hour)
		h.serves(next)
		h.stands(reconciler.CertificateLive, "")
		if all := append(h.told(certs.ReasonExpired), h.told(certs.ReasonExpiring)...); len(all) > 0 {
			t.Errorf("reported %q", all)
		}
	}, web.with)
}

// A file of the host is looked at with every look: what is put there is served
// at once, and nothing is written as long as it stays.
func TestFilesAreWatched(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		dir := filepath.Dir(h.dir)
		ca := newAuthority(t, h.now())
		spec := byRequest(ca)
		spec.Fullchain = "file://" + filepath.Join(dir, "chain.pem")
		h.want(spec)
		h.run()
		h.pass(time.Minute)
		h.stands(reconciler.CertificateAwaitsIssuer, "NotThereYet")
		still := func(what string) {
			t.Helper()
			h.pass(time.Minute)
			before := h.memory.writes()
			h.pass(30 * time.Minute)                     // 180 looks
			if n := h.memory.writes() - before; n > 32 { // the time, by the minute
				t.Errorf("%s: wrote %d times in half an hour", what, n)
			}
		}
		still("no file")
		req, err := h.Request(inst, name)
		must(t, err)
		first := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(90*day))
		write(t, pemOf(first, ca.ca), dir, "chain.pem")
		h.pass(10 * time.Second)
		h.serves(first)
		still("a good one")
		write(t, []byte("<html>"), dir, "chain.pem")
		h.pass(10 * time.Second)
		h.stands(reconciler.CertificateDegraded, "BadChain")
		still("a bad one")
		next := ca.answer(req.PEM, h.now().Add(-time.Minute), h.now().Add(90*day))
		write(t, pemOf(next, ca.ca), dir, "chain.pem")
		h.pass(10 * time.Second)
		h.serves(next)
		if s := h.stands(reconciler.CertificateLive, ""); h.now().Sub(s.LastAsked) > 20*time.Second {
			t.Errorf("asked last at %s, it is %s", s.LastAsked, h.now())
		}
		if n := len(h.told(certs.ReasonRefused)); n != 1 {
			t.Errorf("reported %d times", n)
		}
	}, each(10*time.Second))
}
