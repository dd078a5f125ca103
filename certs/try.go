package certs

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
)

// Test is a reference to be tried.
type Test struct {
	URL     string // of a chain
	Privkey string // of its key; empty: the key of Certificate
	Domains []string
	// Certificate lends what is not said: key, domains, roots, pins, bearer.
	Certificate string
}

// Report is what was found at a reference.
type Report struct {
	Source  string
	Bytes   int
	Version string
	Date    time.Time // by the source's clock
	Chain   []Found   // as it would be served, or leaf first as it stands there when it is refused
	// Problems refuse it, Notes do not. KeyChecked says that there was a key to
	// hold it against.
	Problems, Notes []pair.Problem
	KeyChecked      bool
	Staged          time.Time
	Warnings        []string
}

// OK reports whether it would be served.
func (r Report) OK() bool { return len(r.Problems) == 0 }

// Found is one certificate of a chain.
type Found struct {
	Subject, Issuer, Serial string
	Names                   []string
	NotBefore, NotAfter     time.Time
	Fingerprint, SPKI, Key  string
}

// Test fetches and checks without publishing anything. The error says that
// nothing was fetched; what is wrong with what was is in the report.
func (m *Manager) Test(ctx context.Context, instance string, t Test) (Report, error) {
	l, err := m.tester(instance, t)
	if err != nil {
		return Report{}, fmt.Errorf("try certificate source: %w", err)
	}
	blob, err := m.opts.Fetch.For(l.use(source.Chain)).Fetch(ctx, l.spec.Fullchain, "")
	r := Report{Source: blob.Source, Bytes: len(blob.Data), Version: string(blob.Version), Date: blob.Date, Warnings: blob.Warnings}
	if errors.Is(err, source.ErrWrongKind) || errors.Is(err, source.ErrKeyInChain) {
		r.Problems = append(r.Problems, *contentProblem(source.Chain, err))
		return r, nil
	}
	if err != nil {
		return r, err
	}
	cand := pair.Candidate{Chain: blob.Data}
	if cand.Privkey, err = l.testKey(ctx, &r); err != nil {
		return r, err
	}
	return l.judge(cand, r)
}

// tester is a look that decides and writes nothing.
func (m *Manager) tester(instance string, t Test) (*look, error) {
	c, spec := newCertificate(m, ident{instance, t.Certificate, false}), desired.CertificateSpec{}
	if t.Certificate != "" {
		known, err := m.find(instance, t.Certificate)
		if err != nil {
			return nil, err
		}
		if err := known.open(); err != nil {
			return nil, err
		}
		c = known
		spec, _ = c.wanted()
	}
	if t.Privkey != "" || t.Certificate == "" {
		spec.Privkey = t.Privkey
	}
	if spec.Fullchain = t.URL; len(t.Domains) > 0 {
		spec.Domains = t.Domains
	}
	bundle, err := bundleOf(m.opts.CAFile, spec.CA)
	return &look{certificate: c, spec: spec, now: m.now(), bundle: bundle}, err
}

// testKey is the key that the chain should be for, or nil.
func (l *look) testKey(ctx context.Context, r *Report) ([]byte, error) {
	if l.spec.Privkey != "" {
		blob, err := l.m.opts.Fetch.For(l.use(source.Key)).Fetch(ctx, l.spec.Privkey, "")
		r.Warnings = append(r.Warnings, blob.Warnings...)
		if err != nil {
			return nil, fmt.Errorf("private key: %w", err)
		}
		return blob.Data, nil
	}
	s, err := l.storeNow()
	if err != nil { // there is no certificate whose key it could be
		return nil, nil
	}
	key, made := s.OwnKey()
	if !made {
		return nil, nil
	}
	return pair.EncodeKey(key)
}

// judge checks what was fetched. Without a key it is held against all but that.
func (l *look) judge(cand pair.Candidate, r Report) (Report, error) {
	certs, _ := pair.ParseChain(cand.Chain) // of which Check says what is wrong
	rules, err := l.testRules(certs)
	if err != nil {
		return r, err
	}
	r.KeyChecked = len(cand.Privkey) > 0
	v := pair.Check(cand, rules)
	for _, p := range v.Problems {
		if r.KeyChecked || p.Code != pair.BadKey {
			r.Problems = append(r.Problems, *p)
		}
	}
	r.Notes, r.Staged = flat(v.Notes), v.Staged
	if !v.Pair.IsZero() {
		certs = v.Pair.Chain()
	}
	slices.SortStableFunc(certs, func(a, b *x509.Certificate) int { return cmp.Compare(rank(a), rank(b)) })
	for _, x := range certs {
		r.Chain = append(r.Chain, foundOf(x))
	}
	return r, nil
}

// rank puts the certificate itself before those of authorities.
func rank(x *x509.Certificate) int {
	if x.IsCA {
		return 1
	}
	return 0
}

// testRules hold a chain against the domains that were named, or its own.
func (l *look) testRules(certs []*x509.Certificate) (pair.Rules, error) {
	roots, err := rootsOf(l.bundle)
	r := pair.Rules{Domains: l.spec.Domains, Now: l.now, Roots: roots, MinRemaining: minRemaining}
	if s, none := l.storeNow(); none == nil {
		if g, any := s.Current(); any {
			r.Live = g.Pair
		}
	}
	for _, x := range certs {
		if len(r.Domains) == 0 && !x.IsCA {
			r.Domains = foundOf(x).Names
		}
	}
	return r, err
}

func foundOf(x *x509.Certificate) Found {
	f := Found{
		Subject: x.Subject.String(), Issuer: x.Issuer.String(), Serial: x.SerialNumber.Text(16), Names: x.DNSNames,
		NotBefore: x.NotBefore.UTC(), NotAfter: x.NotAfter.UTC(), Fingerprint: pair.Fingerprint(x), SPKI: pair.SPKI(x.PublicKey),
		Key: string(pair.AlgorithmOf(x.PublicKey)),
	}
	for _, ip := range x.IPAddresses {
		f.Names = append(f.Names, ip.String())
	}
	return f
}
