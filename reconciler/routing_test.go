package reconciler

import (
	"context"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// leads records what it is told, and has no traffic.
type leads struct {
	routes  []Route
	drained []string
}

func (l *leads) Set(_ string, routes []Route) { l.routes = routes }

func (l *leads) Drain(_ context.Context, _, container string) error {
	l.drained = append(l.drained, container)
	return nil
}

func (l *leads) Gaps(string, time.Time) []Gap { return nil }

func (l *leads) of(host string) (ids []string) {
	for _, r := range l.routes {
		if r.Host != host {
			continue
		}
		for _, e := range r.Endpoints {
			ids = append(ids, e.Container)
		}
	}
	return ids
}

func at(id, service string, health Health) Container {
	return Container{ID: id, Name: id, Service: service, Slot: SlotCurrent, State: StateRunning, Health: health,
		Addresses: map[string]netip.Addr{"net": netip.MustParseAddr("127.0.0.1")}}
}

func TestEndpoints(t *testing.T) {
	changed := func(c Container, change func(*Container)) Container { change(&c); return c }
	web := func(id string, health Health) Container { return at(id, "web", health) }
	for name, tt := range map[string]struct {
		have []Container
		want []string
	}{
		"without a health check":              {[]Container{web("a", "")}, []string{"a"}},
		"healthy before unhealthy":            {[]Container{web("a", HealthUnhealthy), web("b", HealthHealthy)}, []string{"b"}},
		"healthy before not yet":              {[]Container{web("a", HealthStarting), web("b", HealthHealthy), web("c", "")}, []string{"b", "c"}},
		"unhealthy is better than none":       {[]Container{web("a", HealthUnhealthy)}, []string{"a"}},
		"of another service":                  {[]Container{at("a", "db", ""), web("b", "")}, []string{"b"}},
		"set aside, or not taking over yet":   {[]Container{changed(web("a", ""), func(c *Container) { c.Slot = SlotPrevious }), changed(web("b", ""), func(c *Container) { c.Slot = SlotNext })}, nil},
		"stopped":                             {[]Container{changed(web("a", ""), func(c *Container) { c.State = "exited" })}, nil},
		"without an address":                  {[]Container{changed(web("a", ""), func(c *Container) { c.Addresses = nil })}, nil},
		"with an address that is none":        {[]Container{changed(web("a", ""), func(c *Container) { c.Addresses = map[string]netip.Addr{"net": {}} })}, nil},
		"an unhealthy one of another service": {[]Container{at("a", "db", HealthUnhealthy)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			l := &leads{}
			g := newRouting("acme", l)
			g.follow(desired.Spec{Front: []desired.FrontRoute{{Host: "a.test", Service: "web", Port: 80}}}, Observed{Containers: tt.have}, nil)
			if got := l.of("a.test"); !slices.Equal(got, tt.want) {
				t.Errorf("led to %v, want %v", got, tt.want)
			}
		})
	}
}

// What has left is not led to again by a change of another service.
func TestWhatLeftStaysAway(t *testing.T) {
	spec := desired.Spec{Front: []desired.FrontRoute{{Host: "a.test", Service: "web", Port: 80}, {Host: "b.test", Service: "api", Port: 80}}}
	have := Observed{Containers: []Container{at("w1", "web", ""), at("w2", "web", ""), at("api", "api", "")}}
	l := &leads{}
	g := newRouting("acme", l)
	g.follow(spec, have, nil)
	if err := g.leave(t.Context(), "w1"); err != nil || !slices.Equal(l.drained, []string{"w1"}) {
		t.Fatalf("drained %v, %v", l.drained, err)
	}
	g.admit(spec, "api", have)
	g.add(spec, at("api", "api", ""))
	if web, api := l.of("a.test"), l.of("b.test"); !slices.Equal(web, []string{"w2"}) || !slices.Equal(api, []string{"api"}) {
		t.Errorf("led to %v and %v", web, api)
	}
	before := l.routes
	g.follow(spec, Observed{}, nil) // the engine does not answer: that is not nobody
	g.admit(spec, "web", Observed{})
	if !slices.EqualFunc(before, l.routes, func(a, b Route) bool { return slices.Equal(a.Endpoints, b.Endpoints) }) {
		t.Errorf("what was not observed changed the routes: %+v", l.routes)
	}
}
