package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// pipes is a listener in memory, so that time can be made up.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// from is a connection with an address.
type from struct {
	net.Conn
	at net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.at }

func (p *pipes) dial(ip string) net.Conn {
	ours, theirs := net.Pipe()
	p.conns <- from{theirs, &net.TCPAddr{IP: net.ParseIP(ip), Port: 9}}
	return ours
}

func serveOn(t *testing.T, p *pipes, h http.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() { over <- ServeHTTP(ctx, p, h) }()
	return func() {
		cancel()
		if err := <-over; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
}

// TestSlowClients has clients send slowly, or not at all: each is cut off, or
// told, and none for longer than its time.
func TestSlowClients(t *testing.T) {
	tests := map[string]struct {
		send   string
		within time.Duration
		want   string // of the answer; empty: none
	}{
		"nothing":       {"", 10 * time.Second, ""},
		"half a header": {"GET / HTTP/1.1\r\nHost: x\r\nX-A: ", 10 * time.Second, ""},
		"half a body":   {"POST /api/instances/acme/suspend HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{", 30 * time.Second, "408 Request Timeout"},
		"idle after":    {"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 2 * time.Minute, "200 OK"},
		"long headers":  {"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-A: " + strings.Repeat("a", 32<<10) + "\r\n\r\n", time.Second, "431 Request Header"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPipes()
				a := NewAPI(Config{Fleet: nobodyHere{}})
				stop := serveOn(t, p, a.Handler())
				conn := p.dial("10.0.0.1")
				go func() { _, _ = io.WriteString(conn, tt.send) }()
				began := time.Now()
				answer, _ := io.ReadAll(bufio.NewReader(conn))
				if took := time.Since(began); took > tt.within+time.Second {
					t.Errorf("it took %s", took)
				}
				if (tt.want == "" && len(answer) != 0) || !strings.Contains(string(answer), tt.want) {
					t.Errorf("got %s", answer)
				}
				_ = conn.Close()
				stop()
			})
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	p := newPipes()
	l := bounded(p, 6, 3)
	defer l.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	var kept []net.Conn
	refused := func(ip string) bool {
		c := p.dial(ip)
		t.Cleanup(func() { _ = c.Close() })
		shut := make(chan error, 1)
		go func() { _, err := c.Read(make([]byte, 1)); shut <- err }()
		select {
		case one := <-accepted:
			kept = append(kept, one)
			return false
		case <-shut:
			return true
		}
	}
	for i, step := range []struct {
		ip   string
		full bool
	}{{"10.0.0.1", false}, {"10.0.0.1", false}, {"10.0.0.1", false}, {"10.0.0.1", true}, {"::ffff:10.0.0.1", true}, {"10.0.0.2", false}, {"127.0.0.1", false}, {"127.0.0.1", false}, {"127.0.0.1", true}} {
		if got := refused(step.ip); got != step.full {
			t.Errorf("step %d: %s is refused: %t", i, step.ip, got)
		}
	}
	_ = kept[0].Close()
	_ = kept[0].Close() // counts once
	if refused("10.0.0.1") || !refused("10.0.0.3") {
		t.Error("what was given back is not there, or is there twice")
	}
}

// What one caller has under way is bounded, and memory for bodies is.
func TestCostlyCallsAreBounded(t *testing.T) {
	l := newLimits()
	var leave []func()
	for range costlyCalls {
		over, err := l.enter(ada, "", costlyCalls)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, over)
	}
	if _, err := l.enter(ada, "", costlyCalls); AsError(err).Status != http.StatusTooManyRequests || AsError(err).RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
	if _, err := l.enter(bob, "", costlyCalls); err != nil {
		t.Error(err)
	}
	leave[0]()
	if _, err := l.enter(ada, "", costlyCalls); err != nil {
		t.Error(err)
	}
	var release func()
	for i := range 3 {
		r := &http.Request{ContentLength: -1}
		free, err := l.room(r, maxWebhook)
		if (err != nil) != (i == 2) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil {
			release = free
		}
	}
	if _, err := l.room(&http.Request{ContentLength: 10}, maxBody); err != nil {
		t.Errorf("big bodies leave no room for small ones: %v", err)
	}
	release()
	if _, err := l.room(&http.Request{ContentLength: -1}, maxWebhook); err != nil {
		t.Error(err)
	}
}

// TestEveryOperationNeedsItsRole asks each with every role, over a listener.
func TestEveryOperationNeedsItsRole(t *testing.T) {
	v := newTown(t)
	fill := strings.NewReplacer("{name}", "nope")
	for id, op := range v.api.calls().operations {
		path := fill.Replace(op.path)
		if op.endless && op.method == http.MethodGet && !strings.Contains(path, "nope") {
			path += "?limit=0"
		}
		for _, token := range []string{"", "viewer", "analyst", "admin"} {
			status, _, body := v.ask(op.method, path, token, "", nil)
			var want int
			switch {
			case op.role == public:
			case token == "":
				want = http.StatusUnauthorized
			case !(map[string]int{"viewer": 1, "analyst": 2, "admin": 3}[token] >= map[string]int{"viewer": 1, "analyst": 2, "admin": 3}[string(op.role)]):
				want = http.StatusForbidden
			}
			if want != 0 && status != want {
				t.Errorf("%s as %q: %d %s, want %d", id, token, status, body, want)
			}
			if want == 0 && (status == http.StatusUnauthorized || (status == http.StatusForbidden && strings.Contains(body, "needs the role"))) && op.role != public {
				t.Errorf("%s as %q: %d %s", id, token, status, body)
			}
		}
	}
}

// TestNeighboursAreOneClient holds that who has a network of IPv6 is counted once,
// however many addresses they come from.
func TestNeighboursAreOneClient(t *testing.T) {
	t.Parallel()
	l := bounded(newPipes(), 100, 2).(*boundedListener)
	for i, step := range []struct {
		ip string
		in bool
	}{{"2001:db8::1", true}, {"2001:db8::2", true}, {"2001:db8::ffff:3", false}, {"2001:db8:0:1::1", true}, {"::1", true}, {"::1", true}, {"::1", true}, {"10.0.0.1", true}, {"10.0.0.2", true}} {
		if in := l.enter(clientOf(from{at: &net.TCPAddr{IP: net.ParseIP(step.ip), Port: 1}})); in != step.in {
			t.Errorf("step %d: %s is let in: %t", i, step.ip, in)
		}
	}
	in := func(ip string) context.Context {
		return auth.WithVisit(t.Context(), auth.Visit{Address: netip.MustParseAddr(ip)})
	}
	if sender(in("2001:db8::1")) != sender(in("2001:db8::2")) || sender(in("10.0.0.1")) == sender(in("10.0.0.2")) || sender(t.Context()) != "socket" {
		t.Error("senders of webhooks are counted otherwise")
	}
}

// deaf are connectors that hear of nothing: whoever asks does not know the secret.
type deaf struct {
	Connectors
	bodies atomic.Int64
}

func (d *deaf) Webhook(_ context.Context, _, _, _ string, body []byte) error {
	d.bodies.Add(int64(len(body)))
	return &Error{Status: http.StatusUnauthorized, Detail: "the signature is wrong"}
}

// TestServicesHaveToSign holds that nobody has this daemon read large bodies who
// does not even try to sign them, or who failed to over and over.
func TestServicesHaveToSign(t *testing.T) {
	t.Parallel()
	v := newVillage(t)
	v.settle()
	d := &deaf{}
	v.api.cfg.Connectors = d
	const path = "/api/instances/acme/connectors/jira/webhook"
	for _, signature := range []string{"", "sha256=", "sha256=00", "sha1=" + strings.Repeat("0", 64)} {
		v.want(401, "signature", "POST", path, "", object{"a": 1}, "X-Hub-Signature: "+signature)
	}
	if d.bodies.Load() != 0 {
		t.Errorf("%d bytes were read", d.bodies.Load())
	}
	v.want(401, "wrong", "POST", path, "", object{"a": 1}, "X-Hub-Signature: sha256="+strings.Repeat("0", 64))
	if d.bodies.Load() != int64(len(`{"a":1}`)) {
		t.Errorf("%d bytes were read", d.bodies.Load())
	}
	limited := false
	for range 2 * deniedPace.burst {
		limited = limited || v.ask("POST", path, "", object{}, "X-Hub-Signature: sha256="+strings.Repeat("0", 64)).status == 429
	}
	if !limited {
		t.Error("whoever guesses is never told to wait")
	}
}
