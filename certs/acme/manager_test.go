//go:build pebble

package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
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
	eventually(t, 20*time.Second, "the authority asks for a binding", func() bool {
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
	ca.stop()
	before := ca.log.count("sign-me-up")
	ca.start() // with an empty memory
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	if err := k.Renew("data"); err != nil {
		t.Fatal(err)
	}
	k.await(2)
	if n := ca.log.count("sign-me-up") - before; n != 1 {
		t.Errorf("signed up %d times, want once", n)
	}
	if f := k.one().Failures; len(f) != 0 {
		t.Errorf("the first try failed: %+v", f)
	}
}

// TestIssuersInTurn takes the second authority when the first refuses the name.
func TestIssuersInTurn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Blocked = []string{siteHost}
	first := newAuthority(t, conf)
	second := newAuthority(t, s.conf())
	k := keep(t, s, Options{Backoff: []time.Duration{time.Hour}})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{first.issuer(), second.issuer()}})
	if p := k.await(1); p.Issuer != second.url {
		t.Errorf("issued by %s, want %s", p.Issuer, second.url)
	}
	eventually(t, 5*time.Second, "the refusal is in the status", func() bool {
		f := k.one().Failures
		return len(f) == 1 && f[0].Issuer == first.url && strings.Contains(f[0].Error, "rejectedIdentifier")
	})
	if n := first.log.count("POST /order-plz"); n != 1 {
		t.Errorf("the first was asked %d times, want once", n)
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
	eventually(t, 30*time.Second, "the second failure waits an hour", waits(k))
	k.stop()
	orders := ca.log.count("Added order")
	if orders < 2 {
		t.Fatalf("%d orders, want two or more", orders)
	}
	again := keep(t, s, opts)
	again.ensure(req)
	eventually(t, 10*time.Second, "the wait goes on after a restart", waits(again))
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
	var asked sync.Map
	var srv *httptest.Server
	srv = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := asked.LoadOrStore(r.URL.Path, 0)
		asked.Store(r.URL.Path, n.(int)+1)
		switch r.URL.Path {
		case "/dir":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"newNonce": "%[1]s/nonce", "newAccount": "%[1]s/account", "newOrder": "%[1]s/order"}`, srv.URL)
		case "/nonce":
			w.Header().Set("Replay-Nonce", "bm9uY2U")
		default:
			w.Header().Set("Retry-After", "7200")
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"type": "urn:ietf:params:acme:error:rateLimited", "status": 429, "detail": "too many new accounts"}`)
		}
	}))
	defer srv.Close()
	k := keep(t, nil, Options{Backoff: []time.Duration{50 * time.Millisecond}})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: srv.URL + "/dir", Roots: pemOf(srv.Certificate())}}})
	eventually(t, 10*time.Second, "the time that was named is waited for", func() bool {
		st := k.one()
		left := time.Until(st.NextTry)
		return st.Phase == Waiting && len(st.Failures) == 1 && st.Failures[0].Said && left > 110*time.Minute && left < 121*time.Minute
	})
	if err := k.Renew("data"); err != nil { // not even who asks for it goes against that
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the wish to renew is looked at", func() bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.Manager.mu.Lock()
		defer k.Manager.mu.Unlock()
		return !k.entries["data"].force && !k.entries["data"].busy
	})
	if n, _ := asked.Load("/account"); n != 1 {
		t.Errorf("the authority was asked for an account %v times, want once", n)
	}
}

// TestRedirectIsRefused says so, rather than ask somebody else.
func TestRedirectIsRefused(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.RedirectHandler("https://127.0.0.1:1/dir", http.StatusFound))
	defer srv.Close()
	k := keep(t, nil, Options{Backoff: []time.Duration{time.Hour}})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: srv.URL, Roots: pemOf(srv.Certificate())}}})
	eventually(t, 20*time.Second, "the redirect is refused", func() bool {
		f := k.one().Failures
		return len(f) == 1 && strings.Contains(f[0].Error, "no redirect is followed")
	})
}

