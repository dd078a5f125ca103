package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// Backoff of a reference, and of a host that cannot be reached.
const (
	backoffFirst = 10 * time.Second
	backoffMost  = 15 * time.Minute
)

// backoff doubles with each failure; a quarter of it is chance.
func backoff(fails int) time.Duration {
	d := min(backoffFirst<<min(max(fails-1, 0), 10), backoffMost)
	return d - rand.N(d/4)
}

// question asks once what a reference means and settles the answer. Only one
// at a time is under way for an entry.
func (c *Client) question(ctx context.Context, e *entry) {
	if e.retired {
		c.questionRetired(ctx, e)
		return
	}
	e.mu.Lock()
	old, platforms, before := e.rec.clone(), e.wanted(time.Now()), e.err
	e.mu.Unlock()
	rec := old.clone()
	a, err := c.head(ctx, e.tag, rec)
	if err == nil {
		rec.heard(a, time.Now())
		for _, p := range platforms {
			err = both(err, c.learn(ctx, e.tag, &rec, p))
		}
		if err != nil { // what could not be read and checked was never said
			rec.Head, rec.ETag, rec.Past = old.Head, old.ETag, old.Past
		}
	} else {
		err = c.explain(ctx, e.tag, before, err)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return // the daemon ends or the asker went away: that says nothing of the registry
	}
	c.settle(e, old, rec, err)
}

// heard notes what the registry said.
func (r *record) heard(a headAnswer, now time.Time) {
	r.Asked = now
	if a.digest != r.Head && r.Head != "" {
		was := past{r.Head, r.firstSeen(r.Head, now)}
		r.Past = slices.DeleteFunc(r.Past, func(p past) bool { return p.Digest == was.Digest })
		r.Past = slices.Insert(r.Past, 0, was)
		r.Past = r.Past[:min(len(r.Past), maxPast)]
	}
	r.Head, r.ETag = a.digest, a.etag
}

// superseded reports whether the registry once said this and says another now.
func (r *record) superseded(digest string) bool {
	return digest != r.Head && slices.ContainsFunc(r.Past, func(p past) bool { return p.Digest == digest })
}

// settle keeps the answer and tells when it is news.
func (c *Client) settle(e *entry, old, rec record, err error) {
	now := time.Now()
	e.mu.Lock()
	news := (err != nil) != (e.err != nil) || differ(old, rec)
	rec.Used = e.rec.Used
	e.err = err
	every := e.every(now)
	if every == 0 {
		every = c.opts.Every
	}
	switch {
	case err == nil:
		e.fails, rec.Since = 0, time.Time{}
		e.due = now.Add(shorten(every))
	default:
		e.fails++
		if rec.Since.IsZero() {
			rec.Since = now
		}
		e.due = now.Add(backoff(e.fails))
		if until := notBefore(err); until.After(now) {
			e.due = until.Add(rand.N(until.Sub(now)/10 + time.Second))
		}
	}
	e.rec = rec
	var names []string
	for name := range e.names {
		names = append(names, name)
	}
	c.notes.put(e.key, rec, now)
	e.mu.Unlock()
	if news && c.opts.Changed != nil {
		for _, name := range names {
			c.opts.Changed(name)
		}
	}
}

// differ reports whether the two say different things to an instance.
func differ(a, b record) bool {
	if len(a.Facts) != len(b.Facts) {
		return true
	}
	for p, f := range b.Facts {
		was := a.Facts[p]
		if was.Digest != f.Digest || was.Deprecated != f.Deprecated || was.Version != f.Version || was.Refused != f.Refused {
			return true
		}
	}
	return false
}

// endpoint is a repository at a registry or at one of its mirrors.
type endpoint struct {
	repo   name.Repository
	mirror bool
}

// headAnswer is what a registry says of a tag.
type headAnswer struct{ digest, etag string }

// head asks what a tag means now. The registry itself decides; its mirrors, in
// order, only when it cannot be asked. A mirror that says what the registry
// said earlier is behind and is not believed.
func (c *Client) head(ctx context.Context, tag name.Tag, rec record) (headAnswer, error) {
	ends, err := c.endpoints(tag.Repository)
	if err != nil {
		return headAnswer{}, err
	}
	var first error
	for i, end := range ends {
		etag := rec.ETag
		if end.mirror {
			etag = ""
		}
		a, err := c.headWithin(ctx, end, tag.TagStr(), etag, len(ends)-i)
		if err == nil && a.digest == "" { // 304: what it was
			a.digest = rec.Head
		}
		switch {
		case err == nil && end.mirror && rec.superseded(a.digest):
			first = fmt.Errorf("%w; its mirror %s is behind", first, end.repo.RegistryStr())
		case err == nil && end.mirror: // its ETag is not the registry's
			return headAnswer{digest: a.digest}, nil
		case err == nil || (!end.mirror && isMissing(err)):
			return a, err
		case first == nil:
			first = err
		default:
			first = fmt.Errorf("%w; its mirror: %w", first, err)
		}
	}
	return headAnswer{}, first
}

// headWithin leaves time for those that are asked after it.
func (c *Client) headWithin(ctx context.Context, end endpoint, tag, etag string, left int) (headAnswer, error) {
	ctx, cancel := share(ctx, left)
	defer cancel()
	return c.headAt(ctx, end, tag, etag)
}

// share is an equal part of the time that is left.
func share(ctx context.Context, parts int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || parts < 2 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(parts))
}

// endpoints are the registry and then its mirrors.
func (c *Client) endpoints(repo name.Repository) ([]endpoint, error) {
	ends := []endpoint{{repo: repo}}
	for _, base := range c.mirrorsOf(repo.Registry) {
		m, err := mirrored(base, repo)
		if err != nil {
			return nil, err
		}
		ends = append(ends, endpoint{repo: m, mirror: true})
	}
	return ends, nil
}
