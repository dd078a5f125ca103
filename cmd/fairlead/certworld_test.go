package main

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/reconciler"
)

const certHost = "data.acme.test"

// corporation is a world with a tiny authority that publishes by https.
type corporation struct {
	*world
	*httptest.Server
	https, plain string // where the front listens
	root, ca     *x509.Certificate
	key          crypto.Signer

	mu    sync.Mutex
	page  string // empty: 404
	asked int
}

func newCorporation(t *testing.T) *corporation {
	t.Helper()
	c := &corporation{world: newWorld(t), https: ports.Address(t), plain: ports.Address(t)}
	c.Server = httptest.NewTLSServer(c)
	t.Cleanup(c.Close)
	rootKey := p256(t)
	c.key = p256(t)
	root := leafOf("Acme Root", time.Now().Add(20*365*24*time.Hour))
	root.IsCA, root.KeyUsage, root.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	c.root = signed(t, root, root, rootKey.Public(), rootKey)
	ca := *root
	ca.Subject.CommonName = "Acme Issuing"
	c.ca = signed(t, &ca, c.root, c.key.Public(), rootKey)
	trusted := c.write("roots.pem", certPEM(c.Certificate())+certPEM(c.root))
	c.write("agent.yaml", fmt.Sprintf("front: {https: %q, http: %q}\nfetch: {allowedHosts: [%q], caFile: %q}\n",
		c.https, c.plain, strings.TrimPrefix(c.URL, "https://"), trusted))
	return c
}

func (c *corporation) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.page == "" || r.URL.Path != "/chain.pem" {
		http.NotFound(w, r)
		return
	}
	_, _ = w.Write([]byte(c.page))
}

func (c *corporation) put(page string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.page = page
}

func (c *corporation) questions() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

func p256(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

var certSerials atomic.Int64

func leafOf(name string, till time.Time) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(0xace00 + certSerials.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: till, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
}

func signed(t *testing.T, c, by *x509.Certificate, key crypto.PublicKey, with crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, with)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func certPEM(c *x509.Certificate) string { return pemText("CERTIFICATE", c.Raw) }

func pemText(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// issue answers for a key, for 90 days and a bit: of two, the later one ends
// later.
func (c *corporation) issue(key crypto.PublicKey, names ...string) *x509.Certificate {
	c.t.Helper()
	x := leafOf("", time.Now().Add(90*24*time.Hour+time.Duration(certSerials.Load())*time.Minute))
	x.DNSNames = names
	return signed(c.t, x, c.ca, key, c.key)
}

// publish puts a chain where it is awaited.
func (c *corporation) publish(leaf *x509.Certificate) { c.put(certPEM(leaf) + certPEM(c.ca)) }

func (c *corporation) instance(certificate string) map[string]string {
	files := acme("1")
	files["instance.yaml"] += certificate
	return files
}

// corporate is a certificate that the authority signs for.
func (c *corporation) corporate(more string) string {
	return "certificates:\n  data:\n    domains: [" + certHost + "]\n    fullchain: " + c.URL + "/chain.pem\n    every: 10s\n    csr: {key: p256}\n" + more +
		"front:\n  - {host: " + certHost + ", certificate: data, to: \"web:8000\", hsts: 31536000}\n"
}

// request is the key of the host, from what `fairlead cert csr` prints.
func (c *corporation) request() crypto.PublicKey {
	c.t.Helper()
	block, rest := pem.Decode([]byte(c.must(0, "cert", "csr", "data").stdout))
	if block == nil || len(rest) > 0 {
		c.t.Fatalf("cert csr does not print one PEM block")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return r.PublicKey
}

// shown is the leaf that the front shows to a new connection.
func (c *corporation) shown(host string) (*x509.Certificate, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: limit}, "tcp", c.https, &tls.Config{ServerName: host, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

func (c *corporation) shows(what string, is func(*x509.Certificate) bool) (leaf *x509.Certificate) {
	c.t.Helper()
	waitFor(c.t, "the front shows "+what, func() bool {
		var err error
		leaf, err = c.shown(certHost)
		return err == nil && is(leaf)
	})
	return leaf
}

func (c *corporation) showsLeaf(want *x509.Certificate) {
	c.t.Helper()
	c.shows(fmt.Sprintf("serial %x", want.SerialNumber), want.Equal)
}

func (c *corporation) certificate(name string) reconciler.CertificateStatus {
	c.t.Helper()
	var o ownedCertificate
	if err := json.Unmarshal([]byte(c.must(0, "cert", "show", name, "-o", "json").stdout), &o); err != nil {
		c.t.Fatal(err)
	}
	return o.CertificateStatus
}

func (c *corporation) status() (s reconciler.Status) {
	c.t.Helper()
	if err := json.Unmarshal([]byte(c.must(0, "status", "acme", "-o", "json").stdout), &s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

func certificatesReady(s reconciler.Status) reconciler.Condition {
	for _, c := range s.Conditions {
		if c.Type == reconciler.CertificatesReady {
			return c
		}
	}
	return reconciler.Condition{}
}

// says fails unless a result holds each text.
func says(t *testing.T, r result, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%q is not in:\n%s%s", text, r.stdout, r.stderr)
		}
	}
}

// metrics are what the daemon tells on its socket.
func (c *corporation) metrics() string {
	c.t.Helper()
	client := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(c.data, "fairlead.sock"))
		}}}
	resp, err := client.Get("http://fairlead/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("metrics: %s, %v", resp.Status, err)
	}
	return string(text)
}
