package git

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRemoteFollowsBranch(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo()})
	if _, err := r.Latest(t.Context()); !errors.Is(err, ErrNoSnapshot) {
		t.Fatalf("before the first sync: %v", err)
	}
	sync1(t, r)
	first := git(t, rem.work, "rev-parse", "HEAD")
	wantCommit(t, r, first)
	wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
	if s := r.Status(); s.Ref != "main" || s.Local || s.Err != nil || s.LastSuccess.IsZero() {
		t.Fatalf("status: %+v", s)
	}

	before := srv.requests.Load()
	sync1(t, r)
	if n := srv.requests.Load() - before; n != 1 {
		t.Fatalf("a sync without news took %d requests, want 1", n)
	}

	old, _ := r.Latest(t.Context())
	for i := range 5 {
		h := rem.commit(t, "Change", "instances/acme/compose.yaml", number("x: ", i))
		sync1(t, r)
		wantCommit(t, r, h)
		wantFile(t, r, "instances/acme/compose.yaml", number("x: ", i))
	}
	if b, err := old.Tree.(*treeFS).ReadFile("instances/acme/compose.yaml"); err != nil || string(b) != "services: {}\n" {
		t.Fatalf("old snapshot: %q, %v", b, err)
	}
	git(t, r.opt.Mirror, "fsck", "--full", "--strict")
}

func TestRemoteForcePushAndRewrittenHistory(t *testing.T) {
	rem := newRemote(t)
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	rem.commit(t, "Two", "a", "2")
	sync1(t, r)
	git(t, rem.work, "reset", "-q", "--hard", "HEAD~1")
	h := rem.commit(t, "Other two", "a", "other")
	sync1(t, r)
	wantCommit(t, r, h)
	wantFile(t, r, "a", "other")

	git(t, rem.work, "checkout", "-q", "--orphan", "fresh")
	commit(t, rem.work, "New root", "b", "new")
	git(t, rem.work, "push", "-q", "-f", "origin", "fresh:main")
	git(t, rem.bare, "gc", "-q", "--prune=now")
	sync1(t, r)
	wantCommit(t, r, git(t, rem.work, "rev-parse", "fresh"))
	wantFile(t, r, "b", "new")
}

func TestRemoteManyFetchesAreClonedAnew(t *testing.T) {
	rem := newRemote(t)
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	sync1(t, r)
	for i := range maxPacks {
		h := rem.commit(t, "Change", "n", number("", i))
		sync1(t, r)
		wantCommit(t, r, h)
	}
	if n := r.mirror.packs(); n > maxPacks {
		t.Fatalf("the mirror has %d packs", n)
	}
	rem.commit(t, "Change", "n", "last")
	sync1(t, r)
	if n := r.mirror.packs(); n > 2 {
		t.Fatalf("the mirror still has %d packs", n)
	}
	wantFile(t, r, "n", "last")
}

func TestRemoteRefs(t *testing.T) {
	rem := newRemote(t)
	old := rem.commit(t, "Two", "a", "2")
	git(t, rem.work, "tag", "light")
	git(t, rem.work, "tag", "-a", "-m", "x", "v1.0")
	tip := rem.commit(t, "Three", "a", "3")
	git(t, rem.work, "push", "-q", "--tags", "origin", "HEAD:refs/heads/feature/deep/x")
	srv := rem.serve(t, false)
	for _, allow := range []string{"false", "true"} {
		git(t, rem.bare, "config", "uploadpack.allowReachableSHA1InWant", allow)
		for _, c := range []struct{ ref, commit, shown string }{
			{"", tip, "main"}, {"HEAD", tip, "main"}, {"main", tip, "main"}, {"refs/heads/main", tip, "main"},
			{"feature/deep/x", tip, "feature/deep/x"}, {"light", old, "light"}, {"v1.0", old, "v1.0"},
			{old, old, old}, {old[:7], old, old[:7]}, {old[:12], old, old[:12]}, {tip, tip, tip}, {tip[:8], tip, tip[:8]},
		} {
			t.Run(allow+"/"+c.ref, func(t *testing.T) {
				r := open(t, Options{Repo: srv.repo(), Ref: c.ref})
				sync1(t, r)
				wantCommit(t, r, c.commit)
				if got := r.Status().Ref; got != c.shown {
					t.Errorf("ref is %q, want %q", got, c.shown)
				}
				sync1(t, r)
				again := open(t, r.opt)
				wantCommit(t, again, c.commit)
				if got := again.Status().Ref; got != c.shown {
					t.Errorf("ref after restart is %q, want %q", got, c.shown)
				}
				git(t, r.opt.Mirror, "fsck", "--full")
			})
		}
	}
}

