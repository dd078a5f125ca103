package git

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

const maxRedirects = 5

// httpWire speaks git's smart protocol over http, protocol version 0:
// https://git-scm.com/docs/http-protocol
type httpWire struct {
	to     address
	auth   Auth
	client *http.Client
}

func newHTTPWire(to address, auth Auth, caFile string) (*httpWire, error) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 20 * time.Second}).DialContext,
		TLSHandshakeTimeout:    20 * time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 1 << 18,
		ExpectContinueTimeout:  time.Second,
	}
	if caFile != "" {
		pool, err := trustedRoots(caFile)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &httpWire{to: to, auth: auth, client: &http.Client{Transport: t, CheckRedirect: sameHostOnly}}, nil
}

func trustedRoots(caFile string) (*x509.CertPool, error) {
	pem, err := readBounded(caFile, 4<<20)
	if err != nil {
		return nil, fmt.Errorf("read caFile: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read caFile: %s holds no PEM certificate", caFile)
	}
	return pool, nil
}

// sameHostOnly lets a renamed repository redirect within its host. Credentials
// never go to another one.
func sameHostOnly(req *http.Request, via []*http.Request) error {
	from := via[0].URL
	upgrade := from.Scheme == "http" && req.URL.Scheme == "https" && from.Hostname() == req.URL.Hostname()
	if !upgrade && (req.URL.Host != from.Host || req.URL.Scheme != from.Scheme) {
		return fmt.Errorf("the server redirects to %s, which is not followed; if that is right, set it as repo", (&url.URL{Scheme: req.URL.Scheme, Host: req.URL.Host}).String())
	}
	if len(via) > maxRedirects {
		return errors.New("the server redirects in a circle")
	}
	if via[0].Method != http.MethodGet {
		return errors.New("the server redirects a transfer, which is not followed")
	}
	return nil
}

func (w *httpWire) close() { w.client.CloseIdleConnections() }

func (w *httpWire) open(watch *watch, service string) (session, error) {
	user, pass, ok, err := w.auth.basic(w.to)
	if err != nil {
		return nil, err
	}
	s := &httpSession{wire: w, service: service, base: w.to.url.String(), user: user, pass: pass, auth: ok}
	resp, err := s.do(watch.ctx, http.MethodGet, "/info/refs?service="+service, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if want := "application/x-" + service + "-advertisement"; resp.Header.Get("Content-Type") != want {
		return nil, fmt.Errorf("list refs: %s is not a git repository of the smart protocol (it answers with %q); look at the path",
			w.to, resp.Header.Get("Content-Type"))
	}
	if s.ar, err = readRefs(watch.reader(resp.Body), service); err != nil {
		return nil, err
	}
	// Read to the end, so that the connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10)
	s.base = strings.TrimSuffix(resp.Request.URL.Scheme+"://"+resp.Request.URL.Host+resp.Request.URL.EscapedPath(), "/info/refs")
	return s, nil
}

type httpSession struct {
	wire       *httpWire
	service    string
	base       string
	user, pass string
	auth       bool
	ar         *packp.AdvRefs
}

func (s *httpSession) refs() *packp.AdvRefs { return s.ar }
func (s *httpSession) close()               {}

func (s *httpSession) exchange(w *watch, request *bytes.Buffer) (io.ReadCloser, error) {
	resp, err := s.do(w.ctx, http.MethodPost, "/"+s.service, request)
	if err != nil {
		return nil, err
	}
	return packReader{w.reader(resp.Body), resp.Body}, nil
}

func (s *httpSession) do(ctx context.Context, method, path string, body *bytes.Buffer) (*http.Response, error) {
	var payload io.Reader // not a nil buffer in an interface
	if body != nil {
		payload = body
	}
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, payload)
	if err != nil {
		return nil, fmt.Errorf("make request to %s: not a valid URL", s.wire.to)
	}
	// Some hosts (GitLab, Azure DevOps) answer other agents with web pages.
	req.Header.Set("User-Agent", "git/fairlead")
	if body != nil {
		req.Header.Set("Content-Type", "application/x-"+s.service+"-request")
		req.Header.Set("Accept", "application/x-"+s.service+"-result")
	}
	if s.auth {
		req.SetBasicAuth(s.user, s.pass)
	}
	resp, err := s.wire.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("reach %s: %w", s.wire.to, hideURL(err))
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, s.statusError(resp)
	}
	return resp, nil
}

// hideURL drops the URL that net/http puts in its errors: ours is printed already.
func hideURL(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w; if the server has a certificate of a private authority, name that one's certificate in caFile", err)
	}
	return err
}

func (s *httpSession) statusError(resp *http.Response) error {
	switch code := resp.StatusCode; {
	case code == http.StatusUnauthorized && !s.auth:
		return fmt.Errorf("reach %s: %w: it wants credentials; set auth.tokenFile", s.wire.to, ErrAuth)
	case code == http.StatusUnauthorized:
		return fmt.Errorf("reach %s: %w: the token or password is wrong or has expired", s.wire.to, ErrAuth)
	case code == http.StatusForbidden && s.service == receivePack:
		return fmt.Errorf("push to %s: %w: these credentials may not write", s.wire.to, ErrAuth)
	case code == http.StatusForbidden:
		return fmt.Errorf("reach %s: %w: these credentials may not read it", s.wire.to, ErrAuth)
	case code == http.StatusNotFound || code == http.StatusGone:
		return fmt.Errorf("reach %s: %w: look at the path, and whether the credentials may see it", s.wire.to, ErrNotFound)
	case code == http.StatusTooManyRequests:
		return fmt.Errorf("reach %s: it asks for fewer requests (429); a longer poll helps", s.wire.to)
	default:
		return fmt.Errorf("reach %s: the server answers %d %s", s.wire.to, code, http.StatusText(code))
	}
}
