package reconciler_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// specs draws a specification of up to four services with dependencies,
// replicas, shared namespaces and networks.
func specs(t *rapid.T, label string) desired.Spec {
	spec := acme()
	spec.AllowEmpty = true
	if rapid.Bool().Draw(t, label+" back") {
		spec.Networks["back"] = desired.Network{Key: "back", Name: "acme_back",
			Internal: rapid.Bool().Draw(t, label+" internal")}
	}
	for _, name := range []string{"orders", "people"} {
		if rapid.Bool().Draw(t, label+" connects "+name) {
			c := connector(rapid.SampledFrom([]string{"https://one", "https://two"}).Draw(t, label+" url"), "x")
			c.Owner = rapid.SampledFrom([]string{"", "ann"}).Draw(t, label+" owner")
			spec = connecting(spec, name, c)
		}
	}
	var earlier []string
	for _, name := range []string{"a", "b", "c", "d"} {
		if !rapid.Bool().Draw(t, label+" has "+name) {
			continue
		}
		image := rapid.SampledFrom([]string{"app:1", "app:2", "db:1"}).Draw(t, label+" image")
		s := env(service(name, image), "V", rapid.SampledFrom([]string{"x", "y"}).Draw(t, label+" env"))
		s.Replicas = rapid.IntRange(0, 2).Draw(t, label+" replicas")
		if _, has := spec.Networks["back"]; has && rapid.Bool().Draw(t, label+" on back") {
			s.Networks = append(s.Networks, desired.ServiceNetwork{Network: "back"})
		}
		if len(earlier) > 0 && rapid.Bool().Draw(t, label+" depends") {
			dep := rapid.SampledFrom(earlier).Draw(t, label+" on")
			s = after(s, desired.Started, dep)
			s.DependsOn[0].Restart = rapid.Bool().Draw(t, label+" restart")
		}
		if len(earlier) > 0 && rapid.IntRange(0, 3).Draw(t, label+" peer") == 0 {
			peer := rapid.SampledFrom(earlier).Draw(t, label+" of")
			if spec.Services[peer].Replicas > 0 {
				s.NetworkMode, s.Networks = "service:"+peer, nil
			}
		}
		spec.Services[name] = s
		earlier = append(earlier, name)
	}
	return spec
}

// tampering draws what other hands do to the containers of a specification.
func tampering(t *rapid.T, h *house) {
	for i, c := range h.observed().Containers {
		switch rapid.IntRange(0, 8).Draw(t, fmt.Sprintf("tamper %d", i)) {
		case 0:
			h.engine.Kill(c.Name)
		case 1:
			h.engine.RemoveContainer(c.Name)
		case 2:
			h.engine.Pause(c.Name)
		case 3:
			h.engine.Rename(c.Name, fmt.Sprintf("other-%d", i))
		case 4:
			h.engine.Recreate(c.Name)
		}
	}
}

// Law 1: whatever the two specifications and whatever was tampered with, the
// plan after the apply is empty, and a plan is the same each time.
func TestPlanReachesAFixedPoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		first, second := specs(rt, "first"), specs(rt, "second")
		synctest.Test(t, func(t *testing.T) {
			h := newHouse(t)
			h.attachments = &shelf{}
			h.restart()
			h.apply(first)
			tampering(rt, h)
			s := h.apply(second)
			h.converged(second)
			if r, err := h.inst.Preview(t.Context(), nil); err != nil || !r.Empty() && s.Phase == reconciler.PhaseIdle {
				t.Errorf("preview after the apply (%s): %+v, %v", s.Phase, r.Actions, err)
			}
			target := reconciler.Target{Spec: second}
			have := h.observed()
			if p := reconciler.Plan(target, have); !p.Empty() {
				t.Errorf("plan after the apply (%s): %+v", s.Phase, p.Actions)
			}
		})
		if t.Failed() {
			rt.Fatalf("first %+v\nsecond %+v", first.Services, second.Services)
		}
	})
}

