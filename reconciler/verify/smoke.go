package verify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// Step is a smoke step, or the reason why it is left out.
type Step struct {
	desired.SmokeStep
	Skip string // not empty: the step is not made, for this reason
}

// Steps are smoke steps of which none is left out.
func Steps(list []desired.SmokeStep) []Step {
	out := make([]Step, len(list))
	for i, s := range list {
		out[i].SmokeStep = s
	}
	return out
}

// Pending are the results of steps that have not been made.
func Pending(steps []Step) []Result {
	out := make([]Result, len(steps))
	for i, s := range steps {
		out[i] = Result{Name: s.Name, Request: requestLine(s.SmokeStep), Status: Skipped, Message: s.Skip}
	}
	return out
}

// Smoke implements reconciler.Prober. A step without any answer is a *NotReady
// as a wrong answer is: there is nothing between the reconciler and what it
// asks that could be at fault. When ctx is cancelled, the error is its cause.
func (p *Prober) Smoke(ctx context.Context, base string, steps []desired.SmokeStep) error {
	report := p.Run(ctx, base, Steps(steps), nil, nil)
	if report.Err != nil && !errors.Is(report.Err, context.DeadlineExceeded) {
		return report.Err
	}
	if bad, found := report.Bad(); found {
		return &reconciler.NotReady{Container: base, Phase: smokePhase, Reason: bad.Reason()}
	}
	return nil
}

// Run makes the steps in order until one does not pass; those after it are
// skipped. known are variables that hold already (a token); they are secret.
// tell gets each result as it is there; it may be nil.
func (p *Prober) Run(ctx context.Context, base string, steps []Step, known map[string]string, tell func(Result)) Report {
	r := &run{p: p, vars: variables{saved: map[string]string{}, secret: p.secret, mask: newMask()}}
	maps.Copy(r.vars.saved, known)
	for _, v := range known {
		r.vars.mask.secret(v)
	}
	var bad error
	r.base, bad = Address(base)
	report, began, failed := Report{}, time.Now(), ""
	for i, result := range Pending(steps) {
		s := steps[i]
		switch {
		case failed != "":
			result.Message = fmt.Sprintf("step %q before it did not pass", failed)
		case bad != nil:
			result.Status, result.Message = CannotTest, "the address "+bad.Error()
		case s.Skip == "":
			result = r.step(ctx, s.SmokeStep, result)
		}
		if result.Status == Failed || result.Status == CannotTest {
			failed = s.Name
		}
		report.Steps = append(report.Steps, result)
		if tell != nil {
			tell(result)
		}
	}
	report.Took, report.Err = clock(began), r.ended
	return report
}

// run is one Run.
type run struct {
	p     *Prober
	base  string
	vars  variables
	ended error // the cause of the context's end
}

// method is the method and the path of a step, as written.
func method(s desired.SmokeStep) (name, path string) {
	for _, m := range []struct{ name, path string }{{http.MethodGet, s.Get}, {http.MethodPost, s.Post}, {http.MethodPut, s.Put},
		{http.MethodPatch, s.Patch}, {http.MethodDelete, s.Delete}} {
		if m.path != "" {
			return m.name, m.path
		}
	}
	return "", ""
}

func requestLine(s desired.SmokeStep) string {
	name, path := method(s)
	return name + " " + excerpt(path)
}

// step makes one step.
func (r *run) step(ctx context.Context, s desired.SmokeStep, result Result) Result {
	began := time.Now()
	if s.Wait != nil && !wait(ctx, time.Duration(*s.Wait)) {
		return r.over(ctx, result, "during the pause before the step", began)
	}
	req, err := r.request(s)
	if err != nil {
		result.Status, result.Message, result.Took = CannotTest, err.Error(), clock(began)
		return result
	}
	got, tries, err := r.tries(ctx, s, req)
	result.Tries = tries
	switch {
	case err == nil:
		result = r.judge(s, got, result)
	case ctx.Err() != nil:
		return r.over(ctx, result, r.vars.mask.text(faultText(err)), began)
	default:
		result.Status, result.Message = CannotTest, r.vars.mask.text(err.Error())
	}
	result.Took = clock(began)
	return result
}

