package acme

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
)

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
	eventually(t, "the pair that was deleted is back", func() bool { _, err := os.Stat(pair); return err == nil })
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
		"a lock that is no lock": func() error {
			return errors.Join(os.WriteFile(filepath.Join(dir, "locks", "order-data.lock"), []byte("\x00"), 0o600), os.Remove(pair))
		},
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

// TestRepair removes what writes left half-done, and nothing else.
func TestRepair(t *testing.T) {
	dir := t.TempDir()
	given(t, dir, time.Now(), time.Now().Add(time.Hour))
	long := time.Now().Add(-time.Minute)
	for name, old := range map[string]bool{
		"pairs/data.json.tmp123": true, "pairs/data.json.tmp456": false, "states/data.json.damaged": true,
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
	if err != nil || len(did) != 1 {
		t.Errorf("%v: %q, want one repair", err, did)
	}
	for name, stays := range map[string]bool{
		"pairs/data.json": true, "pairs/data.json.tmp123": false, "pairs/data.json.tmp456": true, "states/data.json.damaged": true,
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
	r := record{Directory: "https://" + ports.Address(t) + "/dir", Issued: from, Chain: string(pemOf(cert)), Key: string(text)}
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
	eventually(t, "the pair is taken", func() bool {
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
	eventually(t, "the problem is in the status", func() bool { return strings.Contains(k.one().Problem, statesDir) })
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
	eventually(t, "the problem is in the status", func() bool { return strings.Contains(k.one().Problem, pairsDir) && k.one().Phase == Valid })
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the pair is written", func() bool { return k.one().Problem == "" })
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
	eventually(t, "the clock is suspect", func() bool { return k.one().Phase == Suspect })
	if n := k.one().Orders; n != 0 {
		t.Errorf("%d orders", n)
	}
}

// TestChangesAreOrdered orders anew when what there is is no longer what is
// wanted, and only then.
func TestChangesAreOrdered(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	conf := s.conf()
	conf.Profiles = map[string]int{"default": 90 * 24 * 3600, "brief": 6 * 24 * 3600}
	ca, other := newAuthority(t, conf), newAuthority(t, conf)
	k := keep(t, s, Options{})
	req := Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}}
	k.ensure(req)
	k.await(1)
	for i, c := range []struct {
		why    string
		change func()
		is     func(Pair, *x509.Certificate) bool
	}{
		{"names changed", func() { req.Domains = []string{siteHost, "www.example.test"} },
			func(_ Pair, c *x509.Certificate) bool { return c.VerifyHostname("www.example.test") == nil }},
		{"key changed", func() { req.Key = RSA2048 },
			func(_ Pair, c *x509.Certificate) bool { return typeOf(c.PublicKey) == RSA2048 }},
		{"profile changed", func() { req.Issuers = []Issuer{ca.issuer()}; req.Issuers[0].Profile = "brief" },
			func(p Pair, c *x509.Certificate) bool { return p.Profile == "brief" && life(c) < 7*24*time.Hour }},
		{"is no longer wanted", func() { req.Issuers = []Issuer{other.issuer()} },
			func(p Pair, _ *x509.Certificate) bool { return p.Issuer == other.url }},
	} {
		c.change()
		k.ensure(req)
		k.ensure(req) // the same again is no change
		if p := k.await(i + 2); !c.is(p, leaf(t, p).leaf) {
			t.Errorf("%s: not what was asked for: %+v", c.why, leaf(t, p).leaf.Subject)
		}
		if n := k.log.count(c.why); n == 0 {
			t.Errorf("the log does not say that %s", c.why)
		}
	}
	eventually(t, "nothing is due any more", func() bool { return k.one().Phase == Valid })
	if n := k.log.count("acme: certificate issued"); n != 5 {
		t.Errorf("%d certificates were issued, want 5", n)
	}
}

// TestForgottenIsGivenUp ends an order whose certificate nobody wants any more,
// and hands nothing over; wanted again, it is obtained.
func TestForgottenIsGivenUp(t *testing.T) {
	t.Parallel()
	s, never := newSite(t), newSilence(t)
	conf := s.conf()
	conf.HTTPPort = never.port
	ca := newAuthority(t, conf)
	k := keep(t, s, Options{})
	req := Request{Domains: []string{siteHost}, Issuers: []Issuer{ca.issuer()}, Challenges: []string{HTTP01}}
	k.ensure(req)
	never.await(t)
	k.Forget("data")
	eventually(t, "the order is given up", func() bool {
		k.Manager.mu.Lock()
		defer k.Manager.mu.Unlock()
		return len(k.busy) == 0
	})
	if len(k.Status()) != 0 || len(k.handed()) != 0 {
		t.Errorf("status %v, %d handed over", k.Status(), len(k.handed()))
	}
	req.Challenges = []string{TLSALPN01}
	k.ensure(req)
	k.await(1)
}

// TestForgottenIsNotHandedOver gives nobody what its worker has read or obtained
// just before nobody wanted it any more.
func TestForgottenIsNotHandedOver(t *testing.T) {
	dir := t.TempDir()
	req := given(t, dir, time.Now().Add(-time.Hour), time.Now().Add(90*24*time.Hour))
	req.Name = "data"
	var calls atomic.Int32
	m := New(Options{Dir: dir, Issued: func(context.Context, Pair) error { calls.Add(1); return nil }})
	for i := range 2 {
		if err := m.Ensure(req); err != nil {
			t.Fatal(err)
		}
		j := &job{Manager: m, entry: m.entries["data"], req: m.entries["data"].req, now: wall()}
		if err := j.read(t.Context()); err != nil || j.rec == nil {
			t.Fatalf("%v: read %v", err, j.rec)
		}
		if i == 0 {
			m.Forget("data")
		}
		j.hand(t.Context())
	}
	if calls.Load() != 1 {
		t.Errorf("handed over %d times, want once: when it was wanted again", calls.Load())
	}
}

// TestLocks lets one in at a time, whoever else waits, and ends a wait with its
// context.
func TestLocks(t *testing.T) {
	dir := t.TempDir()
	var inside, most, done atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := newStore(dir).locked(t.Context(), "what", func() error {
				most.Store(max(most.Load(), inside.Add(1)))
				runtime.Gosched()
				inside.Add(-1)
				done.Add(1)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if most.Load() != 1 || done.Load() != 8 {
		t.Errorf("%d of 8 were let in, up to %d at once", done.Load(), most.Load())
	}
	err := newStore(dir).locked(t.Context(), "what", func() error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := newStore(dir).locked(ctx, "what", func() error { return errors.New("let in") }); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want that the wait was cancelled", err)
		}
		return newStore(dir).locked(t.Context(), "else", func() error { return nil })
	})
	if err != nil {
		t.Error(err)
	}
}
