package source

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// question is one request to a service.
type question struct {
	who    string // what answers, for people
	method string
	url    string
	header http.Header
	body   []byte
	limit  int64    // of the answer; 0: maxEnvelope
	hide   []string // that is never shown
	guard  guard
	trust  trust
	direct bool // past the proxy
	twice  bool // it may be asked again although it is no GET
	quick  bool // a service of this machine: it answers at once or not at all
}

// answer is what came back, whole.
type answer struct {
	status int
	means  int // the status that it should be, of a service that says 400 to nearly all; 0: as it is
	header http.Header
	body   []byte
	date   time.Time
	hide   []string
}

// ask asks, and a second time when there was no answer or the server was in
// trouble, if the question may be asked twice. Every status is an answer;
// redirects are not followed.
func (f *Fetcher) ask(ctx context.Context, q question) (answer, error) {
	tr, err := f.transport(q)
	if err != nil {
		return answer{}, err
	}
	defer tr.CloseIdleConnections()
	a, err := f.once(ctx, tr, q)
	if q.method != http.MethodGet && !q.twice || !again(a, err) || ctx.Err() != nil {
		return a, err
	}
	t := time.NewTimer(100*time.Millisecond + rand.N(200*time.Millisecond))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return a, err
	case <-t.C:
	}
	return f.once(ctx, tr, q)
}

// again reports whether a second try may give more.
func again(a answer, err error) bool {
	if err != nil {
		return errors.Is(err, ErrUnreachable)
	}
	return (a.status == 502 || a.status == 503 || a.status == 504) && a.header.Get("Retry-After") == ""
}

func (f *Fetcher) once(ctx context.Context, tr *http.Transport, q question) (answer, error) {
	if q.quick {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	var body io.Reader
	if q.body != nil {
		body = bytes.NewReader(q.body)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, q.url, body)
	if err != nil || req.URL.User != nil {
		return answer{}, fail(ErrRefused, "the address of %s does not parse", q.who)
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", "fairlead")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return answer{}, unanswered(ctx, q.who, err, q.hide)
	}
	defer func() { _ = resp.Body.Close() }()
	a := answer{status: resp.StatusCode, header: resp.Header, date: dateOf(resp.Header), hide: q.hide}
	a.body, err = readBody(resp, q)
	if err == nil && ctx.Err() != nil { // a server that sees us go may end what it sends in due form
		err = ctx.Err()
	}
	if err != nil && a.status/100 != 2 {
		return a, nil // the status says it all
	}
	var f2 *failure
	if err != nil && !errors.As(err, &f2) {
		err = unanswered(ctx, q.who, err, q.hide)
	}
	return a, err
}

func readBody(resp *http.Response, q question) ([]byte, error) {
	limit := q.limit
	if limit == 0 {
		limit = maxEnvelope
	}
	if resp.ContentLength > limit {
		return nil, fail(ErrTooLarge, "%s answers with more than %d bytes", q.who, limit)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return nil, fail(ErrWrongKind, "%s answers compressed, which was not asked for", q.who)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fail(ErrTooLarge, "%s answers with more than %d bytes", q.who, limit)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fail(ErrUnreachable, "the answer of %s is cut off", q.who)
	}
	return data, err
}

// dateOf is the server's clock. A cache hands on the origin's Date and says in
// Age how old it is (RFC 9111 section 5.1).
func dateOf(h http.Header) time.Time {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	if age, err := strconv.ParseUint(h.Get("Age"), 10, 31); err == nil {
		date = date.Add(time.Duration(age) * time.Second)
	}
	return date.UTC()
}

// transport makes the connections of one question; none outlives it.
func (f *Fetcher) transport(q question) (*http.Transport, error) {
	roots, err := f.roots(q.trust.ca)
	if err != nil {
		return nil, err
	}
	proxy, g := http.ProxyURL, q.guard
	tr := &http.Transport{
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  15 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		DisableCompression:     true,
		DisableKeepAlives:      true,
	}
	if f.opts.Proxy != "" && !q.direct && !onThisMachine(q.url) {
		u, err := url.Parse(f.opts.Proxy)
		if err != nil || u.Host == "" {
			return nil, fail(ErrRefused, "fetch.proxy of the host's agent.yaml is not a URL")
		}
		tr.Proxy, g = proxy(u), guard{loopback: true}
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, Resolver: f.opts.Resolver,
		Control: func(network, address string, c syscall.RawConn) error { return g.control(network, address, c) }}
	tr.DialContext = dialer.DialContext
	if len(q.trust.pins) > 0 {
		want, err := parsePins(q.trust.pins)
		if err != nil {
			return nil, err
		}
		tr.TLSClientConfig.VerifyConnection = func(s tls.ConnectionState) error { return checkPins(s, want) }
	}
	return tr, nil
}

// decode reads JSON of a service into v.
func (a answer) decode(who string, v any) error {
	if err := json.Unmarshal(a.body, v); err != nil {
		return fail(ErrFailed, "%s answers with something that is not the JSON it should be", who)
	}
	return nil
}

// metadataGuard lets only the address of a metadata service through. Its
// endpoint has a literal address, so that no name server has a say.
func metadataGuard(endpoint string) (guard, error) {
	u, err := url.Parse(endpoint)
	if err == nil {
		var a netip.Addr
		if a, err = netip.ParseAddr(u.Hostname()); err == nil {
			return guard{only: a.Unmap()}, nil
		}
	}
	return guard{}, fail(ErrRefused, "the endpoint of the metadata service is not a URL with an address")
}

// serviceGuard is for an endpoint that the operator may have named: then it
// may be on this machine, and only there without TLS.
func serviceGuard(endpoint string) (guard, error) {
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" {
		return guard{}, fail(ErrRefused, "the endpoint of the service is not a URL")
	}
	loopback := onThisMachine(endpoint)
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return guard{}, fail(ErrRefused, "the endpoint of the service is not https://, which only this machine may do without")
	}
	return guard{loopback: loopback}, nil
}

// onThisMachine reports whether a URL says so itself.
func onThisMachine(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && a.IsLoopback()
}

// target shows where a redirect leads, without what may be secret of it.
func target(h http.Header) string {
	u, err := url.Parse(h.Get("Location"))
	if err != nil || u.Host == "" {
		return ""
	}
	return " to " + plain(u.Host, nil)
}
