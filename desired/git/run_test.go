package git

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A local commit is seen in a fraction of a second (each test logs it). What is
// waited for here is much longer, for a machine may be loaded many times over,
// and much shorter than the time between two polls.
const pickUp = time.Minute

func TestRunPicksUpLocalCommits(t *testing.T) {
	dir := newWork(t)
	r := open(t, Options{Repo: dir, Poll: time.Hour})
	hints, others := r.Changed(), r.Changed()
	running(t, r)
	await(t, hints, pickUp, "first revision", commitIs(r, git(t, dir, "rev-parse", "HEAD")))
	for _, step := range []struct {
		name   string
		change func() string
	}{
		{"commit", func() string { return commit(t, dir, "Two", "a", "2") }},
		{"amend", func() string {
			git(t, dir, "commit", "-q", "--amend", "-m", "Other")
			return git(t, dir, "rev-parse", "HEAD")
		}},
		{"after gc", func() string {
			git(t, dir, "gc", "-q")
			return commit(t, dir, "Three", "a", "3")
		}},
		{"reset", func() string { git(t, dir, "reset", "-q", "--hard", "HEAD~1"); return git(t, dir, "rev-parse", "HEAD") }},
		{"new branch with slashes", func() string {
			git(t, dir, "checkout", "-q", "-b", "some/new/branch")
			return commit(t, dir, "On it", "a", "4")
		}},
		{"by rename, as vim writes", func() string {
			file := filepath.Join(dir, "a")
			write(t, filepath.Join(dir, "4913"), "")
			remove(t, filepath.Join(dir, "4913"))
			if err := os.Rename(file, file+"~"); err != nil {
				t.Fatal(err)
			}
			write(t, file, "vim")
			remove(t, file+"~")
			return commit(t, dir, "Edited by vim")
		}},
		{"ref by rename", func() string { // as git itself writes
			h := git(t, dir, "commit-tree", "-m", "Made by hand", "HEAD^{tree}", "-p", "HEAD")
			ref := filepath.Join(dir, ".git", git(t, dir, "symbolic-ref", "HEAD"))
			write(t, ref+".lock", h+"\n")
			if err := os.Rename(ref+".lock", ref); err != nil {
				t.Fatal(err)
			}
			return h
		}},
	} {
		h, name := step.change(), step.name
		d := await(t, hints, pickUp, name, commitIs(r, h))
		t.Logf("%s: %s", name, d.Round(time.Millisecond))
	}
	select {
	case <-others:
	default:
		t.Error("the second subscriber got no hint")
	}
}

func TestRunPicksUpPushToBareAndLinkedWorkTree(t *testing.T) {
	rem := newRemote(t)
	linked := filepath.Join(t.TempDir(), "linked")
	git(t, rem.work, "worktree", "add", "-q", "-b", "side", linked)
	bare := open(t, Options{Repo: "file://" + rem.bare, Poll: time.Hour})
	tree := open(t, Options{Repo: linked, Poll: time.Hour})
	bareHints, treeHints := bare.Changed(), tree.Changed()
	running(t, bare)
	running(t, tree)
	first := git(t, rem.work, "rev-parse", "HEAD")
	await(t, bareHints, pickUp, "bare", commitIs(bare, first))
	await(t, treeHints, pickUp, "linked", commitIs(tree, first))

	h := rem.commit(t, "Two", "a", "2")
	t.Logf("push: %s", await(t, bareHints, pickUp, "push", commitIs(bare, h)))
	h = commit(t, linked, "In the linked tree", "b", "2")
	t.Logf("linked: %s", await(t, treeHints, pickUp, "linked", commitIs(tree, h)))
}

func TestRunOutlivesARepositoryThatIsReplaced(t *testing.T) {
	dir := newWork(t)
	other := newWork(t, "other", "x")
	r := open(t, Options{Repo: dir, Poll: 50 * time.Millisecond})
	hints := r.Changed()
	running(t, r)
	await(t, hints, pickUp, "first", commitIs(r, git(t, dir, "rev-parse", "HEAD")))
	good := r.Status().Commit
	remove(t, dir)
	await(t, hints, pickUp, "the error", func() bool { return r.Status().Err != nil })
	wantCommit(t, r, good)
	git(t, filepath.Dir(dir), "clone", "-q", other, dir)
	await(t, hints, pickUp, "the new one", commitIs(r, git(t, other, "rev-parse", "HEAD")))
	wantFile(t, r, "other", "x")
}

func TestRunPollsARemoteAndRecovers(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serve(t, false)
	down := make(chan bool, 1)
	down <- false
	srv.before = func(w http.ResponseWriter, _ *http.Request) bool {
		is := <-down
		down <- is
		if is {
			w.WriteHeader(http.StatusBadGateway)
		}
		return is
	}
	set := func(is bool) { <-down; down <- is }
	r := open(t, Options{Repo: srv.repo(), Poll: 20 * time.Millisecond})
	hints := r.Changed()
	running(t, r)
	await(t, hints, pickUp, "first", commitIs(r, git(t, rem.work, "rev-parse", "HEAD")))
	set(true)
	await(t, hints, pickUp, "the outage", func() bool { return r.Status().Err != nil })
	wantError(t, r.Status().Err, nil, "502")
	h := rem.commit(t, "Two", "a", "2")
	set(false)
	await(t, hints, pickUp, "recovery", commitIs(r, h))
	await(t, hints, pickUp, "no error", func() bool { return r.Status().Err == nil })
}

func TestHintsCoalesce(t *testing.T) {
	dir := newWork(t)
	r := open(t, Options{Repo: dir})
	hints := r.Changed()
	for i := range 5 {
		commit(t, dir, "Change", "a", number("", i))
		sync1(t, r)
	}
	<-hints
	select {
	case <-hints:
		t.Error("more than one hint")
	default:
	}
	sync1(t, r)
	select {
	case <-hints:
		t.Error("a hint without news")
	default:
	}
	write(t, filepath.Join(dir, "new"), "x")
	sync1(t, r)
	select {
	case <-hints:
	default:
		t.Error("no hint of an uncommitted file")
	}
}

func TestBackoffAndJitter(t *testing.T) {
	for _, c := range []struct {
		poll     time.Duration
		failures int
		want     time.Duration
	}{
		{time.Minute, 0, time.Minute}, {time.Minute, 1, 5 * time.Second}, {time.Minute, 2, 10 * time.Second},
		{time.Minute, 5, 80 * time.Second}, {time.Minute, 8, maxRetry}, {time.Minute, 1 << 20, maxRetry},
		{time.Second, 1, time.Second}, {time.Second, 3, 4 * time.Second}, {time.Hour, 0, time.Hour}, {time.Hour, 30, maxRetry},
	} {
		if got := backoff(c.poll, c.failures); got != c.want {
			t.Errorf("backoff(%s, %d) = %s, want %s", c.poll, c.failures, got, c.want)
		}
	}
	low, high := time.Hour, time.Duration(0)
	for range 1000 {
		d := jitter(time.Minute)
		low, high = min(low, d), max(high, d)
	}
	if low < 54*time.Second || high > 66*time.Second || high-low < 8*time.Second {
		t.Errorf("jitter from %s to %s", low, high)
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	r := open(t, Options{Repo: newWork(t)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Error(err)
	}
}
