package docker_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func (r *rig) target(services ...desired.Service) reconciler.Target {
	spec := desired.Spec{
		Name: r.instance, Services: map[string]desired.Service{},
		Networks: map[string]desired.Network{"default": {Key: "default", Name: r.instance + "_default"}},
	}
	zero := time.Duration(0)
	for _, s := range services {
		if s.Networks == nil && s.NetworkMode == "" {
			s.Networks = []desired.ServiceNetwork{{Network: "default"}}
		}
		if s.StopGrace == nil {
			s.StopGrace = &zero
		}
		s.Replicas = max(s.Replicas, 1)
		spec.Services[s.Name] = s
	}
	return reconciler.Target{Spec: spec, Generation: 1, Revision: "abc", Dir: r.owner}
}

// deploy brings the target into effect and returns it with its images.
func (r *rig) deploy(t reconciler.Target) reconciler.Target {
	r.Helper()
	images, err := r.engine.Prepare(r.Context(), t, nil)
	r.check(err)
	t.Images = images
	for k, n := range t.Spec.Networks {
		r.check(r.engine.Ensure(r.Context(), t, reconciler.Action{Kind: reconciler.KindNetwork, Name: k, Object: n.Name}))
	}
	for k, v := range t.Spec.Volumes {
		r.check(r.engine.Ensure(r.Context(), t, reconciler.Action{Kind: reconciler.KindVolume, Name: k, Object: v.Name}))
	}
	for _, name := range t.Spec.ServiceNames() {
		for n := 1; n <= t.Spec.Services[name].Replicas; n++ {
			r.check(r.engine.Ensure(r.Context(), t, reconciler.Action{Kind: reconciler.KindContainer, Name: name, Replica: n}))
		}
	}
	r.check(r.engine.Settle(r.Context(), t))
	return t
}

// TestQuickObservationOfEverythingIsShared is the no-op cost: 20 instances of
// 5 containers, all asking at once, cost one list and no inspection.
func TestQuickObservationOfEverythingIsShared(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	first := r.target(desired.Service{Name: "s", Image: ref, NetworkMode: "none"})
	images, err := r.engine.Prepare(t.Context(), first, nil)
	r.check(err)
	base := r.instance
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			spec := desired.Spec{Name: fmt.Sprintf("%s-%d", base, i), Services: map[string]desired.Service{}}
			for s := range 5 {
				name := fmt.Sprintf("s%d", s)
				spec.Services[name] = desired.Service{Name: name, Image: ref, NetworkMode: "none", Replicas: 1}
			}
			tgt := reconciler.Target{Spec: spec, Images: images, Dir: r.owner}
			// Created is enough here: 100 starts would take a minute.
			for name := range spec.Services {
				if err := r.engine.CreateOnly(t.Context(), tgt, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	r.wire.reset()
	seen := make([]int, 20)
	for i := range 20 {
		wg.Go(func() {
			o, err := r.engine.Observe(t.Context(), fmt.Sprintf("%s-%d", base, i), false)
			if err != nil {
				t.Error(err)
			}
			seen[i] = len(o.Containers)
		})
	}
	wg.Wait()
	// Who comes late on a busy machine makes another list (TestAListIsNeverOlderThanTheQuestion); without sharing it were 20.
	if n, calls := r.wire.count(); n > 5 || strings.Count(calls, "/containers/json") != n {
		t.Errorf("%d calls, want one list or a few:\n%s", n, calls)
	}
	for i, n := range seen {
		if n != 5 {
			t.Errorf("instance %d has %d containers, want 5", i, n)
		}
	}
}

// TestSurveyCostsThreeCalls is what a deployment of one among many waits for.
func TestSurveyCostsThreeCalls(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	var services []desired.Service
	for _, name := range []string{"a", "b", "c"} {
		services = append(services, desired.Service{Name: name, Image: ref, NetworkMode: "none"})
	}
	r.deploy(r.target(services...))
	r.wire.reset()
	o, err := r.engine.Survey(t.Context(), r.instance)
	r.check(err)
	if n, calls := r.wire.count(); n != 3 || len(o.Containers) != 3 {
		t.Errorf("%d calls for %d containers, want 3 for 3:\n%s", n, len(o.Containers), calls)
	}
}

// TestReplacementCostsFewCalls bounds what one changed image costs.
func TestReplacementCostsFewCalls(t *testing.T) {
	images := imagesOf(t, registry.Test(t))
	for _, tt := range []struct {
		restart string
		calls   int
	}{
		// list, image, create, inspect for the grace, stop, inspect for its end, rename, rename, start
		{"", 9}, {"unless-stopped", 9},
		{"always", 10}, // and an update: the engine would start it again
	} {
		r := newRig(t, images)
		r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), Restart: desired.Restart{Name: tt.restart}}))
		two := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 2), Restart: desired.Restart{Name: tt.restart}})
		images, err := r.engine.Prepare(t.Context(), two, nil)
		r.check(err)
		two.Images = images
		r.wire.reset()
		r.check(r.engine.Ensure(t.Context(), two, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}))
		if n, calls := r.wire.count(); n > tt.calls {
			t.Errorf("restart %q: %d calls, want at most %d:\n%s", tt.restart, n, tt.calls, calls)
		}
	}
}

