package front

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxIdleConns  = 512 // to one container
	probeFirst    = 25 * time.Millisecond
	probeLongest  = time.Second
	maxRespHeader = 1 << 20
)

// endpoint is a container's address with everything that is in flight to it.
// It has a Transport of its own, so that its connections can be closed without
// touching those of others.
type endpoint struct {
	front     *Front
	instance  *instance
	key       endpointKey
	drain     time.Duration // guarded by Front.mu
	transport *http.Transport
	dialer    net.Dialer

	inflight atomic.Int64
	closed   atomic.Bool // takes no more requests
	down     atomic.Bool // does not accept connections; it is probed
	done     chan struct{}
	once     sync.Once

	ctx   context.Context // ends when the connections are closed
	kills context.CancelFunc
	mu    sync.Mutex // guards conns
	conns map[*backendConn]struct{}
}

func newEndpoint(f *Front, inst *instance, key endpointKey) *endpoint {
	ep := &endpoint{front: f, instance: inst, key: key, done: make(chan struct{}), conns: map[*backendConn]struct{}{}}
	ep.ctx, ep.kills = context.WithCancel(f.ctx)
	ep.dialer = net.Dialer{Timeout: f.opts.DialTimeout, KeepAlive: 30 * time.Second}
	ep.transport = &http.Transport{
		DialContext:            ep.dial,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        f.opts.BackendIdle,
		ResponseHeaderTimeout:  f.opts.ResponseTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxRespHeader,
		DisableCompression:     true,
	}
	return ep
}

// enter counts a request in. It is false when the endpoint takes no more: the
// count is raised before closed is read, and close sets closed before it reads
// the count, so one of the two sees the other.
func (ep *endpoint) enter() bool {
	ep.inflight.Add(1)
	if ep.closed.Load() {
		ep.leave()
		return false
	}
	return true
}

func (ep *endpoint) leave() {
	if ep.inflight.Add(-1) == 0 && ep.closed.Load() {
		ep.finish()
	}
}

// close takes no more requests. Those in flight go on.
func (ep *endpoint) close() {
	ep.closed.Store(true)
	ep.transport.CloseIdleConnections()
	if ep.inflight.Load() == 0 {
		ep.finish()
	}
}

// finish is called once the last request of a closed endpoint has ended.
func (ep *endpoint) finish() {
	ep.once.Do(func() {
		close(ep.done)
		ep.kill()
	})
}

func (ep *endpoint) ended() bool {
	select {
	case <-ep.done:
		return true
	default:
		return false
	}
}

// kill closes all connections, tunnels included.
func (ep *endpoint) kill() {
	ep.kills()
	ep.transport.CloseIdleConnections()
	ep.mu.Lock()
	conns := ep.conns
	ep.conns = nil
	ep.mu.Unlock()
	for c := range conns {
		_ = c.TCPConn.Close() // it is given up
	}
}

// dialError says that no connection was made: nothing was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

var errClosed = errors.New("the container is being stopped")

func (ep *endpoint) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ep.ctx, cancel)()
	c, err := ep.dialer.DialContext(ctx, network, ep.key.address)
	if err != nil {
		return nil, &dialError{fmt.Errorf("connect to container: %w", err)}
	}
	bc := &backendConn{TCPConn: c.(*net.TCPConn), ep: ep} // the network is tcp
	ep.mu.Lock()
	defer ep.mu.Unlock()
	if ep.conns == nil {
		_ = c.Close()
		return nil, &dialError{errClosed}
	}
	ep.conns[bc] = struct{}{}
	return bc, nil
}

// backendConn is a connection that its endpoint can close.
type backendConn struct {
	*net.TCPConn
	ep *endpoint
}

func (c *backendConn) Close() error {
	c.ep.mu.Lock()
	delete(c.ep.conns, c)
	c.ep.mu.Unlock()
	return c.TCPConn.Close()
}

// refuses notes that the endpoint accepted no connection. Requests go to
// others, or wait, until a probe is accepted.
func (ep *endpoint) refuses() {
	f := ep.front
	f.mu.Lock()
	defer f.mu.Unlock()
	if ep.closed.Load() || !ep.down.CompareAndSwap(false, true) {
		return
	}
	ep.instance.refresh(time.Now())
	go ep.probe()
}

func (ep *endpoint) probe() {
	pause := probeFirst
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ep.ctx.Done():
			return
		case <-timer.C:
		}
		c, err := ep.dialer.DialContext(ep.ctx, "tcp", ep.key.address)
		if err == nil {
			_ = c.Close()
			break
		}
		pause = min(2*pause, probeLongest)
		timer.Reset(pause)
	}
	f := ep.front
	f.mu.Lock()
	defer f.mu.Unlock()
	ep.down.Store(false)
	ep.instance.refresh(time.Now())
}
