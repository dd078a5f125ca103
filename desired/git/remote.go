package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// loadMirror takes what an earlier process left, once.
func (r *Repo) loadMirror() error {
	if r.mirror != nil {
		return nil
	}
	dir, err := filepath.Abs(r.opt.Mirror)
	if err != nil {
		return fmt.Errorf("read mirror: %w", err)
	}
	m := newMirror(dir, r.to.String(), r.opt.Ref)
	err = m.load(r.currentStore, r.kick)
	if errors.Is(err, errForeign) {
		return err
	}
	r.mirror = m
	defer close(r.ready)
	if err != nil {
		if !errors.Is(err, errNoMirror) {
			r.opt.Log.WithError(err).Warn("the mirror is not usable; it is cloned anew")
		}
		return nil
	}
	return r.adopt(m.st, m.at, dirtiness{})
}

// syncRemote asks the remote once and brings the mirror up to date.
func (r *Repo) syncRemote(ctx context.Context) error {
	if err := r.loadMirror(); err != nil {
		return err
	}
	r.recheck()
	if r.pinned() {
		return nil
	}
	w := newWatch(ctx, r.opt.Timeout, r.opt.Idle)
	defer w.stop()
	err := w.explain(r.update(w))
	if err != nil && r.wire != nil {
		// The CA file may be another one, and the server may have moved.
		r.wire.close()
		r.wire = nil
	}
	return err
}

// recheck verifies a mirror that another hand has touched, or that could not
// be read from. One that is damaged is not fetched into.
func (r *Repo) recheck() {
	m := r.mirror
	if m.st == nil || m.good() {
		return
	}
	old, at := m.st, m.at
	err := m.load(r.currentStore, r.kick)
	if err == nil && m.at.same(at) {
		m.st = old
		m.st.refresh()
		m.st.damaged.Store(false)
		return
	}
	m.st, m.print = old, "" // good only after a new clone
	r.opt.Log.WithError(err).Warn("the mirror is damaged; it is cloned anew")
}

// pinned tells that a commit is followed which is here: it cannot change.
func (r *Repo) pinned() bool {
	m := r.mirror
	return m.good() && m.at.name == "" && isHashPrefix(r.opt.Ref) && strings.HasPrefix(m.at.commit.String(), r.opt.Ref)
}

// connect opens a session for a service.
func (r *Repo) connect(w *watch, service string) (session, error) {
	if r.wire == nil {
		if r.to.scheme == schemeSSH {
			r.wire = &sshWire{to: r.to, auth: r.opt.Auth}
		} else {
			hw, err := newHTTPWire(r.to, r.opt.Auth, r.opt.CAFile)
			if err != nil {
				return nil, err
			}
			r.wire = hw
		}
	}
	return r.wire.open(w, service)
}

func (r *Repo) update(w *watch) error {
	s, err := r.connect(w, uploadPack)
	if err != nil {
		return err
	}
	defer func() { s.close() }()
	at, ok, err := advertised(s.refs()).pick(r.opt.Ref)
	if err != nil {
		return r.markGone(err)
	}
	m := r.mirror
	if !ok {
		return r.cloneCommit(w, s, at)
	}
	if m.good() {
		if m.at.same(at) {
			return nil
		}
		if err = r.fetchInto(w, s, at); err == nil || w.ctx.Err() != nil {
			return err
		}
		r.opt.Log.WithError(err).Debug("fetch into the mirror did not work; it is cloned anew")
		s.close()
		if s, err = r.connect(w, uploadPack); err != nil {
			return err
		}
	}
	return r.clone(w, s, at, 1)
}

// markGone says of a ref that was there before that it was deleted.
func (r *Repo) markGone(err error) error {
	var re *RefError
	if errors.As(err, &re) && r.mirror.st != nil && re.Ref != "" {
		re.Gone = true
	}
	return err
}

// fetchInto adds what is new to the mirror.
func (r *Repo) fetchInto(w *watch, s session, at target) error {
	m := r.mirror
	if m.packs() >= maxPacks {
		return errors.New("the mirror has many packs")
	}
	shallows := m.shallows()
	if !m.st.has(at.commit) || m.st.check(at.commit) != nil {
		got, err := r.fetch(w, s, fetchRequest(s.refs(), []plumbing.Hash{at.wanted()}, []plumbing.Hash{m.at.commit}, shallows, r.depth(s, 1)))
		if err != nil {
			return err
		}
		if err := writeShallows(m.dir, append(shallows, got...)); err != nil {
			return fmt.Errorf("update mirror: %w", err)
		}
	}
	if err := m.st.check(at.commit); err != nil {
		return err
	}
	if err := m.setRef(m.dir, at); err != nil {
		return fmt.Errorf("update mirror: %w", err)
	}
	m.at = at
	m.print = m.fingerprint()
	return r.adopt(m.st, at, dirtiness{})
}

// fetch receives a pack in a directory of its own and then lets it in.
func (r *Repo) fetch(w *watch, s session, req *packp.UploadPackRequest) ([]plumbing.Hash, error) {
	m := r.mirror
	dir, err := os.MkdirTemp(m.dir, "incoming-")
	if err != nil {
		return nil, fmt.Errorf("update mirror: %w", err)
	}
	defer os.RemoveAll(dir)
	shallows, err := receive(w, s, req, dir)
	if err != nil {
		return nil, err
	}
	if err := movePacks(dir, m.packDir()); err != nil {
		return nil, err
	}
	m.st.refresh()
	return shallows, nil
}

func receive(w *watch, s session, req *packp.UploadPackRequest, dir string) ([]plumbing.Hash, error) {
	shallows, pack, err := fetchPack(w, s, req)
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	return shallows, savePack(pack, dir)
}

