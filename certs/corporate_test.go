package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/reconciler"
)

// load are clients that connect all the time, and one that stays.
type load struct {
	t      testing.TB
	addr   string
	done   atomic.Int64
	failed atomic.Int64
	leaf   atomic.Pointer[x509.Certificate] // that was shown last
	stop   func()
}

// newLoad serves TLS with what the Manager of the moment has, and connects to it.
func newLoad(t testing.TB, m func() *certs.Manager, clients int) *load {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		// Each handshake is a whole one, and shows the certificate.
		SessionTicketsDisabled: true,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			c, _, err := m().Certificate(inst, name, domain)
			return c, err
		}})
	must(t, err)
	l := &load{t: t, addr: listener.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	var servers, all sync.WaitGroup
	servers.Go(func() { echo(listener, &servers) })
	for range clients {
		all.Go(func() {
			tick := time.NewTicker(time.Millisecond) // the rest of the machine is for the swaps
			defer tick.Stop()
			for ctx.Err() == nil {
				l.connect()
				<-tick.C
			}
		})
	}
	all.Go(func() { l.stay(ctx) })
	l.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		_ = listener.Close() // which ends echo
		servers.Wait()
	})
	t.Cleanup(l.stop)
	return l
}

func echo(l net.Listener, servers *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		servers.Go(func() {
			defer c.Close()
			_, _ = io.Copy(c, c)
		})
	}
}

// connect makes a connection and uses it.
func (l *load) connect() {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Minute}, "tcp", l.addr, &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err == nil {
		l.leaf.Store(c.ConnectionState().PeerCertificates[0])
		err = ping(c)
		_ = c.Close()
	}
	l.count(err)
}

func (l *load) count(err error) {
	l.done.Add(1)
	if err != nil {
		l.failed.Add(1)
		l.t.Errorf("connection: %v", err)
	}
}

func ping(c *tls.Conn) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 5))
	return err
}

// stay uses one connection until the end: swaps break none.
func (l *load) stay(ctx context.Context) {
	c, err := tls.Dial("tcp", l.addr, &tls.Config{ServerName: domain, InsecureSkipVerify: true})
	if err != nil {
		l.count(err)
		return
	}
	defer c.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			l.count(ping(c))
		}
	}
}

// shows waits until new connections are shown a certificate.
func (l *load) shows(want *x509.Certificate) {
	l.t.Helper()
	eventually(l.t, "the certificate is shown", func() bool { c := l.leaf.Load(); return c != nil && c.Equal(want) })
}

