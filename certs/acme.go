package certs

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/acme"
	"github.com/fairlead/fairlead/certs/acme/dns01"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/desired"
)

// acmeDir is where ACME keeps accounts and pairs. No name of an instance begins
// with a dot.
const acmeDir = ".acme"

func newACME(m *Manager) *acme.Manager {
	return acme.New(acme.Options{
		Log: m.opts.Log, Dir: filepath.Join(m.opts.Dir, acmeDir), Issued: m.issued,
		AllowHost: m.opts.AllowHost, Proxy: m.opts.Proxy, Every: min(6*m.opts.Every, time.Minute), Parallel: atOnce,
	})
}

// order has ACME keep the certificate, or keep it as it is wanted now.
func (l *look) order() error {
	req, err := l.acmeRequest()
	if err != nil {
		return err
	}
	if err := l.m.acme.Ensure(req); err != nil {
		return err
	}
	l.ordered = l.orderKey()
	return nil
}

// orderKey names what ACME is told: the spec, and the roots that are trusted.
func (l *look) orderKey() string {
	if modeOf(l.spec) != byACME {
		return ""
	}
	return fmt.Sprintf("%s %x", l.hash, sha256.Sum256(l.bundle))
}

func (l *look) acmeRequest() (acme.Request, error) {
	domains, err := pair.Domains(l.spec.Domains)
	if err != nil {
		return acme.Request{}, err
	}
	a := l.spec.ACME
	req := acme.Request{Name: l.id.request(), Domains: domains, Challenges: a.Challenges, Key: acme.KeyType(l.spec.Key)}
	for _, i := range a.Issuers {
		req.Issuers = append(req.Issuers, l.acmeIssuer(i))
	}
	if a.DNS == nil {
		return req, nil
	}
	provider, err := dns01.New(a.DNS.Provider, a.DNS.With)
	if err != nil {
		return acme.Request{}, err
	}
	req.DNS = &acme.DNS{Provider: provider, Resolvers: a.DNS.Resolvers, TTL: a.DNS.TTL, Delay: a.DNS.Delay, Timeout: a.DNS.Timeout, Delegate: a.DNS.Delegate}
	return req, nil
}

func (l *look) acmeIssuer(i desired.ACMEIssuer) acme.Issuer {
	out := acme.Issuer{Directory: i.Directory, Profile: i.Profile, Email: i.Email, Roots: l.bundle, PreferRoot: i.PreferRoot}
	if i.EABKeyID != "" || i.EABKey != "" {
		out.EAB = &acme.EAB{KeyID: i.EABKeyID, MACKey: i.EABKey}
	}
	return out
}

// issued takes a pair that ACME obtained, by the same way as any other. With an
// error it is handed over again.
func (m *Manager) issued(ctx context.Context, p acme.Pair) error {
	instance, name, _ := strings.Cut(p.Name, ".")
	c := (*m.served.Load())[ident{instance, name, false}]
	if c == nil {
		return nil // it is wanted no more
	}
	if err := c.await(ctx); err != nil {
		return err
	}
	defer c.end()
	return c.receive(ctx, p)
}

func (c *certificate) receive(ctx context.Context, p acme.Pair) error {
	spec, hash := c.wanted()
	if c.gone() || spec.ACME == nil {
		return nil
	}
	l := &look{certificate: c, spec: spec, hash: hash, commit: c.commitNow(), now: c.m.now(), tried: map[step]bool{}}
	if err := l.prepare(); err != nil {
		return err
	}
	cand := &candidate{Candidate: pair.Candidate{Chain: p.Chain, Privkey: p.Key}, origin: l.originOf(p.Issuer)}
	if why := l.doubt(); why != "" {
		return errors.New(why)
	}
	if err := l.consider(cand); err != nil {
		return err
	}
	l.memo.Trouble = nil
	l.staged = nil // it is handed over again until it is valid
	if l.outcome == nil && ctx.Err() == nil {
		c.trouble(stepDeliver, l.bring(ctx))
	}
	err := c.remember()
	l.refresh()
	return errors.Join(l.outcome, err)
}

// acmeStatus is what ACME knows of a certificate, or nil.
func (l *look) acmeStatus() *acme.Status {
	if modeOf(l.spec) != byACME {
		return nil
	}
	for _, s := range l.m.acme.Status() {
		if s.Name == l.id.request() {
			return &s
		}
	}
	return nil
}

// acmeRenewAt is when ACME orders a successor; zero when it does not say.
func (l *look) acmeRenewAt() time.Time {
	if s := l.acmeStatus(); s != nil {
		return s.RenewAt
	}
	return time.Time{}
}

// acmeTrouble says why nothing was issued.
func acmeTrouble(s *acme.Status) (who, why string) {
	if s == nil {
		return "", ""
	}
	var names, texts []string
	for _, f := range s.Failures {
		names, texts = append(names, f.Issuer), append(texts, f.Issuer+": "+f.Error)
	}
	return strings.Join(names, " "), strings.Join(texts, "; ")
}

// tellOfOrders reports, once for each authority, that it does not issue.
func (l *look) tellOfOrders() {
	who, why := acmeTrouble(l.acmeStatus())
	l.tellOnce(kindOrder, ReasonOrderFailed, who, "nothing was issued: "+why)
}
