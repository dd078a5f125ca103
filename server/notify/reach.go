package notify

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Reach is what a channel may connect to. It is for the host's own
// configuration to say, since whoever writes to git names the hosts. The zero
// value reaches nothing.
type Reach struct {
	// Allow says whether the host permits a name, and, with a valid address, a
	// connection to it there. Nil: it permits none.
	Allow func(host string, at netip.Addr) error
	// Public says the same of an address of a service that no URL can point
	// elsewhere. Nil: it permits none.
	Public func(at netip.Addr) error
	// Proxy is what requests go through; nil: nothing, whatever the environment has.
	Proxy func(*http.Request) (*url.URL, error)
	// Roots are trusted for https; nil: the system's.
	Roots *x509.CertPool
}

// refusal marks what the host does not permit: trying again changes nothing.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func (r Reach) permit(host string, at netip.Addr) error {
	if at.IsValid() && (at.IsLinkLocalUnicast() || at.IsMulticast() || at.IsUnspecified()) {
		return refusal{fmt.Errorf("address %s is refused", at)}
	}
	if r.Allow == nil {
		return refusal{errors.New("this host permits no connections")}
	}
	if err := r.Allow(host, at); err != nil {
		return refusal{fmt.Errorf("host %s: %w", host, err)}
	}
	return nil
}

// transport asks about each address before it connects. Through a proxy it asks
// about each name.
func (r Reach) transport() *http.Transport {
	t := &http.Transport{
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  20 * time.Second,
		IdleConnTimeout:        10 * time.Second,
		MaxIdleConnsPerHost:    1,
		MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig:        &tls.Config{RootCAs: r.Roots, MinVersion: tls.VersionTLS12},
	}
	if r.Proxy != nil {
		t.Proxy = func(req *http.Request) (*url.URL, error) {
			if err := r.permit(req.URL.Hostname(), netip.Addr{}); err != nil {
				return nil, err
			}
			return r.Proxy(req)
		}
		return t
	}
	t.DialContext = r.dial
	return t
}

func (r Reach) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if err := r.permitName(host); err != nil {
		return nil, err // before anybody is asked what it stands for
	}
	control := func(_, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		if err != nil {
			return err
		}
		return r.permit(host, at.Addr().Unmap())
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: control}
	return dialer.DialContext(ctx, network, address)
}

// stay follows no redirect: it is not known who would be told then.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// public is what a service with an address of its own may be reached within:
// whoever writes to git does not choose it, so its name is not asked about.
func (r Reach) public() Reach {
	asked := r.Public
	r.Allow = func(_ string, at netip.Addr) error {
		switch {
		case asked == nil:
			return errors.New("this host permits no connections")
		case !at.IsValid():
			return nil
		}
		return asked(at)
	}
	return r
}

// client makes requests within reach.
func (r Reach) client() *http.Client {
	return &http.Client{Transport: r.transport(), CheckRedirect: stay, Timeout: sendTimeout}
}

// permitName asks about a name that others resolve.
func (r Reach) permitName(host string) error { return r.permit(host, netip.Addr{}) }

// lookUp asks about every address that a name has now.
func (r Reach) lookUp(ctx context.Context, host string) error {
	if err := r.permitName(host); err != nil {
		return err
	}
	list, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return fmt.Errorf("look up %s: %w", host, err)
	}
	for _, at := range list {
		if err := r.permit(host, at.Unmap()); err != nil {
			return err
		}
	}
	return nil
}