// TestDamageIsRepaired cuts files as a crash of another file system might, and
// removes one: what is there is kept, and what is lost is ordered again.
func TestDamageIsRepaired(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	dir := t.TempDir()
	req := Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}}
	k := keep(t, s, Options{Dir: dir})
	k.ensure(req)
	first := leaf(t, k.await(1))
	pair := filepath.Join(dir, "pairs", "data.json")
	if err := os.Remove(pair); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the pair that was deleted is back", func() bool { _, err := os.Stat(pair); return err == nil })
	k.stop()
	if n := ca.log.count("Added order"); n != 1 {
		t.Fatalf("%d orders, want 1", n)
	}
	text, err := os.ReadFile(pair)
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := filepath.Glob(filepath.Join(dir, "accounts", "*.json"))
	if err != nil || len(accounts) != 1 {
		t.Fatalf("accounts %v, %v", accounts, err)
	}
	other, err := encodeKeyOf(P256)
	if err != nil {
		t.Fatal(err)
	}
	mixed := strings.Replace(string(text), strings.ReplaceAll(first.Key, "\n", `\n`), strings.ReplaceAll(string(other), "\n", `\n`), 1)
	if mixed == string(text) {
		t.Fatal("the key was not exchanged")
	}
	for what, damage := range map[string]func() error{
		"a pair that was cut":        func() error { return os.Truncate(pair, int64(len(text)/2)) },
		"an empty pair":              func() error { return os.Truncate(pair, 0) },
		"a key of another pair":      func() error { return os.WriteFile(pair, []byte(mixed), 0o600) },
		"an account without its end": func() error { return errors.Join(os.Truncate(accounts[0], 90), os.Remove(pair)) },
		"an empty state": func() error {
			return errors.Join(os.Truncate(filepath.Join(dir, "states", "data.json"), 0), os.Remove(pair))
		},
		"a lock that nobody understands": func() error { return errors.Join(badLock(dir), os.Remove(pair)) },
	} {
		t.Run(what, func(t *testing.T) {
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			k := keep(t, s, Options{Dir: dir})
			k.ensure(req)
			leaf(t, k.await(1))
			k.stop()
			if _, err := k.store.pair("data"); err != nil {
				t.Error(err)
			}
		})
	}
	left, err := filepath.Glob(filepath.Join(dir, "pairs", "*.damaged"))
	if err != nil || len(left) != 1 {
		t.Errorf("damaged pairs kept for a look: %v, %v", left, err)
	}
}

func badLock(dir string) error {
	file := filepath.Join(dir, "locks", "order-data.lock")
	long := time.Now().Add(-time.Hour)
	return errors.Join(os.WriteFile(file, []byte("\x00\x00\x00"), 0o600), os.Chtimes(file, long, long))
}

