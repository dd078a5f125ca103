package front

import (
	"bytes"
	"crypto/ecdsa"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// makePair writes a chain and a key as an operator would have them.
func makePair(t *testing.T, host string, now time.Time) (chain, key string) {
	t.Helper()
	dir := t.TempDir()
	chain, key = filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	writePair(t, chain, key, host, now)
	return chain, key
}

func writePair(t *testing.T, chain, key, host string, now time.Time) {
	t.Helper()
	_, text, err := makeSelfSigned([]string{host}, nil, now)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(text, []byte("-----BEGIN PRIVATE KEY"))
	write(t, chain, text[:at])
	write(t, key, text[at:])
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// ticker is a clock that moves far enough for the files to be looked at.
type ticker struct{ now time.Time }

func (c *ticker) next() time.Time { c.now = c.now.Add(checkEvery); return c.now }

func TestABrokenPairNeverReplacesAGoodOne(t *testing.T) {
	clock := &ticker{time.Now()}
	f := NewFiles(FilesOptions{Now: clock.next})
	chain, key := makePair(t, "app.test", clock.now)
	spec := desired.CertificateSpec{Domains: []string{"app.test"}, Fullchain: chain, Privkey: key}
	serial := func() string {
		t.Helper()
		c, err := f.Certificate("app.test", spec)
		if err != nil || c.SelfSigned {
			t.Fatalf("self-signed %v, %v", c.SelfSigned, err)
		}
		return c.Leaf.SerialNumber.String()
	}
	good := serial()
	goodChain, _ := os.ReadFile(chain)
	goodKey, _ := os.ReadFile(key)
	breaks := map[string]struct {
		do   func()
		tell string
	}{
		"no chain":     {func() { _ = os.Remove(chain) }, "no such file"},
		"empty key":    {func() { write(t, key, nil) }, "is empty"},
		"no PEM":       {func() { write(t, chain, []byte("not a certificate")) }, "load "},
		"other key":    {func() { _, other := makePair(t, "app.test", clock.now); b, _ := os.ReadFile(other); write(t, key, b) }, "does not match"},
		"other host":   {func() { writePair(t, chain, key, "other.test", clock.now) }, "the certificate is for other.test"},
		"has expired":  {func() { writePair(t, chain, key, "app.test", clock.now.Add(-2*selfSignedLife)) }, "which is not now"},
		"in future":    {func() { writePair(t, chain, key, "app.test", clock.now.Add(selfSignedLife)) }, "which is not now"},
		"too large":    {func() { write(t, chain, make([]byte, maxPEM+1)) }, "larger than"},
		"no file":      {func() { _ = os.Remove(key); _ = os.Mkdir(key, 0o700) }, "no regular file"},
		"key in chain": {func() { write(t, chain, goodKey) }, "load "},
	}
	for name, b := range breaks {
		b.do()
		if got := serial(); got != good {
			t.Errorf("%s: replaced", name)
		}
		if p := f.Problems(); len(p) != 1 || !strings.Contains(p[0], b.tell) {
			t.Errorf("%s: problems %q, want %q", name, p, b.tell)
		}
		_ = os.RemoveAll(key)
		write(t, chain, goodChain)
		write(t, key, goodKey)
		if got := serial(); got != good || len(f.Problems()) > 0 {
			t.Errorf("after %s: %q", name, f.Problems())
		}
	}
	writePair(t, chain, key, "app.test", clock.now)
	if serial() == good {
		t.Error("a good pair does not replace the one before")
	}
}

func TestSelfSignedStandsInUntilThePairComes(t *testing.T) {
	clock := &ticker{time.Now()}
	f := NewFiles(FilesOptions{Now: clock.next, Dir: t.TempDir()})
	dir := t.TempDir()
	chain, key := filepath.Join(dir, "fullchain.pem"), filepath.Join(dir, "privkey.pem")
	spec := desired.CertificateSpec{Domains: []string{"app.test"}, Fullchain: chain, Privkey: key}
	if c, err := f.Certificate("app.test", spec); err != nil || !c.SelfSigned || len(f.Problems()) != 1 {
		t.Fatalf("%+v %v %q", c, err, f.Problems())
	}
	writePair(t, chain, key, "app.test", clock.now)
	if c, err := f.Certificate("app.test", spec); err != nil || c.SelfSigned || len(f.Problems()) != 0 {
		t.Errorf("%+v %v %q", c, err, f.Problems())
	}
}

func TestSelfSignedIsKeptOverARestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "self-signed")
	now := time.Now()
	open := func() Certificate {
		t.Helper()
		f := NewFiles(FilesOptions{Dir: dir, Now: func() time.Time { return now }})
		c, err := f.Certificate("app.test", desired.CertificateSpec{})
		if err != nil || !c.SelfSigned {
			t.Fatalf("%+v %v", c, err)
		}
		return c
	}
	first := open()
	if second := open(); second.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) != 0 {
		t.Error("made again")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v %v", entries, err)
	}
	name := filepath.Join(dir, entries[0].Name())
	for path, mode := range map[string]fs.FileMode{dir: 0o700, name: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	now = now.Add(selfSignedLife)
	renewed := open()
	if !renewed.Leaf.PublicKey.(*ecdsa.PublicKey).Equal(first.Leaf.PublicKey) || renewed.Leaf.SerialNumber.Cmp(first.Leaf.SerialNumber) == 0 {
		t.Error("not renewed on the key that was kept")
	}
	write(t, name, []byte("garbage after a power cut"))
	open()
	if b, _ := os.ReadFile(name); !bytes.Contains(b, []byte("BEGIN CERTIFICATE")) {
		t.Error("what cannot be read is not made anew")
	}
}
