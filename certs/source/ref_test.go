package source_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/fairlead/fairlead/certs/source"
	"github.com/fairlead/fairlead/reconciler"
)

var goodRefs = []string{
	"https://pki.acme.com/data/fullchain.pem", "https://pki.acme.com:8443/x?y=z", "https://10.0.0.1/x", "https://[2001:db8::1]/x",
	"https://PKI.acme.com", "https://pki.acme.com./x", "https://pki.acme.com/a%20b", "https://1and1.com/x",
	"file:///etc/ssl/chain.pem", "file:///etc/ssl/a%20b.pem",
	"env://TLS_CHAIN", "age://certs/edge.key.age", "age://edge.age",
	"sm://acme-key", "sm://acme-project/acme-key", "sm://acme-project/acme-key@3", "sm://acme-key@latest", "sm://acme-key?version=3",
	"sm://projects/123456/secrets/acme-key/versions/7", "sm://projects/acme-project/secrets/acme-key", "sm://acme.com:project1/key",
	"gs://bucket/a/chain.pem", "gs://bucket/object?generation=17", "gs://b.acme.com/ä.pem",
	"s3://bucket/a/chain.pem", "s3://bucket/k?region=eu-central-1", "s3://bucket/k?version=aB3.x_y", "s3://b/k"[:5] + "bbb/k?region=us-gov-west-1",
	"awssm://tls/acme", "awssm://arn:aws:secretsmanager:eu-central-1:123456789012:secret:tls/acme-AbCdEf?field=key", "awssm://tls?stage=AWSCURRENT",
	"azblob://acmestore/tls/edge/chain.pem", "azblob://acmestore/$web/chain.pem", "azkv://acme-vault/edge", "azkv://acme-vault/edge/0123456789abcdef0123456789abcdef",
	"vault://secret/tls/edge?field=chain", "vault://kv/edge?version=3&field=key",
}

var badRefs = []string{
	"", "x", "://x", "http://pki.acme.com/x", "ftp://x/y", "HTTPS://x/y", "https:/x", "https://", "https:///x", "https://user@host/x", "https://u:p4ssw0rd@host/x",
	"https://host/x#f", "https://host/x#", "https://host:0/x", "https://host:/x", "https://host:99999/x", "https://ho st/x", "https://host\\x/y", "https://host/a\nb",
	"https://0x7f.1/x", "https://2130706433/x", "https://127.1/x", "https://0177.0.0.1/x", "https://[fe80::1%25eth0]/x", "https://%31.com/x", "https://host/../x",
	"https://host/%2e%2e/x", "https://-x.com/", "https://a..b/", "https://%zz", "https://host/%zz", "https://hóst/x", "https://[::1/x",
	"file://etc/x", "file:///", "file:///etc/../etc/x", "file:///etc//x", "file:///etc/x/", "file:///etc/%00", "file:///x?y=z", "file://host/etc/x",
	"env://", "env://A-B", "env://A/B", "env://1A", "age:///x", "age://../x", "age://", "age://a//b", "age://a/", "age://a/b//c",
	"sm://", "sm://a/b/c", "sm://a b", "sm://name@", "sm://name@1?version=2", "sm://p/name@1@2", "sm://Project/x", "sm://n?version=1&version=2", "sm://n?x=1",
	"sm://n?version=../../x", "sm://projects/p/secrets", "sm://name?", "sm://name/versions/3",
	"gs://b", "gs://bucket", "gs://bucket/", "gs://bucket/o?generation=x", "gs://Bucket/o", "gs://bucket/../o", "gs://buc%2fket/o",
	"s3://bucket", "s3://bucket/k?region=evil.com", "s3://bucket/k?region=eu-central-1.evil.com/", "s3://bucket//k", "s3://bu@cket/k", "s3://bucket/k?region=",
	"awssm://", "awssm://a b", "awssm://a/", "awssm://a?region=x", "azblob://a/b/c", "azblob://ACCOUNT/tls/x", "azblob://account/tls", "azblob://acc.evil.com/tls/x",
	"azkv://v.evil.com/x", "azkv://vault", "azkv://vault/a/b/c", "azkv://vault/a?x=y", "vault://secret", "vault://secret/", "vault://../x", "vault://secret/a//b", "vault://secret/x?version=a",
	"https://" + strings.Repeat("a", 3000),
}

func TestParse(t *testing.T) {
	for _, text := range goodRefs {
		if r, err := source.Parse(text); err != nil || !strings.HasPrefix(text, r.Scheme()+"://") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range badRefs {
		r, err := source.Parse(text)
		if err == nil || !errors.Is(err, source.ErrRefused) {
			t.Errorf("%q is taken for %s: %v", text, r, err)
		}
		if err = source.New(source.Options{}).For(source.Use{}).Check(text); err == nil || !reconciler.IsTerminal(err) {
			t.Errorf("%q: mends by itself: %v", text, err)
		}
	}
	for _, name := range source.Schemes() {
		if !slices.ContainsFunc(goodRefs, func(s string) bool { return strings.HasPrefix(s, name+"://") }) ||
			!slices.ContainsFunc(badRefs, func(s string) bool { return strings.HasPrefix(s, name+"://") }) {
			t.Errorf("%s:// is not in these tables", name)
		}
	}
}

func TestParseKeepsSecretsToItself(t *testing.T) {
	for _, text := range []string{"https://u:p4ssw0rd@host/x", "https://host/x?sig=p4ssw0rd#f", "sm://n?p4ssw0rd=1", "sm://n?version=p4ssw0rd%00", "p4ssw0rd", "p4ssw0rd://x", "s3://bucket/k?region=p4ssw0rd"} {
		err := source.New(source.Options{}).For(source.Use{}).Check(text)
		if err == nil || strings.Contains(err.Error(), "p4ssw0rd") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzParse wants a reference to be refused or to be one line that shows
// nothing of the query, and to parse again.
func FuzzParse(f *testing.F) {
	for _, text := range append(slices.Clone(goodRefs), badRefs...) {
		f.Add(text)
	}
	client := source.New(source.Options{AllowedHosts: []string{"none.invalid"}, Env: noEnv})
	f.Fuzz(func(t *testing.T, text string) {
		r, err := source.Parse(text)
		shown := r.String()
		if strings.ContainsFunc(shown, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' }) {
			t.Fatalf("%q shows as %q", text, shown)
		}
		if strings.ContainsAny(shown, "?#") || strings.HasPrefix(text, "https://") && strings.Contains(strings.Split(strings.TrimPrefix(shown, "https://"), "/")[0], "@") {
			t.Fatalf("%q shows as %q", text, shown)
		}
		if err != nil {
			_, query, _ := strings.Cut(text, "?")
			if len(query) > 12 && strings.Contains(err.Error(), query) {
				t.Fatalf("%q: the error shows the query: %v", text, err)
			}
			return
		}
		if again, err := source.Parse(text); err != nil || again.String() != shown {
			t.Fatalf("%q parses as %q, then as %q: %v", text, shown, again, err)
		}
		for _, field := range []source.Field{source.Chain, source.Key} {
			if err := client.For(source.Use{Field: field}).Check(text); r.Scheme() == "https" && err == nil {
				t.Fatalf("%q is permitted although only none.invalid is", text)
			}
		}
	})
}
