package store_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

func allFormats() []store.Format { return []store.Format{store.PEM, store.Combined, store.PKCS12} }

func target(dir string) store.Target {
	return store.Target{Dir: dir, UID: -1, GID: -1, Formats: allFormats(), Password: "x"}
}

// delivered reads all formats and fails when they differ.
func delivered(t testing.TB, dir string) pair.Pair {
	t.Helper()
	p, err := pair.Load(read(t, dir, "fullchain.pem"), read(t, dir, "privkey.pem"))
	must(t, err)
	combined, err := p.Combined()
	must(t, err)
	if string(read(t, dir, "combined.pem")) != string(combined) {
		t.Error("combined.pem has another pair")
	}
	if p12, err := pair.LoadPKCS12(read(t, dir, "keystore.p12"), "x"); err != nil || !p12.Equal(p) {
		t.Errorf("keystore.p12: %v", err)
	}
	return p
}

func deliver(t testing.TB, p pair.Pair, to store.Target) []store.Drift {
	t.Helper()
	amiss, err := store.Deliver(p, to)
	must(t, err)
	return amiss
}

func TestDeliver(t *testing.T) {
	dir := newDir(t)
	key := newKey(t)
	first, second := realPair(t, key), realPair(t, key)
	if amiss := deliver(t, first, target(dir)); len(amiss) == 0 || !delivered(t, dir).Equal(first) {
		t.Errorf("amiss %v", amiss)
	}
	if mode(t, dir) != 0o755 {
		t.Errorf("mode %04o", mode(t, dir))
	}
	for name, want := range map[string]os.FileMode{"fullchain.pem": 0o644, "privkey.pem": 0o600, "combined.pem": 0o600, "keystore.p12": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	before, err := os.Readlink(dir + "/.fairlead-live")
	must(t, err)
	if amiss := deliver(t, first, target(dir)); len(amiss) > 0 {
		t.Errorf("it was all there, and amiss is %v", amiss)
	}
	if after, err := os.Readlink(dir + "/.fairlead-live"); err != nil || after != before {
		t.Errorf("the same was written again, as %s", after)
	}
	for _, d := range deliver(t, second, target(dir)) {
		if d.Kind != store.Outdated {
			t.Errorf("a renewal is reported as %s: %s", d.Kind, d)
		}
	}
	if !delivered(t, dir).Equal(second) {
		t.Error("not the new pair")
	}
	for range 4 {
		deliver(t, realPair(t, key), target(dir))
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 4+1+2 {
		t.Errorf("in it is %v, %v", entries, err)
	}
	// Another password makes another file, fewer formats fewer names.
	to := target(dir)
	to.Password = "y"
	if amiss := deliver(t, second, to); len(amiss) == 0 {
		t.Error("the old password is taken")
	}
	deliver(t, second, store.Target{Dir: dir, UID: -1, GID: -1})
	if names, err := filepath.Glob(dir + "/[a-z]*"); err != nil || !slices.Equal(names, []string{dir + "/fullchain.pem", dir + "/privkey.pem"}) {
		t.Errorf("in it is %v, %v", names, err)
	}
}

func TestDeliverToldWhatWasThere(t *testing.T) {
	key := newKey(t)
	for _, f := range allFormats() {
		to := target(newDir(t))
		to.Formats = []store.Format{f}
		p := realPair(t, key)
		deliver(t, realPair(t, key), to)
		for _, d := range deliver(t, p, to) {
			if d.Kind != store.Outdated {
				t.Errorf("%s: a renewal is reported as %s: %s", f, d.Kind, d)
			}
		}
		to.Password = "another"
		if amiss := deliver(t, p, to); (f == store.PKCS12) != (len(amiss) == 1 && amiss[0].Kind == store.Edited) {
			t.Errorf("%s: another password: %v", f, amiss)
		}
	}
}

// A container sees the directory through a mount of it: the links must lead
// nowhere else, and a reader that opens a name sees one pair or the other.
func TestDeliveredLinksStayInside(t *testing.T) {
	dir := newDir(t)
	p := realPair(t, newKey(t))
	deliver(t, p, target(dir))
	moved := newDir(t)
	must(t, os.Rename(dir, moved)) // what a mount does to its path
	if !delivered(t, moved).Equal(p) {
		t.Error("another pair")
	}
}

func TestDeliverPutsBack(t *testing.T) {
	live := func(t *testing.T, dir string) string {
		to, err := os.Readlink(dir + "/.fairlead-live")
		must(t, err)
		return dir + "/" + to
	}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"edited":       func(t *testing.T, d string) { write(t, d+"/fullchain.pem", []byte("oops")) },
		"emptied":      func(t *testing.T, d string) { must(t, os.Truncate(d+"/privkey.pem", 0)) },
		"deleted name": func(t *testing.T, d string) { must(t, os.Remove(d+"/combined.pem")) },
		"deleted file": func(t *testing.T, d string) { must(t, os.Remove(live(t, d)+"/keystore.p12")) },
		"readable":     func(t *testing.T, d string) { must(t, os.Chmod(live(t, d)+"/privkey.pem", 0o644)) },
		"linked": func(t *testing.T, d string) {
			f := live(t, d) + "/privkey.pem"
			must(t, os.Remove(f))
			must(t, os.Symlink("/etc/passwd", f))
		},
		"a plain file": func(t *testing.T, d string) {
			must(t, os.Remove(d+"/privkey.pem"))
			write(t, d+"/privkey.pem", []byte("old"))
		},
		"no link": func(t *testing.T, d string) { must(t, os.Remove(d+"/.fairlead-live")) },
		"link outside": func(t *testing.T, d string) {
			must(t, os.Remove(d+"/.fairlead-live"))
			must(t, os.Symlink("/etc", d+"/.fairlead-live"))
		},
		"link to ..": func(t *testing.T, d string) {
			must(t, os.Remove(d+"/.fairlead-live"))
			must(t, os.Symlink("..", d+"/.fairlead-live"))
		},
		"closed":         func(t *testing.T, d string) { must(t, os.Chmod(live(t, d), 0o700)) },
		"all of it gone": func(t *testing.T, d string) { must(t, os.RemoveAll(d)) },
	} {
		dir := newDir(t)
		p := realPair(t, newKey(t))
		deliver(t, p, target(dir))
		spoil(t, dir)
		amiss, err := store.Deliver(p, target(dir))
		if err != nil || len(amiss) == 0 || !delivered(t, dir).Equal(p) {
			t.Errorf("%s: amiss %v, %v", name, amiss, err)
		}
		if again := deliver(t, p, target(dir)); len(again) > 0 {
			t.Errorf("%s: amiss again: %v", name, again)
		}
	}
}

func TestDeliverRefuses(t *testing.T) {
	p := realPair(t, newKey(t))
	open := newDir(t)
	must(t, os.Mkdir(open, 0o700))
	must(t, os.Chmod(open, 0o777))
	mounted := newDir(t)
	must(t, os.MkdirAll(mounted+"/privkey.pem/x", 0o755))
	link := newDir(t)
	must(t, os.Symlink(t.TempDir(), link))
	for name, tc := range map[string]struct {
		to   store.Target
		says string
	}{
		"for all to write":           {target(open), "chmod go-w"},
		"a link":                     {target(link), "symbolic link"},
		"a file that is a directory": {target(mounted), "Docker"},
		"no directory above":         {target(newDir(t) + "/a/b"), "no such file"},
		"a key for all":              {store.Target{Dir: newDir(t), UID: -1, GID: -1, KeyMode: 0o644}, "0644"},
		"a key for none":             {store.Target{Dir: newDir(t), UID: -1, GID: -1, KeyMode: 0o200}, "0200"},
		"a format":                   {store.Target{Dir: newDir(t), UID: -1, GID: -1, Formats: []store.Format{"jks"}}, `no format "jks"`},
	} {
		if _, err := store.Deliver(p, tc.to); err == nil || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
	if _, err := store.Deliver(pair.Pair{}, target(newDir(t))); err == nil {
		t.Error("delivered nothing")
	}
	if s := fmt.Sprintf("%v %+v", store.Target{Dir: "/d", Password: "s3cret"}, store.Target{Password: "s3cret"}); strings.Contains(s, "s3cret") {
		t.Errorf("prints as %s", s)
	}
}

// The user that the files are given to can read them, and nobody else the key.
// Only root can give files away: without, the test gives them to itself.
func TestDeliveredFilesAreReadByTheirOwner(t *testing.T) {
	base := t.TempDir()
	for d := base; d != "/" && d != os.TempDir(); d = filepath.Dir(d) { // made by the test for itself alone
		must(t, os.Chmod(d, 0o755))
	}
	uid, other := os.Geteuid(), -1
	if uid == 0 {
		uid, other = 4711, 4712
	}
	dir := filepath.Join(base, "tls")
	p := realPair(t, newKey(t))
	to := target(dir)
	to.UID, to.GID = uid, -1
	deliver(t, p, to)
	if again := deliver(t, p, to); len(again) > 0 {
		t.Errorf("amiss again: %v", again)
	}
	if info, err := os.Stat(dir); err != nil || int(info.Sys().(*syscall.Stat_t).Uid) != os.Geteuid() {
		t.Errorf("the directory is the reader's: %v", err)
	}
	as := func(uid int, name string) error {
		cmd := exec.CommandContext(t.Context(), "cat", filepath.Join(dir, name))
		if uid != os.Geteuid() {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
		}
		return cmd.Run()
	}
	for _, name := range []string{"privkey.pem", "combined.pem", "keystore.p12", "fullchain.pem"} {
		if err := as(uid, name); err != nil {
			t.Errorf("its owner cannot read %s: %v", name, err)
		}
		if other > 0 && name != "fullchain.pem" && as(other, name) == nil {
			t.Errorf("everybody can read %s", name)
		}
	}
	if os.Geteuid() == 0 { // whose files were given to another meanwhile
		must(t, os.Lchown(filepath.Join(dir, ".fairlead-1", "privkey.pem"), other, other))
		if amiss := deliver(t, p, to); len(amiss) != 1 || amiss[0].Kind != store.Owner || !amiss[0].Exposed() {
			t.Errorf("amiss %v", amiss)
		}
	}
}
