package auth

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// The ids that people have on a host; those between 0 and them are of services
// (login.defs(5), UID_MIN and UID_MAX), and those above of nobody.
const (
	firstPerson = 1000
	lastPerson  = 60000
)

// byPerson reports whether the process at the other end of a connection on this
// host is root's, this daemon's or a person's. A proxy is none of them: since
// nginx 1.29.7 it speaks HTTP/1.1 by default, names 127.0.0.1 as the host, and
// says nothing of whom it asks for.
func (v Visit) byPerson() bool {
	if !v.from.IsValid() || !v.to.IsValid() { // the socket, and commands
		return true
	}
	uid, known := madeBy(v.from, v.to)
	return known && (uid == 0 || uid == os.Geteuid() || (firstPerson <= uid && uid <= lastPerson))
}

// maxTable bounds what is read of the connections of a host.
const maxTable = 32 << 20

// madeBy is the user whose process made a connection on this host.
func madeBy(from, to netip.AddrPort) (uid int, known bool) {
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		uid, known = userIn(io.LimitReader(f, maxTable), from, to)
		_ = f.Close() // nothing was written
		if known {
			return uid, true
		}
	}
	return 0, false
}

// userIn looks for a connection in a table of the kernel (proc_net_tcp.rst).
func userIn(table io.Reader, from, to netip.AddrPort) (uid int, known bool) {
	const established = "01"
	lines := bufio.NewScanner(table)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 || f[3] != established || tableAddr(f[1]) != from || tableAddr(f[2]) != to {
			continue
		}
		uid, err := strconv.Atoi(f[7])
		return uid, err == nil
	}
	return 0, false
}

// tableAddr reads an address of the table: words as this machine has them in
// memory, a colon and the port.
func tableAddr(s string) netip.AddrPort {
	digits, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(digits)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(n))
}
