package reconciler

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

func file(name, content string) desired.FileEntry {
	return desired.FileEntry{Path: name, Mode: 0o644, Content: []byte(content)}
}

// mounting is a specification with one mount of a tree.
func mounting(kind desired.MountType, source string, tree desired.FileTree) desired.Spec {
	key := tree.Hash()
	m := desired.Mount{Type: kind, Source: key, Target: "/etc/app", ReadOnly: true}
	if kind == desired.MountWork {
		m = desired.Mount{Type: kind, Source: source, Seed: key, Target: "/etc/app"}
	}
	return desired.Spec{
		Services: map[string]desired.Service{"app": {Name: "app", Mounts: []desired.Mount{m}}},
		Files:    map[string]desired.FileTree{key: tree},
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTrackedFilesAreWrittenUnderTheirHash(t *testing.T) {
	home := t.TempDir()
	tree := desired.FileTree{Entries: []desired.FileEntry{
		{Path: "bin/run", Mode: 0o755, Content: []byte("#!")}, file("conf/a.conf", "a"), {Path: "latest", Link: "conf/a.conf"}}}
	spec := mounting(desired.MountTracked, "", tree)
	if err := materialize(home, spec); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "files", tree.Hash())
	if got := read(t, dir, "latest"); got != "a" {
		t.Errorf("through the link: %q", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "bin/run")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("exec bit: %v %v", info, err)
	}
	back, err := readTree(dir)
	if err != nil || back.Hash() != tree.Hash() {
		t.Errorf("read back: %v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(home, "files", ".tmp-*")); len(names) > 0 {
		t.Errorf("left over: %v", names)
	}
}

func TestTrackedFilesChangedByHandAreRestored(t *testing.T) {
	for name, tamper := range map[string]func(dir string) error{
		"edited":  func(dir string) error { return os.WriteFile(filepath.Join(dir, "a.conf"), []byte("hacked"), 0o644) },
		"removed": func(dir string) error { return os.Remove(filepath.Join(dir, "a.conf")) },
		"mode":    func(dir string) error { return os.Chmod(filepath.Join(dir, "a.conf"), 0o777) },
		"all":     os.RemoveAll,
		"link": func(dir string) error {
			return os.Rename(filepath.Join(dir, "a.conf"), filepath.Join(dir, "b")) // and a link in its place
		},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			tree := desired.FileTree{Entries: []desired.FileEntry{file("a.conf", "a")}}
			spec := mounting(desired.MountTracked, "", tree)
			dir := filepath.Join(home, "files", tree.Hash())
			if err := materialize(home, spec); err != nil {
				t.Fatal(err)
			}
			if err := tamper(dir); err != nil {
				t.Fatal(err)
			}
			if err := materialize(home, spec); err != nil {
				t.Fatal(err)
			}
			if got := read(t, dir, "a.conf"); got != "a" {
				t.Errorf("content %q", got)
			}
			if info, err := os.Stat(filepath.Join(dir, "a.conf")); err != nil || info.Mode().Perm() != 0o644 {
				t.Errorf("mode: %v %v", info.Mode(), err)
			}
		})
	}
}

func TestSecretFilesAreKeptFromOtherUsers(t *testing.T) {
	home := t.TempDir()
	tree := desired.FileTree{Single: true, Secret: true, Entries: []desired.FileEntry{{Path: "token", Mode: 0o444, Content: []byte("s")}}}
	if err := materialize(home, mounting(desired.MountTracked, "", tree)); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(home, "files", tree.Hash()))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory of a secret: %v %v", info.Mode(), err)
	}
}

func TestPathsCannotLeaveTheirDirectory(t *testing.T) {
	for _, name := range []string{"../evil", "/etc/evil", "a/../../evil", "", ".", "a//b"} {
		tree := desired.FileTree{Entries: []desired.FileEntry{file(name, "x")}}
		if err := writeTree(filepath.Join(t.TempDir(), "h"), tree); err == nil {
			t.Errorf("path %q was written", name)
		}
	}
	if err := seed(t.TempDir(), "../evil", desired.FileTree{Single: true, Entries: []desired.FileEntry{file("x", "x")}}); err == nil {
		t.Error("a seed left the work directory")
	}
}

