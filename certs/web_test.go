package certs_test

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/desired"
)

// site is the web server of a corporate CA.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]http.HandlerFunc
	asked int
	date  time.Time // that it shows; zero: none
}

func newSite(t testing.TB) *site {
	t.Helper()
	s := &site{files: map[string]http.HandlerFunc{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	w.Header()["Date"] = nil
	if !s.date.IsZero() {
		w.Header().Set("Date", s.date.UTC().Format(http.TimeFormat))
	}
	if f := s.files[r.URL.Path]; f != nil {
		f(w, r)
		return
	}
	http.NotFound(w, r)
}

func (s *site) on(path string, f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = f
}

func (s *site) put(path string, data []byte) {
	s.on(path, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(data) })
}

func (s *site) says(date time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.date = date
}

// questions are those since it was called last.
func (s *site) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.asked
	s.asked = 0
	return n
}

// with has a host trust and reach the site.
func (s *site) with(h *host) {
	file := filepath.Join(h.t.(interface{ TempDir() string }).TempDir(), "site.pem")
	write(h.t, pemOf(s.Certificate()), file)
	h.opts.Fetch = source.New(source.Options{AllowedHosts: []string{strings.TrimPrefix(s.URL, "https://")}, CAFile: file, Now: h.now, Env: h.lookup})
}

// at wants the chain of the site.
func (s *site) at(a *authority) desired.CertificateSpec {
	spec := byRequest(a)
	spec.Fullchain = s.URL + "/chain.pem"
	return spec
}

// slowFetch reaches two sites.
func slowFetch(h *host, sites ...*site) *source.Fetcher {
	var hosts []string
	for _, s := range sites {
		hosts = append(hosts, strings.TrimPrefix(s.URL, "https://"))
	}
	return source.New(source.Options{AllowedHosts: hosts, Now: h.now, Env: h.lookup})
}
