package pages

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// Options wire a Site. Only API is needed.
type Options struct {
	API *server.API
	// Setup reports whether no administrator exists yet. Every page but those
	// for everybody leads to /setup then. nil: never.
	Setup func(context.Context) bool
	// Valid reports whether a caller may still be believed; open streams ask it
	// from time to time. nil: always.
	Valid func(context.Context, auth.Caller) bool
	// Secure reports whether a request came by TLS, be it to a proxy that is
	// trusted. nil: only what came here by TLS did.
	Secure func(*http.Request) bool
	// Log is told of pages that could not be made. nil: nobody is.
	Log *logrus.Entry
}

// everybody marks a page that needs no caller.
const everybody = auth.Role("")

// Site serves the pages. Who asks is in the context of the request: whoever
// serves a Site puts it there (auth.With).
type Site struct {
	api     *server.API
	opt     Options
	mux     *http.ServeMux
	handler http.Handler
	known   map[string]bool // paths that a GET is registered for
	looks   func() (*looks, error)
	files   func() (*files, error)
	flashes flashes
	drafts  *drafts
	asked   *asked
	reveals reveals
	// settler is who made the first administrator, while on the way through the setup.
	settler atomic.Pointer[string]
	hub     *hub
	open    streams
	fresh   overviews
	counted restartCounts
	// heartbeat is how often a stream shows that it is alive.
	heartbeat time.Duration
}

// New does no I/O. The Site is closed by whoever made it.
func New(opt Options) *Site {
	s := &Site{api: opt.API, opt: opt, mux: http.NewServeMux(), known: map[string]bool{}, heartbeat: streamHeartbeat, asked: newAsked(time.Now)}
	s.files = sync.OnceValues(readFiles)
	s.looks = sync.OnceValues(func() (*looks, error) { return readLooks(s) })
	s.hub = newHub(opt.API)
	s.drafts = newDrafts(time.Now, opt.API.Notebook(), func(err error) {
		if opt.Log != nil {
			opt.Log.WithError(err).Warn("Keep drafts")
		}
	})
	for _, register := range s.areas() {
		register()
	}
	s.mux.HandleFunc("GET /static/{file}", s.static)
	s.mux.HandleFunc("/", s.serve(everybody, s.nowhere))
	s.handler = http.NewCrossOriginProtection().Handler(s.mux)
	return s
}

// Close ends the open streams.
func (s *Site) Close() { s.hub.close() }

// ServeHTTP implements http.Handler.
func (s *Site) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// handler makes the answer to one visit.
type handler func(*visit) (reply, error)

// page registers a handler with the least role that it needs; everybody: none.
func (s *Site) page(pattern string, need auth.Role, h handler) {
	if path, get := strings.CutPrefix(pattern, "GET "); get {
		s.known[strings.TrimSuffix(path, "{$}")] = true
	}
	s.mux.HandleFunc(pattern, s.serve(need, h))
}

// pageWithin registers a handler that may take longer than others.
func (s *Site) pageWithin(limit time.Duration, pattern string, need auth.Role, h handler) {
	s.mux.HandleFunc(pattern, s.serveWithin(limit, need, h))
}

// The bounds of a visit.
const (
	maxForm     = 256 << 10
	pageTimeout = 60 * time.Second
)

func (s *Site) serve(need auth.Role, h handler) http.HandlerFunc {
	return s.serveWithin(pageTimeout, need, h)
}

func (s *Site) serveWithin(limit time.Duration, need auth.Role, h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		server.NoteOperation(r.Context(), r.Pattern, need)
		ctx, cancel := context.WithTimeout(r.Context(), limit)
		defer cancel()
		// The only error is that the connection cannot have a deadline.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit + 10*time.Second))
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		v := &visit{Request: r.WithContext(ctx), w: w, site: s}
		v.Caller, v.known = auth.From(r.Context())
		if v.known && v.reads() {
			v.versions = s.hub.now()
		}
		answer, err := s.admit(v, need, h)
		if err != nil {
			answer = v.sorry(err)
		}
		answer.send(v)
	}
}

// admit lets in who may see a page, and leads the others to where they can be.
func (s *Site) admit(v *visit, need auth.Role, h handler) (reply, error) {
	if need == everybody {
		return h(v)
	}
	if s.early(v) {
		return s.toSetup(v)
	}
	if !v.known {
		if v.reads() {
			return redirect{signIn(v.URL.RequestURI())}, nil
		}
		return nil, &server.Error{Status: http.StatusUnauthorized, Detail: "nobody is signed in", Hint: "sign in and do it again"}
	}
	if !v.Caller.Role.Allows(need) {
		return nil, &server.Error{Status: http.StatusForbidden,
			Detail: "this needs the role " + string(need) + "; you are " + article(string(v.Caller.Role)),
			Hint:   "ask an administrator to do it, or for the role (Users)"}
	}
	return h(v)
}

// early reports whether there is no administrator yet.
func (s *Site) early(v *visit) bool { return s.opt.Setup != nil && s.opt.Setup(v.Context()) }

// toSetup is the answer of every page but the setup until there is one.
func (s *Site) toSetup(v *visit) (reply, error) {
	if v.reads() {
		return redirect{"/setup"}, nil
	}
	return nil, &server.Error{Status: http.StatusServiceUnavailable, Detail: "there is no administrator yet", Hint: "open /setup and make the first one"}
}

// nowhere is where a path leads that is no page.
func (s *Site) nowhere(v *visit) (reply, error) {
	if s.early(v) {
		return s.toSetup(v)
	}
	return nil, v.missing()
}

// secure reports whether a cookie may be kept to TLS.
func (s *Site) secure(r *http.Request) bool {
	if s.opt.Secure != nil {
		return s.opt.Secure(r)
	}
	return r.TLS != nil
}

// protect sets what a browser is to refuse.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "+
		"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}
