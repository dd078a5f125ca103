package git

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func files(pairs ...string) map[string][]byte {
	m := map[string][]byte{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = []byte(pairs[i+1])
	}
	return m
}

// wantClean checks a repository as git sees it.
func wantClean(t *testing.T, dir string) {
	t.Helper()
	git(t, dir, "fsck", "--full", "--strict")
	if out := git(t, dir, "status", "--porcelain"); out != "" {
		t.Fatalf("git status is not clean:\n%s", out)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".git", "*.lock"))
	if len(left) != 0 {
		t.Fatalf("locks are left: %v", left)
	}
}

func TestCommitLocal(t *testing.T) {
	dir := newWork(t, "a", "1", "keep", "k", "x.sh", "old", "d/e/f", "gone", "d2/keep", "k")
	git(t, dir, "update-index", "--chmod=+x", "x.sh")
	if err := os.Chmod(filepath.Join(dir, "x.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := commit(t, dir, "Mode")
	write(t, filepath.Join(dir, "keep"), "an edit of somebody")
	write(t, filepath.Join(dir, "notes.txt"), "untracked")
	r := open(t, Options{Repo: dir})
	sync1(t, r)

	req := CommitRequest{Files: files("a", "2", "new/deep/file", "n", "x.sh", "new"), Message: "Change three\n\nBody.\n", Author: Author{"Bea <x>\n", "bea@example.com"}}
	req.Files["d/e/f"] = nil
	rev, err := r.Commit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	wantCommit(t, r, rev.Commit)
	if got := git(t, dir, "log", "-1", "--format=%H %P %an %ae %s"); got != rev.Commit+" "+before+" Bea x bea@example.com Change three" {
		t.Errorf("log: %s", got)
	}
	if got := git(t, dir, "status", "--porcelain"); got != "M keep\n?? notes.txt" && got != " M keep\n?? notes.txt" {
		t.Errorf("status: %q", got)
	}
	if read(t, filepath.Join(dir, "keep")) != "an edit of somebody" || read(t, filepath.Join(dir, "a")) != "2" {
		t.Error("work tree is wrong")
	}
	if _, err := os.Stat(filepath.Join(dir, "d")); !errors.Is(err, os.ErrNotExist) {
		t.Error("an emptied directory stays")
	}
	if info, _ := os.Stat(filepath.Join(dir, "x.sh")); info.Mode().Perm() != 0o755 {
		t.Errorf("mode %v", info.Mode())
	}
	if got := git(t, dir, "reflog", "-1", "--format=%gs"); got != "commit: Change three" {
		t.Errorf("reflog: %q", got)
	}
	git(t, dir, "checkout", "-q", "keep")
	remove(t, filepath.Join(dir, "notes.txt"))
	wantClean(t, dir)

	again, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "Nothing"})
	if err != nil || again.Commit != rev.Commit {
		t.Errorf("a commit of nothing: %v, %v", again.Commit, err)
	}
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("new", "file over directory"), Message: "m"}); err == nil {
		t.Error("a file took the place of a directory")
	}
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("a/b", "below a file"), Message: "m"}); err == nil {
		t.Error("a file went below a file")
	}
	swap := CommitRequest{Files: files("a/b", "x"), Message: "a becomes a directory"}
	swap.Files["a"] = nil
	if _, err := r.Commit(t.Context(), swap); err != nil {
		t.Error(err)
	}
	wantClean(t, dir)
}

func TestCommitLocalRefusesToLoseEdits(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, dir string)
		path string
	}{
		"edited":         {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "mine") }, "a"},
		"staged":         {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "a"), "mine"); git(t, dir, "add", "a") }, "a"},
		"removed":        {func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "a")) }, "a"},
		"untracked":      {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "new/file"), "mine") }, "new/file"},
		"file in way":    {func(t *testing.T, dir string) { write(t, filepath.Join(dir, "new"), "mine") }, "new"},
		"link in way":    {func(t *testing.T, dir string) { link(t, dir, "new", t.TempDir()) }, "new"},
		"staged removal": {func(t *testing.T, dir string) { git(t, dir, "rm", "-q", "--cached", "a") }, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newWork(t, "a", "1", "b", "2")
			c.do(t, dir)
			before, status := git(t, dir, "rev-parse", "HEAD"), git(t, dir, "status", "--porcelain")
			r := open(t, Options{Repo: dir})
			_, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "theirs", "b", "theirs", "new/file", "theirs"), Message: "m"})
			wantError(t, err, ErrDirty, c.path, "commit or discard")
			if git(t, dir, "rev-parse", "HEAD") != before || git(t, dir, "status", "--porcelain") != status || read(t, filepath.Join(dir, "b")) != "2" {
				t.Error("something changed")
			}
		})
	}
}

