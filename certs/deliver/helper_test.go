package deliver_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
)

const domain = "data.acme.com"

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB, kind pair.Algorithm) crypto.Signer {
	t.Helper()
	key, err := pair.NewKey(kind)
	must(t, err)
	return key
}

// authority is a tiny CA: a root, and the intermediate that signs.
type authority struct {
	rootKey, key crypto.Signer
	root, ca     *x509.Certificate
}

var serials atomic.Int64

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{rootKey: newKey(t, pair.P256), key: newKey(t, pair.P256)}
	a.root = a.sign(t, "Acme Root", nil, a.rootKey.Public(), a.rootKey)
	a.ca = a.sign(t, "Acme Issuing", a.root, a.key.Public(), a.rootKey)
	return a
}

func (a *authority) sign(t testing.TB, name string, by *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if by == nil {
		by = c
	}
	return certify(t, c, by, pub, key)
}

func certify(t testing.TB, c, by *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
	must(t, err)
	made, err := x509.ParseCertificate(der)
	must(t, err)
	return made
}

// again signs the intermediate's key anew: the same leaves get another chain.
func (a *authority) again(t testing.TB) *authority {
	b := *a
	b.ca = b.sign(t, "Acme Issuing", b.root, b.key.Public(), b.rootKey)
	return &b
}

func (a *authority) pair(t testing.TB, key crypto.Signer, domains ...string) pair.Pair {
	t.Helper()
	leaf := certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), DNSNames: domains, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(100 * time.Hour),
	}, a.ca, key.Public(), a.key)
	return a.over(t, leaf, key)
}

func (a *authority) over(t testing.TB, leaf *x509.Certificate, key crypto.Signer) pair.Pair {
	t.Helper()
	p, err := pair.New([]*x509.Certificate{leaf, a.ca}, key)
	must(t, err)
	return p
}

// fresh is a pair for the domain that no other test has.
func fresh(t testing.TB) pair.Pair {
	t.Helper()
	return newAuthority(t).pair(t, newKey(t, pair.P256), domain)
}

// server is a TLS server that serves what it was given last.
type server struct {
	net.Listener
	serves atomic.Pointer[tls.Config]
	shakes atomic.Int64
	names  sync.Map // that it was asked for
	done   sync.WaitGroup
}

func newServer(t testing.TB, address string, p ...pair.Pair) *server {
	t.Helper()
	l, err := net.Listen("tcp", address)
	must(t, err)
	s := &server{Listener: l}
	s.serve(p...)
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.shake(c) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *server) stop() {
	_ = s.Close() // it may be closed already
	s.done.Wait()
}

func (s *server) shake(c net.Conn) {
	defer func() { _ = c.Close() }()
	s.shakes.Add(1)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second)) // else it fails below
	conf := s.serves.Load().Clone()
	conf.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		s.names.Store(hello.ServerName, true)
		return nil, nil
	}
	tc := tls.Server(c, conf)
	if err := tc.Handshake(); err == nil {
		_, _ = tc.Read(make([]byte, 1)) // until the other side goes
	}
}

func (s *server) asked() (names []string) {
	s.names.Range(func(k, _ any) bool { names = append(names, k.(string)); return true })
	return names
}

// serve makes it serve these, as the client's kinds of keys decide.
func (s *server) serve(list ...pair.Pair) {
	conf := &tls.Config{}
	for _, p := range list {
		conf.Certificates = append(conf.Certificates, *p.TLS())
	}
	s.serves.Store(conf)
}

func (s *server) addr() netip.Addr { return netip.MustParseAddrPort(s.Addr().String()).Addr() }

func (s *server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr().String())
	return ":" + port
}

// containers stand in for the engine: what is signalled and asked is real.
type containers struct {
	mu      sync.Mutex
	addrs   []netip.Addr
	err     error
	signal  func(signal string) (int, error)
	signals []string
}

func (c *containers) Signal(_ context.Context, instance, service, signal string) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signals = append(c.signals, instance+"/"+service+" "+signal)
	if c.signal == nil {
		return len(c.addrs), nil
	}
	return c.signal(signal)
}

func (c *containers) Addresses(context.Context, string, string) ([]netip.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.addrs), c.err
}

func (c *containers) run(addrs ...netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs = addrs
}

func (c *containers) told() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.signals)
}

func spec(r ...desired.Reloader) desired.CertificateSpec {
	return desired.CertificateSpec{Domains: []string{domain}, Reload: r}
}

// one delivers where there is one target.
func one(t testing.TB, d *deliver.Deliverer, s desired.CertificateSpec, p pair.Pair) deliver.Outcome {
	t.Helper()
	out := d.Deliver(t.Context(), "acme", s, p)
	if len(out) != 1 {
		t.Fatalf("outcomes %+v", out)
	}
	o := out[0]
	if o.Target.OK != (o.Err == nil) || (o.Err != nil && o.Target.Message != o.Err.Error()) || o.Target.At.IsZero() || o.Target.Name == "" {
		t.Errorf("the outcome does not agree with itself: %+v", o)
	}
	return o
}

// proved fails unless the target is OK.
func proved(t testing.TB, o deliver.Outcome) {
	t.Helper()
	if !o.Target.OK {
		t.Fatalf("%s: %v", o.Target.Name, o.Err)
	}
}

// fails fails unless the target is not OK and its message says all of it.
func fails(t testing.TB, o deliver.Outcome, says ...string) {
	t.Helper()
	if o.Target.OK {
		t.Fatalf("%s is OK: %s", o.Target.Name, o.Target.Message)
	}
	for _, s := range says {
		if !strings.Contains(o.Target.Message, s) {
			t.Errorf("%s says\n%s\nand not %q", o.Target.Name, o.Target.Message, s)
		}
	}
}