// observations draws what an engine could report, sensible or not.
func observations(t *rapid.T, spec desired.Spec) reconciler.Observed {
	o := reconciler.Observed{Containers: []reconciler.Container{}, Networks: map[string]reconciler.NetworkState{},
		Volumes: map[string]reconciler.VolumeState{}, Foreign: map[string]string{}}
	for i := range rapid.IntRange(0, 6).Draw(t, "containers") {
		name := rapid.SampledFrom([]string{"a", "b", "c", "d", "gone"}).Draw(t, "service")
		c := reconciler.Container{ID: fmt.Sprint("id", i), Name: rapid.SampledFrom([]string{"acme-" + name + "-1", "acme-" + name + "-2", "odd"}).Draw(t, "name"),
			Service: name, Replica: rapid.IntRange(1, 2).Draw(t, "replica"), Hash: rapid.SampledFrom([]string{spec.Services[name].Hash(), "other"}).Draw(t, "hash"),
			ImageRef: "app:1", State: rapid.SampledFrom([]reconciler.State{"running", "exited", "paused", "dead", "created", "restarting"}).Draw(t, "state"),
			Slot: rapid.SampledFrom([]reconciler.Slot{"", "", "next", "previous"}).Draw(t, "slot"), Networks: []string{"acme_default"}}
		o.Containers = append(o.Containers, c)
	}
	for _, name := range []string{"acme_default", "acme_back", "acme_old"} {
		if rapid.Bool().Draw(t, "network "+name) {
			o.Networks[name] = reconciler.NetworkState{Name: name, Hash: "h", Owned: rapid.Bool().Draw(t, "owned")}
		}
	}
	if rapid.Bool().Draw(t, "connectors") {
		o.Connectors = specs(t, "applied").Connectors
		o.Attached = map[string]reconciler.AttachmentStatus{"orders": {Name: "orders", Generation: rapid.IntRange(0, 1).Draw(t, "generation"),
			Phase: rapid.SampledFrom([]reconciler.AttachmentPhase{"Live", "Degraded", "Failed", "Pending"}).Draw(t, "phase")}}
	}
	if rapid.Bool().Draw(t, "foreign") {
		o.Foreign["acme-a-1"] = "somebody"
	}
	return o
}

func TestPlanIsDeterministicAndKeepsItsHandsOff(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := specs(t, "spec")
		have := observations(t, spec)
		target := reconciler.Target{Spec: spec}
		p := reconciler.Plan(target, have)
		if again := reconciler.Plan(target, have); !reflect.DeepEqual(p, again) {
			t.Fatalf("two plans of the same:\n%+v\n%+v", p, again)
		}
		for _, a := range p.Actions {
			if a.Kind == reconciler.KindVolume && a.Verb != reconciler.Create {
				t.Fatalf("a volume is to be touched: %+v", a)
			}
			if _, foreign := have.Foreign[a.Object]; foreign && a.Kind == reconciler.KindContainer && a.Verb != reconciler.Remove {
				t.Fatalf("an unowned container's name is to be used: %+v", a)
			}
			if n, there := have.Networks[a.Object]; a.Kind == reconciler.KindNetwork && there && !n.Owned {
				t.Fatalf("an unowned network is to be touched: %+v", a)
			}
			if a.Reason == "" {
				t.Fatalf("an action without a reason: %+v", a)
			}
		}
		have.Containers = nil
		if p := reconciler.Plan(target, have); !p.Empty() {
			t.Fatalf("containers were not observed, and yet: %+v", p.Actions)
		}
	})
}

func TestPlanDoesNotActOnUnobservedNetworksAndVolumes(t *testing.T) {
	spec := acme(service("app", "app:1"))
	spec.Volumes = map[string]desired.Volume{"data": {Key: "data", Name: "acme_data"}}
	p := reconciler.Plan(reconciler.Target{Spec: spec}, reconciler.Observed{Containers: []reconciler.Container{}})
	for _, a := range p.Actions {
		if a.Kind != reconciler.KindContainer {
			t.Errorf("action on what was not observed: %+v", a)
		}
	}
}

