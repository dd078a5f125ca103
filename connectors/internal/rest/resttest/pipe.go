// Package resttest serves HTTP inside a test's memory: real requests over pipes
// instead of sockets, so that a bubble of testing/synctest can skip the pauses
// between them, and any name of a host leads to the one handler.
package resttest

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// Connect has a client reach handler under every address. Ended with the test's
// body by the function that is returned: a bubble has to be empty then.
func Connect(t testing.TB, client *rest.Client, handler http.Handler) (end func()) {
	t.Helper()
	line := &line{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: handler}
	go func() { _ = server.Serve(line) }()
	transport, ok := client.HTTP.Transport.(*http.Transport)
	if !ok {
		t.Fatal("the client has a transport of another kind")
	}
	transport.DialContext, transport.DialTLSContext = line.dial, line.dial
	transport.Proxy = nil
	return func() {
		transport.CloseIdleConnections()
		_ = server.Close()
	}
}

// line is a listener whose connections are pipes.
type line struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.conns <- there:
		return here, nil
	case <-l.closed:
		return nil, errors.New("the server is closed")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *line) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*line) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }
