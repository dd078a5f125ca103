package deliver_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
)

// wire connects to servers in memory, so that time can be that of synctest.
type wire struct {
	mu     sync.Mutex
	serves map[string]*pair.Pair // by address; nil: it accepts and says nothing
	dials  atomic.Int64
	done   sync.WaitGroup
}

func (w *wire) set(address string, p *pair.Pair) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.serves == nil {
		w.serves = map[string]*pair.Pair{}
	}
	w.serves[address] = p
}

func (w *wire) dial(_ context.Context, _, address string) (net.Conn, error) {
	w.dials.Add(1)
	w.mu.Lock()
	p, there := w.serves[address]
	w.mu.Unlock()
	if !there {
		return nil, errors.New("connection refused")
	}
	ours, theirs := net.Pipe()
	w.done.Go(func() {
		defer func() { _ = theirs.Close() }()
		if p != nil {
			_ = tls.Server(theirs, &tls.Config{Certificates: []tls.Certificate{*p.TLS()}}).Handshake() // the client tells
		}
		_, _ = io.Copy(io.Discard, theirs) // until the other side goes
	})
	return ours, nil
}

const (
	oneAddress = "172.17.0.2:443"
	longTicks  = 10 * time.Second // how often a manager comes by
)

func TestRetriesTakeLongerAndLonger(t *testing.T) {
	old, live := fresh(t), fresh(t)
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.set(oneAddress, &old)
		start := time.Now()
		var told []time.Duration
		c := &containers{addrs: []netip.Addr{netip.MustParseAddr("172.17.0.2")}}
		c.signal = func(string) (int, error) { told = append(told, time.Since(start)); return 1, nil }
		d := deliver.New(deliver.Options{Servers: c, Dial: w.dial})
		want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1"})
		for time.Since(start) < time.Hour {
			began := time.Now()
			fails(t, one(t, d, want, live), "serves")
			if took := time.Since(began); took > 10*time.Second+time.Millisecond {
				t.Fatalf("a call took %s", took)
			}
			time.Sleep(longTicks)
		}
		var pauses []time.Duration
		for i := 2; i < len(told); i += 2 { // each time it is sent twice
			pauses = append(pauses, (told[i] - told[i-2]).Round(time.Minute))
		}
		m := time.Minute
		if !slices.Equal(pauses, []time.Duration{m, 2 * m, 5 * m, 15 * m, 15 * m, 15 * m}) {
			t.Errorf("told after %v", pauses)
		}
		if n := w.dials.Load(); n > 500 {
			t.Errorf("%d handshakes in an hour", n)
		}
		// It restarts by itself, and is seen within half a minute, without a word.
		n := len(told)
		w.set(oneAddress, &live)
		time.Sleep(30 * time.Second)
		proved(t, one(t, d, want, live))
		if len(told) != n {
			t.Errorf("told %d times more", len(told)-n)
		}
		w.done.Wait()
	})
}

func TestProvedAgainEveryTenMinutes(t *testing.T) {
	old, live := fresh(t), fresh(t)
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.set(oneAddress, &live)
		c := &containers{addrs: []netip.Addr{netip.MustParseAddr("172.17.0.2")}}
		c.signal = func(string) (int, error) { w.set(oneAddress, &live); return 1, nil }
		d := deliver.New(deliver.Options{Servers: c, Dial: w.dial})
		want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1"})
		start := time.Now()
		for time.Since(start) < 59*time.Minute {
			proved(t, one(t, d, want, live))
			time.Sleep(longTicks)
		}
		if n := w.dials.Load(); n != 6 || len(c.told()) > 0 {
			t.Errorf("%d handshakes in an hour, told %v", n, c.told())
		}
		// It has an old pair again, from a backup for one: it is told.
		w.set(oneAddress, &old)
		for len(c.told()) == 0 && time.Since(start) < 80*time.Minute {
			proved(t, one(t, d, want, live))
			time.Sleep(longTicks)
		}
		if len(c.told()) != 1 {
			t.Errorf("told %v", c.told())
		}
		w.done.Wait()
	})
}

// A server that accepts and says nothing takes no more than its time.
func TestSilentServer(t *testing.T) {
	live := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		for _, a := range []string{"172.17.0.2:443", "172.17.0.3:443", "172.17.0.4:443", "172.17.0.5:443", "172.17.0.6:443"} {
			w.set(a, nil)
		}
		c := &containers{}
		for i := byte(2); i <= 6; i++ {
			c.addrs = append(c.addrs, netip.AddrFrom4([4]byte{172, 17, 0, i}))
		}
		d := deliver.New(deliver.Options{Servers: c, Dial: w.dial})
		for within, most := range map[time.Duration]time.Duration{0: 15*time.Second + time.Millisecond, time.Hour: 35*time.Second + time.Millisecond} {
			began := time.Now()
			fails(t, one(t, d, spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Within: within}), live), "does not answer in time", "and 2 more")
			if took := time.Since(began); took > most {
				t.Errorf("within %s took %s", within, took)
			}
		}
		w.done.Wait()
	})
}

// What is remembered of servers that are wanted no more does not pile up, and
// several certificates and instances do not mix.
func TestServersAreKeptApart(t *testing.T) {
	live := fresh(t)
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		w.set(oneAddress, &live)
		c := &containers{addrs: []netip.Addr{netip.MustParseAddr("172.17.0.2")}}
		d := deliver.New(deliver.Options{Servers: c, Dial: w.dial})
		want := spec(desired.Reloader{Service: "caddy", Signal: "SIGUSR1"})
		for _, instance := range []string{"one", "two"} {
			for _, o := range d.Deliver(t.Context(), instance, want, live) {
				proved(t, o)
			}
		}
		if n := w.dials.Load(); n != 2 {
			t.Errorf("%d handshakes", n)
		}
		want.Domains = []string{"other.acme.com"}
		_ = d.Deliver(t.Context(), "one", want, live)
		if n := w.dials.Load(); n != 3 || d.Remembered() != 3 {
			t.Errorf("%d handshakes, %d servers", n, d.Remembered())
		}
		time.Sleep(2 * time.Hour)
		_ = d.Deliver(t.Context(), "one", want, live)
		if d.Remembered() != 1 {
			t.Errorf("%d servers are remembered", d.Remembered())
		}
		w.done.Wait()
	})
}