func TestPlan(t *testing.T) {
	app := env(service("app", "app:1"), "MODE", "a", "API_TOKEN", "one")
	running := reconciler.Container{ID: "1", Name: "acme-app-1", Service: "app", Replica: 1, Hash: app.Hash(), ImageRef: "app:1",
		ImageID: "sha256:aaa", State: reconciler.StateRunning, Networks: []string{"acme_default"}}
	known := map[string]desired.Service{app.Hash(): app}
	follows := func(ref string) desired.Spec {
		s := acme(env(service("app", ref), "MODE", "a", "API_TOKEN", "one"))
		s.Follow = &desired.Follow{Ref: ref}
		return s
	}
	with := func(change func(*reconciler.Container)) reconciler.Container { c := running; change(&c); return c }
	for _, tt := range []struct {
		name   string
		spec   desired.Spec
		images map[string]reconciler.Image
		have   []reconciler.Container
		want   string // one line an action
	}{
		{name: "as it should be", spec: acme(app), have: []reconciler.Container{running}},
		{name: "an image that is not resolved is compared by name", spec: acme(app), images: nil, have: []reconciler.Container{running}},
		{name: "the tag means another image", spec: acme(app), images: map[string]reconciler.Image{"app:1": {ID: "sha256:bbb"}}, have: []reconciler.Container{running},
			want: "replace container acme-app-1 changed: image [image: app:1 (sha256:aaaaaaaaaaaa) -> app:1 (bbb)]"},
		{name: "a pin says which digests", spec: follows("app:stable-2026.04.3"),
			images: map[string]reconciler.Image{"app:stable-2026.04.3": {Digest: "app@sha256:cccccccccccccccc"}}, have: []reconciler.Container{running},
			want: "replace container acme-app-1 changed: image [image: app:1 (sha256:aaaaaaaaaaaa) -> app:stable-2026.04.3 (sha256:cccccccccccc)]"},
		{name: "a pin by digest says it already", spec: follows("app@sha256:cccccccccccccccc"),
			images: map[string]reconciler.Image{"app@sha256:cccccccccccccccc": {Digest: "app@sha256:cccccccccccccccc"}}, have: []reconciler.Container{running},
			want: "replace container acme-app-1 changed: image [image: app:1 (sha256:aaaaaaaaaaaa) -> app@sha256:cccccccccccccccc]"},
		{name: "a digest that nobody knows is not made up", spec: follows("app:2"),
			images: map[string]reconciler.Image{"app:2": {ID: "sha256:bbb"}}, have: []reconciler.Container{with(func(c *reconciler.Container) { c.ImageID = "sha256:zzz" })},
			want: "replace container acme-app-1 changed: image [image: app:1 -> app:2]"},
		{name: "another tag of the same image is no change", spec: acme(env(service("app", "app:stable"), "MODE", "a", "API_TOKEN", "one")),
			images: map[string]reconciler.Image{"app:stable": {ID: "sha256:aaa"}}, have: []reconciler.Container{running}},
		{name: "fields that differ, secrets hidden", spec: acme(env(service("app", "app:1"), "MODE", "b", "API_TOKEN", "two")), have: []reconciler.Container{running},
			want: "replace container acme-app-1 changed: environment.API_TOKEN, environment.MODE " +
				"[environment.API_TOKEN: (sensitive) -> (sensitive) environment.MODE: a -> b]"},
		{name: "stopped", spec: acme(app), have: []reconciler.Container{with(func(c *reconciler.Container) { c.State, c.ExitCode = "exited", 137 })},
			want: "update container acme-app-1 is exited (137) [state: exited (137) -> running]"},
		{name: "the engine is restarting it: not our turn", spec: acme(app), have: []reconciler.Container{with(func(c *reconciler.Container) { c.State = "restarting" })}},
		{name: "dead", spec: acme(app), have: []reconciler.Container{with(func(c *reconciler.Container) { c.State = "dead" })},
			want: "replace container acme-app-1 state is dead []"},
		{name: "one too many", spec: acme(app), have: []reconciler.Container{running, with(func(c *reconciler.Container) { c.Name, c.Replica = "acme-app-2", 2 })},
			want: "remove container acme-app-2 replicas: 1 []"},
		{name: "copy with our labels", spec: acme(app), have: []reconciler.Container{running, with(func(c *reconciler.Container) { c.Name, c.ID = "copy", "2" })},
			want: "update container acme-app-1 another container carries its labels [duplicate: copy -> (removed)]"},
		{name: "set aside and fitting", spec: acme(app), have: []reconciler.Container{with(func(c *reconciler.Container) { c.Slot = reconciler.SlotPrevious })},
			want: "create container acme-app-1 the container that was set aside returns []"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := reconciler.Plan(reconciler.Target{Spec: tt.spec, Images: tt.images}, reconciler.Observed{Containers: tt.have, Known: known,
				Digests: map[string]string{"sha256:aaa": "app@sha256:aaaaaaaaaaaaaaaa"}})
			if got := lines(p.Actions); got != tt.want {
				t.Errorf("plan:\n%s\nwant:\n%s", got, tt.want)
			}
		})
	}
}

