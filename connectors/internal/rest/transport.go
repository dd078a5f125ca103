package rest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

type (
	proxyFunc   = func(*http.Request) (*url.URL, error)
	controlFunc = func(network, address string, c syscall.RawConn) error
)

func build(secrets []string, proxy proxyFunc, control controlFunc, patience time.Duration) *Client {
	dialer := &net.Dialer{Timeout: min(patience, 15*time.Second), KeepAlive: 30 * time.Second, Control: control}
	transport := &http.Transport{
		Proxy:                  proxy,
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    4,
		IdleConnTimeout:        30 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		ResponseHeaderTimeout:  patience,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // a file's own compression is ours to open
	}
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{HTTP: &http.Client{Transport: transport, CheckRedirect: stay}, Secrets: secrets}
}

// refuseLinkLocal keeps an address that a service gave from reaching the
// metadata service of a cloud.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := at.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("address %s is refused", ip)
	}
	return nil
}

// Only makes a client for the metadata service at one address, as text, and for
// nothing else: without a proxy, and for answers that begin within 3 s.
func Only(address string, secrets ...string) *Client {
	control := func(_, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		if err != nil || at.Addr().Unmap().String() != address {
			return fmt.Errorf("address %s is refused: it is not %s", to, address)
		}
		return nil
	}
	return build(secrets, nil, control, 3*time.Second)
}

// Guarded makes a client as New does, which asks allow about each address before
// it connects, beside the name that was to be reached. A proxy, which may be nil,
// is the host's own choice: its address is not asked about, but every name that
// it is to connect to is. What is not allowed is not tried again.
func Guarded(allow func(host string, at netip.Addr) error, proxy func(*http.Request) (*url.URL, error), secrets ...string) *Client {
	client := build(secrets, proxy, refuseLinkLocal, time.Minute)
	transport := client.HTTP.Transport.(*http.Transport)
	permit := func(host string, at netip.Addr) error {
		if err := allow(host, at); err != nil {
			return Permanent(fmt.Errorf("host %s: %w", host, err))
		}
		return nil
	}
	if proxy != nil {
		transport.Proxy = func(req *http.Request) (*url.URL, error) {
			if err := permit(req.URL.Hostname(), netip.Addr{}); err != nil {
				return nil, err
			}
			return proxy(req)
		}
		return client
	}
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		control := func(network, to string, c syscall.RawConn) error {
			if err := refuseLinkLocal(network, to, c); err != nil {
				return Permanent(err)
			}
			at, _ := netip.ParseAddrPort(to) // refuseLinkLocal parsed it
			return permit(host, at.Addr().Unmap())
		}
		dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second, Control: control}
		return dialer.DialContext(ctx, network, address)
	}
	return client
}

// Through has a client go through a proxy, nil for none, and trust these
// authorities, nil for the system's. It is not for a client of Guarded, which was
// given its proxy.
func (c *Client) Through(proxy func(*http.Request) (*url.URL, error), roots *x509.CertPool) *Client {
	transport := c.HTTP.Transport.(*http.Transport) // that build makes
	transport.Proxy = proxy
	return c.Trusting(roots)
}

// Trusting has a client trust these authorities; nil: the system's.
func (c *Client) Trusting(roots *x509.CertPool) *Client {
	transport := c.HTTP.Transport.(*http.Transport) // that build makes
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return c
}
