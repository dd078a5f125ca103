package git

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-git/v5/plumbing"
	formatconfig "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// gitDir is where the parts of a local repository are.
type gitDir struct {
	dir    string // HEAD and index
	common string // objects and refs; another directory for a linked work tree
	work   string // empty for a bare repository
}

// findGitDir recognises a work tree, a linked work tree, and a bare repository.
func findGitDir(path string) (gitDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return gitDir{}, fmt.Errorf("open repository: %w", err)
	}
	dot := filepath.Join(path, ".git")
	info, err := os.Stat(dot)
	switch {
	case err == nil && info.IsDir():
		return checkGitDir(gitDir{dir: dot, common: dot, work: path})
	case err == nil:
		return linkedGitDir(dot, path)
	case !errors.Is(err, os.ErrNotExist):
		return gitDir{}, fmt.Errorf("open repository: %w", err)
	}
	if _, err := os.Stat(filepath.Join(path, "objects")); err != nil {
		return gitDir{}, notRepository(path)
	}
	g := gitDir{dir: path, common: path}
	if filepath.Base(path) == ".git" {
		g.work = filepath.Dir(path)
	}
	return checkGitDir(g)
}

func notRepository(path string) error {
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	for up := filepath.Dir(path); ; up = filepath.Dir(up) {
		if _, err := os.Stat(filepath.Join(up, ".git")); err == nil {
			return fmt.Errorf("open repository: %s is not the root of a git repository; that is %s (set repo to it, and path to the directory in it)", path, up)
		}
		if up == filepath.Dir(up) {
			return fmt.Errorf("open repository: %s is not a git repository; run git init in it and commit", path)
		}
	}
}

// linkedGitDir follows the .git file of a linked work tree (gitrepository-layout(5)).
func linkedGitDir(file, work string) (gitDir, error) {
	b, err := readBounded(file, 1<<16)
	if err != nil {
		return gitDir{}, fmt.Errorf("open repository: %w", err)
	}
	dir, ok := strings.CutPrefix(strings.TrimRight(string(b), "\r\n"), "gitdir: ")
	if !ok {
		return gitDir{}, fmt.Errorf("open repository: %s does not say where the repository is", file)
	}
	g := gitDir{dir: absIn(work, dir), work: work}
	g.common = g.dir
	b, err = readBounded(filepath.Join(g.dir, "commondir"), 1<<16)
	if err == nil {
		g.common = absIn(g.dir, strings.TrimRight(string(b), "\r\n"))
	} else if !errors.Is(err, os.ErrNotExist) {
		return gitDir{}, fmt.Errorf("open repository: %w", err)
	}
	return checkGitDir(g)
}

