package desired

import (
	"fmt"
	"maps"
	"net/textproto"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// syntax is what a value must look like. The pattern and the words are in the
// JSON Schema too; check says what a pattern cannot.
type syntax struct {
	what     string // "is not WHAT"
	pattern  *regexp.Regexp
	words    []string // the only values
	example  string
	hint     string                  // instead of the example
	advise   func(got string) string // instead of both
	min, max int64                   // of a number, nanoseconds of a duration, or hundredths; max 0 is no bound
	check    func(string) error
	quiet    bool // the value may hold a password: it is not repeated
	secret   bool // the value may be, or hold, a secret reference instead
}

const (
	hostLabel = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`
	hostName  = hostLabel + `(\.` + hostLabel + `)*`
	// A field of a JSON answer: status, data.rows, tables.0.name.
	jsonField = `[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*`
)

// syntaxes are the values of the is and keys tags of Instance and Connector.
var syntaxes = merged(certificateSyntaxes(), connectorSyntaxes(), notifySyntaxes(), map[string]syntax{
	"apiVersion": {what: "a version of this format", words: []string{"fairlead/v1"}},
	"name": {what: "a name", pattern: pat(`^[a-z][a-z0-9-]{0,38}$`), example: "acme",
		hint: "a lower-case letter, then up to 38 lower-case letters, digits and dashes"},
	"title":      {what: "a step's name", pattern: pat(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,62}$`), example: "login"},
	"line":       {what: "one line of text", pattern: pat(`^\S([^\n\r]{0,198}\S)?$`), example: "stocktaking"},
	"repository": {what: "an image repository", pattern: pat(`^` + refRepository + `$`), example: "ghcr.io/acme/app", hint: "without tag and digest, for example ghcr.io/acme/app"},
	"tag":        {what: "an image tag", pattern: pat(`^` + refTag + `$`), example: "stable"},
	"version": {what: "a version", pattern: pat(`^[0-9]{4}\.(0[1-9]|1[0-2])\.[1-9][0-9]{0,8}$`), example: "2026.04.3",
		hint: "year, month, number: 2026.04.3"},
	"digest":      {what: "a digest", pattern: pat(`^` + refDigest + `$`), example: "sha256:" + strings.Repeat("0123456789abcdef", 4), hint: "sha256: and 64 hexadecimal digits"},
	"rollback":    {what: "a way to roll back", words: []string{"auto", "notify", "off"}},
	"fallback":    {what: "a fallback", words: []string{"self-signed"}},
	"file":        {what: "a path in the repository", pattern: pat(`^[^/\\]`), example: "compose.prod.yaml", hint: "relative to this directory, with forward slashes", check: checkFile},
	"profile":     {what: "a compose profile", pattern: pat(`^(\*|[a-zA-Z0-9][a-zA-Z0-9_.-]+)$`), example: "full"},
	"env":         {what: "a variable's name", pattern: pat(`^[A-Za-z_][A-Za-z0-9_]*$`), example: "DOMAIN"},
	"envValue":    {quiet: true, what: "a variable's value", check: checkNoNUL},
	"service":     {what: "a service's name", pattern: pat(`^[a-zA-Z0-9._-]+$`), example: "app"},
	"variable":    {what: "a variable's name", pattern: pat(`^[A-Za-z_][A-Za-z0-9_]*$`), example: "token"},
	"field":       {what: "a field of a JSON answer", pattern: pat(`^` + jsonField + `$`), example: "access_token"},
	"urlPath":     {what: "a path", pattern: pat(`^/[^\s?#]*$`), example: "/readyz"},
	"request":     {what: "a path", pattern: pat(`^/[^\s#]*$`), example: "/api/health", check: checkRequest},
	"header":      {what: "a header's name", pattern: pat(`^[A-Za-z0-9!#$%&'*+.^_|~-]{1,64}$`), example: "X-Api-Key", check: checkHeader},
	"headerValue": {quiet: true, what: "a header's value", pattern: pat(`^[^\x00-\x08\x0a-\x1f\x7f]*$`), example: "application/json"},
	"lock":        {what: "a service and an absolute path", pattern: pat(`^[a-zA-Z0-9._-]+:/`), example: "app:/data/state/system.duckdb", check: checkLock},
	"target":      {what: "a service and port", pattern: pat(`^[a-zA-Z0-9._-]+:[0-9]{1,5}$`), example: "app:8000", check: checkTarget},
	"httpURL":     {quiet: true, what: "an http or https URL", pattern: pat(`^https?://`), example: "http://app:8000/api/sync/status", check: checkURL},
	"httpsURL":    {quiet: true, what: "an https URL", pattern: pat(`^https://`), example: "https://acme-v02.api.letsencrypt.org/directory", check: checkURL},
	"host":        {what: "a host name", pattern: pat(`^` + hostName + `$`), example: "data.acme.com", hint: "lower case, without scheme and port, for example data.acme.com", check: checkHost},
	"email":       {what: "an e-mail address", pattern: pat(`^[^@\s]+@[^@\s]+$`), example: "ops@acme.com"},
	"imageGlob":   {what: "an image pattern", pattern: pat(`^[A-Za-z0-9*?][^\s@\\]*$`), example: "ghcr.io/acme/*", hint: "a repository without tag and digest: ghcr.io/acme/* or docker.io/library/postgres", check: checkGlob},
	"signersFile": {what: "a path in the repository", pattern: pat(`^[^/\\]`), example: "allowed_signers", hint: "relative to this directory, with forward slashes", check: checkFile},
	"hostPath":    {what: "an absolute path of the host", pattern: pat(`^/`), example: "/data", check: checkHostPath},
	"port":        {what: "a port", min: 1, max: 65535, example: "8000"},
	"status":      {what: "an HTTP status code", min: 100, max: 599, example: "200"},
	"seconds":     {what: "a number of seconds", min: 0, max: 100 * 365 * 86400, example: "31536000"},
	"count":       {what: "a count", min: 1, max: 1000, example: "10"},
	"wait":        {what: "a time to wait", min: int64(time.Second), max: int64(24 * time.Hour), example: "120s"},
	"interval":    {what: "an interval", min: int64(10 * time.Second), max: int64(366 * 24 * time.Hour), example: "5m"},
	"patience":    {what: "a time to wait", min: int64(time.Second), max: int64(366 * 24 * time.Hour), example: "2h"},
	"grace":       {what: "a time", min: 0, max: int64(time.Hour), example: "30s"},
	"pause":       {what: "a pause", min: 0, max: int64(10 * time.Minute), example: "5s"},
	"limit":       {what: "a limit", min: int64(100 * time.Millisecond), max: int64(10 * time.Minute), example: "30s"},
	"retries":     {what: "a number of retries", min: 0, max: 20, example: "3"},
	"span":        {what: "a span of time", min: 0, max: int64(366 * 24 * time.Hour), example: "30s"},
})

