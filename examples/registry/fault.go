package registry

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault is one way in which a registry fails. Delay comes first, then Status, Garbage or CutAfter; with none of them,
// the request is served after the delay, as Header and Corrupt change it.
type Fault struct {
	Match      func(*http.Request) bool // nil matches every request
	Times      int                      // how many requests it hits; 0 means all
	Delay      time.Duration            // waits first, or until the client gives up
	Status     int                      // answers this instead, in the registry's error format; 401 asks for basic auth
	RetryAfter time.Duration            // header of a 429 or 503, rounded up to seconds
	Cut        bool                     // breaks the connection after CutAfter bytes of the body
	CutAfter   int64                    //
	DateForm   bool                     // writes RetryAfter as a date
	Garbage    string                   // answers 200 with this as a web page instead, as a login page on the way does
	Header     func(http.Header)        // changes the header of the real answer: another digest, no digest
	Corrupt    bool                     // changes one byte in the middle of the real answer
}

// Blobs matches downloads of layers and configurations.
func Blobs(req *http.Request) bool {
	return req.Method == http.MethodGet && strings.Contains(req.URL.Path, "/blobs/")
}

// Manifests matches HEAD and GET of manifests.
func Manifests(req *http.Request) bool {
	return (req.Method == http.MethodGet || req.Method == http.MethodHead) &&
		strings.Contains(req.URL.Path, "/manifests/")
}

// Repo matches every request about one repository.
func Repo(name string) func(*http.Request) bool {
	return func(req *http.Request) bool { return strings.HasPrefix(req.URL.Path, "/v2/"+name+"/") }
}

// Fault adds a fault to those in force; the first that matches is the one that happens.
func (r *Registry) Fault(f Fault) { r.faults.add(f) }

// ClearFaults makes the registry healthy again.
func (r *Registry) ClearFaults() { r.faults.clear() }

type faults struct {
	mu  sync.Mutex
	all []*armed
}

// armed is a fault with the number of times that are left; negative means no limit.
type armed struct {
	Fault
	left int
}

func (f *faults) add(fault Fault) {
	left := fault.Times
	if left == 0 {
		left = -1
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, &armed{Fault: fault, left: left})
}

func (f *faults) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = nil
}

// take finds the fault for req and counts it.
func (f *faults) take(req *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.all {
		if a.left == 0 || (a.Match != nil && !a.Match(req)) {
			continue
		}
		if a.left > 0 {
			a.left--
		}
		return a.Fault, true
	}
	return Fault{}, false
}

func (f *faults) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		fault, ok := f.take(req)
		if !ok {
			next.ServeHTTP(w, req)
			return
		}
		fault.serve(w, req, next)
	})
}

func (f Fault) serve(w http.ResponseWriter, req *http.Request, next http.Handler) {
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return
		}
	}
	switch {
	case f.Status != 0:
		if f.DateForm && f.RetryAfter > 0 {
			w.Header().Set("Retry-After", time.Now().Add(f.RetryAfter).UTC().Format(http.TimeFormat))
		}
		writeStatus(w, f.Status, f.RetryAfter)
	case f.Garbage != "":
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte(f.Garbage)) // the client is gone when this fails
	case f.Header != nil || f.Corrupt:
		f.change(w, req, next)
	case f.Cut:
		next.ServeHTTP(&cutWriter{ResponseWriter: w, left: f.CutAfter}, req)
	default:
		next.ServeHTTP(w, req)
	}
}

// change serves the request and lies about the answer.
func (f Fault) change(w http.ResponseWriter, req *http.Request, next http.Handler) {
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, req)
	if f.Header != nil {
		f.Header(answer.Header())
	}
	if body := answer.Body.Bytes(); f.Corrupt && len(body) > 0 {
		body[len(body)/2] ^= 1
	}
	copyAnswer(w, answer)
}

// writeStatus answers in the error format of the OCI distribution specification.
func writeStatus(w http.ResponseWriter, status int, retryAfter time.Duration) {
	code := "UNKNOWN"
	switch status {
	case http.StatusUnauthorized:
		code = "UNAUTHORIZED"
		w.Header().Set("WWW-Authenticate", `Basic realm="fairlead example registry"`)
	case http.StatusForbidden:
		code = "DENIED"
	case http.StatusTooManyRequests:
		code = "TOOMANYREQUESTS"
	}
	if retryAfter > 0 && w.Header().Get("Retry-After") == "" {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((retryAfter+time.Second-1)/time.Second), 10))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"errors":[{"code":"` + code + `","message":"` + http.StatusText(status) + `"}]}`))
}

// cutWriter lets a number of body bytes through and then breaks the connection.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) < c.left {
		c.left -= int64(len(p))
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush() // the connection ends either way
	panic(http.ErrAbortHandler)                              // net/http's documented way to break a response
}