func TestRemotePinnedCommitNeedsNoNetwork(t *testing.T) {
	rem := newRemote(t)
	h := git(t, rem.work, "rev-parse", "HEAD")
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo(), Ref: h[:10]})
	sync1(t, r)
	before := srv.requests.Load()
	sync1(t, r)
	if srv.requests.Load() != before {
		t.Error("a commit that is here was asked for")
	}
}

func TestRemoteTagMovedAndDefaultBranchRenamed(t *testing.T) {
	rem := newRemote(t)
	git(t, rem.work, "tag", "live")
	git(t, rem.work, "push", "-q", "--tags", "origin")
	srv := rem.serve(t, false)
	tag := open(t, Options{Repo: srv.repo(), Ref: "live"})
	head := open(t, Options{Repo: srv.repo()})
	sync1(t, tag)
	sync1(t, head)

	h := commit(t, rem.work, "Two", "a", "2")
	git(t, rem.work, "tag", "-f", "-a", "-m", "annotated now", "live")
	git(t, rem.work, "push", "-q", "-f", "--tags", "origin")
	sync1(t, tag)
	wantCommit(t, tag, h)

	git(t, rem.bare, "branch", "-q", "-m", "main", "main2/trunk")
	git(t, rem.bare, "symbolic-ref", "HEAD", "refs/heads/main2/trunk")
	sync1(t, head)
	if got := head.Status().Ref; got != "main2/trunk" {
		t.Fatalf("ref is %q", got)
	}
	wantCommit(t, open(t, head.opt), git(t, rem.bare, "rev-parse", "HEAD"))
}

func TestRemoteFailuresKeepTheLastGood(t *testing.T) {
	rem := newRemote(t)
	git(t, rem.work, "push", "-q", "origin", "HEAD:refs/heads/staging")
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo(), Ref: "staging"})
	sync1(t, r)
	good := r.Status().Commit

	git(t, rem.bare, "branch", "-q", "-D", "staging")
	err := r.Sync(t.Context())
	wantError(t, err, ErrRefNotFound, "staging", "deleted", "last good revision is kept", "main")
	wantCommit(t, r, good)
	if s := r.Status(); s.Err == nil || s.Commit != good || !s.LastAttempt.After(s.LastSuccess) {
		t.Fatalf("status: %+v", s)
	}

	srv.Close()
	if err := r.Sync(t.Context()); err == nil {
		t.Fatal("sync with a server that is gone")
	}
	wantCommit(t, r, good)
	wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")

	// A new process, with the server still gone.
	again := open(t, r.opt)
	wantCommit(t, again, good)
	wantFile(t, again, "instances/acme/compose.yaml", "services: {}\n")
	if err := again.Sync(t.Context()); err == nil {
		t.Fatal("sync with a server that is gone")
	}
	// Another ref is not served from this mirror.
	opt := r.opt
	opt.Ref = "main"
	if _, err := open(t, opt).Latest(t.Context()); !errors.Is(err, ErrNoSnapshot) {
		t.Fatalf("latest of another ref: %v", err)
	}
}

