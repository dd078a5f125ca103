package acme

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const maxAnswer = 1 << 20

// transport asks one authority. It remembers what the authority said about
// waiting, which acmez does not pass on.
type transport struct {
	base      *http.Transport
	allowHost func(string) error

	mu    sync.Mutex
	after time.Time // of the last refusal that named one
}

func newTransport(opts *Options, roots []byte) (*transport, error) {
	pool, err := rootPool(roots)
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	dial := &net.Dialer{Timeout: 10 * time.Second, Control: refuseLinkLocal}
	return &transport{allowHost: opts.AllowHost, base: &http.Transport{
		Proxy:                  opts.Proxy,
		DialContext:            dial.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}}, nil
}

// rootPool is nil, which means the system's, if no certificate is given.
func rootPool(roots []byte) (*x509.CertPool, error) {
	if len(roots) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(roots) {
		return nil, errors.New("there is no PEM certificate in them")
	}
	return pool, nil
}

// refuseLinkLocal keeps a directory that resolves to the metadata service of a
// cloud from being asked; a private network and this host may be.
func refuseLinkLocal(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := a.Addr().Unmap(); ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
		return fmt.Errorf("address %s is not to be asked", ip)
	}
	return nil
}

func (t *transport) client() *http.Client {
	return &http.Client{Transport: t, Timeout: time.Minute, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		return fmt.Errorf("redirected to %s, and no redirect is followed: name the directory itself", r.URL.Redacted())
	}}
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not https", r.URL.Redacted())
	}
	if t.allowHost != nil {
		if err := t.allowHost(r.URL.Hostname()); err != nil {
			return nil, err
		}
	}
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{Reader: io.LimitReader(resp.Body, maxAnswer), Closer: resp.Body}
	if at, ok := retryAfter(resp, time.Now()); ok && resp.StatusCode >= http.StatusBadRequest {
		t.mu.Lock()
		t.after = at
		t.mu.Unlock()
	}
	return resp, nil
}

type bounded struct {
	io.Reader
	io.Closer
}

// said is when the authority wants to be asked again, if it refused and said so.
func (t *transport) said() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.after
}

// retryAfter reads the header in both of its forms (RFC 9110, 10.2.3).
func retryAfter(resp *http.Response, now time.Time) (time.Time, bool) {
	h := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(h, 10, 31); err == nil {
		return now.Add(time.Duration(seconds) * time.Second), true
	}
	at, err := http.ParseTime(h)
	return at, err == nil
}
