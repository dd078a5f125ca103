package desired

import (
	"fmt"
	"strings"
)

// check looks at what fields say together.
func (p *parsed) check() {
	p.checkLists()
	p.checkRelease()
	p.checkSmoke()
	p.checkVariables()
	p.checkCertificates()
	p.checkFront()
	p.checkNotify()
	if o := p.Policy; o != nil && o.RequireSignedCommits && o.AllowedSigners == "" {
		p.add("policy.requireSignedCommits", "needs policy.allowedSigners", "name the file that lists whose signatures count")
	}
}

// checkLists refuses the same entry twice where that is a slip.
func (p *parsed) checkLists() {
	if u := p.Upgrade; u != nil {
		p.unique("upgrade.locks", u.Locks)
	}
	if c := p.Compose; c != nil {
		p.unique("compose.files", c.Files)
		p.unique("compose.profiles", c.Profiles)
	}
	if o := p.Policy; o != nil {
		p.unique("policy.images", o.Images)
		p.unique("policy.hostMounts", o.HostMounts)
	}
}

func (p *document) unique(field string, list []string) {
	first := map[string]int{}
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		if j, twice := first[s]; twice && !p.bad(at) {
			p.add(at, fmt.Sprintf("%q stands twice", clip(s)), fmt.Sprintf("it is %s[%d] already", field, j))
			continue
		}
		first[s] = i
	}
}

func (p *parsed) checkRelease() {
	r := p.Release
	if r == nil || p.bad("release") {
		return
	}
	if r.Image == "" {
		p.add("release", "has no image", "add release.image, the repository that the release is of")
		return
	}
	if r.Version == "" && r.Digest == "" && r.Channel == "" {
		p.add("release", "has no channel, version or digest", "add channel: stable, version: YYYY.MM.N or digest: sha256:…")
	}
}

func (p *parsed) checkFront() {
	hosts := map[string]bool{}
	for i, route := range p.Front {
		at := fmt.Sprintf("front[%d]", i)
		if hosts[route.Host] && route.Host != "" {
			p.add(at+".host", fmt.Sprintf("%q is served by an entry above already", route.Host), "")
		}
		hosts[route.Host] = true
		if route.Certificate == "" || p.bad(at+".certificate") {
			continue
		}
		cert, ok := p.Certificates[route.Certificate]
		if !ok {
			hint := "add it under certificates"
			if len(p.Certificates) > 0 {
				hint = didYouMean(route.Certificate, sortedKeys(p.Certificates))
			}
			p.add(at+".certificate", fmt.Sprintf("there is no certificate %q", route.Certificate), hint)
		} else if !covers(cert.Domains, route.Host) && !p.bad("certificates."+route.Certificate+".domains") && !p.bad(at+".host") {
			p.add(at+".certificate", fmt.Sprintf("the certificate %q is not for %s", route.Certificate, route.Host),
				"it is for "+listed(cert.Domains))
		}
	}
}

// covers matches as RFC 6125 section 6.4.3 does: a star is one whole label.
func covers(domains []string, host string) bool {
	_, parent, _ := strings.Cut(host, ".")
	for _, d := range domains {
		if d == host || parent != "" && d == "*."+parent {
			return true
		}
	}
	return false
}
