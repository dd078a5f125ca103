package desired

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"strings"
	"time"
)

// certificates are the specifications of what is under certificates.
func (l *loader) certificates(p Project, read map[string]certificateFiles) map[string]CertificateSpec {
	if len(l.file.Certificates) == 0 {
		return nil
	}
	f := l.filler(&l.file.document, p.HostEnv)
	specs, keep := map[string]CertificateSpec{}, DefaultRetainCertificates
	if r := l.file.Retain; r != nil {
		keep = cmp.Or(r.Certificates, keep)
	}
	for _, name := range sortedKeys(l.file.Certificates) {
		at, c := "certificates."+name, l.file.Certificates[name]
		s := CertificateSpec{Domains: c.Domains, Fullchain: c.Fullchain, Privkey: c.Privkey, Key: keyOf(c), Every: everyOf(c), Fallback: c.Fallback,
			CA: read[name].ca, Encrypted: read[name].encrypted, Pins: c.Pins, Bearer: c.Bearer, KeyOverHTTPS: c.KeyOverHTTPS, Keep: keep}
		if c.CSR != nil {
			s.Subject = c.CSR.Subject
		}
		s.BearerToken = f.bearer(at+".bearer", c.Bearer)
		s.ACME = f.acme(at+".acme", c.ACME)
		s.Deliver = f.deliveries(at+".deliver", c.Deliver)
		for _, r := range c.Reload {
			s.Reload = append(s.Reload, Reloader{Service: r.Service, Signal: r.Signal, Caddy: strings.TrimSuffix(r.Caddy, "/"), Prove: r.Prove,
				Within: orDefault(r.Within, DefaultWithin)})
		}
		specs[name] = s
	}
	l.noteUnanswered()
	l.noteHostSecrets("certificates", f.wanted)
	return specs
}

// noteUnanswered tells of orders whose challenges nobody may answer: the front
// opens its ports only where a route wants it to.
func (l *loader) noteUnanswered() {
	for _, name := range sortedKeys(l.file.Certificates) {
		if a := l.file.Certificates[name].ACME; a != nil && a.DNS == nil && len(l.file.Front) == 0 {
			l.note("certificates."+name+".acme", "an authority asks ports 80 and 443, where the front answers, and this instance has no front",
				"add a route under front, or prove the names by dns")
		}
	}
}

// keyOf is the kind of key that is made here; empty when it is fetched.
func keyOf(c Certificate) string {
	switch {
	case c.ACME != nil:
		return cmp.Or(c.ACME.Key, "p256")
	case c.Privkey != "":
		return ""
	case c.Fullchain == "":
		return "p256"
	case c.CSR != nil:
		return cmp.Or(c.CSR.Key, "rsa2048")
	}
	return "rsa2048"
}

// everyOf is how often the references are asked: seldom over a network, soon
// where looking costs nothing.
func everyOf(c Certificate) time.Duration {
	if c.Fullchain == "" {
		return 0
	}
	if here(c.Fullchain) && (c.Privkey == "" || here(c.Privkey)) {
		return orDefault(c.Every, DefaultLook)
	}
	return orDefault(c.Every, DefaultFetch)
}

// here says whether a reference is to something on the host.
func here(ref string) bool {
	s := schemeOf(ref)
	return s == "file" || s == "env" || s == "age"
}

// bearer is the value of the secret that is sent as bearer token.
func (f *filler) bearer(at, name string) string {
	if !secretName.MatchString(name) {
		return ""
	}
	return f.raw(at, "${secret:"+name+"}")
}

func (f *filler) acme(at string, a *ACME) *ACMESpec {
	if a == nil {
		return nil
	}
	issuers := a.Issuers
	if len(issuers) == 0 {
		issuers = []ACMEIssuing{{Directory: cmp.Or(a.Directory, DefaultDirectory), Profile: a.Profile, EAB: a.EAB, PreferRoot: a.PreferRoot}}
	}
	s := &ACMESpec{Challenges: a.Challenges}
	for i, from := range issuers {
		issuer := ACMEIssuer{Directory: from.Directory, Email: cmp.Or(from.Email, a.Email), Profile: from.Profile, PreferRoot: from.PreferRoot}
		if from.EAB != nil {
			in := at + ".eab.macKey"
			if len(a.Issuers) > 0 {
				in = fmt.Sprintf("%s.issuers[%d].eab.macKey", at, i)
			}
			issuer.EABKeyID, issuer.EABKey = from.EAB.KeyID, strings.TrimRight(f.secretText(in, from.EAB.MACKey, "macKey"), "=")
		}
		s.Issuers = append(s.Issuers, issuer)
	}
	if a.DNS != nil {
		s.DNS = f.dns(at+".dns", *a.DNS)
	}
	return s
}

