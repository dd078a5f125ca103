package git

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLocalKinds(t *testing.T) {
	dir := newWork(t)
	first := git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "branch", "feature/a/b")
	git(t, dir, "tag", "-a", "-m", "x", "v1")
	tip := commit(t, dir, "Two", "f", "2")
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "-q", linked, "feature/a/b")
	bare := filepath.Join(t.TempDir(), "bare.git")
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	shared := filepath.Join(t.TempDir(), "shared")
	git(t, dir, "clone", "-q", "-s", dir, shared)
	detached := filepath.Join(t.TempDir(), "detached")
	git(t, dir, "clone", "-q", dir, detached)
	git(t, detached, "checkout", "-q", "--detach", first)
	packed := filepath.Join(t.TempDir(), "packed")
	git(t, dir, "clone", "-q", dir, packed)
	git(t, packed, "branch", "keep/it", first)
	git(t, packed, "gc", "-q")
	for name, c := range map[string]struct{ repo, ref, commit, shown string }{
		"work tree": {dir, "", tip, "main"}, "git dir": {dir + "/.git", "", tip, "main"}, "file URL": {"file://" + dir, "", tip, "main"},
		"slash branch": {dir, "feature/a/b", first, "feature/a/b"}, "annotated tag": {dir, "v1", first, "v1"},
		"commit": {dir, first[:7], first, first[:7]}, "odd commit": {dir, first[:11], first, first[:11]},
		"linked": {linked, "", first, "feature/a/b"}, "bare": {bare, "", tip, "main"}, "alternates": {shared, "", tip, "main"},
		"detached": {detached, "", first, ""}, "packed": {packed, "", tip, "main"}, "packed branch": {packed, "keep/it", first, "keep/it"},
		"remote branch": {packed, "origin/main", tip, "refs/remotes/origin/main"},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, Options{Repo: c.repo, Ref: c.ref})
			wantCommit(t, r, c.commit)
			wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
			if s := r.Status(); s.Ref != c.shown || !s.Local || s.Err != nil || s.DirtyErr != nil || s.Dirty != 0 {
				t.Errorf("status %+v", s)
			}
		})
	}
}

// TestLocalNeverRunsGit: local repositories are read without the git program.
func TestLocalNeverRunsGit(t *testing.T) {
	dir := newWork(t)
	t.Setenv("PATH", t.TempDir())
	if _, err := exec.LookPath("git"); err == nil {
		t.Fatal("git is found")
	}
	r := open(t, Options{Repo: "file://" + dir})
	wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
	if _, err := r.Commit(t.Context(), CommitRequest{Files: map[string][]byte{"x": []byte("y")}, Message: "m"}); err != nil {
		t.Fatal(err)
	}
}

func TestLocalErrorsSayWhatToDo(t *testing.T) {
	dir := newWork(t)
	git(t, dir, "branch", "production")
	unborn := t.TempDir()
	git(t, unborn, "init", "-q", "-b", "main")
	sha256 := t.TempDir()
	git(t, sha256, "init", "-q", "--object-format=sha256")
	for name, c := range map[string]struct {
		opt   Options
		kind  error
		parts []string
	}{
		"unborn":        {Options{Repo: unborn}, ErrEmpty, []string{"git commit"}},
		"unborn branch": {Options{Repo: unborn, Ref: "main"}, ErrEmpty, []string{"git commit"}},
		"no repository": {Options{Repo: t.TempDir()}, nil, []string{"not a git repository", "git init"}},
		"below":         {Options{Repo: filepath.Join(dir, "instances")}, nil, []string{"not the root", dir}},
		"nothing":       {Options{Repo: "/nonexistent"}, os.ErrNotExist, nil},
		"typo":          {Options{Repo: dir, Ref: "prodction"}, ErrRefNotFound, []string{"production"}},
		"no commit":     {Options{Repo: dir, Ref: strings.Repeat("b", 8)}, ErrRefNotFound, nil},
		"sha256":        {Options{Repo: sha256}, nil, []string{"sha256", "not supported"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t, c.opt).Latest(t.Context())
			wantError(t, err, c.kind, append(c.parts, ErrNoSnapshot.Error())...)
		})
	}
}

func TestLocalBranchDeletedKeepsTheLastGood(t *testing.T) {
	dir := newWork(t)
	git(t, dir, "branch", "live")
	r := open(t, Options{Repo: dir, Ref: "live"})
	sync1(t, r)
	good := r.Status().Commit
	git(t, dir, "branch", "-D", "live")
	wantError(t, r.Sync(t.Context()), ErrRefNotFound, "deleted")
	wantCommit(t, r, good)
	git(t, dir, "branch", "live")
	sync1(t, r)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := r.Sync(t.Context()); err == nil {
		t.Fatal("the repository is gone")
	}
	wantCommit(t, r, good)
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	sync1(t, r)
}

