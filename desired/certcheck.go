package desired

import (
	"fmt"
	"slices"
	"strings"
)

// maxDomains is what fits in a certificate of the public authorities.
const maxDomains = 100

// checkCertificates looks at what the keys of each certificate say together.
func (p *parsed) checkCertificates() {
	for _, name := range sortedKeys(p.Certificates) {
		at, c := "certificates."+name, p.Certificates[name]
		p.unique(at+".domains", c.Domains)
		p.unique(at+".pins", c.Pins)
		if len(c.Domains) > maxDomains {
			p.add(at+".domains", fmt.Sprintf("has %d entries, more than %d", len(c.Domains), maxDomains), "make several certificates of it")
		}
		p.checkOrigin(at, c)
		p.checkAsking(at, c)
		if c.ACME != nil {
			p.checkACME(at+".acme", c)
		}
		for i, d := range c.Deliver {
			p.checkDelivery(fmt.Sprintf("%s.deliver[%d]", at, i), d)
		}
		for i, r := range c.Reload {
			p.checkReload(fmt.Sprintf("%s.reload[%d]", at, i), r)
		}
	}
	p.checkDeliveryDirs()
}

// checkOrigin wants a certificate to come from one place.
func (p *parsed) checkOrigin(at string, c Certificate) {
	chain, key := p.has(at+".fullchain"), p.has(at+".privkey")
	switch {
	case c.ACME != nil && chain:
		p.add(at+".acme", "stands beside fullchain", "a certificate is fetched or got by ACME, not both")
	case c.ACME != nil && key:
		p.add(at+".privkey", "stands beside acme", "with ACME the key is made on the host")
	case c.ACME == nil && key && !chain:
		p.add(at+".privkey", "stands without fullchain", "add fullchain: URL, or remove both for a self-signed certificate")
	}
	switch {
	case !p.has(at + ".csr"):
	case c.ACME != nil:
		p.add(at+".csr", "stands beside acme", "ACME makes its own requests; acme.key is the kind of key")
	case key:
		p.add(at+".csr", "stands beside privkey", "a signing request is only written for a key made on the host")
	case !chain:
		p.add(at+".csr", "stands without fullchain", "add fullchain: URL, where the signed certificate will appear")
	}
	if chain || c.ACME != nil {
		return
	}
	for _, k := range []string{"every", "ca"} {
		if p.has(at + "." + k) {
			p.add(at+"."+k, "has no effect on a self-signed certificate", "add fullchain or acme, or remove it")
		}
	}
}

// checkAsking looks at how references are asked.
func (p *parsed) checkAsking(at string, c Certificate) {
	if c.ACME != nil && p.has(at+".every") {
		p.add(at+".every", "stands beside acme", "remove it: when to renew is the authority's to say")
	}
	keyByHTTPS := schemeOf(c.Privkey) == "https"
	switch {
	case keyByHTTPS && !c.KeyOverHTTPS:
		p.add(at+".privkey", "is a private key by https", "a secret store, file:// or age:// keeps it better; else add keyOverHTTPS: true and bearer: SECRET")
	case keyByHTTPS && c.Bearer == "":
		p.add(at+".privkey", "is a private key that everybody can fetch", "add bearer: SECRET")
	case c.KeyOverHTTPS && !keyByHTTPS:
		p.add(at+".keyOverHTTPS", "has no effect: privkey is not an https URL", "remove it")
	}
	if keyByHTTPS || schemeOf(c.Fullchain) == "https" {
		return
	}
	for _, k := range []string{"pins", "bearer"} {
		if p.has(at + "." + k) {
			p.add(at+"."+k, "has no effect: neither fullchain nor privkey is an https URL", "remove it")
		}
	}
}

func (p *parsed) checkACME(at string, c Certificate) {
	a := c.ACME
	p.unique(at+".challenges", a.Challenges)
	if len(a.Issuers) > 0 {
		for _, k := range []string{"directory", "profile", "eab", "preferRoot"} {
			if p.has(at + "." + k) {
				p.add(at+"."+k, "stands beside issuers", "move it into the first entry of issuers")
			}
		}
	}
	first := map[string]bool{}
	for i, issuer := range a.Issuers {
		if first[issuer.Directory] && issuer.Directory != "" {
			p.add(fmt.Sprintf("%s.issuers[%d].directory", at, i), "stands twice", "an authority is asked once")
		}
		first[issuer.Directory] = true
	}
	p.checkChallenges(at, c)
	if d := a.DNS; d != nil {
		p.unique(at+".dns.resolvers", d.Resolvers)
		p.checkSettings(at+".dns", *d)
	}
}

