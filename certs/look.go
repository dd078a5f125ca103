package certs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
)

const (
	fallbackSelfSigned = "self-signed"
	// minRemaining is how much of its life a new certificate should have.
	minRemaining = 24 * time.Hour
	// maxBundle bounds the host's file of roots; the system's has 200 kB.
	maxBundle = 2 << 20
)

// look is one look at a certificate, with what is wanted of it at that time.
type look struct {
	*certificate
	spec    desired.CertificateSpec
	hash    string
	commit  string
	now     time.Time
	bundle  []byte // the roots beside the system's
	noRoots error  // why they cannot be read
	force   bool   // a person wants the source asked
	forced  bool   // and takes what it has, be it older
	tried   map[step]bool
	outcome error // of asking, for who wants to know
}

// look does all that is due. Whoever calls it holds the work.
func (c *certificate) look(ctx context.Context) { _ = c.lookFor(ctx, false, false) }

// lookFor looks, and asks the source whatever the time when force is set.
func (c *certificate) lookFor(ctx context.Context, force, older bool) error {
	if c.gone() {
		return c.leave()
	}
	spec, hash := c.wanted()
	l := &look{certificate: c, spec: spec, hash: hash, commit: c.commitNow(), now: c.m.now(), force: force, forced: older, tried: map[step]bool{}}
	c.m.clock.look(l.now, c.m.reportAll)
	if err := l.prepare(); err != nil {
		c.trouble("open", err)
		l.refresh()
		return err
	}
	c.trouble("open", nil)
	for ctx.Err() == nil {
		next, any := l.next()
		if !any {
			break
		}
		l.tried[next] = true
		err := l.do(ctx, next)
		if ctx.Err() == nil { // what was broken off says nothing
			c.trouble(next, err)
		}
		l.refresh()
	}
	l.tellOfOrders()
	l.warn()
	c.trouble("remember", c.remember())
	l.refresh()
	l.wakeFor(c.told().NextTry)
	return errors.Join(l.outcome, l.broken())
}

// wakeFor has the loop look again when the source is to be asked, if that is
// before the next look: an interval as short as that between two looks would
// else take twice as long.
func (l *look) wakeFor(at time.Time) {
	wait := at.Sub(l.m.now())
	if wait <= 0 || wait >= l.m.opts.Every || at.Equal(l.wakes) {
		return
	}
	l.wakes = at
	time.AfterFunc(wait, l.m.trigger)
}

// prepare reads what is needed to decide.
func (l *look) prepare() error {
	if err := l.open(); err != nil {
		return err
	}
	if err := l.recall(); err != nil {
		return err
	}
	if l.memo.Spec != l.hash {
		l.memo.adopt(l.hash)
		l.staged, l.skew = nil, 0
	}
	l.memo.Real = l.memo.Real || l.store.HasReal()
	l.store.SetKeep(l.spec.Keep)
	if l.ordered != "" && modeOf(l.spec) != byACME {
		l.m.acme.Forget(l.id.request())
		l.ordered = ""
	}
	l.bundle, l.noRoots = bundleOf(l.m.opts.CAFile, l.spec.CA)
	l.trouble("roots", l.noRoots) // without them what is served is served all the same
	return nil
}

// bundleOf joins the host's roots with those of a certificate.
func bundleOf(file, more string) ([]byte, error) {
	if file == "" {
		return []byte(more), nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read trusted roots: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxBundle+1))
	if err != nil {
		return nil, fmt.Errorf("read trusted roots: %w", err)
	}
	if len(data) > maxBundle {
		return nil, fmt.Errorf("read trusted roots: %s has more than %d bytes", file, maxBundle)
	}
	return slices.Concat(data, []byte("\n"), []byte(more)), nil
}

// next is the first step that is due and was not tried in this look.
func (l *look) next() (step, bool) {
	for _, s := range decide(l.view()) {
		if !l.tried[s] {
			return s, true
		}
	}
	return "", false
}

func (l *look) do(ctx context.Context, s step) error {
	switch s {
	case stepRestore:
		return l.restore()
	case stepRequest:
		return l.makeRequest()
	case stepPromote:
		return l.promote()
	case stepOrder:
		return l.order()
	case stepAsk:
		return l.ask(ctx)
	case stepStandIn:
		return l.standIn()
	}
	return l.bring(ctx)
}