func merged(first map[string]syntax, more ...map[string]syntax) map[string]syntax {
	for _, m := range more {
		maps.Copy(first, m)
	}
	return first
}

func pat(s string) *regexp.Regexp { return regexp.MustCompile(s) }

// advice is the hint for a bad value.
func (s syntax) advice(got string) string {
	switch {
	case s.words != nil:
		return didYouMean(got, s.words)
	case s.advise != nil:
		return s.advise(got)
	case s.hint != "":
		return s.hint
	case s.example != "":
		return "for example " + s.example
	}
	return ""
}

// sample is a value that is right; empty when there is none to show.
func (s syntax) sample() string {
	if s.words != nil {
		return s.words[0]
	}
	return s.example
}

// text says what is wrong with a value; empty is nothing.
func (s syntax) text(got string) string {
	value := fmt.Sprintf("%q ", clip(got))
	if s.quiet {
		value = ""
	}
	if s.words != nil && !slices.Contains(s.words, got) ||
		s.pattern != nil && !s.pattern.MatchString(got) {
		return fmt.Sprintf("%sis not %s", value, s.what)
	}
	if s.check == nil {
		return ""
	}
	if err := s.check(got); err != nil {
		return fmt.Sprintf("%sis not %s: %v", value, s.what, err)
	}
	return ""
}

