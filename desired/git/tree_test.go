package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func treeOf(t testing.TB, dir string) fs.FS {
	t.Helper()
	s, err := open(t, Options{Repo: dir}).Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Tree
}

func link(t testing.TB, dir, name, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func TestTreeIsAFileSystem(t *testing.T) {
	dir := newWork(t, "a/b/c.txt", "c", "a/b.txt", "b", "a-b/x", "x", "a.b", "dot", "empty", "", "z/deep/er/f", "f", "ünï/code", "u")
	write(t, filepath.Join(dir, "run.sh"), "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(dir, "run.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	link(t, dir, "links/file", "../a/b/c.txt")
	link(t, dir, "links/dir", "../z/deep")
	commit(t, dir, "All kinds")
	tree := treeOf(t, dir)
	if err := fstest.TestFS(tree, "a/b/c.txt", "a/b.txt", "a-b/x", "a.b", "empty", "z/deep/er/f", "ünï/code", "run.sh", "links/file"); err != nil {
		t.Fatal(err)
	}
	sub, err := fs.Sub(tree, "a")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "b/c.txt", "b.txt"); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(treeOf(t, emptyTree(t))); err != nil {
		t.Fatal(err)
	}
}

func emptyTree(t *testing.T) string {
	dir := newWork(t, "x", "x")
	git(t, dir, "rm", "-q", "x")
	commit(t, dir, "Nothing left")
	return dir
}

func TestTreeModesAndLinks(t *testing.T) {
	dir := newWork(t, "real/file", "content", "x", "x")
	if err := os.Chmod(filepath.Join(dir, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{
		"in": "real/file", "dirlink": "real", "chain": "in", "self": "self", "up": "../outside", "abs": "/etc/passwd",
		"real/back": "../x", "dangling": "nothing", "real/out": "../../etc",
	} {
		link(t, dir, name, to)
	}
	commit(t, dir, "Links")
	tree := treeOf(t, dir)
	for name, want := range map[string]fs.FileMode{"real/file": 0o644, "x": 0o755, "real": fs.ModeDir | 0o755, "in": 0o644, "dirlink": fs.ModeDir | 0o755} {
		if info, err := fs.Stat(tree, name); err != nil || info.Mode() != want {
			t.Errorf("stat %s: %v, %v; want %v", name, info, err, want)
		}
	}
	if info, err := fs.Lstat(tree, "in"); err != nil || info.Mode() != fs.ModeSymlink|0o777 {
		t.Errorf("lstat in: %v, %v", info, err)
	}
	if to, err := fs.ReadLink(tree, "real/out"); err != nil || to != "../../etc" {
		t.Errorf("readlink: %q, %v", to, err)
	}
	for name, want := range map[string]string{"in": "content", "dirlink/file": "content", "chain": "content", "real/back": "x", "dirlink/back": "x"} {
		if b, err := fs.ReadFile(tree, name); err != nil || string(b) != want {
			t.Errorf("read %s: %q, %v", name, b, err)
		}
	}
	for name, want := range map[string]string{
		"self": "too many", "up": "leads out", "abs": "leads out", "real/out/passwd": "leads out", "dangling": "not exist",
		"x/y": "not exist", "real": "is a directory", "../x": "invalid", "/x": "invalid",
	} {
		_, err := fs.ReadFile(tree, name)
		wantError(t, err, nil, want)
	}
}

func TestTreeSubmodule(t *testing.T) {
	dir := newWork(t)
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",instances/lib")
	git(t, dir, "commit", "-q", "-m", "Submodule")
	tree := treeOf(t, dir)
	for _, name := range []string{"instances/lib", "instances/lib/compose.yaml"} {
		_, err := fs.ReadFile(tree, name)
		wantError(t, err, ErrSubmodule, "submodule instances/lib: not supported, vendor its files")
		_, err = tree.Open(name)
		wantError(t, err, ErrSubmodule)
	}
	_, err := fs.ReadDir(tree, "instances/lib")
	wantError(t, err, ErrSubmodule)
	list, err := fs.ReadDir(tree, "instances")
	if err != nil || len(list) != 2 {
		t.Fatalf("the rest is not listed: %v, %v", list, err)
	}
}

func TestTreeRefusesHugeFiles(t *testing.T) {
	dir := newWork(t)
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxBlob + 1); err != nil {
		t.Fatal(err)
	}
	f.Close()
	commit(t, dir, "Huge")
	for _, pack := range []bool{false, true} {
		if pack {
			git(t, dir, "gc", "-q")
		}
		_, err = fs.ReadFile(treeOf(t, dir), "huge")
		wantError(t, err, ErrTooLarge, "at most")
	}
}

func TestTreeConcurrentReads(t *testing.T) {
	var files []string
	for i := range 60 {
		files = append(files, fmt.Sprintf("d%d/f%d", i%7, i), strings.Repeat(number("line ", i), 50))
	}
	rem := newRemote(t, files...)
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	sync1(t, r)
	snap, err := r.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := 0; i < len(files); i += 2 {
				if b, err := fs.ReadFile(snap.Tree, files[i]); err != nil || string(b) != files[i+1] {
					t.Errorf("%s: %v", files[i], err)
				}
			}
		})
	}
	for i := range 3 { // the mirror changes and is replaced meanwhile
		rem.commit(t, "More", "more", number("", i))
		sync1(t, r)
	}
	write(t, filepath.Join(r.opt.Mirror, "config"), "")
	sync1(t, r)
	wg.Wait()
}

// TestTreeMatchesGit compares every path with what git lists.
func TestTreeMatchesGit(t *testing.T) {
	dir := newWork(t, "b/a", "1", "b.c", "2", "b-d/e", "3", "B/x", "4")
	link(t, dir, "l", "b/a")
	commit(t, dir, "More")
	var got []string
	err := fs.WalkDir(treeOf(t, dir), ".", func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			got = append(got, p)
		}
		return err
	})
	want := strings.Split(git(t, dir, "ls-tree", "-r", "--name-only", "HEAD"), "\n")
	slices.Sort(got)
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestLFSPointer(t *testing.T) {
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 12345\n"
	for s, want := range map[string]bool{
		pointer: true, "": false, "version: 3\n": false, pointer + strings.Repeat("x", 1024): false,
		"version https://git-lfs.github.com/spec/v1\n": false, " " + pointer: false,
	} {
		if got := IsLFSPointer([]byte(s)); got != want {
			t.Errorf("%.30q: %v", s, got)
		}
	}
	var pe *fs.PathError
	if _, err := treeOf(t, newWork(t)).Open("none"); !errors.As(err, &pe) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}
