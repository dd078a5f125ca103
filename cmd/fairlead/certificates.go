package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/certs"
	"github.com/fairlead/fairlead/certs/pair"
	certsource "github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/front"
)

// keepCertificates puts the certificates together over an open data directory,
// which has to be this process's.
func keepCertificates(s settings, d *dataDir, store *reconciler.Store, events *reconciler.Events, servers certs.Servers, log *logrus.Entry) *certs.Manager {
	log = log.WithField("part", "certificates")
	host, err := os.Hostname()
	if err != nil {
		host = d.path // the same at every start, which is what counts
	}
	o := s.Fetch.options(d.path, log)
	return certs.New(certs.Options{
		Dir: filepath.Join(d.path, "certs"), Fetch: certsource.New(o), Memory: store.Notebook("certs"), Servers: servers,
		CAFile: s.Fetch.CAFile, Seed: host, AllowHost: s.Fetch.allowHost, Proxy: s.Fetch.proxy(), Log: log,
		Event: func(instance, reason, message string) {
			if err := events.Report(instance, reason, message); err != nil {
				log.WithError(err).Warn("Keep event")
			}
		},
	})
}

// certificates are what the front and the API want of package certs.
type certificates struct{ *certs.Manager }

var (
	_ front.Certificates  = certificates{}
	_ server.Certificates = certificates{}
)

// Certificate implements front.Certificates.
func (c certificates) Certificate(instance, name, host string) (front.Certificate, error) {
	pair, live, err := c.Manager.Certificate(instance, name, host)
	return front.Certificate{Certificate: pair, Live: live}, err
}

// Look implements server.Certificates. What is on disk is read when it is
// served, so looking is all it takes.
func (c certificates) Look(ctx context.Context, instance string) error { return c.Sync(ctx, instance) }

// Renew implements server.Certificates. What came of asking is in the status,
// so that a candidate which is refused, or for later, is no error here.
func (c certificates) Renew(ctx context.Context, instance, name string, force bool) error {
	err := c.Manager.Renew(ctx, instance, name, force)
	if errors.Is(err, certs.ErrRefused) || errors.Is(err, certs.ErrStaged) {
		return nil
	}
	return err
}

// Request implements server.Certificates.
func (c certificates) Request(instance, name string) (server.CertificateRequest, error) {
	r, err := c.Manager.Request(instance, name)
	return server.CertificateRequest{PEM: string(r.PEM), File: r.File, Subject: r.Subject, Domains: r.Domains, Key: r.Key, SPKI: r.SPKI}, err
}

// Test implements server.Certificates.
func (c certificates) Test(ctx context.Context, instance string, t server.CertificateTest) (server.CertificateReport, error) {
	r, err := c.Manager.Test(ctx, instance, certs.Test{URL: t.URL, Privkey: t.Privkey, Domains: t.Domains, Certificate: t.Certificate})
	report := server.CertificateReport{
		Source: r.Source, Bytes: r.Bytes, Version: r.Version, Served: err == nil && r.OK(), Staged: r.Staged, KeyKnown: r.KeyChecked,
		Problems: problemsFound(r.Problems), Notes: problemsFound(r.Notes), Warnings: r.Warnings,
	}
	for i, x := range r.Chain {
		if i == 0 {
			report.Subject, report.Issuer, report.Serial, report.Domains = x.Subject, x.Issuer, x.Serial, x.Names
			report.NotBefore, report.NotAfter = x.NotBefore, x.NotAfter
		}
		report.Chain = append(report.Chain, x.Subject)
	}
	return report, err
}

func problemsFound(list []pair.Problem) (out []reconciler.CertificateProblem) {
	for _, p := range list {
		out = append(out, reconciler.CertificateProblem{Code: string(p.Code), Found: p.Found, Expected: p.Expected, Hint: p.Hint})
	}
	return out
}

// bound are the certificates of a front, which is made before they are.
type bound struct {
	certificates
	instances func() []*reconciler.Instance
}

// ServeHTTP answers the challenges of ACME.
func (b *bound) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.Manager == nil {
		http.NotFound(w, r)
		return
	}
	b.HTTPHandler().ServeHTTP(w, r)
}

func (b *bound) challenge(hello *tls.ClientHelloInfo) (*tls.Certificate, bool) {
	if b.Manager == nil {
		return nil, false
	}
	return b.ChallengeCertificate(hello)
}

// Certificate implements front.Certificates.
func (b *bound) Certificate(instance, name, host string) (front.Certificate, error) {
	if b.Manager == nil {
		return front.Certificate{}, fmt.Errorf("serve certificate for %s: none are kept", host)
	}
	if instance == ownRoute {
		instance, name = b.ownCertificate(name)
	}
	return b.certificates.Certificate(instance, name, host)
}
