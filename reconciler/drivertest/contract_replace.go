package drivertest

import (
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func (b *bench) createAndRepeat() {
	api := b.web(KindPlain, 1)
	api.Name, api.Replicas = "api", 2
	t := b.deploy(b.target(1, b.web(KindPlain, 1), api))
	id := b.serves(t, "web")
	o := b.observe(true)
	if len(o.Containers) != 3 {
		b.Fatalf("%d containers, want 3", len(o.Containers))
	}
	n, v := o.Networks[b.network()], o.Volumes[b.Instance+"_data"]
	if !n.Owned || n.Hash != t.Spec.Networks["default"].Hash() || !v.Owned || v.Hash != t.Spec.Volumes["data"].Hash() {
		b.Fatalf("network and volume are not ours as made: %+v, %+v", n, v)
	}
	before := o.Containers
	b.must(b.apply(t), "apply again")
	after := b.observe(true).Containers
	for i := range after {
		if after[i].ID != before[i].ID || after[i].State != reconciler.StateRunning {
			b.Fatalf("a second apply changed %s: %+v", before[i].Name, after[i])
		}
	}
	if b.serves(t, "web") != id {
		b.Fatal("a second apply made web anew")
	}
}

func (b *bench) replaceAndUndo() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	old := b.serves(one, "web")
	two := b.prepare(b.target(2, b.web(KindPlain, 2)))
	if b.serves(one, "web") != old {
		b.Fatal("prepare touched what runs")
	}
	b.must(b.apply(two), "replace")
	b.serves(two, "web")
	prev := b.inSlot(reconciler.SlotPrevious)
	if len(prev) != 1 || prev[0].ID != old || prev[0].State == reconciler.StateRunning {
		b.Fatalf("the replaced container is not kept, stopped: %+v", prev)
	}
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the undo made a new container instead of bringing the old one back")
	}
	b.must(b.apply(two), "replace again")
	b.must(b.Driver.Settle(b.Context(), two), "settle")
	b.serves(two, "web")
	if n := len(b.observe(false).Containers); n != 1 {
		b.Fatalf("%d containers after settle, want 1", n)
	}
}

func (b *bench) failedCandidate() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	old := b.serves(one, "web")
	two := b.prepare(b.target(2, b.web(KindCrash, 2)))
	b.must(b.apply(two), "apply a bad one")
	three := b.prepare(b.target(3, b.web(KindPlain, 3)))
	b.must(b.apply(three), "apply a newer one")
	b.serves(three, "web")
	prev := b.inSlot(reconciler.SlotPrevious)
	if len(prev) != 1 || prev[0].ID != old {
		b.Fatalf("kept is %+v, want the last good one %s", prev, old)
	}
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the undo did not bring the last good one back")
	}
}

func (b *bench) removeAndUndo() {
	db := b.web(KindPlain, 1)
	db.Name = "db"
	one := b.deploy(b.target(1, b.web(KindPlain, 1), db))
	old := b.serves(one, "db")
	two := b.prepare(b.target(2, b.web(KindPlain, 1)))
	gone := b.container(reconciler.Remove, "db", 1)
	b.must(b.Driver.Remove(b.Context(), two, gone), "remove")
	if b.Alive(b.name("db")) {
		b.Fatal("the removed service still runs")
	}
	b.must(b.Driver.Remove(b.Context(), two, gone), "remove what is gone")
	b.must(b.apply(one), "undo")
	if b.serves(one, "db") != old {
		b.Fatal("the undo did not bring the removed container back")
	}
	b.must(b.Driver.Remove(b.Context(), two, gone), "remove")
	b.must(b.Driver.Settle(b.Context(), two), "settle")
	for _, c := range b.observe(false).Containers {
		if c.Service == "db" {
			b.Fatalf("left over: %+v", c)
		}
	}
	b.serves(two, "web")
}

