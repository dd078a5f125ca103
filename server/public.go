package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/server/auth"
)

// People tells who makes a request; *auth.Store does.
type People interface {
	// Authenticate returns who asks, and false where the request does not say.
	Authenticate(*http.Request) (auth.Caller, bool, error)
	// Visit is where a request comes from.
	Visit(*http.Request) auth.Visit
	// SetupOpen reports whether there never was an administrator.
	SetupOpen() (bool, error)
}

// Public says how the API is served where anybody may connect.
type Public struct {
	// People are those that are known; nil: nobody is, and there is no setup.
	People People
	// Hosts are the names under which requests are answered, beside addresses,
	// localhost and the name of this machine.
	Hosts []string
	// Pages answer what is no call of the API; nil: 404.
	Pages http.Handler
}

// PublicHandler serves the API, and pages, over TCP. Every request passes, in
// this order: its id and the log; a net for panics; headers that bind browsers;
// its Host, against DNS rebinding; the setup; its origin, against forged
// requests; who asks. Whether they may is the matter of each operation, and of
// the pages.
func (a *API) PublicHandler(p Public) http.Handler {
	h := a.served(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p.Pages == nil || isCall(r.URL.Path) {
			noSuchCall(w, r)
			return
		}
		if who, known := auth.From(r.Context()); known && who.Via == auth.ViaToken {
			answerError(w, &Error{Status: http.StatusForbidden, Detail: "pages are for people who signed in: they know no scopes of tokens",
				Hint: "programs use the API: GET /api/openapi.json lists the calls"})
			return
		}
		p.Pages.ServeHTTP(w, r)
	}))
	if p.People != nil {
		h = identified(p.People, h)
		h = a.afterSetup(p.People, h)
	}
	h = answeredHosts(p.Hosts, sameOrigin(h))
	return a.Observe(a.caught(guarded(h)))
}

// isCall reports whether a path is one of the API, where errors are JSON.
func isCall(path string) bool {
	return path == "/metrics" || path == "/healthz" || path == "/readyz" ||
		slices.ContainsFunc([]string{"/api/", "/auth/", "/hooks/"}, func(root string) bool { return strings.HasPrefix(path+"/", root) })
}

// identified puts who asks, and from where, into the context. That somebody is
// refused is told only by what needs to know them: a stale cookie must not keep
// anybody from signing in.
func identified(people People, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := auth.WithVisit(r.Context(), people.Visit(r))
		switch caller, known, err := people.Authenticate(r); {
		case err != nil:
			ctx = context.WithValue(ctx, refusedKey{}, err)
		case known:
			ctx = auth.With(ctx, caller)
		}
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// refusedKey leads to the error with which whoever asks was not believed.
type refusedKey struct{}

// afterSetup answers only what sets up, or tells of health, until there is an
// administrator. Pages see to themselves: they lead to the setup.
func (a *API) afterSetup(people People, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.calls().early[r.URL.Path] || !isCall(r.URL.Path) {
			next.ServeHTTP(w, r)
			return
		}
		before, err := people.SetupOpen()
		switch {
		case err != nil:
			answerError(w, withHint(&Error{Status: http.StatusServiceUnavailable, Detail: "read people: " + err.Error(), cause: err}, "look at the daemon's log"))
		case before:
			answerError(w, &Error{Status: http.StatusServiceUnavailable, Detail: "there is no administrator yet",
				Hint: "make one: POST /auth/bootstrap with email and password, or open /setup in a browser"})
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// answeredHosts refuses requests for names that nobody gave this daemon: a page
// of another site whose name was pointed here would be of the same origin.
func answeredHosts(names []string, next http.Handler) http.Handler {
	if own, err := os.Hostname(); err == nil {
		short, _, _ := strings.Cut(own, ".")
		names = append(slices.Clone(names), own, short)
	}
	names = append(names, "localhost")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if hostAnswered(names, r.Host) {
			next.ServeHTTP(w, r)
			return
		}
		answerError(w, &Error{Status: http.StatusMisdirectedRequest, Detail: "this daemon is not asked under the name " + clipped(r.Host),
			Hint: "set server.host in agent.yaml to it, or ask under the address"})
	})
}

func hostAnswered(names []string, host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(host, ".")
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "" { // HTTP/1.0 names none, and no browser speaks that
		return true
	}
	return slices.ContainsFunc(names, func(name string) bool { return name != "" && strings.EqualFold(name, host) })
}

// clipped is something that a client sent, short enough to be shown.
func clipped(s string) string {
	const most = 100
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// sameOrigin refuses what pages of other sites have a browser send with the
// cookie of somebody who is signed in. A token is sent by nobody unasked.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A browser sends the password of a proxy unasked (Basic), and no token.
		scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if err := protection.Check(r); err != nil && !strings.EqualFold(scheme, "Bearer") {
			answerError(w, &Error{Status: http.StatusForbidden, Detail: "the request comes from a page of another site",
				Hint: "programs send Authorization: Bearer TOKEN; a proxy has to pass the Host header on"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// contentPolicy lets a page have nothing but what this daemon serves, and no
// script or style within it.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guarded adds the headers that bind browsers.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", contentPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		if isCall(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
		}
		next.ServeHTTP(w, r)
	})
}

// caught has a request that panics fail, and writes down where. Half of an
// answer is cut off, so that it does not look like a whole one.
func (a *API) caught(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			broken := recover()
			if broken == nil {
				return
			}
			if broken == http.ErrAbortHandler {
				panic(broken)
			}
			if a.cfg.Log != nil {
				a.cfg.Log.WithFields(logrus.Fields{"method": r.Method, "path": clipped(r.URL.Path), "panic": broken, "stack": string(debug.Stack())}).Error("A request broke")
			}
			if s, known := w.(*seen); known && s.status != 0 {
				panic(http.ErrAbortHandler)
			}
			answerError(w, &Error{Status: http.StatusInternalServerError, Detail: "the daemon could not answer: something in it broke",
				Hint: "its log says where; please report it"})
		}()
		next.ServeHTTP(w, r)
	})
}
