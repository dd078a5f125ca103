package git

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// treeFS is a commit's tree as a file system. Symbolic links are followed
// within the tree, as a checkout would; one that leads out is an error. Lstat
// and ReadLink do not follow the last element.
type treeFS struct {
	st   *store
	root plumbing.Hash
	time time.Time

	mu   sync.Mutex // guards what follows
	dirs map[plumbing.Hash][]object.TreeEntry
}

var (
	_ fs.ReadDirFS  = (*treeFS)(nil)
	_ fs.ReadFileFS = (*treeFS)(nil)
	_ fs.StatFS     = (*treeFS)(nil)
	_ fs.ReadLinkFS = (*treeFS)(nil)
)

const (
	maxLinks = 40 // as Linux
	// cachedDirs bounds the decoded directories that a tree keeps.
	cachedDirs = 128
)

func newTreeFS(st *store, c *object.Commit) *treeFS {
	return &treeFS{st: st, root: c.TreeHash, time: c.Committer.When, dirs: map[plumbing.Hash][]object.TreeEntry{}}
}

func (t *treeFS) entries(h plumbing.Hash) ([]object.TreeEntry, error) {
	t.mu.Lock()
	es, ok := t.dirs[h]
	t.mu.Unlock()
	if ok {
		return es, nil
	}
	es, err := t.st.tree(h)
	if err != nil {
		return nil, err
	}
	// What io/fs cannot name cannot be asked for either.
	es = slices.DeleteFunc(es, func(e object.TreeEntry) bool {
		return !utf8.ValidString(e.Name) || !fs.ValidPath(e.Name) || strings.Contains(e.Name, "/") || e.Name == "."
	})
	slices.SortFunc(es, func(a, b object.TreeEntry) int { return strings.Compare(a.Name, b.Name) })
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.dirs) >= cachedDirs {
		clear(t.dirs)
	}
	t.dirs[h] = es
	return es, nil
}

// lookup finds what name is. The name it returns is the one without links.
func (t *treeFS) lookup(name string, follow bool) (object.TreeEntry, string, error) {
	if !fs.ValidPath(name) {
		return object.TreeEntry{}, "", fs.ErrInvalid
	}
	links := 0
	return t.walk(name, follow, &links)
}

func (t *treeFS) walk(name string, follow bool, links *int) (object.TreeEntry, string, error) {
	at, where := object.TreeEntry{Name: ".", Mode: filemode.Dir, Hash: t.root}, "."
	if name == "." {
		return at, where, nil
	}
	rest := name
	for rest != "" {
		var part string
		part, rest, _ = strings.Cut(rest, "/")
		if at.Mode == filemode.Submodule {
			return at, where, &SubmoduleError{Path: where}
		}
		if at.Mode != filemode.Dir {
			return at, where, fs.ErrNotExist
		}
		es, err := t.entries(at.Hash)
		if err != nil {
			return at, where, err
		}
		i, ok := slices.BinarySearchFunc(es, part, func(e object.TreeEntry, s string) int { return strings.Compare(e.Name, s) })
		if !ok {
			return at, where, fs.ErrNotExist
		}
		if es[i].Mode == filemode.Symlink && (rest != "" || follow) {
			to, err := t.resolve(where, es[i], links)
			if err != nil {
				return at, where, err
			}
			return t.walk(path.Join(to, rest), follow, links)
		}
		at, where = es[i], path.Join(where, part)
	}
	return at, where, nil
}

// resolve gives the path that a link in dir points at.
func (t *treeFS) resolve(dir string, link object.TreeEntry, links *int) (string, error) {
	if *links++; *links > maxLinks {
		return "", errors.New("too many symbolic links")
	}
	b, err := t.st.read(plumbing.BlobObject, link.Hash)
	if err != nil {
		return "", err
	}
	to := path.Join(dir, string(b))
	if path.IsAbs(string(b)) || !fs.ValidPath(to) {
		return "", fmt.Errorf("symbolic link %s leads out of the repository (to %q)", path.Join(dir, link.Name), b)
	}
	return to, nil
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func (t *treeFS) Open(name string) (fs.File, error) {
	e, where, err := t.lookup(name, true)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	info, err := t.info(e, path.Base(name))
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if e.Mode == filemode.Dir {
		return &openDir{tree: t, entry: e, info: info, name: name}, nil
	}
	b, err := t.content(e, where)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return newOpenFile(b, info, name), nil
}

// content reads a file's blob.
func (t *treeFS) content(e object.TreeEntry, where string) ([]byte, error) {
	if e.Mode == filemode.Submodule {
		return nil, &SubmoduleError{Path: where}
	}
	return t.st.read(plumbing.BlobObject, e.Hash)
}

// ReadFile gives a file's content; at most 32 MiB.
func (t *treeFS) ReadFile(name string) ([]byte, error) {
	e, where, err := t.lookup(name, true)
	if err == nil && e.Mode == filemode.Dir {
		err = errors.New("is a directory")
	}
	if err != nil {
		return nil, pathError("read", name, err)
	}
	b, err := t.content(e, where)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return b, nil
}

func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, where, err := t.lookup(name, true)
	if err == nil && e.Mode == filemode.Submodule {
		err = &SubmoduleError{Path: where}
	}
	if err == nil && e.Mode != filemode.Dir {
		err = errors.New("not a directory")
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	list, err := t.list(e)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return list, nil
}

func (t *treeFS) list(dir object.TreeEntry) ([]fs.DirEntry, error) {
	es, err := t.entries(dir.Hash)
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, len(es))
	for i, e := range es {
		list[i] = dirEntry{t, e}
	}
	return list, nil
}

// Stat follows symbolic links.
func (t *treeFS) Stat(name string) (fs.FileInfo, error) { return t.stat(name, true) }

// Lstat does not follow a symbolic link.
func (t *treeFS) Lstat(name string) (fs.FileInfo, error) { return t.stat(name, false) }

func (t *treeFS) stat(name string, follow bool) (fs.FileInfo, error) {
	e, _, err := t.lookup(name, follow)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	info, err := t.info(e, path.Base(name))
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return info, nil
}

// ReadLink gives the target of a symbolic link as it is written.
func (t *treeFS) ReadLink(name string) (string, error) {
	e, _, err := t.lookup(name, false)
	if err == nil && e.Mode != filemode.Symlink {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	b, err := t.st.read(plumbing.BlobObject, e.Hash)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return string(b), nil
}

func (t *treeFS) info(e object.TreeEntry, name string) (fs.FileInfo, error) {
	info := fileInfo{name: name, mode: modeOf(e.Mode), time: t.time}
	if e.Mode == filemode.Dir || e.Mode == filemode.Submodule {
		return info, nil
	}
	var err error
	if info.size, err = t.st.size(e.Hash); err != nil {
		return nil, fmt.Errorf("size of %s: %w (%v)", e.Hash, ErrUnreadable, err)
	}
	return info, nil
}

// modeOf gives the mode that a checkout with a umask of 022 would. A submodule
// is irregular: it is listed, but nothing can be read of it.
func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o755
	case filemode.Executable:
		return 0o755
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular | 0o000
	}
	return 0o644
}
