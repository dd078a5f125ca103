package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

// furnished is a store with a key, a request and two generations.
func furnished(t testing.TB) (dir string, s *store.Store, first, second pair.Pair) {
	t.Helper()
	dir = newDir(t)
	s, _ = open(t, dir)
	key, _, err := s.Key(pair.P256)
	must(t, err)
	_, _, err = s.CSR(nil, []string{"data.acme.com"})
	must(t, err)
	first, second = realPair(t, key), realPair(t, key)
	publish(t, s, first)
	publish(t, s, second)
	return dir, s, first, second
}

// hands are what people do to files, and what must be said about it.
var hands = map[string]struct {
	do   func(t *testing.T, dir string)
	want map[string]store.Kind
}{
	"edited chain":   {func(t *testing.T, d string) { write(t, d+"/2/fullchain.pem", []byte("oops")) }, map[string]store.Kind{"2/fullchain.pem": store.Edited}},
	"emptied key":    {func(t *testing.T, d string) { must(t, os.Truncate(d+"/2/privkey.pem", 0)) }, map[string]store.Kind{"2/privkey.pem": store.Edited}},
	"deleted key":    {func(t *testing.T, d string) { must(t, os.Remove(d+"/2/privkey.pem")) }, map[string]store.Kind{"2/privkey.pem": store.Missing}},
	"deleted meta":   {func(t *testing.T, d string) { must(t, os.Remove(d+"/2/meta.json")) }, map[string]store.Kind{"2/meta.json": store.Missing}},
	"readable key":   {func(t *testing.T, d string) { must(t, os.Chmod(d+"/2/privkey.pem", 0o644)) }, map[string]store.Kind{"2/privkey.pem": store.Mode}},
	"readable own":   {func(t *testing.T, d string) { must(t, os.Chmod(d+"/key.pem", 0o640)) }, map[string]store.Kind{"key.pem": store.Mode}},
	"linked key":     {linkedKey, map[string]store.Kind{"2/privkey.pem": store.Replaced}},
	"file is a dir":  {fileIsDir, map[string]store.Kind{"2/fullchain.pem": store.Replaced}},
	"deleted link":   {func(t *testing.T, d string) { must(t, os.Remove(d+"/current")) }, map[string]store.Kind{"current": store.Missing}},
	"older link":     {func(t *testing.T, d string) { relink(t, d, "1") }, map[string]store.Kind{"current": store.Edited}},
	"link outside":   {func(t *testing.T, d string) { relink(t, d, "/etc") }, map[string]store.Kind{"current": store.Edited}},
	"link is a dir":  {linkIsDir, map[string]store.Kind{"current": store.Replaced}},
	"no generation":  {func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/2")) }, map[string]store.Kind{"2": store.Missing}},
	"linked dir":     {linkedDir, map[string]store.Kind{"2": store.Replaced}},
	"older one gone": {func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/1")) }, map[string]store.Kind{"1": store.Missing}},
	"open dir":       {func(t *testing.T, d string) { must(t, os.Chmod(d+"/2", 0o755)) }, map[string]store.Kind{"2": store.Mode}},
	"deleted own":    {func(t *testing.T, d string) { must(t, os.Remove(d+"/key.pem")) }, map[string]store.Kind{"key.pem": store.Missing}},
	"edited request": {func(t *testing.T, d string) { write(t, d+"/cert.csr", []byte("oops")) }, map[string]store.Kind{"cert.csr": store.Edited}},
}

func linkedKey(t *testing.T, d string) {
	must(t, os.Rename(d+"/2/privkey.pem", d+"/elsewhere"))
	must(t, os.Symlink("../elsewhere", d+"/2/privkey.pem"))
}

func fileIsDir(t *testing.T, d string) {
	must(t, os.Remove(d+"/2/fullchain.pem"))
	must(t, os.MkdirAll(d+"/2/fullchain.pem/x", 0o700))
}

func relink(t *testing.T, d, target string) {
	must(t, os.Remove(d+"/current"))
	must(t, os.Symlink(target, d+"/current"))
}

func linkIsDir(t *testing.T, d string) {
	must(t, os.Remove(d+"/current"))
	must(t, os.MkdirAll(d+"/current/x", 0o700))
}

func linkedDir(t *testing.T, d string) {
	must(t, os.Rename(d+"/2", d+"/elsewhere"))
	must(t, os.Symlink("elsewhere", d+"/2"))
}

func TestDriftIsToldAndPutBack(t *testing.T) {
	for name, hand := range hands {
		t.Run(name, func(t *testing.T) {
			dir, s, _, second := furnished(t)
			hand.do(t, dir)
			drift, err := s.Verify()
			if got := kinds(drift); err != nil || len(got) != len(hand.want) {
				t.Fatalf("drift %v, %v; want %v", drift, err, hand.want)
			}
			for path, kind := range hand.want {
				if kinds(drift)[path] != kind {
					t.Errorf("drift %v, want %v", drift, hand.want)
				}
			}
			for _, d := range drift {
				exposed := d.Kind == store.Mode && strings.HasSuffix(d.Path, "key.pem")
				if d.Exposed() != exposed || d.Found == "" || strings.Contains(d.String(), "MII") {
					t.Errorf("drift %+v, exposed %t", d, d.Exposed())
				}
			}
			restored, err := s.Restore()
			if err != nil || len(restored) != len(drift) {
				t.Fatalf("restored %v, %v", restored, err)
			}
			live(t, s, dir, second)
		})
	}
}

// The same done while nobody looks: a start finds a pair that works, and leaves
// nothing amiss.
func TestBootAfterTheSameHands(t *testing.T) {
	for name, hand := range hands {
		t.Run(name, func(t *testing.T) {
			dir, s, first, second := furnished(t)
			must(t, s.Close())
			hand.do(t, dir)
			again, repairs := open(t, dir)
			if len(repairs) == 0 && name != "older one gone" {
				t.Error("nothing is said about it")
			}
			g, ok := again.Current()
			if !ok || !g.Pair.Equal(first) && !g.Pair.Equal(second) {
				t.Fatalf("current is %v", g.Pair)
			}
			// What can be told to be whole is served; else the one before.
			lost := strings.Contains("edited chain, emptied key, deleted key, linked key, file is a dir, no generation, linked dir", name)
			if g.Pair.Equal(first) != lost {
				t.Errorf("the older one is served: %t", g.Pair.Equal(first))
			}
			live(t, again, dir, g.Pair)
			publish(t, again, realPair(t, newKey(t)))
		})
	}
}

func TestDriftOfTheDirectory(t *testing.T) {
	dir, s, _, second := furnished(t)
	must(t, os.RemoveAll(dir))
	if drift, err := s.Verify(); err != nil || kinds(drift)["."] != store.Missing {
		t.Errorf("deleted: %v, %v", drift, err)
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	live(t, s, dir, second)

	must(t, os.Rename(dir, dir+".old")) // a backup was put in its place
	must(t, os.Mkdir(dir, 0o700))
	if drift, err := s.Verify(); err != nil || kinds(drift)["."] != store.Replaced {
		t.Errorf("replaced: %v, %v", drift, err)
	}
	if _, err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	live(t, s, dir, second)

	must(t, os.Chmod(dir, 0o777))
	if drift, err := s.Verify(); err != nil || kinds(drift)["."] != store.Mode {
		t.Errorf("opened: %v, %v", drift, err)
	}
	if _, err := s.Restore(); err != nil || mode(t, dir) != 0o700 {
		t.Errorf("mode %04o, %v", mode(t, dir), err)
	}
	live(t, s, dir, second)

	must(t, os.RemoveAll(dir))
	must(t, os.Symlink(t.TempDir(), dir)) // nothing is written through it
	if drift, err := s.Restore(); err == nil {
		t.Errorf("a link: %v", drift)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("written through a link: %v, %v", entries, err)
	}
}

// What a power cut makes of files that were not yet on the disk.
func TestBootAfterDamage(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"everything empty": func(t *testing.T, d string) {
			for _, f := range []string{"privkey.pem", "fullchain.pem", "meta.json"} {
				must(t, os.Truncate(filepath.Join(d, "2", f), 0))
			}
		},
		"zeros":          func(t *testing.T, d string) { write(t, d+"/2/privkey.pem", make([]byte, 241)) },
		"cut short":      func(t *testing.T, d string) { must(t, os.Truncate(d+"/2/fullchain.pem", 400)) },
		"empty dir":      func(t *testing.T, d string) { must(t, os.RemoveAll(d+"/2")); must(t, os.Mkdir(d+"/2", 0o700)) },
		"key of another": func(t *testing.T, d string) { write(t, d+"/2/privkey.pem", read(t, d, "key.pem")[:200]) },
		"a huge chain":   func(t *testing.T, d string) { must(t, os.Truncate(d+"/2/fullchain.pem", 2<<20)) },
	} {
		dir, s, first, _ := furnished(t)
		must(t, s.Close())
		spoil(t, dir)
		again, repairs := open(t, dir)
		if kinds(repairs)["2"] != store.Damaged {
			t.Errorf("%s: repairs %v", name, repairs)
		}
		live(t, again, dir, first)
		if g := publish(t, again, realPair(t, newKey(t))); g.Number != 3 {
			t.Errorf("%s: the number %d is used again", name, g.Number)
		}
	}
}

func TestBootTakesWhatIsLeft(t *testing.T) {
	// A pair that somebody put there by hand, and nothing else.
	dir, s, _, second := furnished(t)
	must(t, s.Close())
	other := realPair(t, newKey(t))
	key, err := other.PrivateKey()
	must(t, err)
	must(t, os.RemoveAll(dir+"/1"))
	write(t, dir+"/2/privkey.pem", key)
	write(t, dir+"/2/fullchain.pem", other.Fullchain())
	again, repairs := open(t, dir)
	live(t, again, dir, other)
	if g, _ := again.Current(); g.Meta.Source != "found on disk" || kinds(repairs)["2"] != store.Damaged {
		t.Errorf("meta %+v, repairs %v", g.Meta, repairs)
	}
	// Nothing at all: then there is nothing, and the next one is published.
	must(t, again.Close())
	must(t, os.RemoveAll(dir+"/2"))
	must(t, os.RemoveAll(dir+"/3"))
	empty, _ := open(t, dir)
	if _, ok := empty.Current(); ok {
		t.Error("current is something")
	}
	publish(t, empty, second)
	live(t, empty, dir, second)
}
