// Package load sends requests at a steady rate and counts what became of each, so that the demo, the benchmarks and the
// tests can say how many requests failed while something was changed behind a front. Requests leave when they are due,
// whether the ones before were answered or not, and a latency is counted from the time a request was due: a stall shows
// in full. Only the client's side belongs here. Not for production: the daemon never imports it.
package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options say what is asked, and how. URL is required.
type Options struct {
	URL     string
	Address string // host:port that is dialled; the URL's when empty
	Host    string // asked for in the TLS handshake and the Host header; the URL's when empty
	Rate    int    // requests a second; 200 when 0
	Body    string // sent with POST; empty: GET
	HTTP2   bool   // over TLS; HTTP/1.1 otherwise
	Anew    bool   // a connection of its own for each request
	// Timeout is how long one request may take, waiting included; a minute when 0.
	Timeout  time.Duration
	Roots    *x509.CertPool // nil: the system's
	Insecure bool           // takes any certificate
	// Check looks at an answer with a 2xx status and at the first MiB of its body. Its error makes the request a failed
	// one. It may be called from several goroutines. nil: any 2xx is good.
	Check func(status int, header http.Header, body []byte) error
}

const (
	defaultRate    = 200
	defaultTimeout = time.Minute
	maxBody        = 1 << 20
)

// Run is a stream of requests under way. Its methods may be called from several goroutines.
type Run struct {
	opts   Options
	target *url.URL
	client *http.Client
	tr     *http.Transport
	halt   context.CancelFunc // ends the sending, not what is in flight
	sent   chan struct{}      // closed when no more is sent
	slots  chan struct{}      // bounds what is in flight

	mu      sync.Mutex
	whole   tally
	since   tally     // since the last Mark
	stopped time.Time // by the first Stop
}

// Start begins to send. When ctx ends, requests in flight are given up and count as neither good nor failed; Stop is
// still to be called.
func Start(ctx context.Context, opts Options) (*Run, error) {
	if opts.Rate == 0 {
		opts.Rate = defaultRate
	}
	if opts.Timeout == 0 {
		opts.Timeout = defaultTimeout
	}
	target, err := url.Parse(opts.URL)
	if err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https") {
		return nil, fmt.Errorf("start load: %q is not an http or https URL", opts.URL)
	}
	if opts.Rate < 0 || opts.Rate > 100_000 || opts.Timeout < 0 {
		return nil, fmt.Errorf("start load: %d requests a second with a timeout of %s: want 1 to 100000 and a time", opts.Rate, opts.Timeout)
	}
	now := time.Now()
	sending, halt := context.WithCancel(ctx)
	r := &Run{opts: opts, target: target, tr: transport(opts, target), halt: halt, sent: make(chan struct{}),
		slots: make(chan struct{}, slots(opts)), whole: newTally(now), since: newTally(now)}
	r.client = &http.Client{Transport: r.tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	go r.send(ctx, sending)
	return r, nil
}

// slots are enough for all that can be waiting when each request waits out its time, within what a process may open.
func slots(o Options) int { return min(max(64, int(float64(o.Rate)*o.Timeout.Seconds())), 8192) }

func transport(o Options, target *url.URL) *http.Transport {
	name := o.Host
	if name == "" {
		name = target.Hostname()
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!o.HTTP2)
	protocols.SetHTTP2(o.HTTP2)
	dialer := &net.Dialer{Timeout: o.Timeout}
	return &http.Transport{
		Proxy: nil, // what the environment says is not meant for loopback
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if o.Address != "" {
				addr = o.Address
			}
			return dialer.DialContext(ctx, network, addr)
		},
		TLSClientConfig:     &tls.Config{ServerName: name, RootCAs: o.Roots, InsecureSkipVerify: o.Insecure, MinVersion: tls.VersionTLS12},
		Protocols:           protocols,
		DisableKeepAlives:   o.Anew,
		DisableCompression:  true,
		MaxIdleConns:        0,
		MaxIdleConnsPerHost: 1024,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: o.Timeout,
	}
}

// send starts each request when it is due, late ones at once.
func (r *Run) send(ctx, sending context.Context) {
	defer close(r.sent)
	var flying sync.WaitGroup
	defer flying.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	began := time.Now()
	for n := 0; ; n++ {
		due := began.Add(time.Duration(n) * time.Second / time.Duration(r.opts.Rate))
		timer.Reset(time.Until(due))
		select {
		case <-sending.Done():
			return
		case <-timer.C:
		}
		select {
		case r.slots <- struct{}{}:
			flying.Go(func() { r.one(ctx, due); <-r.slots })
		default:
			r.count(outcome{due: due, err: fmt.Errorf("not sent: %d requests are waiting", cap(r.slots))})
		}
	}
}

// one makes a request and counts what became of it.
func (r *Run) one(ctx context.Context, due time.Time) {
	limited, cancel := context.WithTimeout(ctx, r.opts.Timeout)
	defer cancel()
	o := outcome{due: due}
	traced := httptrace.WithClientTrace(limited, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		o.tries++
		if !i.Reused {
			o.dialled++
		}
	}})
	o.status, o.err = r.ask(traced)
	o.gone = o.err != nil && ctx.Err() != nil
	r.count(o)
}

func (r *Run) ask(ctx context.Context) (int, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.opts.Body != "" {
		method, body = http.MethodPost, strings.NewReader(r.opts.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.target.String(), body)
	if err != nil {
		return 0, err
	}
	if r.opts.Host != "" {
		req.Host = r.opts.Host
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // reading to its end is what counts
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	}
	switch {
	case err != nil:
		return resp.StatusCode, fmt.Errorf("read answer: %w", err)
	case resp.StatusCode/100 != 2:
		return resp.StatusCode, fmt.Errorf("answered %s", resp.Status)
	case r.opts.Check != nil:
		return resp.StatusCode, r.opts.Check(resp.StatusCode, resp.Header, head)
	}
	return resp.StatusCode, nil
}

func (r *Run) count(o outcome) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole.add(o, now)
	r.since.add(o, now)
}

// Mark reports what ended since the last Mark, or since the start, and begins to count anew.
func (r *Run) Mark() Report {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	report := r.since.report(now)
	last := r.since.good
	r.since = newTally(now)
	r.since.good = last // a stall over the mark is one stall
	return report
}

// Failed is how many requests failed since the start.
func (r *Run) Failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.whole.r.Failed
}

// Stop sends no more, waits for what is in flight, closes the connections and reports on everything since the start. It
// may be called again.
func (r *Run) Stop() Report {
	r.mu.Lock()
	if r.stopped.IsZero() {
		r.stopped = time.Now()
	}
	r.mu.Unlock()
	r.halt()
	<-r.sent
	r.tr.CloseIdleConnections()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.whole.report(r.stopped)
}

// reason is an error without what differs from one request to the next.
func reason(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Op + ": " + op.Err.Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}
