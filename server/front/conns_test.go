package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/sirupsen/logrus/hooks/test"
)

// from dials the front from an address of the loopback network.
func (h *harness) from(ip, to string) (net.Conn, error) {
	d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	return d.Dial("tcp", to)
}

// clientFrom is a browser with an address and a connection of its own.
func (h *harness) clientFrom(ip string) *http.Client {
	c := h.client(false)
	c.Transport.(*http.Transport).DialContext = func(context.Context, string, string) (net.Conn, error) { return h.from(ip, h.https) }
	c.Transport.(*http.Transport).DisableKeepAlives = true
	c.Timeout = limit
	return c
}

// hoard opens connections and says nothing on them. Those that are closed at
// once show as such.
type hoard struct {
	conns []net.Conn
	gone  sync.WaitGroup
}

func (h *harness) hoard(ip, to string, n int) *hoard {
	h.t.Helper()
	all := &hoard{}
	h.t.Cleanup(func() {
		for _, c := range all.conns {
			_ = c.Close()
		}
		all.gone.Wait()
	})
	for range n {
		c, err := h.from(ip, to)
		if err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				h.t.Fatal(err)
			}
			continue // it was closed before it was open for us
		}
		all.conns = append(all.conns, c)
	}
	return all
}

// TestIdleConnectionsOfOneClientHurtNobodyElse: ten thousand connections of one
// address, on which nothing is said, take up a thousand places, and others are
// served all the while.
func TestIdleConnectionsOfOneClientHurtNobodyElse(t *testing.T) {
	h := start(t, Options{ReadHeaderTimeout: time.Hour}) // none is closed for its silence
	b := newBackend(t, "one", hello("one"))
	h.set(routeTo(b))
	h.front.Ready()
	mustGet(t, h.clientFrom("127.0.0.9"), "https://app.test/", http.StatusOK, "one") // a stand-in is made once
	var longest time.Duration
	asked, stop := 0, make(chan struct{})
	others := background(func() error {
		c := h.clientFrom("127.0.0.3")
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			began := time.Now()
			if s, body, err := get(c, "https://app.test/"); err != nil || s != http.StatusOK || body != "one" {
				return want(http.StatusOK, "one", s, body, err)
			}
			asked, longest = asked+1, max(longest, time.Since(began))
		}
	})
	const many = 10_000
	h.hoard("127.0.0.2", h.https, many)
	eventually(t, "every one of them is kept or refused", func() bool {
		return h.front.total.overClient.Load() == many-2500
	})
	close(stop)
	await(t, "others", others)
	t.Logf("%d requests of others, the longest took %s", asked, longest)
	if asked == 0 || longest > limit {
		t.Errorf("%d requests of others, the longest took %s", asked, longest)
	}
	if open := h.front.total.open.Load(); open < 2500 || open > 2501 {
		t.Errorf("%d connections are open", open)
	}
	if h.front.total.overAll.Load() != 0 {
		t.Errorf("%d are beyond all that may be open", h.front.total.overAll.Load())
	}
	if _, _, err := get(h.clientFrom("127.0.0.2"), "https://app.test/"); err == nil {
		t.Error("the client with too many connections gets another one")
	}
	mustGet(t, h.clientFrom("127.0.0.9"), "https://app.test/", http.StatusOK, "one")
}

// TestPlaceIsFreeAgain: a connection that ends makes room for another one of its client.
func TestPlaceIsFreeAgain(t *testing.T) {
	log, hook := test.NewNullLogger()
	h := start(t, Options{MaxConnsPerClient: 4, Log: logrus.NewEntry(log)})
	h.set(routeTo(newBackend(t, "one", hello("one"))))
	h.front.Ready()
	held := h.hoard("127.0.0.2", h.https, 2)
	eventually(t, "both are open", func() bool { return h.front.total.open.Load() == 2 })
	for range 3 {
		if _, _, err := get(h.clientFrom("127.0.0.2"), "https://app.test/"); err == nil {
			t.Fatal("a third connection is served")
		}
	}
	if n := h.front.total.overClient.Load(); n < 3 {
		t.Errorf("%d refusals are counted", n)
	}
	if n := len(hook.AllEntries()); n != 1 || hook.LastEntry().Data["client"] != "127.0.0.2" {
		t.Errorf("%d lines are logged", n)
	}
	plain := h.hoard("127.0.0.2", h.plain, 2) // the other listener counts for itself
	eventually(t, "four are open", func() bool { return h.front.total.open.Load() == 4 })
	for _, c := range append(held.conns, plain.conns...) {
		_ = c.Close()
	}
	eventually(t, "none is open", func() bool { return h.front.total.open.Load() == 0 })
	mustGet(t, h.clientFrom("127.0.0.2"), "https://app.test/", http.StatusOK, "one")
}

