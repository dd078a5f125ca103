package compose

import (
	"errors"
	"io/fs"
	"testing"
	"testing/fstest"

	"github.com/fairlead/fairlead/desired"
)

var errDisk = errors.New("input/output error")

// failing is a file system whose nth operation fails.
type failing struct {
	fs.FS
	left *int
}

func (f failing) fails() bool { *f.left--; return *f.left == 0 }

func (f failing) Open(name string) (fs.File, error) {
	if f.fails() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errDisk}
	}
	return f.FS.Open(name)
}

func (f failing) Lstat(name string) (fs.FileInfo, error) {
	if f.fails() {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: errDisk}
	}
	return fs.Lstat(f.FS, name)
}

func (f failing) ReadLink(name string) (string, error) {
	if f.fails() {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: errDisk}
	}
	return fs.ReadLink(f.FS, name)
}

func (f failing) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.fails() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errDisk}
	}
	return fs.ReadDir(f.FS, name)
}

// TestUnreadableIsNotAbsent fails every read in turn. Whatever it is, the load
// fails, and not as a mistake of the user (law 3).
func TestUnreadableIsNotAbsent(t *testing.T) {
	repo := files("inst/compose.yaml", "include: [sub/c.yaml]\nservices:\n  a:\n    extends: {file: ../base.yaml, service: b}\n    env_file: [{path: gone.env, required: false}, app.env]\n    volumes: [\"./conf:/c:ro\", \"./data:/d\", \"./absent:/e:ro\"]\n    secrets: [s]\nsecrets: {s: {file: ./s}}\n",
		"inst/sub/c.yaml", "services: {c: {image: x}}\n", "base.yaml", "services: {b: {image: x}}\n", "inst/app.env", "A=1\n", "inst/conf/x", "x", "inst/data/y", "y", "inst/s", "secret")
	repo["inst/conf/l"] = &fstest.MapFile{Data: []byte("x"), Mode: fs.ModeSymlink | 0o777}
	local := files(".env", "X=1\n", "conf/z", "z")
	ops := 0
	for n := 1; ; n++ {
		left := n
		_, err := Load(desired.ComposeInput{Tree: failing{repo, &left}, Local: failing{local, &left}, Dir: "inst", Name: "acme"})
		if left > 0 {
			ops = n
			if err != nil {
				t.Fatalf("without a failure: %v", err)
			}
			break
		}
		var ps desired.Problems
		if err == nil || errors.As(err, &ps) {
			t.Errorf("operation %d failed, and the load says %v", n, err)
		}
	}
	if ops < 40 {
		t.Errorf("only %d operations", ops)
	}
}
