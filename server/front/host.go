package front

import (
	"net"
	"net/netip"
	"strings"
)

// cleanHost returns the host of a Host header as the table has it: in lower
// case, without port and trailing dot. It is false for what is no host.
func cleanHost(s string) (string, bool) {
	if s == "" || len(s) > 261 { // 253 of a name, a dot, and a port
		return "", false
	}
	if s[0] == '[' {
		return cleanLiteral(s)
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if !isPort(s[i+1:]) {
			return "", false
		}
		s = s[:i]
	}
	s = strings.TrimSuffix(s, ".")
	upper := false
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.' && i > 0 && s[i-1] != '.':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", false
		}
	}
	if upper {
		s = strings.ToLower(s)
	}
	return s, s != "" && len(s) <= 253 && s[len(s)-1] != '.'
}

// cleanLiteral is cleanHost of an IPv6 address in brackets.
func cleanLiteral(s string) (string, bool) {
	inside, port, ok := strings.Cut(s[1:], "]")
	if !ok || (port != "" && (port[0] != ':' || !isPort(port[1:]))) {
		return "", false
	}
	a, err := netip.ParseAddr(inside)
	if err != nil || !a.Is6() || a.Zone() != "" {
		return "", false
	}
	return a.String(), true
}

// isPort reports whether s may follow the colon; it may be empty (RFC 3986
// section 3.2.3).
func isPort(s string) bool {
	if len(s) > 5 {
		return false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n <= 65535
}

// portOf is the port that a Host header names, otherwise the default.
func portOf(host, otherwise string) string {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || i == len(host)-1 || strings.IndexByte(host[i:], ']') >= 0 {
		return otherwise
	}
	return host[i+1:]
}

// sameHost compares a name of a handshake with a clean host.
func sameHost(name, host string) bool {
	clean, ok := cleanHost(name)
	return ok && clean == host
}

// peerOf is the address in "address:port".
func peerOf(remote string) string {
	if i := strings.LastIndexByte(remote, ':'); i > 0 && remote[0] != '[' {
		return remote[:i]
	}
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return ""
	}
	return host
}
