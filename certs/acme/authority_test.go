package acme

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestExternalAccount needs a key that the authority knows.
func TestExternalAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.EAB = map[string]string{"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
	ca := newAuthority(t, conf)
	k := keep(t, s, Options{})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	eventually(t, "the authority asks for a binding", func() bool {
		f := k.one().Failures
		return len(f) == 1 && strings.Contains(f[0].Error, "externalAccountRequired")
	})
	bound := ca.issuer()
	bound.EAB = &EAB{KeyID: "kid-1", MACKey: conf.EAB["kid-1"]}
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{bound}})
	k.await(1)
	for what, text := range map[string]string{"log": k.log.String(), "status": fmt.Sprint(k.Status()), "issuer": fmt.Sprint(bound)} {
		if strings.Contains(text, conf.EAB["kid-1"]) {
			t.Errorf("the MAC key is in the %s", what)
		}
	}
}

// TestBadNonces issues although every third nonce is refused.
func TestBadNonces(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Env = []string{"PEBBLE_WFE_NONCEREJECT=30"}
	ca := newAuthority(t, conf)
	k := keep(t, s, Options{})
	k.ensure(Request{Domains: []string{siteHost, "www.example.test"}, Issuers: []Issuer{ca.issuer()}})
	refused := func() bool { return k.log.count("status_code=400") > 0 }
	for n := 1; n == 1 || !refused(); n++ { // by chance none is, now and then
		k.await(n)
		if n == 10 {
			t.Fatal("Pebble refused no nonce in ten orders")
		}
		if !refused() {
			if err := k.Renew("data"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestAuthorityLostAccount orders from an authority that has forgotten us.
func TestAuthorityLostAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	k := keep(t, s, Options{})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	k.await(1)
	eventually(t, "nothing more is asked", func() bool { return k.one().Window != nil })
	ca.stop()
	before := ca.log.count("POST /sign-me-up")
	ca.start() // with an empty memory
	if err := k.Renew("data"); err != nil {
		t.Fatal(err)
	}
	k.await(2)
	if n := ca.log.count("POST /sign-me-up") - before; n != 1 {
		t.Errorf("signed up %d times, want once", n)
	}
	if n := k.log.count("certificate was not issued"); n != 0 {
		t.Errorf("%d tries failed", n)
	}
}

// TestRenewalIsKeptInMind makes a renewal that was asked for while the authority
// was out of reach once it is back.
func TestRenewalIsKeptInMind(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	k := keep(t, s, Options{})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	k.await(1)
	ca.stop()
	if err := k.Renew("data"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it fails more than once, with what was asked for in mind", func() bool {
		st := k.one()
		return st.Phase == Waiting && strings.HasPrefix(st.Reason, "asked for") && len(st.Failures) == 1 && st.Failures[0].Count > 1
	})
	ca.start()
	k.await(2)
	eventually(t, "nothing is due any more", func() bool { return k.one().Phase == Valid && k.one().Window != nil })
	if n := k.log.count("acme: certificate issued"); n != 2 {
		t.Errorf("%d certificates were issued, want one for the one wish", n-1)
	}
}

// TestRenewedWhenTheAuthoritySaysSo takes a window in the past for what it is: a
// certificate that the authority is about to revoke.
func TestRenewedWhenTheAuthoritySaysSo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Profiles = map[string]int{"default": 100} // a suggestion is asked for every ten seconds
	ca := newAuthority(t, conf)
	k := keep(t, s, Options{})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}, Fraction: 0.95})
	p := k.await(1)
	ca.suggest(p, time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour))
	k.await(2)
	if n := k.log.count("its issuer wants it renewed"); n != 1 {
		t.Errorf("%d orders because the authority said so, want one", n)
	}
	if n := ca.log.count("is a replacement of"); n != 1 {
		t.Errorf("%d orders named what they replace, want one", n)
	}
}

