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
    reload: [{service: app, signal: SIGHUP}, {service: app, caddy: ":2019"}, {caddy: "http://127.0.0.1:2019/", prove: "127.0.0.1:443", within: 5s}]
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
				{Service: "app", Caddy: ":2019", Within: 30 * time.Second}, {Caddy: "http://127.0.0.1:2019", Prove: "127.0.0.1:443", Within: 5 * time.Second}}},
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

// Each is right but for what the repository or the host has, or has not.
func TestCertificateProblems(t *testing.T) {
	url := func(more string) string {
		return "certificates: {c: {domains: [a.b], fullchain: 'https://x/y', " + more + "}}"
	}
	key := func(ref string) string {
		return "certificates: {c: {domains: [a.b], fullchain: 'sm://chain', privkey: '" + ref + "'}}"
	}
	tests := map[string]struct{ in, want string }{
		"no ca":            {url("ca: nope.pem"), `c.ca: there is no file "nope.pem" (the path is relative to this directory)`},
		"ca outside":       {url("ca: ../../x.pem"), `c.ca: "../../x.pem" is outside the repository`},
		"ca a key":         {url("ca: key.pem"), `c.ca: "key.pem" holds a private key (remove it`},
		"ca cut":           {url("ca: half.pem"), `c.ca: "half.pem" is not certificates in PEM, or one is damaged`},
		"ca text":          {url("ca: text.pem"), `c.ca: "text.pem" is not certificates in PEM`},
		"ca a request":     {url("ca: request.pem"), `c.ca: "request.pem" holds something else than certificates (a block of the kind CERTIFICATE REQUEST)`},
		"ca damaged":       {url("ca: broken.pem"), `c.ca: "broken.pem" holds a certificate that does not parse`},
		"ca large":         {url("ca: large.pem"), `c.ca: "large.pem" is larger than 1024 KiB`},
		"ca many":          {url("ca: many.pem"), `c.ca: "many.pem" holds more than 500 certificates`},
		"ca directory":     {url("ca: '.'"), `c.ca: "." is not a path in the repository`},
		"age absent":       {key("age://key.age"), `c.privkey: there is no file "key.age" (the path is from the root of the repository)`},
		"age clear":        {key("age://tls/clear.age"), `c.privkey: "tls/clear.age" is a private key in the clear`},
		"age text":         {key("age://tls/text.age"), `c.privkey: "tls/text.age" is not a file that age encrypted (age -r RECIPIENT`},
		"no token":         {url("bearer: NONE"), `c.bearer: this host has no value for the secret NONE`},
		"empty token":      {url("bearer: EMPTY"), `c.bearer: the secret EMPTY is empty on this host`},
		"no password":      {url("deliver: [{dir: /a, formats: [p12], password: '${secret:NONE}'}]"), `c.deliver[0].password: this host has no value for the secret NONE`},
		"odd mac":          {"certificates: {c: {domains: [a.b], acme: {eab: {keyID: k, macKey: '${secret:ODD}'}}}}", `c.acme.eab.macKey: is not a MAC key in base64url (look at the value, in secrets.enc.yaml or the host's local/.env)`},
		"odd tsig":         {"certificates: {c: {domains: [a.b], acme: {dns: {provider: rfc2136, with: {server: a, key_name: b, key: '${secret:ODD}'}}}}}", `c.acme.dns.with.key: is not in base64`},
		"odd account":      {"certificates: {c: {domains: [a.b], acme: {dns: {provider: googleclouddns, with: {gcp_project: a, service_account_json: '${secret:ODD}'}}}}}", `service_account_json: is not the JSON key of a service account`},
		"a key in git":     {url("deliver: [{dir: /a, formats: [p12], password: '-----BEGIN PRIVATE KEY-----'}]"), `c.deliver[0].password: is a private key in the clear`},
		"secret in a URL":  {"certificates: {c: {domains: [a.b], fullchain: 'https://x/${secret:TOKEN}'}}", `c.fullchain: a secret reference is not filled in here`},
		"secret as bearer": {url("bearer: '${secret:TOKEN}'"), `c.bearer: a secret reference is not filled in here (a reference holds no secret; bearer names one`},
		"another service":  {url("reload: [{service: dbb, signal: SIGHUP}]"), `c.reload[0].service: there is no service "dbb" (did you mean db?)`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := loadCertificates(tt.in, "TOKEN=hush-hush\nEMPTY=\nODD=hush hush!\n", false)
			if err == nil || !strings.Contains(err.Error(), "certificates."+tt.want) && !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// A check before a commit knows no host: it tells which secrets are wanted, and
// leaves them as they are written.
func TestCertificatesOfAnyHost(t *testing.T) {
	s, err := loadCertificates(allKeys, "", true)
	if err != nil {
		t.Fatal(err)
	}
	const want = "certificates: each host needs values for MAC, TOKEN, TSIG (fairlead secret set acme NAME; or NAME=VALUE in instances/acme/local/.env of its data directory)"
	const front = "certificates.several.acme: an authority asks ports 80 and 443, where the front answers, and this instance has no front"
	if len(s.Notes) != 2 || !strings.Contains(s.Notes[0], front) || !strings.Contains(s.Notes[1], want) {
		t.Errorf("notes %q", s.Notes)
	}
	if got := s.Certificates["public"].ACME.Issuers[0].EABKey; got != "${secret:MAC}" {
		t.Errorf("the MAC key is %q", got)
	}
}

// A secret in git works, is told of, and is not shown.
func TestSecretsInTheClear(t *testing.T) {
	const text = `certificates:
  a: {domains: [a.b], acme: {eab: {keyID: k, macKey: c2VjcmV0}, dns: {provider: cloudflare, with: {api_token: t0psecret}}}}
  b: {domains: [b.b], fullchain: "sm://chain", deliver: [{dir: /srv/b, formats: [p12], password: changeit}]}
`
	s, err := loadCertificates(text, "", false)
	if err != nil || len(s.Notes) != 3 {
		t.Fatalf("notes %q, %v", s.Notes, err)
	}
	for _, secret := range []string{"c2VjcmV0", "t0psecret", "changeit"} {
		if !slices.Contains(s.Sensitive, secret) || strings.Contains(strings.Join(s.Notes, ""), secret) {
			t.Errorf("%s may be shown", secret)
		}
	}
	own := tree(map[string]string{"instance.yaml": "apiVersion: fairlead/v1\nname: acme\n" + text})
	s, err = Load(Input{Tree: tree(map[string]string{"i/instance.yaml": "apiVersion: fairlead/v1\nname: acme\n", "i/compose.yaml": twoServices}), Dir: "i", Local: own, Compose: composeForTest})
	if err != nil || len(s.Notes) != 0 || !slices.Contains(s.Sensitive, "t0psecret") {
		t.Errorf("in the host's own file: notes %q, %v", s.Notes, err)
	}
}

// A mount of one file keeps the certificate that was there when the container
// was made.
func TestMountsOfOneFileAreTold(t *testing.T) {
	mount := func(source, target string) Mount { return Mount{Type: MountBind, Source: source, Target: target} }
	compose := func(mounts ...Mount) ComposeLoader {
		return func(ComposeInput) (Project, error) {
			return Project{Services: map[string]Service{"caddy": {Name: "caddy", Mounts: mounts}}}, nil
		}
	}
	const text = "apiVersion: fairlead/v1\nname: acme\ncertificates:\n  data:\n    domains: [a.b]\n    deliver:\n      - {dir: /srv/tls}\n"
	tests := []struct {
		mount Mount
		want  string
	}{
		{mount("/srv/tls", "/tls"), ""},
		{mount("/srv", "/srv"), ""},
		{mount("/srv/tls2/x.pem", "/x"), ""},
		{mount("/var/lib/fairlead/certs/acme/data", "/tls"), ""},
		{mount("/var/lib/fairlead/certs/acme/other/current", "/tls"), ""},
		{Mount{Type: MountVolume, Source: "/srv/tls/x", Target: "/x"}, ""},
		{mount("/srv/tls/fullchain.pem", "/etc/caddy/c.pem"), "i:7: certificates.data.deliver[0].dir: the service caddy mounts /srv/tls/fullchain.pem:/etc/caddy/c.pem, " +
			"and will never see another certificate there (mount the directory: /srv/tls:/tls:ro, and read /tls/fullchain.pem)"},
		{mount("/data/certs/acme/data/current", "/tls"), "mounts /data/certs/acme/data/current:/tls, and will never see another certificate there " +
			"(mount the directory: /data/certs/acme/data:/tls:ro, and read /tls/current)"},
		{mount("/data/certs/acme/data/current/privkey.pem", "/k"), "(mount the directory: /data/certs/acme/data:/tls:ro, and read /tls/current/privkey.pem)"},
	}
	for _, tt := range tests {
		s, err := Load(Input{Tree: tree(map[string]string{"instance.yaml": text, "compose.yaml": ""}), Dir: ".", Compose: compose(tt.mount)})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.ReplaceAll(strings.Join(s.Notes, "\n"), "instance.yaml", "i")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%+v: got %q, want %q", tt.mount, got, tt.want)
		}
	}
}
