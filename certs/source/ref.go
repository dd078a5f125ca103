package source

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

const maxRef = 2048

// Ref is a parsed reference. Its String is for people: without the query.
type Ref struct {
	text   string // as written
	scheme string
	place  string // before the first slash
	path   string // after it, unescaped; of file:// absolute
	query  map[string]string
	url    *url.URL // of https://
}

// Scheme is what stands before ://.
func (r Ref) Scheme() string { return r.scheme }

func (r Ref) String() string {
	if r.scheme == "" {
		return "reference"
	}
	if r.url != nil {
		return "https://" + r.url.Host + r.url.EscapedPath()
	}
	shown, _, _ := strings.Cut(r.text, "?")
	return shown
}

// scheme is how one kind of reference is written and fetched.
type scheme struct {
	fetch  func(context.Context, *job) (Blob, error)
	check  func(*Ref) error // what it must look like, beyond what holds for all
	params []string         // that may follow a ?
	form   string           // for people
}

// schemes are all kinds of references.
var schemes = map[string]scheme{
	"https":  {fetchHTTPS, checkHTTPS, nil, "https://HOST/PATH"},
	"file":   {fetchFile, checkFile, nil, "file:///ABSOLUTE/PATH"},
	"env":    {fetchEnv, checkEnv, nil, "env://NAME"},
	"age":    {fetchAge, checkAge, nil, "age://PATH/IN/THE/REPOSITORY.age"},
	"sm":     {fetchSM, checkSM, []string{"version"}, "sm://[PROJECT/]NAME[@VERSION]"},
	"gs":     {fetchGS, checkGS, []string{"generation"}, "gs://BUCKET/OBJECT"},
	"s3":     {fetchS3, checkS3, []string{"region", "version"}, "s3://BUCKET/KEY[?region=REGION]"},
	"awssm":  {fetchAWSSM, checkAWSSM, []string{"region", "version", "stage", "field"}, "awssm://NAME[?region=REGION][&field=FIELD]"},
	"azblob": {fetchAzBlob, checkAzBlob, []string{"version"}, "azblob://ACCOUNT/CONTAINER/BLOB"},
	"azkv":   {fetchAzKV, checkAzKV, nil, "azkv://VAULT/SECRET[/VERSION]"},
	"vault":  {fetchVault, checkVault, []string{"field", "version"}, "vault://MOUNT/PATH[?field=FIELD]"},
}

// Schemes are the schemes that are known, sorted.
func Schemes() []string { return slices.Sorted(maps.Keys(schemes)) }

// Parse reads a reference. It asks nobody, and its errors do not repeat what
// may be secret in the text.
func Parse(text string) (Ref, error) {
	name, rest, ok := strings.Cut(text, "://")
	s, known := schemes[name]
	switch {
	case len(text) > maxRef:
		return Ref{}, invalid("it is longer than %d characters", maxRef)
	case !ok:
		return Ref{}, invalid("it has no scheme; known are %s", strings.Join(Schemes(), "://, ")+"://")
	case name == "http":
		return Ref{}, invalid("http:// proves neither who answers nor what; use https://")
	case !known:
		return Ref{}, invalid("its scheme is not known; known are %s", strings.Join(Schemes(), "://, ")+"://")
	}
	r := Ref{text: text, scheme: name}
	if err := r.split(rest, s); err != nil {
		return Ref{text: name + "://…", scheme: name}, err
	}
	return r, nil
}

func (r *Ref) split(rest string, s scheme) error {
	if strings.ContainsFunc(rest, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' || c == '\\' || c == unicode.ReplacementChar }) {
		return invalid("it has a space, a backslash or a control character; write %%20 for a space")
	}
	if strings.Contains(rest, "#") {
		return invalid("it has a fragment; write %s", s.form)
	}
	rest, query, asked := strings.Cut(rest, "?")
	place, escaped, _ := strings.Cut(rest, "/")
	p, err := url.PathUnescape(escaped)
	if err != nil || strings.ContainsFunc(p, unicode.IsControl) {
		return invalid("its path does not parse; write %s", s.form)
	}
	if r.scheme != "https" && strings.HasSuffix(rest, "/") {
		return invalid("it ends with a slash; write %s", s.form)
	}
	for part := range strings.SplitSeq(place+"/"+p, "/") {
		if part == "." || part == ".." {
			return invalid("its path has a part . or ..")
		}
	}
	r.place, r.path = place, p
	if r.scheme != "https" && asked {
		if err := r.params(query, s); err != nil {
			return err
		}
	}
	return s.check(r)
}

