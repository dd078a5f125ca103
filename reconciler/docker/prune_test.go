package docker_test

import (
	"io"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

var _ reconciler.Pruner = (*docker.Engine)(nil)

// TestPruneByIDLeavesWhatOthersHave: the regular clean-up keeps by ID and digest.
// What other hands fetched, or run from, even stopped, is theirs.
func TestPruneByIDLeavesWhatOthersHave(t *testing.T) {
	reg := registry.Test(t)
	r := newRig(t, imagesOf(t, reg))
	var ids []string
	prepare := func(ref string) reconciler.Image {
		tgt := r.target(desired.Service{Name: "web", Image: ref})
		images, err := r.engine.Prepare(t.Context(), tgt, nil)
		r.check(err)
		return images[ref]
	}
	foreign := r.images(drivertest.KindPlain, 61) // fetched by other hands before
	body, err := r.raw.ImagePull(t.Context(), foreign, pullOptions())
	r.check(err)
	_, err = io.Copy(io.Discard, body)
	r.check(err)
	ids = append(ids, prepare(foreign).ID)
	used := prepare(r.images(drivertest.KindPlain, 62))
	_, err = r.raw.ContainerCreate(t.Context(), &container.Config{Image: used.ID}, nil, nil, nil, r.instance+"-others")
	r.check(err)
	kept, digest := prepare(r.images(drivertest.KindPlain, 63)), prepare(r.images(drivertest.KindPlain, 64))
	moved, _, err := reg.Push(t.Context(), "fldt/moved", "latest", registry.App{Build: "one", NoHealthcheck: true})
	r.check(err)
	old := prepare(moved)
	_, _, err = reg.Push(t.Context(), "fldt/moved", "latest", registry.App{Build: "two", NoHealthcheck: true})
	r.check(err)
	always := r.target(desired.Service{Name: "web", Image: moved, PullPolicy: "always"})
	images, err := r.engine.Prepare(t.Context(), always, nil)
	r.check(err)
	current := images[moved]
	if current.ID == old.ID {
		t.Fatal("the tag was not moved")
	}
	prepare(foreign) // what was prepared last is left whatever is kept
	_, err = r.engine.Prune(t.Context(), map[string]bool{kept.ID: true, digest.Digest: true, current.ID: true, current.Digest: true})
	r.check(err)
	ids = append(ids, used.ID, kept.ID, digest.ID, current.ID, old.ID)
	for i, want := range []bool{true, true, true, true, true, false} { // others', used, by ID, by digest, what the tag means, what it meant
		_, err := r.raw.ImageInspect(t.Context(), ids[i])
		if (err == nil) != want {
			t.Errorf("image %d: %v, want there: %t", i, err, want)
		}
	}
}