// TestSwitchCostsNoCall: who is asked before a stop is told what the list said.
func TestSwitchCostsNoCall(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	two := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 2)})
	images, err := r.engine.Prepare(t.Context(), two, nil)
	r.check(err)
	two.Images, two.Switch = images, yes{}
	r.wire.reset()
	r.check(r.engine.Ensure(t.Context(), two, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}))
	if n, calls := r.wire.count(); n > 9 {
		t.Errorf("%d calls, want at most 9:\n%s", n, calls)
	}
}

// yes is a Switch that agrees.
type yes struct{}

func (yes) Leave(context.Context, reconciler.Target, reconciler.Container) error { return nil }
func (yes) Ready(context.Context, reconciler.Target, reconciler.Container) error { return nil }

func TestSeveralNetworksAndAddresses(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), Networks: []desired.ServiceNetwork{
		{Network: "default"}, {Network: "fixed", IPv4: "10.234.77.9", Aliases: []string{"fixed-web"}}}})
	tgt.Spec.Networks["fixed"] = desired.Network{Key: "fixed", Name: r.instance + "_fixed", Internal: true,
		IPAM: &desired.IPAM{Pools: []desired.IPAMPool{{Subnet: "10.234.77.0/24"}}}}
	tgt = r.deploy(tgt)
	name, fixed := r.instance+"-web-1", r.instance+"_fixed"
	check := func(when string) {
		t.Helper()
		in := r.inspect(name)
		ep := in.NetworkSettings.Networks[fixed]
		if len(in.NetworkSettings.Networks) != 2 || ep == nil || ep.IPAddress != "10.234.77.9" || !slices.Contains(ep.Aliases, "fixed-web") || !slices.Contains(ep.Aliases, "web") {
			t.Fatalf("%s: networks %+v", when, ep)
		}
	}
	check("made")
	id := r.inspect(name).ID
	// Joined again by hand, without its names and address: a deep look sees it.
	r.Disconnect(name, fixed)
	r.check(r.raw.NetworkConnect(t.Context(), fixed, name, nil))
	o, err := r.engine.Observe(t.Context(), r.instance, true)
	r.check(err)
	if c := o.Containers[0].Changed; len(c) != 1 || c[0].Field != "networks."+fixed {
		t.Fatalf("changed %v, want the network", c)
	}
	r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Verb: reconciler.Update, Name: "web", Replica: 1}))
	check("healed")
	if r.inspect(name).ID != id {
		t.Error("healed by making it anew")
	}
}

// TestUpdateThatCannotBeTakenBack: a limit that was not there cannot be
// removed from a container, so the container is made anew.
func TestUpdateThatCannotBeTakenBack(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	name := r.instance + "-web-1"
	id := r.inspect(name).ID
	r.Limit(name)
	r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Verb: reconciler.Update, Name: "web", Replica: 1}))
	in := r.inspect(name)
	if in.ID == id || in.HostConfig.Memory != 0 || !in.State.Running {
		t.Fatalf("limit is %d, made anew %t", in.HostConfig.Memory, in.ID != id)
	}
}

func TestAnonymousVolumesGoOver(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	svc := func(v int) desired.Service {
		return desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, v), Mounts: []desired.Mount{{Type: desired.MountVolume, Target: "/anon"}}}
	}
	r.deploy(r.target(svc(1)))
	name := r.instance + "-web-1"
	before := r.inspect(name).Mounts[0].Name
	r.deploy(r.target(svc(2)))
	if after := r.inspect(name).Mounts[0].Name; after != before || after == "" {
		t.Errorf("anonymous volume %q became %q", before, after)
	}
}

func TestAnotherDaemonsInstanceIsRefused(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	other, err := docker.New(docker.Options{Owner: "/elsewhere"})
	r.check(err)
	if _, err := other.Observe(t.Context(), r.instance, true); !reconciler.IsTerminal(err) || !strings.Contains(err.Error(), r.owner) {
		t.Errorf("observed as another owner: %v", err)
	}
	if err := other.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}); !reconciler.IsTerminal(err) || !strings.Contains(err.Error(), r.owner) {
		t.Errorf("ensured as another owner: %v", err)
	}
	if !r.alive(r.instance + "-web-1") {
		t.Error("the other daemon's container was touched")
	}
}

// TestMemoryLost: containers are taken as they are.
func TestMemoryLost(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	id := r.inspect(r.instance + "-web-1").ID
	fresh, err := docker.New(docker.Options{Owner: r.owner})
	r.check(err)
	o, err := fresh.Observe(t.Context(), r.instance, true)
	r.check(err)
	if len(o.Containers) != 1 || len(o.Containers[0].Changed) != 0 {
		t.Fatalf("observed %+v", o.Containers)
	}
	r.check(fresh.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}))
	r.check(fresh.Settle(t.Context(), tgt))
	if r.inspect(r.instance+"-web-1").ID != id {
		t.Error("made anew")
	}
}

