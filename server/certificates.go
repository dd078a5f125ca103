package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// Certificates are what operators do with certificates beyond looking at them,
// which the status of an instance is for.
type Certificates interface {
	// Look looks at the certificates of an instance once, where no loop does.
	Look(ctx context.Context, instance string) error
	// Renew asks for a successor now. With force a certificate counts that is
	// older than the live one or was refused before.
	Renew(ctx context.Context, instance, name string, force bool) error
	// Request is the signing request for the key of this host.
	Request(instance, name string) (CertificateRequest, error)
	// Rollback makes an older pair the live one.
	Rollback(ctx context.Context, instance, name string, generation int) error
	// Test fetches and checks without publishing.
	Test(ctx context.Context, instance string, t CertificateTest) (CertificateReport, error)
}

// CertificateRequest is a signing request and what is in it.
type CertificateRequest struct {
	PEM     string   `json:"pem"`
	File    string   `json:"file"` // on the host
	Subject string   `json:"subject,omitempty"`
	Domains []string `json:"domains"`
	Key     string   `json:"key"`  // kind
	SPKI    string   `json:"spki"` // fingerprint of the public key
	// Source is where the chain is awaited.
	Source string `json:"source,omitempty"`
}

// CertificateTest says what to fetch and what to hold it against.
type CertificateTest struct {
	URL     string   `json:"url" maxLength:"4096" doc:"where the certificate is; instance.yaml takes the same" example:"https://pki.example.com/web.pem"`
	Privkey string   `json:"privkey,omitempty" maxLength:"4096" doc:"where its key is"`
	Domains []string `json:"domains,omitempty" maxItems:"1000"`
	// Certificate is one of the instance, whose key, domains and trust are used
	// as far as nothing else is said.
	Certificate string `json:"certificate,omitempty" maxLength:"128"`
}

// CertificateReport is what a test found.
type CertificateReport struct {
	Source  string `json:"source"`
	Bytes   int    `json:"bytes"`
	Version string `json:"version,omitempty"`
	// Served says that it would be served, from Staged on if that is set.
	Served    bool                            `json:"served"`
	Staged    time.Time                       `json:"staged,omitzero"`
	Subject   string                          `json:"subject,omitempty"`
	Issuer    string                          `json:"issuer,omitempty"`
	Serial    string                          `json:"serial,omitempty"`
	Domains   []string                        `json:"domains,omitempty"`
	NotBefore time.Time                       `json:"not_before,omitzero"`
	NotAfter  time.Time                       `json:"not_after,omitzero"`
	Chain     []string                        `json:"chain,omitempty"` // subjects, leaf first
	KeyKnown  bool                            `json:"key_known"`       // there was a key to hold it against
	Problems  []reconciler.CertificateProblem `json:"problems,omitempty"`
	Notes     []reconciler.CertificateProblem `json:"notes,omitempty"`
	Warnings  []string                        `json:"warnings,omitempty"`
}

// RenewRequest is the body of a renewal.
type RenewRequest struct {
	Force bool `json:"force,omitempty" doc:"take one that is older than the live one, or was refused before"`
}

// CertificateRollback is the body of a rollback; 0 is the pair before.
type CertificateRollback struct {
	Generation int `json:"generation,omitempty" minimum:"0" doc:"0: the pair before"`
}

// Certificates returns those of an instance.
func (a *API) Certificates(ctx context.Context, instance string) ([]reconciler.CertificateStatus, error) {
	s, err := a.certified(ctx, instance)
	return orEmpty(s.Certificates), err
}

// Certificate returns one of an instance.
func (a *API) Certificate(ctx context.Context, instance, name string) (reconciler.CertificateStatus, error) {
	s, err := a.certified(ctx, instance)
	if err != nil {
		return reconciler.CertificateStatus{}, err
	}
	var names []string
	for _, c := range s.Certificates {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	err = &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find certificate %s of %s: there is none", name, instance)}
	if len(names) == 0 {
		return reconciler.CertificateStatus{}, withHint(err, "its instance.yaml has no certificates; docs/configuration.md shows how they are written")
	}
	return reconciler.CertificateStatus{}, withHint(err, "there are: "+strings.Join(names, ", "))
}

// certified is the status of an instance with its certificates as they lie on
// disk.
func (a *API) certified(ctx context.Context, instance string) (reconciler.Status, error) {
	r, err := a.find(instance)
	if err != nil {
		return reconciler.Status{}, err
	}
	s, err := a.status(ctx, r)
	if err != nil || !a.cfg.Alone || a.cfg.Certificates == nil {
		return s, err
	}
	if err := a.cfg.Certificates.Look(ctx, instance); err != nil {
		return s, err
	}
	return r.Status(), nil
}

// one finds a certificate before something is done with it.
func (a *API) one(ctx context.Context, instance, name string) (Certificates, error) {
	if a.cfg.Certificates == nil {
		return nil, absent("find certificate: nobody keeps any here")
	}
	_, err := a.Certificate(ctx, instance, name)
	return a.cfg.Certificates, err
}

// RenewCertificate asks for a successor now, and says how it stands then.
func (a *API) RenewCertificate(ctx context.Context, instance, name string, force bool) (reconciler.CertificateStatus, error) {
	c, err := a.one(ctx, instance, name)
	if err == nil {
		err = c.Renew(ctx, instance, name, force)
	}
	if err != nil {
		return reconciler.CertificateStatus{}, err
	}
	return a.Certificate(ctx, instance, name)
}

// CertificateRequest returns the signing request of a certificate.
func (a *API) CertificateRequest(ctx context.Context, instance, name string) (CertificateRequest, error) {
	c, err := a.one(ctx, instance, name)
	if err != nil {
		return CertificateRequest{}, err
	}
	status, err := a.Certificate(ctx, instance, name)
	if err != nil {
		return CertificateRequest{}, err
	}
	r, err := c.Request(instance, name)
	r.Source = status.Source
	return r, err
}

// RollbackCertificate makes an older pair the live one.
func (a *API) RollbackCertificate(ctx context.Context, instance, name string, generation int) (reconciler.CertificateStatus, error) {
	c, err := a.one(ctx, instance, name)
	if err != nil {
		return reconciler.CertificateStatus{}, err
	}
	if generation == 0 {
		now, err := a.Certificate(ctx, instance, name)
		if err == nil && len(now.Kept) == 0 {
			err = invalid(fmt.Errorf("roll back certificate %s: there is no pair before the live one", name))
		}
		if err != nil {
			return now, err
		}
		generation = slices.Max(now.Kept)
	}
	if err := c.Rollback(ctx, instance, name, generation); err != nil {
		return reconciler.CertificateStatus{}, invalid(err)
	}
	return a.Certificate(ctx, instance, name)
}

// TestCertificate says what would become of a reference.
func (a *API) TestCertificate(ctx context.Context, instance string, t CertificateTest) (CertificateReport, error) {
	if a.cfg.Certificates == nil {
		return CertificateReport{}, absent("test certificate: nobody keeps any here")
	}
	if _, err := a.certified(ctx, instance); err != nil {
		return CertificateReport{}, err
	}
	report, err := a.cfg.Certificates.Test(ctx, instance, t)
	if err != nil {
		return report, invalid(err)
	}
	return report, nil
}
