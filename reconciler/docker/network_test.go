package docker_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/versions"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// A request that was on its way when the daemon was killed may make a network
// a second time; no container can be started on a name that is ambiguous. Two
// of ours become one again. Engines from API 1.44 on refuse the second.
func TestNetworkMadeTwiceBecomesOne(t *testing.T) {
	r := newRig(t, nil)
	info, err := r.engine.Info(t.Context())
	r.check(err)
	spec := desired.Spec{Name: r.instance, Networks: map[string]desired.Network{"front": {Key: "front", Name: r.instance + "_front"}}}
	target := reconciler.Target{Spec: spec, Dir: r.owner}
	create := reconciler.Action{Kind: reconciler.KindNetwork, Verb: reconciler.Create, Name: "front", Object: r.instance + "_front"}
	r.check(r.engine.Ensure(t.Context(), target, create))
	if versions.LessThan(info.API, "1.44") {
		createTwin(t, r, create.Object)
		o, err := r.engine.Observe(t.Context(), r.instance, true)
		r.check(err)
		p := reconciler.Plan(target, o)
		if len(p.Actions) != 1 || p.Actions[0].Verb != reconciler.Replace {
			t.Fatalf("plan with two networks of one name: %+v", p)
		}
		r.check(r.engine.Ensure(t.Context(), target, p.Actions[0]))
	}
	list, err := r.raw.NetworkList(t.Context(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", create.Object))})
	r.check(err)
	if len(list) != 1 {
		t.Errorf("%d networks", len(list))
	}
}

// A network that cannot be made leaves the old one, and the containers on it,
// as they are; one that can takes its place, also with the old one's addresses.
func TestNetworkIsTriedBeforeTheOldOneGoes(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	name := r.instance + "_front"
	web := desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), Networks: []desired.ServiceNetwork{{Network: "front"}}}
	tgt := r.target(web)
	replace := reconciler.Action{Kind: reconciler.KindNetwork, Verb: reconciler.Replace, Name: "front", Object: name}
	state := func() network.Inspect {
		list, err := r.raw.NetworkList(t.Context(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
		r.check(err)
		if len(list) != 1 {
			t.Fatalf("networks: %+v", list)
		}
		in, err := r.raw.NetworkInspect(t.Context(), name, network.InspectOptions{})
		r.check(err)
		return in
	}
	with := func(n desired.Network) reconciler.Target {
		n.Key, n.Name = "front", name
		tgt.Spec.Networks = map[string]desired.Network{"front": n}
		return tgt
	}
	r.check(r.engine.Ensure(t.Context(), with(desired.Network{}), reconciler.Action{Kind: reconciler.KindNetwork, Verb: reconciler.Create, Name: "front", Object: name}))
	tgt = r.deploy(tgt)
	old := state()
	if len(old.Containers) != 1 {
		t.Fatalf("on the network: %+v", old.Containers)
	}
	long := map[string]string{"com.docker.network.bridge.name": "longer-than-linux-takes"}
	if err := r.engine.Ensure(t.Context(), with(desired.Network{DriverOpts: long}), replace); err == nil || !strings.Contains(err.Error(), "which stays") {
		t.Fatalf("a network that cannot be made: %v", err)
	}
	if now := state(); now.ID != old.ID || len(now.Containers) != 1 {
		t.Errorf("after it could not be made: %+v", now)
	}
	r.check(r.engine.Ensure(t.Context(), with(desired.Network{Internal: true}), replace))
	now := state()
	if now.ID == old.ID || !now.Internal {
		t.Errorf("after it was replaced: %+v", now)
	}
	pool := &desired.IPAM{Pools: []desired.IPAMPool{{Subnet: now.IPAM.Config[0].Subnet}}}
	r.check(r.engine.Ensure(t.Context(), with(desired.Network{IPAM: pool}), replace))
	if again := state(); again.ID == now.ID || again.IPAM.Config[0].Subnet != now.IPAM.Config[0].Subnet {
		t.Errorf("with the addresses of the old one: %+v", again)
	}
}

// createTwin makes a copy of a network under its name. The client always asks
// for a check; the bare request does not.
func createTwin(t *testing.T, r *rig, name string) {
	t.Helper()
	in, err := r.raw.NetworkInspect(t.Context(), name, network.InspectOptions{})
	r.check(err)
	body, err := json.Marshal(map[string]any{"Name": name, "Driver": "bridge", "Labels": in.Labels})
	r.check(err)
	socket := strings.TrimPrefix(docker.DefaultHost, "unix://")
	hc := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer hc.CloseIdleConnections()
	resp, err := hc.Post("http://engine/networks/create", "application/json", strings.NewReader(string(body)))
	r.check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("create a network a second time: %s", resp.Status)
	}
}
