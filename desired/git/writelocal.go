package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// writeLocal adds a commit to a local branch, and brings work tree and index
// along when the branch is checked out. git's own locks are held meanwhile.
func (r *Repo) writeLocal(ctx context.Context, e edit) (desired.Revision, error) {
	g, err := findGitDir(r.to.path)
	if err != nil {
		return desired.Revision{}, err
	}
	d, err := r.draftLocal(g, &e)
	if err != nil {
		return desired.Revision{}, err
	}
	if d.commit != d.tip.commit {
		if err := d.install(g, e.author, e.message); err != nil {
			return desired.Revision{}, err
		}
	}
	if err := r.syncLocal(ctx); err != nil {
		return desired.Revision{}, err
	}
	return r.knownRevision(), nil
}

// draftLocal plans an edit on what a local ref is now.
func (r *Repo) draftLocal(g gitDir, e *edit) (*draft, error) {
	st := r.localStore(g)
	tip, err := localTarget(st, g, r.opt.Ref)
	if err != nil {
		return nil, err
	}
	if e.old != "" {
		h, err := findCommit(st, e.old)
		if err == nil {
			err = e.findOld(st, h)
		}
		if err != nil {
			return nil, fmt.Errorf("restore: %w", err)
		}
	}
	return e.draft(st, tip)
}

// install makes a draft the tip of its branch. Order: locks, checks, objects,
// files, index, ref. Until the ref is renamed the branch is what it was.
func (d *draft) install(g gitDir, by Author, message string) (err error) {
	checkedOut, err := g.checkedOut(d.tip.name)
	if err != nil {
		return err
	}
	ref, err := lockRef(g, d.st, d.tip)
	if err != nil {
		return err
	}
	defer ref.abort()
	var wt *workTree
	if checkedOut {
		if wt, err = openWorkTree(g, d.st); err != nil {
			return err
		}
		defer wt.close()
		if err := wt.check(d); err != nil {
			return err
		}
	}
	if err := d.store(g); err != nil {
		return err
	}
	if wt != nil {
		if err := wt.apply(d); err != nil {
			return err
		}
	}
	if err := ref.commit(d.commit); err != nil {
		return err
	}
	g.reflog(d, by, message, checkedOut)
	if wt != nil {
		return wt.commitIndex()
	}
	return nil
}

// store writes the new objects.
func (d *draft) store(g gitDir) error {
	s, by := newStorage(g.fs()), ownerOf(g)
	for _, o := range d.objs {
		if _, err := s.SetEncodedObject(o); err != nil {
			return fmt.Errorf("write object: %w", err)
		}
		h := o.Hash().String()
		by.takeAbove(filepath.Join(g.common, "objects"), filepath.Join(g.common, "objects", h[:2], h[2:]))
	}
	return syncDir(filepath.Join(g.common, "objects"))
}

// checkedOut tells whether the work tree is of this branch. One that another
// linked work tree has checked out must not move under it.
func (g gitDir) checkedOut(branch string) (bool, error) {
	heads, err := filepath.Glob(filepath.Join(g.common, "worktrees", "*", "HEAD"))
	if err != nil {
		return false, fmt.Errorf("list work trees: %w", err)
	}
	if !isBare(g) {
		heads = append(heads, filepath.Join(g.common, "HEAD"))
	}
	mine := false
	for _, head := range heads {
		b, err := readBounded(head, 1<<10)
		if err != nil || strings.TrimSpace(string(b)) != "ref: "+branch {
			continue
		}
		if filepath.Dir(head) != g.dir {
			return false, fmt.Errorf("commit: branch %s is checked out in another work tree (%s)", shortRef(branch), filepath.Dir(head))
		}
		mine = true
	}
	return mine && g.work != "", nil
}

// isBare tells whether the main repository has no work tree of its own.
func isBare(g gitDir) bool {
	return g.work == "" || filepath.Base(g.common) != ".git"
}

// refLock is git's lock of a loose ref.
type refLock struct {
	file string
	lock *os.File
}

func lockRef(g gitDir, st *store, at target) (*refLock, error) {
	file := filepath.Join(g.common, filepath.FromSlash(at.name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, fmt.Errorf("lock branch: %w", err)
	}
	f, err := os.OpenFile(file+".lock", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, lockError("branch", file+".lock", err)
	}
	ownerOf(g).takeAbove(filepath.Join(g.common, "refs"), f.Name())
	l := &refLock{file: file, lock: f}
	now, err := storer.ResolveReference(st.storage(), plumbing.ReferenceName(at.name))
	if err != nil {
		l.abort()
		return nil, fmt.Errorf("lock branch: %w", err)
	}
	if now.Hash() != at.commit {
		l.abort()
		return nil, &ConflictError{Base: at.commit.String(), Tip: now.Hash().String()}
	}
	return l, nil
}

func lockError(what, file string, err error) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("lock %s: another git command is at work in the repository (or was killed: then remove %s)", what, file)
	}
	return fmt.Errorf("lock %s: %w", what, err)
}

func (l *refLock) commit(h plumbing.Hash) error {
	_, err := l.lock.WriteString(h.String() + "\n")
	if err == nil {
		err = l.lock.Sync()
	}
	if err == nil {
		err = os.Rename(l.lock.Name(), l.file)
	}
	if err == nil {
		err = syncDir(filepath.Dir(l.file))
	}
	if err != nil {
		return fmt.Errorf("move branch: %w", err)
	}
	l.lock.Close()
	l.lock = nil
	return nil
}

// abort gives up the lock, unless it was used.
func (l *refLock) abort() {
	if l.lock != nil {
		l.lock.Close()
		_ = os.Remove(l.lock.Name())
	}
}

// reflog notes the move where git keeps such notes. It serves `git reflog` and
// nothing else: what cannot be written is let go.
func (g gitDir) reflog(d *draft, by Author, message string, head bool) {
	subject, _, _ := strings.Cut(strings.TrimSpace(message), "\n")
	now := time.Now()
	line := fmt.Sprintf("%s %s %s <%s> %d %s\tcommit: %s\n", d.tip.commit, d.commit, clean(by.Name), clean(by.Email),
		now.Unix(), now.Format("-0700"), subject)
	files := []string{filepath.Join(g.common, "logs", filepath.FromSlash(d.tip.name))}
	if head {
		files = append(files, filepath.Join(g.dir, "logs", "HEAD"))
	}
	for _, file := range files {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_APPEND, 0) // only where there is one
		if err != nil {
			continue
		}
		_, _ = f.WriteString(line)
		_ = f.Close()
	}
}
