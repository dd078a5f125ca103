package deliver_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/deliver"
	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/desired"
)

func directory(t testing.TB) string { return filepath.Join(t.TempDir(), "tls") }

func to(dir string, formats ...string) desired.CertificateSpec {
	return desired.CertificateSpec{Domains: []string{domain}, Deliver: []desired.Delivery{{Dir: dir, Formats: formats, Password: "s3cret-pass"}}}
}

func TestDirectory(t *testing.T) {
	dir := directory(t)
	first, second := fresh(t), fresh(t)
	d := deliver.New(deliver.Options{})
	o := one(t, d, to(dir), first)
	proved(t, o)
	if !o.Changed || len(o.Drift) > 0 || o.Target.Name != dir {
		t.Errorf("first: %+v", o)
	}
	if o = one(t, d, to(dir), first); o.Changed || len(o.Drift) > 0 {
		t.Errorf("again: %+v", o)
	}
	if o = one(t, d, to(dir), second); !o.Changed || len(o.Drift) > 0 {
		t.Errorf("a renewal: %+v", o)
	}
	must(t, os.WriteFile(filepath.Join(dir, "privkey.pem"), []byte("oops"), 0o600))
	if o = one(t, d, to(dir), second); !o.Changed || len(o.Drift) != 1 || o.Drift[0].Kind != store.Edited {
		t.Errorf("edited by hand: %+v", o)
	}
	must(t, os.RemoveAll(dir))
	if o = one(t, d, to(dir), second); !o.Changed || len(o.Drift) == 0 {
		t.Errorf("deleted by hand: %+v", o)
	}
	if _, err := pair.Load(read(t, dir, "fullchain.pem"), read(t, dir, "privkey.pem")); err != nil {
		t.Error(err)
	}
}

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return data
}

func TestDirectoryOfAnotherUser(t *testing.T) {
	uid, gid := os.Geteuid(), os.Getegid()
	if uid == 0 { // only root can give files away
		uid, gid = 4711, 4712
	}
	dir := directory(t)
	want := desired.CertificateSpec{Deliver: []desired.Delivery{{Dir: dir, UID: &uid, GID: &gid, Mode: 0o440}}}
	proved(t, one(t, deliver.New(deliver.Options{}), want, fresh(t)))
	info, err := os.Stat(filepath.Join(dir, "privkey.pem"))
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || int(st.Gid) != gid || info.Mode().Perm() != 0o440 {
		t.Errorf("it is %d:%d %v", st.Uid, st.Gid, info.Mode())
	}
}

func TestDirectoryRefused(t *testing.T) {
	base := t.TempDir()
	make := func(name string, mode os.FileMode) string {
		t.Helper()
		must(t, os.Mkdir(filepath.Join(base, name), 0o700))
		must(t, os.Chmod(filepath.Join(base, name), mode))
		return filepath.Join(base, name)
	}
	link := filepath.Join(base, "link")
	must(t, os.Symlink(make("real", 0o755), link))
	must(t, os.WriteFile(filepath.Join(base, "file"), nil, 0o600))
	cases := map[string]struct{ dir, says string }{
		"nothing above":           {filepath.Join(base, "none", "tls"), filepath.Join(base, "none") + " is missing: make it first"},
		"for all to write":        {make("open", 0o777), "chmod go-w"},
		"below one for all":       {make("shared", 0o777) + "/tls", "chmod go-w"},
		"a link":                  {link, "symbolic link"},
		"below a link":            {link + "/tls", "name the directory itself"},
		"below a file":            {filepath.Join(base, "file", "tls"), "no directory"},
		"relative":                {"tls", "no absolute path"},
		"the root":                {"/", "no absolute path"},
		"a link through the back": {link + "/../tls/../link/tls", "name the directory itself"},
	}
	if os.Geteuid() == 0 {
		theirs := make("theirs", 0o755)
		must(t, os.Chown(theirs, 4711, -1))
		cases["below another user's"] = struct{ dir, says string }{theirs + "/tls", "belongs to user 4711"}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := one(t, deliver.New(deliver.Options{}), to(tc.dir), fresh(t))
			fails(t, o, tc.says, tc.dir)
			if o.Changed {
				t.Error("it changed something")
			}
		})
	}
	if entries, err := os.ReadDir(filepath.Join(base, "real")); err != nil || len(entries) > 0 {
		t.Errorf("written through a link: %v, %v", entries, err)
	}
}

// What could not be written is nothing to reload: the server is only looked at.
func TestNotToldWhatIsNotWritten(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	c := &containers{addrs: []netip.Addr{s.addr()}, signal: func(string) (int, error) { s.serve(live); return 1, nil }}
	d := deliver.New(deliver.Options{Servers: c})
	base := t.TempDir()
	want := to(filepath.Join(base, "none", "tls"))
	want.Reload = []desired.Reloader{{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 200 * time.Millisecond}}
	out := d.Deliver(t.Context(), "acme", want, live)
	fails(t, out[0], "missing")
	fails(t, out[1], "not told to reload", "could not be written")
	must(t, os.Mkdir(filepath.Join(base, "none"), 0o755))
	out = d.Deliver(t.Context(), "acme", want, live)
	proved(t, out[0])
	proved(t, out[1])
	if len(c.told()) != 1 {
		t.Errorf("told %v", c.told())
	}
	// Drift makes it look again, and tells nobody who has the pair.
	must(t, os.Remove(filepath.Join(base, "none", "tls", "privkey.pem")))
	shakes := s.shakes.Load()
	out = d.Deliver(t.Context(), "acme", want, live)
	proved(t, out[1])
	if len(c.told()) != 1 || s.shakes.Load() == shakes {
		t.Errorf("told %v, %d handshakes", c.told(), s.shakes.Load()-shakes)
	}
}