// A writable bind is seeded from the repository once and again when the
// repository changes it; what the application wrote is never lost.
func TestSeedsFollowTheRepositoryAndLoseNothing(t *testing.T) {
	home := t.TempDir()
	put := func(content string) {
		t.Helper()
		tree := desired.FileTree{Entries: []desired.FileEntry{file("app.conf", content)}}
		if err := materialize(home, mounting(desired.MountWork, "config", tree)); err != nil {
			t.Fatal(err)
		}
	}
	name := filepath.Join(home, "work/config/app.conf")
	put("one")
	if got := read(t, name); got != "one" {
		t.Fatalf("seeded %q", got)
	}
	if err := os.WriteFile(name, []byte("written by the application"), 0o644); err != nil {
		t.Fatal(err)
	}
	put("one")
	if got := read(t, name); got != "written by the application" {
		t.Errorf("an unchanged seed overwrote the application's file: %q", got)
	}
	put("two")
	if got := read(t, name); got != "two" {
		t.Errorf("a changed seed was not written: %q", got)
	}
	kept, _ := filepath.Glob(name + ".before-*")
	if len(kept) != 1 || read(t, kept[0]) != "written by the application" {
		t.Errorf("the application's file is lost: %v", kept)
	}
	put("three")
	if kept, _ := filepath.Glob(name + ".before-*"); len(kept) != 1 {
		t.Errorf("an untouched file was kept aside: %v", kept)
	}
}

func TestFilesNobodyMountsAreDropped(t *testing.T) {
	home := t.TempDir()
	old := desired.FileTree{Entries: []desired.FileEntry{file("a", "old")}}
	now := desired.FileTree{Entries: []desired.FileEntry{file("a", "now")}}
	for _, tree := range []desired.FileTree{old, now} {
		if err := materialize(home, mounting(desired.MountTracked, "", tree)); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropFiles(home, map[string]bool{now.Hash(): true}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filesDir(home))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), old.Hash()) {
			t.Errorf("%s is left", e.Name())
		}
	}
	if _, err := readTree(filepath.Join(filesDir(home), now.Hash())); err != nil {
		t.Errorf("what is mounted was dropped: %v", err)
	}
}

func TestLocalFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "huge"))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(maxLocalBytes + 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := localFiles(dir); err == nil {
		t.Error("a huge directory of host files was read")
	}
	if fsys, digest, _, err := localFiles(filepath.Join(dir, "none")); fsys != nil || digest != "" || err != nil {
		t.Errorf("no host files: %v %q %v", fsys, digest, err)
	}
}

func TestLocalFilesDoNotFollowLinksOut(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	fsys, _, done, err := localFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	if b, err := fs.ReadFile(fsys, "link"); err == nil {
		t.Errorf("a link out of the directory was followed: %d bytes", len(b))
	}
}

// Containers hold directories and files by their inodes: what is put in their
// place is not seen by them.
func TestTrackedFilesAreRestoredInPlace(t *testing.T) {
	home := t.TempDir()
	tree := desired.FileTree{Entries: []desired.FileEntry{file("a.conf", "a"), file("b.conf", "bb"), {Path: "latest", Link: "a.conf"}}}
	spec := mounting(desired.MountTracked, "", tree)
	if err := materialize(home, spec); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(home, "files", tree.Hash())
	held, err := os.OpenRoot(dir) // as a directory mount does
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	single, err := os.Open(filepath.Join(dir, "a.conf")) // as a mount of one file does
	if err != nil {
		t.Fatal(err)
	}
	defer single.Close()
	for name, tamper := range map[string]func() error{
		"longer":   func() error { return os.WriteFile(filepath.Join(dir, "a.conf"), []byte("longer"), 0o600) },
		"mode":     func() error { return os.Chmod(filepath.Join(dir, "a.conf"), 0o600) },
		"removed":  func() error { return os.Remove(filepath.Join(dir, "b.conf")) },
		"manifest": func() error { return os.Remove(manifestPath(dir)) },
		"damaged":  func() error { return os.WriteFile(manifestPath(dir), []byte("{"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := tamper(); err != nil {
				t.Fatal(err)
			}
			if err := materialize(home, spec); err != nil {
				t.Fatal(err)
			}
			if _, err := readTree(dir); err != nil {
				t.Errorf("read back: %v", err)
			}
			for _, e := range tree.Entries[:2] {
				if b, err := held.ReadFile(e.Path); err != nil || string(b) != string(e.Content) {
					t.Errorf("a container sees %s = %q, %v", e.Path, b, err)
				}
			}
			b := make([]byte, 10)
			if n, _ := single.ReadAt(b, 0); string(b[:n]) != "a" {
				t.Errorf("a container sees %q", b[:n])
			}
		})
	}
}
