package connectors

import (
	"crypto/x509"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
)

// Reach is what a source may connect to, and by which way. It is the operator's
// to say, since whoever writes to git names the hosts. The zero value reaches
// nothing.
type Reach struct {
	// Allow says whether the host permits a name, and, with a valid address, a
	// connection to it there. Nil: it permits none. The public endpoints of clouds,
	// which no one in git can point elsewhere, are not asked about.
	Allow func(host string, at netip.Addr) error
	// Proxy is what requests go through; nil: nothing, whatever the environment has.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are trusted for https; nil: the system's.
	Roots *x509.CertPool
}

// Permits asks Allow.
func (r Reach) Permits(host string, at netip.Addr) error {
	if r.Allow == nil {
		return errors.New("this host permits no other")
	}
	return r.Allow(host, at)
}
