package certs

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/reconciler"
)

// ErrRefused says that the source has a candidate that was not taken; the status
// has why.
var ErrRefused = errors.New("the certificate was refused")

// ErrStaged says that the source has one that is not valid yet; it is served from
// then on.
var ErrStaged = errors.New("the certificate is not valid yet")

// rules are what a candidate is held against.
func (l *look) rules() (pair.Rules, error) {
	if l.noRoots != nil {
		return pair.Rules{}, l.noRoots
	}
	roots, err := rootsOf(l.bundle)
	if err != nil {
		return pair.Rules{}, err
	}
	r := pair.Rules{Domains: l.spec.Domains, Now: l.now, Roots: roots, MinRemaining: minRemaining, Force: l.forced}
	if g, any := l.store.Current(); any {
		r.Live = g.Pair
	}
	return r, nil
}

func rootsOf(bundle []byte) (*x509.CertPool, error) {
	system, err := x509.SystemCertPool()
	if err != nil {
		system = nil // a host without roots trusts what it was told to
	}
	if len(bytes.TrimSpace(bundle)) == 0 {
		return system, nil
	}
	roots, err := pair.Roots(system, bundle)
	if err != nil {
		return nil, fmt.Errorf("read trusted roots: %w", err)
	}
	return roots, nil
}

// consider checks a candidate and publishes, keeps or refuses it. The error is
// one of this host, or that it was not taken.
func (l *look) consider(cand *candidate) error {
	if why := l.doubt(); why != "" {
		l.again(why)
		return nil
	}
	rules, err := l.rules()
	if err != nil {
		l.again(err.Error())
		return err
	}
	v := pair.Check(cand.Candidate, rules)
	if !v.OK() {
		l.dealtWith(cand)
		l.staged = nil
		l.refuse(cand.Hash(), cand.origin.Source, l.explained(v.Problems))
		return nil
	}
	leaf := pair.Fingerprint(v.Pair.Leaf())
	if slices.Contains(l.memo.Held, leaf) && !l.forced {
		l.dealtWith(cand)
		l.memo.Took, l.memo.Refusal, l.memo.Refused = leaf, nil, 0
		return nil
	}
	if !v.Staged.IsZero() {
		return l.stage(cand, v)
	}
	return l.publish(cand, v)
}

// explained says of a certificate for another key which request it should
// answer.
func (l *look) explained(ps pair.Problems) pair.Problems {
	ps = slices.Clone(ps)
	for i, p := range ps {
		if p.Code == pair.KeyMismatch && modeOf(l.spec) == byRequest {
			more := *p
			more.Hint = "the CA signed another request, or the source holds another server's chain: send the CA " + l.csrFile()
			ps[i] = &more
		}
	}
	return ps
}

// dealtWith remembers what a candidate was made of, so that the source can say
// that nothing changed.
func (l *look) dealtWith(cand *candidate) {
	l.memo.Chain, l.memo.Key, l.memo.Staged = cand.chain, cand.key, time.Time{}
}

// refuse quarantines a candidate. It is reported once, and what is live stays.
func (l *look) refuse(hash, source string, ps pair.Problems) {
	l.outcome = fmt.Errorf("%w: %w", ErrRefused, ps)
	r := &refusal{Hash: hash, Context: l.judgement(), Problems: flat(ps), Source: source, At: l.now}
	was := l.memo.Refusal
	same := was != nil && was.Hash == hash && slices.Equal(was.Problems, r.Problems)
	if same {
		r.At = was.At
	}
	l.memo.Refusal = r
	if !same || !fromFiles(l.spec) { // a file is looked at as often as ever
		l.memo.Refused++
	}
	if !l.memo.quarantine(hash) {
		return
	}
	l.m.counts.refused(l.id)
	reason, verb := ReasonRefused, "what %s holds is refused, and what was served stays: %s"
	if slices.ContainsFunc(ps, (*pair.Problem).Alarm) {
		reason = ReasonKeyLeaked
	}
	l.tell(reason, verb, source, ps.Error())
}

