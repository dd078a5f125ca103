package front

import (
	"net/http"
	"strconv"
	"strings"
)

const challengePath = "/.well-known/acme-challenge/"

// servePlain serves what comes without TLS: ACME challenges and redirections.
// Nothing is ever led to a container in the clear.
func (f *Front) servePlain(w http.ResponseWriter, r *http.Request) {
	if f.opts.ACME != nil && strings.HasPrefix(r.URL.Path, challengePath) {
		f.opts.ACME.ServeHTTP(w, r)
		return
	}
	host, ok := cleanHost(r.Host)
	if !ok || r.Method == http.MethodConnect {
		refuse(w, r, http.StatusBadRequest)
		return
	}
	rt := f.find(r.Context(), host)
	switch {
	case rt == nil:
		refuse(w, r, http.StatusNotFound)
	case !rt.state.Load().RedirectHTTP:
		refuse(w, r, http.StatusForbidden)
	default:
		f.redirect(w, r, host)
	}
}

// redirect sends a request to the same address over TLS. The method stays:
// 308 says so, and for GET and HEAD 301 is understood by all.
func (f *Front) redirect(w http.ResponseWriter, r *http.Request, host string) {
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	if f.opts.HTTPSPort != 443 {
		host += ":" + strconv.Itoa(f.opts.HTTPSPort)
	}
	path := r.URL.RequestURI()
	if !strings.HasPrefix(path, "/") { // OPTIONS *
		path = "/"
	}
	status := http.StatusPermanentRedirect
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		status = http.StatusMovedPermanently
	}
	w.Header().Set("Location", "https://"+host+path)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(status)
}
