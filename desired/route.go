package desired

import "fmt"

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
