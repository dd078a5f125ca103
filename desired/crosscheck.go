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
