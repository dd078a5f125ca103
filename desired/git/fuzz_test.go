package git

import (
	"bytes"
	"context"
	"crypto/sha1" //nolint:gosec // the format of packs is defined with it
	"os"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]struct {
		scheme scheme
		text   string
	}{
		"https://git.acme.com/fleet.git":      {schemeHTTP, "https://git.acme.com/fleet.git"},
		"https://ann:pw@git.acme.com:8443/f/": {schemeHTTP, "https://git.acme.com:8443/f"},
		"http://127.0.0.1:80/a%20b":           {schemeHTTP, "http://127.0.0.1:80/a%20b"},
		"ssh://git@host/fleet":                {schemeSSH, "ssh://git@host:22/fleet"},
		"ssh://ann@host:2222/~ann/fleet":      {schemeSSH, "ssh://ann@host:2222/~ann/fleet"},
		"ssh://[::1]:22/x":                    {schemeSSH, "ssh://git@[::1]:22/x"},
		"git@github.com:acme/fleet.git":       {schemeSSH, "git@github.com:acme/fleet.git"},
		"host:dir/with:colon":                 {schemeSSH, "git@host:dir/with:colon"},
		"file:///srv/fleet":                   {schemeLocal, "/srv/fleet"},
		"/srv/a:b":                            {schemeLocal, "/srv/a:b"},
		"./a:b":                               {schemeLocal, "./a:b"},
		".":                                   {schemeLocal, "."},
	} {
		a, err := parseAddress(in)
		if err != nil || a.scheme != want.scheme || a.String() != want.text {
			t.Errorf("%s: %v %q, %v", in, a.scheme, a.String(), err)
		}
	}
	for _, in := range []string{"", "git://h/x", "https://", "https://host", "https://host/", "ssh://host", "ssh://a:b@host/x", "file://host/x",
		"-oProxyCommand=x:y", "ssh://-oProxyCommand=x/y", "h:-x", "https://h/x?y", "https://h/x#y", "a\x00b", "@:x", "https://a:s3cret%zz@h/x", "https://a:s3:cret@h:p/x"} {
		if a, err := parseAddress(in); err == nil {
			t.Errorf("%q is %v", in, a)
		} else if strings.Contains(err.Error(), "cret") {
			t.Errorf("%q: the error shows the password: %v", in, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"https://u:p@h:1/x", "git@h:x", "ssh://h/~a", "file:///x", "a/b:c", "://", "https://[::1]/x", "h:", "https://u:p:q@h/%zz"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseAddress(s)
		if err != nil {
			if _, after, ok := strings.Cut(s, "://u:zecret"); ok && strings.Contains(after, "@") && strings.Contains(err.Error(), "zecret") {
				t.Fatalf("the error shows the password: %v", err)
			}
			return
		}
		if a.pass != "" && len(a.pass) > 8 && !strings.Contains(a.url.Host+a.url.Path, a.pass) && strings.Contains(a.String(), a.pass) {
			t.Fatalf("%q shows the password", a.String())
		}
		if a.scheme != schemeLocal {
			b, err := parseAddress(a.String())
			if err != nil || b.String() != a.String() || b.scheme != a.scheme {
				t.Fatalf("%q reads back as %q, %v", a.String(), b.String(), err)
			}
		}
	})
}

// TestCheckRefAgreesWithGit: nothing passes that git would refuse.
func TestCheckRefAgreesWithGit(t *testing.T) {
	dir := t.TempDir()
	for _, ref := range []string{"main", "a/b/c", "v1.0", "feature/x@y", "ünï", "a.b", "-x", "a..b", "a b", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b",
		"a\\b", "a/", "/a", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "a.", "@", "a@{b", "a\x7f", "a\tb", "x@", "HEAD", "refs/heads/x"} {
		mine := checkRef(ref) == nil
		theirs := gitCommand(t.Context(), dir, "check-ref-format", "--branch", ref).Run() == nil
		switch ref {
		case "HEAD": // git refuses it as a branch; here it is what HEAD is
			theirs = true
		case "@": // git takes it for HEAD
			theirs = false
		}
		if mine != theirs {
			t.Errorf("%q: here %v, git %v", ref, mine, theirs)
		}
	}
}

func FuzzRefs(f *testing.F) {
	for _, s := range []string{"main", "a/b", "../x", "a..b", "refs/heads/x", "deadbee", "@{-1}", "a\nb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, ref string) {
		table := refTable{head: "refs/heads/main"}
		_, _, _ = table.pick(ref)
		_ = table.near(ref)
		if checkRef(ref) != nil {
			return
		}
		for _, name := range refCandidates(ref) {
			if joined := path.Join("/m", name); ref != "" && !strings.HasPrefix(joined, "/m/refs/") {
				t.Fatalf("%q leads to %q", ref, joined)
			}
		}
	})
}

// FuzzServer gives what a server sends to all that reads it.
func FuzzServer(f *testing.F) {
	f.Add([]byte("001e# service=git-upload-pack\n0000004895dcfa3633004da0049d3d0fa03f80589cbcaf31 refs/heads/main\x00symref=HEAD:x\n0000"))
	f.Add([]byte("0008NAK\n0016\x01PACK\x00\x00\x00\x02\x00\x00\x00\x030000"))
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01\x95\x0ax\x9c"))
	f.Add([]byte("0034shallow 95dcfa3633004da0049d3d0fa03f80589cbcaf3100000008NAK\n"))
	f.Add([]byte("000eunpack ok\n0019ok refs/heads/main\n0000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if ar, err := readRefs(bytes.NewReader(b), uploadPack); err == nil {
			_, _, _ = advertised(ar).pick("main")
			_, _, _ = advertised(ar).pick("")
		}
		_ = readReport(bytes.NewReader(b), "refs/heads/main")
		_ = savePack(bytes.NewReader(sealed(b)), t.TempDir())
		w := newWatch(context.Background(), time.Minute, time.Minute)
		defer w.stop()
		ar := packp.NewAdvRefs()
		_ = ar.Capabilities.Decode([]byte("shallow side-band-64k ofs-delta"))
		if _, pack, err := fetchPack(w, canned(b), fetchRequest(ar, allTips(ar), nil, nil, 1)); err == nil {
			_ = savePack(pack, t.TempDir())
			pack.Close()
		}
	})
}

// sealed adds the checksum without which nothing of a pack is looked at.
func sealed(b []byte) []byte {
	sum := sha1.Sum(b) //nolint:gosec // the format of packs is defined with it
	return append(bytes.Clone(b), sum[:]...)
}

// FuzzDisk gives garbage to all that reads a repository's files.
func FuzzDisk(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00"), []byte("ref: refs/heads/main\n"))
	f.Add([]byte("gitdir: ../x"), []byte("[core]\n\tbare = true\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		dir := t.TempDir()
		m := newMirror(dir, "u", "r")
		for name, content := range map[string][]byte{"HEAD": b, "index": a, "config": b, "shallow": a, markerFile: nil, "FOLLOWED": a, "objects": a, "packed-refs": a} {
			if err := os.WriteFile(path.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = m.readHead()
		_ = m.shallows()
		_ = m.load(func() *store { return nil }, nil)
		g, _ := checkGitDir(gitDir{dir: dir, common: dir, work: dir})
		_, _, _ = readIndex(g)
		st := newStore(g.fs(), func() *store { return nil }, nil)
		_, _ = localTarget(st, g, "main")
		_ = verifyFile(path.Join(dir, "index"))
	})
}
