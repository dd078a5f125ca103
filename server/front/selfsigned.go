package front

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	selfSignedLife = 90 * 24 * time.Hour
	// selfSignedBack is how far a certificate is dated back, for clients whose
	// clocks are behind.
	selfSignedBack = time.Hour
)

// selfSign sees to it that a self-signed certificate is served that has more
// than a third of its life before it. Its key stays the same.
func (p *pair) selfSign(now time.Time) error {
	if c := p.served.Load(); c != nil && fresh(c.Certificate, now) {
		return nil
	}
	kept := p.kept()
	if kept == nil || !fresh(kept, now) {
		var key crypto.PrivateKey
		if kept != nil {
			key = kept.PrivateKey
		}
		made, text, err := makeSelfSigned(p.domains, key, now)
		if err != nil {
			return fmt.Errorf("make self-signed certificate: %w", err)
		}
		kept = made
		if dir := p.files.opts.Dir; dir != "" {
			err = writeSecret(dir, p.file(), text)
		}
		if err != nil {
			p.served.Store(&Certificate{Certificate: kept, SelfSigned: true})
			return fmt.Errorf("keep self-signed certificate: %w", err)
		}
		p.files.opts.Log.WithFields(logFields{"domains": p.domains, "until": kept.Leaf.NotAfter.UTC().Format(time.RFC3339)}).
			Info("self-signed certificate made")
	}
	p.served.Store(&Certificate{Certificate: kept, SelfSigned: true})
	return nil
}

// fresh reports whether two thirds of a certificate's life are not over yet.
func fresh(c *tls.Certificate, now time.Time) bool {
	life := c.Leaf.NotAfter.Sub(c.Leaf.NotBefore)
	return now.After(c.Leaf.NotBefore) && now.Before(c.Leaf.NotBefore.Add(life/3*2))
}

// kept is the pair that is served or stored already, nil when there is none
// that can be read.
func (p *pair) kept() *tls.Certificate {
	if c := p.served.Load(); c != nil && c.SelfSigned {
		return c.Certificate
	}
	dir := p.files.opts.Dir
	if dir == "" {
		return nil
	}
	text, err := readPEM(filepath.Join(dir, p.file()))
	if err != nil {
		return nil // it is made anew, and failing to write it is reported
	}
	c, err := tls.X509KeyPair(text, text)
	if err != nil || slices.ContainsFunc(p.domains, func(d string) bool { return c.Leaf.VerifyHostname(d) != nil }) {
		return nil
	}
	return &c
}

// file names the stored pair by what it is for.
func (p *pair) file() string {
	sum := sha256.Sum256([]byte(strings.Join(p.domains, "\x00")))
	return hex.EncodeToString(sum[:12]) + ".pem"
}

// makeSelfSigned makes a certificate that can sign no other. The text holds
// chain and key, in one file, so that they are replaced together.
func makeSelfSigned(domains []string, key crypto.PrivateKey, now time.Time) (*tls.Certificate, []byte, error) {
	signer, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		var err error
		if signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return nil, nil, err
		}
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, nil, err
	}
	from := now.Add(-selfSignedBack).UTC().Truncate(time.Second)
	leaf := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{Organization: []string{"Fairlead, self-signed"}},
		NotBefore: from, NotAfter: from.Add(selfSignedLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, d := range domains {
		if ip := net.ParseIP(d); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else {
			leaf.DNSNames = append(leaf.DNSNames, d)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...)
	c, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, nil, err
	}
	return &c, text, nil
}

// writeSecret replaces a file that only its owner may read.
func writeSecret(dir, name string, text []byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".tmp-") // with mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // it is gone once it is renamed
	_, err = tmp.Write(text)
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), filepath.Join(dir, name)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