func (f *filler) dns(at string, d DNS) *ACMEDNS {
	s := &ACMEDNS{Provider: d.Provider, With: maps.Clone(d.With), Delegate: d.Delegate,
		TTL: orDefault(d.TTL, 0), Delay: orDefault(d.Delay, 0), Timeout: orDefault(d.Timeout, 0)}
	for _, name := range sortedKeys(s.With) {
		in := join(at+".with", name)
		if !secretSetting(name) {
			s.With[name] = f.raw(in, s.With[name])
			continue
		}
		s.With[name] = f.secretText(in, s.With[name], "settingValue")
		if text := badSetting(name, s.With[name]); text != "" && !f.in.AnyHost && !f.doc.bad(in) {
			f.doc.add(in, text, "")
		}
	}
	for _, r := range d.Resolvers {
		s.Resolvers = append(s.Resolvers, withPort(r))
	}
	return s
}

// badSetting says what is wrong with a secret setting, without repeating it.
func badSetting(name, value string) string {
	switch name {
	case "key":
		if _, err := base64.StdEncoding.DecodeString(value); err != nil {
			return "is not in base64"
		}
	case "service_account_json":
		var account struct {
			Key string `json:"private_key"`
		}
		if json.Unmarshal([]byte(value), &account) != nil || account.Key == "" {
			return "is not the JSON key of a service account"
		}
	}
	return ""
}

func (f *filler) deliveries(at string, list []Deliver) (out []Delivery) {
	for i, d := range list {
		t := Delivery{Dir: d.Dir, Formats: d.Formats}
		if uid, gid, ok := strings.Cut(d.Owner, ":"); ok {
			t.UID, t.GID = number32(uid), number32(gid)
		}
		if mode, err := strconv.ParseUint(d.Mode, 8, 32); err == nil {
			t.Mode = fs.FileMode(mode)
		}
		if d.Password != "" {
			t.Password = f.secretText(fmt.Sprintf("%s[%d].password", at, i), d.Password, "password")
		}
		out = append(out, t)
	}
	return out
}

// number32 is nil of what is not a number, which was reported.
func number32(s string) *int {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return nil
	}
	return ptr(int(n))
}

// raw fills in the references of a text as they are, and keeps the values from
// being shown. Where no host is meant they stay, and are told of.
func (f *filler) raw(at, text string) string {
	return secretUse.ReplaceAllStringFunc(text, func(use string) string {
		name := secretUse.FindStringSubmatch(use)[1]
		if f.in.AnyHost {
			f.wanted = append(f.wanted, name)
			return use
		}
		value, ok := f.env[name]
		if value == "" {
			f.missing(at, name, ok)
		}
		f.hide(value, value)
		return value
	})
}

// secretText is raw for a value that is secret by itself. In git in the clear
// it is told of, and refused when it is a private key.
func (f *filler) secretText(at, text, is string) string {
	value := f.raw(at, text)
	switch {
	case f.doc.bad(at):
	case secretUse.MatchString(text):
		if wrong := syntaxes[is].text(value); wrong != "" && !f.in.AnyHost {
			f.doc.add(at, wrong, lookAtValue)
		}
	case text == "" || f.own:
	case strings.Contains(text, "PRIVATE KEY"):
		f.doc.add(at, "is a private key in the clear", "write ${secret:NAME}, and have the key replaced: whoever reads the repository has it")
	default:
		f.noteIn(f.doc, at, "a secret stands here in the clear", "write ${secret:NAME}, and give it a value: fairlead secret set")
	}
	f.hide(value, value)
	return value
}