func TestCommitLocalOtherBranchesAndStates(t *testing.T) {
	dir := newWork(t, "a", "1")
	git(t, dir, "branch", "live/eu")
	git(t, dir, "tag", "v1")
	side := open(t, Options{Repo: dir, Ref: "live/eu"})
	write(t, filepath.Join(dir, "a"), "dirty, and no matter")
	rev, err := side.Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "On the side"})
	if err != nil {
		t.Fatal(err)
	}
	if git(t, dir, "rev-parse", "live/eu") != rev.Commit || git(t, dir, "symbolic-ref", "HEAD") != "refs/heads/main" {
		t.Error("the wrong branch moved")
	}
	if read(t, filepath.Join(dir, "a")) != "dirty, and no matter" {
		t.Error("the work tree of another branch was written")
	}
	_, err = open(t, Options{Repo: dir, Ref: "v1"}).Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "m"})
	wantError(t, err, ErrNotBranch, "v1")

	linked := filepath.Join(t.TempDir(), "linked")
	git(t, dir, "worktree", "add", "-q", linked, "live/eu")
	_, err = side.Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "m"})
	wantError(t, err, nil, "another work tree")
	if _, err := open(t, Options{Repo: linked}).Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "m"}); err != nil {
		t.Error(err)
	}
	wantClean(t, linked)

	bare := filepath.Join(t.TempDir(), "b.git")
	git(t, dir, "clone", "-q", "--bare", dir, bare)
	git(t, bare, "pack-refs", "--all")
	if _, err := open(t, Options{Repo: bare}).Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "m"}); err != nil {
		t.Error(err)
	}
	git(t, bare, "fsck", "--full", "--strict")
	for _, lock := range []string{"index.lock", "refs/heads/main.lock"} {
		git(t, dir, "checkout", "-q", "a")
		file := filepath.Join(dir, ".git", lock)
		write(t, file, "")
		_, err = open(t, Options{Repo: dir}).Commit(t.Context(), CommitRequest{Files: files("a", "9"), Message: "m"})
		wantError(t, err, nil, "another git command", lock)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("a lock of another was removed: %v", err)
		}
		remove(t, file)
	}
	wantClean(t, dir)
}

func TestCommitChecksItsRequest(t *testing.T) {
	r := open(t, Options{Repo: newWork(t)})
	for _, name := range []string{"../x", "/x", "", ".", "a/../b", ".git/config", "a/.GIT/hooks/x", "a\\b", "a//b"} {
		if _, err := r.Commit(t.Context(), CommitRequest{Files: files(name, "x"), Message: "m"}); err == nil {
			t.Errorf("%q was written", name)
		}
	}
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "x"), Message: " \n"}); err == nil {
		t.Error("no message")
	}
	if _, err := r.Commit(t.Context(), CommitRequest{Message: "m"}); err == nil {
		t.Error("no files")
	}
}

func TestRestoreLocal(t *testing.T) {
	dir := newWork(t, "i/acme/compose.yaml", "v1", "i/acme/conf/x", "x", "other", "o1")
	link(t, dir, "i/acme/link", "conf/x")
	old := commit(t, dir, "One")
	remove(t, filepath.Join(dir, "i/acme/conf"))
	remove(t, filepath.Join(dir, "i/acme/link"))
	commit(t, dir, "Two", "i/acme/compose.yaml", "v2", "i/acme/added", "a", "i/acme/conf", "a file now", "other", "o2")
	r := open(t, Options{Repo: dir})
	rev, err := r.Restore(t.Context(), RestoreRequest{Path: "i/acme", Commit: old[:9]})
	if err != nil {
		t.Fatal(err)
	}
	if git(t, dir, "rev-parse", "HEAD:i/acme") != git(t, dir, "rev-parse", old+":i/acme") || read(t, filepath.Join(dir, "other")) != "o2" {
		t.Error("not what it was, or too much")
	}
	if !strings.Contains(rev.Subject, "Restore i/acme as of "+old[:8]) {
		t.Errorf("subject %q", rev.Subject)
	}
	wantClean(t, dir)
	if _, err := r.Restore(t.Context(), RestoreRequest{Path: ".", Commit: old}); err != nil {
		t.Fatal(err)
	}
	if git(t, dir, "rev-parse", "HEAD^{tree}") != git(t, dir, "rev-parse", old+"^{tree}") {
		t.Error("the whole is not what it was")
	}
	wantClean(t, dir)
	_, err = r.Restore(t.Context(), RestoreRequest{Path: "i/none", Commit: old})
	wantError(t, err, nil, "no such directory")
	_, err = r.Restore(t.Context(), RestoreRequest{Path: ".", Commit: strings.Repeat("d", 40)})
	wantError(t, err, ErrRefNotFound)
	_, err = r.Restore(t.Context(), RestoreRequest{Path: ".", Commit: "main"})
	wantError(t, err, nil, "not a commit")
}

