package reconciler

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// routing is where the requests of an instance are led now, as far as this
// package decides it. It is used by the goroutine of the passes and by those of
// an apply.
type routing struct {
	instance string
	traffic  Traffic // nil: nobody leads anything
	hosts    *hosts  // of all instances; may be nil

	mu     sync.Mutex
	routes []Route
}

func newRouting(instance string, t Traffic) *routing { return &routing{instance: instance, traffic: t} }

// follow leads every route of a specification to the containers that were
// found; those that admit refuses are left out.
func (g *routing) follow(spec desired.Spec, have Observed, admit func(Container) bool) {
	if g.traffic == nil || have.Containers == nil {
		return
	}
	defer g.hosts.giveWay() // after the lock is gone
	g.mu.Lock()
	defer g.mu.Unlock()
	g.routes = g.routes[:0:0]
	for _, f := range spec.Front {
		g.routes = append(g.routes, Route{FrontRoute: f, Endpoints: endpointsOf(have, f.Service, f.Port, admit)})
	}
	g.setLocked()
}

// admit leads the routes of one service to the containers that were found, and
// leaves the others as they are.
func (g *routing) admit(spec desired.Spec, service string, have Observed) {
	if g.traffic == nil || have.Containers == nil {
		return
	}
	g.change(spec, service, func(f desired.FrontRoute, _ []Endpoint) []Endpoint {
		return endpointsOf(have, service, f.Port, nil)
	})
}

// add leads the routes of a container's service to it too.
func (g *routing) add(spec desired.Spec, c Container) {
	if g.traffic == nil {
		return
	}
	g.change(spec, c.Service, func(f desired.FrontRoute, now []Endpoint) []Endpoint {
		now = slices.DeleteFunc(slices.Clone(now), func(e Endpoint) bool { return e.Container == c.ID })
		if e, ok := endpointOf(c, f.Port); ok {
			now = append(now, e)
		}
		return now
	})
}

// change gives the routes of a service other endpoints. Hosts that only the new
// specification has are added; none is taken away before it stands.
func (g *routing) change(spec desired.Spec, service string, endpoints func(desired.FrontRoute, []Endpoint) []Endpoint) {
	defer g.hosts.giveWay() // after the lock is gone
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range spec.Front {
		if f.Service != service {
			continue
		}
		i := slices.IndexFunc(g.routes, func(r Route) bool { return r.Host == f.Host })
		if i < 0 {
			g.routes = append(g.routes, Route{})
			i = len(g.routes) - 1
		}
		g.routes[i] = Route{FrontRoute: f, Endpoints: endpoints(f, g.routes[i].Endpoints)}
	}
	g.setLocked()
}

// leave takes a container out and waits until no request is on its way to it.
func (g *routing) leave(ctx context.Context, container string) error {
	if g.traffic == nil {
		return nil
	}
	g.mu.Lock()
	for i, r := range g.routes {
		g.routes[i].Endpoints = slices.DeleteFunc(slices.Clone(r.Endpoints), func(e Endpoint) bool { return e.Container == container })
	}
	g.mu.Unlock()
	return g.traffic.Drain(ctx, g.instance, container)
}

// leads reports whether requests are led to a service.
func (g *routing) leads(service string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.traffic != nil && slices.ContainsFunc(g.routes, func(r Route) bool { return r.Service == service })
}

// leadsHost reports whether the requests for a host go to a service now.
func (g *routing) leadsHost(host, service string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.traffic != nil && slices.ContainsFunc(g.routes, func(r Route) bool { return r.Host == host && r.Service == service })
}

// gaps are the interruptions since a time, the longest of each service.
func (g *routing) gaps(since time.Time) []Gap {
	if g.traffic == nil {
		return nil
	}
	return g.traffic.Gaps(g.instance, since)
}

func (g *routing) setLocked() { g.traffic.Set(g.instance, slices.Clone(g.routes)) }

// endpointsOf are the containers of a service that take requests on a port.
// One that says it is unhealthy takes them only when none is better: a service
// that half works is more than none.
func endpointsOf(have Observed, service string, port int, admit func(Container) bool) []Endpoint {
	var all, good []Endpoint
	for _, c := range have.Containers {
		if c.Service != service || c.Slot != SlotCurrent || c.State != StateRunning || admit != nil && !admit(c) {
			continue
		}
		e, ok := endpointOf(c, port)
		if !ok {
			continue
		}
		all = append(all, e)
		if c.Health == "" || c.Health == HealthHealthy {
			good = append(good, e)
		}
	}
	if len(good) > 0 {
		return good
	}
	return all
}

// endpointOf is where a container is reached, by the first of its networks in
// order of name.
func endpointOf(c Container, port int) (Endpoint, bool) {
	for _, name := range sortedKeys(c.Addresses) {
		if a := c.Addresses[name]; a.IsValid() {
			return Endpoint{Container: c.ID, Address: netip.AddrPortFrom(a, uint16(port))}, true
		}
	}
	return Endpoint{}, false
}
