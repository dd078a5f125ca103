package git

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Repo follows one ref of one repository. Its methods may be called from
// several goroutines.
type Repo struct {
	opt  Options
	to   address
	bad  error // Options.Repo or Ref cannot be right
	turn chan struct{}
	// ready is closed when what was on disk at the start is known.
	ready chan struct{}

	// mirror and wire belong to whoever has the turn.
	mirror *mirror
	wire   wire

	mu     sync.Mutex // guards what follows
	snap   *desired.Snapshot
	st     *store // of snap
	status Status
	subs   []chan struct{}
	kick   chan struct{}
}

// Status is what is known of the repository.
type Status struct {
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	// Err is why the last attempt failed; nil after a success. It holds no secret.
	Err error `json:"-"`
	// Commit is the last good one, Ref what is followed, in full where it is known.
	Commit string `json:"commit,omitempty"`
	Ref    string `json:"ref,omitempty"`
	Local  bool   `json:"local,omitempty"`
	// Dirty is how many paths have uncommitted edits; a Snapshot names the
	// first hundred. DirtyErr says why they could not be counted.
	Dirty    int   `json:"dirty,omitempty"`
	DirtyErr error `json:"-"`
}

// Open gives a Repo. It does no I/O: what is wrong with the options is the
// error of the first Latest or Sync.
func Open(opt Options) *Repo {
	r := &Repo{opt: opt.withDefaults(), turn: make(chan struct{}, 1), ready: make(chan struct{}), kick: make(chan struct{}, 1)}
	r.to, r.bad = parseAddress(opt.Repo)
	if r.bad == nil && opt.Ref != "" {
		r.bad = checkRef(opt.Ref)
	}
	if r.bad == nil && r.to.scheme != schemeLocal && opt.Mirror == "" {
		r.bad = errors.New("open repository: a remote needs a directory for its mirror")
	}
	r.status = Status{Ref: opt.Ref, Local: r.bad == nil && r.to.scheme == schemeLocal}
	return r
}

// take waits for the turn: one exchange or write at a time.
func (r *Repo) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Repo) release() { <-r.turn }

// Latest gives the last good revision without asking a remote. Before the
// first Sync it reads what an earlier process left in the mirror. The error of
// the last attempt to read something newer is in Status; Latest fails with
// ErrNoSnapshot when there never was a good one.
func (r *Repo) Latest(ctx context.Context) (desired.Snapshot, error) {
	if s, ok := r.known(); ok {
		return s, nil
	}
	if r.bad != nil {
		return desired.Snapshot{}, r.bad
	}
	var err error
	select {
	case <-r.ready: // a Sync may be waiting for the remote: that is not waited for
	case r.turn <- struct{}{}:
		if _, ok := r.known(); !ok {
			err = r.loadFirst(ctx)
		}
		r.release()
	case <-ctx.Done():
		return desired.Snapshot{}, ctx.Err()
	}
	if s, ok := r.known(); ok {
		return s, nil
	}
	if err == nil {
		err = r.Status().Err
	}
	if err == nil {
		err = errors.New("the remote has not answered yet")
	}
	return desired.Snapshot{}, fmt.Errorf("%w: %w", ErrNoSnapshot, err)
}

func (r *Repo) loadFirst(ctx context.Context) error {
	if r.to.scheme == schemeLocal {
		return r.syncHere(ctx)
	}
	return r.loadMirror()
}

func (r *Repo) known() (desired.Snapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.snap == nil {
		return desired.Snapshot{}, false
	}
	s := *r.snap
	s.Dirty = slices.Clone(s.Dirty)
	return s, true
}

