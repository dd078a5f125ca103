package deliver_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
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
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
)

// The servers in this file are real ones, as somebody runs them before or
// instead of the front. scripts/caddy.sh builds the one, the distribution has
// the others.

// log is what a program writes.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// program is a running process.
type program struct {
	*os.Process
	log *log
}

func start(t testing.TB, file string, args ...string) *program {
	t.Helper()
	home := t.TempDir()
	cmd := exec.Command(file, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home}
	p := &program{log: &log{}}
	cmd.Stdout, cmd.Stderr, cmd.Dir = p.log, p.log, home
	cmd.WaitDelay = 5 * time.Second
	must(t, cmd.Start())
	p.Process = cmd.Process
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		_ = cmd.Wait() // by a signal
		if t.Failed() {
			text := p.log.String()
			t.Logf("%s wrote: %s", filepath.Base(file), text[max(0, len(text)-4000):])
		}
	})
	return p
}

// containers is the process as if it were a container.
func (p *program) containers() *containers {
	return &containers{addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, signal: func(name string) (int, error) {
		s, known := map[string]syscall.Signal{"SIGHUP": syscall.SIGHUP, "SIGUSR1": syscall.SIGUSR1, "SIGUSR2": syscall.SIGUSR2}[name]
		if !known {
			return 0, fmt.Errorf("no signal %s", name)
		}
		return 1, p.Signal(s)
	}}
}

func installed(t testing.TB, name string) string {
	t.Helper()
	for _, file := range []string{name, "/usr/sbin/" + name} {
		if found, err := exec.LookPath(file); err == nil {
			return found
		}
	}
	t.Fatalf("%s is missing: run 'make test', which installs it", name)
	return ""
}

func caddy(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("FAIRLEAD_CADDY"); named != "" {
		return named
	}
	cache, err := os.UserCacheDir()
	must(t, err)
	file := filepath.Join(cache, "fairlead", "caddy-v2.11.9")
	if _, err := os.Stat(file); err != nil {
		t.Fatalf("%v: run scripts/caddy.sh", err)
	}
	return file
}

// stage is a directory that is delivered to, and the ports of its server.
type stage struct {
	dir, https, admin string
	first             pair.Pair
}

func newStage(t testing.TB, formats ...string) stage {
	t.Helper()
	s := stage{dir: directory(t), https: ":" + ports.Test(t), admin: ":" + ports.Test(t), first: fresh(t)}
	proved(t, one(t, deliver.New(deliver.Options{}), to(s.dir, formats...), s.first))
	return s
}

// file writes a configuration with what is in it replaced.
func (s stage) file(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config")
	text = strings.NewReplacer("DIR", s.dir, ":HTTPS", s.https, ":ADMIN", s.admin, "TMP", filepath.Dir(name)).Replace(text)
	must(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// up waits until the first pair is served.
func (s stage) up(t testing.TB) {
	t.Helper()
	var o deliver.Outcome
	for range 4 { // more than 30 s are not waited for at once
		if o = one(t, deliver.New(deliver.Options{}), spec(desired.Reloader{Prove: "127.0.0.1" + s.https, Within: 30 * time.Second}), s.first); o.Target.OK {
			return
		}
	}
	proved(t, o)
}

// deliver brings a pair to the directory and the server, and returns what came
// of the server.
func (s stage) deliver(t testing.TB, d *deliver.Deliverer, r desired.Reloader, p pair.Pair, formats ...string) deliver.Outcome {
	t.Helper()
	want := to(s.dir, formats...)
	want.Reload = []desired.Reloader{r}
	out := d.Deliver(t.Context(), "acme", want, p)
	proved(t, out[0])
	return out[1]
}

const caddyfile = `{
	admin 127.0.0.1:ADMIN
	auto_https disable_redirects
	persist_config off
}
https://data.acme.com:HTTPS {
	bind 127.0.0.1
	tls DIR/fullchain.pem DIR/privkey.pem
	respond "here"
}
`

func startCaddy(t testing.TB, s stage) *program {
	t.Helper()
	p := start(t, caddy(t), "run", "--config", s.file(t, caddyfile), "--adapter", "caddyfile")
	s.up(t)
	return p
}

func TestCaddyBySignal(t *testing.T) {
	s := newStage(t)
	c := startCaddy(t, s).containers()
	d := deliver.New(deliver.Options{Servers: c})
	r := desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Prove: s.https, Within: 30 * time.Second}
	for range 3 {
		o := s.deliver(t, d, r, fresh(t))
		proved(t, o)
		if !o.Changed {
			t.Error("it was not told")
		}
	}
	if n := len(c.told()); n != 3 {
		t.Errorf("told %d times", n)
	}
}

// A Caddy that was changed through its admin API ignores SIGUSR1 from then on,
// as versions before 2.11 always do.
func TestCaddyThatIgnoresTheSignal(t *testing.T) {
	s := newStage(t)
	p := startCaddy(t, s)
	byAdmin := desired.Reloader{Caddy: "127.0.0.1" + s.admin, Prove: "127.0.0.1" + s.https, Within: 30 * time.Second}
	second, third := fresh(t), fresh(t)
	proved(t, s.deliver(t, deliver.New(deliver.Options{}), byAdmin, second))
	d := deliver.New(deliver.Options{Servers: p.containers()})
	r := desired.Reloader{Service: "caddy", Signal: "SIGUSR1", Prove: s.https, Within: time.Second}
	fails(t, s.deliver(t, d, r, third), "serves "+pair.Fingerprint(second.Leaf())[:23], "2.11", "admin API")
	for end := time.Now().Add(time.Minute); !strings.Contains(p.log.String(), "ignored SIGUSR1"); {
		if time.Now().After(end) {
			t.Fatal("Caddy does not say that it ignored the signal")
		}
	}
	proved(t, s.deliver(t, deliver.New(deliver.Options{}), byAdmin, third))
}

// A request that is being answered while Caddy reloads gets its answer, and what
// is configured stays as it was.
func TestCaddyByAdminAPI(t *testing.T) {
	s := newStage(t)
	arrived, release := make(chan bool, 1), make(chan bool)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-release
		_, _ = io.WriteString(w, "here") // the client tells
	}))
	defer backend.Close()
	start(t, caddy(t), "run", "--config", s.file(t, strings.Replace(caddyfile, `respond "here"`, "reverse_proxy "+backend.Listener.Addr().String(), 1)), "--adapter", "caddyfile")
	s.up(t)
	before := config(t, s)
	client := &http.Client{Timeout: 50 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{ServerName: domain, InsecureSkipVerify: true}}}
	answer := make(chan string, 1)
	go func() {
		resp, err := client.Do(&http.Request{Method: http.MethodGet, Host: domain, URL: &url.URL{Scheme: "https", Host: "127.0.0.1" + s.https}})
		if err != nil {
			answer <- err.Error()
			return
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close() // it was read whole
		answer <- fmt.Sprintf("%d %s %v", resp.StatusCode, text, err)
	}()
	<-arrived
	d := deliver.New(deliver.Options{})
	for _, address := range []string{"http://127.0.0.1", "localhost"} {
		o := s.deliver(t, d, desired.Reloader{Caddy: address + s.admin, Prove: "127.0.0.1" + s.https, Within: 30 * time.Second}, fresh(t))
		proved(t, o)
		if !o.Changed {
			t.Error("it was not told")
		}
	}
	close(release)
	if got := <-answer; got != "200 here <nil>" {
		t.Errorf("the request on its way got %s", got)
	}
	if after := config(t, s); after != before {
		t.Errorf("its configuration is\n%s\nand was\n%s", after, before)
	}
}

