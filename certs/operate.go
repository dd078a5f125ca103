package certs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

// Sync looks once at every certificate of an instance and waits for what comes
// of it. Where an authority issues by ACME, that needs Run. The error says what
// is wrong with this host; what a source had shows in Certificates.
func (m *Manager) Sync(ctx context.Context, instance string) error {
	var (
		wg  sync.WaitGroup
		mu  sync.Mutex
		all []error
	)
	for _, c := range m.every() {
		if c.id.instance != instance {
			continue
		}
		wg.Go(func() {
			err := c.await(ctx)
			if err == nil {
				defer c.end()
				c.look(ctx)
				err = c.broken()
			}
			if err != nil {
				mu.Lock()
				defer mu.Unlock()
				all = append(all, fmt.Errorf("certificate %s: %w", c.id.name, err))
			}
		})
	}
	wg.Wait()
	return errors.Join(append(all, ctx.Err())...)
}

// Renew asks the source now, or has ACME order now, whatever the time and
// earlier failures. With force an older certificate than the live one is taken
// as well, and so is one that was refused for that or that somebody went back
// from. The error says why there is none; an order by ACME is not waited for.
func (m *Manager) Renew(ctx context.Context, instance, name string, force bool) error {
	c, err := m.find(instance, name)
	if err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	if err := c.await(ctx); err != nil {
		return fmt.Errorf("renew certificate: %w", err)
	}
	defer c.end()
	spec, _ := c.wanted()
	switch modeOf(spec) {
	case selfSigned:
		return fmt.Errorf("renew certificate %s: it is self-signed, and renewed by itself", name)
	case byACME:
		c.look(ctx)
		if force {
			c.memo.Held, c.memo.Quarantined = nil, nil
			c.trouble("remember", c.remember())
		}
		return m.acme.Renew(c.id.request())
	}
	if force && c.recallNow() == nil {
		c.memo.Held, c.memo.Quarantined, c.memo.Refusal = nil, nil, nil
	}
	if err := c.lookFor(ctx, true, force); err != nil {
		return fmt.Errorf("renew certificate %s: %w", name, err)
	}
	return ctx.Err()
}

// recallNow reads what is remembered, for who is not looking.
func (c *certificate) recallNow() error {
	if err := c.open(); err != nil {
		return err
	}
	return c.recall()
}

// Request is a signing request with what it asks for.
type Request struct {
	PEM     []byte   // PKCS #10
	File    string   // where it lies
	Subject string   // as openssl req -subj takes it; empty: only a common name
	Domains []string // its subject alternative names
	SPKI    string   // fingerprint of the key
	Key     string   // its kind
}

// Request returns the signing request of a certificate whose key is made here,
// and makes key and request if they are not there yet.
func (m *Manager) Request(instance, name string) (Request, error) {
	c, err := m.find(instance, name)
	if err != nil {
		return Request{}, fmt.Errorf("make signing request: %w", err)
	}
	spec, _ := c.wanted()
	if modeOf(spec) != byRequest {
		return Request{}, fmt.Errorf("make signing request: certificate %s needs none: only one with fullchain and without privkey has a key of this host that a CA signs for", name)
	}
	if err := c.open(); err != nil {
		return Request{}, fmt.Errorf("make signing request: %w", err)
	}
	s, err := c.storeNow()
	if err != nil {
		return Request{}, fmt.Errorf("make signing request: %w", err)
	}
	return requestOf(s, &look{certificate: c, spec: spec})
}

func requestOf(s *store.Store, l *look) (Request, error) {
	subject, err := parseSubject(l.spec.Subject)
	if err != nil {
		return Request{}, fmt.Errorf("make signing request: %w", err)
	}
	key, _, err := s.Key(l.algorithm())
	if err != nil {
		return Request{}, fmt.Errorf("make signing request: %w", err)
	}
	text, _, err := s.CSR(subject, l.spec.Domains)
	if err != nil {
		return Request{}, err
	}
	return Request{
		PEM: text, File: l.csrFile(), Subject: l.spec.Subject, Domains: l.spec.Domains,
		SPKI: pair.SPKI(key.Public()), Key: string(pair.AlgorithmOf(key.Public())),
	}, nil
}

// storeNow is the store for who does not hold the work.
func (c *certificate) storeNow() (*store.Store, error) {
	c.opening.Lock()
	defer c.opening.Unlock()
	if c.store == nil {
		return nil, errors.New("it is wanted no more")
	}
	return c.store, nil
}

// Rollback makes an older generation live again. The one that was live is not
// taken again until the source has another one, or Renew is forced.
func (m *Manager) Rollback(ctx context.Context, instance, name string, generation int) error {
	c, err := m.find(instance, name)
	if err != nil {
		return fmt.Errorf("roll back certificate: %w", err)
	}
	if err := c.await(ctx); err != nil {
		return fmt.Errorf("roll back certificate: %w", err)
	}
	defer c.end()
	if err := c.recallNow(); err != nil {
		return fmt.Errorf("roll back certificate: %w", err)
	}
	before, _ := c.store.Current()
	g, err := c.store.Rollback(generation)
	if err != nil {
		return err
	}
	if g.Number == before.Number {
		return nil
	}
	c.serve(g)
	c.memo.Held = slices.DeleteFunc(append(c.memo.Held, before.Meta.Leaf), func(leaf string) bool { return leaf == g.Meta.Leaf })
	c.memo.Refusal, c.staged = nil, nil
	c.tell(ReasonRolledBack, "generation %d is served again, as generation %d, until %s", generation, g.Number, stamp(g.Meta.NotAfter))
	c.look(ctx)
	return ctx.Err()
}
