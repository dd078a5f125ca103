package docker_test

import (
	"context"
	crand "crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// engineSays answers every pull with a stream of the engine's own words.
func engineSays(words *string) func(*docker.Options) {
	return func(o *docker.Options) {
		next := o.Wrap
		o.Wrap = func(rt http.RoundTripper) http.RoundTripper {
			rt = next(rt)
			return roundTrip(func(req *http.Request) (*http.Response, error) {
				if *words == "" || !strings.HasSuffix(req.URL.Path, "/images/create") {
					return rt.RoundTrip(req)
				}
				body := `{"status":"Pulling fs layer","id":"a"}` + "\n" + `{"error":"` + *words + `"}` + "\n"
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
			})
		}
	}
}

// What a pull ends with is said in words that help, is tried again, and leaves
// alone what runs. The words are those of engines 20.10 to 29.
func TestPullsThatFail(t *testing.T) {
	words := ""
	r := newRig(t, imagesOf(t, registry.Test(t)), engineSays(&words))
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	id := r.inspect(r.instance + "-web-1").ID
	ref := r.images(drivertest.KindPlain, 51)
	next := r.target(desired.Service{Name: "web", Image: ref})
	next.Images = map[string]reconciler.Image{ref: {Digest: digestOf(t, ref)}}
	for said, want := range map[string]string{
		"write /var/lib/docker/tmp/GetImageBlob1: no space left on device":           "the disk of the engine is full",
		"manifest verification failed for digest sha256:0123":                        "serves other bytes than the digest says",
		"filesystem layer verification failed for digest sha256:0123":                "serves other bytes than the digest says",
		"failed commit on ref: unexpected commit digest sha256:1, expected sha256:2": "serves other bytes than the digest says",
		"received unexpected HTTP status: 500 Internal Server Error":                 "has trouble of its own",
		"unexpected EOF":             "pull ",
		"toomanyrequests: slow down": "limits how often",
		"manifest for app@sha256:0 not found: manifest unknown: manifest unknown": "does not have this image any more",
	} {
		words = said
		_, err := r.engine.Prepare(t.Context(), next, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), said) || reconciler.IsTerminal(err) || docker.IsUnreachable(err) {
			t.Errorf("%s: %v, want %q", said, err, want)
		}
	}
	if !r.alive(r.instance+"-web-1") || r.inspect(r.instance+"-web-1").ID != id {
		t.Error("what runs was touched")
	}
	words = ""
	_, err := r.engine.Prepare(t.Context(), next, nil)
	r.check(err)
}

// A registry that answers in the middle of a pull with nothing more: what was
// asked for comes with the next attempt, and a pull that is given up leaves
// alone what runs.
func TestPullCutHalfway(t *testing.T) {
	reg := registry.Test(t)
	r := newRig(t, imagesOf(t, reg))
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	fresh := registry.Test(t) // with layers of its own address, but known to the engine: only its own are asked for
	ref, _, err := fresh.Push(t.Context(), "fldt/cut", "1", registry.App{Version: "cut", Build: crand.Text()})
	r.check(err)
	fresh.Fault(registry.Fault{Match: registry.Blobs, Cut: true, CutAfter: 10})
	next := r.target(desired.Service{Name: "web", Image: ref})
	next.Images = map[string]reconciler.Image{ref: {Digest: digestOf(t, ref)}}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := r.engine.Prepare(ctx, next, nil); err == nil || !errors.Is(err, context.DeadlineExceeded) && !strings.Contains(err.Error(), "EOF") {
		t.Errorf("cut off: %v", err)
	}
	if !r.alive(r.instance + "-web-1") {
		t.Error("what runs was touched")
	}
	fresh.ClearFaults()
	got, err := r.engine.Prepare(t.Context(), next, nil)
	r.check(err)
	if got[ref].ID == "" {
		t.Errorf("prepared %+v", got)
	}
}

// A clean-up leaves what a generation names by digest only, as a registry or an
// engine writes it, and what is being prepared; an image without a tag goes.
func TestPruneOfWhatWasPulledByDigest(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	var ids, digests []string
	for v := 61; v <= 63; v++ {
		ref := r.images(drivertest.KindPlain, v)
		tgt := r.target(desired.Service{Name: "web", Image: ref})
		tgt.Images = map[string]reconciler.Image{ref: {Digest: digestOf(t, ref)}}
		got, err := r.engine.Prepare(t.Context(), tgt, nil)
		r.check(err)
		ids, digests = append(ids, got[ref].ID), append(digests, got[ref].Digest)
	}
	gone, err := r.engine.Prune(t.Context(), map[string]bool{digests[0]: true})
	r.check(err)
	for i, want := range []bool{true, false, true} { // kept by digest, nothing, prepared last
		if _, err := r.raw.ImageInspect(t.Context(), ids[i]); (err == nil) != want {
			t.Errorf("image %d: %v, want there: %t (gone: %v)", i, err, want, gone)
		}
	}
}
