package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
)

// A server that is told and reads the pair is proved, told once, and then let
// be.
func TestToldOnceAndProved(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	c.signal = func(string) (int, error) { s.serve(live); return 1, nil }
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port()})
	o := one(t, d, want, live)
	proved(t, o)
	if !o.Changed || o.Target.Name != "caddy SIGHUP" || o.Target.Message != "" || !slices.Equal(c.told(), []string{"acme/caddy SIGHUP"}) {
		t.Errorf("outcome %+v, told %v", o, c.told())
	}
	before := s.shakes.Load()
	for range 20 {
		if again := one(t, d, want, live); again.Changed || !again.Target.OK || again.Target.At != o.Target.At {
			t.Fatalf("again: %+v", again)
		}
	}
	if s.shakes.Load() != before || len(c.told()) != 1 {
		t.Errorf("nothing changed, and it was asked %d times and told %v", s.shakes.Load()-before, c.told())
	}
	if !slices.Equal(s.asked(), []string{domain}) {
		t.Errorf("asked for %v", s.asked())
	}
}

// After a restart of the daemon nothing is known: who serves the pair already
// is not told to reload.
func TestAfterARestartItIsProvedFirst(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", live)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	o := one(t, deliver.New(deliver.Options{Servers: c}), spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port()}), live)
	proved(t, o)
	if o.Changed || len(c.told()) > 0 {
		t.Errorf("it was told: %v", c.told())
	}
}

// A reload that did nothing is never taken for a success, and the message says
// what is served instead.
func TestIgnoredSignalIsReported(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Prove: s.port(), Within: 300 * time.Millisecond})
	o := one(t, d, want, live)
	fails(t, o, "caddy", "want "+pair.Fingerprint(live.Leaf())[:23], s.Addr().String()+" serves "+pair.Fingerprint(old.Leaf())[:23],
		"CN=Acme Issuing", old.Leaf().NotAfter.UTC().Format("2006-01-02 15:04:05Z"), "SIGUSR1", "300ms", "2.11", "mount the directory")
	if !o.Changed || len(c.told()) != 2 { // a signal can be lost
		t.Errorf("changed %t, told %v", o.Changed, c.told())
	}
	shakes := s.shakes.Load()
	for range 20 { // and is let be for a while
		if again := one(t, d, want, live); again.Target.OK || again.Changed {
			t.Fatalf("again: %+v", again)
		}
	}
	if len(c.told()) != 2 || s.shakes.Load() != shakes {
		t.Errorf("told %v, asked %d times more", c.told(), s.shakes.Load()-shakes)
	}
	// A newer pair is a reason to try at once.
	newer := fresh(t)
	c.signal = func(string) (int, error) { s.serve(newer); return 1, nil }
	want.Reload[0].Within = 30 * time.Second
	proved(t, one(t, d, want, newer))
}

func TestEveryAddressMustServeIt(t *testing.T) {
	old, live := fresh(t), fresh(t)
	first := newServer(t, "127.0.0.2:"+ports.Test(t), live)
	second := newServer(t, "127.0.0.3"+first.port(), old)
	c := &containers{addrs: []netip.Addr{second.addr(), first.addr(), first.addr()}}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "web", Signal: "SIGHUP", Prove: first.port(), Within: 200 * time.Millisecond})
	o := one(t, d, want, live)
	fails(t, o, second.Addr().String()+" serves")
	// The container that had the old one is gone: seen at once.
	c.run(first.addr())
	proved(t, one(t, d, want, live))
	// Another one came, with the new pair, by itself.
	told := len(c.told())
	second.serve(live)
	c.run(first.addr(), second.addr())
	before := second.shakes.Load()
	o = one(t, d, want, live)
	proved(t, o)
	if second.shakes.Load() == before || len(c.told()) != told || o.Changed {
		t.Errorf("the new address was not asked, or told: %v", c.told())
	}
}

func TestNoContainerRuns(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", live)
	c := &containers{}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Prove: s.port()})
	o := one(t, d, want, live)
	fails(t, o, "no container of it is running")
	if len(c.told()) > 0 || o.Changed {
		t.Errorf("told %v", c.told())
	}
	c.run(s.addr())
	proved(t, one(t, d, want, live))
	// It goes between the look and the signal.
	newer := fresh(t)
	c.signal = func(string) (int, error) { return 0, nil }
	fails(t, one(t, d, want, newer), "no container of it is running any more")
}

