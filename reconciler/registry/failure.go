package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/fairlead/fairlead/reconciler"
)

// kind is what went wrong, as far as it changes what is done about it.
type kind int

const (
	kindFailed      kind = iota // the registry answers with an error
	kindUnreachable             // it does not answer
	kindLimited                 // it says not to ask for a while
	kindMissing                 // it has no such thing
	kindRefused                 // it wants another login
	kindBroken                  // what it says is nonsense
	kindLocal                   // it was not asked: something here is amiss
)

// failure is why a question has no answer. Its text is for people and holds
// nothing secret: nothing of what a library says is wrapped.
type failure struct {
	kind  kind
	text  string
	until time.Time // not asked before; of kindLimited and kindUnreachable

	status int // of the answer, where there was one
}

func (f *failure) Error() string { return f.text }

func broken(format string, args ...any) error {
	return &failure{kind: kindBroken, text: fmt.Sprintf(format, args...)}
}

func local(format string, args ...any) error {
	return &failure{kind: kindLocal, text: fmt.Sprintf(format, args...)}
}

func kindOf(err error) (kind, bool) {
	var f *failure
	if !errors.As(err, &f) {
		return 0, false
	}
	return f.kind, true
}

// statusOf is the status of the answer that a failure is about; 0: there was none.
func statusOf(err error) int {
	var f *failure
	if !errors.As(err, &f) {
		return 0
	}
	return f.status
}

func isMissing(err error) bool {
	k, ok := kindOf(err)
	return ok && k == kindMissing
}

// limitedUntil is until when a registry is not to be asked; zero: it may be.
func limitedUntil(err error) time.Time {
	var f *failure
	if errors.As(err, &f) && f.kind == kindLimited {
		return f.until
	}
	return time.Time{}
}

// notBefore is when a host that failed is asked again; zero: it does not say.
func notBefore(err error) time.Time {
	var f *failure
	if errors.As(err, &f) {
		return f.until
	}
	return time.Time{}
}

// classed puts a limit into the class that the reconciler knows.
func classed(err error, now time.Time) error {
	if until := limitedUntil(err); until.After(now) {
		return reconciler.RetryAfter(err, until.Sub(now))
	}
	return err
}

// both is errors.Join on one line.
func both(a, b error) error {
	switch {
	case a == nil:
		return b
	case b == nil || a.Error() == b.Error():
		return a
	}
	return fmt.Errorf("%w; %w", a, b)
}

// unanswered says why a request had no answer.
func unanswered(host string, err error, hide []string) error {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	var untrusted *tls.CertificateVerificationError
	if errors.As(err, &untrusted) {
		hint := ""
		if errors.As(untrusted.Err, new(x509.UnknownAuthorityError)) {
			hint = "; put the certificate of its authority into /etc/docker/certs.d/" + host + "/ca.crt"
		}
		return &failure{kind: kindUnreachable, text: fmt.Sprintf("reach %s: %s%s", host, clean(untrusted.Err.Error(), hide), hint)}
	}
	var status *transport.Error // of the ping or of a token server
	if errors.As(err, &status) {
		return answered(host, status.StatusCode, nil, hide)
	}
	why, hint := err, ""
	var u *url.Error
	if errors.As(err, &u) { // its text holds the whole URL
		why = u.Err
	}
	var timeout net.Error
	text := clean(why.Error(), hide)
	if _, plain, tried := cutLast(err.Error(), `/v2/": `); tried && strings.Contains(text, plainAnswer) {
		text = clean(plain, hide) // it speaks plain HTTP and may: what came of that counts
	}
	switch {
	case errors.As(why, &f):
		return f
	case strings.Contains(text, plainAnswer):
		hint = "; allow plain HTTP for it only when the network between is trusted"
	case errors.Is(err, context.DeadlineExceeded) || (errors.As(why, &timeout) && timeout.Timeout()):
		text = "no answer in time"
	}
	return &failure{kind: kindUnreachable, text: fmt.Sprintf("reach %s: %s%s", host, text, hint)}
}

// plainAnswer is what net/http says of a server without TLS.
const plainAnswer = "server gave HTTP response to HTTPS client"

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// answered says what an answer that is no success means.
func answered(host string, status int, body []byte, hide []string) error {
	said := registrySays(body, hide)
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		hint := fmt.Sprintf("run docker login %s as the user of this daemon", host)
		if len(hide) > 0 {
			hint = fmt.Sprintf("the stored login is refused; run docker login %s again", host)
		}
		return &failure{kind: kindRefused, text: fmt.Sprintf("%s refuses with status %d%s; %s, and check the name", host, status, said, hint)}
	case status == http.StatusNotFound:
		return &failure{kind: kindMissing, status: status, text: fmt.Sprintf("%s has no such image%s", host, said)}
	}
	return &failure{kind: kindFailed, status: status, text: fmt.Sprintf("%s answers with status %d%s", host, status, said)}
}

// registrySays is the first error of a registry's answer, in its own words.
func registrySays(body []byte, hide []string) string {
	var b struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(body, &b) != nil || len(b.Errors) == 0 {
		return ""
	}
	e := b.Errors[0]
	if text := strings.Trim(e.Code+": "+e.Message, ": "); text != "" {
		return " (" + clean(text, hide) + ")"
	}
	return ""
}

var credential = regexp.MustCompile(`(?i)\b(bearer|basic|token|password)("?[=: ]+"?)[A-Za-z0-9._~+/=-]{6,}`)

// clean makes somebody else's text fit for a line of ours: short, printable,
// without anything that was sent to prove who asks.
func clean(text string, hide []string) string {
	for _, secret := range hide {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "(sensitive)")
		}
	}
	text = credential.ReplaceAllString(text, "$1$2(sensitive)")
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return strings.TrimSpace(text)
}
