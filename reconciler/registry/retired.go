package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/release"
)

// A digest means itself, and no registry is asked what it is. Whether its makers
// took it back is told by the deprecated-… tags of its repository: one question
// a repository, however many digests of it run.

// pinned is what is known of a digest. It waits for nobody, unless a person
// wants a fresh answer and nothing asks in the background.
func (c *Client) pinned(ctx context.Context, ref string, digest name.Reference, ask reconciler.Ask) reconciler.Release {
	r := reconciler.Release{Ref: ref, Digest: writtenRepository(ref) + "@" + digest.Identifier()}
	e, err := c.retiredEntry(digest.Context())
	if err != nil {
		return r // too many are followed: that says nothing of the digest
	}
	if !ask.Known && e.want(ref, reconciler.Ask{Every: checkEvery}, time.Now()) {
		c.nudge()
	}
	if ask.Fresh && !ask.Known && !c.running.Load() {
		wait, cancel := context.WithTimeout(ctx, c.opts.Timeout+time.Second)
		defer cancel()
		f := c.join(e, true, e.answers())
		_ = c.leave(e, f, f.wait(wait)) // without an answer, what is known counts
	}
	r.Deprecated, r.Asked = e.retiredBy(digest.Identifier())
	return r
}

// retiredEntry finds or makes what is known of the deprecated tags of a
// repository.
func (c *Client) retiredEntry(repo name.Repository) (*entry, error) {
	return c.entryOf(repo.Name()+retiredMark, repo.Tag(release.Deprecated))
}

// retiredMark ends the key of such an entry; no tag's name does.
const retiredMark = "@"

// retiredBy is the deprecated tag of a digest, and when the registry said so.
func (e *entry) retiredBy(digest string) (tag string, asked time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(e.rec.Facts)) {
		if e.rec.Facts[name].Digest == digest {
			return name, e.rec.Asked
		}
	}
	return "", e.rec.Asked
}

const (
	maxRetired   = 1000
	retiredPause = 5 * time.Minute // after a failure, at least
)

// questionRetired asks which digests the deprecated tags of a repository are of.
// A few tags are looked up each time: those that are new, and then those that
// were looked up longest ago, since they hardly ever move.
func (c *Client) questionRetired(ctx context.Context, e *entry) {
	e.mu.Lock()
	old := e.rec.clone()
	e.mu.Unlock()
	rec := old.clone()
	all, err := c.tags(ctx, e.tag.Repository)
	if err == nil {
		all = release.Deprecations(all)
		all = all[:min(len(all), maxRetired)]
		err = c.lookUpRetired(ctx, e.tag.Repository, &rec, all)
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return // as in question
	}
	c.settle(e, old, rec, err)
	e.mu.Lock()
	defer e.mu.Unlock()
	switch now := time.Now(); {
	case err != nil:
		e.due = later(e.due, now.Add(retiredPause))
	case slices.ContainsFunc(all, func(tag string) bool { _, known := rec.Facts[tag]; return !known }):
		e.due = now.Add(shorten(retryCheck))
	}
}

func (c *Client) lookUpRetired(ctx context.Context, repo name.Repository, rec *record, all []string) error {
	now := time.Now()
	maps.DeleteFunc(rec.Facts, func(tag string, _ fact) bool { return !slices.Contains(all, tag) })
	turn := slices.Clone(all) // newest first, which a stable sort keeps
	slices.SortStableFunc(turn, func(a, b string) int { return rec.Facts[a].Tried.Compare(rec.Facts[b].Tried) })
	for _, tag := range turn[:min(len(turn), maxRetiredHeads)] {
		digest, err := c.digestOf(ctx, repo, tag)
		if err != nil {
			return err
		}
		f := rec.Facts[tag]
		f.Digest, f.Deprecated, f.Tried = digest, tag, now
		rec.Facts[tag] = f
	}
	rec.Asked = now
	return nil
}
