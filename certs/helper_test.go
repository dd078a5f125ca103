package certs_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	inst   = "acme"
	name   = "data"
	domain = "data.acme.com"
	day    = 24 * time.Hour
)

var serials atomic.Int64

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := pair.NewKey(pair.P256)
	must(t, err)
	return key
}

func pemOf(list ...*x509.Certificate) (out []byte) {
	for _, c := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	data, err := pair.EncodeKey(key)
	must(t, err)
	return data
}

// authority is a tiny corporate CA: a root and the intermediate that signs.
type authority struct {
	t          testing.TB
	key        crypto.Signer
	root, ca   *x509.Certificate
	from, till time.Time
}

func newAuthority(t testing.TB, now time.Time) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t), from: now.Add(-5 * 365 * day), till: now.Add(20 * 365 * day)}
	rootKey := newKey(t)
	root := a.template("Acme Root", true)
	a.root = a.sign(root, root, rootKey.Public(), rootKey)
	a.ca = a.sign(a.template("Acme Issuing", true), a.root, a.key.Public(), rootKey)
	return a
}

func (a *authority) template(cn string, ca bool) *x509.Certificate {
	c := &x509.Certificate{
		SerialNumber: big.NewInt(serials.Add(1)), Subject: pkix.Name{CommonName: cn}, NotBefore: a.from, NotAfter: a.till,
		BasicConstraintsValid: true, IsCA: ca, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ca {
		c.KeyUsage = x509.KeyUsageCertSign
	} else {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	}
	return c
}

func (a *authority) sign(c, by *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
	must(a.t, err)
	made, err := x509.ParseCertificate(der)
	must(a.t, err)
	return made
}

// issue signs a certificate for a key, from one time to another.
func (a *authority) issue(pub crypto.PublicKey, from, till time.Time, names ...string) *x509.Certificate {
	a.t.Helper()
	c := a.template("", false)
	c.NotBefore, c.NotAfter = from, till
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, n)
		}
	}
	return a.sign(c, a.ca, pub, a.key)
}

// answer signs a request as it is.
func (a *authority) answer(csr []byte, from, till time.Time) *x509.Certificate {
	a.t.Helper()
	block, _ := pem.Decode(csr)
	if block == nil {
		a.t.Fatalf("no request: %q", csr)
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	must(a.t, err)
	must(a.t, req.CheckSignature())
	return a.issue(req.PublicKey, from, till, req.DNSNames...)
}

// memory is a Memory that a restart keeps.
type memory struct {
	mu   sync.Mutex
	data map[string][]byte
	fail error
	puts int
}

func (m *memory) Get(key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.data[key]), m.fail
}

func (m *memory) Put(key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return m.fail
	}
	m.data[key] = slices.Clone(value)
	m.puts++
	return nil
}

func (m *memory) writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.puts
}

// event is one that was reported.
type event struct{ instance, reason, message string }

// host is a machine with a Manager that may be started again, and a source in
// its environment: env://CHAIN and env://KEY.
type host struct {
	t      testing.TB
	dir    string
	memory *memory
	opts   certs.Options
	off    time.Duration // of the wall clock
	tell   func(true time.Time)

	*certs.Manager
	stop func()

	mu     sync.Mutex
	env    map[string]string
	events []event
	asked  int
}

func newHost(t testing.TB, change ...func(*host)) *host {
	t.Helper()
	h := &host{t: t, dir: filepath.Join(quick(t), "certs"), memory: &memory{data: map[string][]byte{}}, env: map[string]string{}}
	h.opts = certs.Options{Dir: h.dir, Memory: h.memory, Seed: "vm1", Event: h.report, Now: h.now,
		Fetch: source.New(source.Options{Env: h.lookup, FileRoots: []string{filepath.Dir(h.dir)}})}
	for _, c := range change {
		c(h)
	}
	h.Manager, h.stop = certs.New(h.opts), func() {}
	t.Cleanup(func() { h.stop() })
	return h
}

// now is the wall clock, in a bubble too in a time when the program exists.
func (h *host) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tell != nil {
		h.tell(time.Now())
	}
	return time.Now().Add(h.off)
}

// jump sets the wall clock.
func (h *host) jump(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.off += d
}

func (h *host) lookup(name string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	v, there := h.env[name]
	return v, there
}

func (h *host) put(name string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.env[name] = string(data)
}

func (h *host) questions() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

func (h *host) report(instance, reason, message string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, event{instance, reason, message})
}

// told are the messages of a reason.
func (h *host) told(reason string) (list []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.reason == reason {
			list = append(list, e.message)
		}
	}
	return list
}

func (h *host) forgetEvents() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = nil
}

// run starts the loop; stop ends it.
func (h *host) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	m := h.Manager
	go func() { done <- m.Run(ctx) }()
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("run: %v", err)
		}
	})
}

// restart is what a new process finds.
func (h *host) restart() {
	h.stop()
	h.Manager, h.stop = certs.New(h.opts), func() {}
}

func (h *host) want(spec desired.CertificateSpec) {
	h.Set(inst, reconciler.WantedCertificates{ByName: map[string]desired.CertificateSpec{name: spec}, Commit: "c0ffee"})
}

func (h *host) sync() {
	h.t.Helper()
	must(h.t, h.Sync(h.t.Context(), inst))
}

func (h *host) status() reconciler.CertificateStatus {
	h.t.Helper()
	all := h.Certificates(inst)
	if len(all) != 1 {
		h.t.Fatalf("status of %d certificates, want 1", len(all))
	}
	return all[0]
}

// leaf is what a handshake shows.
func (h *host) leaf() *x509.Certificate {
	h.t.Helper()
	c, _, err := h.Certificate(inst, name, domain)
	must(h.t, err)
	return c.Leaf
}

// stands fails unless the certificate is in a phase, for a reason.
func (h *host) stands(phase reconciler.CertificatePhase, reason string) reconciler.CertificateStatus {
	h.t.Helper()
	s := h.status()
	if s.Phase != phase || s.Reason != reason {
		h.t.Errorf("phase %s (%s: %s), want %s (%s)", s.Phase, s.Reason, s.Message, phase, reason)
	}
	return s
}

// serves fails unless a handshake shows that certificate.
func (h *host) serves(want *x509.Certificate) {
	h.t.Helper()
	if got := h.leaf(); !got.Equal(want) {
		h.t.Errorf("serves %s of %s, want %s of %s", got.SerialNumber, got.Issuer, want.SerialNumber, want.Issuer)
	}
}

// once fails unless a reason was reported exactly once, about that.
func (h *host) once(reason, about string) {
	h.t.Helper()
	if list := h.told(reason); len(list) != 1 || !strings.Contains(list[0], about) {
		h.t.Errorf("%s was reported %d times, want once, with %q: %q", reason, len(list), about, list)
	}
}

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	must(t, err)
	return data
}

func write(t testing.TB, data []byte, path ...string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(path...), data, 0o600))
}

// byRequest wants a chain for the key of the host, from its environment.
func byRequest(a *authority) desired.CertificateSpec {
	return desired.CertificateSpec{
		Domains: []string{domain}, Fullchain: "env://CHAIN", Key: "p256", Every: time.Hour,
		Fallback: "self-signed", CA: string(pemOf(a.root)),
	}
}

// eventually waits for something that other goroutines do.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	limit := time.NewTimer(2 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-limit.C:
			t.Fatalf("never: %s", what)
		case <-tick.C:
		}
	}
}

func show(err error) string { return fmt.Sprint(err) }

// breaks has the memory fail from now on; nil mends it.
func (m *memory) breaks(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = err
}
