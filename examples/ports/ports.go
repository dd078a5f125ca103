// Package ports finds ports of loopback for programs that cannot be handed a listener: servers in tests, the demo and the
// benchmarks, which are told a number and open it themselves a moment later, or again after a restart. A port is
// reserved here against every other process that asks this package, and is none of those that the kernel gives to
// whoever asks for any. Nothing else belongs here. Not for production: the daemon never imports it.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Linux gives the ports from 32768 on by itself, to listeners on port 0 and to each connection that is made: one of
// those, chosen and opened a second later, is taken now and then (ip-sysctl, ip_local_port_range).
const (
	lowest = 11000
	many   = 21000
)

// Free returns a port of 127.0.0.1 that nobody listens on, and that nobody else is given as long as this process lives.
func Free() (int, error) {
	first := rand.IntN(many)
	for i := range many {
		if port := lowest + (first+i)%many; reserve(port) {
			return port, nil
		}
	}
	return 0, fmt.Errorf("find free port: all from %d to %d are taken", lowest, lowest+many-1)
}

// reserve takes a port if it is free. An abstract socket stands for it, which is left open: the kernel gives it back when
// the process ends, in whatever way.
func reserve(port int) bool {
	mark, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if syscall.Bind(mark, &syscall.SockaddrUnix{Name: fmt.Sprintf("@fairlead-port-%d", port)}) == nil && unused(port) {
		return true
	}
	_ = syscall.Close(mark) // nothing was written to it
	return false
}

func unused(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}

// TB is what of a test is needed here.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
}

// Test is Free for a test: a port as text.
func Test(t TB) string {
	t.Helper()
	port, err := Free()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return strconv.Itoa(port)
}

// Address is Free for a test: 127.0.0.1 and a port.
func Address(t TB) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", Test(t))
}
