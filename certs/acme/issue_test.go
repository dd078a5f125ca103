package acme

import (
	"slices"
	"testing"
	"time"
)

// TestIssueByEachChallenge gets real certificates from Pebble in strict mode.
func TestIssueByEachChallenge(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := newAuthority(t, s.conf())
	for _, c := range []struct {
		name      string
		challenge string
		domains   []string
		key       KeyType
	}{
		{"http", HTTP01, []string{"www.example.test", "data.example.test"}, P256},
		{"alpn", TLSALPN01, []string{"data.example.test", "www.example.test"}, RSA2048},
		{"http-address", HTTP01, []string{"127.0.0.1"}, P384},
		{"alpn-address", TLSALPN01, []string{"127.0.0.1"}, P256},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := keep(t, s, Options{})
			k.ensure(Request{Domains: c.domains, Issuers: []Issuer{ca.issuer()}, Challenges: []string{c.challenge}, Key: c.key})
			p := k.await(1)
			r := leaf(t, p)
			want := slices.Sorted(slices.Values(c.domains))
			if got := names(r.leaf); !slices.Equal(got, want) {
				t.Errorf("names %v, want %v", got, want)
			}
			if got := typeOf(r.leaf.PublicKey); got != c.key {
				t.Errorf("key %s, want %s", got, c.key)
			}
			if p.Issuer != ca.url || p.Profile != "default" || !p.RenewAt.After(time.Now()) || !p.RenewAt.Before(p.NotAfter) {
				t.Errorf("pair says issuer %s, profile %s, renew at %s", p.Issuer, p.Profile, p.RenewAt)
			}
			eventually(t, "status is Valid with a window", func() bool { s := k.one(); return s.Phase == Valid && s.Window != nil })
			k.stop()
			k.challenges.mu.RLock()
			defer k.challenges.mu.RUnlock()
			if n := len(k.challenges.tokens) + len(k.challenges.certs); n != 0 {
				t.Errorf("%d challenges stay open", n)
			}
		})
	}
}