func (r *Repo) depth(s session, want int) int {
	if !s.refs().Capabilities.Supports(capability.Shallow) {
		return 0
	}
	return want
}

// clone makes the mirror anew, in a directory of its own until it is whole.
func (r *Repo) clone(w *watch, s session, at target, depth int) error {
	m := r.mirror
	dir, err := m.prepare()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) // after a success it has another name
	if at.name != "" {
		if err := checkRef(at.name); err != nil { // a server chose it
			return err
		}
	}
	req := fetchRequest(s.refs(), []plumbing.Hash{at.wanted()}, nil, nil, r.depth(s, depth))
	shallows, err := receive(w, s, req, filepath.Join(dir, "objects", "pack"))
	if err != nil {
		return err
	}
	return r.finishClone(dir, at, shallows)
}

func (r *Repo) finishClone(dir string, at target, shallows []plumbing.Hash) error {
	m := r.mirror
	if err := writeShallows(dir, shallows); err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	st := newStore(osfsAt(dir), r.currentStore, nil)
	if err := checkClone(st, at.commit); err != nil {
		return fmt.Errorf("check clone: %w", err)
	}
	if err := m.setRef(dir, at); err != nil {
		return fmt.Errorf("make mirror: %w", err)
	}
	if err := m.replace(dir, at, r.currentStore, r.kick); err != nil {
		return err
	}
	return r.adopt(m.st, at, dirtiness{})
}

// checkClone does not look for missing objects in the mirror that is replaced.
func checkClone(st *store, commit plumbing.Hash) error {
	st.current = func() *store { return nil }
	return st.check(commit)
}

// cloneCommit follows a commit that no ref points at. Many servers give it when
// asked by its full hash; otherwise all history is fetched and searched.
func (r *Repo) cloneCommit(w *watch, s session, at target) error {
	if !at.commit.IsZero() && mayAsk(s) {
		if err := r.clone(w, s, at, 1); err == nil || w.ctx.Err() != nil {
			return err
		}
		again, err := r.connect(w, uploadPack)
		if err != nil {
			return err
		}
		defer again.close()
		s = again
	}
	m := r.mirror
	dir, err := m.prepare()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	req := fetchRequest(s.refs(), allTips(s.refs()), nil, nil, 0)
	if _, err := receive(w, s, req, filepath.Join(dir, "objects", "pack")); err != nil {
		return err
	}
	st := newStore(osfsAt(dir), r.currentStore, nil)
	if at.commit, err = findCommit(st, r.opt.Ref); err != nil {
		return err
	}
	return r.finishClone(dir, at, nil)
}

// mayAsk tells whether the server gives commits that no ref points at.
func mayAsk(s session) bool {
	caps := s.refs().Capabilities
	return caps.Supports(capability.AllowReachableSHA1InWant) || caps.Supports(capability.AllowTipSHA1InWant) ||
		caps.Supports("allow-any-sha1-in-want")
}

func allTips(ar *packp.AdvRefs) []plumbing.Hash {
	seen := map[plumbing.Hash]bool{}
	var tips []plumbing.Hash
	for name, h := range ar.References {
		if (strings.HasPrefix(name, headsPrefix) || strings.HasPrefix(name, tagsPrefix)) && !seen[h] {
			seen[h] = true
			tips = append(tips, h)
		}
	}
	return tips
}

// resolveAny finds any ref for who has the turn.
func (r *Repo) resolveAny(ctx context.Context, ref string) (*store, target, error) {
	if r.to.scheme == schemeLocal {
		return r.resolveLocal(ref)
	}
	if err := r.loadMirror(); err != nil {
		return nil, target{}, err
	}
	if isHashPrefix(ref) && r.mirror.st != nil {
		if h, err := findCommit(r.mirror.st, ref); err == nil && r.mirror.st.check(h) == nil {
			return r.mirror.st, target{commit: h}, nil
		}
	}
	if err := r.syncHere(ctx); err != nil {
		return nil, target{}, err
	}
	w := newWatch(ctx, r.opt.Timeout, r.opt.Idle)
	defer w.stop()
	at, err := r.bring(w, ref)
	return r.mirror.st, at, w.explain(err)
}

// bring fetches another ref into the mirror, without following it.
func (r *Repo) bring(w *watch, ref string) (target, error) {
	s, err := r.connect(w, uploadPack)
	if err != nil {
		return target{}, err
	}
	defer func() { s.close() }()
	at, ok, err := advertised(s.refs()).pick(ref)
	if err != nil {
		return at, err
	}
	m := r.mirror
	if !at.commit.IsZero() && m.st.has(at.commit) && m.st.check(at.commit) == nil {
		return at, nil
	}
	if ok || !at.commit.IsZero() && mayAsk(s) {
		if err := r.bringShallow(w, s, at); err == nil || ok || w.ctx.Err() != nil {
			return at, err
		}
		s.close()
		if s, err = r.connect(w, uploadPack); err != nil {
			return at, err
		}
	}
	if _, err := r.fetch(w, s, fetchRequest(s.refs(), allTips(s.refs()), nil, nil, 0)); err != nil {
		return at, err
	}
	m.print = m.fingerprint()
	at.commit, err = findCommit(m.st, ref)
	return at, err
}

func (r *Repo) bringShallow(w *watch, s session, at target) error {
	m := r.mirror
	shallows := m.shallows()
	got, err := r.fetch(w, s, fetchRequest(s.refs(), []plumbing.Hash{at.wanted()}, nil, nil, r.depth(s, 1)))
	if err != nil {
		return err
	}
	if err := writeShallows(m.dir, append(shallows, got...)); err != nil {
		return fmt.Errorf("update mirror: %w", err)
	}
	m.print = m.fingerprint()
	return m.st.check(at.commit)
}
