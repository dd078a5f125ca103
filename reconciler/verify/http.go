package verify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// request is one request with everything filled in.
type request struct {
	method, url string
	header      http.Header
	body        []byte
}

// answer is what came back: at most maxBody of the body.
type answer struct {
	status   int
	text     string // "503 Service Unavailable"
	location string
	body     []byte
	cut      bool // the body is longer
}

// fault is why no whole answer came. sent says that the application may have
// got the request.
type fault struct {
	err  error
	sent bool
}

func (f *fault) Error() string { return f.err.Error() }
func (f *fault) Unwrap() error { return f.err }

var errTryTimeout = errors.New("no answer in time")

// send makes one try. Its error is a *fault when the request was in order.
func (p *Prober) send(ctx context.Context, r request, limit time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: %s", errTryTimeout, limit))
	defer cancel()
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return answer{}, fmt.Errorf("make request: %w", unwrapURL(err))
	}
	req.Header = r.header.Clone()
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", agent)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return answer{}, &fault{p.causeOf(ctx, err), sent.Load()}
	}
	defer func() { _ = resp.Body.Close() }()
	got := answer{status: resp.StatusCode, text: resp.Status, location: resp.Header.Get("Location")}
	got.body, err = io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return answer{}, &fault{fmt.Errorf("answered %s, then: %w", resp.Status, p.causeOf(ctx, err)), true}
	}
	if got.cut = len(got.body) > maxBody; got.cut {
		got.body = got.body[:maxBody]
	}
	return got, nil
}

// causeOf says why a try ended: its time, or what the network said.
func (p *Prober) causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return unwrapURL(err)
}

// unwrapURL takes the URL off an error; whoever reports it names the request,
// and a URL may hold what must not be shown.
func unwrapURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// faultText is a fault for people.
func faultText(err error) string {
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused: nothing listens there"
	case errors.Is(err, syscall.ECONNRESET):
		return "the connection was reset before the answer was whole"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was whole"
	case errors.As(err, &dns):
		return "no address for the host " + dns.Name
	}
	return err.Error()
}

// transient says whether a try with this answer is made again: the statuses of
// a gateway without anything behind it (RFC 9110 sections 15.6.3 to 15.6.5).
func (a answer) transient() bool {
	return a.status == http.StatusBadGateway || a.status == http.StatusServiceUnavailable || a.status == http.StatusGatewayTimeout
}

// describe is the answer in one line, bounded.
func (a answer) describe(m *mask) string {
	s := a.text
	if a.location != "" && a.status >= 300 && a.status < 400 {
		s += " to " + m.text(a.location) + " (redirects are not followed)"
	}
	if body := m.body(a.body); body != "" {
		s += ": " + body
	}
	return s
}

// json decodes the body; numbers stay as they are written.
func (a answer) json() (any, error) {
	if a.cut {
		return nil, fmt.Errorf("the answer is longer than %d KiB", maxBody>>10)
	}
	return decode(a.body)
}

func decode(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var doc any
	if err := dec.Decode(&doc); err != nil {
		return nil, errors.New("the answer is not JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the answer is not JSON: something follows the first value")
	}
	return doc, nil
}

// Address is the base that the paths of steps are put behind, without a slash
// at its end. The error does not repeat it: it may hold a password.
func Address(base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("is not an http or https URL, for example http://127.0.0.1:8000")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("has a user, a query or a fragment, which a base of paths cannot have")
	}
	return strings.TrimRight(base, "/"), nil
}

// clock is the time since, for people and programs.
func clock(since time.Time) time.Duration { return time.Since(since).Round(time.Millisecond) }
