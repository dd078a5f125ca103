package certs

import (
	"crypto"
	"fmt"
	"path/filepath"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

// algorithm is the kind of key that is made here.
func (l *look) algorithm() pair.Algorithm {
	switch {
	case l.spec.Key != "":
		return pair.Algorithm(l.spec.Key)
	case modeOf(l.spec) == byRequest: // which every corporate CA signs
		return pair.RSA2048
	}
	return pair.P256
}

func (l *look) ownKey() (crypto.Signer, error) {
	key, made, err := l.store.Key(l.algorithm())
	if made {
		l.m.opts.Log.WithField("certificate", l.id.path()).Infof("certs: made a key, %s", pair.SPKI(key.Public()))
	}
	return key, err
}

// makeRequest makes the key of this host and the request for it, or makes the
// request anew when subject or domains are others.
func (l *look) makeRequest() error {
	subject, err := parseSubject(l.spec.Subject)
	if err != nil {
		return err
	}
	if _, err := l.ownKey(); err != nil {
		return err
	}
	_, made, err := l.store.CSR(subject, l.spec.Domains)
	if err != nil {
		return err
	}
	l.request = l.hash
	if made {
		l.tell(ReasonRequest, "%s is the signing request: have it signed by the CA, and the chain put at %s", l.csrFile(), sourceOf(l.spec))
	}
	return nil
}

func (c *certificate) csrFile() string { return filepath.Join(c.dir, "cert.csr") }

func parseSubject(text string) (pair.Subject, error) {
	if text == "" {
		return nil, nil
	}
	s, err := pair.ParseSubject(text)
	if err != nil {
		return nil, fmt.Errorf("read subject: %w", err)
	}
	return s, nil
}

// standIn publishes a self-signed certificate: with the key that the source
// gave, else with that of this host, so that the real one changes no key.
func (l *look) standIn() error {
	key, err := l.standInKey()
	if err != nil {
		return err
	}
	p, err := pair.SelfSigned(key, l.spec.Domains, l.now, 0)
	if err != nil {
		return err
	}
	had := l.live.Load()
	g, err := l.store.Publish(p, store.Origin{Source: fallbackSelfSigned, Commit: l.commit})
	if err != nil {
		return err
	}
	l.serve(g)
	l.m.counts.published(l.id)
	if had == nil {
		l.tell(ReasonSelfSigned, "a self-signed certificate is served, until %s", stamp(p.Leaf().NotAfter))
	}
	return nil
}

func (l *look) standInKey() (crypto.Signer, error) {
	if modeOf(l.spec) == byURL && l.key != nil {
		if key, err := pair.ParseKey(l.key); err == nil {
			return key, nil
		}
	}
	return l.ownKey()
}
