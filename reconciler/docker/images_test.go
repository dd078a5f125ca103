package docker_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/image"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func TestPruneLeavesWhatIsKeptUsedOrNamedByOthers(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	var ids []string
	var refs []string
	for v := 11; v <= 14; v++ {
		tgt := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, v)})
		images, err := r.engine.Prepare(t.Context(), tgt, nil)
		r.check(err)
		ref := tgt.Spec.Services["web"].Image
		ids, refs = append(ids, images[ref].ID), append(refs, ref)
		if images[ref].Digest == "" {
			t.Errorf("%s has no digest", ref)
		}
	}
	r.deploy(r.target(desired.Service{Name: "web", Image: refs[0]}))
	r.check(r.raw.ImageTag(t.Context(), ids[2], "fldt-mine:"+r.instance))
	t.Cleanup(func() {
		_, err := r.raw.ImageRemove(context.Background(), "fldt-mine:"+r.instance, image.RemoveOptions{})
		r.check(err)
	})
	_, err := r.engine.Prune(t.Context(), map[string]bool{refs[1]: true})
	r.check(err)
	for i, want := range []bool{true, true, true, false} { // used, kept, named by others, nothing
		_, err := r.raw.ImageInspect(t.Context(), ids[i])
		if (err == nil) != want {
			t.Errorf("image %d: %v, want there: %t", i, err, want)
		}
	}
	// An image that is gone is fetched again by what it was.
	fixed := r.target(desired.Service{Name: "web", Image: refs[3]})
	fixed.Images = map[string]reconciler.Image{refs[3]: {ID: ids[3], Digest: r.digest(refs[3], ids[3])}}
	got, err := r.engine.Prepare(t.Context(), fixed, nil)
	r.check(err)
	if got[refs[3]].ID != ids[3] {
		t.Errorf("fetched %v, want %s", got, ids[3])
	}
}

// digest pulls ref and returns its digest, then removes it again.
func (r *rig) digest(ref, id string) string {
	body, err := r.raw.ImagePull(r.Context(), ref, pullOptions())
	r.check(err)
	_, err = io.Copy(io.Discard, body)
	r.check(err)
	in, err := r.raw.ImageInspect(r.Context(), id)
	r.check(err)
	_, err = r.raw.ImageRemove(r.Context(), ref, image.RemoveOptions{PruneChildren: true})
	r.check(err)
	return in.RepoDigests[0]
}

func TestRegistryThatFails(t *testing.T) {
	reg := registry.Test(t)
	r := newRig(t, imagesOf(t, reg))
	prepare := func(v int) error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		_, err := r.engine.Prepare(ctx, r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, v)}), nil)
		return err
	}
	reg.Fault(registry.Fault{Match: registry.Manifests, Status: 429})
	if _, limited := reconciler.RetryDelay(prepare(21)); !limited {
		t.Error("a registry that limits is not left alone")
	}
	reg.ClearFaults()
	reg.Fault(registry.Fault{Match: registry.Manifests, Status: 401})
	if err := prepare(22); err == nil || !strings.Contains(err.Error(), "docker login "+reg.Addr()) || reconciler.IsTerminal(err) {
		t.Errorf("a registry that refuses: %v", err)
	}
	reg.ClearFaults()
	r.check(prepare(23))
}

func TestPullsAreSharedAndTold(t *testing.T) {
	reg := registry.Test(t)
	r := newRig(t, imagesOf(t, reg))
	ref := r.images(drivertest.KindPlain, 31)
	tgt := r.target(desired.Service{Name: "a", Image: ref}, desired.Service{Name: "b", Image: ref})
	var mu sync.Mutex
	told := map[string]bool{}
	r.wire.reset()
	_, err := r.engine.Prepare(t.Context(), tgt, func(image string, _, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		told[image] = true
	})
	r.check(err)
	if _, calls := r.wire.count(); strings.Count(calls, "/images/create") != 1 {
		t.Errorf("pulls:\n%s", calls)
	}
	if !told[ref] {
		t.Error("nothing was told of the pull")
	}
}

// TestLoginIsReadAnew: the docker config file is read for each pull, so that a
// login heals a daemon that runs.
func TestLoginIsReadAnew(t *testing.T) {
	config := t.TempDir()
	t.Setenv("DOCKER_CONFIG", config)
	reg := registry.TestWith(t, registry.Options{Username: "robot", Password: "let-me-in"})
	r := newRig(t, imagesOf(t, reg))
	tgt := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)})
	login := func(password string) {
		auth := base64.StdEncoding.EncodeToString([]byte("robot:" + password))
		r.check(os.WriteFile(filepath.Join(config, "config.json"), fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, reg.Addr(), auth), 0o600))
	}
	prepare := func() error {
		_, err := r.engine.Prepare(t.Context(), tgt, nil)
		return err
	}
	if err := prepare(); err == nil || !strings.Contains(err.Error(), "run docker login "+reg.Addr()) {
		t.Errorf("without a login: %v", err)
	}
	login("wrong-word")
	if err := prepare(); err == nil || !strings.Contains(err.Error(), "the stored login for "+reg.Addr()+" is refused") || strings.Contains(err.Error(), "wrong-word") {
		t.Errorf("with a wrong login: %v", err)
	}
	login("let-me-in")
	r.check(prepare())
}

// TestDiskThatIsShortIsCleared: what nothing needs goes before the next pull.
func TestDiskThatIsShortIsCleared(t *testing.T) {
	asked := 0
	r := newRig(t, imagesOf(t, registry.Test(t)), func(o *docker.Options) {
		o.MinFree = 1 << 62 // no disk has that
		o.Keep = func(context.Context) (map[string]bool, error) {
			asked++
			return nil, nil
		}
	})
	prepare := func(v int) string {
		tgt := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, v)})
		got, err := r.engine.Prepare(t.Context(), tgt, nil)
		r.check(err)
		return got[tgt.Spec.Services["web"].Image].ID
	}
	old := prepare(41)
	prepare(42)
	if asked != 2 {
		t.Errorf("asked %d times what to keep, want 2", asked)
	}
	if _, err := r.raw.ImageInspect(t.Context(), old); err == nil {
		t.Error("the image that nothing needs is still there")
	}
}
