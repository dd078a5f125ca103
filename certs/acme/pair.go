package acme

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// record is a pair as it lies on disk: key and chain in one file.
type record struct {
	Directory string    `json:"directory"`
	Profile   string    `json:"profile,omitempty"`
	Issued    time.Time `json:"issued"`
	Chain     string    `json:"chain"`
	Key       string    `json:"key"`

	leaf *x509.Certificate
	id   string // fingerprint of the leaf
}

// pair reads a record and proves that its key is the chain's. A record that
// fails is errBroken.
func (s *store) pair(name string) (*record, error) {
	var r record
	if err := s.load(pairsDir, name, &r); err != nil {
		return nil, err
	}
	if err := r.parse(); err != nil {
		return nil, fmt.Errorf("pair %s: %w: %w", name, errBroken, err)
	}
	return &r, nil
}

// parse fills in what follows from the PEM.
func (r *record) parse() error {
	both, err := tls.X509KeyPair([]byte(r.Chain), []byte(r.Key))
	if err != nil {
		return err
	}
	r.leaf = both.Leaf
	sum := sha256.Sum256(r.leaf.Raw)
	r.id = hex.EncodeToString(sum[:])
	return nil
}

// accept says why a pair that an authority has just issued is no use, or nil.
func (r *record) accept(want []string, now time.Time) error {
	if err := r.parse(); err != nil {
		return fmt.Errorf("certificate does not fit its key: %w", err)
	}
	switch have := names(r.leaf); {
	case r.leaf.IsCA:
		return errors.New("certificate is for an authority")
	case !slices.Equal(have, want):
		return fmt.Errorf("certificate is for %v, ordered was %v", have, want)
	case !now.Before(r.leaf.NotAfter):
		return fmt.Errorf("certificate ran out at %s", r.leaf.NotAfter.UTC().Format(time.RFC3339))
	case !renewAt(r.leaf, 0, nil).After(r.leaf.NotBefore):
		return fmt.Errorf("certificate lives %s, too short to be renewed", life(r.leaf))
	}
	return nil
}

// names are the names and addresses of a certificate, sorted.
func names(leaf *x509.Certificate) []string {
	all := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		all = append(all, a.Unmap().String())
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// stale says what of a request the record does not meet, or nothing.
func (r *record) stale(req *Request) string {
	issuer, known := req.issuer(r.Directory)
	switch have := names(r.leaf); {
	case !slices.Equal(have, req.Domains):
		return fmt.Sprintf("names changed from %v to %v", have, req.Domains)
	case typeOf(r.leaf.PublicKey) != req.Key:
		return fmt.Sprintf("key changed from %s to %s", typeOf(r.leaf.PublicKey), req.Key)
	case !known:
		return "issuer " + r.Directory + " is no longer wanted"
	case issuer.Profile != r.Profile:
		return fmt.Sprintf("profile changed from %q to %q", r.Profile, issuer.Profile)
	}
	return ""
}
