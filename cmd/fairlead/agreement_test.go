package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	certacme "github.com/fairlead/fairlead/certs/acme"
	"github.com/fairlead/fairlead/certs/acme/dns01"
	"github.com/fairlead/fairlead/certs/pair"
	certsource "github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/desired"
)

// Package desired checks what it may not import the readers of. These tests
// hold its opinion against theirs: what is taken from git must not be refused
// later, at night, and what is refused must be wrong.

// instanceSays is what desired says about one certificate.
func instanceSays(keys ...string) error {
	text := "apiVersion: fairlead/v1\nname: a\ncertificates:\n  c:\n    domains: [a.example.com]\n"
	for _, k := range keys {
		text += "    " + k + "\n"
	}
	_, err := desired.ParseInstance("i", []byte(text))
	return err
}

var goodReferences = []string{
	"https://pki.acme.com/data/fullchain.pem", "https://pki.acme.com:8443/x?y=z", "https://10.0.0.1/x", "https://[2001:db8::1]/x", "https://PKI.acme.com",
	"https://pki.acme.com./x", "https://pki.acme.com/a%20b", "https://1and1.com/x", "https://pki.acme.com/x/", "https://a_b.acme.com/x",
	"file:///etc/ssl/chain.pem", "file:///etc/ssl/a%20b.pem", "env://TLS_CHAIN", "age://certs/edge.key.age", "age://edge.age", "age://a%20b/c.age",
	"sm://acme-key", "sm://acme-project/acme-key", "sm://acme-project/acme-key@3", "sm://acme-key@latest", "sm://acme-key?version=3",
	"sm://projects/123456/secrets/acme-key/versions/7", "sm://projects/acme-project/secrets/acme-key", "sm://acme.com:project1/key",
	"gs://bucket/a/chain.pem", "gs://bucket/object?generation=17", "gs://b.acme.com/ä.pem",
	"s3://bucket/a/chain.pem", "s3://bucket/k?region=eu-central-1", "s3://bucket/k?version=aB3.x_y", "s3://bucket/k?region=us-gov-west-1",
	"awssm://tls/acme", "awssm://arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls/acme-AbCdEf?field=key", "awssm://tls?stage=AWSCURRENT",
	"azblob://acmestore/tls/edge/chain.pem", "azblob://acmestore/$web/chain.pem", "azkv://acme-vault/edge", "azkv://acme-vault/edge/0123456789abcdef",
	"vault://secret/tls/edge?field=chain", "vault://kv/edge?version=3&field=key", "vault://kv/a/b%20c",
}

var badReferences = []string{
	"x", "://x", "http://pki.acme.com/x", "ftp://x/y", "HTTPS://x/y", "https:/x", "https://", "https:///x", "https://user@host/x", "https://u:p@host/x",
	"https://host/x#f", "https://host/x#", "https://host:0/x", "https://host:/x", "https://host:99999/x", "https://ho st/x", "https://host\\x/y",
	"https://0x7f.1/x", "https://2130706433/x", "https://127.1/x", "https://[fe80::1%25eth0]/x", "https://%31.com/x", "https://host/../x", "https://host/%2e%2e/x",
	"https://-x.com/", "https://a..b/", "https://%zz", "https://host/%zz", "https://hóst/x", "https://[::1/x", "https://host/a%00",
	"file://etc/x", "file:///", "file:///etc/../etc/x", "file:///etc//x", "file:///etc/x/", "file:///etc/%00", "file:///x?y=z", "file://host/etc/x", "file:///x?",
	"env://", "env://A-B", "env://A/B", "env://1A", "env://A/", "env://A?x=y", "age:///x", "age://../x", "age://", "age://a//b", "age://a/", "age://a/b//c",
	"sm://", "sm://a/b/c", "sm://a b", "sm://name@", "sm://name@1?version=2", "sm://p/name@1@2", "sm://Project/x", "sm://n?version=1&version=2", "sm://n?x=1",
	"sm://n?version=../../x", "sm://projects/p/secrets", "sm://name?", "sm://name/versions/3", "sm://n?version=",
	"gs://b", "gs://bucket", "gs://bucket/", "gs://bucket/o?generation=x", "gs://Bucket/o", "gs://bucket/../o", "gs://buc%2fket/o",
	"s3://bucket", "s3://bucket/k?region=evil.com", "s3://bucket//k", "s3://bu@cket/k", "s3://bucket/k?region=", "s3://" + strings.Repeat("b", 64) + "/k",
	"awssm://", "awssm://a b", "awssm://a/", "awssm://a?region=x", "azblob://a/b/c", "azblob://ACCOUNT/tls/x", "azblob://account/tls", "azblob://acc.evil.com/tls/x",
	"azkv://v.evil.com/x", "azkv://vault", "azkv://vault/a/b/c", "azkv://vault/a?x=y", "vault://secret", "vault://secret/", "vault://../x", "vault://secret/a//b", "vault://secret/x?version=a", "vault://kv/a%20b",
	"https://" + strings.Repeat("a", 3000), "gs://bucket/" + strings.Repeat("a", 1025), "azblob://account/tls/" + strings.Repeat("a", 1025),
}