// TestRepair removes what writes left half-done, and nothing else.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	given(t, dir, time.Now(), time.Now().Add(time.Hour))
	long := time.Now().Add(-time.Minute)
	for name, old := range map[string]bool{
		"pairs/data.json.tmp123": true, "pairs/data.json.tmp456": false, "states/data.json.damaged": true,
		"locks/a.lock": true, "locks/b.lock": false,
	} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte("half"), 0o644); err != nil {
			t.Fatal(err)
		}
		if old {
			if err := os.Chtimes(file, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	did, err := newStore(dir).repair()
	if err != nil || len(did) != 2 {
		t.Errorf("%v: %q, want two repairs", err, did)
	}
	for name, stays := range map[string]bool{
		"pairs/data.json": true, "pairs/data.json.tmp123": false, "pairs/data.json.tmp456": true, "states/data.json.damaged": true,
		"locks/a.lock": false, "locks/b.lock": true,
	} {
		if _, err := os.Stat(filepath.Join(dir, name)); (err == nil) != stays {
			t.Errorf("%s: %v, want it to stay: %v", name, err, stays)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// given writes a pair into a directory as if it had been obtained from an
// authority that nobody can reach now.
func given(t *testing.T, dir string, from, until time.Time) Request {
	t.Helper()
	key, cert := signed(t, &x509.Certificate{DNSNames: []string{siteHost}, NotBefore: from, NotAfter: until}, nil, nil)
	text, err := encodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	r := record{Directory: "https://" + freePort(t) + "/dir", Issued: from, Chain: string(pemOf(cert)), Key: string(text)}
	if err := newStore(dir).save(t.Context(), pairsDir, "data", r); err != nil {
		t.Fatal(err)
	}
	return Request{Domains: []string{siteHost}, Issuers: []Issuer{{Directory: r.Directory}}}
}

// TestHandedOverUntilTaken gives what lies on disk to who wants it, with the
// authority out of reach, and again until it is taken.
func TestHandedOverUntilTaken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	req := given(t, dir, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	req.Name = "data"
	var calls atomic.Int32
	m := New(Options{Dir: dir, Every: 20 * time.Millisecond, Issued: func(context.Context, Pair) error {
		if calls.Add(1) < 3 {
			return errors.New("the disk is full")
		}
		return nil
	}})
	if err := m.Ensure(req); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	eventually(t, 30*time.Second, "the pair is taken", func() bool {
		s := m.Status()[0]
		return calls.Load() == 3 && s.Phase == Valid && s.Problem == ""
	})
	cancel()
	if err := <-done; err != nil || calls.Load() != 3 {
		t.Errorf("%v; handed over %d times, want 3", err, calls.Load())
	}
}

// TestNothingIsOrderedThatCannotBeRemembered leaves the authority alone while
// nothing can be written.
func TestNothingIsOrderedThatCannotBeRemembered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	dir := t.TempDir()
	write(t, dir, statesDir, nil) // a file where a directory has to be
	k := keep(t, s, Options{Dir: dir})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	eventually(t, 10*time.Second, "the problem is in the status", func() bool { return strings.Contains(k.one().Problem, statesDir) })
	if n := ca.log.count("order-plz"); n != 0 {
		t.Errorf("%d orders", n)
	}
	if n := k.log.count("certificate cannot be kept"); n != 1 {
		t.Errorf("reported %d times, want once", n)
	}
	if err := os.Remove(filepath.Join(dir, statesDir)); err != nil {
		t.Fatal(err)
	}
	k.await(1)
}

// TestWhatCannotBeWrittenIsHandedOver makes no second order for a pair that the
// disk had no room for.
func TestWhatCannotBeWrittenIsHandedOver(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	dir, disk := t.TempDir(), filepath.Join(t.TempDir(), "not-there-yet")
	if err := os.Symlink(disk, filepath.Join(dir, pairsDir)); err != nil {
		t.Fatal(err)
	}
	k := keep(t, s, Options{Dir: dir})
	k.ensure(Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}})
	k.await(1)
	eventually(t, 10*time.Second, "the problem is in the status", func() bool { return strings.Contains(k.one().Problem, pairsDir) && k.one().Phase == Valid })
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the pair is written", func() bool { return k.one().Problem == "" })
	if _, err := newStore(dir).pair("data"); err != nil {
		t.Error(err)
	}
	if n := ca.log.count("Added order"); n != 1 || len(k.handed()) != 1 {
		t.Errorf("%d orders, %d pairs handed over, want one of each", n, len(k.handed()))
	}
}

// TestClockThatWentBack decides nothing.
func TestClockThatWentBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	req := given(t, dir, time.Now().Add(24*time.Hour), time.Now().Add(25*time.Hour))
	k := keep(t, nil, Options{Dir: dir})
	k.ensure(req)
	eventually(t, 10*time.Second, "the clock is suspect", func() bool { return k.one().Phase == Suspect })
	if n := k.one().Orders; n != 0 {
		t.Errorf("%d orders", n)
	}
}
