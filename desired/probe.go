package desired

import (
	"strconv"
	"strings"
)

// check is what is asked of whom after a change; nil when nothing is.
func (l *loader) check(p Project) *HTTPCheck {
	if l.file.bad("health") {
		return nil
	}
	var h Health
	if l.file.Health != nil {
		h = *l.file.Health
	}
	named, smoke := h.Service != "" || h.Port != 0, l.file.has("smoke")
	switch {
	case h.Path == "" && !smoke && named:
		l.note("health", "service and port have no effect without path or smoke", "add path: /readyz")
		return nil
	case h.Path == "" && !smoke:
		return nil
	case h.Path == "" && !named:
		return l.frontCheck(p)
	}
	if h.Service == "" {
		h.Service = l.onlyService(p)
	}
	if h.Port == 0 {
		l.file.add("health.port", "is required", "add the port in the container that path and smoke are asked on, port: 8000")
	}
	l.reachable("health", h.Service, p)
	return &HTTPCheck{Service: h.Service, Path: h.Path, Port: h.Port}
}

// onlyService is the service that is meant when none is named.
func (l *loader) onlyService(p Project) string {
	names := sortedKeys(p.Services)
	if len(names) != 1 {
		l.file.add("health.service", "is required", "the services are "+listed(names))
		return ""
	}
	return names[0]
}

// frontCheck sends the smoke steps where the first route goes.
func (l *loader) frontCheck(p Project) *HTTPCheck {
	if l.file.bad("front") {
		return nil
	}
	if len(l.file.Front) == 0 {
		l.file.add("smoke", "has no service to ask", "add health.service and health.port, or a route under front")
		return nil
	}
	service, port := splitTarget(l.file.Front[0].To)
	l.reachable("front[0].to", service, p)
	return &HTTPCheck{Service: service, Port: port}
}

// reachable refuses to ask a service that has no container or no network.
func (l *loader) reachable(field, service string, p Project) {
	s, ok := p.Services[service]
	switch {
	case !ok || l.file.bad(field):
	case s.Replicas == 0:
		l.file.add(field, "asks "+service+", which has no container", "its compose file says scale: 0")
	case s.NetworkMode == "none":
		l.file.add(field, "asks "+service+", which has no network", "its compose file says network_mode: none")
	}
}

// splitTarget reads "service:port"; the reader has checked it.
func splitTarget(to string) (service string, port int) {
	service, number, _ := strings.Cut(to, ":")
	port, _ = strconv.Atoi(number)
	return service, port
}
