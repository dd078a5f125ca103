package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// limit bounds everything that a test waits for.
const limit = 60 * time.Second

// harness is a Front that runs on loopback.
type harness struct {
	t            *testing.T
	front        *Front
	https, plain string // addresses
	cancel       context.CancelFunc
	ended        chan error
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pairs are certificates that no authority has signed, made when they are asked
// for.
type pairs struct {
	t    testing.TB
	live atomic.Bool
	made sync.Map // by host
}

func (p *pairs) Certificate(instance, name, host string) (Certificate, error) {
	c, known := p.made.Load(host)
	if !known {
		c, _ = p.made.LoadOrStore(host, makePair(p.t, host))
	}
	return Certificate{c.(*tls.Certificate), p.live.Load()}, nil
}

func makePair(t testing.TB, host string) *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Error(err)
		return nil
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Error(err)
		return nil
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func start(t *testing.T, opts Options) *harness {
	t.Helper()
	if opts.Certificates == nil {
		opts.Certificates = &pairs{t: t}
	}
	ctx, cancel := context.WithCancel(context.Background())
	https, plain := listen(t), listen(t)
	h := &harness{t: t, front: New(opts), https: https.Addr().String(), plain: plain.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	go func() { h.ended <- h.front.Run(ctx, https, plain) }()
	t.Cleanup(h.stop)
	return h
}

func (h *harness) stop() {
	h.cancel()
	if h.ended == nil {
		return
	}
	select {
	case err := <-h.ended:
		h.ended = nil
		if err != nil {
			h.t.Errorf("Run: %v", err)
		}
	case <-time.After(limit):
		h.t.Error("Run does not end")
	}
}

// backend is a container: an HTTP server on loopback.
type backend struct {
	*http.Server
	id      string
	address netip.AddrPort
}

func newBackend(t testing.TB, id string, handler http.HandlerFunc) *backend {
	t.Helper()
	return serveBackend(t, id, listen(t), handler)
}

func serveBackend(t testing.TB, id string, l net.Listener, handler http.HandlerFunc) *backend {
	b := &backend{Server: &http.Server{Handler: handler}, id: id, address: netip.MustParseAddrPort(l.Addr().String())}
	go func() { _ = b.Serve(l) }()
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func hello(id string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, id) }
}

func endpoints(bs ...*backend) (list []reconciler.Endpoint) {
	for _, b := range bs {
		list = append(list, reconciler.Endpoint{Container: b.id, Address: b.address})
	}
	return list
}

// routeTo is a route of host app.test.
func routeTo(bs ...*backend) reconciler.Route {
	return reconciler.Route{
		FrontRoute: desired.FrontRoute{Host: "app.test", Service: "app", Port: 8000, Drain: limit, Hold: limit},
		Endpoints:  endpoints(bs...),
	}
}

func (h *harness) set(routes ...reconciler.Route) { h.front.Set("acme", routes) }

// client is a browser's way in: every host leads to the front, whose
// certificates it trusts whatever they are.
func (h *harness) client(http2 bool) *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := h.https
			if strings.HasSuffix(addr, ":80") {
				to = h.plain
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
		TLSClientConfig:     &tls.Config{InsecureSkipVerify: true, RootCAs: x509.NewCertPool()}, //nolint:gosec // test
		ForceAttemptHTTP2:   http2,
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true,
	}
	h.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(c *http.Client, url string) (int, string, error) {
	res, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), err
}

func mustGet(t testing.TB, c *http.Client, url string, status int, body string) {
	t.Helper()
	s, b, err := get(c, url)
	if err != nil || s != status || (body != "" && b != body) {
		t.Fatalf("GET %s: %d %q, %v; want %d %q", url, s, b, err, status, body)
	}
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		<-tick.C
	}
}

func (h *harness) held() int {
	h.front.mu.Lock()
	defer h.front.mu.Unlock()
	return h.front.held
}

func background(fn func() error) chan error {
	c := make(chan error, 1)
	go func() { c <- fn() }()
	return c
}

func await(t testing.TB, what string, c chan error) {
	t.Helper()
	select {
	case err := <-c:
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	case <-time.After(limit):
		t.Fatalf("%s: takes too long", what)
	}
}

func want(status int, body string, s int, b string, err error) error {
	if err != nil || s != status || b != body {
		return fmt.Errorf("got %d %q, %v; want %d %q", s, b, err, status, body)
	}
	return nil
}

func listenAt(t testing.TB, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
