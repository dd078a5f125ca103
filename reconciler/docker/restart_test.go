package docker_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// TestContractEngineRestart needs an engine of its own.
func TestContractEngineRestart(t *testing.T) {
	root, err := os.MkdirTemp("", "fle") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engineApart(t, root, "down"); _ = os.RemoveAll(root) })
	engineApart(t, root, "up")
	images := imagesOf(t, registry.Test(t))
	drivertest.RunEngineRestart(t, func(t *testing.T) drivertest.Harness {
		r := newRig(t, images, func(o *docker.Options) { o.Host = "unix://" + filepath.Join(root, "docker.sock") })
		return drivertest.Harness{
			Driver: r.engine, Instance: r.instance, Dir: r.owner, Image: images, Hands: r,
			Limit: r.Limit, Fail: r.wire.fail, Alive: r.alive, CutEvery: 3,
			Restart: func() {
				engineApart(t, root, "down")
				engineApart(t, root, "up")
			},
			Policy: func(name, policy string) {
				_, err := r.raw.ContainerUpdate(r.Context(), name, container.UpdateConfig{
					RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyMode(policy)}})
				r.check(err)
			},
		}
	})
}

// What other hands stop while it is waited for says nothing of the image until
// it stays away; what ends by itself does at once (TestNotReadyHasTheLastLines).
func TestStoppedByOthersIsNoVerdict(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	web := desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), Restart: desired.Restart{Name: "always"}}
	tgt := r.deploy(r.target(web))
	wait := reconciler.Wait{Service: "web", Replica: 1, Condition: desired.Started, Stable: time.Second}
	r.Stop(r.instance + "-web-1")
	back := time.AfterFunc(500*time.Millisecond, func() {
		_ = r.raw.ContainerStart(t.Context(), r.instance+"-web-1", container.StartOptions{})
	})
	defer back.Stop()
	r.check(r.engine.Await(t.Context(), tgt, wait))
	r.Stop(r.instance + "-web-1")
	r.engine.SetToldLimit(time.Second)
	var nr *reconciler.NotReady
	if err := r.engine.Await(t.Context(), tgt, wait); !errors.As(err, &nr) || !strings.HasPrefix(nr.Reason, "exited with code") {
		t.Errorf("stays away: %v", err)
	}
}

func engineApart(t *testing.T, root, command string) {
	t.Helper()
	cmd := exec.Command("../../scripts/engine.sh", command)
	cmd.Env = append(os.Environ(), "FAIRLEAD_ENGINE_ROOT="+root, "DOCKER_HOST=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("engine %s: %v\n%s", command, err, out)
	}
}
