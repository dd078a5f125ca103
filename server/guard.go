package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/fairlead/fairlead/server/auth"
)

// guard is what every call passes before its handler: who asks, what they may,
// how much they may send and how long it may take.
func (a *API) guard(op operation, next http.Handler) http.Handler {
	size := op.maxBody
	if size == 0 {
		size = maxBody
	}
	timeout := op.timeout
	if timeout == 0 {
		timeout = callTimeout
	}
	if op.method == http.MethodPost {
		next = a.repeatable(op, next)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked(r.Context(), op)
		if err := allow(r.Context(), op); err != nil {
			answerError(w, err)
			return
		}
		if op.before != nil {
			if err := op.before(r); err != nil {
				answerError(w, err)
				return
			}
		}
		leave, err := a.admit(w, r, op, size)
		if err != nil {
			answerError(w, err)
			return
		}
		defer leave()
		if !op.endless {
			ctx, cancel := context.WithTimeout(r.Context(), timeout)
			defer cancel()
			r = r.WithContext(ctx)
			deadline(w, timeout)
		} else {
			ctx, cancel := a.believed(r.Context(), caller(r.Context()))
			defer cancel()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// admit takes in a request for as long as there is room for it.
func (a *API) admit(w http.ResponseWriter, r *http.Request, op operation, size int64) (leave func(), err error) {
	over := func() {}
	switch {
	case op.costly:
		over, err = a.limits.enter(caller(r.Context()), "", costlyCalls)
	case op.endless && op.method == http.MethodGet:
		over, err = a.limits.enter(caller(r.Context()), "stream", openStreams)
	}
	if err != nil {
		return nil, err
	}
	release, err := a.limits.room(r, size)
	if err == nil {
		if err = takeBody(w, r, size); err != nil {
			release()
		}
	}
	if err != nil {
		over()
		return nil, err
	}
	return func() { release(); over() }, nil
}

// allow reports why somebody may not call an operation.
func allow(ctx context.Context, op operation) error {
	if op.role == public {
		return nil
	}
	caller, known := auth.From(ctx)
	refused, _ := ctx.Value(refusedKey{}).(error)
	switch {
	case refused != nil:
		return refused
	case !known:
		return &Error{Status: http.StatusUnauthorized, Detail: op.method + " " + op.path + ": who asks is not known",
			Hint: "send Authorization: Bearer TOKEN; POST /auth/token gives one for an email and a password, and so does fairlead user token add on the host"}
	case !caller.Role.Allows(op.role):
		return &Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("%s %s needs the role %s; yours is %s", op.method, op.path, op.role, caller.Role),
			Hint: "ask an administrator to make the call, or for the role"}
	case !caller.Permits(op.needs()):
		return &Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("%s %s needs a token with the scope %s", op.method, op.path, op.needs()),
			Hint: "make a token that has it, or one without scopes: POST /api/tokens"}
	}
	return nil
}

// takeBody reads the whole body before the handler starts, so that a client
// that sends slowly holds up nobody but itself, and the end of the read
// deadline of the server cannot end a call that works on.
func takeBody(w http.ResponseWriter, r *http.Request, size int64) error {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	body := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), size)+bytes.MinRead)) // at once: to grow takes several times as much
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, size))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &Error{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body is larger than %s", sizeOf(size)), Hint: "send less at once"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &Error{Status: http.StatusRequestTimeout, Detail: "read body: it does not come", Hint: "send the whole body within 30 seconds"}
	case err != nil:
		return &Error{Status: http.StatusBadRequest, Detail: "read body: " + err.Error(), Hint: "send the whole body within 30 seconds"}
	}
	r.Body = heldBody{bytes.NewReader(body.Bytes())}
	return nil
}

// heldBody is a body that is in memory, and may be read again.
type heldBody struct{ *bytes.Reader }

// Close does nothing.
func (heldBody) Close() error { return nil }

func sizeOf(bytes int64) string {
	if bytes >= 1<<20 {
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}

// caller is who asks; in a handler whose operation is not public somebody is.
func caller(ctx context.Context) auth.Caller {
	c, _ := auth.From(ctx)
	return c
}

// by names who asks, as history and commits show it.
func by(ctx context.Context) string {
	c := caller(ctx)
	for _, name := range []string{c.Name, c.Email, c.ID} {
		if name != "" {
			return name
		}
	}
	return "unknown"
}
