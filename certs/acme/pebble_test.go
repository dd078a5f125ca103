package acme

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/front"
)

// authority is a Pebble of a test.
type authority struct {
	t              *testing.T
	url            string
	listen, manage string // addresses
	file           string // its settings
	roots          []byte
	log            *buffer
	conf           pebbleConf
	stop           func()
}

// pebbleConf is what differs between tests. Every profile is named, since Pebble
// takes a random one otherwise.
type pebbleConf struct {
	HTTPPort, TLSPort int
	Resolver          string         // host:port
	Profiles          map[string]int // seconds; default: 90 days
	EAB               map[string]string
	Blocked           []string
	Env               []string
}

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) count(what string) int { return bytes.Count([]byte(b.String()), []byte(what)) }

func pebbleBinary(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache")
	}
	file := filepath.Join(cache, "fairlead", "pebble-v2.10.1")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("Pebble is missing, run scripts/pebble.sh: %v", err)
	}
	return file
}

func newAuthority(t *testing.T, conf pebbleConf) *authority {
	t.Helper()
	if conf.Resolver == "" {
		conf.Resolver = resolver(t)
	}
	if conf.Profiles == nil {
		conf.Profiles = map[string]int{"default": 90 * 24 * 3600}
	}
	a := &authority{t: t, listen: ports.Address(t), manage: ports.Address(t), conf: conf, log: &buffer{}}
	a.url = "https://" + a.listen + "/dir"
	var cert, key []byte
	cert, key, a.roots = serverCert(t)
	dir := t.TempDir()
	a.file = write(t, dir, "pebble.json", a.settings(write(t, dir, "cert.pem", cert), write(t, dir, "key.pem", key)))
	a.start()
	t.Cleanup(func() {
		a.stop()
		if t.Failed() {
			text := a.log.String()
			t.Logf("Pebble said:\n%s", text[max(0, len(text)-4000):])
		}
	})
	return a
}

func (a *authority) settings(cert, key string) []byte {
	profiles := map[string]any{}
	for name, seconds := range a.conf.Profiles {
		profiles[name] = map[string]any{"description": name, "validityPeriod": seconds}
	}
	text, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": a.listen, "managementListenAddress": a.manage, "certificate": cert, "privateKey": key,
		"httpPort": a.conf.HTTPPort, "tlsPort": a.conf.TLSPort,
		"externalAccountBindingRequired": a.conf.EAB != nil, "externalAccountMACKeys": a.conf.EAB,
		"domainBlocklist": a.conf.Blocked, "retryAfter": map[string]int{"authz": 1, "order": 1},
		"keyAlgorithm": "ecdsa", "profiles": profiles,
	}})
	if err != nil {
		a.t.Fatal(err)
	}
	return text
}

// start runs Pebble, whose memory is empty then.
func (a *authority) start() {
	a.t.Helper()
	cmd, gone := exec.Command(pebbleBinary(a.t), "-strict", "-config", a.file, "-dnsserver", a.conf.Resolver), make(chan struct{})
	cmd.Env = append(append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"), a.conf.Env...)
	cmd.Stdout, cmd.Stderr = a.log, a.log
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(gone) }() // its end is what is waited for
	a.stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill() // it may be gone
		<-gone
	})
	client := a.client()
	eventually(a.t, "Pebble answers", func() bool {
		select {
		case <-gone:
			a.t.Fatal("Pebble ended")
		default:
		}
		resp, err := client.Get(a.url)
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
}

func (a *authority) client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(a.roots)
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
}

// suggest has Pebble name a window in which a certificate is to be renewed.
func (a *authority) suggest(p Pair, start, end time.Time) {
	a.t.Helper()
	said, err := json.Marshal(map[string]any{"suggestedWindow": map[string]time.Time{"start": start, "end": end}, "explanationURL": "https://ca.test/why"})
	if err != nil {
		a.t.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"certificate": string(p.Chain), "ariResponse": string(said)})
	if err != nil {
		a.t.Fatal(err)
	}
	resp, err := a.client().Post("https://"+a.manage+"/set-renewal-info/", "application/json", bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(resp.Body)
		a.t.Fatalf("suggest a window: %s: %s, %v", resp.Status, text, err)
	}
}

