package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"

	requests "github.com/fairlead/fairlead/examples/load"
)

func TestSocketNames(t *testing.T) {
	for _, tt := range []struct {
		pid, fds, names string
		want            []string
		wrong           string
	}{
		{"", "", "", nil, ""},
		{"", "2", "http:https", nil, ""},
		{"7", "", "", nil, ""},
		{"7", "0", "", nil, ""},
		{"8", "2", "http:https", nil, ""},
		{"8", "many", "", nil, ""},
		{"7", "2", "https:http", []string{"https", "http"}, ""},
		{"7", "1", "http", []string{"http"}, ""},
		{"7", "3", "http:https:http", []string{"http", "https", "http"}, ""},
		{"me", "1", "http", nil, "LISTEN_PID"},
		{"-7", "1", "http", nil, "LISTEN_PID"},
		{"7 ", "1", "http", nil, "LISTEN_PID"},
		{"7", "-1", "http", nil, "LISTEN_FDS"},
		{"7", "+1", "http", nil, "LISTEN_FDS"},
		{"7", "65", strings.Repeat("http:", 64) + "http", nil, "LISTEN_FDS"},
		{"7", "99999999999999999999", "http", nil, "LISTEN_FDS"},
		{"7", "1", "", nil, "FileDescriptorName="},
		{"7", "2", "http", nil, "2 sockets have 1 names"},
		{"7", "1", "http:https", nil, "1 sockets have 2 names"},
		{"7", "1", "unknown", nil, `"unknown": FileDescriptorName= is one of http, https`},
		{"7", "1", "fairlead.socket", nil, "fairlead.socket"},
	} {
		env := map[string]string{"LISTEN_PID": tt.pid, "LISTEN_FDS": tt.fds, "LISTEN_FDNAMES": tt.names}
		got, err := socketNames(func(name string) string { return env[name] }, 7)
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%v: %v, %v; want %v, %q", env, got, err, tt.want, tt.wrong)
		}
	}
}

func FuzzSocketNames(f *testing.F) {
	f.Add("7", "2", "http:https")
	f.Add("7", "1", "unknown")
	f.Add("8", "1", "http")
	f.Add("7", "0x1", ":")
	f.Fuzz(func(t *testing.T, pid, fds, names string) {
		env := map[string]string{"LISTEN_PID": pid, "LISTEN_FDS": fds, "LISTEN_FDNAMES": names}
		got, err := socketNames(func(name string) string { return env[name] }, 7)
		if err != nil && got != nil || len(got) > maxSockets {
			t.Errorf("%v with %v", got, err)
		}
		if len(got) > 0 && (strings.Join(got, ":") != names || len(got) != atoi(fds)) {
			t.Errorf("%q of %s are read as %v", names, fds, got)
		}
	})
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return -1
	}
	return n
}

// descriptor copies one, as a parent passes it on.
func descriptor(t *testing.T, of interface{ File() (*os.File, error) }) int {
	t.Helper()
	f, err := of.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestOnlyListeningPortsAreAdopted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	local, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	null, err := syscall.Dup(int(plain.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		fd    int
		wrong string
	}{
		{"port", descriptor(t, l.(*net.TCPListener)), ""},
		{"connection", descriptor(t, conn.(*net.TCPConn)), "does not listen"},
		{"datagrams", descriptor(t, datagrams.(*net.UDPConn)), "does not listen"},
		{"local socket", descriptor(t, local.(*net.UnixListener)), "not on a port"},
		{"file", null, "not a socket"},
		{"nothing", 1 << 20, "not a socket"},
	} {
		got, err := adopt(tt.fd, tt.name)
		if (err == nil) != (tt.wrong == "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if syscall.Fstat(tt.fd, new(syscall.Stat_t)) == nil {
			t.Errorf("%s: descriptor %d is left open", tt.name, tt.fd)
		}
		if got != nil && (got.Addr().String() != l.Addr().String() || got.Close() != nil) {
			t.Errorf("%s: it listens on %s", tt.name, got.Addr())
		}
	}
}

func TestSocketsThatNobodyTookAreClosed(t *testing.T) {
	one, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := sockets{socketHTTP: {one}}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	if _, err := one.Accept(); !errors.Is(err, net.ErrClosed) || len(s) > 0 {
		t.Errorf("it is open: %v, %v", err, s)
	}
}

// inheriting makes the test below be the daemon of the one after it.
const inheriting = "FAIRLEAD_TEST_INHERITING"

// TestServeInheritedSockets is a process of its own: it serves on what is
// passed to it until SIGTERM.
func TestServeInheritedSockets(t *testing.T) {
	if os.Getenv(inheriting) == "" {
		return
	}
	s, err := inheritSockets(os.Getenv, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	child, err := exec.Command("sh", "-c", `echo "[$LISTEN_FDS$LISTEN_PID$LISTEN_FDNAMES]"; ls -l /proc/self/fd`).Output()
	if err != nil || !strings.HasPrefix(string(child), "[]\n") || strings.Contains(string(child), "socket:") {
		t.Fatalf("a process that this one starts has: %v\n%s", err, child)
	}
	ctx, stop := signal.NotifyContext(t.Context(), syscall.SIGTERM)
	defer stop()
	var group errgroup.Group
	for _, name := range []string{socketHTTP, socketHTTPS} {
		if len(s[name]) != 1 {
			t.Fatalf("passed on are %v", s)
		}
		group.Go(func() error { return serveEach(ctx, s[name][0], name+" "+strconv.Itoa(os.Getpid())) })
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

// serveEach answers one request of each connection. Once ctx has ended it
// accepts no more and returns when those that it accepted are answered:
// Shutdown of http.Server would close what it has not read from yet.
func serveEach(ctx context.Context, l net.Listener, answer string) error {
	var open sync.WaitGroup
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, answer) // the client counts what is missing
		}),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				open.Add(1)
			case http.StateClosed:
				open.Done()
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, net.ErrClosed) {
		return err
	}
	open.Wait()
	return nil
}