// What could not be observed is not taken for a change.
func TestEngineDoesNotAnswer(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", live)
	c := &containers{err: errors.New("engine away")}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Prove: s.port()})
	fails(t, one(t, d, want, live), "engine away", "caddy")
	c.err = nil
	c.run(s.addr())
	proved(t, one(t, d, want, live))
	c.err = errors.New("engine away")
	proved(t, one(t, d, want, live))
	fails(t, one(t, d, want, fresh(t)), "engine away")
	fails(t, one(t, deliver.New(deliver.Options{}), want, live), "no engine")
}

// The first signal is lost, as when a server is just starting: there is another.
func TestLostSignal(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", fresh(t))
	c := &containers{addrs: []netip.Addr{s.addr()}}
	c.signal = func(string) (int, error) {
		if len(c.signals) > 1 {
			s.serve(live)
		}
		return 1, nil
	}
	proved(t, one(t, deliver.New(deliver.Options{Servers: c}), spec(desired.Reloader{Service: "lb", Signal: "SIGUSR2", Prove: s.port(), Within: 8 * time.Second}), live))
	if len(c.told()) != 2 {
		t.Errorf("told %v", c.told())
	}
}

// A signal that cannot be sent ends the waiting: it will do nothing.
func TestSignalThatFails(t *testing.T) {
	s := newServer(t, "127.0.0.1:0", fresh(t))
	c := &containers{addrs: []netip.Addr{s.addr()}, signal: func(string) (int, error) { return 0, errors.New("no such signal") }}
	began := time.Now()
	o := one(t, deliver.New(deliver.Options{Servers: c}), spec(desired.Reloader{Service: "caddy", Signal: "SIGX", Prove: s.port(), Within: 30 * time.Second}), fresh(t))
	fails(t, o, "no such signal", "serves")
	if o.Changed || time.Since(began) > 10*time.Second {
		t.Errorf("changed %t after %s", o.Changed, time.Since(began))
	}
}

// A wildcard is asked for by a name that it stands for.
func TestWildcard(t *testing.T) {
	live := newAuthority(t).pair(t, newKey(t, pair.P256), "*.acme.com")
	s := newServer(t, "127.0.0.1:0", live)
	want := spec(desired.Reloader{Prove: s.Addr().String()})
	want.Domains = []string{"*.acme.com"}
	o := one(t, deliver.New(deliver.Options{}), want, live)
	proved(t, o)
	if names := s.asked(); len(names) != 1 || !pair.Covers(live.Leaf(), names[0]) || o.Target.Name != s.Addr().String() {
		t.Errorf("asked for %v as %s", names, o.Target.Name)
	}
}

// A server with an RSA and an ECDSA certificate shows a client of today the
// latter. It is asked for the one that the pair is.
func TestServerWithTwoKindsOfCertificates(t *testing.T) {
	ca := newAuthority(t)
	rsa, ec := ca.pair(t, newKey(t, pair.RSA2048), domain), ca.pair(t, newKey(t, pair.P256), domain)
	s := newServer(t, "127.0.0.1:0", ec, rsa)
	want := spec(desired.Reloader{Prove: s.Addr().String(), Within: 200 * time.Millisecond})
	for _, live := range []pair.Pair{rsa, ec} {
		proved(t, one(t, deliver.New(deliver.Options{}), want, live))
	}
	s.serve(ec)
	fails(t, one(t, deliver.New(deliver.Options{}), want, rsa), "serves "+pair.Fingerprint(ec.Leaf())[:23])
}

// One that asks clients for certificates has shown its own by then.
func TestServerThatWantsClientCertificates(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		live := fresh(t)
		s := newServer(t, "127.0.0.1:0", live)
		conf := s.serves.Load().Clone()
		conf.ClientAuth, conf.MaxVersion = tls.RequireAnyClientCert, version
		s.serves.Store(conf)
		proved(t, one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: s.Addr().String()}), live))
	}
}

func TestOldTLSIsNoProof(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", live)
	conf := s.serves.Load().Clone()
	conf.MinVersion, conf.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	s.serves.Store(conf)
	fails(t, one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: s.Addr().String(), Within: 100 * time.Millisecond}), live), "protocol version")
}

// Of a name, nobody may listen at some addresses; all who do must serve it.
func TestProveAtAName(t *testing.T) {
	live := fresh(t)
	s := newServer(t, "127.0.0.1:0", live)
	proved(t, one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: "localhost" + s.port()}), live))
	for name, tc := range map[string]struct {
		r    desired.Reloader
		says string
	}{
		"metadata":      {desired.Reloader{Prove: "169.254.169.254:443"}, "no address of a server"},
		"mapped":        {desired.Reloader{Prove: "[::ffff:169.254.169.254]:443"}, "no address of a server"},
		"any address":   {desired.Reloader{Prove: "0.0.0.0:443"}, "no address of a server"},
		"no port":       {desired.Reloader{Prove: "127.0.0.1"}, "HOST:PORT"},
		"a named port":  {desired.Reloader{Prove: "127.0.0.1:https"}, "no port"},
		"port 0":        {desired.Reloader{Prove: "127.0.0.1:0"}, "no port"},
		"nothing named": {desired.Reloader{Prove: ":443"}, "HOST:PORT"},
	} {
		t.Run(name, func(t *testing.T) {
			fails(t, one(t, deliver.New(deliver.Options{}), spec(tc.r), live), tc.says)
		})
	}
}

