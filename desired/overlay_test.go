package desired

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func TestOverlay(t *testing.T) {
	repo := tree(map[string]string{
		"a/compose.yaml": "repo", "a/conf/x": "repo", "a/conf/y": "repo", "a/dir/z": "repo", "a/file": "repo", "b/compose.yaml": "b", "top": "top",
	})
	repo["a/link"] = &fstest.MapFile{Data: []byte("file"), Mode: fs.ModeSymlink}
	local := tree(map[string]string{
		".env": "local", "conf/x": "local", "conf/new": "local", "dir": "a file over a directory", "file/in": "a directory over a file", "sub/deep/f": "local",
	})
	want := map[string]string{
		"a/compose.yaml": "repo", "a/conf/x": "local", "a/conf/y": "repo", "a/conf/new": "local", "a/.env": "local",
		"a/dir": "a file over a directory", "a/file/in": "a directory over a file", "a/sub/deep/f": "local", "b/compose.yaml": "b", "top": "top",
	}
	over := Overlay(repo, "a", local)
	names := make([]string, 0, len(want))
	for name, content := range want {
		names = append(names, name)
		got, err := fs.ReadFile(over, name)
		if err != nil || string(got) != content {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	delete(repo, "a/link") // TestFS would follow it to what is a directory now
	if err := fstest.TestFS(over, names...); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(over, "a/dir/z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below a file: %v", err)
	}
	if _, err := over.Open("../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("outside: %v", err)
	}
}

func TestOverlayRoot(t *testing.T) {
	over := Overlay(tree(map[string]string{"compose.yaml": "repo", "x/y": ""}), ".", tree(map[string]string{".env": "", "x/z": ""}))
	if err := fstest.TestFS(over, "compose.yaml", ".env", "x/y", "x/z"); err != nil {
		t.Error(err)
	}
}

func TestOverlayOfNothing(t *testing.T) {
	repo := tree(map[string]string{"a/x": "repo"})
	if got := Overlay(repo, "a", nil); got == nil || got.(fstest.MapFS) == nil {
		t.Error("nil is not nothing")
	}
	over := Overlay(repo, "a", os.DirFS(filepath.Join(t.TempDir(), "absent")))
	if err := fstest.TestFS(over, "a/x"); err != nil {
		t.Error(err)
	}
}

// A link in the host's directory must not lead out of it.
func TestOverlayFollowsNoLocalLink(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, "hush")
	for link, to := range map[string]string{".env": secret, "conf": filepath.Dir(secret), "x": secret} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	over := Overlay(tree(map[string]string{"a/.env": "repo", "a/conf/x": "repo"}), "a", os.DirFS(dir))
	if got, err := fs.ReadFile(over, "a/.env"); string(got) != "repo" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, name := range []string{"a/conf/secret", "a/x"} {
		if _, err := fs.ReadFile(over, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
	entries, err := fs.ReadDir(over, "a")
	if err != nil || len(entries) != 2 {
		t.Errorf("entries %v, %v", entries, err)
	}
}

// The tree's own links stay links.
func TestOverlayKeepsLinks(t *testing.T) {
	repo := tree(map[string]string{"a/file": "repo"})
	repo["a/link"] = &fstest.MapFile{Data: []byte("file"), Mode: fs.ModeSymlink}
	over := Overlay(repo, "a", tree(map[string]string{".env": ""}))
	if to, err := fs.ReadLink(over, "a/link"); to != "file" || err != nil {
		t.Errorf("got %q, %v", to, err)
	}
	if info, err := fs.Lstat(over, "a/link"); err != nil || info.Mode().Type() != fs.ModeSymlink {
		t.Errorf("got %v, %v", info, err)
	}
	if got, err := fs.ReadFile(over, "a/link"); string(got) != "repo" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
