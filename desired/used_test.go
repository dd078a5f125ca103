package desired

import (
	"reflect"
	"testing"
)

// used are the keys that this version uses: two ways to write each, which must
// lead to different specs.
var used = map[string][2]string{
	"apiVersion":             {},
	"name":                   {"", "#"}, // changed below: it is in the head
	"suspend":                {"", "suspend: {reason: a}"},
	"suspend.reason":         {"suspend: {reason: a}", "suspend: {reason: b}"},
	"suspend.until":          {"suspend: {reason: a}", "suspend: {reason: a, until: 2026-12-01T08:00:00Z}"},
	"allowEmpty":             {"", "allowEmpty: true"},
	"release":                {"", "release: {image: ghcr.io/acme/app, version: 2026.04.3}"},
	"release.image":          {"release: {image: ghcr.io/acme/app, version: 2026.04.3}", "release: {image: postgres, version: 2026.04.3}"},
	"release.version":        {"release: {image: ghcr.io/acme/app, version: 2026.04.3}", "release: {image: ghcr.io/acme/app, version: 2026.04.4}"},
	"release.digest":         {"release: {image: ghcr.io/acme/app, version: 2026.04.3}", "release: {image: ghcr.io/acme/app, version: 2026.04.3, digest: 'sha256:" + hex64 + "'}"},
	"upgrade":                {"", "upgrade: {rollback: off}"},
	"upgrade.rollback":       {"upgrade: {rollback: notify}", "upgrade: {rollback: off}"},
	"compose":                {"", "compose: {files: [other.yaml]}"},
	"compose.files":          {"compose: {files: [compose.yaml]}", "compose: {files: [compose.yaml, ../../shared/base.yaml]}"},
	"compose.profiles":       {"", "compose: {profiles: [extra]}"},
	"compose.env":            {"", "compose: {env: {A: b}}"},
	"health":                 {"", "health: {bake: 0s}"},
	"health.timeout":         {"", "health: {timeout: 119s}"},
	"health.bake":            {"health: {bake: 1s}", "health: {bake: 0s}"},
	"retain":                 {"", "retain: {generations: 3}"},
	"retain.generations":     {"retain: {generations: 4}", "retain: {generations: 3}"},
	"release.channel":        {"release: {image: ghcr.io/acme/app, channel: dev}", "release: {image: ghcr.io/acme/app, channel: stable}"},
	"upgrade.every":          {channel, channel + "upgrade: {every: 1m}"},
	"upgrade.window":         {channel, channel + "upgrade: {window: '02:00-03:00'}"},
	"upgrade.minAge":         {channel, channel + "upgrade: {minAge: 1m}"},
	"upgrade.busy":           {channel, channel + "upgrade: {busy: {url: 'http://app/', field: a}}"},
	"upgrade.busy.url":       {channel + "upgrade: {busy: {url: 'http://app/b', field: a}}", channel + "upgrade: {busy: {url: 'http://app/', field: a}}"},
	"upgrade.busy.field":     {channel + "upgrade: {busy: {url: 'http://app/', field: b}}", channel + "upgrade: {busy: {url: 'http://app/', field: a}}"},
	"upgrade.busy.maxDefer":  {channel + "upgrade: {busy: {url: 'http://app/', field: a, maxDefer: 1h}}", channel + "upgrade: {busy: {url: 'http://app/', field: a}}"},
	"upgrade.locks":          {"", "upgrade: {locks: ['app:/data/db']}"},
	"health.service":         {"health: {service: app, path: /, port: 1}", "health: {service: db, path: /, port: 1}"},
	"health.path":            {"health: {service: app, path: /, port: 1}", "health: {service: app, path: /a, port: 1}"},
	"health.port":            {"health: {service: app, path: /, port: 1}", "health: {service: app, path: /, port: 2}"},
	"smoke":                  {toApp, toApp + "smoke: [{name: a, get: /}]"},
	"smoke.name":             {toApp + "smoke: [{name: b, get: /}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.get":              {toApp + "smoke: [{name: a, get: /a}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.post":             {toApp + "smoke: [{name: a, post: /}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.put":              {toApp + "smoke: [{name: a, put: /}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.patch":            {toApp + "smoke: [{name: a, patch: /}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.delete":           {toApp + "smoke: [{name: a, delete: /}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.headers":          {toApp + "smoke: [{name: a, get: /, headers: {A: b}}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.body":             {toApp + "smoke: [{name: a, post: /, body: [1]}]", toApp + "smoke: [{name: a, post: /}]"},
	"smoke.bearer":           {toApp + "smoke: [{name: a, get: /, save: {a: b}}, {name: b, get: /, bearer: a}]", toApp + "smoke: [{name: a, get: /, save: {a: b}}, {name: b, get: /}]"},
	"smoke.save":             {toApp + "smoke: [{name: a, get: /, save: {a: b}}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.expect":           {toApp + "smoke: [{name: a, get: /, expect: {status: 201}}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.expect.status":    {toApp + "smoke: [{name: a, get: /, expect: {status: 201}}]", toApp + "smoke: [{name: a, get: /, expect: {status: 202}}]"},
	"smoke.expect.statusIn":  {toApp + "smoke: [{name: a, get: /, expect: {statusIn: [201]}}]", toApp + "smoke: [{name: a, get: /, expect: {statusIn: [202]}}]"},
	"smoke.expect.json":      {toApp + "smoke: [{name: a, get: /, expect: {json: {a: 1}}}]", toApp + "smoke: [{name: a, get: /, expect: {json: {a: {exists: true, matches: x}}}}]"},
	"smoke.wait":             {toApp + "smoke: [{name: a, get: /, wait: 1s}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.timeout":          {toApp + "smoke: [{name: a, get: /, timeout: 1s}]", toApp + "smoke: [{name: a, get: /}]"},
	"smoke.retries":          {toApp + "smoke: [{name: a, get: /, retries: 0}]", toApp + "smoke: [{name: a, get: /}]"},
	"front":                  {"", toApp},
	"front.host":             {"front: [{host: b, to: 'app:8000'}]", toApp},
	"front.certificate":      {ownPair + toApp, ownPair + "front: [{host: a, to: 'app:8000', certificate: own}]"},
	"front.to":               {"front: [{host: a, to: 'app:8001'}]", toApp},
	"front.hsts":             {"front: [{host: a, to: 'app:8000', hsts: 1}]", toApp},
	"front.redirectHTTP":     {"front: [{host: a, to: 'app:8000', redirectHTTP: true}]", toApp},
	"front.drain":            {"front: [{host: a, to: 'app:8000', drain: 0s}]", toApp},
	"front.hold":             {"front: [{host: a, to: 'app:8000', hold: 1s}]", toApp},
	"certificates":           {"", ownPair},
	"certificates.domains":   {"certificates: {own: {domains: [b]}}", "certificates: {own: {domains: [a]}}"},
	"certificates.fullchain": {ownPair, "certificates: {own: {domains: [a], fullchain: 'file:///b', privkey: 'file:///k'}}"},
	"certificates.privkey":   {ownPair, "certificates: {own: {domains: [a], fullchain: 'file:///c', privkey: 'file:///b'}}"},
	"certificates.fallback":  {ownPair, "certificates: {own: {domains: [a], fullchain: 'file:///c', privkey: 'file:///k', fallback: self-signed}}"},

	"certificates.csr":                     {byURL("csr: {}"), byURL("csr: {key: p256}")},
	"certificates.csr.subject":             {byURL("csr: {subject: /CN=b}"), byURL("csr: {subject: /CN=a}")},
	"certificates.csr.key":                 {byURL("csr: {key: p384}"), byURL("csr: {key: p256}")},
	"certificates.every":                   {byURL("every: 1h"), byURL("")},
	"certificates.ca":                      {byURL(""), byURL("ca: ca.pem")},
	"certificates.pins":                    {byURL(""), byURL("pins: ['" + syntaxes["pin"].example + "']")},
	"certificates.bearer":                  {byURL(""), byURL("bearer: TOKEN")},
	"certificates.keyOverHTTPS":            {byURL("bearer: TOKEN"), byURL("bearer: TOKEN, privkey: 'https://a/k', keyOverHTTPS: true")},
	"certificates.acme":                    {"certificates: {own: {domains: [a]}}", byACME("")},
	"certificates.acme.email":              {byACME(""), byACME("email: a@b")},
	"certificates.acme.directory":          {byACME(""), byACME("directory: 'https://a/'")},
	"certificates.acme.profile":            {byACME(""), byACME("profile: a")},
	"certificates.acme.eab":                {byACME(""), byACME("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.eab.keyID":          {byACME("eab: {keyID: b, macKey: Yg}"), byACME("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.eab.macKey":         {byACME("eab: {keyID: a, macKey: Yw}"), byACME("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.preferRoot":         {byACME(""), byACME("preferRoot: a b")},
	"certificates.acme.issuers":            {byACME(""), byACME("issuers: [{directory: 'https://a/'}]")},
	"certificates.acme.issuers.directory":  {byIssuer(""), byACME("issuers: [{directory: 'https://b/'}]")},
	"certificates.acme.issuers.email":      {byIssuer(""), byIssuer("email: a@b")},
	"certificates.acme.issuers.profile":    {byIssuer(""), byIssuer("profile: a")},
	"certificates.acme.issuers.eab":        {byIssuer(""), byIssuer("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.issuers.eab.keyID":  {byIssuer("eab: {keyID: b, macKey: Yg}"), byIssuer("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.issuers.eab.macKey": {byIssuer("eab: {keyID: a, macKey: Yw}"), byIssuer("eab: {keyID: a, macKey: Yg}")},
	"certificates.acme.issuers.preferRoot": {byIssuer(""), byIssuer("preferRoot: a b")},
	"certificates.acme.challenges":         {byACME(""), byACME("challenges: [http-01]")},
	"certificates.acme.dns":                {byACME(""), byDNS("")},
	"certificates.acme.dns.provider":       {byDNS(""), byACME("dns: {provider: hetzner, with: {api_token: '${secret:TOKEN}'}}")},
	"certificates.acme.dns.with":           {byDNS(""), byACME("dns: {provider: cloudflare, with: {api_token: other}}")},
	"certificates.acme.dns.resolvers":      {byDNS(""), byDNS("resolvers: [192.0.2.1]")},
	"certificates.acme.dns.delegate":       {byDNS(""), byDNS("delegate: a.b")},
	"certificates.acme.dns.ttl":            {byDNS(""), byDNS("ttl: 2m")},
	"certificates.acme.dns.delay":          {byDNS(""), byDNS("delay: 2m")},
	"certificates.acme.dns.timeout":        {byDNS(""), byDNS("timeout: 2m")},
	"certificates.acme.key":                {byACME(""), byACME("key: p384")},
	"certificates.deliver":                 {byURL(""), byURL("deliver: [{dir: /srv/a}]")},
	"certificates.deliver.dir":             {byURL("deliver: [{dir: /srv/b}]"), byURL("deliver: [{dir: /srv/a}]")},
	"certificates.deliver.owner":           {byURL("deliver: [{dir: /srv/a}]"), byURL("deliver: [{dir: /srv/a, owner: '0:0'}]")},
	"certificates.deliver.mode":            {byURL("deliver: [{dir: /srv/a}]"), byURL("deliver: [{dir: /srv/a, mode: '0640'}]")},
	"certificates.deliver.formats":         {byURL("deliver: [{dir: /srv/a}]"), byURL("deliver: [{dir: /srv/a, formats: [combined]}]")},
	"certificates.deliver.password":        {byURL("deliver: [{dir: /srv/a, formats: [p12], password: a}]"), byURL("deliver: [{dir: /srv/a, formats: [p12], password: b}]")},
	"certificates.reload":                  {byURL(""), byURL("reload: [{service: app, signal: SIGHUP}]")},
	"certificates.reload.service":          {byURL("reload: [{service: db, signal: SIGHUP}]"), byURL("reload: [{service: app, signal: SIGHUP}]")},
	"certificates.reload.signal":           {byURL("reload: [{service: app, signal: SIGUSR1}]"), byURL("reload: [{service: app, signal: SIGHUP}]")},
	"certificates.reload.caddy":            {byURL("reload: [{service: app, signal: SIGHUP}]"), byURL("reload: [{service: app, caddy: 'http://127.0.0.1:2019'}]")},
	"certificates.reload.prove":            {byURL("reload: [{service: app, signal: SIGHUP}]"), byURL("reload: [{service: app, signal: SIGHUP, prove: ':8443'}]")},
	"certificates.reload.within":           {byURL("reload: [{service: app, signal: SIGHUP}]"), byURL("reload: [{service: app, signal: SIGHUP, within: 10s}]")},
	"notify":                               {"", "notify: ['generic+https://a/b']"},
	"notify.url":                           {"notify: [{url: 'generic+https://a/c'}]", "notify: [{url: 'generic+https://a/b'}]"},
	"notify.name":                          {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', name: a}]"},
	"notify.secret":                        {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', secret: " + hex64 + "}]"},
	"notify.on":                            {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', on: [failed]}]"},
	"notify.remind":                        {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', remind: 1h}]"},
	"notify.deferred":                      {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', deferred: 4h}]"},
	"notify.template":                      {"notify: [{url: 'generic+https://a/b'}]", "notify: [{url: 'generic+https://a/b', template: a}]"},
	"policy":                               {"", "policy: {privileged: true}"},
	"policy.requireSignedCommits":          {"policy: {allowedSigners: signers}", "policy: {allowedSigners: signers, requireSignedCommits: true}"},
	"policy.allowedSigners":                {"policy: {privileged: true}", "policy: {privileged: true, allowedSigners: signers}"},
	"policy.images":                        {"", "policy: {images: [postgres, 'ghcr.io/acme/*', caddy]}"},
	"policy.privileged":                    {"policy: {privileged: false}", "policy: {privileged: true}"},
	"policy.hostMounts":                    {"policy: {hostMounts: []}", "policy: {hostMounts: [/data]}"},
	"retain.certificates":                  {byURL(""), byURL("") + "retain: {certificates: 1}\n"},
}

const (
	channel = "release: {image: ghcr.io/acme/app, channel: dev}\n"
	toApp   = "front: [{host: a, to: 'app:8000'}]\n"
	ownPair = "certificates: {own: {domains: [a], fullchain: 'file:///c', privkey: 'file:///k'}}\n"
)

// byURL, byACME, byIssuer and byDNS are a certificate with more keys.
func byURL(more string) string {
	return "certificates: {own: {domains: [a], fullchain: 'https://a/c', " + more + "}}\n"
}

func byACME(more string) string {
	return "certificates: {own: {domains: [a], acme: {" + more + "}}}\n"
}

func byIssuer(more string) string {
	return byACME("issuers: [{directory: 'https://a/', " + more + "}]")
}

func byDNS(more string) string {
	return byACME("dns: {provider: cloudflare, with: {api_token: '${secret:TOKEN}'}, " + more + "}")
}

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// Every key of the format has an effect: never silence.
func TestEveryKeyIsUsed(t *testing.T) {
	eachField(reflect.TypeFor[Instance](), "", func(key string, _ reflect.StructField) {
		if _, ok := used[key]; !ok {
			t.Errorf("%s is not used", key)
		}
	})
	for key, ways := range used {
		if key == "apiVersion" || key == "name" {
			continue
		}
		t.Run(key, func(t *testing.T) {
			a, err := loadText(ways[0])
			if err != nil {
				t.Fatal(err)
			}
			b, err := loadText(ways[1])
			if err != nil {
				t.Fatal(err)
			}
			if reflect.DeepEqual(a, b) {
				t.Errorf("%q and %q lead to the same spec", ways[0], ways[1])
			}
		})
	}
}