// takesReference is desired's opinion; a key by https needs more beside it.
func takesReference(field, ref string) error {
	keys := []string{field + ": " + strconv.Quote(ref)}
	if field == "privkey" {
		keys = append(keys, "fullchain: sm://chain")
		if strings.HasPrefix(ref, "https://") {
			keys = append(keys, "keyOverHTTPS: true", "bearer: TOKEN")
		}
	}
	return instanceSays(keys...)
}

func TestReferencesAreReadAlike(t *testing.T) {
	for _, field := range []string{"fullchain", "privkey"} {
		for _, ref := range goodReferences {
			if _, err := certsource.Parse(ref); err != nil {
				t.Errorf("%s is refused by its source: %v", ref, err)
			}
			if err := takesReference(field, ref); err != nil {
				t.Errorf("%s is refused in instance.yaml: %v", ref, err)
			}
		}
		for _, ref := range badReferences {
			if _, err := certsource.Parse(ref); err == nil {
				t.Errorf("%s is taken by its source", ref)
			}
			if err := takesReference(field, ref); err == nil {
				t.Errorf("%s is taken in instance.yaml", ref)
			}
		}
	}
	for _, scheme := range certsource.Schemes() {
		if !slices.ContainsFunc(goodReferences, func(r string) bool { return strings.HasPrefix(r, scheme+"://") }) {
			t.Errorf("%s:// is not in the table", scheme)
		}
	}
}

func TestMangledReferencesAreReadAlike(t *testing.T) {
	all := slices.Concat(goodReferences, badReferences)
	rapid.Check(t, func(r *rapid.T) {
		ref := rapid.SampledFrom(all).Draw(r, "reference")
		for range rapid.IntRange(0, 3).Draw(r, "changes") {
			at := rapid.IntRange(0, len(ref)).Draw(r, "at")
			cut := min(len(ref), at+rapid.IntRange(0, 3).Draw(r, "cut"))
			ref = strings.ToValidUTF8(ref[:at]+rapid.StringMatching(`[a-z0-9A-Z/@?=&.:_%#-]{0,3}`).Draw(r, "new")+ref[cut:], "")
		}
		if ref == "" {
			return
		}
		_, there := certsource.Parse(ref)
		here := takesReference("fullchain", ref)
		if (here == nil) != (there == nil) {
			r.Fatalf("%q: instance.yaml says %v, its source %v", ref, here, there)
		}
	})
}

