package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/fairlead/fairlead/reconciler"
)

// entry is one reference that is followed, or one repository whose deprecated
// tags are.
type entry struct {
	tag name.Tag
	key string
	// retired says that it is about the deprecated tags of the repository.
	retired bool

	mu        sync.Mutex
	rec       record
	wants     map[time.Duration]time.Time // how often it is wanted, and when that was said last
	platforms map[string]time.Time        // likewise
	names     map[string]bool             // as the instances write it
	due       time.Time
	fails     int
	err       error // of the last question
	answered  int   // questions that ended
	running   *flight
	queued    *flight
}

// flight is one question under way; everybody waits for the same one.
type flight struct {
	done       chan struct{}
	cancel     context.CancelFunc
	waiters    int
	background bool
}

func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// want notes who asks, and reports whether the next question comes sooner now.
func (e *entry) want(ref string, ask reconciler.Ask, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.dueLocked(now)
	every := min(max(ask.Every, minEvery), maxEvery)
	if len(e.wants) < 64 {
		e.wants[every] = now
	}
	if len(e.names) < 64 {
		e.names[ref] = true
	}
	if _, there := e.platforms[ask.Platform]; there || len(e.platforms) < 16 {
		e.platforms[ask.Platform] = now
	}
	e.rec.Used = now
	after := e.dueLocked(now)
	return !after.IsZero() && (before.IsZero() || after.Before(before))
}

// every is the smallest interval that was asked for lately; 0 when nobody did.
func (e *entry) every(now time.Time) (every time.Duration) {
	for d, at := range e.wants {
		switch {
		case now.Sub(at) > interestLasts+d:
			delete(e.wants, d)
		case every == 0 || d < every:
			every = d
		}
	}
	return every
}

// dueLocked is when the next question is due; zero when nobody wants one.
func (e *entry) dueLocked(now time.Time) time.Time {
	every := e.every(now)
	if every == 0 {
		return time.Time{}
	}
	if e.due.IsZero() { // the first since the start: what was known before is asked again soon
		asked := e.rec.Asked
		if asked.After(now) {
			asked = time.Time{} // the clock was set back
		}
		e.due = later(asked.Add(shorten(every)), now.Add(rand.N(min(every/10, 10*time.Second))))
	}
	if most := now.Add(every); e.err == nil && e.due.After(most) {
		e.due = now.Add(shorten(every))
	}
	return e.due
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// shorten takes up to a tenth away, so that a fleet does not ask all at once
// and no answer gets older than was asked for.
func shorten(d time.Duration) time.Duration { return d - rand.N(d/10+1) }

// known is what is known without asking. It is enough when there is a digest,
// or an error that a new question would not change yet.
func (e *entry) known(ref, platform string, now time.Time) (r reconciler.Release, err error, enough bool) { //nolint:revive // the bool says whether the first two count
	e.mu.Lock()
	defer e.mu.Unlock()
	f, ok := e.rec.Facts[platform]
	cause := e.err
	if ok && f.Refused != "" && cause == nil {
		cause = errors.New(f.Refused)
	}
	if cause != nil {
		cause = classed(fmt.Errorf("resolve %s: %w", ref, cause), now)
	}
	if !ok || f.Digest == "" {
		return reconciler.Release{Ref: ref}, cause, cause != nil && now.Before(e.due)
	}
	r = reconciler.Release{Ref: ref, Digest: writtenRepository(ref) + "@" + f.Digest, Version: f.Version, Created: f.Created,
		Seen: f.Seen, Deprecated: f.Deprecated, Asked: e.rec.Asked, Err: cause}
	if cause != nil {
		r.Since = e.rec.Since
		if e.err == nil {
			r.Since = f.RefusedSince
		}
	}
	return r, nil, true
}

// wanted are the platforms that were asked for lately; they alone are looked up.
func (e *entry) wanted(now time.Time) []string {
	var ps []string
	for p, at := range e.platforms {
		if now.Sub(at) < 2*maxEvery {
			ps = append(ps, p)
		}
	}
	slices.Sort(ps)
	return ps
}

// join waits for the question under way, or begins one. Whoever wants it fresh
// does not take an answer that may have been given before: the next question is
// for all of those together. Whoever does not, and saw fewer answers than there
// are now, has one to look at and does not ask.
func (c *Client) join(e *entry, fresh bool, saw int) *flight {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.running
	switch {
	case f == nil && !fresh && e.answered != saw:
		f = &flight{done: make(chan struct{})}
		close(f.done)
	case f == nil:
		f = c.begin(e, withFresh(context.Background(), fresh), false)
	case fresh && e.queued == nil:
		e.queued = &flight{done: make(chan struct{})}
		f = e.queued
	case fresh:
		f = e.queued
	}
	f.waiters++
	return f
}

func (e *entry) answers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.answered
}

// leave stops a question that nobody waits for any more.
func (c *Client) leave(e *entry, f *flight, late error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.waiters--; f.waiters == 0 && !f.background && f.cancel != nil {
		f.cancel()
	}
	return late
}

// begin asks; e is locked.
func (c *Client) begin(e *entry, ctx context.Context, background bool) *flight { //nolint:revive // the context is the question's, not the caller's
	f := &flight{done: make(chan struct{}), background: background}
	c.start(e, f, ctx)
	return f
}

func (c *Client) start(e *entry, f *flight, ctx context.Context) { //nolint:revive // as begin
	ctx, f.cancel = context.WithTimeout(ctx, c.opts.Timeout)
	e.running = f
	go func() {
		defer f.cancel()
		c.question(ctx, e)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.running = nil
		e.answered++
		if next := e.queued; next != nil {
			e.queued = nil
			if next.waiters > 0 {
				c.start(e, next, withFresh(context.Background(), true))
			} else {
				close(next.done)
			}
		}
		close(f.done)
		c.nudge()
	}()
}

type freshKey struct{}

// withFresh marks a question that a person waits for: it is asked even while a
// registry is left alone after failures, though not while it limits.
func withFresh(ctx context.Context, fresh bool) context.Context {
	return context.WithValue(ctx, freshKey{}, fresh)
}

func isFresh(ctx context.Context) bool {
	fresh, _ := ctx.Value(freshKey{}).(bool)
	return fresh
}
