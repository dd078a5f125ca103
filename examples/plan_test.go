package examples_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// TestGoldenPlans plans every example: on a host where nothing runs, and on one
// where a release before is running, with its image and one variable changed.
func TestGoldenPlans(t *testing.T) {
	for _, e := range []struct{ tree, dir, golden string }{
		{".", "minimal", "testdata/minimal.plan"},
		{".", "agnes", "testdata/agnes.plan"},
		{"multi", "instances/acme", "testdata/multi-acme.plan"},
		{"multi", "instances/globex", "testdata/multi-globex.plan"},
	} {
		t.Run(e.golden, func(t *testing.T) {
			spec, err := load(t, os.DirFS(e.tree), e.dir, "")
			if err != nil {
				t.Fatal(err)
			}
			target := reconciler.Target{Spec: spec}
			nothing := reconciler.Observed{Containers: []reconciler.Container{},
				Networks: map[string]reconciler.NetworkState{}, Volumes: map[string]reconciler.VolumeState{}}
			got := "# where nothing runs\n" + printed(reconciler.Plan(target, nothing)) +
				"\n# where the release before runs\n" + printed(reconciler.Plan(target, before(spec))) +
				"\n# where all is as it should be\n" + printed(reconciler.Plan(target, standing(spec, func(s desired.Service) desired.Service { return s })))
			compareGolden(t, e.golden, got)
		})
	}
}

// before is what stands when the release before was applied.
func before(spec desired.Spec) reconciler.Observed {
	return standing(spec, func(s desired.Service) desired.Service {
		s.Image = strings.TrimRight(s.Image, "0123456789.") + "0"
		s.Environment = map[string]string{"APP_RELEASE": "before", "APP_TOKEN": "never shown"}
		return s
	})
}

// standing is the state of an engine on which the services run as change says.
func standing(spec desired.Spec, change func(desired.Service) desired.Service) reconciler.Observed {
	o := reconciler.Observed{Networks: map[string]reconciler.NetworkState{}, Volumes: map[string]reconciler.VolumeState{},
		Known: map[string]desired.Service{}}
	for _, n := range spec.Networks {
		o.Networks[n.Name] = reconciler.NetworkState{Name: n.Name, Hash: n.Hash(), Owned: !n.External}
	}
	for _, v := range spec.Volumes {
		o.Volumes[v.Name] = reconciler.VolumeState{Name: v.Name, Hash: v.Hash(), Owned: !v.External}
	}
	for _, name := range spec.ServiceNames() {
		s := change(spec.Services[name])
		o.Known[s.Hash()] = s
		for i := 1; i <= s.Replicas; i++ {
			c := reconciler.Container{ID: fmt.Sprint(name, i), Name: spec.ContainerName(name, i), Service: name, Replica: i,
				Hash: s.Hash(), ImageRef: s.Image, State: reconciler.StateRunning, Completed: s.Job}
			for _, n := range s.Networks {
				c.Networks = append(c.Networks, spec.Networks[n.Network].Name)
			}
			o.Containers = append(o.Containers, c)
		}
	}
	return o
}

func printed(p reconciler.Planned) string {
	var b strings.Builder
	glyph := map[reconciler.Verb]string{reconciler.Create: "+", reconciler.Update: "~", reconciler.Replace: "-/+", reconciler.Remove: "-"}
	for _, a := range p.Actions {
		fmt.Fprintf(&b, "%s %s %s (%s)\n", glyph[a.Verb], a.Kind, a.Object, a.Reason)
		for _, c := range a.Changes {
			fmt.Fprintf(&b, "      %s: %s -> %s\n", c.Field, c.Old, c.New)
		}
	}
	for _, h := range p.Held {
		fmt.Fprintf(&b, "! %s: %s\n", h.Reason, h.Message)
	}
	if p.Empty() && len(p.Held) == 0 {
		b.WriteString("nothing to do\n")
	}
	return b.String()
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		line := slices.IndexFunc(strings.Split(got, "\n"), func(l string) bool { return !strings.Contains(string(want), l) })
		t.Errorf("%s differs (first new line: %d); if that is meant: go test ./examples -run GoldenPlans -update\n%s", name, line+1, got)
	}
}
