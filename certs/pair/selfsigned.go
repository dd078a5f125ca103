package pair

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// SelfSignedLife is how long a self-signed certificate lives when nothing
	// else is said.
	SelfSignedLife = 30 * 24 * time.Hour
	// Back is how far one is dated back, for clients whose clocks are behind.
	Back = time.Hour

	// selfSignedBy marks what was made here. It is part of the certificate, so
	// that it is known again whatever else is lost.
	selfSignedBy = "Fairlead, self-signed"
	maxCN        = 64 // X.520, ub-common-name
)

// SelfSigned makes a stand-in for the domains with a key, which stays the same
// when the real certificate comes. It can sign no other certificate: strict
// clients refuse a server that has one that can. It lives from an hour ago until
// life after now; a life of 0 is SelfSignedLife.
func SelfSigned(key crypto.Signer, domains []string, now time.Time, life time.Duration) (Pair, error) {
	names, err := Domains(domains)
	if err != nil {
		return Pair{}, fmt.Errorf("make self-signed certificate: %w", err)
	}
	if life <= 0 {
		life = SelfSignedLife
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return Pair{}, fmt.Errorf("make self-signed certificate: %w", err)
	}
	now = now.UTC().Truncate(time.Second)
	leaf := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{Organization: []string{selfSignedBy}, CommonName: commonName(domains)},
		NotBefore: now.Add(-Back), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if _, isRSA := key.(*rsa.PrivateKey); isRSA {
		leaf.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	leaf.DNSNames, leaf.IPAddresses = split(names)
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return Pair{}, errors.New("make self-signed certificate: the key cannot sign")
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, fmt.Errorf("make self-signed certificate: %w", err)
	}
	return New([]*x509.Certificate{made}, key)
}

// IsSelfSigned reports whether a certificate is a stand-in that SelfSigned made:
// it is signed with its own key and says so.
func IsSelfSigned(c *x509.Certificate) bool {
	return c != nil && slices.Equal(c.Subject.Organization, []string{selfSignedBy}) && selfIssued(c)
}

// commonName is the first domain that fits, rather no wildcard and no address.
// It is for people: clients ignore it.
func commonName(domains []string) (cn string) {
	for _, d := range domains {
		d = strings.TrimSuffix(strings.ToLower(d), ".")
		_, err := netip.ParseAddr(d)
		plain := err != nil && !strings.HasPrefix(d, "*.")
		switch {
		case len(d) > maxCN:
		case plain:
			return d
		case cn == "":
			cn = d
		}
	}
	return cn
}

// split sorts names into domains and addresses.
func split(names []string) (domains []string, ips []net.IP) {
	for _, n := range names {
		if a, err := netip.ParseAddr(n); err == nil {
			ips = append(ips, net.IP(a.AsSlice()))
		} else {
			domains = append(domains, n)
		}
	}
	return domains, ips
}