func config(t testing.TB, s stage) string {
	t.Helper()
	resp, err := http.Get("http://127.0.0.1" + s.admin + "/config/")
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(text)
}

// What Caddy has against its own configuration is passed on.
func TestCaddyRefuses(t *testing.T) {
	s := newStage(t)
	startCaddy(t, s)
	r := desired.Reloader{Caddy: "127.0.0.1" + s.admin, Prove: "127.0.0.1" + s.https, Within: 30 * time.Second}
	must(t, os.Rename(s.dir, s.dir+"-gone"))
	want := spec(r)
	began := time.Now()
	fails(t, one(t, deliver.New(deliver.Options{}), want, fresh(t)), "reload Caddy through 127.0.0.1"+s.admin, "fullchain.pem: no such file", "serves")
	if took := time.Since(began); took > 25*time.Second {
		t.Errorf("it took %s although Caddy said no at once", took)
	}
}

func TestNginx(t *testing.T) {
	s := newStage(t)
	p := start(t, installed(t, "nginx"), "-p", t.TempDir(), "-c", s.file(t, `
daemon off;
pid TMP/pid;
error_log stderr notice;
worker_processes 2;
events {}
http {
	access_log off;
	client_body_temp_path TMP/b; proxy_temp_path TMP/p; fastcgi_temp_path TMP/f; uwsgi_temp_path TMP/u; scgi_temp_path TMP/s;
	server {
		listen 127.0.0.1:HTTPS ssl;
		ssl_certificate DIR/fullchain.pem;
		ssl_certificate_key DIR/privkey.pem;
	}
}
`))
	s.up(t)
	d := deliver.New(deliver.Options{Servers: p.containers()})
	for range 3 {
		proved(t, s.deliver(t, d, desired.Reloader{Service: "web", Signal: "SIGHUP", Prove: s.https, Within: 30 * time.Second}, fresh(t)))
	}
}

// HAProxy reads chain and key from one file. Its master starts workers anew.
func TestHAProxy(t *testing.T) {
	s := newStage(t, "combined")
	p := start(t, installed(t, "haproxy"), "-W", "-f", s.file(t, `
defaults
	mode http
	timeout client 5s
	timeout server 5s
	timeout connect 5s
frontend tls
	bind 127.0.0.1:HTTPS ssl crt DIR/combined.pem
	http-request return status 200
`))
	s.up(t)
	d := deliver.New(deliver.Options{Servers: p.containers()})
	for range 3 {
		proved(t, s.deliver(t, d, desired.Reloader{Service: "lb", Signal: "SIGUSR2", Prove: s.https, Within: 30 * time.Second}, fresh(t), "combined"))
	}
}
