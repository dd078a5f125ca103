package docker_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/examples/registry"
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

func engineApart(t *testing.T, root, command string) {
	t.Helper()
	cmd := exec.Command("../../scripts/engine.sh", command)
	cmd.Env = append(os.Environ(), "FAIRLEAD_ENGINE_ROOT="+root, "DOCKER_HOST=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("engine %s: %v\n%s", command, err, out)
	}
}
