package git

import (
	"context"
	"crypto/ed25519"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gitCommand runs the git program apart from the configuration of this machine.
func gitCommand(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com",
		"GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com",
	}
	return cmd
}

func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	out, err := gitCommand(t.Context(), dir, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// work is a repository with a work tree and one commit.
func newWork(t testing.TB, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	if len(files) == 0 {
		files = []string{"instances/acme/compose.yaml", "services: {}\n"}
	}
	commit(t, dir, "Begin", files...)
	return dir
}

// commit writes files (name, content, …) and commits everything.
func commit(t testing.TB, dir, message string, files ...string) string {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", message)
	return git(t, dir, "rev-parse", "HEAD")
}

func write(t testing.TB, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// remote is a bare repository behind a server, and a clone to push from.
type remote struct {
	root, bare, work string
}

func newRemote(t testing.TB, files ...string) *remote {
	t.Helper()
	r := &remote{root: t.TempDir(), work: newWork(t, files...)}
	r.bare = filepath.Join(r.root, "fleet.git")
	git(t, r.root, "init", "-q", "--bare", "-b", "main", r.bare)
	git(t, r.bare, "config", "http.receivepack", "true")
	git(t, r.work, "remote", "add", "origin", r.bare)
	git(t, r.work, "push", "-q", "origin", "main")
	return r
}

func (r *remote) commit(t testing.TB, message string, files ...string) string {
	t.Helper()
	h := commit(t, r.work, message, files...)
	git(t, r.work, "push", "-q", "-f", "origin", "HEAD")
	return h
}

type httpServer struct {
	*httptest.Server
	requests atomic.Int64
	password atomic.Value // "" lets anybody in
	before   func(http.ResponseWriter, *http.Request) bool
}

// serve is a git server: git http-backend as a CGI program behind net/http.
func (r *remote) serve(t testing.TB, tls bool) *httpServer {
	t.Helper()
	s := &httpServer{}
	s.password.Store("")
	backend := &cgi.Handler{
		Path: strings.TrimSpace(git(t, r.root, "--exec-path")) + "/git-http-backend",
		Env: []string{"GIT_PROJECT_ROOT=" + r.root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_CONFIG_NOSYSTEM=1", "HOME=/nonexistent", "REMOTE_USER=ann"},
		Stderr: io.Discard,
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		s.requests.Add(1)
		if s.before != nil && s.before(w, req) {
			return
		}
		if want := s.password.Load().(string); want != "" {
			if _, got, _ := req.BasicAuth(); got != want {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		backend.ServeHTTP(w, req)
	})
	if tls {
		s.Server = httptest.NewTLSServer(handler)
	} else {
		s.Server = httptest.NewServer(handler)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *httpServer) repo() string { return s.URL + "/fleet.git" }

func (s *httpServer) caFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	return file
}

type sshServer struct {
	addr, keyFile, known string
	conns                sync.WaitGroup
}

// serveSSH is an ssh server that runs git-upload-pack and git-receive-pack for one key.
func (r *remote) serveSSH(t testing.TB) *sshServer {
	t.Helper()
	host, _ := newKey(t)
	mine, keyFile := newKey(t)
	s := &sshServer{keyFile: keyFile, known: filepath.Join(t.TempDir(), "known_hosts")}
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(mine.PublicKey().Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l := listen(t)
	s.addr = l.Addr().String()
	write(t, s.known, knownhosts.Line([]string{s.addr}, host.PublicKey())+"\n")
	s.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns.Go(func() { serveSSHConn(c, config, r.root) })
		}
	})
	t.Cleanup(func() { l.Close(); s.conns.Wait() })
	return s
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func newKey(t testing.TB) (ssh.Signer, string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key")
	write(t, file, string(pem.EncodeToMemory(block)))
	return signer, file
}

func serveSSHConn(c net.Conn, config *ssh.ServerConfig, root string) {
	defer c.Close()
	conn, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, creqs, err := nc.Accept()
		if err != nil {
			return
		}
		for req := range creqs {
			_ = req.Reply(req.Type == "exec", nil)
			if req.Type == "exec" {
				runSSH(ch, string(req.Payload[4:]), root)
				ch.Close()
			}
		}
	}
	conn.Close()
}

func runSSH(ch ssh.Channel, command, root string) {
	service, path, _ := strings.Cut(command, " ")
	path = strings.Trim(path, "'")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := gitCommand(ctx, root, strings.TrimPrefix(service, "git-"), filepath.Join(root, path))
	cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil {
		return
	}
	go func() { _, _ = io.Copy(in, ch); in.Close() }()
	code := 0
	if cmd.Run() != nil {
		code = 128
	}
	_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{uint32(code)}))
}

func (s *sshServer) repo() string { return "ssh://git@" + s.addr + "/fleet.git" }

func (s *sshServer) options(t testing.TB) Options {
	return Options{Repo: s.repo(), Mirror: filepath.Join(t.TempDir(), "repo"),
		Auth: Auth{SSHKeyFile: s.keyFile, KnownHostsFile: s.known}}
}

// open gives a Repo that is closed with the test.
func open(t testing.TB, opt Options) *Repo {
	t.Helper()
	if opt.Mirror == "" {
		opt.Mirror = filepath.Join(t.TempDir(), "repo")
	}
	r := Open(opt)
	t.Cleanup(func() { r.Close() })
	return r
}

func sync1(t testing.TB, r *Repo) {
	t.Helper()
	if err := r.Sync(t.Context()); err != nil {
		t.Fatalf("sync: %v", err)
	}
}

func wantCommit(t testing.TB, r *Repo, commit string) {
	t.Helper()
	s, err := r.Latest(t.Context())
	if err != nil {
		t.Fatalf("latest: %v", err)
	}
	if s.Commit != commit {
		t.Fatalf("latest is %s, want %s", s.Commit, commit)
	}
}

func wantFile(t testing.TB, r *Repo, name, content string) {
	t.Helper()
	s, err := r.Latest(t.Context())
	if err != nil {
		t.Fatalf("latest: %v", err)
	}
	b, err := fs.ReadFile(s.Tree, name)
	if err != nil || string(b) != content {
		t.Fatalf("%s = %q, %v; want %q", name, b, err, content)
	}
}

// wantError checks kind and that the text holds every part.
func wantError(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Fatalf("error is %v, want %v", err, kind)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Fatalf("error %q does not say %q", err, p)
		}
	}
}

// await waits for hints until ok.
func await(t testing.TB, ch <-chan struct{}, limit time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	begin := time.Now()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for !ok() {
		select {
		case <-ch:
		case <-deadline.C:
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
	return time.Since(begin)
}

// running starts Run and stops it with the test.
func running(t testing.TB, r *Repo) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

func commitIs(r *Repo, commit string) func() bool {
	return func() bool { return r.Status().Commit == commit }
}

func number(prefix string, i int) string { return fmt.Sprintf("%s%d", prefix, i) }
