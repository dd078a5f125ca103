package docker_test

import (
	"testing"

	"github.com/docker/docker/api/types/image"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func pullOptions() image.PullOptions { return image.PullOptions{} }

func TestContract(t *testing.T) {
	images := imagesOf(t, registry.Test(t))
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		r := newRig(t, images)
		return drivertest.Harness{
			Driver: r.engine, Instance: r.instance, Dir: r.owner, Image: images,
			Hands: r, Limit: r.Limit, Fail: r.wire.fail, Alive: r.alive,
		}
	})
}
