package git

import (
	"context"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// TestCommitKeepsTheOwner: as root, what is written into somebody's repository
// stays theirs. As anybody else it is their own in any case.
func TestCommitKeepsTheOwner(t *testing.T) {
	dir := newWork(t, "a", "1", "d/b", "2")
	want := uint32(os.Geteuid())
	if want == 0 {
		want = 12345
	}
	each := func(do func(path string, uid uint32)) {
		err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err == nil {
				do(p, info.Sys().(*syscall.Stat_t).Uid)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	each(func(p string, _ uint32) {
		if err := os.Lchown(p, int(want), -1); err != nil {
			t.Fatal(err)
		}
	})
	r := open(t, Options{Repo: dir})
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "2", "new/deep/er", "n", "d/b", "3"), Message: "m"}); err != nil {
		t.Fatal(err)
	}
	each(func(p string, uid uint32) {
		if uid != want {
			t.Errorf("%s belongs to %d, want %d", p, uid, want)
		}
	})
}

// TestConcurrentUse calls everything at once; the race detector watches.
func TestConcurrentUse(t *testing.T) {
	dir := newWork(t, "a", "0")
	r := open(t, Options{Repo: dir})
	running(t, r)
	var wg sync.WaitGroup
	made := make([]map[string]bool, 4)
	for w := range made {
		made[w] = map[string]bool{}
		wg.Go(func() {
			for i := range 5 {
				rev, err := r.Commit(t.Context(), CommitRequest{Files: files(number("w", w), number("", i)), Message: "m"})
				if err != nil {
					t.Error(err)
					return
				}
				made[w][rev.Commit] = true
				_ = r.Status()
				_ = r.Sync(context.Background())
				if s, err := r.Latest(t.Context()); err != nil || s.Tree == nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	all := map[string]bool{}
	for _, m := range made {
		maps.Copy(all, m)
	}
	if len(all) != 20 || git(t, dir, "rev-list", "--count", "HEAD") != "21" {
		t.Errorf("%d commits, git counts %s", len(all), git(t, dir, "rev-list", "--count", "HEAD"))
	}
	wantClean(t, dir)
}