func (a *authority) issuer() Issuer {
	return Issuer{Directory: a.url, Profile: "default", Email: "ops@example.test", Roots: a.roots}
}

func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// serverCert makes a root and what it issues for 127.0.0.1.
func serverCert(t *testing.T) (cert, key, root []byte) {
	t.Helper()
	caKey, caCert := signed(t, &x509.Certificate{IsCA: true, KeyUsage: x509.KeyUsageCertSign, Subject: pkix.Name{CommonName: "test root"}}, nil, nil)
	leafKey, leaf := signed(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}, caCert, caKey)
	text, err := encodeKey(leafKey)
	if err != nil {
		t.Fatal(err)
	}
	return pemOf(leaf), text, pemOf(caCert)
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// signed makes a key and a certificate, by its own key if there is no parent.
func signed(t *testing.T, c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber, c.BasicConstraintsValid = big.NewInt(time.Now().UnixNano()), true
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, made
}

// resolver is a name server that says 127.0.0.1 to every question for an
// address, and nothing to any other. Pebble asks it by TCP.
func resolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m) // who asked will ask again
	})}
	started := make(chan struct{})
	srv.NotifyStartedFunc = func() { close(started) }
	go func() { _ = srv.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = srv.Shutdown() })
	return l.Addr().String()
}

// patience is how long a test waits for what must happen. A machine that is busy
// with other things makes no test fail.
const patience = 3 * time.Minute

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within %s: %s", patience, what)
		case <-tick.C:
		}
	}
}

// site is the real front with one route. It answers challenges for the Manager
// of the moment and serves the pair that was handed over last.
type site struct {
	http, tls net.Listener
	mu        sync.Mutex
	manager   *Manager
	pair      *tls.Certificate
}

const siteHost = "data.example.test"

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	for _, l := range []*net.Listener{&s.http, &s.tls} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	f := front.New(front.Options{
		Certificates:    s,
		ACME:            http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.current().HTTPHandler().ServeHTTP(w, r) }),
		ACMECertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, bool) { return s.current().ChallengeCertificate(h) },
		ShutdownTimeout: time.Second,
	})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }))
	t.Cleanup(app.Close)
	f.Set("acme", []reconciler.Route{{
		FrontRoute: desired.FrontRoute{Host: siteHost, Service: "app", Port: 80, Drain: time.Second, Hold: time.Second},
		Endpoints:  []reconciler.Endpoint{{Container: "app", Address: netip.MustParseAddrPort(app.Listener.Addr().String())}},
	}})
	f.Ready()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx, s.tls, s.http) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("front: %v", err)
		}
	})
	return s
}

// Certificate is what the front serves its host with.
func (s *site) Certificate(string, string, string) (front.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pair == nil {
		return front.Certificate{}, errors.New("none yet")
	}
	return front.Certificate{Certificate: s.pair}, nil
}

func (s *site) current() *Manager {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.manager
}

func (s *site) conf() pebbleConf {
	return pebbleConf{HTTPPort: s.http.Addr().(*net.TCPAddr).Port, TLSPort: s.tls.Addr().(*net.TCPAddr).Port}
}

// silence listens where an authority looks for HTTP-01, and answers nothing
// until the test ends.
type silence struct {
	port  int
	asked chan struct{} // closed with the first request
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	s, over := &silence{asked: make(chan struct{})}, make(chan struct{})
	first := sync.OnceFunc(func() { close(s.asked) })
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { first(); <-over }))
	t.Cleanup(func() { close(over); srv.Close() })
	s.port = srv.Listener.Addr().(*net.TCPAddr).Port
	return s
}

// await returns when an order is under way that will not end.
func (s *silence) await(t *testing.T) {
	t.Helper()
	select {
	case <-s.asked:
	case <-time.After(patience):
		t.Fatalf("no challenge within %s", patience)
	}
}