// over is the result of a step that the end of ctx cut off.
func (r *run) over(ctx context.Context, result Result, at string, began time.Time) Result {
	r.ended = context.Cause(ctx)
	result.Status, result.Took = CannotTest, clock(began)
	result.Message = "interrupted"
	if errors.Is(r.ended, context.DeadlineExceeded) {
		result.Message = "the time for all steps is over: " + at
	}
	return result
}

// tries makes a request until there is an answer. Its error says that there is
// none, and why it was not tried again.
func (r *run) tries(ctx context.Context, s desired.SmokeStep, req request) (answer, int, error) {
	limit, retries := r.p.timeout, r.p.retries
	if s.Timeout != nil {
		limit = time.Duration(*s.Timeout)
	}
	if s.Retries != nil {
		retries = *s.Retries
	}
	for try := 1; ; try++ {
		got, err := r.p.send(ctx, req, limit)
		var f *fault
		if !errors.As(err, &f) && err != nil {
			return got, try, err
		}
		if err == nil && (!got.transient() || statusWanted(s.Expect, got.status)) {
			return got, try, nil
		}
		why, sent := "", true
		if f != nil {
			why, sent = "no answer: "+faultText(f.err), f.sent
		} else {
			why = "answered " + got.describe(r.vars.mask)
		}
		again := !sent || s.Retries != nil || repeatable(req.method)
		switch {
		case try <= retries && !again:
			return got, try, fmt.Errorf("%s (not tried again: the %s may have been received; retries in the step permits it)", why, req.method)
		case try > retries && err == nil && spoke(s.Expect, got):
			return got, try, nil
		case try > retries || hopeless(err):
			return got, try, fmt.Errorf("%s%s", why, afterTries(try))
		case !sleep(ctx, min(retryFirst<<min(try-1, 10), retryLast)):
			return got, try, errors.New(why)
		}
	}
}

// spoke says that a 502, 503 or 504 is the application's own word, not that of a
// gateway before it: a field that the step looks at is in the answer.
func spoke(e *desired.Expect, got answer) bool {
	doc, err := got.json()
	if err != nil || e == nil {
		return false
	}
	for field := range e.JSON {
		if _, there := lookup(doc, field); there {
			return true
		}
	}
	return false
}

func afterTries(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" (the last of %d tries)", n)
}

// repeatable says of a method that making a request twice is making it once
// (RFC 9110 section 9.2.2).
func repeatable(method string) bool { return method != http.MethodPost && method != http.MethodPatch }

// hopeless says that the next try ends as this one did.
func hopeless(err error) bool {
	var cert *tls.CertificateVerificationError
	return errors.As(err, &cert)
}

// request fills in a step.
func (r *run) request(s desired.SmokeStep) (request, error) {
	name, path := method(s)
	if name == "" {
		return request{}, errors.New("the step has no method")
	}
	path, err := r.vars.path(path)
	if err != nil {
		return request{}, fmt.Errorf("path: %w", err)
	}
	req := request{method: name, url: r.base + path, header: http.Header{"Accept": {"application/json"}}}
	if err := r.addBody(s.Body, &req); err != nil {
		return request{}, fmt.Errorf("body: %w", err)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Headers)) {
		value, err := r.vars.fill(s.Headers[key], nil)
		if err == nil {
			err = headerSafe(value)
		}
		if err != nil {
			return request{}, fmt.Errorf("header %s: %w", key, err)
		}
		r.vars.mask.header(key, value)
		req.header.Set(key, value)
	}
	if s.Bearer == "" {
		return req, nil
	}
	token, err := r.vars.value(s.Bearer)
	if err == nil {
		err = headerSafe(token)
	}
	if err != nil {
		return request{}, fmt.Errorf("bearer: %w", err)
	}
	req.header.Set("Authorization", "Bearer "+token)
	return req, nil
}

// headerSafe refuses what would end a header.
func headerSafe(value string) error {
	if strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
		return errors.New("the value holds a control character")
	}
	return nil
}

// addBody sends a text as it is, anything else as JSON.
func (r *run) addBody(body any, req *request) error {
	if body == nil {
		return nil
	}
	filled, err := r.vars.body(body)
	if err != nil {
		return err
	}
	r.vars.mask.sent(filled)
	if text, isText := filled.(string); isText {
		req.body = []byte(text)
		req.header.Set("Content-Type", "text/plain; charset=utf-8")
		return nil
	}
	text, err := compact(filled)
	req.body = []byte(text)
	req.header.Set("Content-Type", "application/json")
	return err
}
