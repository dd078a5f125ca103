package front

import (
	"container/list"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// table is what all requests are led by. It is never changed, only replaced.
type table struct {
	hosts map[string]*route
	only  *route        // the one there is, for clients that send no SNI
	next  chan struct{} // closed once another table is in force
}

// instance is what Set said last of an instance, and what is left of before.
// The mutex of the Front guards it.
type instance struct {
	name      string
	last      []reconciler.Route // nil once a Drain has departed from it
	routes    map[string]*route
	services  map[string]*service
	endpoints map[endpointKey]*endpoint
	leaving   []*endpoint // taken out, with requests in flight
}

type endpointKey struct{ container, address string }

// route is one host. It outlives changes of what it leads to.
type route struct {
	front    *Front
	instance string
	host     string
	state    atomic.Pointer[state]
	turn     atomic.Uint32
	live     atomic.Bool // clients trust its certificate
	stats    routeStats

	queue     list.List // of *waiter, by arrival; guarded by Front.mu
	releasing bool      // guarded by Front.mu
}

// state is what a route is now. It is never changed, only replaced.
type state struct {
	desired.FrontRoute
	service   *service
	endpoints []*endpoint
	hsts      []string // header values; nil: none
	gone      bool     // the route has ended
}

// Set implements reconciler.Traffic.
func (f *Front) Set(name string, routes []reconciler.Route) {
	f.mu.Lock()
	defer f.mu.Unlock()
	inst := f.instances[name]
	if inst == nil {
		if len(routes) == 0 {
			return
		}
		inst = &instance{name: name, services: map[string]*service{}}
		f.instances[name] = inst
	}
	inst.sweep()
	if inst.last != nil && reflect.DeepEqual(inst.last, routes) {
		return
	}
	old, oldRoutes := inst.endpoints, inst.routes
	f.assign(inst, routes)
	f.publish()
	for key, ep := range old {
		if inst.endpoints[key] != ep {
			inst.takeOut(ep)
		}
	}
	for host, rt := range oldRoutes {
		if inst.routes[host] != rt {
			rt.end()
		}
	}
	inst.refresh(time.Now())
	f.forget(inst)
}

// forget drops an instance that has no routes and nothing in flight.
func (f *Front) forget(inst *instance) {
	if inst.sweep(); len(inst.routes) == 0 && len(inst.leaving) == 0 {
		delete(f.instances, inst.name)
	}
}

// assign makes the routes of an instance what Set says.
func (f *Front) assign(inst *instance, routes []reconciler.Route) {
	before, had := inst.endpoints, inst.routes
	inst.last = slices.Clone(routes)
	inst.endpoints, inst.routes = map[endpointKey]*endpoint{}, map[string]*route{}
	for _, r := range routes {
		host, ok := cleanHost(r.Host)
		if !ok || inst.routes[host] != nil {
			f.log.WithFields(logFields{"instance": inst.name, "host": r.Host}).Warn("host is no host name or is led twice; ignored")
			continue
		}
		rt := had[host]
		if rt == nil {
			rt = &route{front: f, instance: inst.name, host: host}
		}
		inst.routes[host] = rt
		s := &state{FrontRoute: r.FrontRoute, service: inst.service(r.Service)}
		if r.HSTS > 0 {
			s.hsts = []string{"max-age=" + strconv.Itoa(r.HSTS)}
		}
		for _, e := range r.Endpoints {
			s.endpoints = append(s.endpoints, f.endpoint(inst, before, e, r.Drain))
		}
		rt.state.Store(s)
	}
}

// endpoint returns the endpoint that is there already, or another.
func (f *Front) endpoint(inst *instance, before map[endpointKey]*endpoint, e reconciler.Endpoint, drain time.Duration) *endpoint {
	key := endpointKey{e.Container, e.Address.String()}
	ep := inst.endpoints[key]
	if ep == nil {
		ep = before[key]
	}
	if ep == nil {
		ep = newEndpoint(f, inst, key)
	}
	inst.endpoints[key] = ep
	ep.drain = max(ep.drain, drain)
	return ep
}

// publish puts a new table in force. A host that two instances claim stays
// with the one that has it.
func (f *Front) publish() {
	before := f.table.Load()
	t := &table{hosts: map[string]*route{}, next: make(chan struct{})}
	for _, inst := range f.instances {
		for host, rt := range inst.routes {
			other := t.hosts[host]
			if other != nil {
				f.log.WithFields(logFields{"host": host, "instances": []string{inst.name, other.instance}}).Warn("host is claimed by two instances")
			}
			if other == nil || before.hosts[host] == rt || (before.hosts[host] != other && inst.name < other.instance) {
				t.hosts[host] = rt
			}
		}
	}
	if len(t.hosts) == 1 {
		for _, rt := range t.hosts {
			t.only = rt
		}
	}
	f.table.Store(t)
	close(before.next)
}

// host returns the route of a host; without a name, the only one there is.
func (t *table) host(name string) *route {
	if name == "" {
		return t.only
	}
	return t.hosts[name]
}

// find returns the route of a host, nil when there is none. While the daemon
// starts, it waits for a host that may still come.
func (f *Front) find(ctx context.Context, host string) *route {
	for {
		t := f.table.Load()
		if rt := t.host(host); rt != nil {
			return rt
		}
		select {
		case <-f.ready:
			return f.table.Load().host(host)
		default:
		}
		select {
		case <-f.ready:
		case <-t.next:
		case <-ctx.Done():
			return nil
		}
	}
}

// lead returns the route of a request over TLS, or the status that refuses it.
// What the client asked for in the handshake and what it asks for now must be
// one host (RFC 9110 section 7.4).
func (f *Front) lead(r *http.Request) (*route, int) {
	host, ok := cleanHost(r.Host)
	if !ok || r.Method == http.MethodConnect {
		return nil, http.StatusBadRequest
	}
	rt := f.find(r.Context(), host)
	if rt == nil {
		return nil, http.StatusMisdirectedRequest
	}
	if r.TLS == nil {
		return nil, http.StatusForbidden
	}
	if name := r.TLS.ServerName; name != host && !sameHost(name, host) {
		if name != "" || f.table.Load().only != rt {
			return nil, http.StatusMisdirectedRequest
		}
	}
	return rt, 0
}

// pick returns the endpoint with the fewest requests in flight, by turns where
// several have; nil when none can take requests.
func (rt *route) pick(s *state) *endpoint {
	n := len(s.endpoints)
	if n == 1 {
		if ep := s.endpoints[0]; !ep.down.Load() {
			return ep
		}
		return nil
	}
	if n == 0 {
		return nil
	}
	var best *endpoint
	var least int64
	first := int(rt.turn.Add(1)) % n
	for i := range n {
		ep := s.endpoints[(first+i)%n]
		if ep.down.Load() {
			continue
		}
		if load := ep.inflight.Load(); best == nil || load < least {
			best, least = ep, load
		}
	}
	return best
}

// available reports whether a request can be led on now.
func (s *state) available() bool {
	return slices.ContainsFunc(s.endpoints, func(ep *endpoint) bool { return !ep.down.Load() })
}

// end refuses what waits for a route that is no more.
func (rt *route) end() {
	s := *rt.state.Load()
	s.gone, s.endpoints = true, nil
	rt.state.Store(&s)
	rt.refuseAll(errGone)
}

func (inst *instance) service(name string) *service {
	s := inst.services[name]
	if s == nil {
		s = &service{name: name}
		inst.services[name] = s
	}
	return s
}

// takeOut closes an endpoint and remembers it while requests are in flight.
// The routes must not lead to it any more.
func (inst *instance) takeOut(ep *endpoint) {
	ep.close()
	if !ep.ended() {
		inst.leaving = append(inst.leaving, ep)
	}
}

func (inst *instance) sweep() {
	inst.leaving = slices.DeleteFunc(inst.leaving, (*endpoint).ended)
}
