package front

import (
	"net/http"
	"net/http/httputil"
	"net/netip"
	"slices"
	"strings"
)

const (
	hXFF   = "X-Forwarded-For"
	hProto = "X-Forwarded-Proto"
	hHost  = "X-Forwarded-Host"
	hPort  = "X-Forwarded-Port"
)

// rewrite makes the request to the container of one that asks for another
// protocol. The query stays as it is.
func (ex *exchange) rewrite(p *httputil.ProxyRequest) {
	p.Out.URL.Scheme, p.Out.URL.Host = "http", "container" // dial knows the address
	p.Out.URL.RawQuery = p.In.URL.RawQuery
	ex.forwarding(p.Out.Header)
}

// forwarding says to the container who sent the request. Nobody but us does.
func (ex *exchange) forwarding(h http.Header) {
	dropForwarding(h)
	in := ex.in
	peer, host := peerOf(in.RemoteAddr), in.Host
	v := []string{peer, "https", host, portOf(host, "443")}
	if len(ex.front.opts.TrustedProxies) > 0 {
		ex.front.believe(in.Header, peer, v)
	}
	h[hXFF], h[hProto], h[hHost], h[hPort] = v[0:1:1], v[1:2:2], v[2:3:3], v[3:4:4]
}

// dropForwarding removes what a client says of itself. The standard's Forwarded
// (RFC 7239) goes too, and none of ours takes its place: applications read the
// X- headers, and each one more is paid for with every request. Servers that turn
// header names into variables (CGI, WSGI) do not tell "_" from "-", so names
// with either go.
func dropForwarding(h http.Header) {
	for name := range h {
		if len(name) < 7 {
			continue
		}
		switch name[0] {
		case 'X', 'x', 'F', 'f':
			if forwardingName(name) {
				delete(h, name)
			}
		}
	}
}

func forwardingName(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return name == "forwarded" || name == "x-real-ip" || name == "x-forwarded" || strings.HasPrefix(name, "x-forwarded-")
}

// believe takes over from a trusted proxy what it says of its client; v holds
// the chain of addresses, scheme, host and port.
func (f *Front) believe(in http.Header, peer string, v []string) {
	if !f.trusts(peer) {
		return
	}
	if chain := addressChain(in[hXFF]); chain != "" {
		v[0] = chain + ", " + peer
	}
	if s := in[hProto]; len(s) == 1 && (s[0] == "http" || s[0] == "https") {
		v[1] = s[0]
	}
	if s := in[hHost]; len(s) == 1 {
		if _, ok := cleanHost(s[0]); ok {
			v[2] = s[0]
			v[3] = portOf(s[0], map[string]string{"http": "80", "https": "443"}[v[1]])
		}
	}
	if s := in[hPort]; len(s) == 1 && s[0] != "" && isPort(s[0]) {
		v[3] = s[0]
	}
}

func (f *Front) trusts(peer string) bool {
	a, err := netip.ParseAddr(peer)
	return err == nil && trusted(f.opts.TrustedProxies, a.Unmap().WithZone(""))
}

func trusted(proxies []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// maxChain is how many addresses of an X-Forwarded-For are passed on.
const maxChain = 32

// addressChain joins the values of an X-Forwarded-For, leaving out from the
// right end on what is no address: what comes before it was not written by a
// proxy that writes addresses.
func addressChain(values []string) string {
	all := strings.Split(strings.Join(values, ","), ",")
	if len(all) > maxChain {
		all = all[len(all)-maxChain:]
	}
	from := len(all)
	for ; from > 0; from-- {
		s := strings.TrimSpace(all[from-1])
		if _, err := netip.ParseAddr(s); err != nil {
			break
		}
		all[from-1] = s
	}
	return strings.Join(all[from:], ", ")
}