// TestIssuersInTurn takes the third authority when the first is not trusted and
// the second refuses the name.
func TestIssuersInTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Blocked = []string{siteHost}
	strange := httptest.NewTLSServer(http.NotFoundHandler())
	defer strange.Close()
	refuses, issues := newAuthority(t, conf), newAuthority(t, s.conf())
	k := keep(t, s, Options{Backoff: []time.Duration{time.Hour}})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: strange.URL}, refuses.issuer(), issues.issuer()}})
	if p := k.await(1); p.Issuer != issues.url {
		t.Errorf("issued by %s, want %s", p.Issuer, issues.url)
	}
	eventually(t, "the failures are in the status", func() bool {
		f := k.one().Failures
		return len(f) == 2 && strings.Contains(f[0].Error, "unknown authority") && f[1].Issuer == refuses.url && strings.Contains(f[1].Error, "rejectedIdentifier")
	})
	if n := refuses.log.count("POST /order-plz"); n != 1 {
		t.Errorf("it was asked %d times, want once", n)
	}
}

// TestFailuresWait counts the orders of a name that nobody answers for, over
// restarts too.
func TestFailuresWait(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.HTTPPort = 1 // where nobody listens
	ca := newAuthority(t, conf)
	dir := t.TempDir()
	opts := Options{Dir: dir, Backoff: []time.Duration{500 * time.Millisecond, time.Hour}}
	req := Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}, Challenges: []string{HTTP01}}
	k := keep(t, s, opts)
	k.ensure(req)
	waits := func(k *kept) func() bool {
		return func() bool {
			st := k.one()
			return st.Phase == Waiting && len(st.Failures) == 1 && st.Failures[0].Count == 2 && time.Until(st.NextTry) > 50*time.Minute
		}
	}
	eventually(t, "the second failure waits an hour", waits(k))
	k.stop()
	eventually(t, "Pebble has told of both orders", func() bool { return ca.log.count("Added order") >= 2 })
	orders := ca.log.count("Added order")
	again := keep(t, s, opts)
	again.ensure(req)
	eventually(t, "the wait goes on after a restart", waits(again))
	if n := ca.log.count("Added order"); n != orders {
		t.Errorf("the restart made %d orders", n-orders)
	}
	req.Challenges = []string{TLSALPN01} // a changed request is tried at once
	again.ensure(req)
	again.await(1)
}

// TestRetryAfterWins obeys an authority that says when to come again.
func TestRetryAfterWins(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32 // for an account
	var srv *httptest.Server
	srv = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/dir":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"newNonce": "%[1]s/nonce", "newAccount": "%[1]s/account", "newOrder": "%[1]s/order"}`, srv.URL)
		case "/nonce":
			w.Header().Set("Replay-Nonce", "bm9uY2U")
		default:
			asked.Add(1)
			w.Header().Set("Retry-After", "7200")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429, "detail": "too many new accounts"}`)
		}
	}))
	defer srv.Close()
	m := New(Options{Dir: t.TempDir(), Backoff: []time.Duration{time.Nanosecond}})
	req := Request{Name: "data", Domains: []string{siteHost}, Issuers: []Issuer{{Directory: srv.URL + "/dir", Roots: pemOf(srv.Certificate())}}}
	if err := m.Ensure(req); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		look(t, m)
		if err := m.Renew("data"); err != nil { // not even who asks for it goes against that
			t.Fatal(err)
		}
	}
	st := m.Status()[0]
	if st.Phase != Waiting || len(st.Failures) != 1 || !st.Failures[0].Said {
		t.Fatalf("status %+v, want it to wait as it was told", st)
	}
	if after := st.NextTry.Sub(st.Failures[0].At); after < 2*time.Hour || after > 3*time.Hour {
		t.Errorf("waits %s, told were two hours", after)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the authority was asked for an account %d times, want once", n)
	}
}

// look has a Manager that does not run look once at what it keeps.
func look(t *testing.T, m *Manager) {
	t.Helper()
	var workers sync.WaitGroup
	m.pass(t.Context(), &workers)
	workers.Wait()
}

// TestRedirectIsRefused says so, rather than ask somebody else.
func TestRedirectIsRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.RedirectHandler("https://127.0.0.1:1/dir", http.StatusFound))
	defer srv.Close()
	k := keep(t, nil, Options{Backoff: []time.Duration{time.Hour}})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: srv.URL, Roots: pemOf(srv.Certificate())}}})
	eventually(t, "the redirect is refused", func() bool {
		f := k.one().Failures
		return len(f) == 1 && strings.Contains(f[0].Error, "no redirect is followed")
	})
}
