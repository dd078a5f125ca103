package acme

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
)

// The ways of proving control of a name.
const (
	HTTP01    = "http-01"
	TLSALPN01 = "tls-alpn-01"
	DNS01     = "dns-01"
)

// Request is a certificate that is wanted.
type Request struct {
	Name    string   // of letters, digits, dot, dash and underscore; names its files
	Domains []string // names (ASCII, lower case; the first label may be *) and addresses, all in one certificate
	Issuers []Issuer // tried in this order
	// Challenges are the ways that may be used: HTTP01 and TLSALPN01 by
	// default, or DNS01 alone if DNS is set.
	Challenges []string
	DNS        *DNS    // needed for DNS01
	Key        KeyType // P256 by default
	ReuseKey   bool    // keeps the key at a renewal; a new one is made by default
	// Fraction of the life after which a certificate is renewed when its
	// authority suggests no time: 2/3, or 1/2 for one that lives under ten days.
	Fraction float64
}

// Issuer is an account at a certificate authority.
type Issuer struct {
	Directory string // https URL
	Profile   string // which the directory lists, or empty
	Email     string
	EAB       *EAB
	// Roots are PEM certificates trusted beside the system's when the directory
	// is asked.
	Roots []byte
	// PreferRoot chooses among several chains the one whose last certificate
	// was issued by this common name.
	PreferRoot string
}

// EAB binds an account at the authority to a customer known otherwise.
type EAB struct {
	KeyID  string
	MACKey string // base64url, as the authority gave it; a secret
}

// String leaves the secret out.
func (e *EAB) String() string { return "key " + e.KeyID }

// DNS says how records are set for DNS01.
type DNS struct {
	Provider  Provider
	Resolvers []string // host:port, asked for the zone and whether records are there; the system's by default
	TTL       time.Duration
	Delay     time.Duration // before the first look whether the record is there
	Timeout   time.Duration // for the record to appear; 2 min
	// Delegate is the name whose TXT record is set in place of
	// _acme-challenge.NAME, which must be an alias of it.
	Delegate string
}

// Provider sets and deletes records in a zone; package dns01 has some. One with
// a method Digest() string, which changes when its settings do, is tried at once
// when they were changed after a failure.
type Provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

var (
	validName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
	validLabel = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?$`)
)

// check fills in defaults and returns every problem at once.
func (r *Request) check() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if !validName.MatchString(r.Name) {
		bad("name: %q must be letters, digits, dot, dash, underscore", r.Name)
	}
	if len(r.Domains) == 0 || len(r.Domains) > 100 {
		bad("domains: there are %d; 1 to 100 fit in a certificate", len(r.Domains))
	}
	for _, d := range r.Domains {
		if err := checkDomain(d); err != nil {
			bad("domains: %w", err)
		}
	}
	if len(r.Issuers) == 0 {
		bad("issuers: none is named")
	}
	for _, i := range r.Issuers {
		if err := i.check(); err != nil {
			bad("issuers: %w", err)
		}
	}
	if r.Key == "" {
		r.Key = P256
	}
	if _, known := keyTypes[r.Key]; !known {
		bad("key: %q is none of p256, p384, rsa2048, rsa3072, rsa4096", r.Key)
	}
	if r.Fraction < 0 || r.Fraction > 0.95 {
		bad("fraction: %g is not between 0 and 0.95", r.Fraction)
	}
	problems = append(problems, r.checkChallenges()...)
	if len(problems) > 0 {
		return fmt.Errorf("certificate %s: %w", r.Name, errors.Join(problems...))
	}
	r.Domains = slices.Compact(slices.Sorted(slices.Values(r.Domains)))
	return nil
}

func (r *Request) checkChallenges() (problems []error) {
	if len(r.Challenges) == 0 {
		r.Challenges = []string{HTTP01, TLSALPN01}
		if r.DNS != nil {
			r.Challenges = []string{DNS01}
		}
	}
	for _, c := range r.Challenges {
		if c != HTTP01 && c != TLSALPN01 && c != DNS01 {
			problems = append(problems, fmt.Errorf("challenges: %q is none of http-01, tls-alpn-01, dns-01", c))
		}
	}
	byDNS := slices.Contains(r.Challenges, DNS01)
	if byDNS && (r.DNS == nil || r.DNS.Provider == nil) {
		problems = append(problems, errors.New("challenges: dns-01 needs a DNS provider"))
	}
	wild := slices.IndexFunc(r.Domains, func(d string) bool { return strings.HasPrefix(d, "*.") })
	if wild >= 0 && !byDNS {
		problems = append(problems, fmt.Errorf("domains: %s can be proved by dns-01 only", r.Domains[wild]))
	}
	return problems
}

func checkDomain(d string) error {
	if _, err := netip.ParseAddr(d); err == nil {
		return nil
	}
	labels := strings.Split(strings.TrimPrefix(d, "*."), ".")
	if len(d) > 253 || slices.ContainsFunc(labels, func(l string) bool { return !validLabel.MatchString(l) }) {
		return fmt.Errorf("%q is neither an address nor a name in lower-case ASCII", d)
	}
	return nil
}

func (i Issuer) check() error {
	u, err := url.Parse(i.Directory)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return fmt.Errorf("%q is no https URL of a directory", i.Directory)
	}
	if i.EAB != nil && (i.EAB.KeyID == "" || i.EAB.MACKey == "") {
		return fmt.Errorf("%s: external account binding needs a key ID and a MAC key", i.Directory)
	}
	if _, err := rootPool(i.Roots); err != nil {
		return fmt.Errorf("%s: roots: %w", i.Directory, err)
	}
	return nil
}

// digest tells whether a request was changed in a way that can make an order
// succeed that failed before.
func (r *Request) digest() string {
	var dns []any
	if d := r.DNS; d != nil {
		dns = []any{d.Resolvers, d.Delegate, d.Delay, d.Timeout}
		if p, ok := d.Provider.(interface{ Digest() string }); ok {
			dns = append(dns, p.Digest())
		}
	}
	all, _ := json.Marshal([]any{r.Domains, r.Issuers, r.Challenges, r.Key, dns}) // of strings and numbers: cannot fail
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:8])
}

func (r *Request) issuer(directory string) (Issuer, bool) {
	i := slices.IndexFunc(r.Issuers, func(i Issuer) bool { return i.Directory == directory })
	if i < 0 {
		return Issuer{}, false
	}
	return r.Issuers[i], true
}