func (b *bench) startFirst() {
	first := func(k Kind, v int) desired.Service {
		s := b.web(k, v)
		s.UpdateOrder = "start-first"
		if k == KindUnhealthy {
			s.Healthcheck = nil // the image's own
		}
		return s
	}
	one := b.deploy(b.target(1, first(KindPlain, 1)))
	old := b.serves(one, "web")
	bad := b.prepare(b.target(2, first(KindUnhealthy, 2)))
	err := b.Driver.Ensure(b.Context(), bad, b.container(reconciler.Replace, "web", 1))
	b.notReady(err, "health")
	if b.serves(one, "web") != old {
		b.Fatal("a start-first replacement that failed touched the old container")
	}
	if n := len(b.observe(false).Containers); n != 1 {
		b.Fatalf("%d containers after a failed start-first, want 1", n)
	}
	good := b.prepare(b.target(3, first(KindHealthy, 3)))
	b.must(b.apply(good), "replace start-first")
	b.serves(good, "web")
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the undo did not bring the old container back")
	}
}

func (b *bench) networkAnew() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	old := b.serves(one, "web")
	two := b.prepare(b.target(2, b.web(KindPlain, 2)))
	net := two.Spec.Networks["default"]
	net.Internal = true
	two.Spec.Networks["default"] = net
	b.must(b.apply(two), "make the network anew")
	b.serves(two, "web")
	if got := b.observe(true).Networks[b.network()]; got.Hash != net.Hash() {
		b.Fatalf("the network was not made anew: %+v", got)
	}
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the kept container was not brought back to the new network")
	}
	last := reconciler.Action{Kind: reconciler.KindNetwork, Verb: reconciler.Remove, Name: "default", Object: b.network()}
	b.must(b.Driver.Remove(b.Context(), one, b.container(reconciler.Remove, "web", 1)), "remove web")
	b.must(b.Driver.Remove(b.Context(), one, last), "remove the network")
	b.must(b.Driver.Remove(b.Context(), one, last), "remove the network again")
	if _, there := b.observe(true).Networks[b.network()]; there {
		b.Fatal("the network is still there")
	}
	b.must(b.apply(one), "undo the removal")
	if b.serves(one, "web") != old {
		b.Fatal("the removed container was not brought back")
	}
}

func (b *bench) volumesStay() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	act := reconciler.Action{Kind: reconciler.KindVolume, Name: "data", Object: b.Instance + "_data"}
	if err := b.Driver.Remove(b.Context(), one, act); err == nil {
		b.Fatal("a volume was removed")
	}
	changed := b.target(2, b.web(KindPlain, 1))
	v := changed.Spec.Volumes["data"]
	v.DriverOpts = map[string]string{"type": "tmpfs", "device": "tmpfs"}
	changed.Spec.Volumes["data"] = v
	if err := b.Driver.Ensure(b.Context(), changed, act); !reconciler.IsTerminal(err) {
		b.Fatalf("a volume with other options: %v, want a terminal error", err)
	}
	if got := b.observe(true).Volumes[v.Name]; got.Hash != one.Spec.Volumes["data"].Hash() {
		b.Fatalf("the volume was made anew: %+v", got)
	}
}

func (b *bench) peers() {
	// Both listen in one network namespace: PORT tells the image another port.
	sidecar := desired.Service{
		Name: "sidecar", Image: b.Image(KindPlain, 1), NetworkMode: "service:app",
		Environment: map[string]string{"PORT": "8001"}, StopGrace: b.web(KindPlain, 1).StopGrace,
	}
	app := func(v int) desired.Service {
		s := b.web(KindPlain, v)
		s.Name = "app"
		return s
	}
	one := b.deploy(b.target(1, app(1), sidecar))
	oldApp, oldSide := b.serves(one, "app"), b.serves(one, "sidecar")
	if got := b.current("sidecar").Peers["app"]; got != oldApp {
		b.Fatalf("sidecar shares with %s, want %s", got, oldApp)
	}
	two := b.prepare(b.target(2, app(2), sidecar))
	b.must(b.apply(two), "replace the peer")
	newApp := b.serves(two, "app")
	if got := b.current("sidecar"); got.Peers["app"] != newApp || got.ID == oldSide {
		b.Fatalf("sidecar shares with %v, want the new app %s", got.Peers, newApp)
	}
	b.must(b.apply(one), "undo")
	if b.serves(one, "app") != oldApp || b.serves(one, "sidecar") != oldSide {
		b.Fatal("the undo did not bring both containers back")
	}
}