func absIn(base, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// checkGitDir refuses formats that go-git would misread.
func checkGitDir(g gitDir) (gitDir, error) {
	if _, err := os.Stat(filepath.Join(g.dir, "HEAD")); err != nil {
		return g, fmt.Errorf("open repository: %w", err)
	}
	b, err := readBounded(filepath.Join(g.common, "config"), 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return g, nil
	}
	if err != nil {
		return g, fmt.Errorf("open repository: %w", err)
	}
	config := formatconfig.New()
	if err := formatconfig.NewDecoder(strings.NewReader(string(b))).Decode(config); err != nil {
		return g, fmt.Errorf("open repository: read %s: %w", filepath.Join(g.common, "config"), err)
	}
	if strings.EqualFold(config.Section("core").Option("bare"), "true") && g.dir == g.common {
		g.work = ""
	}
	for _, o := range config.Section("extensions").Options {
		key, value := strings.ToLower(o.Key), strings.ToLower(o.Value)
		if key == "objectformat" && value != "sha1" || key == "refstorage" && value != "files" {
			return g, fmt.Errorf("open repository: its %s is %s, which is not supported; make it with git's defaults (sha1, files)", o.Key, o.Value)
		}
	}
	return g, nil
}

func (g gitDir) fs() billy.Filesystem {
	if g.common == g.dir {
		return osfsAt(g.dir)
	}
	return dotgit.NewRepositoryFilesystem(osfsAt(g.dir), osfsAt(g.common))
}

// syncLocal reads the ref, for who has the turn.
func (r *Repo) syncLocal(ctx context.Context) error {
	g, err := findGitDir(r.to.path)
	if err != nil {
		return err
	}
	st := r.localStore(g)
	at, err := localTarget(st, g, r.opt.Ref)
	if err != nil {
		var re *RefError
		if _, known := r.known(); known && errors.As(err, &re) {
			re.Gone = true
		}
		return err
	}
	if s, known := r.known(); !known || s.Commit != at.commit.String() || st.damaged.Load() {
		if err := st.check(at.commit); err != nil {
			return fmt.Errorf("read commit %s: %w", at.commit, err)
		}
		st.damaged.Store(false)
	}
	return r.adopt(st, at, g.dirty(ctx, st))
}

// localStore keeps the store, and with it the indexes of the packs, while the
// repository is where it was.
func (r *Repo) localStore(g gitDir) *store {
	if st := r.currentStore(); st != nil && st.fs.Root() == g.fs().Root() {
		return st
	}
	return newStore(g.fs(), r.currentStore, r.kick)
}

func (r *Repo) resolveLocal(ref string) (*store, target, error) {
	g, err := findGitDir(r.to.path)
	if err != nil {
		return nil, target{}, err
	}
	st := r.localStore(g)
	at, err := localTarget(st, g, ref)
	return st, at, err
}

func localTarget(st *store, g gitDir, ref string) (target, error) {
	s := st.storage()
	if ref == "" || ref == "HEAD" {
		return localHead(s, g)
	}
	for _, name := range refCandidates(ref) {
		got, err := storer.ResolveReference(s, plumbing.ReferenceName(name))
		if err == nil {
			h, err := st.peel(got.Hash())
			if err != nil {
				return target{}, fmt.Errorf("resolve %s: %w", ref, err)
			}
			return target{name: name, commit: h}, nil
		}
	}
	table, err := localRefs(s)
	if err != nil {
		return target{}, err
	}
	if isHashPrefix(ref) {
		if h, err := findCommit(st, ref); err == nil || !errors.Is(err, ErrRefNotFound) {
			return target{commit: h}, err
		}
	}
	if len(table.refs) == 0 {
		return target{}, unborn()
	}
	return target{}, &RefError{Ref: ref, Near: table.near(ref)}
}

func localHead(s *filesystem.Storage, g gitDir) (target, error) {
	head, err := s.Reference(plumbing.HEAD)
	if err != nil {
		return target{}, fmt.Errorf("read HEAD: %w", err)
	}
	if head.Type() == plumbing.HashReference {
		return target{commit: head.Hash()}, nil
	}
	got, err := storer.ResolveReference(s, head.Target())
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return target{}, unborn()
	}
	if err != nil {
		return target{}, fmt.Errorf("read HEAD: %w", err)
	}
	return target{name: head.Target().String(), commit: got.Hash()}, nil
}

func unborn() error {
	return fmt.Errorf("read HEAD: %w; commit something (git add -A && git commit)", ErrEmpty)
}

func localRefs(s *filesystem.Storage) (refTable, error) {
	t := refTable{refs: map[string]plumbing.Hash{}}
	iter, err := s.IterReferences()
	if err != nil {
		return t, fmt.Errorf("list refs: %w", err)
	}
	defer iter.Close()
	err = iter.ForEach(func(ref *plumbing.Reference) error {
		if strings.HasPrefix(ref.Name().String(), "refs/") {
			t.refs[ref.Name().String()] = ref.Hash()
		}
		return nil
	})
	if err != nil {
		return t, fmt.Errorf("list refs: %w", err)
	}
	return t, nil
}

// findCommit completes the hash of a commit.
func findCommit(st *store, prefix string) (plumbing.Hash, error) {
	if len(prefix) == 40 {
		h := plumbing.NewHash(prefix)
		if _, err := st.peel(h); err != nil {
			return h, &RefError{Ref: prefix}
		}
		return st.peel(h)
	}
	even, err := hex.DecodeString(prefix[:len(prefix)/2*2])
	if err != nil {
		return plumbing.ZeroHash, &RefError{Ref: prefix}
	}
	hashes, err := st.storage().HashesWithPrefix(even)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("find commit %s: %w", prefix, err)
	}
	var found plumbing.Hash
	for _, h := range hashes {
		if !strings.HasPrefix(h.String(), prefix) || h == found {
			continue
		}
		if _, err := st.readHere(plumbing.CommitObject, h); err != nil {
			continue // a file or directory
		}
		if !found.IsZero() {
			return found, fmt.Errorf("find commit %s: it is the beginning of several; write more digits", prefix)
		}
		found = h
	}
	if found.IsZero() {
		return found, &RefError{Ref: prefix}
	}
	return found, nil
}