// TestHeldRequestsAreNotSilent: a client may have as many connections as it may
// have in all once it has asked for something on them, and no more.
func TestHeldRequestsAreNotSilent(t *testing.T) {
	h := start(t, Options{MaxConnsPerClient: 20})
	h.set(routeTo())
	h.front.Ready()
	var all []chan error
	for i := range 20 {
		all = append(all, background(func() error {
			s, body, err := get(h.clientFrom("127.0.0.2"), "https://app.test/")
			return want(http.StatusOK, "one", s, body, err)
		}))
		eventually(t, "it is held", func() bool { return h.held() == i+1 })
	}
	if _, _, err := get(h.clientFrom("127.0.0.2"), "https://app.test/"); err == nil || h.front.total.overClient.Load() == 0 {
		t.Errorf("one more than it may have: %v", err)
	}
	h.set(routeTo(newBackend(t, "one", hello("one"))))
	for _, c := range all {
		await(t, "held request", c)
	}
	eventually(t, "none is open", func() bool { return h.front.total.open.Load() == 0 })
}

// TestAllPlacesTaken: beyond the limit of all, connections are closed at once,
// whoever they are from.
func TestAllPlacesTaken(t *testing.T) {
	h := start(t, Options{MaxConns: 4, MaxConnsPerClient: 2, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.8/32")}})
	h.set(routeTo(newBackend(t, "one", hello("one"))))
	h.front.Ready()
	held := h.hoard("127.0.0.8", h.https, 4) // speaks for many
	eventually(t, "four are open", func() bool { return h.front.total.open.Load() == 4 })
	for _, ip := range []string{"127.0.0.2", "127.0.0.8"} {
		if _, _, err := get(h.clientFrom(ip), "https://app.test/"); err == nil {
			t.Errorf("%s is served", ip)
		}
	}
	if over, client := h.front.total.overAll.Load(), h.front.total.overClient.Load(); over < 2 || client != 0 {
		t.Errorf("%d refused of all, %d of one client", over, client)
	}
	_ = held.conns[0].Close()
	eventually(t, "three are open", func() bool { return h.front.total.open.Load() == 3 })
	mustGet(t, h.clientFrom("127.0.0.2"), "https://app.test/", http.StatusOK, "one")
}

// TestSilentConnectionsEnd: who connects and says nothing, on either port, or
// after the handshake, is cut off after the time for headers.
func TestSilentConnectionsEnd(t *testing.T) {
	h := start(t, Options{ReadHeaderTimeout: 300 * time.Millisecond})
	h.set(routeTo(newBackend(t, "one", hello("one"))))
	h.front.Ready()
	silent := append(h.hoard("127.0.0.2", h.https, 1).conns, h.hoard("127.0.0.2", h.plain, 1).conns...)
	over := tls.Client(h.hoard("127.0.0.2", h.https, 1).conns[0], &tls.Config{InsecureSkipVerify: true, ServerName: "app.test", NextProtos: []string{"http/1.1"}}) //nolint:gosec // test
	if err := over.Handshake(); err == nil {                                                                                                                       // it may come too late on a busy machine
		silent = append(silent, over)
	}
	for _, c := range silent {
		_ = c.SetReadDeadline(time.Now().Add(limit))
		_, err := io.Copy(io.Discard, c)
		if errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Errorf("%s is open after %s", c.RemoteAddr(), limit)
		}
	}
	eventually(t, "none is open", func() bool { return h.front.total.open.Load() == 0 })
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestClientsAreToldApart(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1:80":               "192.0.2.1",
		"[::ffff:192.0.2.1]:80":      "192.0.2.1",
		"[2001:db8:1:2:3:4:5:6]:80":  "2001:db8:1:2::",
		"[2001:db8:1:2:ffff::9]:443": "2001:db8:1:2::",
		"[2001:db8:1:3::1]:80":       "2001:db8:1:3::",
		"[fe80::1%eth0]:80":          "fe80::",
	} {
		if got := clientOf(peerAddr(net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr)))); got.String() != want {
			t.Errorf("%s counts as %s, want %s", addr, got, want)
		}
	}
	if got := clientOf(peerAddr(&net.UnixAddr{Name: "x"})); got.IsValid() {
		t.Errorf("a unix socket counts as %s", got)
	}
}