// passer starts processes that inherit its sockets, as systemd does.
type passer struct {
	t     *testing.T
	files []*os.File
	names string
}

func (p *passer) listen(name string) string {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err := errors.Join(err, l.Close()); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = f.Close() })
	p.files = append(p.files, f)
	p.names = strings.TrimPrefix(p.names+":"+name, ":")
	return l.Addr().String()
}

// start runs a program whose LISTEN_PID is its own.
func (p *passer) start(env []string, argv ...string) *exec.Cmd {
	p.t.Helper()
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, argv...)...)
	cmd.Env = append(append(os.Environ(), env...), "LISTEN_FDS="+strconv.Itoa(len(p.files)), "LISTEN_FDNAMES="+p.names)
	cmd.ExtraFiles = p.files
	cmd.Stdout, cmd.Stderr = io.Discard, &testLog{p.t}
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd
}

// testLog shows what a child complains of.
type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) { l.t.Logf("child: %s", p); return len(p), nil }

// answers tells when a process other than the last one answers.
type answers struct {
	mu   sync.Mutex
	from map[string]chan struct{} // by what is answered
}

func (a *answers) of(answer string) chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.from[answer] == nil {
		a.from[answer] = make(chan struct{})
	}
	return a.from[answer]
}

func (a *answers) check(_ int, _ http.Header, body []byte) error {
	ch := a.of(string(body))
	a.mu.Lock()
	defer a.mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
	return nil
}

func TestNothingIsRefusedWhileTheDaemonRestarts(t *testing.T) {
	p, seen := &passer{t: t}, &answers{from: map[string]chan struct{}{}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*limit)
	defer cancel()
	runs := map[string]*requests.Run{}
	for _, name := range []string{socketHTTP, socketHTTPS} {
		r, err := requests.Start(ctx, requests.Options{URL: "http://" + p.listen(name), Rate: 20, Anew: true, Check: seen.check})
		if err != nil {
			t.Fatal(err)
		}
		runs[name] = r
	}
	answered := func(cmd *exec.Cmd) {
		t.Helper()
		for name := range runs {
			select {
			case <-seen.of(name + " " + strconv.Itoa(cmd.Process.Pid)):
			case <-ctx.Done():
				t.Fatalf("process %d never answers on %s", cmd.Process.Pid, name)
			}
		}
	}
	for range 3 {
		cmd := p.start([]string{inheriting + "=1"}, os.Args[0], "-test.run=^TestServeInheritedSockets$")
		answered(cmd)
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	last := p.start([]string{inheriting + "=1"}, os.Args[0], "-test.run=^TestServeInheritedSockets$")
	answered(last) // one that has not begun to wait for its signal yet would be ended by it
	for name, r := range runs {
		got := r.Stop()
		if got.Failed != 0 || got.Gone != 0 || got.OK == 0 {
			t.Errorf("%s: %s", name, got)
		}
		t.Logf("%s: %s", name, got)
	}
	if err := errors.Join(last.Process.Signal(syscall.SIGTERM), last.Wait()); err != nil {
		t.Error(err)
	}
	if ctx.Err() != nil {
		t.Errorf("it took longer than %s", 3*limit)
	}
}

// TestSocketUnitsNameWhatIsKnown keeps the units and this package together.
func TestSocketUnitsNameWhatIsKnown(t *testing.T) {
	for name, port := range map[string]string{socketHTTP: "80", socketHTTPS: "443"} {
		data, err := os.ReadFile("../../scripts/fairlead-" + name + ".socket")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{"ListenStream=" + port, "FileDescriptorName=" + name, "Service=fairlead.service", "Accept=no"} {
			if !strings.Contains(string(data), "\n"+line+"\n") {
				t.Errorf("the unit of %s has no line %s", name, line)
			}
		}
	}
}

// TestServiceUnitLeavesLandlock holds that the filter of the unit permits what the
// children of the daemon are confined by: @system-service has none of it, and
// they would run free with no more than a line in the log.
func TestServiceUnitLeavesLandlock(t *testing.T) {
	data, err := os.ReadFile("../../scripts/fairlead.service")
	if err != nil {
		t.Fatal(err)
	}
	var permitted []string
	for line := range strings.Lines(string(data)) {
		if calls, found := strings.CutPrefix(strings.TrimSpace(line), "SystemCallFilter="); found {
			permitted = append(permitted, strings.Fields(calls)...)
		}
	}
	for _, call := range []string{"@system-service", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} {
		if !slices.Contains(permitted, call) {
			t.Errorf("the unit does not permit %s: %v", call, permitted)
		}
	}
	if len(permitted) > 0 && strings.HasPrefix(permitted[0], "~") {
		t.Error("the first filter of the unit is a list of what is refused")
	}
}
