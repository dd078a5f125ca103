package git

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"
)

func TestSSH(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serveSSH(t)
	r := open(t, srv.options(t))
	sync1(t, r)
	sync1(t, r)
	old := r.Status().Commit
	h := rem.commit(t, "Two", "a", "2")
	sync1(t, r)
	wantCommit(t, r, h)
	wantFile(t, r, "a", "2")
	git(t, r.opt.Mirror, "fsck", "--full")

	opt := srv.options(t)
	opt.Ref = old[:9] // in no ref: all history is fetched
	pinned := open(t, opt)
	sync1(t, pinned)
	wantCommit(t, pinned, old)

	opt = srv.options(t)
	opt.Push = true
	pusher := open(t, opt)
	sync1(t, pusher)
	rev, err := pusher.Commit(t.Context(), CommitRequest{Files: map[string][]byte{"b": []byte("pushed\n")}, Message: "By ssh"})
	if err != nil {
		t.Fatal(err)
	}
	if got := git(t, rem.bare, "rev-parse", "main"); got != rev.Commit {
		t.Fatalf("the remote is at %s, want %s", got, rev.Commit)
	}
}

func TestSSHErrorsSayWhatToDo(t *testing.T) {
	rem := newRemote(t)
	srv := rem.serveSSH(t)
	stranger, strangerFile := newKey(t)
	locked := filepath.Join(t.TempDir(), "locked")
	write(t, locked, lockedKey)
	empty, wrong := filepath.Join(t.TempDir(), "empty"), filepath.Join(t.TempDir(), "wrong")
	write(t, empty, "")
	write(t, wrong, knownhosts.Line([]string{srv.addr}, stranger.PublicKey())+"\n")
	for name, c := range map[string]struct {
		change func(*Options)
		kind   error
		parts  []string
	}{
		"no known hosts":   {func(o *Options) { o.Auth.KnownHostsFile = "" }, ErrHostKey, []string{"knownHostsFile", "ssh-keyscan -p"}},
		"file missing":     {func(o *Options) { o.Auth.KnownHostsFile = "/nonexistent" }, ErrHostKey, []string{"/nonexistent"}},
		"unknown host":     {func(o *Options) { o.Auth.KnownHostsFile = empty }, ErrHostKey, []string{"is not in", "SHA256:", "ssh-keyscan"}},
		"other host key":   {func(o *Options) { o.Auth.KnownHostsFile = wrong }, ErrHostKey, []string{"line 1", "in between"}},
		"no key":           {func(o *Options) { o.Auth.SSHKeyFile = "" }, nil, []string{"sshKeyFile", "ssh-keygen"}},
		"key missing":      {func(o *Options) { o.Auth.SSHKeyFile = "/nonexistent" }, os.ErrNotExist, []string{"sshKeyFile"}},
		"not a key":        {func(o *Options) { o.Auth.SSHKeyFile = empty }, nil, []string{"not a private key"}},
		"key with a lock":  {func(o *Options) { o.Auth.SSHKeyFile = locked }, nil, []string{"passphrase"}},
		"key not accepted": {func(o *Options) { o.Auth.SSHKeyFile = strangerFile }, ErrAuth, []string{"public half", `"git"`}},
		"no repository": {func(o *Options) { o.Repo = strings.Replace(o.Repo, "fleet", "nothing", 1) }, ErrNotFound,
			[]string{"does not appear to be a git repository"}},
	} {
		t.Run(name, func(t *testing.T) {
			opt := srv.options(t)
			c.change(&opt)
			wantError(t, open(t, opt).Sync(t.Context()), c.kind, c.parts...)
		})
	}
	opt := srv.options(t)
	l := listen(t)
	l.Close()
	opt.Repo = "ssh://git@" + l.Addr().String() + "/x"
	wantError(t, open(t, opt).Sync(t.Context()), nil, "refused")
}

// TestSSHSilentServer: a server that accepts and says nothing must not hold
// anything up, whether the caller gives up or the deadline passes.
func TestSSHSilentServer(t *testing.T) {
	srv := newRemote(t).serveSSH(t)
	l := listen(t)
	defer l.Close()
	accepted := make(chan net.Conn, 8)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(accepted)
				return
			}
			accepted <- c
		}
	}()
	opt := srv.options(t)
	opt.Repo = "ssh://git@" + l.Addr().String() + "/x"
	opt.Idle = 150 * time.Millisecond
	begin := time.Now()
	wantError(t, open(t, opt).Sync(t.Context()), ErrStalled)
	opt.Idle = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
	defer cancel()
	if err := open(t, opt).Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller that gives up gets %v", err)
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("it took %s", d)
	}
	l.Close()
	for c := range accepted {
		c.Close()
	}
}

func TestSSHQuote(t *testing.T) {
	if got, want := quote("a'b c"), `'a'\''b c'`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// lockedKey has a passphrase; nothing accepts it.
const lockedKey = `-----BEGIN OPENSSH PRIVATE KEY-----
b3BlbnNzaC1rZXktdjEAAAAACmFlczI1Ni1jdHIAAAAGYmNyeXB0AAAAGAAAABAD1SX/F3
9EQZxF877y5ABZAAAAEAAAAAEAAAAzAAAAC3NzaC1lZDI1NTE5AAAAIMBkkL16lJnYfATH
65qEf4ySqyn7jHFJ5/EXRoTIF4zUAAAAkPg3HCSJUr9bvj8X8qzJnHStxx8QA2ZvAcR1js
0xDgslV0dxUdP71wot45k+JcgvmdF/y7Vqglja4ANMYB5ToSvOdJyy5T3iD975RaF9Iz+a
ZsrxU2I/2E7Yra91q9VTlyU02aYJ09jLYg26ctjrBpKuPGk4aYThjH7rRvc8cKt/fkXTo5
0akfzIB1i1bOZNMA==
-----END OPENSSH PRIVATE KEY-----
`