func TestRemoteErrorsSayWhatToDo(t *testing.T) {
	rem := newRemote(t)
	git(t, rem.root, "init", "-q", "--bare", filepath.Join(rem.root, "empty.git"))
	git(t, rem.work, "push", "-q", "origin", "HEAD:refs/heads/production")
	srv := rem.serve(t, false)
	closed := listen(t)
	closed.Close()
	foreign := t.TempDir()
	write(t, filepath.Join(foreign, "precious"), "x")
	for name, c := range map[string]struct {
		opt   Options
		kind  error
		parts []string
	}{
		"empty":       {Options{Repo: srv.URL + "/empty.git"}, ErrEmpty, []string{"commit something and push"}},
		"typo":        {Options{Repo: srv.repo(), Ref: "prodution"}, ErrRefNotFound, []string{"prodution", "production"}},
		"no likeness": {Options{Repo: srv.repo(), Ref: "zzzzzz"}, ErrRefNotFound, []string{"main, production"}},
		"commit":      {Options{Repo: srv.repo(), Ref: strings.Repeat("a", 40)}, ErrRefNotFound, []string{"aaaa"}},
		"bad ref":     {Options{Repo: srv.repo(), Ref: "a..b"}, nil, []string{"a..b", "not a valid name"}},
		"missing":     {Options{Repo: srv.URL + "/nothing.git"}, ErrNotFound, []string{"look at the path"}},
		"unreachable": {Options{Repo: "http://" + closed.Addr().String() + "/x.git"}, nil, []string{"refused"}},
		"foreign dir": {Options{Repo: srv.repo(), Mirror: foreign}, nil, []string{"not a mirror", "move it away"}},
		"no mirror":   {Options{Repo: "https://example.invalid/x.git", Mirror: " "}, nil, nil},
		"scheme":      {Options{Repo: "git://example.com/x"}, nil, []string{"not supported", "https"}},
		"plain http":  {Options{Repo: "http://ann:pw@example.invalid/x"}, nil, []string{"use https://"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, c.opt)
			if name == "no mirror" {
				r = Open(Options{Repo: c.opt.Repo})
			}
			wantError(t, r.Sync(t.Context()), c.kind, c.parts...)
			if _, err := r.Latest(t.Context()); err == nil {
				t.Fatal("there is a snapshot")
			}
		})
	}
	if got := read(t, filepath.Join(foreign, "precious")); got != "x" {
		t.Error("a directory that is not a mirror was touched")
	}
}

func TestRemoteAuth(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serve(t, true)
	srv.password.Store("s3cret-one")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, "wrong-token\n")
	opt := Options{Repo: srv.repo(), CAFile: srv.caFile(t), Auth: Auth{TokenFile: token}, Mirror: filepath.Join(t.TempDir(), "repo")}
	r := open(t, opt)

	err := r.Sync(t.Context())
	wantError(t, err, ErrAuth, "wrong or has expired")
	if strings.Contains(err.Error(), "wrong-token") {
		t.Error("the error holds the token")
	}
	write(t, token, "s3cret-one\n")
	sync1(t, r)

	srv.password.Store("s3cret-two") // rotated
	if err := r.Sync(t.Context()); !errors.Is(err, ErrAuth) {
		t.Fatal(err)
	}
	write(t, token, "s3cret-two")
	sync1(t, r)

	opt.Auth = Auth{}
	wantError(t, open(t, opt).Sync(t.Context()), ErrAuth, "set auth.tokenFile")
	opt.Auth = Auth{TokenFile: token + ".none"}
	wantError(t, open(t, opt).Sync(t.Context()), os.ErrNotExist, "tokenFile")
	opt.Auth = Auth{Username: "ann", PasswordFile: token}
	sync1(t, open(t, opt))
	opt.Auth = Auth{}
	opt.Repo = strings.Replace(opt.Repo, "https://", "https://ann:s3cret-two@", 1)
	inURL := open(t, opt)
	sync1(t, inURL)
	srv.password.Store("another")
	if err := inURL.Sync(t.Context()); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Fatalf("error shows the password of the URL: %v", err)
	}
	if strings.Contains(read(t, filepath.Join(opt.Mirror, "config")), "s3cret") {
		t.Error("the mirror's configuration holds the password")
	}
}

func TestRemoteTLS(t *testing.T) {
	srv := newRemote(t).serve(t, true)
	wantError(t, open(t, Options{Repo: srv.repo()}).Sync(t.Context()), nil, "caFile")
	wantError(t, open(t, Options{Repo: srv.repo(), CAFile: "/nonexistent"}).Sync(t.Context()), os.ErrNotExist, "caFile")
	sync1(t, open(t, Options{Repo: srv.repo(), CAFile: srv.caFile(t)}))
}

