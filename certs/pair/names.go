package pair

import (
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

var (
	label      = `[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?`
	domainText = regexp.MustCompile(`^(\*\.)?` + label + `(\.` + label + `)*$`)
)

// Domains returns domains in the form in which they are compared: lower case,
// without final dot, sorted, each once. IP addresses are taken too. A name with
// letters outside ASCII is refused: certificates carry the punycode form.
func Domains(list []string) ([]string, error) {
	var out []string
	for _, d := range list {
		name := strings.TrimSuffix(strings.ToLower(d), ".")
		if ip, err := netip.ParseAddr(name); err == nil && ip.Zone() == "" {
			out = append(out, ip.Unmap().String())
			continue
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7f }) {
			return nil, fmt.Errorf("read domain %q: write it in punycode, xn--…", d)
		}
		if len(name) > 253 || !domainText.MatchString(name) {
			return nil, fmt.Errorf("read domain %q: it is no domain; write for example data.acme.com or *.acme.com", d)
		}
		out = append(out, name)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("read domains: there is none")
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Covers reports whether a certificate is good for a domain: an equal name, or a
// wildcard for exactly the first label of it (RFC 9525, section 6.3), or an
// equal IP address. A wanted wildcard needs that very wildcard. The common name
// counts for nothing, as with every client of today.
func Covers(c *x509.Certificate, domain string) bool {
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if ip, err := netip.ParseAddr(domain); err == nil {
		return slices.ContainsFunc(c.IPAddresses, func(have net.IP) bool {
			a, ok := netip.AddrFromSlice(have)
			return ok && a.Unmap() == ip.Unmap()
		})
	}
	_, parent, deep := strings.Cut(domain, ".")
	return slices.ContainsFunc(c.DNSNames, func(have string) bool {
		have = strings.TrimSuffix(strings.ToLower(have), ".")
		if have == domain {
			return true
		}
		rest, wild := strings.CutPrefix(have, "*.")
		// "*.com" is issued to nobody in good faith.
		return wild && deep && rest == parent && strings.Contains(rest, ".") && !strings.HasPrefix(domain, "*.")
	})
}

// namesOf lists what a certificate is for.
func namesOf(c *x509.Certificate) []string {
	out := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	return out
}

// missing returns the domains that a certificate is not for.
func missing(c *x509.Certificate, domains []string) (out []string) {
	for _, d := range domains {
		if !Covers(c, d) {
			out = append(out, d)
		}
	}
	return out
}

// listed joins names for a message, not too many of them, and quotes what a
// terminal should not be given as it is.
func listed(names []string) string {
	if len(names) == 0 {
		return "no name"
	}
	const most = 8
	short := names[:min(len(names), most)]
	out := make([]string, len(short))
	for i, n := range short {
		if out[i] = n; !domainText.MatchString(strings.ToLower(n)) {
			if _, err := netip.ParseAddr(n); err != nil {
				out[i] = fmt.Sprintf("%.80q", n)
			}
		}
	}
	if more := len(names) - len(short); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(out, ", ")
}
