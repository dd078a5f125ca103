package server

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// Error is an error as the API answers it: what went wrong and what to do. It
// is the same on both sides of the socket.
type Error struct {
	Status   int               `json:"-"`
	Detail   string            `json:"detail" doc:"what went wrong" example:"find instance shop: there is no such instance"`
	Hint     string            `json:"hint,omitempty" doc:"what to do next" example:"there are: acme, sales"`
	Problems []desired.Problem `json:"problems,omitempty" doc:"of a revision that does not load, each with its place"`
	// Code is a word for programs, where a status stands for several things.
	Code  string `json:"error,omitempty" doc:"a word for programs, where a status stands for several things" example:"sync_already_in_progress"`
	JobID string `json:"job_id,omitempty" doc:"the job that is in the way" example:"sync-17"`
	// RetryAfter is when to come again; 0: nobody knows.
	RetryAfter time.Duration `json:"-"`
	cause      error
	moved      bool // somebody else changed the same files meanwhile
}

func (e *Error) Error() string { return e.Detail }

func (e *Error) Unwrap() error { return e.cause }

// advised is the error with what to do next, for those that nobody gave advice of
// their own: whoever asked may be a program that goes by it.
func (e *Error) advised() *Error {
	if e.Hint != "" {
		return e
	}
	out := *e
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		out.Hint = "mend what was sent and send it again; GET /api/openapi.json describes every call"
	case http.StatusNotFound:
		out.Hint = "look at what there is: GET /api/instances, and below it"
	case http.StatusConflict:
		out.Hint = "look at how it stands (GET /api/instances), and ask again when nothing is in the way"
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		out.Hint = "try again in a moment; GET /api/health says what is wrong"
	default:
		out.Hint = "the log of the daemon says more, under the X-Request-Id of this answer"
	}
	return &out
}

// GetStatus is how huma asks for the status.
func (e *Error) GetStatus() int { return e.Status }

// GetHeaders are those that the answer has beside its body. 401 says how to say
// who asks (RFC 9110, 11.6.1).
func (e *Error) GetHeaders() http.Header {
	h := http.Header{}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="fairlead"`)
	}
	return h
}

// withHint adds what to do.
func withHint(err error, hint string) error {
	e := AsError(err)
	e.Hint = hint
	return e
}

// orConflict is 409 for an error of which nothing else is known: what was asked
// for does not fit what there is.
func orConflict(err error, hint string) error {
	e := AsError(err)
	if e.Status == http.StatusInternalServerError {
		e.Status = http.StatusConflict
	}
	if e.Hint == "" {
		e.Hint = hint
	}
	return e
}

// absent is the answer where a part of the daemon is not there: in a command
// that only reads the data directory, most are not.
func absent(detail string) error {
	return &Error{Status: http.StatusServiceUnavailable, Detail: detail, Hint: "start the daemon: fairlead run"}
}

// invalid marks an error as the caller's.
func invalid(err error) error {
	e := AsError(err)
	e.Status = http.StatusUnprocessableEntity
	return e
}

// AsError says how the API answers an error.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	e = &Error{Status: http.StatusInternalServerError, Detail: err.Error(), cause: err}
	var problems desired.Problems
	switch {
	case errors.As(err, &problems):
		e.Status, e.Problems = http.StatusUnprocessableEntity, problems
		e.Hint = "mend the files and commit; fairlead validate checks them before"
	case errors.Is(err, reconciler.ErrNoInstance), errors.Is(err, reconciler.ErrNoGeneration), errors.Is(err, reconciler.ErrUnknownObject):
		e.Status = http.StatusNotFound
	case errors.Is(err, reconciler.ErrUnreachable):
		e.Status = http.StatusServiceUnavailable
		e.Hint = "check that the container engine runs, and --docker-host"
	case errors.Is(err, context.DeadlineExceeded):
		e.Status = http.StatusGatewayTimeout
	}
	var no *auth.Refusal
	if errors.As(err, &no) {
		e.Status, e.Detail, e.Hint, e.RetryAfter = statusOf(no.Kind), no.Detail, no.Hint, no.RetryAfter
	}
	return e
}

// statusOf is the status of a refusal.
func statusOf(kind auth.Kind) int {
	switch kind {
	case auth.Nobody:
		return http.StatusUnauthorized
	case auth.Denied:
		return http.StatusForbidden
	case auth.Missing:
		return http.StatusNotFound
	case auth.Conflict:
		return http.StatusConflict
	case auth.TooMany:
		return http.StatusTooManyRequests
	}
	return http.StatusUnprocessableEntity
}
