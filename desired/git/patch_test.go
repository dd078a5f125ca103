package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// am applies a patch with the real git in a clone of a repository, and gives
// the clone.
func am(t testing.TB, repo string, patch []byte) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "clone")
	git(t, filepath.Dir(dir), "clone", "-q", "-c", "core.autocrlf=false", repo, dir)
	cmd := gitCommand(t.Context(), dir, "am", "-q")
	cmd.Stdin = strings.NewReader(string(patch))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git am: %v\n%s\n%s", err, out, patch)
	}
	return dir
}

func TestPatchAppliesAsTheCommitWould(t *testing.T) {
	long := strings.Repeat("a line of a long file\n", 40)
	dir := newWork(t, "edit.yaml", long+"old: 1\n"+long+"old: 2\n", "gone/away.txt", "x\n", "no newline", "a\nb", "crlf.txt", "a\r\nb\r\n",
		"latin.txt", "caf\xe9\n", "bin", "\x00\x01", "same", "s\n", "d/e", "1\n")
	link(t, dir, "link", "same")
	commit(t, dir, "With a link")
	want := open(t, Options{Repo: filepath.Join(t.TempDir(), "copy")})
	git(t, filepath.Dir(want.to.path), "clone", "-q", dir, want.to.path)
	req := CommitRequest{Author: Author{"Žofie Nová, Ph.D.", "zofie@example.com"},
		Message: "Configure keboola – příprava\n\nWith a body.\n\n--- not the end\ndiff --git is no diff\nFrom here on\n",
		Files: files("edit.yaml", long+"new: 1\n"+long+"new: 2", "no newline", "a\nb\n", "crlf.txt", "a\r\nB\r\n", "latin.txt", "caf\xe9 x\n",
			"bin", "\x00\x02"+strings.Repeat("\xff", 1000), "new dir/a b", "1\n2\n", "ř \"quoted\"\t.yaml", "x: 1\n", "empty", "", "link", "a file now\n", "d/e", "")}
	req.Files["gone/away.txt"] = nil
	patch, err := open(t, Options{Repo: dir}).Patch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	rev, err := want.Commit(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	clone := am(t, dir, patch)
	if got, want := git(t, clone, "rev-parse", "HEAD^{tree}"), git(t, want.to.path, "rev-parse", rev.Commit+"^{tree}"); got != want {
		t.Errorf("git am gives tree %s, want %s\n%s", got, want, git(t, clone, "diff", "--stat", "HEAD~1"))
	}
	// The real git leaves out a stop at the end of a name.
	if got := git(t, clone, "log", "-1", "--format=%an <%ae> %s"); got != "Žofie Nová, Ph.D <zofie@example.com> Configure keboola – příprava" {
		t.Errorf("log: %s", got)
	}
	if got := git(t, clone, "log", "-1", "--format=%b"); !strings.Contains(got, "--- not the end\n diff --git is no diff\n From here on") {
		t.Errorf("body: %q", got)
	}
	if git(t, dir, "rev-list", "--count", "HEAD") != "2" || git(t, dir, "status", "--porcelain") != "" {
		t.Error("the patch left something in the repository")
	}
}

func TestPatchPropertyRealGitAgrees(t *testing.T) {
	t.Parallel()
	line := rapid.SampledFrom([]string{"a\n", "b\n", "c\n", "\n", "x: 1\r\n", "é\n", "@@ -1 +1 @@\n", "-- \n", "--- a/x\n", "\\ No\n", "+\n", "last"})
	content := rapid.Custom(func(r *rapid.T) string { return strings.Join(rapid.SliceOfN(line, 0, 30).Draw(r, "lines"), "") })
	name := rapid.SampledFrom([]string{"a", "b", "d/a", "d/b", "d/e/f", "g h"})
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(r *rapid.T) {
		if n++; n > 15 {
			return // each runs git ten times
		}
		dir, out := filepath.Join(base, fmt.Sprint(n)), filepath.Join(base, fmt.Sprint(n, "am"))
		run := func(at string, in string, args ...string) string {
			cmd := gitCommand(t.Context(), at, args...)
			cmd.Stdin = strings.NewReader(in)
			b, err := cmd.CombinedOutput()
			if err != nil {
				r.Fatalf("git %v: %v\n%s\n%s", args, err, b, in)
			}
			return strings.TrimSpace(string(b))
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			r.Fatal(err)
		}
		run(dir, "", "init", "-q", "-b", "main")
		run(dir, "", "commit", "-q", "--allow-empty", "-m", "Begin")
		repo := Open(Options{Repo: dir})
		defer repo.Close()
		before := CommitRequest{Message: "First", Files: map[string][]byte{"keep": []byte("k\n")}}
		for k, v := range rapid.MapOfN(name, content, 0, 5).Draw(r, "before") {
			before.Files[k] = []byte(v)
		}
		if _, err := repo.Commit(t.Context(), before); err != nil {
			r.Fatal(err)
		}
		after := CommitRequest{Message: "Second", Files: map[string][]byte{"keep": []byte("K\n")}}
		for k, v := range rapid.MapOfN(name, content, 0, 5).Draw(r, "after") {
			if after.Files[k] = []byte(v); rapid.Bool().Draw(r, "remove") {
				after.Files[k] = nil
			}
		}
		patch, err := repo.Patch(t.Context(), after)
		if err != nil {
			r.Fatal(err)
		}
		run(base, "", "clone", "-q", dir, out)
		run(out, string(patch), "am", "-q")
		if _, err := repo.Commit(t.Context(), after); err != nil {
			r.Fatal(err)
		}
		if got, want := run(out, "", "rev-parse", "HEAD^{tree}"), run(dir, "", "rev-parse", "HEAD^{tree}"); got != want {
			r.Fatalf("tree %s, want %s\n%s", got, want, patch)
		}
	})
}