func (l *look) view() view {
	v := view{
		now: l.now, spec: l.spec, hash: l.hash, spread: l.m.opts.Seed + "/" + l.id.path(), doubt: l.doubt() != "", force: l.force,
		live: l.leaf(), memo: l.memo, request: l.request, ordered: l.ordered == l.orderKey(), restored: l.restored,
	}
	v.real = l.store.HasReal() || l.memo.Real && modeOf(l.spec) != selfSigned
	if l.staged != nil {
		v.staged = l.staged.from
	}
	if r := l.memo.Refusal; r != nil {
		v.recheck = l.fresh || r.Context != l.judgement() || l.now.Before(r.At)
	}
	return v
}

// leaf is what is live, for a decision.
func (l *look) leaf() leaf {
	g, any := l.store.Current()
	if !any {
		return leaf{}
	}
	x := g.Pair.Leaf()
	out := leaf{fingerprint: pair.Fingerprint(x), real: !g.Pair.SelfSigned(), notBefore: x.NotBefore, notAfter: x.NotAfter, covers: true}
	if out.renewAt = pair.RenewAt(x, l.m.opts.Seed); !out.real {
		out.renewAt = pair.RenewSelfSignedAt(x)
	}
	for _, d := range l.spec.Domains {
		out.covers = out.covers && pair.Covers(x, d)
	}
	if at := l.acmeRenewAt(); out.real && !at.IsZero() {
		out.renewAt = at
	}
	return out
}

// doubt says why the clock cannot be right; empty when it can.
func (c *certificate) doubt() string {
	if why := c.m.clock.doubt(); why != "" {
		return why
	}
	if c.skewed() {
		return fmt.Sprintf("the clock of this host is %s off that of the source", c.skew.Abs().Round(time.Second))
	}
	return ""
}

func (c *certificate) skewed() bool { return c.skew.Abs() > mostSkew }

// judgement names what a candidate is held against, besides the spec: the roots
// and what is live.
func (l *look) judgement() string {
	live := l.leaf()
	sum := sha256.Sum256(fmt.Appendf(nil, "%x %s %t %t", sha256.Sum256(l.bundle), live.fingerprint, live.real && l.now.After(live.notAfter), live.hurry(l.now)))
	return hex.EncodeToString(sum[:12])
}

func (c *certificate) commitNow() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.commit
}

// trouble notes what is wrong with this host, or that it is over, and reports it
// once.
func (c *certificate) trouble(of step, err error) {
	if err == nil {
		if _, had := c.troubles[of]; had {
			delete(c.troubles, of)
			c.m.opts.Log.WithField("certificate", c.id.path()).Infof("certs: %s works again", of)
		}
		return
	}
	if _, had := c.troubles[of]; !had {
		c.tell(ReasonProblem, "%s: %v", of, err)
	}
	c.troubles[of] = err.Error()
}

// broken is what is wrong with this host, as one error.
func (c *certificate) broken() error {
	var all []error
	for _, of := range sortedSteps(c.troubles) {
		all = append(all, fmt.Errorf("%s: %s", of, c.troubles[of]))
	}
	return errors.Join(all...)
}

// leave lets go of a certificate that is wanted no more.
func (c *certificate) leave() error {
	spec, _ := c.wanted()
	if spec.ACME != nil {
		c.m.acme.Forget(c.id.request())
	}
	had := c.opened.Load()
	err := c.close()
	if had {
		c.tell(ReasonForgotten, "it is wanted no more, so it is neither served nor renewed; its files stay in %s", c.dir)
	}
	c.m.retire(c)
	return err
}

// uses are how the source is asked.
func (l *look) use(field source.Field) source.Use {
	return source.Use{
		Field: field, CA: []byte(l.spec.CA), Pins: l.spec.Pins, Bearer: l.spec.Bearer, Token: l.spec.BearerToken,
		KeyOverHTTPS: l.spec.KeyOverHTTPS && field == source.Key, Tree: tree(l.spec.Encrypted),
	}
}
