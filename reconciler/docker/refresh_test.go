package docker_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
)

// daily is a rig with a tag that two versions are pushed to in turn.
type daily struct {
	*rig
	reg    *registry.Registry
	memory docker.Memory
	ref    string
	told   []string
}

func newDaily(t *testing.T) *daily {
	d := &daily{reg: registry.Test(t), memory: docker.NewMemory()}
	d.rig = newRig(t, imagesOf(t, d.reg), func(o *docker.Options) { o.Memory = d.memory })
	d.push("one")
	return d
}

func (d *daily) push(version string) {
	d.Helper()
	ref, _, err := d.reg.Push(d.Context(), "fldt/daily", "stable", registry.App{Version: version})
	d.check(err)
	d.ref = ref
}

// prepare returns the image that a deployment with the period would use, and
// how often the registry was asked.
func (d *daily) prepare(policy string, after time.Duration) (reconciler.Image, int) {
	d.Helper()
	t := d.target(desired.Service{Name: "web", Image: d.ref, PullPolicy: policy, PullAfter: after})
	t.Tell = func(reason, message string) { d.told = append(d.told, reason+": "+message) }
	d.reg.ResetRequests()
	images, err := d.engine.Prepare(d.Context(), t, nil)
	d.check(err)
	return images[d.ref], len(d.reg.Requests())
}

// age makes the last pull older.
func (d *daily) age(by time.Duration) {
	d.Helper()
	const key = ".pulls"
	b, err := d.memory.Get(key)
	d.check(err)
	pulls := map[string]time.Time{}
	d.check(json.Unmarshal(b, &pulls))
	if len(pulls) != 1 {
		d.Fatalf("remembered pulls: %v", pulls)
	}
	for ref, at := range pulls {
		pulls[ref] = at.Add(-by)
	}
	b, err = json.Marshal(pulls)
	d.check(err)
	d.check(d.memory.Put(key, b))
	d.restart()
}

// restart is a new process with the same memory.
func (d *daily) restart() {
	d.Helper()
	var err error
	d.engine, err = docker.New(docker.Options{Owner: d.owner, Memory: d.memory, Wrap: d.wire.wrap})
	d.check(err)
}

func TestImageIsFetchedAgainAfterItsPeriod(t *testing.T) {
	d := newDaily(t)
	const day = 24 * time.Hour
	one, asked := d.prepare("refresh", day)
	if asked == 0 {
		t.Fatal("an image that is not there was not asked for")
	}
	d.push("two")
	for _, tt := range []struct {
		name, policy string
		age, after   time.Duration
		asks, newer  bool
	}{
		{"within the period", "refresh", time.Hour, day, false, false},
		{"without one", "missing", day, 0, false, false},
		{"over, by all hours together", "refresh", 0, day, true, true},
		{"just pulled", "refresh", 0, day, false, true},
		{"over, and nothing new", "refresh", day, day, true, true},
		{"the pull that brought nothing new counts", "refresh", 0, day, false, true},
		{"a clock that was put back", "refresh", -2 * day, day, true, true},
	} {
		d.age(tt.age)
		got, asked := d.prepare(tt.policy, tt.after)
		if asked > 0 != tt.asks || got.ID != one.ID != tt.newer {
			t.Errorf("%s: %d requests, newer image: %t", tt.name, asked, got.ID != one.ID)
		}
	}
	if len(d.told) > 0 {
		t.Errorf("told %q", d.told)
	}
}

func TestRegistryThatGivesNothingKeepsTheImage(t *testing.T) {
	d := newDaily(t)
	one, _ := d.prepare("refresh", time.Hour)
	d.push("two")
	for _, status := range []int{404, 429, 500} {
		d.age(time.Hour)
		d.told = nil
		d.reg.Fault(registry.Fault{Match: registry.Manifests, Status: status})
		got, asked := d.prepare("refresh", time.Hour)
		if got != one || asked == 0 {
			t.Errorf("%d: image %v after %d requests, want %v", status, got, asked, one)
		}
		if len(d.told) != 1 || !strings.HasPrefix(d.told[0], "ImageKept: "+d.ref) {
			t.Errorf("%d: told %q", status, d.told)
		}
		if _, asked := d.prepare("refresh", time.Hour); asked == 0 {
			t.Errorf("%d: a pull that failed counts as one", status)
		}
		d.reg.ClearFaults()
	}
	if got, _ := d.prepare("refresh", time.Hour); got == one {
		t.Error("the registry answers again, and the new image was not fetched")
	}
}

// A newer commit ends the wait for a registry, and is not told a success.
func TestRefreshThatIsCancelled(t *testing.T) {
	d := newDaily(t)
	d.prepare("refresh", time.Hour)
	d.age(time.Hour)
	ctx, cancel := context.WithCancelCause(t.Context())
	newer := errors.New("a newer commit")
	d.reg.Fault(registry.Fault{Delay: time.Minute, Match: func(*http.Request) bool { cancel(newer); return true }})
	next := d.target(desired.Service{Name: "web", Image: d.ref, PullPolicy: "refresh", PullAfter: time.Hour})
	if _, err := d.engine.Prepare(ctx, next, nil); !errors.Is(err, newer) {
		t.Errorf("a pull that was cancelled: %v", err)
	}
}
