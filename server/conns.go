package server

import (
	"net"
	"net/netip"
	"sync"

	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of connections to an address; a client has a /64 of IPv6. Those of this host count in all
// only: a proxy here has all of its clients behind one address.
const (
	maxConns       = 1024
	maxClientConns = 128
)

// boundedListener shuts connections beyond its bounds as they come, so that
// one client that opens many keeps nobody else out for long.
type boundedListener struct {
	net.Listener
	most, mostOfOne int

	mu  sync.Mutex
	all int
	by  map[netip.Addr]int
}

func bounded(l net.Listener, most, mostOfOne int) net.Listener {
	return &boundedListener{Listener: l, most: most, mostOfOne: mostOfOne, by: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (b *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := b.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := clientOf(conn)
		if b.enter(from) {
			return &countedConn{Conn: conn, leave: sync.OnceFunc(func() { b.leave(from) })}, nil
		}
		_ = conn.Close() // nothing was promised
	}
}

func clientOf(conn net.Conn) netip.Addr {
	at, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return auth.Network(at.Addr()).Addr()
}

func (b *boundedListener) enter(from netip.Addr) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all >= b.most || (!from.IsLoopback() && b.by[from] >= b.mostOfOne) {
		return false
	}
	b.all++
	b.by[from]++
	return true
}

func (b *boundedListener) leave(from netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all--
	if b.by[from]--; b.by[from] == 0 {
		delete(b.by, from)
	}
}

type countedConn struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *countedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