func TestSubjectsAreReadAlike(t *testing.T) {
	good := []string{"/C=CZ/O=Acme/CN=data.acme.com", "/CN=a", "/OU=a/OU=b/CN=c", "/CN=a/CN=b", `/O=A\/B/CN=x`, "/OU=Data+CN=x", "/O=Ácme", "/serialNumber=1-2",
		"/emailAddress=a@b", "/DC=acme/DC=com", "/O=" + strings.Repeat("ä", 64), "/street=a/postalCode=1/title=x/SN=a/GN=b/UID=c/L=d/ST=e", "/O=a=b", `/O=\\`}
	bad := []string{"CN=a", "/", "/CN=", "/CN", "/X=1", "/C=cz", "/C=CZE", "/CN=a/", "/CN=a+", "//CN=a", `/CN=a\`, "/CN=" + strings.Repeat("a", 65), "/DC=ä", "/emailAddress=ä@b",
		"/serialNumber=a_b", "/CN=a\x01b", "/cn=a", "/O=Acme, CN=a/", "/CN=" + strings.Repeat("a/OU=b", 1000)}
	check := func(fail func(string, ...any), s string, want bool) {
		_, there := pair.ParseSubject(s)
		here := instanceSays("fullchain: sm://chain", "csr: {subject: "+strconv.Quote(s)+"}")
		if (here == nil) != want || (there == nil) != want {
			fail("%q: instance.yaml says %v, certs/pair %v", s, here, there)
		}
	}
	for _, s := range good {
		check(t.Errorf, s, true)
	}
	for _, s := range bad {
		check(t.Errorf, s, false)
	}
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.StringMatching(`(/(C|CN|O|OU|DC|serialNumber|x)=[A-Za-zä /+\\=_-]{0,4}){1,3}`).Draw(r, "subject")
		_, there := pair.ParseSubject(s)
		check(r.Fatalf, s, there == nil)
	})
}

func TestDNSProvidersAreReadAlike(t *testing.T) {
	settings := map[string]string{"api_token": "t", "access_key_id": "i", "secret_access_key": "s", "session_token": "t", "hosted_zone_id": "z", "gcp_project": "p",
		"subscription_id": "s", "resource_group_name": "g", "tenant_id": "t", "client_id": "c", "client_secret": "s", "server": "192.0.2.1", "key_name": "k",
		"key_alg": "hmac-sha512", "key": "c2VjcmV0"}
	names := make([]string, 0, len(settings))
	for name := range settings {
		names = append(names, name)
	}
	slices.Sort(names)
	taken := map[string]bool{}
	rapid.Check(t, func(r *rapid.T) {
		provider := rapid.SampledFrom(append(dns01.Names(), "unknown")).Draw(r, "provider")
		with, text := map[string]string{}, ""
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 0, 4, rapid.ID).Draw(r, "settings") {
			with[name] = settings[name]
			if name == "key_alg" && rapid.Bool().Draw(r, "odd") {
				with[name] = "hmac-md5"
			}
			text += fmt.Sprintf("%s: %q, ", name, with[name])
		}
		_, there := dns01.New(provider, with)
		here := instanceSays("acme: {dns: {provider: " + provider + ", with: {" + text + "}}}")
		if (here == nil) != (there == nil) {
			r.Fatalf("%s %v: instance.yaml says %v, certs/acme/dns01 %v", provider, with, here, there)
		}
		taken[provider] = taken[provider] || there == nil
	})
	for _, name := range dns01.Names() {
		if err := instanceSays("acme: {dns: {provider: " + name + ", with: {}}}"); err != nil && strings.Contains(err.Error(), "is not a DNS provider") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What may be asked for is what the packages below make.
func TestKindsAreKnownBelow(t *testing.T) {
	for _, kind := range []string{"rsa2048", "p256", "p384", "ed25519"} {
		if err := instanceSays("fullchain: sm://chain", "csr: {key: "+kind+"}"); err != nil {
			t.Error(err)
		}
		if _, err := pair.NewKey(pair.Algorithm(kind)); err != nil {
			t.Error(err)
		}
	}
	for _, format := range []store.Format{store.PEM, store.Combined, store.PKCS12} {
		if err := instanceSays("deliver: [{dir: /srv/a, formats: [" + string(format) + "], password: x}]"); err != nil && strings.Contains(err.Error(), "is not a format") {
			t.Error(err)
		}
	}
	for _, d := range []string{certacme.HTTP01, certacme.TLSALPN01, certacme.DNS01} {
		if err := instanceSays("acme: {challenges: [" + d + "]}"); err != nil && strings.Contains(err.Error(), "is not a challenge") {
			t.Error(err)
		}
	}
}

func TestModesOfDeliveriesAreTakenBelow(t *testing.T) {
	key, err := pair.NewKey(pair.P256)
	if err != nil {
		t.Fatal(err)
	}
	p, err := pair.SelfSigned(key, []string{"a.example.com"}, time.Now(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for mode := range fs.FileMode(0o1000) {
		here := instanceSays(fmt.Sprintf("deliver: [{dir: /srv/a, mode: \"%04o\"}]", mode))
		if here != nil && mode != 0o600 && mode != 0o644 && mode != 0o660 {
			continue // the store takes a few more, which nobody needs
		}
		_, there := store.Deliver(p, store.Target{Dir: filepath.Join(t.TempDir(), "tls"), UID: -1, GID: -1, KeyMode: mode})
		if (here == nil) != (there == nil) {
			t.Errorf("%04o: instance.yaml says %v, certs/store %v", mode, here, there)
		}
	}
}