func pusher(t *testing.T, rem *remote) (*Repo, *httpServer) {
	t.Helper()
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo(), Push: true})
	sync1(t, r)
	return r, srv
}

func TestCommitRemote(t *testing.T) {
	rem := newRemote(t, "a", "1", "d/b", "2")
	r, srv := pusher(t, rem)
	hints := r.Changed()
	rev, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "2", "d/new", "n"), Message: "By API"})
	if err != nil {
		t.Fatal(err)
	}
	<-hints
	wantCommit(t, r, rev.Commit)
	wantFile(t, r, "d/new", "n")
	if got := git(t, rem.bare, "rev-parse", "main"); got != rev.Commit {
		t.Fatalf("the remote is at %s", got)
	}
	git(t, rem.bare, "fsck", "--full", "--strict")
	git(t, r.opt.Mirror, "fsck", "--full", "--strict")
	wantCommit(t, open(t, r.opt), rev.Commit)
	before := srv.requests.Load()
	sync1(t, r)
	if n := srv.requests.Load() - before; n != 1 {
		t.Errorf("the sync after a push took %d requests", n)
	}
	git(t, rem.work, "pull", "-q", "--ff-only", "origin", "main")
	wantClean(t, rem.work)

	readOnly := open(t, Options{Repo: srv.repo()})
	sync1(t, readOnly)
	_, err = readOnly.Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "m"})
	wantError(t, err, ErrPushDisabled, "push: true")
}

// TestCommitRemoteMoved has somebody push between the fetch and the push.
func TestCommitRemoteMoved(t *testing.T) {
	rem := newRemote(t, "a", "1", "b", "1")
	r, srv := pusher(t, rem)
	race := func(always bool, name string) {
		var once sync.Once
		n := 0
		srv.before = func(_ http.ResponseWriter, req *http.Request) bool {
			push := func() { n++; rem.commit(t, "In between", name, number("theirs ", n)) }
			if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "git-receive-pack") {
				if always {
					push()
				} else {
					once.Do(push)
				}
			}
			return false
		}
	}
	race(false, "b")
	rev, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "Rebased"})
	if err != nil {
		t.Fatal(err)
	}
	if got := git(t, rem.bare, "log", "-3", "--format=%s", rev.Commit); got != "Rebased\nIn between\nBegin" {
		t.Errorf("history:\n%s", got)
	}
	wantFile(t, r, "b", "theirs 1")
	git(t, rem.work, "pull", "-q", "--ff-only", "origin", "main")

	race(false, "a")
	_, err = r.Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "Lost"})
	wantError(t, err, ErrConflict, "changed a", "try again")
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !slices.Equal(conflict.Paths, []string{"a"}) {
		t.Errorf("%+v", conflict)
	}
	race(true, "c")
	_, err = r.Commit(t.Context(), CommitRequest{Files: files("b", "4"), Message: "Never"})
	wantError(t, err, ErrConflict)
	srv.before = nil
	git(t, rem.bare, "fsck", "--full", "--strict")
	if out := git(t, rem.bare, "log", "--format=%s"); strings.Contains(out, "Lost") || strings.Contains(out, "Never") {
		t.Errorf("history:\n%s", out)
	}
}

func TestCommitOnAnOlderBase(t *testing.T) {
	rem := newRemote(t, "a", "1", "b", "1")
	r, _ := pusher(t, rem)
	base := r.Status().Commit
	rem.commit(t, "Theirs", "a", "2")
	_, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "3"), Message: "m", Base: base})
	wantError(t, err, ErrConflict, "changed a")
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("b", "3"), Message: "m", Base: base}); err != nil {
		t.Fatal(err)
	}
	wantFile(t, r, "a", "2")
	_, err = r.Commit(t.Context(), CommitRequest{Files: files("b", "4"), Message: "m", Base: strings.Repeat("e", 40)})
	wantError(t, err, ErrConflict)
}

