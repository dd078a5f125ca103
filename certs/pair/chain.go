package pair

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"slices"
	"time"
)

// maxPaths bounds how many ways from leaf to root are tried in a document full
// of cross-signed certificates; a real one has one to three.
const maxPaths = 32

// leafOf returns the certificate that is meant to be served. With several for
// the key it is one for the domains, valid now, the last one issued, whatever the
// order of the document. Without one for the key it is the one that looks most
// like a leaf, and own is false.
func leafOf(chain []*x509.Certificate, key crypto.Signer, domains []string, now time.Time) (leaf *x509.Certificate, own bool) {
	var mine []*x509.Certificate
	if key != nil {
		mine = filter(chain, func(c *x509.Certificate) bool { return samePublic(c.PublicKey, key.Public()) })
	}
	own = len(mine) > 0
	if !own {
		mine = filter(chain, func(c *x509.Certificate) bool {
			return !slices.ContainsFunc(chain, func(o *x509.Certificate) bool { return o != c && issued(c, o) })
		})
	}
	if len(mine) == 0 {
		mine = chain
	}
	covers := func(c *x509.Certificate) bool { return len(missing(c, domains)) == 0 }
	valid := func(c *x509.Certificate) bool { return !now.Before(c.NotBefore) && !now.After(c.NotAfter) }
	return slices.MinFunc(mine, func(a, b *x509.Certificate) int {
		return cmp.Or(boolFirst(!a.IsCA, !b.IsCA), boolFirst(covers(a), covers(b)), boolFirst(valid(a), valid(b)), b.NotBefore.Compare(a.NotBefore), b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	}), own
}

// paths returns the ways from a leaf upwards through certificates, without
// roots, the preferred one first: longer before shorter, so that clients which
// know only an older root are served too.
func paths(leaf *x509.Certificate, others []*x509.Certificate) (list [][]*x509.Certificate) {
	others = filter(others, func(c *x509.Certificate) bool { return !selfIssued(c) && !c.Equal(leaf) })
	slices.SortFunc(others, func(a, b *x509.Certificate) int {
		return cmp.Or(b.NotAfter.Compare(a.NotAfter), bytes.Compare(a.Raw, b.Raw))
	})
	above := map[*x509.Certificate][]*x509.Certificate{}
	for _, c := range append([]*x509.Certificate{leaf}, others...) {
		above[c] = filter(others, func(o *x509.Certificate) bool { return o != c && issued(o, c) })
	}
	var walk func(path []*x509.Certificate)
	walk = func(path []*x509.Certificate) {
		end := true
		for _, c := range above[path[len(path)-1]] {
			if len(list) >= maxPaths || slices.Contains(path, c) {
				continue
			}
			end = false
			walk(append(slices.Clone(path), c))
		}
		if end && len(list) < maxPaths {
			list = append(list, path)
		}
	}
	walk([]*x509.Certificate{leaf})
	slices.SortStableFunc(list, func(a, b []*x509.Certificate) int { return cmp.Compare(len(b), len(a)) })
	return list
}

// issued reports whether parent signed child. A signature that is too weak to
// be checked is believed: it is refused for what it is, not as a missing issuer.
func issued(parent, child *x509.Certificate) bool {
	if !bytes.Equal(parent.RawSubject, child.RawIssuer) {
		return false
	}
	if weakSignature(child) {
		return len(child.AuthorityKeyId) == 0 || len(parent.SubjectKeyId) == 0 || bytes.Equal(child.AuthorityKeyId, parent.SubjectKeyId)
	}
	return parent.CheckSignature(child.SignatureAlgorithm, child.RawTBSCertificate, child.Signature) == nil
}

// selfIssued reports whether a certificate is signed with its own key, as roots
// are.
func selfIssued(c *x509.Certificate) bool { return issued(c, c) }

func weakSignature(c *x509.Certificate) bool {
	switch c.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

// verifyChain checks a chain as a client would that has these roots, at a time.
func verifyChain(chain []*x509.Certificate, roots *x509.CertPool, at time.Time) error {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if roots == nil {
		roots = x509.NewCertPool() // nil would mean those of the system, read from its files
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return err
}

// Roots returns a pool with the certificates of a bundle in PEM added to those
// of a system. Neither is changed; a nil system is an empty one.
func Roots(system *x509.CertPool, bundle []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if system != nil {
		pool = system.Clone()
	}
	if len(bundle) == 0 {
		return pool, nil
	}
	list, err := parseBundle(bundle)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		pool.AddCert(c)
	}
	return pool, nil
}

func filter(list []*x509.Certificate, keep func(*x509.Certificate) bool) (out []*x509.Certificate) {
	for _, c := range list {
		if keep(c) {
			out = append(out, c)
		}
	}
	return out
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
