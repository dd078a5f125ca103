package deliver

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/fairlead/fairlead/certs/pair"
)

// quote makes text of others fit for one line of ours.
func quote(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		s = string(r[:limit]) + "…"
	}
	if s == "" {
		return "nothing more"
	}
	return s
}

// shortPrint is as much of a fingerprint as tells two apart.
func shortPrint(c *x509.Certificate) string {
	const digits = len("sha256:") + 16
	return pair.Fingerprint(c)[:digits] + "…"
}

func describe(c *x509.Certificate) string {
	by := "issued by " + quote(c.Issuer.String(), 80)
	if pair.IsSelfSigned(c) {
		by = "the self-signed stand-in"
	}
	return fmt.Sprintf("%s, %s, until %s", shortPrint(c), by, c.NotAfter.UTC().Format(time.DateTime+"Z"))
}

// cause says in words why nobody was seen.
func cause(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to it"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer in time"
	}
	return quote(err.Error(), 120)
}

func withHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}

// maxNamed is how many places an error names.
const maxNamed = 3

func (v *visit) proved(w view) Outcome {
	note := ""
	if !w.whole() {
		note = "it serves the certificate with another chain above it than the one delivered"
	}
	o := success(nameOf(v.r), note)
	o.Changed = v.told
	return o
}

// unproved says what is served instead, and what may be the matter; why is what
// went wrong before.
func (v *visit) unproved(w view, why error) Outcome {
	var parts []string
	bad := 0
	for _, s := range w.counted() {
		if s.has(w.live) {
			continue
		}
		if bad++; bad <= maxNamed {
			parts = append(parts, s.describe())
		}
	}
	if bad > maxNamed {
		parts = append(parts, fmt.Sprintf("and %d more", bad-maxNamed))
	}
	err := fmt.Errorf("prove certificate at %s: want %s%s, but %s", v.where(), shortPrint(v.live.Leaf()), v.how(), strings.Join(parts, ", "))
	if why != nil {
		err = fmt.Errorf("%w (%w)", err, why)
	}
	o := failure(nameOf(v.r), withHint(err, v.hint(w, why)))
	o.Changed = v.told
	return o
}

func (s sight) describe() string {
	if s.leaf() == nil {
		return fmt.Sprintf("at %s %s", s.at, cause(s.err))
	}
	return fmt.Sprintf("%s serves %s", s.at, describe(s.leaf()))
}

const hintMount = "where a container has a single file mounted it keeps the old one: mount the directory"

// hint says what is the matter most often.
func (v *visit) hint(w view, why error) string {
	var stale, other bool
	for _, s := range w.counted() {
		if leaf := s.leaf(); leaf != nil && !s.has(w.live) {
			covered := pair.Covers(leaf, v.domain)
			stale, other = stale || covered, other || !covered
		}
	}
	switch {
	case !w.answered():
		return "mend prove if the server listens elsewhere, or publish its port to this host and name that"
	case why != nil && v.r.Caddy != "":
		return "admin must be on and listen where this host reaches it"
	case why != nil:
		return ""
	case !stale && !other:
		return "is it TLS that is spoken there, at once and without a PROXY header?"
	case !stale:
		return fmt.Sprintf("what it serves is not for %s: does it have this certificate in its configuration?", v.domain)
	case !v.canTell():
		return "a server that does not watch its files wants signal or caddy; " + hintMount
	case v.r.Caddy != "":
		return "is it the delivered directory that its configuration names? " + hintMount
	case strings.HasSuffix(v.r.Signal, "USR1"):
		return "Caddy before 2.11 ignores SIGUSR1, and so does any that was changed through its admin API: name that API as caddy instead; " + hintMount
	}
	return "is it the signal that this server reloads on? " + hintMount
}
