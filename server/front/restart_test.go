package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"
)

const restarts = 5

// inherited copies a socket, as a process has it that systemd passes one to.
func inherited(t *testing.T, l net.Listener) net.Listener {
	t.Helper()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	same, err := net.FileListener(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return same
}

// take runs a front on a socket that outlives it.
func take(t *testing.T, l net.Listener, routes *backend) *harness {
	ctx, cancel := context.WithCancel(context.Background())
	h := &harness{t: t, front: New(Options{ShutdownTimeout: limit, Certificates: &pairs{t: t}}), https: l.Addr().String(), cancel: cancel, ended: make(chan error, 1)}
	h.set(routeTo(routes))
	go func() { h.ended <- h.front.Run(ctx, inherited(t, l), nil) }()
	return h
}

// TestRestartDropsNothing has fronts take turns on one socket while clients
// keep their connections, share one, or come anew with each request.
func TestRestartDropsNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	socket := listen(t)
	defer socket.Close()
	var late atomic.Int64
	app := newStrict(t, "app", &late)
	h := take(t, socket, app.backend)
	l := underLoad(h, 4)
	for range 2 {
		l.comeAnew(h)
	}
	for range restarts {
		served := l.ok.Load()
		eventually(t, "requests are served", func() bool { return l.ok.Load() >= served+50 })
		h.stop()
		h = take(t, socket, app.backend)
	}
	l.finish(t)
	h.stop()
	app.kill()
}

// comeAnew adds a client with a connection for each request, until finish.
func (l *load) comeAnew(h *harness) {
	c := h.client(false)
	c.Transport.(*http.Transport).DisableKeepAlives = true
	ctx, cancel := context.WithCancel(h.t.Context())
	before := l.end
	l.end = func() { cancel(); before() }
	l.wait.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			l.ask(c, n)
		}
	})
}
