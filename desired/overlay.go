package desired

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Overlay is tree with the files of local lying over the directory dir. A file
// of local hides what tree has at its path; directories are merged. Only
// regular files and directories of local are seen: it is a directory of a
// host, where a symbolic link could lead anywhere. A nil local gives tree.
func Overlay(tree fs.FS, dir string, local fs.FS) fs.FS {
	if local == nil {
		return tree
	}
	return overlay{tree: tree, dir: path.Clean(dir), local: local}
}

type overlay struct {
	tree  fs.FS
	dir   string
	local fs.FS
}

var (
	_ fs.ReadDirFS  = overlay{}
	_ fs.ReadFileFS = overlay{}
	_ fs.StatFS     = overlay{}
	_ fs.ReadLinkFS = overlay{}
)

// place is where a name is read from.
type place struct {
	fs.FS
	path string
	own  bool // it is in local
}

// find says where name is read from.
func (o overlay) find(op, name string) (place, error) {
	below := place{o.tree, name, false}
	if !fs.ValidPath(name) {
		return place{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	inner, ok := strings.CutPrefix(name, o.dir+"/")
	if o.dir == "." {
		inner, ok = name, true
	} else if name == o.dir {
		inner, ok = ".", true
	}
	if !ok {
		return below, nil
	}
	for end := 0; end < len(inner); end++ {
		if n := strings.IndexByte(inner[end:], '/'); n >= 0 {
			end += n
		} else {
			end = len(inner)
		}
		info, err := fs.Lstat(o.local, inner[:end])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return below, nil
		case err != nil:
			return place{}, err
		case info.IsDir():
		case !info.Mode().IsRegular():
			return below, nil
		case end < len(inner): // a file hides the directory of the tree
			return place{}, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
		}
	}
	return place{o.local, inner, true}, nil
}

func (o overlay) Open(name string) (fs.File, error) {
	at, err := o.find("open", name)
	if err != nil {
		return nil, err
	}
	f, err := at.Open(at.path)
	if err != nil || !at.own {
		return f, err
	}
	info, err := f.Stat()
	if err != nil || !info.IsDir() {
		return f, err
	}
	entries, err := o.ReadDir(name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &mergedDir{File: f, name: path.Base(name), entries: entries}, nil
}

// ReadDir lists the files of both, those of local first.
func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := o.find("readdir", name)
	if err != nil {
		return nil, err
	}
	entries, err := fs.ReadDir(at.FS, at.path)
	if err != nil || !at.own {
		return entries, err
	}
	entries = slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() })
	info, err := fs.Lstat(o.tree, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return entries, nil
	} else if err != nil {
		return nil, err
	}
	below, err := fs.ReadDir(o.tree, name)
	if err != nil {
		return nil, err
	}
	// Stable sort and Compact keep the first of equal names: local's.
	entries = append(entries, below...)
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return slices.CompactFunc(entries, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() }), nil
}

func (o overlay) ReadFile(name string) ([]byte, error) {
	at, err := o.find("readfile", name)
	if err != nil {
		return nil, err
	}
	return fs.ReadFile(at.FS, at.path)
}

func (o overlay) Stat(name string) (fs.FileInfo, error) {
	at, err := o.find("stat", name)
	if err != nil {
		return nil, err
	}
	info, err := fs.Stat(at.FS, at.path)
	return named(info, name), err
}

func (o overlay) Lstat(name string) (fs.FileInfo, error) {
	at, err := o.find("lstat", name)
	if err != nil {
		return nil, err
	}
	info, err := fs.Lstat(at.FS, at.path)
	return named(info, name), err
}

func (o overlay) ReadLink(name string) (string, error) {
	at, err := o.find("readlink", name)
	if err != nil {
		return "", err
	}
	return fs.ReadLink(at.FS, at.path)
}

// named gives the root of local the name that it has in the tree.
func named(info fs.FileInfo, name string) fs.FileInfo {
	if info == nil || info.Name() == path.Base(name) {
		return info
	}
	return namedInfo{info, path.Base(name)}
}

type namedInfo struct {
	fs.FileInfo
	name string
}

func (i namedInfo) Name() string { return i.name }

// mergedDir is an open directory with the entries of both file systems.
type mergedDir struct {
	fs.File
	name    string
	entries []fs.DirEntry
}

func (d *mergedDir) Stat() (fs.FileInfo, error) {
	info, err := d.File.Stat()
	return named(info, d.name), err
}

// ReadDir keeps the contract of fs.ReadDirFile.
func (d *mergedDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 || n > len(d.entries) {
		if n > 0 && len(d.entries) == 0 {
			return nil, io.EOF
		}
		n = len(d.entries)
	}
	out := d.entries[:n]
	d.entries = d.entries[n:]
	return out, nil
}
