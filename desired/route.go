package desired

import (
	"fmt"
	"net/url"
	"path"
	"strings"
)

// front is what the embedded proxy serves.
func (l *loader) front(p Project) []FrontRoute {
	var routes []FrontRoute
	for i, r := range l.file.Front {
		at := fmt.Sprintf("front[%d]", i)
		service, port := splitTarget(r.To)
		if s := p.Services[service]; s.NetworkMode == "none" && !l.file.bad(at) {
			l.file.add(at+".to", service+" has no network", "its compose file says network_mode: none")
		}
		routes = append(routes, FrontRoute{Host: r.Host, Service: service, Port: port, Certificate: r.Certificate, HSTS: r.HSTS,
			RedirectHTTP: r.RedirectHTTP, Drain: orDefault(r.Drain, DefaultDrain), Hold: orDefault(r.Hold, DefaultHold)})
	}
	return routes
}

// certificates are where the pairs of files come from.
func (l *loader) certificates() map[string]CertificateSpec {
	if len(l.file.Certificates) == 0 {
		return nil
	}
	specs := map[string]CertificateSpec{}
	for _, name := range sortedKeys(l.file.Certificates) {
		at, c := "certificates."+name, l.file.Certificates[name]
		l.file.checkPair(at, c)
		specs[name] = CertificateSpec{Domains: c.Domains, Fullchain: l.hostFile(at+".fullchain", c.Fullchain),
			Privkey: l.hostFile(at+".privkey", c.Privkey), Fallback: c.Fallback}
	}
	return specs
}

// checkPair refuses a chain whose key would have to be made here.
func (p *parsed) checkPair(at string, c Certificate) {
	if c.Fullchain != "" && !p.has(at+".privkey") && c.ACME == nil && !p.bad(at) {
		p.add(at+".privkey", "a key that is made on the host is "+notYet, "add privkey: file:///etc/ssl/private/NAME.pem, the key of the chain")
	}
}

const fileScheme = "file://"

// hostFile is the path that a file:// URL names; empty for any other.
func (l *loader) hostFile(field, text string) string {
	u, err := url.Parse(text)
	if !strings.HasPrefix(text, fileScheme) || err != nil || l.file.bad(field) {
		return ""
	}
	if u.RawQuery != "" || u.ForceQuery || path.Clean(u.Path) != u.Path || strings.ContainsRune(u.Path, 0) {
		l.file.add(field, "is not the path of a file", "write it without .., double slashes and question mark: file:///etc/ssl/chain.pem")
	}
	return u.Path
}

// checkSchemes refuses the sources that this version cannot read.
func (p *parsed) checkSchemes() {
	for _, name := range sortedKeys(p.Certificates) {
		c := p.Certificates[name]
		for _, e := range []struct{ key, url string }{{"fullchain", c.Fullchain}, {"privkey", c.Privkey}} {
			at := "certificates." + name + "." + e.key
			_, secret := p.secrets[at]
			if e.url == "" || secret || strings.HasPrefix(e.url, fileScheme) || p.bad(at) {
				continue
			}
			scheme, _, _ := strings.Cut(e.url, ":")
			p.add(at, scheme+":// is "+notYet, "have it fetched to a file of the host, and write file:///PATH")
		}
	}
}
