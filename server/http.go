package server

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

// The bounds of a request.
const (
	maxBody     = 64 << 10
	callTimeout = 2 * time.Minute  // of an answer that is not a stream
	lineTimeout = 30 * time.Second // of one line of a stream
	maxLimit    = 500              // entries of history or events
)

const ndjson = "application/x-ndjson"

// areas are the parts of the API, each of which declares its operations.
func (a *API) areas() []func(*router) {
	return []func(*router){
		a.documentRoutes,
		a.healthRoutes,
		a.daemonRoutes,
		a.instanceRoutes,
		a.certificateRoutes,
		a.connectorRoutes,
		a.dataRoutes,
		a.jobRoutes,
		a.peopleRoutes,
		a.hookRoutes,
		a.noticeRoutes,
		a.secretRoutes,
		a.changeRoutes,
		a.syncRoutes,
	}
}

// calls routes all operations. They are put together by the first who needs
// them.
func (a *API) calls() *router {
	a.once.Do(func() {
		a.router = newRouter(a)
		for _, area := range a.areas() {
			area(a.router)
		}
		a.router.pack()
	})
	return a.router
}

// Handler serves the API over the unix socket, where everybody is an
// administrator: whoever may open it is root or the user of the daemon.
func (a *API) Handler() http.Handler {
	calls := a.served(http.HandlerFunc(noSuchCall))
	return a.Observe(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := auth.Caller{Name: operator(r), Role: auth.RoleAdmin, Via: auth.ViaSocket}
		calls.ServeHTTP(w, r.WithContext(auth.With(r.Context(), who)))
	}))
}

// served answers calls; what is none is answered by other.
func (a *API) served(other http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.calls().serve(w, r, other) })
}

func noSuchCall(w http.ResponseWriter, r *http.Request) {
	answerError(w, &Error{Status: http.StatusNotFound, Detail: "no such call: " + r.Method + " " + r.URL.Path,
		Hint: "GET /api/openapi.json lists the calls"})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"detail":"the answer cannot be written as JSON","hint":"the log of the daemon says more"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

func answerError(w http.ResponseWriter, err error) {
	e := AsError(err).advised()
	for name, values := range e.GetHeaders() {
		w.Header()[name] = values
	}
	answerJSON(w, e.Status, e)
}

// deadline bounds how long the rest of an answer may take to write.
func deadline(w http.ResponseWriter, d time.Duration) {
	// The only error is that the connection cannot have one.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d + 10*time.Second))
}

// stream writes JSON values, a line each. An error before the first line is an
// ordinary answer, after it a line {"error": …}.
type stream struct {
	w     http.ResponseWriter
	begun bool
}

func (s *stream) send(v any) error {
	if !s.begun {
		s.w.Header().Set("Content-Type", ndjson)
		s.begun = true
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	deadline(s.w, lineTimeout)
	if _, err := s.w.Write(append(line, '\n')); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

func (s *stream) end(err error) {
	switch {
	case err == nil && !s.begun:
		s.w.Header().Set("Content-Type", ndjson)
		s.w.WriteHeader(http.StatusOK)
	case err == nil:
	case !s.begun:
		answerError(s.w, err)
	default:
		_ = s.send(map[string]*Error{"error": AsError(err).advised()})
	}
}
