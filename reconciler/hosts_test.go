package reconciler_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// table is a Traffic that remembers where it was told to lead.
type table struct {
	mu     sync.Mutex
	routes map[string][]reconciler.Route
}

func (t *table) Set(instance string, routes []reconciler.Route) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.routes[instance] = routes
}

func (*table) Drain(context.Context, string, string) error { return nil }
func (*table) Gaps(string, time.Time) []reconciler.Gap     { return nil }

// ledBy are the instances that lead a host, with how many containers each.
func (t *table) ledBy(host string) (list []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for name, routes := range t.routes {
		for _, r := range routes {
			if r.Host == host {
				list = append(list, name+strings.Repeat("+", len(r.Endpoints)))
			}
		}
	}
	slices.Sort(list)
	return list
}

// serve adds an instance that serves a host.
func (f *fleet) serve(name, host string) {
	f.add(name, "app:1")
	dir := "instances/" + name
	spec := f.specs[dir]
	spec.Front = []desired.FrontRoute{{Host: host, Service: "app", Port: 8000, Hold: time.Minute, Drain: time.Minute}}
	f.specs[dir] = spec
}

func (f *fleet) led(t *testing.T, host string, want ...string) {
	t.Helper()
	if got := f.traffic.ledBy(host); !slices.Equal(got, want) {
		t.Errorf("%s is led by %v, want %v", host, got, want)
	}
}

// Two instances never serve one host by turns: who has it keeps it, and the
// other says so until it is given up.
func TestHostBelongsToOne(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.serve("initech", "data.example.com") })
		f.led(t, "data.example.com", "initech+")
		f.commit(func() { f.serve("globex", "data.example.com") })
		f.led(t, "data.example.com", "initech+")
		inst, err := f.manager.Instance("globex")
		if err != nil {
			t.Fatal(err)
		}
		cond := inst.Status().Condition(reconciler.ContainersReady)
		if cond.Reason != "HostTaken" || !strings.Contains(cond.Message, "data.example.com") || !strings.Contains(cond.Message, "initech") {
			t.Errorf("%+v", cond)
		}
		plan, err := inst.Preview(t.Context(), nil)
		if err != nil || len(plan.Held) != 1 || plan.Held[0].Reason != "HostTaken" {
			t.Errorf("the plan says %+v, %v", plan.Held, err)
		}
		if f.running(t, "globex") {
			t.Error("it was begun nevertheless")
		}
		f.commit(func() {
			spec := f.specs["instances/initech"]
			spec.Front = nil
			f.specs["instances/initech"] = spec
		})
		f.led(t, "data.example.com", "globex+")
	})
}

// An instance that gets another name takes its hosts along, and what is left of
// the old one is led to until then, and not any longer.
func TestRenamedInstanceTakesItsHosts(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.serve("initech", "data.example.com") })
		f.commit(func() {
			f.found = slices.DeleteFunc(f.found, func(i reconciler.Found) bool { return i.Name == "initech" })
		})
		f.led(t, "data.example.com", "initech+")
		f.commit(func() { f.serve("intertrode", "data.example.com") })
		f.led(t, "data.example.com", "intertrode+")
	})
}

// Who clears up what is left of an instance is not served from its old address,
// which another container may have by then.
func TestWhatIsLeftIsFollowed(t *testing.T) {
	fleetTest(t, func(t *testing.T, f *fleet) {
		f.commit(func() { f.serve("initech", "data.example.com") })
		f.commit(func() {
			f.found = slices.DeleteFunc(f.found, func(i reconciler.Found) bool { return i.Name == "initech" })
		})
		f.engine.RemoveContainer("initech-app-1")
		f.hints <- "initech"
		time.Sleep(10 * time.Second)
		f.led(t, "data.example.com")
	})
}