// TestPatchOfARemoteThatMayNotBePushedTo is the case that patches are for.
func TestPatchOfARemoteThatMayNotBePushedTo(t *testing.T) {
	rem := newRemote(t, "a", "1\n", "b", "2\n")
	first := git(t, rem.work, "rev-parse", "HEAD")
	rem.commit(t, "Second", "a", "one\n")
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	req := CommitRequest{Files: files("b", "two\n"), Message: "Change b", Author: Author{"Bea", "bea@example.com"}}
	_, err := r.Commit(t.Context(), req)
	wantError(t, err, ErrPushDisabled)
	patch, err := r.Patch(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(am(t, rem.bare, patch), "b")); got != "two\n" {
		t.Errorf("b is %q", got)
	}
	same, err := r.Patch(t.Context(), CommitRequest{Files: files("b", "2\n"), Message: "Nothing"})
	if err != nil || same != nil {
		t.Errorf("a patch of nothing: %q, %v", same, err)
	}
	back, err := r.PatchRestore(t.Context(), RestoreRequest{Path: ".", Commit: first})
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(am(t, rem.bare, back), "a")); got != "1\n" {
		t.Errorf("a is %q", got)
	}
	req.Base, req.Files = first, files("a", "uno\n")
	_, err = r.Patch(t.Context(), req)
	wantError(t, err, ErrConflict, "a")
}

// TestCheckSeesTheWholeResult asks about what the branch becomes, not about what
// it was when the request was made.
func TestCheckSeesTheWholeResult(t *testing.T) {
	refused := errors.New("refused")
	for _, remote := range []bool{false, true} {
		rem := newRemote(t, "a", "1", "b", "2", "d/gone", "x")
		opt := Options{Repo: rem.work}
		if remote {
			opt = Options{Repo: rem.serve(t, false).repo(), Push: true}
		}
		r := open(t, opt)
		sync1(t, r)
		rem.commit(t, "Meanwhile", "b", "changed meanwhile")
		before := git(t, rem.bare, "rev-parse", "main")
		var seen string
		req := CommitRequest{Message: "m", Files: files("a", "new", "d/new", "deep"), Check: func(tree fs.FS) error {
			for _, name := range []string{"a", "b", "d/new", "d/gone"} {
				content, err := fs.ReadFile(tree, name)
				info, statErr := fs.Stat(tree, name)
				if err == nil && (statErr != nil || info.Size() != int64(len(content))) {
					return fmt.Errorf("stat %s: %v", name, statErr)
				}
				seen += fmt.Sprintf("%s=%s %v;", name, content, errors.Is(err, fs.ErrNotExist))
			}
			return refused
		}}
		req.Files["d/gone"] = nil
		_, err := r.Commit(t.Context(), req)
		wantError(t, err, refused)
		if seen != "a=new false;b=changed meanwhile false;d/new=deep false;d/gone= true;" {
			t.Errorf("the check saw %s", seen)
		}
		if git(t, rem.bare, "rev-parse", "main") != before || git(t, rem.work, "status", "--porcelain") != "" {
			t.Error("a refused commit left something")
		}
		req.Check = func(fs.FS) error { return nil }
		if _, err := r.Commit(t.Context(), req); err != nil {
			t.Error(err)
		}
	}
}
