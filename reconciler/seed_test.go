package reconciler

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/desired"
)

// What a container puts into its work directory leads root nowhere else, and
// keeps nobody waiting: neither a link nor a pipe in the place of what is seeded.
func TestSeedsStayInTheWorkDirectory(t *testing.T) {
	tree := func(content string) desired.FileTree {
		return desired.FileTree{Entries: []desired.FileEntry{file("sub/app.conf", content)}}
	}
	for name, tt := range map[string]struct {
		spoil func(work, outside string) error // what was seeded at config/sub/app.conf
		fails bool
	}{
		"a directory is a link": {func(work, outside string) error {
			return anewAs(filepath.Join(work, "config/sub"), func(at string) error { return os.Symlink(outside, at) })
		}, true},
		"the mount is a link": {func(work, outside string) error {
			return anewAs(filepath.Join(work, "config"), func(at string) error { return os.Symlink(outside, at) })
		}, true},
		"the records are a link": {func(work, outside string) error {
			return anewAs(filepath.Join(work, ".seeds"), func(at string) error { return os.Symlink(outside, at) })
		}, true},
		"the file is a link": {func(work, outside string) error {
			return anewAs(filepath.Join(work, "config/sub/app.conf"), func(at string) error { return os.Symlink(filepath.Join(outside, "theirs"), at) })
		}, false},
		"the file is a pipe": {func(work, _ string) error {
			return anewAs(filepath.Join(work, "config/sub/app.conf"), func(at string) error { return syscall.Mkfifo(at, 0o644) })
		}, false},
		"the record is a pipe": {func(work, _ string) error {
			return anewAs(filepath.Join(work, ".seeds/config.json"), func(at string) error { return syscall.Mkfifo(at, 0o644) })
		}, false},
		"the file is huge": {func(work, _ string) error {
			return os.Truncate(filepath.Join(work, "config/sub/app.conf"), maxSeeded+1)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			home, outside := t.TempDir(), t.TempDir()
			if err := os.WriteFile(filepath.Join(outside, "theirs"), []byte("theirs"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := materialize(home, mounting(desired.MountWork, "config", tree("one"))); err != nil {
				t.Fatal(err)
			}
			if err := tt.spoil(workDir(home), outside); err != nil {
				t.Fatal(err)
			}
			err := materialize(home, mounting(desired.MountWork, "config", tree("two")))
			if (err != nil) != tt.fails {
				t.Errorf("got %v", err)
			}
			if left, _ := os.ReadDir(outside); len(left) != 1 || read(t, filepath.Join(outside, "theirs")) != "theirs" {
				t.Errorf("root wrote outside of the work directory: %v", left)
			}
			if seeded := filepath.Join(workDir(home), "config/sub/app.conf"); !tt.fails && read(t, seeded) != "two" {
				t.Error("the seed was not written")
			}
		})
	}
}

func anewAs(name string, put func(string) error) error {
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	return put(name)
}