// TestLocalSnapshotSurvivesGC has git replace the loose objects that a snapshot
// was opened on by a pack.
func TestLocalSnapshotSurvivesGC(t *testing.T) {
	dir := newWork(t, "f", "one")
	r := open(t, Options{Repo: dir})
	sync1(t, r)
	snap, _ := r.Latest(t.Context())
	commit(t, dir, "Two", "f", "two")
	git(t, dir, "gc", "-q", "--prune=now")
	if b, err := fs.ReadFile(snap.Tree, "f"); err != nil || string(b) != "one" {
		t.Fatalf("%q, %v", b, err)
	}
	git(t, dir, "repack", "-q", "-a", "-d", "-f", "--depth=1")
	if b, err := fs.ReadFile(snap.Tree, "f"); err != nil || string(b) != "one" {
		t.Fatalf("%q, %v", b, err)
	}
	sync1(t, r)
	wantFile(t, r, "f", "two")
}

// TestDirtyIsWhatGitStatusSays compares with `git status` after each change.
func TestDirtyIsWhatGitStatusSays(t *testing.T) {
	dir := newWork(t, "a", "1", "sub/b", "2", "sub/c", "3", "x.sh", "x", ".gitignore", "*.log\n/build/\n!keep.log\n", "sub/.gitignore", "tmp*\n", "lf", "a\nb\n")
	write(t, filepath.Join(dir, ".git/info/exclude"), "*.private\n")
	r := open(t, Options{Repo: dir})
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"clean", func() {}},
		{"modified", func() { write(t, filepath.Join(dir, "a"), "changed") }},
		{"same size", func() { write(t, filepath.Join(dir, "sub/b"), "9") }},
		{"staged", func() { git(t, dir, "add", "a") }},
		{"untracked", func() { write(t, filepath.Join(dir, "sub/new"), "n") }},
		{"untracked directory", func() { write(t, filepath.Join(dir, "dir/inner/new"), "n") }},
		{"ignored", func() {
			for _, f := range []string{"x.log", "build/out", "sub/tmp1", "k.private", "only/y.log"} {
				write(t, filepath.Join(dir, f), "n")
			}
		}},
		{"not ignored", func() { write(t, filepath.Join(dir, "keep.log"), "n") }},
		{"removed", func() { remove(t, filepath.Join(dir, "sub/c")) }},
		{"removed from index", func() { git(t, dir, "rm", "-q", "--cached", "sub/c") }},
		{"mode", func() {
			if err := os.Chmod(filepath.Join(dir, "x.sh"), 0o755); err != nil {
				t.Fatal(err)
			}
		}},
		{"link instead of file", func() { remove(t, filepath.Join(dir, "lf")); link(t, dir, "lf", "a") }},
		{"committed", func() { commit(t, dir, "All") }},
		{"touched only", func() {
			later := time.Now().Add(time.Hour)
			if err := os.Chtimes(filepath.Join(dir, "a"), later, later); err != nil {
				t.Fatal(err)
			}
		}},
		{"nested repository", func() { git(t, dir, "init", "-q", filepath.Join(dir, "other")) }},
		{"linked directory", func() { remove(t, filepath.Join(dir, "sub")); link(t, dir, "sub", "dir") }},
	} {
		step.do()
		before := read(t, filepath.Join(dir, ".git/index"))
		sync1(t, r)
		if read(t, filepath.Join(dir, ".git/index")) != before {
			t.Fatalf("%s: the index was written", step.name)
		}
		s, _ := r.Latest(t.Context())
		if want := gitStatus(t, dir); !slices.Equal(s.Dirty, want) || r.Status().Dirty != len(want) || r.Status().DirtyErr != nil {
			t.Fatalf("%s: got %q (%+v), git says %q", step.name, s.Dirty, r.Status(), want)
		}
	}
}

func gitStatus(t *testing.T, dir string) []string {
	t.Helper()
	cmd := gitCommand(t.Context(), dir, "--no-optional-locks", "status", "--porcelain", "-z", "--no-renames")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, line := range strings.Split(string(out), "\x00") {
		if line != "" {
			paths = append(paths, line[3:])
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

func TestDirtyIsBounded(t *testing.T) {
	dir := newWork(t)
	for i := range 250 {
		write(t, filepath.Join(dir, number("new", i)), "x")
	}
	r := open(t, Options{Repo: dir})
	sync1(t, r)
	s, _ := r.Latest(t.Context())
	if len(s.Dirty) != maxDirty || r.Status().Dirty != 250 {
		t.Errorf("%d paths, count %d", len(s.Dirty), r.Status().Dirty)
	}
	wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
	if _, err := fs.Stat(s.Tree, "new1"); err == nil {
		t.Error("an uncommitted file is in the tree")
	}
}

func TestUncommittedEditsAreNotApplied(t *testing.T) {
	dir := newWork(t, "f", "committed")
	write(t, filepath.Join(dir, "f"), "edited")
	git(t, dir, "add", "f")
	r := open(t, Options{Repo: dir})
	sync1(t, r)
	wantFile(t, r, "f", "committed")
	write(t, filepath.Join(dir, "g"), "untracked")
	if got := r.Uncommitted(t.Context()); !slices.Equal(got, []string{"f", "g"}) { // without another pass
		t.Errorf("uncommitted: %q", got)
	}
	git(t, dir, "commit", "-qm", "f")
	if got := r.Uncommitted(t.Context()); !slices.Equal(got, []string{"g"}) {
		t.Errorf("uncommitted after the commit: %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Sync(ctx); err == nil {
		t.Error("sync with a context that ended")
	}
}
