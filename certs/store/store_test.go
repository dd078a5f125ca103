package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
)

func newDir(t testing.TB) string { return filepath.Join(t.TempDir(), "data") }

func TestPublish(t *testing.T) {
	dir := newDir(t)
	s, repairs := open(t, dir)
	if _, ok := s.Current(); ok || len(repairs) > 0 || s.HasReal() {
		t.Fatalf("a new store has something, %v", repairs)
	}
	key := newKey(t)
	first, second := realPair(t, key), realPair(t, key)
	publish(t, s, first)
	live(t, s, dir, first)
	g := publish(t, s, second)
	live(t, s, dir, second)
	for name, want := range map[string]os.FileMode{".": 0o700, "2": 0o700, "2/privkey.pem": 0o600, "2/fullchain.pem": 0o644, "2/meta.json": 0o600} {
		if got := mode(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s has mode %04o, want %04o", name, got, want)
		}
	}
	var meta store.Meta
	must(t, json.Unmarshal(read(t, dir, "2/meta.json"), &meta))
	if meta.Source != "https://pki.acme.com/chain.pem" || meta.Leaf != pair.Fingerprint(second.Leaf()) || !meta.Published.Equal(now) || len(meta.Files) != 2 {
		t.Errorf("meta %+v", meta)
	}
	if again := publish(t, s, second); again.Number != g.Number {
		t.Errorf("the same pair was written again, as %d", again.Number)
	}
	reopened, repairs := open(t, dir)
	live(t, reopened, dir, second)
	if len(repairs) > 0 {
		t.Errorf("nothing was amiss, and repaired is %v", repairs)
	}
	if got, ok := reopened.Current(); !ok || fmt.Sprintf("%+v", got.Meta) != fmt.Sprintf("%+v", g.Meta) {
		t.Errorf("meta after a restart: %+v, want %+v", got.Meta, g.Meta)
	}
}

func TestGenerationsDoNotPrintTheirKey(t *testing.T) {
	s, _ := open(t, newDir(t))
	p := realPair(t, newKey(t))
	g := publish(t, s, p)
	field := struct{ g store.Generation }{g} // of which fmt asks no method
	printed := fmt.Sprintf("%v %+v %#v %s %v %+v %s", g, g, g, g, field, field, field)
	key, err := p.PrivateKey()
	must(t, err)
	secret := strings.Split(string(key), "\n")[1]
	for _, form := range []string{secret[:20], strings.Trim(fmt.Sprint([]byte(secret[:8])), "[]"), fmt.Sprintf("%x", secret[:8])} {
		if strings.Contains(printed, form) {
			t.Errorf("prints as %.500s", printed)
		}
	}
}

func TestPublishKeepsSomeGenerations(t *testing.T) {
	dir := newDir(t)
	s, _ := open(t, dir)
	var last pair.Pair
	for range 7 {
		last = realPair(t, newKey(t))
		publish(t, s, last)
	}
	var numbers []int
	for _, g := range s.Generations() {
		numbers = append(numbers, g.Number)
	}
	if !slices.Equal(numbers, []int{4, 5, 6, 7}) {
		t.Errorf("kept %v", numbers)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("on disk %v, %v", entries, err)
	}
	// Rolled back, and on from there.
	g, err := s.Rollback(5)
	if err != nil || g.Number != 8 || g.Meta.Restored != 5 {
		t.Fatalf("rolled back to %+v, %v", g.Meta, err)
	}
	live(t, s, dir, g.Pair)
	again, _ := open(t, dir)
	live(t, again, dir, g.Pair) // and no newer one takes over at the next start
	if _, err := s.Rollback(4); err == nil {
		t.Error("rolled back to a generation that is gone")
	}
}

