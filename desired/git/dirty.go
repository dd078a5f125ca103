package git

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/gitignore"
	"github.com/go-git/go-git/v5/plumbing/format/index"
)

const (
	// maxDirty bounds the paths that are named; the rest is counted.
	maxDirty = 100
	// maxWalk and maxDirtyTime bound the look at a work tree.
	maxWalk      = 100_000
	maxDirtyTime = 5 * time.Second
	maxAskTime   = time.Second // when a person waits for the answer
	maxIndex     = 64 << 20
)

// dirtiness is what differs between a work tree and its commit.
type dirtiness struct {
	paths []string // sorted, at most maxDirty
	count int
	err   error // why it is not known, or not in full
}

// dirty compares the work tree and the index with HEAD as `git status` does,
// but only reads: git status rewrites the index.
func (g gitDir) dirty(ctx context.Context, st *store) dirtiness {
	if g.work == "" {
		return dirtiness{}
	}
	ctx, cancel := context.WithTimeout(ctx, maxDirtyTime)
	defer cancel()
	d := &differ{ctx: ctx, g: g, found: map[string]bool{}, plain: map[string]bool{}}
	err := d.run(st)
	all := make([]string, 0, len(d.found))
	for p := range d.found {
		all = append(all, p)
	}
	slices.Sort(all)
	if err != nil {
		err = fmt.Errorf("compare work tree: %w", err)
	}
	return dirtiness{paths: slices.Clone(all[:min(len(all), maxDirty)]), count: len(all), err: err}
}

// Uncommitted looks now for edits of a local repository that no commit has, at
// most a hundred. What the last pass saw stands in when a second is not enough.
func (r *Repo) Uncommitted(ctx context.Context) []string {
	at, known := r.known()
	if !known || r.to.scheme != schemeLocal {
		return at.Dirty
	}
	ctx, cancel := context.WithTimeout(ctx, maxAskTime)
	defer cancel()
	g, err := findGitDir(r.to.path)
	if err != nil {
		return at.Dirty
	}
	d := g.dirty(ctx, r.currentStore())
	if d.err != nil {
		return at.Dirty
	}
	return d.paths
}

type differ struct {
	ctx     context.Context
	g       gitDir
	idx     *index.Index
	written time.Time // of the index
	tracked map[string]bool
	dirs    map[string]bool // that hold tracked files
	plain   map[string]bool // directories that are no symbolic links
	found   map[string]bool
	walked  int
}

func (d *differ) run(st *store) error {
	head, err := localHead(st.storage(), d.g)
	if err != nil {
		return err
	}
	if d.idx, d.written, err = readIndex(d.g); err != nil {
		return err
	}
	if err := d.staged(st, head.commit); err != nil {
		return err
	}
	root, err := os.OpenRoot(d.g.work)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := d.unstaged(root); err != nil {
		return err
	}
	return d.untracked(root, ".", excludes(d.g))
}

// readIndex reads the index; one that does not exist is empty.
func readIndex(g gitDir) (*index.Index, time.Time, error) {
	idx := &index.Index{Version: 2}
	b, err := readBounded(filepath.Join(g.dir, "index"), maxIndex)
	if errors.Is(err, os.ErrNotExist) {
		return idx, time.Time{}, nil
	}
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read index: %w", err)
	}
	info, err := os.Stat(filepath.Join(g.dir, "index"))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read index: %w", err)
	}
	if err := index.NewDecoder(bytes.NewReader(b)).Decode(idx); err != nil {
		return nil, time.Time{}, fmt.Errorf("read index: %w", err)
	}
	return idx, info.ModTime(), nil
}

// staged finds where the index differs from the commit.
func (d *differ) staged(st *store, commit plumbing.Hash) error {
	c, err := st.commit(commit)
	if err != nil {
		return err
	}
	d.tracked, d.dirs = make(map[string]bool, len(d.idx.Entries)), map[string]bool{}
	head := map[string]change{}
	if !d.indexIs(c.TreeHash) {
		if head, err = flatten(st, c.TreeHash); err != nil {
			return err
		}
	}
	for _, e := range d.idx.Entries {
		d.tracked[e.Name] = true
		for dir := path.Dir(e.Name); !d.dirs[dir]; dir = path.Dir(dir) {
			d.dirs[dir] = true
		}
		if d.indexIs(c.TreeHash) {
			continue
		}
		if was, ok := head[e.Name]; !ok || was.hash != e.Hash || was.mode != e.Mode || e.Stage != 0 {
			d.found[e.Name] = true
		}
		delete(head, e.Name)
	}
	for name := range head {
		d.found[name] = true
	}
	return nil
}

// indexIs tells whether the index notes that it was written from this tree.
func (d *differ) indexIs(tree plumbing.Hash) bool {
	if d.idx.Cache == nil || len(d.idx.Cache.Entries) == 0 {
		return false
	}
	root := d.idx.Cache.Entries[0]
	return root.Path == "" && root.Hash == tree && root.Entries == len(d.idx.Entries)
}

// unstaged finds where files differ from the index.
func (d *differ) unstaged(root *os.Root) error {
	for _, e := range d.idx.Entries {
		if err := d.ctx.Err(); err != nil {
			return err
		}
		if e.Mode == filemode.Submodule || e.SkipWorktree {
			continue
		}
		info, err := d.lstat(e.Name)
		if err != nil || !same(root, e, info, d.written) {
			d.found[e.Name] = true
		}
	}
	return nil
}

// lstat is lstatIn that remembers the directories, for the thousands of files
// of a whole work tree.
func (d *differ) lstat(name string) (fs.FileInfo, error) {
	if !d.isDir(path.Dir(name)) {
		return nil, fs.ErrNotExist
	}
	return os.Lstat(filepath.Join(d.g.work, filepath.FromSlash(name)))
}

