package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// CommitRequest asks for one commit on the followed branch.
type CommitRequest struct {
	// Files are by path from the repository's root; nil removes one. A file
	// that exists keeps its mode, a new one is not executable.
	Files   map[string][]byte
	Message string
	Author  Author // default Options.Author
	// Base is the commit that the request was made on: when the branch changed
	// one of the files since, that is a conflict. Default is the latest snapshot.
	Base string
	// Check is asked about the tree that the commit would have, on whatever the
	// branch is by then, and its error is that of the request. It may be nil.
	Check func(tree fs.FS) error
	// Sign is asked for the key that signs the commit, with what it is put on;
	// its error is that of the request. Nil, or a nil key: it is not signed.
	Sign func(onto desired.Snapshot) (Signer, error)
}

// RestoreRequest asks for a commit in which a directory is as it was before.
type RestoreRequest struct {
	Path    string // the directory; "." is the whole repository
	Commit  string // what it is to equal; at least seven digits
	Message string // default says what is restored
	Author  Author
	Base    string                 // as in CommitRequest
	Check   func(tree fs.FS) error // as in CommitRequest
	Sign    func(onto desired.Snapshot) (Signer, error)
}

// Commit adds a commit to the followed branch and makes it the latest
// revision. When nothing changes it gives the revision that is there. In a
// local repository the work tree and the index follow; a remote is pushed to.
// Errors: ErrPushDisabled, ErrNotBranch, ErrConflict, ErrDirty.
func (r *Repo) Commit(ctx context.Context, req CommitRequest) (desired.Revision, error) {
	e, err := req.edit()
	if err != nil {
		return desired.Revision{}, err
	}
	return r.write(ctx, e)
}

func (req CommitRequest) edit() (edit, error) {
	if len(req.Files) == 0 {
		return edit{}, errors.New("commit: no files are given")
	}
	for name := range req.Files {
		if err := checkPath(name); err != nil {
			return edit{}, err
		}
	}
	return edit{
		message: req.Message, author: req.Author, base: req.Base, check: req.Check, sign: req.Sign,
		plan: func(b *builder, tip *object.Commit, _ plumbing.Hash) (map[string]change, error) {
			return planFiles(b, tip.TreeHash, req.Files)
		},
	}, nil
}

// Restore makes a commit in which a directory equals what it was at an older
// one. History stays. Errors as of Commit, and ErrRefNotFound.
func (r *Repo) Restore(ctx context.Context, req RestoreRequest) (desired.Revision, error) {
	e, err := req.edit()
	if err != nil {
		return desired.Revision{}, err
	}
	return r.write(ctx, e)
}

func (req RestoreRequest) edit() (edit, error) {
	dir := path.Clean(req.Path)
	if dir != "." {
		if err := checkPath(dir); err != nil {
			return edit{}, err
		}
	}
	if !isHashPrefix(req.Commit) {
		return edit{}, fmt.Errorf("restore %s: %q is not a commit; give at least %d digits of its hash", dir, req.Commit, minHashDigits)
	}
	e := edit{message: req.Message, author: req.Author, base: req.Base, old: req.Commit, check: req.Check, sign: req.Sign}
	if e.message == "" {
		e.message = fmt.Sprintf("Restore %s as of %s", dir, short(req.Commit))
	}
	e.plan = func(b *builder, tip *object.Commit, old plumbing.Hash) (map[string]change, error) {
		return planRestore(b, tip.TreeHash, old, dir)
	}
	return e, nil
}

// edit is a change that can be planned on whatever the branch is by then.
type edit struct {
	message string
	author  Author
	base    string
	plan    func(b *builder, tip *object.Commit, oldTree plumbing.Hash) (map[string]change, error)
	old     string // an older commit that plan needs
	oldTree plumbing.Hash
	check   func(tree fs.FS) error // may be nil
	sign    func(onto desired.Snapshot) (Signer, error)
}

func planFiles(b *builder, tree plumbing.Hash, files map[string][]byte) (map[string]change, error) {
	changes := map[string]change{}
	for name, content := range files {
		was, exists, err := entryAt(b.st, tree, name)
		if err != nil {
			return nil, err
		}
		if exists && was.Mode == filemode.Dir {
			return nil, fmt.Errorf("write %s: it is a directory", name)
		}
		if content == nil {
			if exists {
				changes[name] = change{}
			}
			continue
		}
		c := change{mode: filemode.Regular, hash: plumbing.ComputeHash(plumbing.BlobObject, content)}
		if exists && was.Mode == filemode.Executable {
			c.mode = was.Mode
		}
		if !exists || (change{was.Mode, was.Hash}) != c {
			b.put(plumbing.BlobObject, content)
			changes[name] = c
		}
	}
	return changes, nil
}

func planRestore(b *builder, now, old plumbing.Hash, dir string) (map[string]change, error) {
	want, err := flattenAt(b.st, old, dir)
	if err != nil {
		return nil, err
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("restore %s: there is no such directory in that commit", dir)
	}
	have, err := flattenAt(b.st, now, dir)
	if err != nil {
		return nil, err
	}
	changes := map[string]change{}
	for name, c := range want {
		if have[name] != c {
			changes[name] = c
		}
	}
	for name := range have {
		if _, stays := want[name]; !stays {
			changes[name] = change{}
		}
	}
	return changes, nil
}

