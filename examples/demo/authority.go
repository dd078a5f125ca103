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
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	authorityAddress = "authority.addr" // written when its web server serves
	day              = 24 * time.Hour
)

// authority is a tiny corporate one: a root, and the intermediate that signs. Its keys are in memory only.
type authority struct {
	root, issuing *x509.Certificate
	key           crypto.Signer // of issuing
	issued        int
}

// serialOf is that of the authority's n-th certificate, as fairlead shows it.
func serialOf(n int) string { return big.NewInt(int64(0xace0 + n)).Text(16) }

func newAuthority() (*authority, error) {
	a := &authority{}
	rootKey, err := newKey()
	if err != nil {
		return nil, err
	}
	root := template("Acme Root", true)
	if a.root, err = sign(root, root, rootKey.Public(), rootKey); err != nil {
		return nil, err
	}
	if a.key, err = newKey(); err != nil {
		return nil, err
	}
	a.issuing, err = sign(template("Acme Issuing", true), a.root, a.key.Public(), rootKey)
	return a, err
}

func newKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of the authority: %w", err)
	}
	return key, nil
}

func template(name string, isCA bool) *x509.Certificate {
	now := time.Now()
	c := &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(90 * day), BasicConstraintsValid: true, IsCA: isCA, KeyUsage: x509.KeyUsageDigitalSignature}
	if isCA {
		c.KeyUsage, c.NotAfter = x509.KeyUsageCertSign, now.Add(3650*day)
		return c
	}
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	return c
}

func sign(c, by *x509.Certificate, key crypto.PublicKey, with crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, c, by, key, with)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", c.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// sign answers a signing request with a leaf and its chain in PEM.
func (a *authority) sign(request string) (*x509.Certificate, string, error) {
	block, _ := pem.Decode([]byte(request))
	if block == nil {
		return nil, "", errors.New("read signing request: it is not PEM")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, "", fmt.Errorf("read signing request: %w", err)
	}
	a.issued++
	c := template("", false)
	c.Subject, c.DNSNames, c.IPAddresses = r.Subject, r.DNSNames, r.IPAddresses
	c.SerialNumber.SetString(serialOf(a.issued), 16)
	leaf, err := sign(c, a.issuing, r.PublicKey, a.key)
	if err != nil {
		return nil, "", err
	}
	return leaf, inPEM(leaf) + inPEM(a.issuing), nil
}

func inPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// forWeb makes the pair of the authority's own web server.
func (a *authority) forWeb() (chain, key string, err error) {
	k, err := newKey()
	if err != nil {
		return "", "", err
	}
	c := template("pki", false)
	c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf, err := sign(c, a.issuing, k.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	return inPEM(leaf) + inPEM(a.issuing), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}

// authorityUp makes the authority and starts its web server, which has published nothing yet.
func (d *demo) authorityUp(ctx context.Context) error {
	var err error
	if d.authority, err = newAuthority(); err != nil {
		return err
	}
	chain, key, err := d.authority.forWeb()
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(filepath.Dir(d.chainFile()), 0o700), writeFile(d.rootFile(), inPEM(d.authority.root)),
		writeFile(d.webPair("pem"), chain), os.WriteFile(d.webPair("key"), []byte(key), 0o600)); err != nil {
		return fmt.Errorf("set up authority: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("start authority: %w", err)
	}
	if err := d.start("authority", self, "-dir", d.dir, "-name", d.name, "authority"); err != nil {
		return err
	}
	ended := false
	err = waitUntil(ctx, daemonLimit, func() bool {
		_, runs := d.running("authority")
		ended = !runs
		return ended || d.authorityURL() != ""
	})
	if err == nil && ended {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("start authority: %w\n%s", err, d.tail("authority"))
	}
	return nil
}

func (p place) webPair(kind string) string { return p.in(filepath.Join("authority", "web."+kind)) }

// serveAuthority serves what is published until a signal comes. It is the demo binary itself, in the background.
func serveAuthority(ctx context.Context, p place) error {
	pair, err := tls.LoadX509KeyPair(p.webPair("pem"), p.webPair("key"))
	if err != nil {
		return fmt.Errorf("serve authority: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve authority: %w", err)
	}
	srv := &http.Server{Handler: http.FileServer(http.Dir(filepath.Dir(p.chainFile()))), ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	if err := writeFile(p.in(authorityAddress), l.Addr().String()+"\n"); err != nil {
		return errors.Join(fmt.Errorf("tell address of authority: %w", err), l.Close())
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve authority: %w", err)
	}
	return nil
}

// opensslThere makes sure of the program that looks at the front as anybody could.
func (d *demo) opensslThere(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	_, err = output(ctx, root, nil, "scripts/need.sh", "openssl", "openssl")
	return err
}

// fetchSettings let the daemon ask this authority, which is on loopback, and trust it.
func (d *demo) fetchSettings() string {
	return fmt.Sprintf("fetch: {allowedHosts: [%q], caFile: %q}\n", strings.TrimPrefix(d.authorityURL(), "https://"), d.rootFile())
}