func TestCommitRemoteRefused(t *testing.T) {
	rem := newRemote(t, "a", "1")
	r, srv := pusher(t, rem)
	hook := filepath.Join(rem.bare, "hooks", "update")
	write(t, hook, "#!/bin/sh\necho protected >&2\nexit 1\n")
	if err := os.Chmod(hook, 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := r.Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "m"})
	wantError(t, err, nil, "refused to move main", "hook")
	remove(t, hook)
	srv.before = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.String(), "receive-pack") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	}
	_, err = r.Commit(t.Context(), CommitRequest{Files: files("a", "2"), Message: "m"})
	wantError(t, err, ErrAuth, "may not write")
	wantFile(t, r, "a", "1")
}

// TestRestoreRemote needs commits that the shallow mirror does not have.
func TestRestoreRemote(t *testing.T) {
	for _, allow := range []string{"false", "true"} {
		t.Run("exact commits "+allow, func(t *testing.T) {
			rem := newRemote(t, "i/acme/f", "v1", "i/acme/g", "g", "other", "1")
			git(t, rem.bare, "config", "uploadpack.allowReachableSHA1InWant", allow)
			old := git(t, rem.work, "rev-parse", "HEAD")
			for i := range 5 {
				rem.commit(t, "More", "i/acme/f", number("v", i+2), "other", number("", i))
			}
			r, _ := pusher(t, rem)
			rev, err := r.Restore(t.Context(), RestoreRequest{Path: "i/acme", Commit: old, Message: "Roll back"})
			if err != nil {
				t.Fatal(err)
			}
			if git(t, rem.bare, "rev-parse", "main") != rev.Commit || git(t, rem.bare, "rev-parse", "main:i/acme") != git(t, rem.bare, "rev-parse", old+":i/acme") {
				t.Error("not what it was")
			}
			wantFile(t, r, "other", "4")
			git(t, rem.bare, "fsck", "--full", "--strict")
			git(t, r.opt.Mirror, "fsck", "--full")
			rem.work = filepath.Join(t.TempDir(), "clone")
			git(t, rem.root, "clone", "-q", rem.bare, rem.work)
			h := rem.commit(t, "Goes on", "i/acme/f", "v9")
			sync1(t, r)
			wantCommit(t, r, h)
			if _, err := r.Restore(t.Context(), RestoreRequest{Path: "i/acme", Commit: old[:8]}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAt(t *testing.T) {
	rem := newRemote(t, "a", "1")
	old := git(t, rem.work, "rev-parse", "HEAD")
	git(t, rem.work, "push", "-q", "origin", "HEAD:refs/heads/side")
	rem.commit(t, "Two", "a", "2")
	r, _ := pusher(t, rem)
	local := open(t, Options{Repo: rem.work})
	for _, repo := range []*Repo{r, local} {
		for _, ref := range []string{old, old[:7]} {
			s, err := repo.At(t.Context(), ref)
			if err != nil || s.Commit != old {
				t.Errorf("at %s: %s, %v", ref, s.Commit, err)
			}
		}
	}
	if s, err := r.At(t.Context(), "side"); err != nil || s.Commit != old || s.Ref != "side" {
		t.Errorf("side: %+v, %v", s, err)
	}
	_, err := r.At(t.Context(), "sidee")
	wantError(t, err, ErrRefNotFound, "side")
	sync1(t, r)
	wantFile(t, r, "a", "2")
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	rev, err := Init(dir, files("instances/demo/compose.yaml", "services: {}\n", "README", "hello\n"), Author{})
	if err != nil {
		t.Fatal(err)
	}
	wantClean(t, dir)
	if got := git(t, dir, "log", "--format=%H %an <%ae> %D"); got != rev.Commit+" Fairlead <fairlead@localhost> HEAD -> main" {
		t.Errorf("log: %s", got)
	}
	r := open(t, Options{Repo: dir})
	wantFile(t, r, "README", "hello\n")
	if _, err := r.Commit(t.Context(), CommitRequest{Files: files("README", "2\n"), Message: "m"}); err != nil {
		t.Fatal(err)
	}
	commit(t, dir, "By git", "x", "y")
	wantClean(t, dir)
	_, err = Init(dir, nil, Author{})
	wantError(t, err, nil, "is one already")
	other := t.TempDir()
	write(t, filepath.Join(other, "README"), "mine")
	_, err = Init(other, files("README", "x"), Author{})
	wantError(t, err, nil, "exists already")
	if read(t, filepath.Join(other, "README")) != "mine" {
		t.Error("a file was overwritten")
	}
	none := t.TempDir()
	if _, err := Init(none, nil, Author{"Cy", "cy@example.com"}); err != nil {
		t.Fatal(err)
	}
	wantClean(t, none)
	if s, err := open(t, Options{Repo: none}).Latest(t.Context()); err != nil || s.Author != "Cy" {
		t.Errorf("%+v, %v", s, err)
	}
}
