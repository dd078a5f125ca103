package source_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/fairlead/fairlead/certs/source"
)

func TestFile(t *testing.T) {
	chain, key := pair(t)
	root, out := t.TempDir(), t.TempDir()
	name := write(t, filepath.Join(root, "chain.pem"), chain, 0o644)
	s := source.New(source.Options{FileRoots: []string{root}, DataDir: filepath.Join(root, "data")}).For(source.Use{})
	b := get(t, s, "file://"+name, "")
	if !bytes.Equal(b.Data, chain) || !get(t, s, "file://"+name, b.Version).NotModified {
		t.Error("the file is not what is there, or new every time")
	}
	if err := os.Chtimes(name, time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if touched := get(t, s, "file://"+name, b.Version); !touched.NotModified || touched.Version == b.Version {
		t.Errorf("touched: %+v", touched)
	}
	mkdir(t, filepath.Join(root, "live"), filepath.Join(root, "data", "state"))
	link(t, "../chain.pem", filepath.Join(root, "live", "inside.pem"))
	get(t, s, "file://"+root+"/live/inside.pem", "")

	write(t, filepath.Join(out, "x.pem"), chain, 0o644)
	link(t, filepath.Join(out, "x.pem"), filepath.Join(root, "out.pem"))
	fails(t, s, "file://"+root+"/out.pem", source.ErrRefused, "link leads out")
	fails(t, s, "file://"+out+"/x.pem", source.ErrRefused, "fetch.fileRoots")
	fails(t, s, "file://"+root+"x/x.pem", source.ErrRefused, "fetch.fileRoots")
	if err := s.Check("file://" + out + "/x.pem"); err == nil || s.Check("file://"+name) != nil {
		t.Errorf("it may be fetched: %v", err)
	}
	fails(t, s, "file://"+root+"/none.pem", source.ErrNotFound, "no such file")
	fails(t, s, "file://"+root+"/chain.pem/x", source.ErrNotFound)
	fails(t, s, "file://"+root, source.ErrWrongKind, "regular")
	write(t, filepath.Join(root, "data", "state", "x.pem"), chain, 0o644)
	fails(t, s, "file://"+root+"/data/state/x.pem", source.ErrRefused, "state")
	link(t, "data/state/x.pem", filepath.Join(root, "way.pem"))
	fails(t, s, "file://"+root+"/way.pem", source.ErrRefused, "state")
	if err := syscall.Mkfifo(filepath.Join(root, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails(t, s, "file://"+root+"/fifo", source.ErrWrongKind, "regular")
	write(t, filepath.Join(root, "large"), make([]byte, source.MaxSize+1), 0o644)
	fails(t, s, "file://"+root+"/large", source.ErrTooLarge)
	write(t, filepath.Join(root, "key"), key, 0o600)
	fails(t, s, "file://"+root+"/key", source.ErrKeyInChain)
}

func TestFileOfAKey(t *testing.T) {
	chain, key := pair(t)
	root := t.TempDir()
	name := write(t, filepath.Join(root, "key.pem"), key, 0o600)
	s := source.New(source.Options{FileRoots: []string{root}}).For(source.Use{Field: source.Key})
	get(t, s, "file://"+name, "")
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644, 0o601} {
		write(t, name, key, mode)
		fails(t, s, "file://"+name, source.ErrRefused, "chmod 600")
	}
	write(t, name, chain, 0o600)
	fails(t, s, "file://"+name, source.ErrWrongKind, "got certificates")
	if os.Geteuid() == 0 { // only root can give a file away
		write(t, name, key, 0o600)
		if err := os.Chown(name, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		fails(t, s, "file://"+name, source.ErrRefused, "belongs neither")
	}
}

func mkdir(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func link(t *testing.T, to, name string) {
	t.Helper()
	if err := os.Symlink(to, name); err != nil {
		t.Fatal(err)
	}
}

func TestEnv(t *testing.T) {
	chain, key := pair(t)
	flat := string(bytes.ReplaceAll(key, []byte("\n"), []byte(`\n`)))
	f := source.New(source.Options{Env: envOf("CHAIN", string(chain), "KEY", flat, "EMPTY", " ", "TOKEN", "t0psecret")})
	if b := get(t, f.For(source.Use{}), "env://CHAIN", ""); !bytes.Equal(b.Data, chain) || b.Warnings != nil {
		t.Errorf("warnings %v", b.Warnings)
	}
	b := get(t, f.For(source.Use{Field: source.Key}), "env://KEY", "")
	if !bytes.Equal(b.Data, key) || len(b.Warnings) != 1 {
		t.Errorf("a key in a variable: warnings %v", b.Warnings)
	}
	fails(t, f.For(source.Use{}), "env://NONE", source.ErrNotFound)
	fails(t, f.For(source.Use{}), "env://EMPTY", source.ErrNotFound)
	hides(t, fails(t, f.For(source.Use{}), "env://TOKEN", source.ErrWrongKind), "t0psecret")
}

// TestAge encrypts with age itself, plain and armoured.
func TestAge(t *testing.T) {
	_, key := pair(t)
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	sealed := seal(t, key, id.Recipient(), false)
	tree := fstest.MapFS{
		"certs/edge.age":    {Data: sealed},
		"certs/armour.age":  {Data: seal(t, key, id.Recipient(), true)},
		"certs/other.age":   {Data: seal(t, key, other.Recipient(), false)},
		"certs/short.age":   {Data: sealed[:len(sealed)-5]},
		"certs/plain.age":   {Data: key},
		"certs/changed.age": {Data: append(bytes.Clone(sealed[:len(sealed)-1]), sealed[len(sealed)-1]^1)},
		"certs/bomb.age":    {Data: seal(t, make([]byte, source.MaxSize+1), id.Recipient(), false)},
		"certs/large.age":   {Data: make([]byte, 3<<20)},
	}
	ids := write(t, "age.key", []byte("# created by hand\n"+id.String()+"\n"), 0o600)
	use := source.Use{Field: source.Key, Tree: tree}
	s := source.New(source.Options{AgeIdentities: ids}).For(use)
	for _, name := range []string{"edge", "armour"} {
		b := get(t, s, "age://certs/"+name+".age", "")
		if !bytes.Equal(b.Data, key) || !get(t, s, "age://certs/"+name+".age", b.Version).NotModified {
			t.Errorf("%s is not what was encrypted", name)
		}
	}
	fails(t, s, "age://certs/other.age", source.ErrForbidden, "for others", ids)
	fails(t, s, "age://certs/none.age", source.ErrNotFound, "root of the repository")
	fails(t, s, "age://certs", source.ErrWrongKind, "regular")
	fails(t, s, "age://certs/short.age", source.ErrWrongKind)
	fails(t, s, "age://certs/changed.age", source.ErrWrongKind, "changed")
	hides(t, fails(t, s, "age://certs/plain.age", source.ErrWrongKind, "not a file that age encrypted"), string(key[60:80]))
	fails(t, s, "age://certs/bomb.age", source.ErrTooLarge)
	fails(t, s, "age://certs/large.age", source.ErrTooLarge)
	fails(t, source.New(source.Options{}).For(use), "age://certs/edge.age", source.ErrRefused, "no file of age identities")
	fails(t, source.New(source.Options{AgeIdentities: ids}).For(source.Use{}), "age://certs/edge.age", source.ErrRefused, "no revision")
	for text, word := range map[string]string{"AGE-SECRET-KEY-1XXXX": "age-keygen", "": "age-keygen"} {
		bad := write(t, "age.key", []byte(text), 0o600)
		hides(t, fails(t, source.New(source.Options{AgeIdentities: bad}).For(use), "age://certs/edge.age", source.ErrRefused, word), "SECRET")
	}
	loose := write(t, "age.key", []byte(id.String()), 0o644)
	fails(t, source.New(source.Options{AgeIdentities: loose}).For(use), "age://certs/edge.age", source.ErrRefused, "chmod 600")
	fails(t, source.New(source.Options{AgeIdentities: "/none/age.key"}).For(use), "age://certs/edge.age", source.ErrRefused, "no such file")
}

func seal(t *testing.T, data []byte, to age.Recipient, armoured bool) []byte {
	t.Helper()
	var out bytes.Buffer
	var in io.Writer = &out
	a := armor.NewWriter(&out)
	if armoured {
		in = a
	}
	w, err := age.Encrypt(in, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if armoured {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}
