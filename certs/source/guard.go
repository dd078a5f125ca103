package source

import (
	"net/netip"
	"syscall"
)

// guard looks at the address of every connection after names were resolved, so
// that no name, however it resolves and however often, leads to a forbidden one.
type guard struct {
	loopback bool       // this machine may be asked: the operator named it
	only     netip.Addr // of a metadata service: this address and no other
}

func (g guard) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail(ErrRefused, "its address does not parse")
	}
	return g.permits(ap.Addr())
}

func (g guard) permits(a netip.Addr) error {
	a = a.WithZone("").Unmap()
	if g.only.IsValid() {
		if a != g.only {
			return fail(ErrRefused, "%s is not the metadata service", a)
		}
		return nil
	}
	for _, in := range inner(a) {
		switch {
		case in.IsLoopback() && g.loopback && in == a:
		case in.IsLoopback():
			return fail(ErrRefused, "its address %s is this machine; list the host in fetch.allowedHosts of the host's agent.yaml if that is meant", a)
		case !in.IsGlobalUnicast() || metadata(in): // unspecified, link-local, multicast, broadcast
			return fail(ErrRefused, "its address %s belongs to metadata or to the link, and is never asked", a)
		}
	}
	return nil
}

// inner are the address itself and the IPv4 address that it leads to when it
// is one of NAT64 (RFC 6052), 6to4 (RFC 3056) or IPv4-compatible (RFC 4291).
func inner(a netip.Addr) []netip.Addr {
	list := []netip.Addr{a}
	if a.Is4() {
		return list
	}
	b := a.As16()
	at := -1
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("64:ff9b:1::/48").Contains(a):
		at = 12
	case netip.MustParsePrefix("2002::/16").Contains(a):
		at = 2
	case netip.MustParsePrefix("::/96").Contains(a) && a != netip.IPv6Loopback() && !a.IsUnspecified():
		at = 12
	}
	if at >= 0 {
		list = append(list, netip.AddrFrom4([4]byte(b[at:at+4])))
	}
	return list
}

// metadata reports whether clouds answer with credentials at an address that
// is not link-local: AWS by IPv6, Alibaba, Oracle, Azure's wire server.
func metadata(a netip.Addr) bool {
	switch a.String() {
	case "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "168.63.129.16":
		return true
	}
	return a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240)
}

// PermitsAddress says whether a connection may be made to an address at all, by
// the rule that references are held to. listed says that the operator named the
// host, which may then be this machine.
func PermitsAddress(a netip.Addr, listed bool) error { return guard{loopback: listed}.permits(a) }
