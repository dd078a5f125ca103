package registry_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

// TestPlatformIsTheEngines: images are looked for that the engine can run,
// which may be on another machine. It is asked until it answers, and once.
func TestPlatformIsTheEngines(t *testing.T) {
	r := registry.Test(t)
	ref, digest, err := r.PushIndex(t.Context(), "app", "stable", map[string]registry.App{"linux/s390x": {Empty: true, Build: "1", Version: "2026.04.3"}})
	if err != nil {
		t.Fatal(err)
	}
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		asked, away := 0, true
		c := client.New(client.Options{Transport: via, Engine: func(ctx context.Context) (string, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("the question has no limit of time")
			}
			if asked++; away {
				return "", errors.New("engine is away")
			}
			return "linux/s390x", nil
		}})
		if got, err := c.Release(t.Context(), ref, reconciler.Ask{Known: true}); err != nil || got.Digest != "" || asked != 0 {
			t.Errorf("what is known: %+v, %v, asked %d times", got, err, asked)
		}
		for range 3 { // this machine's, meanwhile
			fails(t, c, ref, "no image for "+here(), "linux/s390x")
		}
		if asked != 1 {
			t.Errorf("an engine that is away is asked %d times at once", asked)
		}
		away = false
		time.Sleep(time.Minute)
		for range 3 {
			got := fresh(t, c, ref)
			means(t, got, digest)
			if got.Version != "2026.04.3" {
				t.Errorf("the image of its platform says %+v", got)
			}
		}
		if known := ask(t, c, ref, reconciler.Ask{Known: true}); known.Digest == "" || asked != 2 {
			t.Errorf("known %+v, asked %d times", known, asked)
		}
		if _, err := c.Release(t.Context(), ref, reconciler.Ask{Platform: here(), Fresh: true}); err == nil {
			t.Error("the platform that a service names does not count")
		}
	})
}