func (r *Ref) params(query string, s scheme) error {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) == 0 {
		return invalid("its query does not parse; write %s", s.form)
	}
	r.query = map[string]string{}
	for key, all := range values {
		if !slices.Contains(s.params, key) {
			return invalid("it has a parameter that %s:// does not know%s", r.scheme, knownParams(s.params))
		}
		if len(all) != 1 || !paramRegexp.MatchString(all[0]) {
			return invalid("its parameter %s is empty, stands twice or has odd characters", key)
		}
		r.query[key] = all[0]
	}
	return nil
}

func knownParams(params []string) string {
	if len(params) == 0 {
		return ": it has none"
	}
	return "; known are " + strings.Join(params, ", ")
}

var (
	paramRegexp    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,254}$`)
	regionRegexp   = regexp.MustCompile(`^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
	hostRegexp     = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$`)
	numberedRegexp = regexp.MustCompile(`(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)
	bucketRegexp   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
)

// checkHTTPS refuses what different clients read differently, and hosts that
// are written as numbers in an odd way.
func checkHTTPS(r *Ref) error {
	u, err := url.Parse(r.text)
	if err != nil {
		return invalid("it does not parse; write https://HOST/PATH")
	}
	u.Host = strings.ToLower(u.Host)
	host, port := u.Hostname(), u.Port()
	_, notIP := netip.ParseAddr(host)
	switch {
	case u.User != nil:
		return invalid("it holds a user or a password, which do not belong into git; name a secret as bearer instead")
	case u.Opaque != "" || host == "":
		return invalid("it has no host; write https://HOST/PATH")
	case strings.Contains(host, "%"):
		return invalid("its host has a zone")
	case notIP != nil && (len(host) > 253 || !hostRegexp.MatchString(host) || numberedRegexp.MatchString(host)):
		return invalid("its host is not a name and not an address")
	case strings.HasSuffix(u.Host, ":") || port == "0" || len(port) > 5 || port != "" && atoi(port) > 65535:
		return invalid("its port is not between 1 and 65535")
	}
	r.url = u
	return nil
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 1 << 20
	}
	return n
}

// port is the port of https://.
func (r Ref) port() string {
	if p := r.url.Port(); p != "" {
		return p
	}
	return "443"
}

// permits says whether the host and the use let r be fetched.
func (s Source) permits(r Ref) error {
	if r.scheme == "file" {
		_, err := s.f.fileRoot(r.path)
		return err
	}
	if r.scheme != "https" {
		return nil
	}
	o := s.f.opts
	host := strings.TrimSuffix(r.url.Hostname(), ".")
	switch {
	case len(o.AllowedHosts) == 0 && o.Proxy != "":
		return fail(ErrRefused, "through a proxy nobody can see which address is asked; list %s in fetch.allowedHosts of the host's agent.yaml", host)
	case len(o.AllowedHosts) == 0 && r.port() != "443":
		return fail(ErrRefused, "port %s is not 443; list %s in fetch.allowedHosts of the host's agent.yaml", r.port(), net.JoinHostPort(host, r.port()))
	case len(o.AllowedHosts) > 0 && !listed(o.AllowedHosts, host, r.port()):
		return fail(ErrRefused, "%s is not in fetch.allowedHosts of the host's agent.yaml", shownHost(host, r.port()))
	case s.use.Field == Key && !s.use.KeyOverHTTPS:
		return invalid("a private key is not fetched by https:// unless that is asked for; a secret store, file:// or age:// keeps it better")
	case s.use.Field == Key && s.use.Bearer == "":
		return invalid("a private key that everybody can fetch is none; name a secret as bearer")
	}
	return nil
}

func shownHost(host, port string) string {
	if port == "443" {
		return host
	}
	return net.JoinHostPort(host, port)
}

// listed reports whether a host and port are in the list. An entry without a
// port is for 443; *.acme.com is for every name below acme.com.
func listed(list []string, host, port string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		h, p := hostPort(entry)
		below, wild := strings.CutPrefix(h, "*.")
		return p == port && (h == host || wild && below != "" && strings.HasSuffix(host, "."+below))
	})
}

// named reports whether a host and port stand in the list as they are.
func named(list []string, host, port string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		h, p := hostPort(entry)
		return h == host && p == port
	})
}

func hostPort(entry string) (host, port string) {
	entry = strings.ToLower(strings.TrimSpace(entry))
	if h, p, err := net.SplitHostPort(entry); err == nil {
		return h, p
	}
	return strings.Trim(entry, "[]"), "443"
}

// fill puts values into the braces of an endpoint.
func fill(endpoint string, pairs ...string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		endpoint = strings.ReplaceAll(endpoint, fmt.Sprintf("{%s}", pairs[i]), pairs[i+1])
	}
	return strings.TrimSuffix(endpoint, "/")
}