// Status tells how things stand.
func (r *Repo) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// Changed gives a channel of hints: something about the revision, its dirty
// files or the state of the source is different from before. It has room for
// one hint; many changes may be one hint. Each call gives another channel, for
// another subscriber, that lives as long as the Repo.
func (r *Repo) Changed() <-chan struct{} {
	ch := make(chan struct{}, 1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.subs = append(r.subs, ch)
	return ch
}

func hint(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

func (r *Repo) notifyLocked() {
	for _, ch := range r.subs {
		hint(ch)
	}
}

// Sync looks at the repository now: one exchange with a remote, or one look at
// a local ref. When it fails the last good revision stays.
func (r *Repo) Sync(ctx context.Context) error {
	if r.bad != nil {
		return r.bad
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	defer r.release()
	return r.syncHere(ctx)
}

// syncHere is Sync for who has the turn.
func (r *Repo) syncHere(ctx context.Context) error {
	var err error
	if r.to.scheme == schemeLocal {
		err = r.syncLocal(ctx)
	} else {
		err = r.syncRemote(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // the caller gave up; that says nothing about the repository
	}
	r.record(err)
	return err
}

// record notes how an attempt ended, and logs when that is news.
func (r *Repo) record(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.status.Err
	now := time.Now()
	r.status.LastAttempt, r.status.Err = now, err
	if err == nil {
		r.status.LastSuccess = now
	}
	if text(was) == text(err) {
		return
	}
	log := r.opt.Log.WithField("repo", r.to.String())
	if err != nil {
		log.WithError(err).Warn("repository cannot be read; the last good revision is kept")
	} else {
		log.Info("repository can be read again")
	}
	r.notifyLocked()
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// adopt makes a commit the latest revision.
func (r *Repo) adopt(st *store, at target, dirty dirtiness) error {
	c, err := st.commit(at.commit)
	if err != nil {
		return err
	}
	ref := at.name
	if ref == "" {
		ref = r.opt.Ref
	}
	snap, err := snapshotOf(st, c, at.commit, shortRef(ref))
	if err != nil {
		return err
	}
	snap.Dirty = dirty.paths

	r.mu.Lock()
	defer r.mu.Unlock()
	r.status.Dirty, r.status.DirtyErr = dirty.count, dirty.err
	if old := r.snap; old != nil && old.Commit == snap.Commit && old.Ref == snap.Ref && r.st == st {
		if !slices.Equal(old.Dirty, snap.Dirty) {
			old.Dirty = snap.Dirty
			r.notifyLocked()
		}
		return nil
	}
	fresh := r.snap == nil || r.snap.Commit != snap.Commit
	r.snap, r.st = &snap, st
	r.status.Commit, r.status.Ref = snap.Commit, snap.Ref
	if fresh {
		r.opt.Log.WithFields(map[string]any{"commit": snap.Short(), "ref": snap.Ref, "author": snap.Author}).Info("revision: " + snap.Subject)
	}
	r.notifyLocked()
	return nil
}

// currentStore is where newer packs are; stores of older snapshots ask it.
func (r *Repo) currentStore() *store {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.st
}

func snapshotOf(st *store, c *object.Commit, h plumbing.Hash, ref string) (desired.Snapshot, error) {
	subject, _, _ := strings.Cut(strings.TrimSpace(c.Message), "\n")
	signature, err := signatureOf(st, c, h)
	return desired.Snapshot{
		Revision: desired.Revision{
			Commit:  h.String(),
			Ref:     ref,
			Author:  lastLines([]byte(c.Author.Name)),
			Email:   lastLines([]byte(c.Author.Email)),
			Subject: lastLines([]byte(subject)),
			Time:    c.Committer.When,
		},
		Tree:      newTreeFS(st, c),
		Signature: signature,
	}, err
}

func shortRef(name string) string {
	for _, prefix := range []string{headsPrefix, tagsPrefix} {
		if s, ok := strings.CutPrefix(name, prefix); ok {
			return s
		}
	}
	return name
}

// At gives the snapshot of another commit, branch or tag that is at hand, or
// can be fetched (`fairlead plan --ref X`). It does not change what is followed.
func (r *Repo) At(ctx context.Context, ref string) (desired.Snapshot, error) {
	if r.bad != nil {
		return desired.Snapshot{}, r.bad
	}
	if err := checkRef(ref); err != nil {
		return desired.Snapshot{}, err
	}
	if err := r.take(ctx); err != nil {
		return desired.Snapshot{}, err
	}
	defer r.release()
	st, at, err := r.resolveAny(ctx, ref)
	if err != nil {
		return desired.Snapshot{}, err
	}
	c, err := st.commit(at.commit)
	if err != nil {
		return desired.Snapshot{}, err
	}
	return snapshotOf(st, c, at.commit, shortRef(at.name))
}

// Close ends idle connections. The last snapshot stays readable.
func (r *Repo) Close() error {
	r.turn <- struct{}{}
	defer r.release()
	if r.wire != nil {
		r.wire.close()
		r.wire = nil
	}
	return nil
}
