package server

import (
	"context"
	"crypto/rand"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// CorrelationHeader carries the id of a request, both ways. It is found again in
// the log, and in the history and the events of what the request led to.
const CorrelationHeader = "X-Request-Id"

// requestID is what a client may call its request. It reaches logs and history.
var requestID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$`)

// AccessLog says which requests are logged.
type AccessLog string

// The values of AccessLog.
const (
	LogChanges AccessLog = "changes" // what may change something, what is refused, and what goes wrong
	LogAll     AccessLog = "all"
	LogNone    AccessLog = "off"
)

// visit is what is known of a request while it is answered.
type visit struct {
	call      string // of the API: method and URL; empty: it is none
	operation string // id; empty: no operation took it
	path      string // of the operation, with the names of its parameters
	need      auth.Role
	endless   bool
	caller    auth.Caller
	come      auth.Visit
	told      bool // the audit log has it
}

type visitKey struct{}

// Observe is what every request passes first, wherever it comes in: it is given
// an id, counted and logged. What came through it before is left alone.
func (a *API) Observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, known := r.Context().Value(visitKey{}).(*visit); known {
			next.ServeHTTP(w, r)
			return
		}
		id := r.Header.Get(CorrelationHeader)
		if !requestID.MatchString(id) {
			id = rand.Text()
		}
		w.Header().Set(CorrelationHeader, id)
		c, s, began := &visit{call: callOf(r)}, &seen{ResponseWriter: w}, time.Now()
		ctx := reconciler.WithCorrelation(context.WithValue(r.Context(), visitKey{}, c), id)
		defer func() { // also when the handler panics: half of an answer is cut off so
			a.tell(r.WithContext(ctx), c, s.code())
			a.saw(r, c, s.code(), id, time.Since(began))
		}()
		next.ServeHTTP(s, r.WithContext(ctx))
	})
}

// callOf is what would be sent to ask the same again.
func callOf(r *http.Request) string {
	call := r.Method + " " + r.URL.RequestURI()
	if !isCall(r.URL.Path) || len(call) > 400 { // longer than any that there is
		return ""
	}
	return call
}

// asked notes which operation takes a request, and for whom.
func asked(ctx context.Context, op operation) {
	if c, known := ctx.Value(visitKey{}).(*visit); known {
		c.operation, c.path, c.need, c.endless = op.id, op.path, op.role, op.endless
		c.caller, _ = auth.From(ctx)
		c.come = auth.VisitFrom(ctx)
	}
}

// NoteOperation names what takes a request that is no operation of the API: a
// page, by its pattern ("POST /rings/{name}/polish") and the least role that it
// needs, if any. There must be few of them.
func NoteOperation(ctx context.Context, pattern string, need auth.Role) {
	_, path, _ := strings.Cut(pattern, " ")
	asked(ctx, operation{id: pattern, path: path, role: need})
}

// NoteStream is NoteOperation for what goes on until the client leaves: how long
// that takes says nothing.
func NoteStream(ctx context.Context, name string) {
	asked(ctx, operation{id: name, endless: true})
}

// saw counts and logs a request that was answered.
func (a *API) saw(r *http.Request, c *visit, status int, id string, took time.Duration) {
	a.traffic.saw(c, status, took)
	if a.cfg.Log == nil || !a.cfg.AccessLog.logs(r.Method, status) {
		return
	}
	name := c.operation
	if name == "" {
		name = noOperation
	}
	fields := logrus.Fields{"correlation": id, "operation": name, "method": r.Method, "status": status, "took": took.Round(time.Microsecond).String()}
	if c.caller.Via != "" {
		fields["via"] = c.caller.Via
		fields["caller"] = by(auth.With(context.Background(), c.caller))
	}
	a.cfg.Log.WithFields(fields).Info("Request")
}

func (l AccessLog) logs(method string, status int) bool {
	switch l {
	case LogAll:
		return true
	case LogNone:
		return false
	}
	reads := method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
	return !reads || status >= 500 || refusal(status) != ""
}

// seen notes the status of an answer.
type seen struct {
	http.ResponseWriter
	status int
}

func (s *seen) WriteHeader(status int) {
	if s.status == 0 && status >= http.StatusOK { // those below only announce it
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *seen) Write(p []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController through: streams flush and set deadlines.
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush is for those who ask for an http.Flusher.
func (s *seen) Flush() { _ = http.NewResponseController(s.ResponseWriter).Flush() }

func (s *seen) code() int {
	if s.status == 0 {
		return http.StatusOK // net/http sends that for an answer without a body
	}
	return s.status
}