func lines(actions []reconciler.Action) string {
	var out []string
	for _, a := range actions {
		var changes []string
		for _, c := range a.Changes {
			changes = append(changes, c.Field+": "+c.Old+" -> "+c.New)
		}
		out = append(out, fmt.Sprintf("%s %s %s %s [%s]", a.Verb, a.Kind, a.Object, a.Reason, strings.Join(changes, " ")))
	}
	return strings.Join(out, "\n")
}

func TestChangedFileIsCalledSo(t *testing.T) {
	mounted := func(content string) desired.Service {
		s := service("app", "app:1")
		key := desired.FileTree{Entries: []desired.FileEntry{{Path: "app.conf", Content: []byte(content)}}}.Hash()
		s.Mounts = []desired.Mount{{Type: desired.MountTracked, Source: key, Target: "/etc/app.conf", ReadOnly: true}}
		return s
	}
	old := mounted("one")
	have := reconciler.Observed{Known: map[string]desired.Service{old.Hash(): old}, Containers: []reconciler.Container{{ID: "1", Name: "acme-app-1",
		Service: "app", Replica: 1, Hash: old.Hash(), ImageRef: "app:1", State: reconciler.StateRunning, Networks: []string{"acme_default"}}}}
	got := lines(reconciler.Plan(reconciler.Target{Spec: acme(mounted("two"))}, have).Actions)
	if !strings.HasPrefix(got, "replace container acme-app-1 changed: mounts[/etc/app.conf] [mounts[/etc/app.conf]: content ") {
		t.Errorf("plan: %s", got)
	}
}

func TestReplacedNetworkTakesItsContainersAlong(t *testing.T) {
	spec := acme(service("app", "app:1"), service("db", "db:1"))
	have := reconciler.Observed{Networks: map[string]reconciler.NetworkState{"acme_default": {Name: "acme_default", Hash: "other", Owned: true}}}
	for _, name := range []string{"app", "db"} {
		s := spec.Services[name]
		have.Containers = append(have.Containers, reconciler.Container{ID: name, Name: "acme-" + name + "-1", Service: name, Replica: 1, Hash: s.Hash(),
			ImageRef: s.Image, State: "running", Networks: []string{"acme_default"}})
	}
	p := reconciler.Plan(reconciler.Target{Spec: spec}, have)
	if len(p.Actions) != 3 || p.Actions[0].Kind != reconciler.KindNetwork {
		t.Errorf("plan:\n%s", lines(p.Actions))
	}
}

func TestSharedNamespaceFollowsItsContainer(t *testing.T) {
	vpn, client := service("vpn", "app:1"), service("client", "app:1")
	client.Networks, client.NetworkMode = nil, "service:vpn"
	spec := acme(vpn, client)
	have := reconciler.Observed{Containers: []reconciler.Container{
		{ID: "c", Name: "acme-client-1", Service: "client", Replica: 1, Hash: client.Hash(), ImageRef: "app:1", State: "running", Peers: map[string]string{"vpn": "gone"}},
		{ID: "v", Name: "acme-vpn-1", Service: "vpn", Replica: 1, Hash: vpn.Hash(), ImageRef: "app:1", State: "running", Networks: []string{"acme_default"}},
	}}
	p := reconciler.Plan(reconciler.Target{Spec: spec}, have)
	if len(p.Actions) != 1 || p.Actions[0].Verb != reconciler.Replace || p.Actions[0].Name != "client" {
		t.Errorf("plan:\n%s", lines(p.Actions))
	}
}

func TestStartOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec := specs(t, "spec")
		order := reconciler.StartOrder(spec)
		if len(order) != len(spec.Services) {
			t.Fatalf("order %v of %d services", order, len(spec.Services))
		}
		for i, name := range order {
			for _, d := range spec.Services[name].DependsOn {
				if slices.Index(order, d.Service) > i {
					t.Fatalf("%s comes before %s, on which it depends: %v", name, d.Service, order)
				}
			}
		}
	})
}