func (d *differ) isDir(dir string) bool {
	if dir == "." {
		return true
	}
	is, known := d.plain[dir]
	if !known {
		if is = d.isDir(path.Dir(dir)); is {
			info, err := os.Lstat(filepath.Join(d.g.work, filepath.FromSlash(dir)))
			is = err == nil && info.IsDir()
		}
		d.plain[dir] = is
	}
	return is
}

// unchanged tells whether a file is what the index says.
func unchanged(root *os.Root, e *index.Entry, written time.Time) bool {
	info, err := lstatIn(root, filepath.FromSlash(e.Name))
	return err == nil && same(root, e, info, written)
}

// same compares a file with its entry. Size and time are enough, unless the
// file is as young as the index (git's racy entries).
func same(root *os.Root, e *index.Entry, info fs.FileInfo, written time.Time) bool {
	name := filepath.FromSlash(e.Name)
	if fileMode(info) != e.Mode {
		return false
	}
	if info.ModTime().Equal(e.ModifiedAt) && uint32(info.Size()) == e.Size && info.ModTime().Before(written) {
		return true
	}
	if info.Size() > maxBlob {
		return false
	}
	b, err := contentOf(root, name, info)
	if err != nil {
		return false
	}
	return plumbing.ComputeHash(plumbing.BlobObject, b) == e.Hash ||
		plumbing.ComputeHash(plumbing.BlobObject, bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))) == e.Hash // core.autocrlf
}

// lstatIn is Lstat, but a symbolic link on the way there is as if nothing was
// there: what lies behind it is not the tracked file.
func lstatIn(root *os.Root, name string) (fs.FileInfo, error) {
	for i := range len(name) {
		if name[i] != filepath.Separator {
			continue
		}
		info, err := root.Lstat(name[:i])
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fs.ErrNotExist
		}
	}
	return root.Lstat(name)
}

func contentOf(root *os.Root, name string, info fs.FileInfo) ([]byte, error) {
	if info.Mode()&fs.ModeSymlink != 0 {
		to, err := root.Readlink(name)
		return []byte(to), err
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBlob+1))
}

func fileMode(info fs.FileInfo) filemode.FileMode {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return filemode.Symlink
	case info.IsDir():
		return filemode.Dir
	case !info.Mode().IsRegular():
		return filemode.Empty
	case info.Mode()&0o100 != 0:
		return filemode.Executable
	}
	return filemode.Regular
}

// untracked finds files that git does not know and that are not ignored. A
// directory without tracked files is named as one, with a slash.
func (d *differ) untracked(root *os.Root, dir string, ignored []gitignore.Pattern) error {
	ignored = append(slices.Clip(ignored), ignoreFile(root, dir)...)
	list, err := d.list(root, dir)
	if err != nil {
		return err
	}
	match := gitignore.NewMatcher(ignored)
	for _, e := range list {
		name := path.Join(dir, e.Name())
		if d.tracked[name] || dir == "." && e.Name() == ".git" || match.Match(strings.Split(name, "/"), e.IsDir()) {
			continue
		}
		switch {
		case !e.IsDir():
			d.found[name] = true
		case d.dirs[name]:
			err = d.untracked(root, name, ignored)
		default:
			var some bool
			if some, err = d.holdsFiles(root, name, ignored); some {
				d.found[name+"/"] = true
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holdsFiles tells whether an untracked directory has anything to tell of.
func (d *differ) holdsFiles(root *os.Root, dir string, ignored []gitignore.Pattern) (bool, error) {
	ignored = append(slices.Clip(ignored), ignoreFile(root, dir)...)
	list, err := d.list(root, dir)
	if err != nil {
		return false, err
	}
	match := gitignore.NewMatcher(ignored)
	for _, e := range list {
		name := path.Join(dir, e.Name())
		if match.Match(strings.Split(name, "/"), e.IsDir()) {
			continue
		}
		if !e.IsDir() || e.Name() == ".git" {
			return true, nil
		}
		if some, err := d.holdsFiles(root, name, ignored); some || err != nil {
			return some, err
		}
	}
	return false, nil
}

func (d *differ) list(root *os.Root, dir string) ([]fs.DirEntry, error) {
	if err := d.ctx.Err(); err != nil {
		return nil, err
	}
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	defer f.Close()
	list, err := f.ReadDir(maxWalk - d.walked + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if d.walked += len(list); d.walked > maxWalk {
		return nil, fmt.Errorf("it has more than %d files", maxWalk)
	}
	return list, nil
}

func ignoreFile(root *os.Root, dir string) []gitignore.Pattern {
	f, err := root.Open(filepath.Join(filepath.FromSlash(dir), ".gitignore"))
	if err != nil {
		return nil
	}
	defer f.Close()
	var domain []string
	if dir != "." {
		domain = strings.Split(dir, "/")
	}
	return patterns(f, domain)
}

func excludes(g gitDir) []gitignore.Pattern {
	f, err := os.Open(filepath.Join(g.common, "info", "exclude"))
	if err != nil {
		return nil
	}
	defer f.Close()
	return patterns(f, nil)
}

func patterns(r io.Reader, domain []string) []gitignore.Pattern {
	var list []gitignore.Pattern
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	for lines.Scan() {
		s := lines.Text()
		if s = strings.TrimRight(s, "\r"); strings.TrimSpace(s) != "" && !strings.HasPrefix(s, "#") {
			list = append(list, gitignore.ParsePattern(s, domain))
		}
	}
	return list
}
