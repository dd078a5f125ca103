package docker_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func pullOptions() image.PullOptions { return image.PullOptions{} }

func TestContract(t *testing.T) {
	reg := registry.Test(t)
	images := imagesOf(t, reg)
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		r := newRig(t, images)
		r.engine.SetLockLimit(2 * time.Second)
		return drivertest.Harness{
			Driver: r.engine, Instance: r.instance, Dir: r.owner, Image: images,
			Hands: r, Limit: r.Limit, Fail: r.wire.fail, Alive: r.alive,
			Digest: func(ref string) string { return digestOf(t, ref) }, RemoveImage: r.removeImage, Lock: r.lock,
			RegistryDown: func(down bool) {
				reg.ClearFaults()
				if down {
					reg.Fault(registry.Fault{Status: http.StatusServiceUnavailable})
				}
			},
		}
	})
}

// digestOf asks the registry what a reference means.
func digestOf(t testing.TB, ref string) string {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Head(r, remote.WithContext(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return r.Context().Name() + "@" + d.Digest.String()
}

// removeImage is docker rmi --force.
func (r *rig) removeImage(id string) {
	_, err := r.raw.ImageRemove(r.Context(), id, image.RemoveOptions{Force: true, PruneChildren: true})
	r.check(err)
}

// lock holds a file of a container's volume.
func (r *rig) lock(container, file string) (release func()) {
	for _, m := range r.inspect(container).Mounts {
		rel, err := filepath.Rel(m.Destination, file)
		if err != nil || !filepath.IsLocal(rel) {
			continue
		}
		f, err := os.OpenFile(filepath.Join(m.Source, rel), os.O_CREATE|os.O_RDWR, 0o600)
		r.check(err)
		r.check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
		return func() { r.check(f.Close()) }
	}
	r.Fatalf("%s has no mount with %s", container, file)
	return nil
}
