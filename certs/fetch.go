package certs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/reconciler"
)

// errOther says that the source's content was refused before it was a candidate.
var errOther = errors.New("its content was refused")

// ask asks the source, and does with what it has what is to be done. The error
// is one of this host; what the source did is in the memo.
func (l *look) ask(ctx context.Context) error {
	cand, same, err := l.fetch(ctx)
	if ctx.Err() != nil && err != nil {
		return nil // broken off: nothing was learnt
	}
	l.now = l.m.now()
	if l.skewed() {
		return l.suspect()
	}
	l.tellOnce(kindSkew, ReasonClockTrusted, "", "")
	switch {
	case err != nil && !errors.Is(err, errOther):
		l.failed(err)
		return nil
	case err == nil:
		l.answered()
	}
	l.fresh = false
	if same || err != nil {
		return nil
	}
	return l.consider(cand)
}

// suspect notes that the source has another time than this host.
func (l *look) suspect() error {
	l.outcome = errors.New(l.doubt())
	l.again(l.doubt())
	l.tellOnce(kindSkew, ReasonClockSuspect, "skewed", l.doubt()+": nothing is taken or renewed until they agree; what is served stays. Look at the clocks of both")
	return nil
}

// again notes a failure and when the next try is.
func (l *look) again(text string) *trouble {
	t := l.memo.Trouble
	if t == nil || t.Absent {
		t = &trouble{}
	}
	t = &trouble{Count: t.Count + 1, At: l.now, Next: l.now.Add(waitAfter(t.Count + 1)), Error: text}
	l.memo.Trouble = t
	return t
}

// failed notes that the source gave nothing.
func (l *look) failed(err error) {
	l.outcome = err
	if t := l.memo.Trouble; t != nil && fromFiles(l.spec) && t.Error == err.Error() && within(t.At, l.now, time.Hour) {
		return // as it was at the last look
	}
	t := l.again(err.Error())
	if d, said := reconciler.RetryDelay(err); said {
		t.Next, t.Said = l.now.Add(d), true
	}
	t.Final = reconciler.IsTerminal(err)
	if errors.Is(err, source.ErrNotFound) { // that is an answer: it is not there yet
		l.askedNow()
		t.Absent = true
		if !l.leaf().real {
			return // and nobody need be told that a CA takes its time
		}
	}
	l.tellOnce(kindFetch, ReasonFetchFailed, source.Result(err), err.Error())
}

// askedNow notes that the source answered. A file is asked with every look, and
// that is not worth a write each time.
func (l *look) askedNow() {
	l.asked = l.now
	if !fromFiles(l.spec) || !within(l.memo.Asked, l.now, time.Hour) {
		l.memo.Asked = l.now
	}
}

func (l *look) answered() {
	l.askedNow()
	l.memo.Trouble = nil
	l.tellOnce(kindFetch, ReasonFetchFailed, "", "")
}

// fetch gets what the source has. same says that it is what it was, and was
// dealt with.
func (l *look) fetch(ctx context.Context) (cand *candidate, same bool, err error) {
	prevChain, prevKey := l.memo.Chain, l.memo.Key
	if v := l.view(); v.recheck || v.lost() || l.forced || (v.staged.IsZero() && !l.memo.Staged.IsZero()) {
		prevChain, prevKey = "", ""
	}
	cand, l.advice = &candidate{}, nil
	cand.origin = store.Origin{Source: sourceOf(l.spec), Commit: l.commit}
	keySame := true
	if modeOf(l.spec) == byURL {
		if keySame, err = l.fetchKey(ctx, cand, prevKey); err != nil {
			return nil, false, err
		}
		if !keySame {
			prevChain = ""
		}
	}
	chain, err := l.get(ctx, source.Chain, l.spec.Fullchain, prevChain)
	if err != nil {
		return nil, false, err
	}
	if chain.NotModified && keySame {
		l.memo.Chain = chain.Version
		return nil, true, nil
	}
	if keySame && modeOf(l.spec) == byURL { // only its chain is new
		if _, err = l.fetchKey(ctx, cand, ""); err != nil {
			return nil, false, err
		}
	}
	if modeOf(l.spec) == byRequest {
		if cand.Privkey, err = l.encodedKey(); err != nil {
			return nil, false, err
		}
	}
	cand.Chain, cand.chain = chain.Data, chain.Version
	cand.origin.Version = string(chain.Version)
	return cand, false, nil
}

func (l *look) encodedKey() ([]byte, error) {
	key, err := l.ownKey()
	if err != nil {
		return nil, err
	}
	return pair.EncodeKey(key)
}

func (l *look) fetchKey(ctx context.Context, cand *candidate, prev source.Version) (same bool, err error) {
	blob, err := l.get(ctx, source.Key, l.spec.Privkey, prev)
	if err != nil {
		return false, fmt.Errorf("private key: %w", err)
	}
	cand.key = blob.Version
	if blob.NotModified {
		l.memo.Key = blob.Version
		return true, nil
	}
	cand.Privkey, l.key = blob.Data, blob.Data
	return false, nil
}

// get asks for one document.
func (l *look) get(ctx context.Context, field source.Field, ref string, prev source.Version) (source.Blob, error) {
	select {
	case l.m.slots <- struct{}{}:
		defer func() { <-l.m.slots }()
	case <-ctx.Done():
		return source.Blob{}, ctx.Err()
	}
	blob, err := l.m.opts.Fetch.For(l.use(field)).Fetch(ctx, ref, prev)
	l.m.counts.fetched(l.id, schemeOf(ref), source.Result(err))
	l.compareClocks(blob.Date)
	l.advice = append(l.advice, blob.Warnings...)
	switch {
	case err == nil:
		return blob, nil
	case blob.Version != "" && (errors.Is(err, source.ErrWrongKind) || errors.Is(err, source.ErrTooLarge)):
		if !l.skewed() {
			l.refuseContent(field, blob, err)
		}
		return blob, fmt.Errorf("%w: %w", errOther, err)
	}
	return blob, err
}

// compareClocks holds this host's clock against the source's. Where they agree,
// an earlier doubt about this host's is over.
func (l *look) compareClocks(date time.Time) {
	if date.IsZero() {
		return
	}
	now := l.m.now()
	l.skew = now.Sub(date)
	l.m.counts.skewed(l.skew)
	if !l.skewed() {
		l.m.clock.confirm(now)
		l.m.clock.look(now, l.m.reportAll)
	}
}

// contentProblem is what is wrong with what is no PEM of the right kind.
func contentProblem(field source.Field, err error) *pair.Problem {
	p := &pair.Problem{Code: pair.BadChain, Found: err.Error(), Hint: "look at what the source holds"}
	switch {
	case errors.Is(err, source.ErrKeyInChain):
		p.Code, p.Hint = pair.KeyInChain, ""
	case field == source.Key:
		p.Code = pair.BadKey
	}
	return p
}

// refuseContent quarantines what is not even PEM of the right kind: a page of
// HTML, or a chain with a private key.
func (l *look) refuseContent(field source.Field, blob source.Blob, err error) {
	l.answered()
	if field == source.Key {
		l.memo.Key = blob.Version
	} else {
		l.memo.Chain = blob.Version
	}
	l.refuse("content:"+string(blob.Version), blob.Source, pair.Problems{contentProblem(field, err)})
}
