package desired

import (
	"fmt"
	"strings"
)

// checkServices looks at what instance.yaml says about services.
func (l *loader) checkServices(p Project) {
	if h := l.file.Health; h != nil {
		l.service("health.service", h.Service, p)
	}
	for i, route := range l.file.Front {
		name, _, _ := strings.Cut(route.To, ":")
		l.service(fmt.Sprintf("front[%d].to", i), name, p)
	}
	for _, name := range sortedKeys(l.file.Certificates) {
		for i, r := range l.file.Certificates[name].Reload {
			l.service(fmt.Sprintf("certificates.%s.reload[%d].service", name, i), r.Service, p)
		}
	}
}

func (l *loader) service(field, name string, p Project) {
	if _, ok := p.Services[name]; ok || name == "" || l.file.bad(field) {
		return
	}
	l.file.add(field, fmt.Sprintf("there is no service %q", clip(name)), didYouMean(name, sortedKeys(p.Services)))
}

// pin gives the services of the release their fixed image.
func (l *loader) pin(p Project) {
	r := l.file.Release
	if r == nil || r.Image == "" || l.file.bad("release") || r.Version == "" && r.Digest == "" {
		return
	}
	pinned := ImageRef{Repository: r.Image, Digest: r.Digest}
	if r.Digest == "" {
		pinned.Tag = "stable-" + r.Version
	}
	others := map[string]bool{}
	found := false
	for _, name := range sortedKeys(p.Services) {
		s := p.Services[name]
		ref, err := ParseImageRef(s.Image)
		if err != nil {
			continue // compose's own check speaks for it
		}
		if CanonicalRepository(ref.Repository) != CanonicalRepository(r.Image) {
			others[ref.Repository] = true
			continue
		}
		found = true
		s.Image = pinned.String()
		p.Services[name] = s
	}
	if !found && len(p.Services) > 0 {
		hint := didYouMean(r.Image, sortedKeys(others))
		l.file.add("release.image", "no service has an image of this repository", hint)
	}
}