// number says what is wrong with a number; empty is nothing. show writes the
// bounds in the unit of the value.
func (s syntax) number(got int64, show func(int64) string) string {
	if got >= s.min && (s.max == 0 || got <= s.max) {
		return ""
	}
	return fmt.Sprintf("%s is not %s between %s and %s", show(got), s.what, show(s.min), show(s.max))
}

func checkFile(s string) error {
	if strings.ContainsAny(s, "\\\x00") {
		return fmt.Errorf("it has a backslash or a NUL")
	}
	if strings.HasSuffix(s, "/") || path.Clean(s) == "." {
		return fmt.Errorf("it is a directory")
	}
	return nil
}

func checkNoNUL(s string) error {
	if strings.ContainsRune(s, 0) {
		return fmt.Errorf("it has a NUL")
	}
	return nil
}

func checkTarget(s string) error {
	port, _ := strconv.Atoi(s[strings.LastIndexByte(s, ':')+1:])
	if port < 1 || port > 65535 {
		return fmt.Errorf("the port is not between 1 and 65535")
	}
	return nil
}

// checkRequest refuses what a client would not take for a path on the same
// host.
func checkRequest(s string) error {
	if strings.HasPrefix(s, "//") {
		return fmt.Errorf("two slashes at the start name a host")
	}
	if _, err := url.ParseRequestURI(s); err != nil {
		return fmt.Errorf("it does not parse")
	}
	return nil
}

// checkHeader refuses the headers that belong to the connection or the framing
// of the message (RFC 9110 sections 7.6.1 and 8.6).
func checkHeader(s string) error {
	switch textproto.CanonicalMIMEHeaderKey(s) {
	case "Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return fmt.Errorf("it belongs to the connection")
	}
	return nil
}

func checkLock(s string) error {
	_, file, _ := strings.Cut(s, ":")
	switch {
	case strings.ContainsRune(s, 0):
		return fmt.Errorf("it has a NUL")
	case path.Clean(file) != file:
		return fmt.Errorf("write %s", path.Clean(file))
	case file == "/":
		return fmt.Errorf("it names no file")
	}
	return nil
}

// checkURL refuses what would be read differently by different clients.
func checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return fmt.Errorf("it does not parse")
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("it holds a user or password, which do not belong into git")
	case u.Fragment != "" || strings.HasSuffix(s, "#"):
		return fmt.Errorf("it has a fragment")
	case u.Host == "":
		return fmt.Errorf("nothing follows the scheme")
	}
	return nil
}

// checkHost bounds a name as RFC 1035 section 2.3.4 does.
func checkHost(s string) error {
	if len(s) > 253 {
		return fmt.Errorf("it is longer than 253 characters")
	}
	return nil
}

// checkGlob refuses what would match nothing, or more than it seems to.
func checkGlob(s string) error {
	parts := strings.Split(s, "/")
	for i, part := range parts {
		_, err := path.Match(part, "")
		switch {
		case err != nil:
			return fmt.Errorf("its brackets do not match")
		case part == "" || part == "." || part == "..":
			return fmt.Errorf("it has an empty part, or dots for one")
		case strings.Contains(part, "**") && (part != "**" || i == 0 || i < len(parts)-1):
			return fmt.Errorf("** stands for anything below, at the end only")
		case i == 0 && part == "*":
			return fmt.Errorf("it does not say which registry; write docker.io/library/* for the images of Docker, or the host of yours")
		case strings.Contains(part, ":") && (i > 0 || len(parts) == 1):
			return fmt.Errorf("it has a tag, which does not matter")
		}
	}
	return nil
}

func checkHostPath(s string) error {
	if path.Clean(s) != s {
		return fmt.Errorf("write %s", path.Clean(s))
	}
	return nil
}
