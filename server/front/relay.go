package front

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
)

var errSwitched = errors.New("the container switched protocols without being asked")

// relay passes a request on and its answer back, as httputil.ReverseProxy does
// for requests that ask for no other protocol, but for less: headers are copied
// once, in the pass that leaves out what ends here (RFC 9110 section 7.6.1), and
// their values are shared.
func (ex *exchange) relay(w http.ResponseWriter) {
	e := &early{w: w}
	res, err := ex.RoundTrip(ex.outgoing(e.watch(ex.in.Context())))
	e.end()
	if err == nil && res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close() // nothing of it is passed on
		err = errSwitched
	}
	if err != nil {
		ex.fail(w, ex.in, err)
		return
	}
	h := w.Header()
	passOn(h, res.Header)
	ex.mark(h)
	announced := len(res.Trailer)
	if announced > 0 {
		h["Trailer"] = []string{strings.Join(sortedKeys(res.Trailer), ", ")}
	}
	w.WriteHeader(res.StatusCode)
	err = ex.front.copyBody(w, res)
	_ = res.Body.Close() // it was read, or is given up
	if err != nil {
		panic(http.ErrAbortHandler) // what the client has must not look like a whole answer
	}
	if len(res.Trailer) > 0 {
		trail(w, res.Trailer, announced)
	}
}

// outgoing makes the request to the container.
func (ex *exchange) outgoing(ctx context.Context) *http.Request {
	in := ex.in
	out := in.WithContext(ctx)
	u := *in.URL
	u.Scheme, u.Host = "http", "container" // dial knows the address
	out.URL, out.Close = &u, false
	if in.ContentLength == 0 {
		out.Body = nil
	}
	h := make(http.Header, len(in.Header)+5)
	passOn(h, in.Header)
	ex.forwarding(h)
	if hasToken(in.Header["Te"], "trailers") {
		h["Te"] = []string{"trailers"}
	}
	if _, named := h["User-Agent"]; !named {
		h["User-Agent"] = nil // otherwise Go's own is sent
	}
	out.Header = h
	return out
}

// passOn copies headers without those that are meant for this connection alone.
// The values are shared: nobody changes them in place.
func passOn(to, from http.Header) {
	for name, values := range from {
		if hopByHop(name) {
			continue
		}
		if had := to[name]; had != nil {
			values = append(had[:len(had):len(had)], values...)
		}
		to[name] = values
	}
	for _, list := range from["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			name = http.CanonicalHeaderKey(textproto.TrimString(name))
			if !hopByHop(name) { // of those, what is there is our own
				delete(to, name)
			}
		}
	}
}

// hopByHop is the list of httputil.ReverseProxy; names are in canonical form.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// hasToken reports whether a list of tokens holds one, in any case.
func hasToken(values []string, token string) bool {
	for _, list := range values {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(textproto.TrimString(t), token) {
				return true
			}
		}
	}
	return false
}

// copyBody passes the body on; an answer whose length nobody knows, and a
// stream of events, piece by piece as they come.
func (f *Front) copyBody(w http.ResponseWriter, res *http.Response) error {
	if res.Body == http.NoBody {
		return nil
	}
	flush := func() error { return nil }
	if res.ContentLength == -1 || isEventStream(res.Header) {
		flush = http.NewResponseController(w).Flush
		_ = flush() // the headers; a client that is gone shows at the first piece
	}
	buf := f.buffers.Get()
	defer f.buffers.Put(buf)
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func isEventStream(h http.Header) bool {
	v := h["Content-Type"]
	if len(v) == 0 {
		return false
	}
	kind, _, _ := strings.Cut(v[0], ";")
	return strings.EqualFold(textproto.TrimString(kind), "text/event-stream")
}

// trail sends the trailers: those that were announced under their names, and
// those that came by surprise as net/http wants them.
func trail(w http.ResponseWriter, trailer http.Header, announced int) {
	_ = http.NewResponseController(w).Flush() // chunked from here on; there is no other place for trailers
	prefix := ""
	if len(trailer) != announced {
		prefix = http.TrailerPrefix
	}
	h := w.Header()
	for name, values := range trailer {
		h[prefix+name] = append(h[prefix+name], values...)
	}
}

// early passes on what comes before the answer (status 1xx) until the answer
// is there. It outlives the exchange, since the transport may call it late.
type early struct {
	trace httptrace.ClientTrace
	mu    sync.Mutex // guards w
	w     http.ResponseWriter
}

func (e *early) watch(ctx context.Context) context.Context {
	e.trace.Got1xxResponse = e.got
	return httptrace.WithClientTrace(ctx, &e.trace)
}

func (e *early) got(status int, header textproto.MIMEHeader) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w == nil {
		return nil
	}
	h := e.w.Header()
	passOn(h, http.Header(header))
	e.w.WriteHeader(status)
	clear(h) // they belong to this one alone
	return nil
}

func (e *early) end() {
	e.mu.Lock()
	e.w = nil
	e.mu.Unlock()
}