// A tiny corporate CA from the first day on, under load: no connection is
// dropped, whatever the CA puts on its web server.
func TestCorporateCA(t *testing.T) {
	t.Parallel()
	web := newSite(t)
	h := newHost(t, web.with, func(h *host) { h.opts.Every = 20 * time.Millisecond })
	ca := newAuthority(t, h.now())
	spec := web.at(ca)
	spec.Every, spec.Key = 50*time.Millisecond, "rsa2048"
	h.want(spec)
	h.run()
	eventually(t, "a stand-in is served", func() bool { return h.status().SelfSigned })
	l := newLoad(t, func() *certs.Manager { return h.Manager }, 3)
	csr := read(t, h.status().CSR)
	key, err := pair.CSRKey(csr)
	must(t, err)
	answer := func() *x509.Certificate {
		return ca.answer(csr, h.now().Add(-time.Second), h.now().Add(90*day))
	}
	first := answer()
	web.put("/chain.pem", pemOf(first, ca.ca))
	l.shows(first)
	live := answer() // the CA rotates
	web.put("/chain.pem", pemOf(live, ca.ca))
	l.shows(live)
	good := pemOf(live, ca.ca)
	for _, bad := range []struct {
		code  string
		bytes []byte
	}{
		{"KeyMismatch", pemOf(ca.issue(newKey(t).Public(), h.now(), h.now().Add(day), domain), ca.ca)},
		{"NamesMissing", pemOf(ca.issue(key, h.now(), h.now().Add(99*day), "www.acme.com"), ca.ca)},
		{"BadChain", good[:len(good)-80]},
		{"Expired", pemOf(ca.issue(key, h.now().Add(-day), h.now().Add(-time.Hour), domain), ca.ca)},
		{"BadChain", []byte("<html>Sign in</html>")},
		{"OlderThanLive", pemOf(ca.issue(key, h.now().Add(-day), h.now().Add(99*day), domain), ca.ca)},
		{"KeyInChain", append(pemOf(live, ca.ca), keyPEM(t, newKey(t))...)},
	} {
		web.put("/chain.pem", bad.bytes)
		eventually(t, bad.code+" shows", func() bool {
			s := h.status()
			return s.Phase == reconciler.CertificateDegraded && s.Reason == bad.code
		})
		h.serves(live)
	}
	if n := len(h.told(certs.ReasonRefused)) + len(h.told(certs.ReasonKeyLeaked)); n != 7 {
		t.Errorf("reported %d refusals, want 7: %q", n, h.told(certs.ReasonRefused))
	}
	// It is served within one interval after each of these, in any order.
	web.put("/chain.pem", pemOf(ca.root, ca.ca, answerInto(&live, answer)))
	l.shows(live)
	web.on("/chain.pem", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	eventually(t, "the redirect is reported", func() bool { return len(h.told(certs.ReasonFetchFailed)) == 1 })
	soon := ca.issue(key, h.now().Add(3*time.Second), h.now().Add(99*day), domain)
	web.put("/chain.pem", pemOf(soon, ca.ca))
	h.serves(live)
	must(t, ignoreStaged(h.Renew(t.Context(), inst, name, false)))
	l.shows(soon)
	l.stop()
	if l.failed.Load() > 0 || l.done.Load() < 100 {
		t.Errorf("%d of %d connections failed", l.failed.Load(), l.done.Load())
	}
	if pair.SPKI(l.leaf.Load().PublicKey) != pair.SPKI(key) {
		t.Error("the key is another one in the end")
	}
	t.Logf("%d connections and pings", l.done.Load())
}

func answerInto(into **x509.Certificate, answer func() *x509.Certificate) *x509.Certificate {
	*into = answer()
	return *into
}

// ignoreStaged lets pass that a certificate is there for later.
func ignoreStaged(err error) error {
	if err != nil && strings.Contains(err.Error(), "not valid yet") {
		return nil
	}
	return err
}

// A thousand certificates one after the other under load: none of the
// connections fails, and nothing is left over.
func TestThousandSwaps(t *testing.T) { // alone: it counts what the process holds
	h, ca := furnished(t)
	key := h.leaf().PublicKey
	l := newLoad(t, func() *certs.Manager { return h.Manager }, 2)
	swap := func(n int) {
		for range n {
			next := ca.issue(key, h.now().Add(-time.Second), h.now().Add(90*day), domain)
			h.put("CHAIN", pemOf(next, ca.ca))
			must(t, h.Renew(t.Context(), inst, name, true))
			h.serves(next)
		}
	}
	swap(100)
	goroutines, bytes, files := used(t)
	swap(900)
	after, bytesAfter, filesAfter := used(t)
	l.stop()
	if l.failed.Load() > 0 || l.done.Load() < 200 {
		t.Errorf("%d of %d connections failed", l.failed.Load(), l.done.Load())
	}
	if after > goroutines+20 || filesAfter > files+20 || bytesAfter > bytes+8<<20 {
		t.Errorf("goroutines %d, then %d; files %d, then %d; bytes %d, then %d", goroutines, after, files, filesAfter, bytes, bytesAfter)
	}
	if s := h.status(); s.Generation != 1002 || len(s.Kept) != 3 {
		t.Errorf("generation %d, kept %v", s.Generation, s.Kept)
	}
	t.Logf("%d connections and pings; heap %+d kB", l.done.Load(), (int64(bytesAfter)-int64(bytes))/1024)
}

// used is what the process holds.
func used(t testing.TB) (goroutines int, heap uint64, files int) {
	t.Helper()
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return runtime.NumGoroutine(), m.HeapAlloc, len(list)
}
