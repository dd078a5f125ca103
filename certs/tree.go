package certs

import (
	"bytes"
	"io"
	"io/fs"
	"path"
	"time"
)

// tree are the files of the repository that age:// references name.
type tree map[string][]byte

// Open implements fs.FS for files; there are no directories to list.
func (t tree) Open(name string) (fs.File, error) {
	data, there := t[name]
	if !there || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &treeFile{bytes.NewReader(data), path.Base(name), int64(len(data))}, nil
}

type treeFile struct {
	io.Reader
	name string
	size int64
}

func (f *treeFile) Close() error               { return nil }
func (f *treeFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *treeFile) Name() string               { return f.name }
func (f *treeFile) Size() int64                { return f.size }
func (f *treeFile) Mode() fs.FileMode          { return 0o400 }
func (f *treeFile) ModTime() time.Time         { return time.Time{} }
func (f *treeFile) IsDir() bool                { return false }
func (f *treeFile) Sys() any                   { return nil }