func TestSelfSignedNeverReplacesARealOne(t *testing.T) {
	dir := newDir(t)
	s, _ := open(t, dir)
	key := newKey(t)
	publish(t, s, standIn(t, key))
	publish(t, s, standIn(t, key)) // renewed
	real := realPair(t, key)
	publish(t, s, real)
	for range 2 {
		if _, err := s.Publish(standIn(t, key), store.Origin{}); !errors.Is(err, store.ErrOverReal) {
			t.Errorf("published over a real one: %v", err)
		}
		live(t, s, dir, real)
		s, _ = open(t, dir) // nor after a restart
	}
	if _, err := s.Publish(pair.Pair{}, store.Origin{}); err == nil {
		t.Error("published nothing")
	}
}

func TestKeyIsMadeOnce(t *testing.T) {
	dir := newDir(t)
	s, _ := open(t, dir)
	if _, _, err := s.CSR(nil, []string{"a.b"}); err == nil {
		t.Error("made a request without a key")
	}
	key, made, err := s.Key(pair.P256)
	if err != nil || !made || mode(t, filepath.Join(dir, "key.pem")) != 0o600 {
		t.Fatalf("made %t, %v", made, err)
	}
	s2, _ := open(t, dir)
	same, made, err := s2.Key(pair.P384) // another kind is no reason to replace it
	if err != nil || made || pair.SPKI(same.Public()) != pair.SPKI(key.Public()) {
		t.Fatalf("made %t, %v", made, err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %v", left)
	}
	next, err := s2.Rekey(pair.P384)
	if err != nil || pair.AlgorithmOf(next.Public()) != pair.P384 || mode(t, filepath.Join(dir, "key.pem")) != 0o600 {
		t.Errorf("rekeyed: %v", err)
	}
	if _, _, err := s.Key("p224"); err != nil {
		t.Errorf("a key that is there is not made: %v", err)
	}
}

func TestKeyIsNeverMadeOverAnother(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, file string){
		"damaged": func(t *testing.T, file string) { write(t, file, []byte("-----BEGIN PRIVATE KEY-----\nMII")) },
		"encrypted": func(t *testing.T, file string) {
			write(t, file, []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIC\n-----END ENCRYPTED PRIVATE KEY-----\n"))
		},
		"a link":    func(t *testing.T, file string) { must(t, os.Symlink("/dev/null", file)) },
		"directory": func(t *testing.T, file string) { must(t, os.Mkdir(file, 0o700)) },
	} {
		dir := newDir(t)
		s, _ := open(t, dir)
		publish(t, s, standIn(t, newKey(t)))
		prepare(t, filepath.Join(dir, "key.pem"))
		before, _ := os.Lstat(filepath.Join(dir, "key.pem"))
		again, repairs := open(t, dir)
		if _, ok := again.Current(); !ok {
			t.Errorf("%s: nothing is served for it", name)
		}
		_, made, err := again.Key(pair.P256)
		if err == nil || made || kinds(repairs)["key.pem"] == "" {
			t.Errorf("%s: made %t, %v, repairs %v", name, made, err, repairs)
		}
		if after, err := os.Lstat(filepath.Join(dir, "key.pem")); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s: it was replaced: %v", name, err)
		}
	}
	// A power cut may leave an empty one, which is nobody's.
	dir := newDir(t)
	open(t, dir)
	write(t, filepath.Join(dir, "key.pem"), nil)
	s, _ := open(t, dir)
	if _, made, err := s.Key(pair.P256); err != nil || !made {
		t.Errorf("empty: made %t, %v", made, err)
	}
}

// The key of this host is found again in a generation that has it.
func TestKeyIsRecovered(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, file string){
		"deleted": func(t *testing.T, file string) { must(t, os.Remove(file)) },
		"empty":   func(t *testing.T, file string) { write(t, file, nil) },
		"damaged": func(t *testing.T, file string) { write(t, file, []byte("oops")) },
	} {
		dir := newDir(t)
		s, _ := open(t, dir)
		key, _, err := s.Key(pair.P256)
		must(t, err)
		_, _, err = s.CSR(nil, []string{"data.acme.com"})
		must(t, err)
		publish(t, s, realPair(t, key))
		spoil(t, filepath.Join(dir, "key.pem"))
		again, repairs := open(t, dir)
		same, made, err := again.Key(pair.P256)
		if err != nil || made || pair.SPKI(same.Public()) != pair.SPKI(key.Public()) || len(repairs) == 0 {
			t.Errorf("%s: made %t, %v, repairs %v", name, made, err, repairs)
		}
		if mode(t, filepath.Join(dir, "key.pem")) != 0o600 {
			t.Errorf("%s: it was not put back", name)
		}
	}
}

