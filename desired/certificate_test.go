package desired

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const onePEM = `-----BEGIN CERTIFICATE-----
MIIBWDCB/6ADAgECAgEBMAoGCCqGSM49BAMCMBQxEjAQBgNVBAMTCUFjbWUgUm9v
dDAeFw0yNjAxMDEwMDAwMDBaFw00NjAxMDEwMDAwMDBaMBQxEjAQBgNVBAMTCUFj
bWUgUm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMpF7k0TFSMj/X13Nz1m
PEsYIHZEMoX3ukulvugK/dBPM5Jq0hqYWJcjRouFtsVc82vyzUTCVkdXrNWb4rHu
k76jQjBAMA4GA1UdDwEB/wQEAwICBDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQW
BBT2aEBPEVVK/MugdG3F6qFHmS0/TDAKBggqhkjOPQQDAgNIADBFAiBGgnGKH7+f
YcwCSHXUSzauZMM4+xsNyeuDVV5x9rbnxAIhAJe5QcEr6NxyD38INoChSz9DK0hA
Zw8gBJYuCGEzNKvs
-----END CERTIFICATE-----
`

const allKeys = `
retain: {certificates: 5}
certificates:
  url:
    domains: [a.b, 192.0.2.1, "2001:db8::1"]
    fullchain: https://pki.acme.com/c.pem
    csr: {subject: '/C=CZ/O=A\/B/CN=a.b', key: p384}
    every: 1h
    ca: ca.pem
    pins: ["sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    bearer: TOKEN
    deliver: [{dir: /srv/tls, owner: "999:998", mode: "0640", formats: [pem, p12], password: "x${secret:TOKEN}"}, {dir: /srv/other}]
    reload: [{service: app, signal: SIGHUP}, {caddy: "http://127.0.0.1:2019/", prove: "127.0.0.1:443", within: 5s}]
  key: {domains: [k.b], fullchain: "sm://acme-project/chain", privkey: "age://tls/key.age"}
  near: {domains: [n.b], fullchain: "file:///c", privkey: "env://KEY"}
  plain: {domains: [p.b], fullchain: "gs://bucket/c.pem"}
  public:
    domains: ["*.acme.com"]
    acme:
      email: ops@acme.com
      profile: shortlived
      eab: {keyID: kid, macKey: "${secret:MAC}"}
      preferRoot: Root X
      challenges: [dns-01]
      dns: {provider: rfc2136, with: {server: ns.acme.com, key_name: up, key: "${secret:TSIG}"}, resolvers: [192.0.2.1, "[2001:db8::1]:5353"], delegate: _x.acme.net, ttl: 2m, delay: 5s, timeout: 3m}
      key: rsa2048
  several:
    domains: [s.b]
    acme: {email: a@b, issuers: [{directory: "https://one/"}, {directory: "https://two/", email: c@d, eab: {keyID: k, macKey: "${secret:MAC}"}}]}
`

const allEnv = "TOKEN=hush-hush\nMAC=c2VjcmV0LW1hYw==\nTSIG=dHNpZy1zZWNyZXQ=\n"

func loadCertificates(text, env string, anyHost bool) (Spec, error) {
	return Load(Input{Tree: tree(map[string]string{
		"i/instance.yaml": "apiVersion: fairlead/v1\nname: acme\n" + text, "i/compose.yaml": twoServices,
		"i/ca.pem": "# the root\n" + onePEM, "i/key.pem": "-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "i/half.pem": onePEM + onePEM[:200],
		"i/text.pem": "<html>", "i/request.pem": strings.ReplaceAll(onePEM, "CERTIFICATE", "CERTIFICATE REQUEST"), "i/broken.pem": strings.Replace(onePEM, "MIIB", "MIIC", 1),
		"i/large.pem": onePEM + strings.Repeat("#", 1<<20), "i/many.pem": strings.Repeat(onePEM, 501),
		"tls/key.age": "age-encryption.org/v1\n-> X25519 a\n", "tls/armor.age": "\n-----BEGIN AGE ENCRYPTED FILE-----\nYQ==\n", "tls/clear.age": "-----BEGIN PRIVATE KEY-----\nYQ==\n",
		"tls/text.age": "hello",
	}), Dir: "i", Local: tree(map[string]string{".env": env}), Compose: composeForTest, AnyHost: anyHost})
}

func TestCertificateSpecs(t *testing.T) {
	s, err := loadCertificates(allKeys, allEnv, false)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]CertificateSpec{
		"url": {Domains: []string{"a.b", "192.0.2.1", "2001:db8::1"}, Fullchain: "https://pki.acme.com/c.pem", Subject: `/C=CZ/O=A\/B/CN=a.b`, Key: "p384", Every: time.Hour,
			CA: onePEM, Pins: []string{"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, Bearer: "TOKEN", BearerToken: "hush-hush", Keep: 5,
			Deliver: []Delivery{{Dir: "/srv/tls", UID: ptr(999), GID: ptr(998), Mode: 0o640, Formats: []string{"pem", "p12"}, Password: "xhush-hush"}, {Dir: "/srv/other"}},
			Reload: []Reloader{{Service: "app", Signal: "SIGHUP", Within: 30 * time.Second},
				{Caddy: "http://127.0.0.1:2019", Prove: "127.0.0.1:443", Within: 5 * time.Second}}},
		"key": {Domains: []string{"k.b"}, Fullchain: "sm://acme-project/chain", Privkey: "age://tls/key.age", Every: 24 * time.Hour, Keep: 5,
			Encrypted: map[string][]byte{"tls/key.age": []byte("age-encryption.org/v1\n-> X25519 a\n")}},
		"near":  {Domains: []string{"n.b"}, Fullchain: "file:///c", Privkey: "env://KEY", Every: time.Minute, Keep: 5},
		"plain": {Domains: []string{"p.b"}, Fullchain: "gs://bucket/c.pem", Key: "rsa2048", Every: 24 * time.Hour, Keep: 5},
		"public": {Domains: []string{"*.acme.com"}, Key: "rsa2048", Keep: 5, ACME: &ACMESpec{
			Issuers:    []ACMEIssuer{{Directory: DefaultDirectory, Email: "ops@acme.com", Profile: "shortlived", EABKeyID: "kid", EABKey: "c2VjcmV0LW1hYw", PreferRoot: "Root X"}},
			Challenges: []string{"dns-01"}, DNS: &ACMEDNS{Provider: "rfc2136", With: map[string]string{"server": "ns.acme.com", "key_name": "up", "key": "dHNpZy1zZWNyZXQ="},
				Resolvers: []string{"192.0.2.1:53", "[2001:db8::1]:5353"}, Delegate: "_x.acme.net", TTL: 2 * time.Minute, Delay: 5 * time.Second, Timeout: 3 * time.Minute}}},
		"several": {Domains: []string{"s.b"}, Key: "p256", Keep: 5, ACME: &ACMESpec{Issuers: []ACMEIssuer{{Directory: "https://one/", Email: "a@b"},
			{Directory: "https://two/", Email: "c@d", EABKeyID: "k", EABKey: "c2VjcmV0LW1hYw"}}}},
	}
	for name := range want {
		if !reflect.DeepEqual(s.Certificates[name], want[name]) {
			t.Errorf("%s:\n got %+v\nwant %+v", name, s.Certificates[name], want[name])
		}
	}
	for _, secret := range []string{"hush-hush", "xhush-hush", "c2VjcmV0LW1hYw==", "dHNpZy1zZWNyZXQ="} {
		if !slices.Contains(s.Sensitive, secret) {
			t.Errorf("%s may be shown", secret)
		}
	}
}
