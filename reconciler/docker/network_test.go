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
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
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
