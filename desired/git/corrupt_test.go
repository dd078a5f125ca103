package git

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// harm damages a mirror in one way each.
var harm = map[string]func(t *testing.T, dir string){
	"garbage pack":  func(t *testing.T, dir string) { overwrite(t, dir, "objects/pack/*.pack") },
	"garbage index": func(t *testing.T, dir string) { overwrite(t, dir, "objects/pack/*.idx") },
	"one bit of a pack": func(t *testing.T, dir string) {
		for _, f := range glob(t, dir, "objects/pack/*.pack") {
			b := []byte(read(t, f))
			b[len(b)-30] ^= 4
			makeWritable(t, f)
			write(t, f, string(b))
		}
	},
	"missing pack": func(t *testing.T, dir string) {
		for _, f := range glob(t, dir, "objects/pack/*.pack") {
			remove(t, f)
		}
	},
	"missing objects": func(t *testing.T, dir string) { remove(t, filepath.Join(dir, "objects")) },
	"garbage HEAD":    func(t *testing.T, dir string) { write(t, filepath.Join(dir, "HEAD"), "\x00\x01garbage") },
	"HEAD of evil":    func(t *testing.T, dir string) { write(t, filepath.Join(dir, "HEAD"), "ref: ../../etc/passwd\n") },
	"garbage ref":     func(t *testing.T, dir string) { write(t, filepath.Join(dir, "refs/heads/main"), "zzz\n") },
	"garbage config":  func(t *testing.T, dir string) { write(t, filepath.Join(dir, "config"), "[[[") },
	"wrong remote": func(t *testing.T, dir string) {
		write(t, filepath.Join(dir, "config"), mirrorConfig("https://example.invalid/x", ""))
	},
	"everything gone": func(t *testing.T, dir string) { remove(t, dir) },
	"empty directory": func(t *testing.T, dir string) {
		remove(t, dir)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	},
}

func glob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("glob %s: %v, %v", pattern, files, err)
	}
	return files
}

func makeWritable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
}

func overwrite(t *testing.T, dir, pattern string) {
	t.Helper()
	for _, f := range glob(t, dir, pattern) {
		makeWritable(t, f)
		write(t, f, "this is not what was here before, and it is long enough to be looked at as something")
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestCorruptMirrorHealsItself(t *testing.T) {
	for name, damage := range harm {
		t.Run(name, func(t *testing.T) {
			rem := newRemote(t)
			r := open(t, Options{Repo: rem.serve(t, false).repo()})
			sync1(t, r)
			good := r.Status().Commit

			damage(t, r.opt.Mirror)
			sync1(t, r) // in the process that was using it
			wantCommit(t, r, good)
			wantFile(t, r, "instances/acme/compose.yaml", "services: {}\n")
			git(t, r.opt.Mirror, "fsck", "--full")

			damage(t, r.opt.Mirror)
			again := open(t, r.opt) // in a new one
			sync1(t, again)
			wantCommit(t, again, good)
			wantFile(t, again, "instances/acme/compose.yaml", "services: {}\n")
			git(t, r.opt.Mirror, "fsck", "--full")
		})
	}
}

// TestDamageFoundByAReader has a snapshot meet damage before any sync does: the
// read fails in a way that says so, Run is asked to look, and after the repair
// the very same snapshot is readable.
func TestDamageFoundByAReader(t *testing.T) {
	rem := newRemote(t, "f", "content\n")
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	sync1(t, r)
	snap, err := r.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, r.opt.Mirror, "objects/pack/*.pack")
	_, err = fs.ReadFile(snap.Tree, "f")
	wantError(t, err, ErrUnreadable, "try again")
	select {
	case <-r.kick:
	default:
		t.Error("nobody was told")
	}
	sync1(t, r)
	if b, err := fs.ReadFile(snap.Tree, "f"); err != nil || string(b) != "content\n" {
		t.Fatalf("after the repair: %q, %v", b, err)
	}
}

// TestOldSnapshotSurvivesReclone keeps a snapshot whose commit is not in the
// repository any more while the mirror is replaced.
func TestOldSnapshotSurvivesReclone(t *testing.T) {
	rem := newRemote(t, "f", "old\n")
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	sync1(t, r)
	old, err := r.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	git(t, rem.work, "commit", "-q", "--amend", "-m", "Rewritten")
	h := rem.commit(t, "New", "f", "new\n")
	write(t, filepath.Join(r.opt.Mirror, "config"), "")
	sync1(t, r)
	wantCommit(t, r, h)
	wantFile(t, r, "f", "new\n")
	if b, err := fs.ReadFile(old.Tree, "f"); err != nil || string(b) != "old\n" {
		t.Fatalf("old snapshot: %q, %v", b, err)
	}
}

func TestMirrorAfterACrashInReplace(t *testing.T) {
	rem := newRemote(t)
	r := open(t, Options{Repo: rem.serve(t, false).repo()})
	sync1(t, r)
	if err := os.Rename(r.opt.Mirror, r.opt.Mirror+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, r.opt.Mirror+".clone-123/half", "x")
	again := open(t, r.opt)
	wantCommit(t, again, r.Status().Commit)
	write(t, filepath.Join(r.opt.Mirror, "config"), "")
	sync1(t, again)
	left, _ := filepath.Glob(r.opt.Mirror + ".clone-*")
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
