package pair_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
)

// now is when the tests take place.
var now = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

var serials atomic.Int64

// authority is a tiny CA.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// change alters a certificate before it is signed.
type change func(*x509.Certificate)

func newKey(t testing.TB, a pair.Algorithm) crypto.Signer {
	t.Helper()
	key, err := pair.NewKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign issues a certificate for a key; without a parent it is self-signed.
func sign(t testing.TB, parent *authority, pub crypto.PublicKey, tmpl *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	tmpl.SerialNumber = big.NewInt(serials.Add(1))
	tmpl.BasicConstraintsValid = true
	issuer := tmpl
	if parent != nil {
		issuer, key = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, issuer, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// newCA makes a CA; without a parent it is a root.
func newCA(t testing.TB, name string, parent *authority, changes ...change) *authority {
	t.Helper()
	return caWithKey(t, name, parent, newKey(t, pair.P256), changes...)
}

func caWithKey(t testing.TB, name string, parent *authority, key crypto.Signer, changes ...change) *authority {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-1000 * day), NotAfter: now.Add(2000 * day),
		IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SignatureAlgorithm: 0,
	}
	for _, c := range changes {
		c(tmpl)
	}
	return &authority{sign(t, parent, key.Public(), tmpl, key), key}
}

// issue makes a server's certificate.
func (a *authority) issue(t testing.TB, key crypto.Signer, changes ...change) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "data.acme.com"}, DNSNames: []string{"data.acme.com"},
		NotBefore: now.Add(-10 * day), NotAfter: now.Add(80 * day),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range changes {
		c(tmpl)
	}
	return sign(t, a, key.Public(), tmpl, key)
}

func life(from, until time.Duration) change {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = now.Add(from), now.Add(until) }
}

func names(list ...string) change {
	return func(c *x509.Certificate) {
		c.DNSNames, c.IPAddresses = nil, nil
		for _, n := range list {
			if ip := net.ParseIP(n); ip != nil {
				c.IPAddresses = append(c.IPAddresses, ip)
			} else {
				c.DNSNames = append(c.DNSNames, n)
			}
		}
	}
}

func text(certs ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range certs {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.Bytes()
}

func keyText(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	data, err := pair.EncodeKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

// company is a corporate CA of two levels, a server's key and its certificate.
type company struct {
	root, between *authority
	key           crypto.Signer
	leaf          *x509.Certificate
}

func newCompany(t testing.TB) company {
	t.Helper()
	c := company{key: newKey(t, pair.P256)}
	c.root = newCA(t, "Acme Root", nil)
	c.between = newCA(t, "Acme Issuing", c.root)
	c.leaf = c.between.issue(t, c.key)
	return c
}

func (c company) rules() pair.Rules {
	return pair.Rules{Domains: []string{"data.acme.com"}, Now: now, Roots: pool(c.root.cert), MinRemaining: day}
}

func (c company) candidate(t testing.TB, certs ...*x509.Certificate) pair.Candidate {
	return pair.Candidate{Chain: text(certs...), Privkey: keyText(t, c.key)}
}

// weakCurve makes a key that the package would not.
func weakCurve(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