func TestCSRIsRemadeWhenItChanges(t *testing.T) {
	dir := newDir(t)
	s, _ := open(t, dir)
	_, _, err := s.Key(pair.P256)
	must(t, err)
	subject, err := pair.ParseSubject("/O=Acme/CN=data.acme.com")
	must(t, err)
	first, made, err := s.CSR(subject, []string{"data.acme.com"})
	if err != nil || !made || !bytes.Equal(first, read(t, dir, "cert.csr")) || mode(t, filepath.Join(dir, "cert.csr")) != 0o644 {
		t.Fatalf("made %t, %v", made, err)
	}
	s, _ = open(t, dir)
	for _, tc := range []struct {
		subject pair.Subject
		domains []string
		made    bool
	}{{subject, []string{"data.acme.com"}, false}, {subject, []string{"data.acme.com", "b.c"}, true}, {nil, []string{"data.acme.com", "b.c"}, true}, {nil, []string{"data.acme.com", "b.c", "b.c."}, false}} {
		csr, made, err := s.CSR(tc.subject, tc.domains)
		if err != nil || made != tc.made || !bytes.Equal(csr, read(t, dir, "cert.csr")) {
			t.Errorf("%v %v: made %t, %v", tc.subject, tc.domains, made, err)
		}
	}
	if _, err := s.Rekey(pair.P256); err != nil {
		t.Fatal(err)
	}
	if _, made, err := s.CSR(nil, []string{"data.acme.com", "b.c"}); err != nil || !made {
		t.Errorf("another key: made %t, %v", made, err)
	}
	if _, _, err := s.CSR(nil, nil); err == nil {
		t.Error("made one for no domain")
	}
}

func TestOpenRefusesWhatOthersMayChange(t *testing.T) {
	dir := newDir(t)
	must(t, os.Mkdir(dir, 0o700))
	must(t, os.Chmod(dir, 0o770))
	if _, _, err := store.Open(dir, store.Options{}); err == nil || !strings.Contains(err.Error(), "chmod go-w") {
		t.Errorf("group may write: %v", err)
	}
	must(t, os.Chmod(dir, 0o700))
	link := newDir(t)
	must(t, os.Symlink(dir, link))
	if _, _, err := store.Open(link, store.Options{}); err == nil || !strings.Contains(err.Error(), "symbolic link") {
		t.Errorf("a link: %v", err)
	}
	file := newDir(t)
	write(t, file, nil)
	if _, _, err := store.Open(file, store.Options{}); err == nil {
		t.Error("opened a file")
	}
	if _, _, err := store.Open(filepath.Join(newDir(t), "deep"), store.Options{}); err == nil {
		t.Error("made more than one directory")
	}
	if os.Geteuid() == 0 {
		must(t, os.Chown(dir, 4711, -1))
		if _, _, err := store.Open(dir, store.Options{}); err == nil || !strings.Contains(err.Error(), "belongs to user 4711") {
			t.Errorf("another's: %v", err)
		}
	}
}

// Publishing and looking at the same time, under the race detector.
func TestStoreFromManyGoroutines(t *testing.T) {
	dir := newDir(t)
	s, _ := open(t, dir)
	key := newKey(t)
	a, b := realPair(t, key), realPair(t, key)
	publish(t, s, a)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 5 {
				p := a
				if (i+j)%2 == 0 {
					p = b
				}
				if _, err := s.Publish(p, store.Origin{}); err != nil {
					t.Error(err)
				}
				if g, ok := s.Current(); !ok || !g.Pair.Equal(a) && !g.Pair.Equal(b) {
					t.Error("current is neither")
				}
				if drift, err := s.Verify(); err != nil || len(drift) > 0 {
					t.Errorf("drift %v, %v", drift, err)
				}
			}
		})
	}
	wg.Wait()
}
