package source

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/fairlead/fairlead/reconciler"
)

// What went wrong, as far as it changes what is done about it. Each error of a
// fetch is one of them.
var (
	ErrRefused     = errors.New("refused")          // by the host or by the rules; nobody was asked
	ErrNotFound    = errors.New("not found")        // there is no such thing
	ErrForbidden   = errors.New("forbidden")        // a login or a permission is missing
	ErrUnreachable = errors.New("unreachable")      // no answer, or one that says to come again
	ErrTooLarge    = errors.New("too large")        // more than MaxSize
	ErrWrongKind   = errors.New("wrong kind")       // it is not what the field wants
	ErrKeyInChain  = errors.New("key in the chain") // a private key where everybody reads it: an alarm
	ErrFailed      = errors.New("failed")           // it answered with another error
)

// Result is the class of what Fetch returned, as a label of a metric has it.
func Result(err error) string {
	if err == nil {
		return "ok"
	}
	for name, class := range map[string]error{"refused": ErrRefused, "not_found": ErrNotFound, "forbidden": ErrForbidden,
		"unreachable": ErrUnreachable, "too_large": ErrTooLarge, "wrong_kind": ErrWrongKind} {
		if errors.Is(err, class) {
			return name
		}
	}
	return "failed"
}

// failure is why nothing was fetched. Its text is for people and holds nothing
// secret: nothing that a library says is wrapped.
type failure struct {
	class    error
	text     string
	terminal bool          // only another revision can mend it
	wait     time.Duration // not asked before
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.class }

func fail(class error, format string, args ...any) error {
	return &failure{class: class, text: fmt.Sprintf(format, args...)}
}

// invalid is a reference that no host would take.
func invalid(format string, args ...any) error {
	return &failure{class: ErrRefused, text: fmt.Sprintf(format, args...), terminal: true}
}

// outer says of which reference it is, and puts it into the reconciler's classes.
func outer(verb string, r Ref, err error) error {
	if err == nil {
		return nil
	}
	var f *failure
	known := errors.As(err, &f)
	err = fmt.Errorf("%s %s: %w", verb, r, err)
	switch {
	case known && f.terminal:
		return reconciler.Terminal(err)
	case known && f.wait > 0:
		return reconciler.RetryAfter(err, f.wait)
	}
	return err
}

// unanswered says why a request had no answer. who is the host or the service.
func unanswered(ctx context.Context, who string, err error, hide []string) error {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	if cause := ctx.Err(); errors.Is(cause, context.Canceled) {
		return fmt.Errorf("ask %s: %w", who, cause)
	}
	var timeout net.Error
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		return fail(ErrUnreachable, "%s did not answer in time", who)
	}
	text, hint := plain(err.Error(), hide), ""
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		text = plain(untrusted.Err.Error(), hide)
		if errors.As(untrusted.Err, new(x509.UnknownAuthorityError)) {
			hint = "; name its authority in fetch.caFile of the host's agent.yaml"
		}
	}
	return fail(ErrUnreachable, "reach %s: %s%s", who, text, hint)
}

var queries = regexp.MustCompile(`\?[^\s"'<>)]+`)

// plain makes one short line of what another program said: no query of a URL,
// no control character, nothing of hide.
func plain(text string, hide []string) string {
	for _, h := range hide {
		if len(h) >= 4 {
			text = strings.ReplaceAll(text, h, "(hidden)")
		}
	}
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	text = strings.Join(strings.Fields(queries.ReplaceAllString(text, "?…")), " ")
	if r := []rune(text); len(r) > 240 {
		text = string(r[:240]) + "…"
	}
	return text
}

// Bounds of a pause that a service asks for, and the one when it does not say.
const (
	pauseLeast  = time.Second
	pauseMost   = time.Hour
	pauseUnsaid = time.Minute
)

// pause is how long an answer asks to be left alone; 0 when it does not.
func pause(status int, header http.Header, now time.Time) time.Duration {
	if status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable {
		return 0
	}
	said := strings.TrimSpace(header.Get("Retry-After"))
	if n, err := strconv.ParseUint(said, 10, 31); err == nil { // RFC 9110 section 10.2.3: seconds or a date
		return min(max(time.Duration(n)*time.Second, pauseLeast), pauseMost)
	}
	if at, err := http.ParseTime(said); err == nil && at.After(now) {
		return min(max(at.Sub(now), pauseLeast), pauseMost)
	}
	if status == http.StatusTooManyRequests {
		return pauseUnsaid
	}
	return 0
}

// answered is the error of a status that is no success. says is what the
// service said about it, forbidden what is missing for whom.
func (j *job) answered(who string, a answer, says, forbidden string) error {
	says = plain(says, a.hide)
	if says != "" {
		says = ": " + says
	}
	status := a.status
	if a.means != 0 {
		status = a.means
	}
	wait := pause(status, a.header, j.opts.Now())
	switch {
	case wait > 0:
		return &failure{class: ErrUnreachable, wait: wait,
			text: fmt.Sprintf("%s limits how often it is asked (%d)%s; it is asked again in %s", who, a.status, says, wait.Round(time.Second))}
	case status == http.StatusNotFound || status == http.StatusGone:
		return fail(ErrNotFound, "%s has no such thing (%d)%s", who, a.status, says)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return fail(ErrForbidden, "%s refuses (%d)%s%s", who, a.status, says, semicolon(forbidden))
	case status == http.StatusNotModified:
		return fail(ErrFailed, "%s says that nothing changed (%d), and was not told what there was before: look at the server, or at the cache before it", who, a.status)
	case status/100 == 3:
		return fail(ErrFailed, "%s redirects (%d)%s; redirects are not followed, write the URL that it ends at", who, a.status, target(a.header))
	case status >= 500 || status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		return fail(ErrUnreachable, "%s is in trouble (%d)%s", who, a.status, says)
	}
	return fail(ErrFailed, "%s answers %d%s", who, a.status, says)
}

func semicolon(text string) string {
	if text == "" {
		return ""
	}
	return "; " + text
}

// classOf is the class of an error of this package.
func classOf(err error) error {
	var f *failure
	if errors.As(err, &f) {
		return f.class
	}
	return ErrFailed
}
