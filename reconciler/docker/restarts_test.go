package docker_test

import (
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func TestRestartsAreCounted(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	r.deploy(r.target(
		desired.Service{Name: "web", Image: r.images(drivertest.KindHealthy, 1)},
		desired.Service{Name: "sick", Image: r.images(drivertest.KindCrash, 1), Restart: desired.Restart{Name: "always"}}))
	tick, late := time.NewTicker(50*time.Millisecond), time.After(2*time.Minute)
	defer tick.Stop()
	for {
		counts, err := r.engine.Restarts(t.Context(), r.instance)
		r.check(err)
		web, known := counts[r.instance+"-web-1"]
		if web != 0 || !known || len(counts) != 2 {
			t.Fatalf("got %v", counts)
		}
		if counts[r.instance+"-sick-1"] > 0 {
			break
		}
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("nothing was counted: %v", counts)
		}
	}
	if none, err := r.engine.Restarts(t.Context(), r.instance+"x"); err != nil || len(none) != 0 {
		t.Errorf("of an instance without containers: %v, %v", none, err)
	}
}
