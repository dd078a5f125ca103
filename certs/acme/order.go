package acme

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// asker talks to one authority for the length of an order or a question.
type asker struct {
	acmez.Client
	transport *transport
}

func (m *Manager) asker(i Issuer) (*asker, error) {
	t, err := newTransport(&m.opts, i.Roots)
	if err != nil {
		return nil, err
	}
	return &asker{transport: t, Client: acmez.Client{Client: &acme.Client{
		Directory:   i.Directory,
		HTTPClient:  t.client(),
		UserAgent:   "fairlead",
		PollTimeout: m.opts.OrderTimeout,
		Logger:      slog.New(debugLog{m.opts.Log}),
	}}}, nil
}

func (a *asker) close() { a.transport.base.CloseIdleConnections() }

// refusal is an error of an authority, with the time that it named.
type refusal struct {
	error
	after time.Time
}

func (r *refusal) Unwrap() error { return r.error }

// order obtains a certificate from one authority. replaced is the one that is
// followed, if the same authority issued it.
func (m *Manager) order(ctx context.Context, req *Request, i Issuer, old *record, now time.Time) (*record, error) {
	a, err := m.asker(i)
	if err != nil {
		return nil, err
	}
	defer a.close()
	r, err := m.orderFrom(ctx, a, req, i, old)
	if err != nil {
		return nil, &refusal{err, a.transport.said()}
	}
	if err := r.accept(req.Domains, now); err != nil {
		return nil, fmt.Errorf("refuse what was issued: %w", err)
	}
	return r, nil
}

func (m *Manager) orderFrom(ctx context.Context, a *asker, req *Request, i Issuer, old *record) (*record, error) {
	signer, keyPEM, err := m.key(req, old)
	if err != nil {
		return nil, err
	}
	if a.ChallengeSolvers, err = m.solvers(req); err != nil {
		return nil, err
	}
	chains, err := m.obtain(ctx, a, req, i, old, signer)
	if err != nil {
		return nil, err
	}
	return &record{
		Directory: i.Directory, Profile: i.Profile, Issued: wall(),
		Chain: string(choose(chains, i.PreferRoot)), Key: string(keyPEM),
	}, nil
}

// key is that of the next certificate.
func (m *Manager) key(req *Request, old *record) (crypto.Signer, []byte, error) {
	if req.ReuseKey && old != nil && typeOf(old.leaf.PublicKey) == req.Key {
		signer, err := decodeKey([]byte(old.Key))
		return signer, []byte(old.Key), err
	}
	signer, err := keyTypes[req.Key]()
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	text, err := encodeKey(signer)
	return signer, text, err
}

// obtain runs an order. An account that the authority has lost is registered
// anew and the order made once more; a certificate that it does not know as the
// one to replace is left out.
func (m *Manager) obtain(ctx context.Context, a *asker, req *Request, i Issuer, old *record, key crypto.Signer) ([]acme.Certificate, error) {
	csr, err := acmez.NewCSR(key, req.Domains)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	lost := ""
	var replaces *x509.Certificate
	if old != nil && old.Directory == i.Directory && len(old.leaf.AuthorityKeyId) > 0 {
		replaces = old.leaf
	}
	for {
		account, err := m.store.accountOf(ctx, a.Client.Client, i, lost)
		if err != nil {
			return nil, err
		}
		params, err := acmez.OrderParametersFromCSR(account, csr)
		if err != nil {
			return nil, fmt.Errorf("make order: %w", err)
		}
		params.Profile, params.Replaces = i.Profile, replaces
		chains, err := a.ObtainCertificate(ctx, params)
		var problem acme.Problem
		switch {
		case err == nil && len(chains) == 0:
			return nil, errors.New("the authority offers no chain")
		case err == nil:
			return chains, nil
		case !errors.As(err, &problem):
			return nil, err
		case problem.Type == acme.ProblemTypeAccountDoesNotExist && lost == "":
			lost = account.Location
		case replaces != nil && unknownReplaced(problem):
			replaces = nil
		default:
			return nil, err
		}
	}
}

// unknownReplaced reports whether an order may have failed because of the
// certificate that it named as replaced. Only refusals that speak of the order
// itself count, never one of a rate or of a name (lego #2137).
func unknownReplaced(p acme.Problem) bool {
	if p.Resource != nil { // of an authorization
		return false
	}
	return slices.Contains([]string{acme.ProblemTypeMalformed, acme.ProblemTypeAlreadyReplaced, acme.ProblemTypeServerInternal,
		acme.ProblemTypeUnauthorized, acme.ProblemTypeNamespace + "notFound"}, p.Type)
}

func (m *Manager) solvers(req *Request) (map[string]acmez.Solver, error) {
	solvers := map[string]acmez.Solver{}
	for _, c := range req.Challenges {
		switch c {
		case HTTP01:
			solvers[c] = httpSolver{&m.challenges}
		case TLSALPN01:
			solvers[c] = alpnSolver{&m.challenges}
		case DNS01:
			d := req.DNS
			solvers[c] = &certmagic.DNS01Solver{DNSManager: certmagic.DNSManager{
				DNSProvider: d.Provider, TTL: d.TTL, PropagationDelay: d.Delay, PropagationTimeout: d.Timeout,
				Resolvers: d.Resolvers, OverrideDomain: d.Delegate,
			}}
		default:
			return nil, fmt.Errorf("unknown challenge %q", c)
		}
	}
	return solvers, nil
}

// choose takes the chain whose last certificate was issued by root, or the first.
func choose(chains []acme.Certificate, root string) []byte {
	for _, c := range chains {
		var last *pem.Block
		for block, rest := pem.Decode(c.ChainPEM); block != nil; block, rest = pem.Decode(rest) {
			last = block
		}
		if root == "" || last == nil {
			break
		}
		if top, err := x509.ParseCertificate(last.Bytes); err == nil && top.Issuer.CommonName == root {
			return c.ChainPEM
		}
	}
	return chains[0].ChainPEM
}

// suggestion asks the issuer of a certificate when it wants it renewed. The
// time chosen earlier is kept as long as the window is the same.
func (m *Manager) suggestion(ctx context.Context, i Issuer, r *record, had *window) *window {
	now := wall()
	next := &window{Of: r.id, Next: nextLook(r.leaf, now, nil)}
	if had != nil && had.Of == r.id {
		kept := *had
		kept.Next = next.Next
		next = &kept
	}
	a, err := m.asker(i)
	if err != nil {
		return next
	}
	defer a.close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	info, err := a.GetRenewalInfo(ctx, r.leaf)
	if err != nil {
		m.opts.Log.WithError(err).WithField("issuer", i.Directory).Debug("renewal information is not to be had")
		return next
	}
	next.Next = nextLook(r.leaf, now, info.RetryAfter)
	if w := info.SuggestedWindow; !next.Known || !w.Start.Equal(next.Start) || !w.End.Equal(next.End) {
		next.Start, next.End, next.Selected, next.Known = w.Start, w.End, info.SelectedTime, true
		next.Explanation = info.ExplanationURL
	}
	return next
}