func flattenAt(st *store, tree plumbing.Hash, dir string) (map[string]change, error) {
	e, ok, err := entryAt(st, tree, dir)
	if err != nil || !ok || e.Mode != filemode.Dir {
		return nil, err
	}
	files := map[string]change{}
	prefix := dir
	if dir == "." {
		prefix = ""
	}
	return files, flattenInto(st, e.Hash, prefix, files, 0)
}

func (r *Repo) write(ctx context.Context, e edit) (desired.Revision, error) {
	remote := r.to.scheme != schemeLocal
	if r.bad == nil && remote && !r.opt.Push {
		return desired.Revision{}, fmt.Errorf("commit to %s: %w", r.to, ErrPushDisabled)
	}
	if err := r.begin(ctx, &e); err != nil {
		return desired.Revision{}, err
	}
	defer r.release()
	if remote {
		return r.writeRemote(ctx, e)
	}
	return r.writeLocal(ctx, e)
}

// begin takes the turn for an edit and fills in what it does not say.
func (r *Repo) begin(ctx context.Context, e *edit) error {
	if r.bad != nil {
		return r.bad
	}
	if strings.TrimSpace(e.message) == "" {
		return errEmptyMessage
	}
	if e.author == (Author{}) {
		e.author = r.opt.Author
	}
	if err := r.take(ctx); err != nil {
		return err
	}
	if s, ok := r.known(); ok && e.base == "" {
		e.base = s.Commit
	}
	return nil
}

// draft is a commit that is not in any branch yet.
type draft struct {
	*builder
	changes map[string]change
	tip     target
	commit  plumbing.Hash // tip's own when nothing changes
}

// draft plans an edit on a tip.
func (e *edit) draft(st *store, tip target) (*draft, error) {
	if !tip.branch() {
		return nil, fmt.Errorf("commit: %w (%s); follow a branch to make changes", ErrNotBranch, shortRef(tip.name)+tip.commit.String()[:8])
	}
	c, err := st.commit(tip.commit)
	if err != nil {
		return nil, err
	}
	if e.old != "" && e.oldTree.IsZero() {
		return nil, fmt.Errorf("restore: commit %s: %w", e.old, ErrRefNotFound)
	}
	d := &draft{builder: newBuilder(st), tip: tip, commit: tip.commit}
	if d.changes, err = e.plan(d.builder, c, e.oldTree); err != nil {
		return nil, err
	}
	if err := e.conflict(st, c, d.changes, tip.commit); err != nil || len(d.changes) == 0 {
		return d, err
	}
	tree, err := d.tree(c.TreeHash, d.changes)
	if err != nil {
		return nil, err
	}
	if e.check != nil {
		if err := e.check(newTreeFS(d.view(), &object.Commit{TreeHash: tree, Committer: c.Committer})); err != nil {
			return nil, err
		}
	}
	key, err := e.key(st, c, tip)
	if err != nil {
		return nil, err
	}
	d.commit, err = d.builder.commit(tree, []plumbing.Hash{tip.commit}, e.author, e.message, time.Now(), key)
	return d, err
}

// key is what signs a commit on a tip; nil: nothing.
func (e *edit) key(st *store, c *object.Commit, tip target) (Signer, error) {
	if e.sign == nil {
		return nil, nil
	}
	onto, err := snapshotOf(st, c, tip.commit, shortRef(tip.name))
	if err != nil {
		return nil, err
	}
	return e.sign(onto)
}

// conflict compares the files of an edit at its base and at the tip.
func (e *edit) conflict(st *store, tip *object.Commit, changes map[string]change, at plumbing.Hash) error {
	if e.base == "" || strings.HasPrefix(at.String(), e.base) {
		return nil
	}
	conflict := &ConflictError{Base: e.base, Tip: at.String()}
	h, err := findCommit(st, e.base)
	if err != nil {
		return conflict // rewritten history: nothing can be compared
	}
	base, err := st.commit(h)
	if err != nil {
		return conflict
	}
	for name := range changes {
		was, okWas, err := entryAt(st, base.TreeHash, name)
		if err != nil {
			return conflict
		}
		is, okIs, err := entryAt(st, tip.TreeHash, name)
		if err != nil {
			return err
		}
		if okWas != okIs || okIs && (was.Hash != is.Hash || was.Mode != is.Mode) {
			conflict.Paths = append(conflict.Paths, name)
		}
	}
	if len(conflict.Paths) == 0 {
		return nil
	}
	slices.Sort(conflict.Paths)
	return conflict
}

// findOld looks for the older commit that an edit needs.
func (e *edit) findOld(st *store, h plumbing.Hash) error {
	c, err := st.commit(h)
	if err != nil {
		return err
	}
	e.oldTree = c.TreeHash
	return st.check(h)
}