func TestNobodyListens(t *testing.T) {
	s := newServer(t, ports.Address(t), fresh(t))
	s.stop()
	c := &containers{addrs: []netip.Addr{s.addr()}}
	o := one(t, deliver.New(deliver.Options{Servers: c}),
		spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 100 * time.Millisecond}), fresh(t))
	fails(t, o, s.Addr().String(), "nothing listens there", "mend prove")
}

// A container that was just started does not heed signals yet, and one could
// end it: it is waited for.
func TestStartingServerIsNotSignalled(t *testing.T) {
	live := fresh(t)
	s := newServer(t, ports.Address(t))
	address := s.Addr().String()
	s.stop()
	c := &containers{addrs: []netip.Addr{s.addr()}}
	up := make(chan *server, 1)
	timer := time.AfterFunc(300*time.Millisecond, func() { up <- newServer(t, address, live) })
	defer timer.Stop()
	o := one(t, deliver.New(deliver.Options{Servers: c}), spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 30 * time.Second}), live)
	<-up
	proved(t, o)
	if len(c.told()) > 0 {
		t.Errorf("told %v", c.told())
	}
}

// A server that watches its files needs a moment, and nobody to tell it.
func TestServerThatWatchesItsFiles(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	timer := time.AfterFunc(300*time.Millisecond, func() { s.serve(live) })
	defer timer.Stop()
	o := one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: s.Addr().String(), Within: 30 * time.Second}), live)
	proved(t, o)
	if o.Changed {
		t.Error("it was told")
	}
	stale := one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: s.Addr().String(), Within: 100 * time.Millisecond}), fresh(t))
	fails(t, stale, "does not watch its files")
}

func TestServesAnotherSite(t *testing.T) {
	other := newAuthority(t).pair(t, newKey(t, pair.P256), "other.example")
	s := newServer(t, "127.0.0.1:0", other)
	fails(t, one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: s.Addr().String(), Within: 100 * time.Millisecond}), fresh(t)),
		"not for "+domain)
}

// The same certificate under another chain: whoever was proved to have the
// certificate need not have read the chain.
func TestNewChainIsToldToo(t *testing.T) {
	ca := newAuthority(t)
	live := ca.pair(t, newKey(t, pair.P256), domain)
	renewed := ca.again(t).over(t, live.Leaf(), live.Key())
	s := newServer(t, "127.0.0.1:0", live)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 2 * time.Second})
	proved(t, one(t, d, want, live))
	o := one(t, d, want, renewed)
	proved(t, o)
	if len(c.told()) != 2 || o.Target.Message == "" {
		t.Errorf("told %v, message %q", c.told(), o.Target.Message)
	}
	c.signal = func(string) (int, error) { s.serve(live); return 1, nil }
	o = one(t, d, want, live)
	proved(t, o)
	if o.Target.Message != "" {
		t.Errorf("message %q", o.Target.Message)
	}
	// After a restart nothing says that it was not told.
	told := len(c.told())
	if o = one(t, deliver.New(deliver.Options{Servers: c}), want, renewed); !o.Target.OK || o.Changed || len(c.told()) != told {
		t.Errorf("outcome %+v, told %v", o, c.told())
	}
}

// The daemon ends while a server is waited for: nothing is remembered.
func TestEndOfTheDaemon(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	d := deliver.New(deliver.Options{Servers: c})
	want := spec(desired.Reloader{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 30 * time.Second})
	ctx, cancel := context.WithCancel(t.Context())
	c.signal = func(string) (int, error) { cancel(); return 1, nil }
	began := time.Now()
	if out := d.Deliver(ctx, "acme", want, live); out[0].Target.OK || time.Since(began) > 10*time.Second {
		t.Fatalf("%+v after %s", out, time.Since(began))
	}
	c.signal = func(string) (int, error) { s.serve(live); return 1, nil }
	proved(t, one(t, d, want, live))
}

func TestNothingToDeliver(t *testing.T) {
	if out := deliver.New(deliver.Options{}).Deliver(t.Context(), "acme", spec(desired.Reloader{Prove: "127.0.0.1:1"}), pair.Pair{}); out != nil {
		t.Errorf("outcomes %+v", out)
	}
}
