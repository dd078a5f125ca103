package front

import (
	"context"
	"errors"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httputil"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	statusClientGone = 499 // in log and metrics only; no client sees it
	hSTS             = "Strict-Transport-Security"
)

// exchange is one request on its way. It is the transport of whoever passes the
// request on, so that it can hold it, and send it to another container, before
// anything has been answered. Exchanges are used again.
type exchange struct {
	front   *Front
	proxy   httputil.ReverseProxy // of requests that ask for another protocol; relay passes on the others
	in      *http.Request
	route   *route
	state   *state
	ep      *endpoint // counted in
	arrived time.Time
	waited  time.Duration
	status  int
	body    *requestBody
}

func newExchange(f *Front) *exchange {
	ex := &exchange{front: f}
	ex.proxy = httputil.ReverseProxy{
		Rewrite: ex.rewrite, Transport: ex, ModifyResponse: ex.answer, ErrorHandler: ex.fail,
		BufferPool: &f.buffers, ErrorLog: log.New(io.Discard, "", 0), // what matters of it comes to fail, too
	}
	return ex
}

// serveTLS serves a request that came over TLS. HTTP/2 in the clear is the one
// protocol that is not switched to: what came through such a tunnel would be
// requests of which nobody has checked the host or set X-Forwarded-*.
func (f *Front) serveTLS(w http.ResponseWriter, r *http.Request) {
	rt, status := f.lead(r)
	if rt == nil {
		f.total.misdirected.Add(1)
		refuse(w, r, status)
		return
	}
	ex := f.exchanges.Get().(*exchange)
	ex.in, ex.route, ex.arrived = r, rt, time.Now()
	rt.stats.inflight.Add(1)
	defer ex.end()
	if r.ProtoMajor == 1 && r.Body != http.NoBody {
		// Otherwise the server throws the rest of the body away once the answer
		// begins, and a container that answers while it reads gets half of it.
		// It fails only where there is nothing to enable.
		_ = http.NewResponseController(w).EnableFullDuplex()
	}
	if upgrade := r.Header["Upgrade"]; upgrade != nil && !hasToken(upgrade, "h2c") {
		ex.proxy.ServeHTTP(w, r)
		return
	}
	ex.relay(w)
}

// end runs also when the proxy panics to abort an answer.
func (ex *exchange) end() {
	ex.leave()
	if ex.body != nil {
		ex.body.over.Store(true)
	}
	took := time.Since(ex.arrived)
	ex.route.stats.inflight.Add(-1)
	ex.route.stats.count(ex.status, took)
	ex.front.access(ex, took)
	ex.in, ex.route, ex.state, ex.body, ex.status, ex.waited = nil, nil, nil, nil, 0, 0
	ex.front.exchanges.Put(ex)
}

func (ex *exchange) leave() {
	if ex.ep != nil {
		ex.ep.leave()
		ex.ep = nil
	}
}

// RoundTrip implements http.RoundTripper.
func (ex *exchange) RoundTrip(out *http.Request) (*http.Response, error) {
	if out.Body != nil {
		ex.body = newRequestBody(out.Body, ex.in.Trailer)
		out.Body, out.Trailer = ex.body, ex.in.Trailer
	}
	for again := false; ; {
		if err := ex.enter(out.Context()); err != nil {
			return nil, err
		}
		res, err := ex.ep.transport.RoundTrip(out)
		if err == nil && res.StatusCode >= 100 {
			ex.status = res.StatusCode
			return res, nil
		}
		if err == nil {
			_ = res.Body.Close() // nothing of it is passed on
			err = errNoStatus
		}
		ep := ex.ep
		ex.leave()
		if out.Context().Err() != nil {
			return nil, err
		}
		var dial *dialError
		switch {
		case errors.As(err, &dial):
			ep.refuses()
		case again || !repeatable(out):
			return nil, err
		default:
			again = true
		}
		// The transport may still hold the request that failed.
		next := *out
		out = &next
	}
}

// errNoStatus is of an answer that net/http takes and does not write (099).
var errNoStatus = errors.New("the container answered with a status that is none")

// enter counts the request in at an endpoint, waiting for one if need be.
func (ex *exchange) enter(ctx context.Context) error {
	for {
		ex.state = ex.route.state.Load()
		if ep := ex.route.pick(ex.state); ep != nil {
			if ep.enter() {
				ex.ep = ep
				return nil
			}
			continue // it was taken out just now; the state is another already
		}
		began := time.Now()
		err := ex.route.hold(ctx, ex.in, ex.arrived)
		ex.waited += time.Since(began)
		if err != nil {
			return err
		}
	}
}

// repeatable reports whether a request may be sent a second time although the
// first may have arrived.
func repeatable(r *http.Request) bool {
	if r.Body != nil || r.Header.Get("Upgrade") != "" {
		return false
	}
	return r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions
}

// answer looks at an answer before it is passed on.
func (ex *exchange) answer(res *http.Response) error {
	ex.mark(res.Header)
	return nil
}

// mark makes the headers of an answer those of the front.
func (ex *exchange) mark(h http.Header) {
	switch {
	case !ex.route.live.Load():
		delete(h, hSTS) // it would lock people out of the stand-in
	case ex.state.hsts != nil:
		h[hSTS] = ex.state.hsts
	}
	delete(h, "Alt-Svc") // it speaks of the container's own ports
}

// fail answers a request that no container has answered.
func (ex *exchange) fail(w http.ResponseWriter, _ *http.Request, err error) {
	if ex.in.Context().Err() != nil {
		ex.status = statusClientGone
		panic(http.ErrAbortHandler) // nobody reads an answer; it must not look like a whole one
	}
	var held refusal
	switch {
	case ex.body != nil && ex.body.broken.Load():
		ex.status = http.StatusBadRequest
	case errors.As(err, &held) && held == errGone:
		ex.status = http.StatusMisdirectedRequest
	case errors.As(err, &held):
		ex.status = http.StatusServiceUnavailable
	default:
		ex.status = http.StatusBadGateway
		ex.front.log.WithError(err).WithFields(logFields{"host": ex.route.host, "instance": ex.route.instance}).Debug("request failed at the container")
	}
	if s := ex.route.state.Load(); s.hsts != nil && ex.route.live.Load() {
		w.Header()[hSTS] = s.hsts
	}
	refuse(w, ex.in, ex.status)
}

// requestBody is a body that a failed attempt does not close, since nothing of
// it has been sent, and that remembers whether the client broke it off. The
// transport may come back to it after the exchange.
type requestBody struct {
	from    io.Reader
	trailer http.Header // filled in while the body is read
	names   []string    // of what may be in it
	broken  atomic.Bool
	over    atomic.Bool // the exchange has ended
}

// newRequestBody lets those trailers follow the body that were announced before
// it, and that do not say who the client is: there are servers which take
// trailers for headers.
func newRequestBody(from io.Reader, trailer http.Header) *requestBody {
	dropForwarding(trailer)
	return &requestBody{from: from, trailer: trailer, names: slices.Collect(maps.Keys(trailer))}
}

func (b *requestBody) Read(p []byte) (int, error) {
	if b.over.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.from.Read(p)
	switch {
	case err == io.EOF:
		maps.DeleteFunc(b.trailer, func(name string, _ []string) bool { return !slices.Contains(b.names, name) })
	case err != nil:
		b.broken.Store(true)
	}
	return n, err
}

func (b *requestBody) Close() error { return nil }

// buffers are what answers are copied through.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return p[:]
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put((*[bufferSize]byte)(p)) }
