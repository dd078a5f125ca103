// Package dns01 sets and deletes the TXT records by which control of a name is
// proved to a certificate authority: at Cloudflare, Route 53, Google Cloud DNS,
// Azure DNS, Hetzner, and at any name server that takes dynamic updates (RFC
// 2136). The providers are libdns providers of few lines over the documented
// interfaces; other records are not touched, and zones are neither made nor
// removed here.
package dns01

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libdns/libdns"
)

// Provider sets and deletes records of a zone.
type Provider interface {
	libdns.RecordAppender
	libdns.RecordDeleter
}

// settings are what a provider wants to know.
type settings map[string]string

// known are the providers, with the settings that they need and that they take.
var known = map[string]struct {
	needs, takes []string
	open         func(settings) (backend, error)
}{
	"cloudflare":     {[]string{"api_token"}, nil, openCloudflare},
	"hetzner":        {[]string{"api_token"}, nil, openHetzner},
	"googleclouddns": {[]string{"gcp_project"}, []string{"service_account_json"}, openGoogle},
	"azure":          {[]string{"subscription_id", "resource_group_name"}, []string{"tenant_id", "client_id", "client_secret"}, openAzure},
	"route53":        {nil, []string{"access_key_id", "secret_access_key", "session_token", "hosted_zone_id"}, openRoute53},
	"rfc2136":        {[]string{"server"}, []string{"key_name", "key_alg", "key"}, openRFC2136},
}

// Names are the providers that New knows.
func Names() []string { return slices.Sorted(maps.Keys(known)) }

// New returns a provider. It asks nobody. Which settings there are is in
// docs/acme.md; the error names what is missing or unknown, never a value.
func New(name string, with map[string]string) (Provider, error) {
	k, there := known[name]
	if !there {
		return nil, fmt.Errorf("DNS provider %q is unknown; there are %s", name, strings.Join(Names(), ", "))
	}
	var problems []error
	for _, need := range k.needs {
		if with[need] == "" {
			problems = append(problems, fmt.Errorf("DNS provider %s: setting %s is missing", name, need))
		}
	}
	for _, has := range slices.Sorted(maps.Keys(with)) {
		if !slices.Contains(k.needs, has) && !slices.Contains(k.takes, has) {
			problems = append(problems, fmt.Errorf("DNS provider %s: setting %s is unknown", name, has))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	b, err := k.open(with)
	if err != nil {
		return nil, fmt.Errorf("DNS provider %s: %w", name, err)
	}
	all, _ := json.Marshal([]any{name, with}) // of strings: cannot fail
	sum := sha256.Sum256(all)
	return &provider{name: name, backend: b, digest: hex.EncodeToString(sum[:])}, nil
}

// txt is one TXT record: name and zone without the dot at the end.
type txt struct {
	zone, name, value string
	ttl               int // seconds
}

// backend adds or removes one record. Adding one that is there and removing one
// that is not are no errors.
type backend interface {
	add(context.Context, txt) error
	remove(context.Context, txt) error
}

// provider makes a libdns provider of a backend. Changes go one after the other,
// since some backends read a set of records and write it back.
type provider struct {
	name, digest string
	backend
	mu sync.Mutex
}

// Digest changes when the settings do. It is of secrets, and to be hashed with
// more before it is kept anywhere.
func (p *provider) Digest() string { return p.digest }

func (p *provider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return p.each(ctx, "add record", zone, recs, p.add)
}

func (p *provider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return p.each(ctx, "remove record", zone, recs, p.remove)
}

func (p *provider) each(ctx context.Context, what, zone string, recs []libdns.Record, do func(context.Context, txt) error) (done []libdns.Record, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rec := range recs {
		rr := rec.RR()
		name := strings.TrimSuffix(libdns.AbsoluteName(rr.Name, zone), ".")
		if rr.Type != "TXT" {
			return done, fmt.Errorf("%s %s at %s: a %s is not set here, only TXT", what, name, p.name, rr.Type)
		}
		t := txt{zone: strings.TrimSuffix(zone, "."), name: name, value: rr.Data, ttl: max(int(rr.TTL/time.Second), 60)}
		if err := do(ctx, t); err != nil {
			return done, fmt.Errorf("%s %s at %s: %w", what, name, p.name, err)
		}
		done = append(done, libdns.TXT{Name: rr.Name, TTL: rr.TTL, Text: rr.Data})
	}
	return done, nil
}

// rrset is all TXT records of a name.
type rrset struct {
	values []string
	ttl    int
	tag    string // of the version that was read, if the service has them
}

// sets is a service that replaces all records of a name at once.
type sets interface {
	// read returns the records, none if there are none.
	read(ctx context.Context, t txt) (rrset, error)
	// write replaces what was read. The error is errChanged if somebody else
	// changed it meanwhile.
	write(ctx context.Context, t txt, was, now rrset) error
}

var errChanged = errors.New("the records were changed by somebody else meanwhile")

// bySet is the backend over sets.
type bySet struct{ sets }

func (b bySet) add(ctx context.Context, t txt) error {
	return b.change(ctx, t, func(values []string) []string { return append(values, t.value) })
}

func (b bySet) remove(ctx context.Context, t txt) error {
	return b.change(ctx, t, func(values []string) []string { return values })
}

// change rewrites the set with the record taken out and what then is made of it.
func (b bySet) change(ctx context.Context, t txt, to func([]string) []string) error {
	for range 3 {
		was, err := b.read(ctx, t)
		if err != nil {
			return err
		}
		now := rrset{ttl: t.ttl, tag: was.tag}
		if len(was.values) > 0 {
			now.ttl = was.ttl
		}
		now.values = to(slices.DeleteFunc(slices.Clone(was.values), func(v string) bool { return v == t.value }))
		if slices.Equal(slices.Sorted(slices.Values(was.values)), slices.Sorted(slices.Values(now.values))) {
			return nil
		}
		if err := b.write(ctx, t, was, now); !errors.Is(err, errChanged) {
			return err
		}
	}
	return errChanged
}

// quote writes a value as zone files do, and as several services want it.
func quote(v string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"` }

func unquote(v string) string {
	v = strings.TrimSuffix(strings.TrimPrefix(v, `"`), `"`)
	return strings.NewReplacer(`" "`, "", `\\`, `\`, `\"`, `"`).Replace(v)
}
