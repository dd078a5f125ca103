package reconciler_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// channels says what references mean in the registry of the engine in memory.
type channels struct {
	engine *drivertest.Engine

	mu    sync.Mutex
	known map[string]reconciler.Release
	down  error
	ages  bool // what is known is given unless a fresh answer is asked for
	// retired are the deprecated tags by digest.
	retired map[string]string
	asked   []string
}

func (c *channels) Release(_ context.Context, ref string, ask reconciler.Ask) (reconciler.Release, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, have := c.known[ref]
	if ask.Known {
		return known, nil
	}
	c.asked = append(c.asked, ref)
	if c.ages && have && !ask.Fresh {
		return known, nil
	}
	digest, err := c.engine.Digest(ref)
	if c.down != nil {
		err = c.down
	}
	if err != nil && !have {
		return known, err
	}
	if err != nil {
		if known.Err == nil {
			known.Since = time.Now()
		}
		known.Err = err
	} else {
		if known.Digest != digest {
			known.Seen = time.Now()
		}
		known.Ref, known.Digest, known.Err, known.Since, known.Asked = ref, digest, nil, time.Time{}, time.Now()
		known.Deprecated = c.retired[digest]
	}
	c.known[ref] = known
	return known, nil
}

// channelTest is a house whose instance follows app:stable.
func channelTest(t *testing.T, f func(t *testing.T, h *house, c *channels)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.engine.Push("app:stable", drivertest.Healthy())
		c := &channels{engine: h.engine, known: map[string]reconciler.Release{}}
		h.releases = c
		h.restart()
		f(t, h, c)
	})
}

func channelSpec() desired.Spec {
	s := acme(service("app", "app:stable"))
	s.Follow = &desired.Follow{Ref: "app:stable", Channel: "stable", Every: 5 * time.Minute}
	return s
}

func (h *house) digest(ref string) string {
	h.t.Helper()
	d, err := h.engine.Digest(ref)
	if err != nil {
		h.t.Fatal(err)
	}
	return d
}

// events counts the events with a reason.
func (h *house) events(reason string) (n int) {
	h.t.Helper()
	list, err := h.inst.Events(500)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, e := range list {
		if e.Reason == reason {
			n++
		}
	}
	return n
}

// runs fails the test unless every container of the service is made from the
// image that has the digest.
func (h *house) runs(digest string) {
	h.t.Helper()
	img, err := h.engine.Prepare(h.t.Context(), reconciler.Target{Spec: acme(service("x", "app:stable")),
		Images: map[string]reconciler.Image{"app:stable": {Digest: digest}}}, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	for _, c := range h.observed().Containers {
		if c.Service == "app" && (c.ImageID != img["app:stable"].ID || c.State != reconciler.StateRunning || c.Slot != reconciler.SlotCurrent) {
			h.t.Errorf("%s runs %s (%s), want %s", c.Name, c.ImageID, c.State, img["app:stable"].ID)
		}
	}
}