func TestUnreachableEngine(t *testing.T) {
	e, err := docker.New(docker.Options{Owner: "/x", Host: "unix://" + filepath.Join(t.TempDir(), "none.sock")})
	if err != nil {
		t.Fatal(err)
	}
	o, err := e.Observe(t.Context(), "acme", false)
	if !docker.IsUnreachable(err) || reconciler.IsTerminal(err) || o.Containers != nil {
		t.Errorf("quick: %+v, %v", o, err)
	}
	if o, err = e.Observe(t.Context(), "acme", true); !docker.IsUnreachable(err) || o.Containers != nil || o.Networks != nil {
		t.Errorf("deep: %+v, %v", o, err)
	}
	if _, err := e.Prepare(t.Context(), reconciler.Target{}, nil); !docker.IsUnreachable(err) {
		t.Errorf("prepare: %v", err)
	}
	if _, err := e.Info(t.Context()); !docker.IsUnreachable(err) {
		t.Errorf("info: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	for h := range e.Events(ctx) {
		t.Errorf("a hint %q from nobody", h)
	}
}

// TestEngineThatRaisesItsFloor answers like an engine that was upgraded under
// a running daemon: the version is negotiated again.
func TestEngineThatRaisesItsFloor(t *testing.T) {
	refuse := 0
	r := newRig(t, imagesOf(t, registry.Test(t)), func(o *docker.Options) {
		next := o.Wrap
		o.Wrap = func(rt http.RoundTripper) http.RoundTripper {
			rt = next(rt)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if refuse > 0 && strings.HasPrefix(req.URL.Path, "/v") {
					refuse--
					body := `{"message":"client version 1.41 is too old. Minimum supported API version is 1.44, please upgrade"}`
					return &http.Response{StatusCode: 400, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
				}
				return rt.RoundTrip(req)
			})
		}
	})
	_, err := r.engine.Observe(t.Context(), r.instance, false)
	r.check(err)
	refuse = 1
	if _, err = r.engine.Observe(t.Context(), r.instance, false); !docker.IsUnreachable(err) {
		t.Fatalf("refused: %v", err)
	}
	r.wire.reset()
	_, err = r.engine.Observe(t.Context(), r.instance, false)
	r.check(err)
	if _, calls := r.wire.count(); !strings.Contains(calls, "/_ping") {
		t.Errorf("the version was not asked for again:\n%s", calls)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestEventsAndLogs(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindHealthy, 1)}))
	r.check(r.engine.Await(t.Context(), tgt, reconciler.Wait{Service: "web", Replica: 1, Condition: desired.Healthy}))
	_, err := r.engine.Observe(t.Context(), r.instance, false)
	r.check(err)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	hints := r.engine.Events(ctx)
	name := r.instance + "-web-1"
	expect := func(what string, act func()) {
		t.Helper()
		// The stream has no sign that it began: act until it is heard.
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for act(); ; {
			select {
			case h := <-hints:
				if h == r.instance {
					return
				}
			case <-tick.C:
				act()
			case <-ctx.Done():
				t.Fatalf("%s: no hint", what)
			}
		}
	}
	expect("rename", func() { r.Rename(name, name+"-x"); r.Rename(name+"-x", name) })
	expect("disconnect", func() {
		r.Disconnect(name, r.instance+"_default")
		r.check(r.raw.NetworkConnect(t.Context(), r.instance+"_default", name, nil))
	})
	cancel()
	for range hints { // closed when the context ends
	}
	var out bytes.Buffer
	r.check(r.engine.Logs(t.Context(), r.instance, "web", false, 5, &out))
	if !strings.HasPrefix(out.String(), name+" | ") {
		t.Errorf("logs %q", out.String())
	}
	if err := r.engine.Logs(t.Context(), r.instance+"x", "", false, 5, &out); !errors.Is(err, reconciler.ErrUnknownObject) || !strings.Contains(err.Error(), "has no containers") {
		t.Errorf("logs of an instance without containers: %v", err)
	}
	if err := r.engine.Logs(t.Context(), r.instance, "nothing", false, 5, &out); !errors.Is(err, reconciler.ErrUnknownObject) {
		t.Error("logs of a service that is not there")
	}
	fctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	if err := r.engine.Logs(fctx, r.instance, "", true, 1, io.Discard); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("followed logs ended with %v", err)
	}
}

func TestNotReadyHasTheLastLines(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindCrash, 1)}))
	err := r.engine.Await(t.Context(), tgt, reconciler.Wait{Service: "web", Replica: 1, Condition: desired.Started, Stable: time.Second})
	var nr *reconciler.NotReady
	if !errors.As(err, &nr) || nr.Container != r.instance+"-web-1" || !strings.HasPrefix(nr.Reason, "exited with code 1") || len(nr.Logs) == 0 {
		t.Fatalf("error %v, %+v", err, nr)
	}
}
