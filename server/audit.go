package server

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/server/auth"
)

// told writes down in the audit log what somebody changed, or was refused, and
// returns how the API answers the error. Whoever calls it is not written down a
// second time by Observe.
func (a *API) told(ctx context.Context, operation, target string, err error) error {
	noteTold(ctx)
	var no *auth.Refusal
	_, known := auth.From(ctx)
	if (errors.As(err, &no) && no.Told) || !known { // the store writes down who signs in, and who may not
		return refused(err)
	}
	e := auth.Entry{Operation: operation, Target: strings.TrimSpace(target), Outcome: auth.OutcomeDone}
	if err != nil {
		e.Outcome, e.Detail = outcome(AsError(refused(err)).Status)
	}
	return errors.Join(refused(err), a.cfg.Auth.Record(e.By(visiting(ctx))))
}

// visiting adds to where a request comes from the id that ties together what it
// leads to.
func visiting(ctx context.Context) context.Context { return auth.WithVisit(ctx, visitOf(ctx)) }

// noteTold says that a request was written down.
func noteTold(ctx context.Context) {
	if c, known := ctx.Value(visitKey{}).(*visit); known {
		c.told = true
	}
}

// outcome says how an answer is written down.
func outcome(status int) (outcome, detail string) {
	switch {
	case status < http.StatusBadRequest:
		return auth.OutcomeDone, ""
	case status < http.StatusInternalServerError:
		outcome = auth.OutcomeRefused
	default:
		outcome = auth.OutcomeFailed
	}
	return outcome, strconv.Itoa(status) + " " + http.StatusText(status)
}

// tell writes down a request that was answered, to the API or to a page, if it
// may have changed something: then it needs an administrator. Those that need
// less change nothing but what told has written down itself. The body is not
// looked at.
func (a *API) tell(r *http.Request, c *visit, status int) {
	if a.cfg.Auth == nil || c.told || c.operation == "" || !unsafe(r.Method) || c.need != auth.RoleAdmin || c.caller.Via == "" {
		return
	}
	e := auth.Entry{Operation: c.operation, Target: targetOf(c.path, r.URL.Path)}
	e.Outcome, e.Detail = outcome(status)
	ctx := auth.With(r.Context(), c.caller)
	if c.come != (auth.Visit{}) {
		ctx = auth.WithVisit(ctx, c.come)
	}
	if err := a.cfg.Auth.Record(e.By(visiting(ctx))); err != nil && a.cfg.Log != nil {
		a.cfg.Log.WithError(err).Error("Write audit log")
	}
}

func unsafe(method string) bool {
	return method != http.MethodGet && method != http.MethodHead && method != http.MethodOptions
}

var pathName = regexp.MustCompile(`^\{[^}]*\}$`)

// targetOf is what a path names: the values of its parameters.
func targetOf(pattern, path string) string {
	var names []string
	parts := strings.Split(path, "/")
	for i, p := range strings.Split(pattern, "/") {
		if i < len(parts) && pathName.MatchString(p) {
			names = append(names, parts[i])
		}
	}
	return strings.Join(names, "/")
}

// Record writes down what somebody does in this process without a request: a
// command where no daemon runs.
func (a *API) Record(ctx context.Context, operation, target string, err error) error {
	if a.cfg.Auth == nil {
		return nil
	}
	e := auth.Entry{Operation: operation, Target: target, Outcome: auth.OutcomeDone}
	if err != nil {
		e.Outcome, e.Detail = outcome(AsError(err).Status)
	}
	return a.cfg.Auth.Record(e.By(ctx))
}