func TestRemoteRedirects(t *testing.T) {
	rem := newRemote(t)
	other := rem.serve(t, false)
	srv := rem.serve(t, false)
	srv.before = func(w http.ResponseWriter, req *http.Request) bool {
		switch {
		case strings.HasPrefix(req.URL.Path, "/renamed.git"):
			http.Redirect(w, req, strings.Replace(req.URL.String(), "renamed", "fleet", 1), http.StatusMovedPermanently)
		case strings.HasPrefix(req.URL.Path, "/away.git"):
			http.Redirect(w, req, other.URL+strings.Replace(req.URL.String(), "away", "fleet", 1), http.StatusFound)
		case strings.HasPrefix(req.URL.Path, "/circle.git"):
			http.Redirect(w, req, req.URL.String(), http.StatusFound)
		case strings.HasPrefix(req.URL.Path, "/page.git"):
			_, _ = w.Write([]byte("<html>sign in</html>"))
		default:
			return false
		}
		return true
	}
	sync1(t, open(t, Options{Repo: srv.URL + "/renamed.git"}))
	wantError(t, open(t, Options{Repo: srv.URL + "/away.git"}).Sync(t.Context()), nil, "redirects to "+other.URL, "set it as repo")
	if other.requests.Load() != 0 {
		t.Error("another host was asked")
	}
	wantError(t, open(t, Options{Repo: srv.URL + "/circle.git"}).Sync(t.Context()), nil, "circle")
	wantError(t, open(t, Options{Repo: srv.URL + "/page.git"}).Sync(t.Context()), nil, "not a git repository")
}

// TestRemoteStalls has a server fall silent at each stage of an exchange.
func TestRemoteStalls(t *testing.T) {
	rem := newRemote(t)
	for _, stage := range []string{"refs", "pack", "body"} {
		t.Run(stage, func(t *testing.T) {
			srv := rem.serve(t, false)
			gone := make(chan struct{})
			srv.before = func(w http.ResponseWriter, req *http.Request) bool {
				post := req.Method == http.MethodPost
				if post != (stage != "refs") {
					return false
				}
				if stage == "body" {
					w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
					_, _ = w.Write([]byte("0008NAK\n"))
					w.(http.Flusher).Flush()
				}
				<-gone
				return true
			}
			defer close(gone)
			r := open(t, Options{Repo: srv.repo(), Idle: 150 * time.Millisecond})
			begin := time.Now()
			wantError(t, r.Sync(t.Context()), ErrStalled, "sent nothing")
			if d := time.Since(begin); d > time.Minute {
				t.Errorf("it took %s", d)
			}
			total := open(t, Options{Repo: srv.repo(), Timeout: 150 * time.Millisecond})
			wantError(t, total.Sync(t.Context()), ErrStalled, "longer than")

			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			given := open(t, Options{Repo: srv.repo()})
			if err := given.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a caller that gives up gets %v", err)
			}
			for _, r := range []*Repo{r, total, given} {
				if left, _ := filepath.Glob(r.opt.Mirror + "*"); len(left) != 0 {
					t.Errorf("left behind: %v", left)
				}
			}
		})
	}
}

// TestLatestDoesNotWaitForTheRemote: with a server that is silent from the
// start, what an earlier process left is there at once.
func TestLatestDoesNotWaitForTheRemote(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo()})
	sync1(t, r)
	asked, gone := make(chan struct{}, 2), make(chan struct{})
	srv.before = func(http.ResponseWriter, *http.Request) bool {
		asked <- struct{}{}
		<-gone
		return true
	}
	opt := r.opt
	for _, c := range []struct {
		mirror string
		want   error
	}{{opt.Mirror, nil}, {filepath.Join(t.TempDir(), "repo"), ErrNoSnapshot}} {
		opt.Mirror = c.mirror
		again := open(t, opt)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- again.Sync(ctx) }()
		<-asked
		late, stop := context.WithTimeout(t.Context(), time.Minute)
		if _, err := again.Latest(late); !errors.Is(err, c.want) {
			t.Errorf("latest: %v, want %v", err, c.want)
		}
		stop()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("sync: %v", err)
		}
	}
	close(gone)
}

func TestRemoteCutOffPack(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serve(t, false)
	r := open(t, Options{Repo: srv.repo()})
	sync1(t, r)
	good := r.Status().Commit
	next := rem.commit(t, "Two", "a", strings.Repeat("some text ", 1000))
	srv.before = func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodPost {
			return false
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_, _ = w.Write([]byte("00000008NAK\n0016\x01PACK\x00\x00\x00\x02\x00\x00\x00\x03"))
		return true
	}
	if err := r.Sync(t.Context()); err == nil {
		t.Fatal("half a pack was taken")
	}
	wantCommit(t, r, good)
	wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
	srv.before = nil
	sync1(t, r)
	wantCommit(t, r, next)
	git(t, r.opt.Mirror, "fsck", "--full")
}
