package docker_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// A process that outlives its stop, as one that the kernel cannot end does,
// keeps its successor away.
func TestProcessThatSurvivesItsStop(t *testing.T) {
	var survives atomic.Bool
	r := newRig(t, imagesOf(t, registry.Test(t)), func(o *docker.Options) {
		next := o.Wrap
		o.Wrap = func(rt http.RoundTripper) http.RoundTripper {
			rt = next(rt)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				resp, err := rt.RoundTrip(req)
				if err != nil || !survives.Load() || !strings.HasSuffix(req.URL.Path, "/json") || !strings.Contains(req.URL.Path, "/containers/") {
					return resp, err
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				body = bytes.Replace(body, []byte(`"Pid":0,`), []byte(`"Pid":4242,`), 1)
				resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
				return resp, err
			})
		}
	})
	r.engine.SetLockLimit(300 * time.Millisecond)
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	two := r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 2)})
	images, err := r.engine.Prepare(t.Context(), two, nil)
	r.check(err)
	two.Images = images
	survives.Store(true)
	if err := r.ensure(two, "web"); err == nil || !strings.Contains(err.Error(), "its process 4242 survived the stop") {
		t.Errorf("error = %v", err)
	}
	if r.alive(r.instance+"-web-1") || r.alive(r.instance+"-web-1.next") {
		t.Error("something was started beside it")
	}
	survives.Store(false)
	r.check(r.ensure(two, "web"))
	if !r.alive(r.instance + "-web-1") {
		t.Error("the successor does not run")
	}
}