func TestNoSecretInAnyMessage(t *testing.T) {
	live := fresh(t)
	key, err := live.PrivateKey()
	must(t, err)
	want := to(directory(t)+"/none/tls", "p12")
	want.Reload = []desired.Reloader{
		{Caddy: "http://admin:s3cret-pass@127.0.0.1:1/", Prove: "127.0.0.1:1", Within: time.Millisecond},
		{Caddy: "http://127.0.0.1:1/?token=s3cret-pass", Prove: "127.0.0.1:1", Within: time.Millisecond},
	}
	text := fmt.Sprintf("%+v", deliver.New(deliver.Options{}).Deliver(t.Context(), "acme", want, live))
	for _, secret := range []string{"s3cret-pass", strings.Split(string(key), "\n")[1]} {
		if strings.Contains(text, secret) {
			t.Errorf("%s has %s", text, secret)
		}
	}
}

// A PKCS #12 file is one that OpenSSL reads, with chain and key.
func TestKeystoreIsReadByOpenSSL(t *testing.T) {
	dir, live := directory(t), fresh(t)
	proved(t, one(t, deliver.New(deliver.Options{}), to(dir, "p12"), live))
	cmd := exec.CommandContext(t.Context(), "openssl", "pkcs12", "-in", filepath.Join(dir, "keystore.p12"), "-nodes", "-passin", "env:PASS")
	cmd.Env = append(os.Environ(), "PASS=s3cret-pass")
	text, err := cmd.Output()
	must(t, err)
	if n := strings.Count(string(text), "BEGIN CERTIFICATE"); n != 2 || !strings.Contains(string(text), "BEGIN PRIVATE KEY") {
		t.Errorf("it has %d certificates:\n%s", n, text)
	}
}

// Readers that open the files at any moment find all of them, combined.pem
// always with chain and key of one pair.
func TestThousandDeliveriesUnderReaders(t *testing.T) {
	const deliveries = 1000
	dir := inMemory(t)
	ca := newAuthority(t)
	var pairs [8]pair.Pair
	for i := range pairs {
		pairs[i] = ca.pair(t, newKey(t, pair.P256), domain)
	}
	d := deliver.New(deliver.Options{})
	want := to(dir, "combined", "pem")
	proved(t, one(t, d, want, pairs[0]))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	var reads [3]int
	for i := range reads {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(rand.IntN(2000)) * time.Microsecond):
				}
				err := readAll(dir)
				if errors.Is(err, fs.ErrNotExist) {
					// One that is held up within an open, on a machine with too much to
					// do, is two deliveries late here; in life they are hours apart.
					err = readAll(dir)
				}
				if err != nil {
					t.Errorf("read %d: %v", reads[i], err)
					return
				}
				reads[i]++
			}
		})
	}
	for i := range deliveries {
		o := one(t, d, want, pairs[(i+1)%len(pairs)])
		if !o.Target.OK || !o.Changed || len(o.Drift) > 0 {
			t.Errorf("delivery %d: %+v", i, o)
			break
		}
	}
	close(stop)
	readers.Wait()
	t.Logf("%v reads during %d deliveries", reads, deliveries)
	for _, n := range reads {
		if n == 0 {
			t.Error("a reader read nothing")
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 3+1+2 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

// inMemory is a directory whose file system waits for no disk, where there is
// one: a delivery has its data written out eight times.
func inMemory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fairlead")
	if err != nil {
		return directory(t)
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "tls")
}

// readAll reads as a server does. Chain and key that are opened one after the
// other can be of two pairs; each is whole.
func readAll(dir string) error {
	combined, err := os.ReadFile(filepath.Join(dir, "combined.pem"))
	if err != nil {
		return err
	}
	cut := strings.Index(string(combined), "-----BEGIN PRIVATE KEY")
	if cut < 0 {
		return fmt.Errorf("combined.pem has no key in %d bytes", len(combined))
	}
	if _, err := pair.Load(combined[:cut], combined[cut:]); err != nil {
		return fmt.Errorf("combined.pem: %w", err)
	}
	chain, err := os.ReadFile(filepath.Join(dir, "fullchain.pem"))
	if err != nil {
		return err
	}
	if list, err := pair.ParseChain(chain); err != nil || len(list) != 2 {
		return fmt.Errorf("fullchain.pem has %d certificates: %w", len(list), err)
	}
	key, err := os.ReadFile(filepath.Join(dir, "privkey.pem"))
	if err != nil {
		return err
	}
	_, err = pair.ParseKey(key)
	return err
}

// Somebody rewrites a file all the time, and the server reloads nothing: it is
// looked at each time, and told no more often than otherwise.
func TestFightOverAFile(t *testing.T) {
	old, live := fresh(t), fresh(t)
	s := newServer(t, "127.0.0.1:0", old)
	c := &containers{addrs: []netip.Addr{s.addr()}}
	d := deliver.New(deliver.Options{Servers: c})
	want := to(directory(t))
	want.Reload = []desired.Reloader{{Service: "caddy", Signal: "SIGHUP", Prove: s.port(), Within: 50 * time.Millisecond}}
	for range 5 {
		out := d.Deliver(t.Context(), "acme", want, live)
		proved(t, out[0])
		fails(t, out[1], "serves")
		must(t, os.Remove(filepath.Join(want.Deliver[0].Dir, "privkey.pem")))
	}
	if n := len(c.told()); n != 2 {
		t.Errorf("told %d times", n)
	}
	s.serve(live)
	proved(t, d.Deliver(t.Context(), "acme", want, live)[1])
}
