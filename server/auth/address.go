package auth

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are those whose word about a client is believed.
type Proxies []netip.Prefix

func (p Proxies) trust(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(p, func(one netip.Prefix) bool { return one.Contains(a) })
}

// peer is the other end of the connection; not valid on a unix socket.
func peer(r *http.Request) netip.Addr { return peerPort(r).Addr() }

func peerPort(r *http.Request) netip.AddrPort {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// maxHops bounds how far a header is followed.
const maxHops = 32

// client is who asks: the peer, or whom the nearest proxies that are trusted
// name. What is left of the first hop that is not trusted is anybody's word.
func (p Proxies) client(r *http.Request) netip.Addr {
	at := peer(r)
	if !at.IsValid() || !p.trust(at) {
		return at
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= max(0, len(hops)-maxHops); i-- {
		hop, err := hopAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return at
		}
		if at = hop; !p.trust(at) {
			return at
		}
	}
	return at
}

// hopAddr reads an address that may have a port.
func hopAddr(s string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), nil
	}
	a, err := netip.ParseAddr(strings.Trim(s, "[]"))
	return a.Unmap(), err
}

// forwarding are the headers that proxies, tunnels and the networks before them
// add, beside all that begin with X-Forwarded-.
var forwarding = []string{"Forwarded", "X-Real-Ip", "Via", "X-Client-Ip", "Client-Ip", "X-Cluster-Client-Ip", "X-Original-Forwarded-For", "X-Original-Host", "X-Scheme",
	"X-Envoy-External-Address", "X-Amzn-Trace-Id", "True-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip", "Cf-Connecting-Ip", "Cf-Ray", "Cdn-Loop"}

func forwarded(h http.Header) bool {
	if slices.ContainsFunc(forwarding, func(name string) bool { return h.Values(name) != nil }) {
		return true
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Forwarded-") {
			return true
		}
	}
	return false
}

// near reports whether a request was made on this host and came straight here.
// A proxy on this host that says nothing of itself gives itself away by HTTP/1.0
// (nginx's default until 1.29.7), by the name that it was asked for, or by whose
// process it is (byPerson).
func near(r *http.Request) bool {
	if a := peer(r); a.IsValid() && (!a.IsLoopback() || !r.ProtoAtLeast(1, 1)) {
		return false
	}
	if forwarded(r.Header) {
		return false
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return !peer(r).IsValid() || strings.EqualFold(host, "localhost") || (err == nil && a.IsLoopback())
}

// Secure reports whether the client speaks TLS, with us or with a proxy that is
// trusted.
func (p Proxies) Secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	at := peer(r)
	said := r.Header.Values("X-Forwarded-Proto")
	return at.IsValid() && p.trust(at) && len(said) == 1 && strings.EqualFold(strings.TrimSpace(said[0]), "https")
}

// maxAgent bounds what a program calls itself.
const maxAgent = 200

// VisitOf reads where a request comes from.
func (p Proxies) VisitOf(r *http.Request) Visit {
	v := Visit{Address: p.client(r), Agent: clip(r.UserAgent(), maxAgent), Near: near(r), Secure: p.Secure(r)}
	if here, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok && v.Near {
		v.from, v.to = peerPort(r), netip.AddrPortFrom(here.AddrPort().Addr().Unmap(), here.AddrPort().Port())
	}
	return v
}
