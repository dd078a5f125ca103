package front

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// limit accepts connections up to the limits and closes those beyond them at
// once, before a handshake. Accepting never waits: a queue in the kernel would
// be filled by whoever opens connections and says nothing, and everybody else
// would stand behind.
func (f *Front) limit(l net.Listener) *limited {
	return &limited{Listener: l, front: f, clients: map[netip.Addr]*client{}}
}

type limited struct {
	net.Listener
	front *Front
	fresh atomic.Int64 // connections that have asked nothing yet

	mu      sync.Mutex // guards what follows
	open    int        // connections
	clients map[netip.Addr]*client
}

// client is who has connections; the mutex of limited guards what it counts.
type client struct {
	address     netip.Addr
	open, fresh int // fresh ones have asked nothing yet
}

const (
	// One in so many connections of a client may be fresh: held requests take a
	// connection each, and are to be had by the thousand; silent ones are not.
	freshShare = 2

	lingerIdle  = time.Second     // of a connection between two requests
	lingerFresh = 3 * time.Second // of one before its first
)

// settle waits until every connection that was accepted has begun its first
// request, and most of the others had time for another one.
func (l *limited) settle(ctx context.Context, limit time.Duration) {
	began, tick := time.Now(), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	idle, fresh := min(lingerIdle, limit/5), min(lingerFresh, limit/2)
	for {
		past := time.Since(began)
		if past > fresh || l.fresh.Load() == 0 && (past > idle || l.count() == 0) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (l *limited) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// Accept implements net.Listener.
func (l *limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer := peerAddr(c.RemoteAddr())
		client, refused := l.enter(peer)
		if refused != nil {
			refused.Add(1) // before its client knows
			reset(c)
			l.front.tooMany(peer, refused)
			continue
		}
		l.front.total.open.Add(1)
		l.fresh.Add(1)
		return &clientConn{Conn: c, limit: l, client: client}, nil
	}
}

// enter counts a connection in. It returns the counter of refusals when there
// are too many of them.
func (l *limited) enter(peer netip.Addr) (c *client, refused *atomic.Uint64) {
	o := &l.front.opts
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= o.MaxConns {
		return nil, &l.front.total.overAll
	}
	address := clientOf(peer)
	if c = l.clients[address]; c == nil {
		c = &client{address: address}
		l.clients[address] = c
	} else if c.full(o) && !trusted(o.TrustedProxies, peer) {
		return nil, &l.front.total.overClient
	}
	l.open++
	c.open++
	c.fresh++
	return c, nil
}

// full reports whether a client has as many connections as it may. One that may
// have all of them speaks for many, and is asked nothing.
func (c *client) full(o *Options) bool {
	n := o.MaxConnsPerClient
	return n < o.MaxConns && (c.open >= n || c.fresh >= max(1, n/freshShare))
}

// asked says that a connection is not fresh any more.
func (l *limited) asked(c *client) {
	l.fresh.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	c.fresh--
}

func (l *limited) leave(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if c.open--; c.open == 0 {
		delete(l.clients, c.address)
	}
}

// peerAddr is the zero address for what is not TCP.
func peerAddr(addr net.Addr) netip.Addr {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap().WithZone("")
}

// clientOf is the address by which connections are counted: of IPv6 the first
// 64 bits, since a single host commonly has all the addresses behind them
// (RFC 6177).
func clientOf(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	return netip.PrefixFrom(a, 64).Masked().Addr()
}

// reset closes a connection without the farewell that the kernel would have to
// remember for a minute (RFC 9293 section 3.6.1).
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is closed all the same
	}
	_ = c.Close() // nobody has used it
}

const tooManyEvery = time.Minute

// tooMany says that connections are refused, once in a while: whoever stands
// behind a load balancer has to learn why users are turned away.
func (f *Front) tooMany(peer netip.Addr, refused *atomic.Uint64) {
	now := time.Now().UnixNano()
	last := f.complained.Load()
	if last != 0 && now-last < int64(tooManyEvery) || !f.complained.CompareAndSwap(last, now) {
		return
	}
	text := "client has too many connections; more of them are closed at once (front.connectionsPerClient in agent.yaml)"
	if refused == &f.total.overAll {
		text = "too many connections are open; more of them are closed at once (front.connections in agent.yaml)"
	}
	f.log.WithFields(logFields{"client": peer.String(), "refused": refused.Load()}).Warn(text)
}

type clientConn struct {
	net.Conn
	limit  *limited
	client *client
	freed  atomic.Bool
	asked  atomic.Bool
}

// begun is the ConnState of the servers.
func begun(c net.Conn, state http.ConnState) {
	if state != http.StateActive {
		return
	}
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	if own, ok := c.(*clientConn); ok {
		own.begin()
	}
}

func (c *clientConn) begin() {
	if !c.asked.Load() && c.asked.CompareAndSwap(false, true) {
		c.limit.asked(c.client)
	}
}

func (c *clientConn) Close() error {
	c.begin()
	if c.freed.CompareAndSwap(false, true) {
		c.limit.front.total.open.Add(-1)
		c.limit.leave(c.client)
	}
	return c.Conn.Close()
}