// stage keeps a candidate until its time comes.
func (l *look) stage(cand *candidate, v pair.Verdict) error {
	l.dealtWith(cand)
	cand.from = v.Staged
	l.staged, l.memo.Staged = cand, v.Staged
	l.memo.Refusal, l.memo.Refused = nil, 0
	l.outcome = fmt.Errorf("%w: it is from %s on", ErrStaged, stamp(v.Staged))
	l.tellOnce(kindStaged, ReasonStaged, cand.Hash(), fmt.Sprintf("the certificate %s is valid from %s on, and is served from then on", pair.Fingerprint(v.Pair.Leaf()), stamp(v.Staged)))
	return nil
}

// promote takes up what was staged.
func (l *look) promote() error {
	cand := l.staged
	l.staged = nil
	return l.consider(cand)
}

// publish makes a pair the one that is live: on disk, then in memory.
func (l *look) publish(cand *candidate, v pair.Verdict) error {
	before, had := l.store.Current()
	g, err := l.store.Publish(v.Pair, cand.origin)
	if err != nil {
		l.again(err.Error())
		return err
	}
	l.serve(g)
	leaf := pair.Fingerprint(v.Pair.Leaf())
	l.dealtWith(cand)
	l.memo.Took, l.memo.Held, l.memo.Real = leaf, nil, true
	l.memo.Refusal, l.memo.Refused, l.memo.Notes = nil, 0, flat(v.Notes)
	l.tellOnce(kindStaged, "", "", "")
	if had && before.Number == g.Number {
		return nil
	}
	l.m.counts.published(l.id)
	l.tell(ReasonPublished, "%s by %s is served as generation %d, until %s%s", leaf, v.Pair.Leaf().Issuer, g.Number, stamp(v.Pair.Leaf().NotAfter), noted(v.Notes))
	return nil
}

func noted(notes pair.Problems) string {
	if len(notes) == 0 {
		return ""
	}
	return "; " + notes.Error()
}

// delivered is what came of the last delivery.
type delivered struct {
	of      string // fingerprint
	targets []reconciler.CertificateTarget
}

// all reports whether everybody has, or serves, the pair.
func (d delivered) all(of string) bool {
	return d.of == of && !slices.ContainsFunc(d.targets, func(t reconciler.CertificateTarget) bool { return !t.OK })
}

// bring has everybody else who gets the pair have it.
func (l *look) bring(ctx context.Context) error {
	g, any := l.store.Current()
	if !any {
		return nil
	}
	if len(l.spec.Deliver)+len(l.spec.Reload) == 0 {
		l.delivered = delivered{of: g.Meta.Leaf}
		return nil
	}
	d := delivered{of: pair.Fingerprint(g.Pair.Leaf())}
	var amiss []string
	for _, o := range l.m.deliver.Deliver(ctx, l.id.instance, l.spec, g.Pair) {
		d.targets = append(d.targets, o.Target)
		if len(o.Drift) > 0 {
			l.drifted(o.Target.Name, o.Drift)
		}
		if !o.Target.OK {
			amiss = append(amiss, o.Target.Name+": "+o.Target.Message)
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	l.delivered = d
	if len(amiss) == 0 {
		if l.memo.Reported[kindServed] != "" {
			l.tell(ReasonServed, "it is served everywhere")
		}
		l.tellOnce(kindServed, "", "", "")
		return nil
	}
	names := make([]string, 0, len(d.targets))
	for _, t := range d.targets {
		if !t.OK {
			names = append(names, t.Name)
		}
	}
	l.tellOnce(kindServed, ReasonNotServed, d.of+" "+strings.Join(names, " "), strings.Join(amiss, "; "))
	return nil
}

// originOf is where a pair by ACME comes from.
func (l *look) originOf(issuer string) store.Origin {
	return store.Origin{Source: issuer, Commit: l.commit}
}