func (p *parsed) checkChallenges(at string, c Certificate) {
	const dns01 = "dns-01"
	a := c.ACME
	byDNS := slices.Contains(a.Challenges, dns01)
	wild := slices.IndexFunc(c.Domains, func(d string) bool { return strings.HasPrefix(d, "*.") })
	switch {
	case byDNS && a.DNS == nil:
		p.add(at+".challenges", dns01+" needs dns", "add dns: {provider: …}; docs/acme.md lists the providers")
	case a.DNS != nil && len(a.Challenges) > 0 && !byDNS:
		p.add(at+".dns", "has no effect: "+dns01+" is not among challenges", "add "+dns01+" to challenges, or remove dns")
	case wild >= 0 && a.DNS == nil && !byDNS:
		p.add(at, fmt.Sprintf("%s can be proved by %s only", c.Domains[wild], dns01), "add dns: {provider: …}; docs/acme.md lists the providers")
	}
}

func (p *parsed) checkDelivery(at string, d Deliver) {
	p.unique(at+".formats", d.Formats)
	p12 := slices.Contains(d.Formats, "p12")
	switch {
	case p12 && !p.has(at+".password"):
		p.add(at+".formats", "p12 needs a password", "add password: \"${secret:NAME}\"")
	case !p12 && p.has(at+".password"):
		p.add(at+".password", "has no effect: p12 is not among formats", "add formats: [pem, p12], or remove it")
	}
}

func (p *parsed) checkReload(at string, r Reload) {
	signal, caddy, service := p.has(at+".signal"), p.has(at+".caddy"), p.has(at+".service")
	switch {
	case signal && caddy:
		p.add(at+".caddy", "stands beside signal", "a server is told in one way; make it two entries if there are two")
	case !signal && !caddy && !p.has(at+".prove"): // one that watches its files is only asked
		p.add(at, "has no way to tell the server", "add service and signal: SIGHUP, or caddy: http://127.0.0.1:2019; one that watches its files needs only prove")
	case signal && !service:
		p.add(at+".service", "is required", "add service: the one that gets the signal")
	}
	if p.bad(at+".prove") || service {
		return
	}
	if strings.HasPrefix(r.Caddy, ":") {
		p.add(at+".caddy", "needs service beside it", "a port alone is that of a service's containers; else write http://127.0.0.1:2019")
	}
	if strings.HasPrefix(r.Prove, ":") {
		p.add(at+".prove", "needs a host, or service beside it", "for example 127.0.0.1:443")
	} else if caddy && r.Prove == "" {
		p.add(at+".prove", "is required without service", "add prove: 127.0.0.1:443, where this Caddy serves the certificate")
	}
}

// checkDeliveryDirs refuses two deliveries into one directory, or one in the
// other: what one writes is another's to find changed by hand.
func (p *parsed) checkDeliveryDirs() {
	type place struct{ field, dir string }
	var before []place
	for _, name := range sortedKeys(p.Certificates) {
		for i, d := range p.Certificates[name].Deliver {
			at := fmt.Sprintf("certificates.%s.deliver[%d].dir", name, i)
			if d.Dir == "" || p.bad(at) {
				continue
			}
			for _, b := range before {
				switch {
				case b.dir == d.Dir:
					p.add(at, fmt.Sprintf("%q is that of %s", clip(d.Dir), b.field), "give each pair a directory of its own")
				case inside(b.dir, d.Dir), inside(d.Dir, b.dir):
					p.add(at, fmt.Sprintf("%q and %s lie in each other", clip(d.Dir), b.field), "put them side by side")
				default:
					continue
				}
				break
			}
			before = append(before, place{at, d.Dir})
		}
	}
}

// inside says whether a clean path is below a clean directory.
func inside(p, dir string) bool { return strings.HasPrefix(p, dir+"/") }
