package registry_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

// noHead answers HEAD of a manifest with a status and nothing else.
func noHead(status int) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead && strings.Contains(q.URL.Path, "/manifests/") {
				w.WriteHeader(status)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
}

func asked(r *registry.Registry, method, tag string) (n int) {
	for _, req := range r.Requests() {
		if req.Method == method && strings.HasSuffix(req.Path, "/manifests/"+tag) {
			n++
		}
	}
	return n
}

// TestRegistryWithoutHeadIsAskedByGet: a registry, or a proxy before it, that
// does not know HEAD is asked by GET, and HEAD is not tried each time.
func TestRegistryWithoutHeadIsAskedByGet(t *testing.T) {
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusNotImplemented, http.StatusNotFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			r, ref, digest := serve(t, registry.Options{})
			via := noHeadTransport{r.Transport(), status}
			synctest.Test(t, func(t *testing.T) {
				c := client.New(client.Options{Transport: via})
				for range 5 {
					got := fresh(t, c, ref)
					means(t, got, digest)
					if got.Err != nil {
						t.Errorf("it is known, and an error is shown: %v", got.Err)
					}
					time.Sleep(time.Minute)
				}
				if s := c.Status(); len(s) != 1 || !s[0].FailingSince.IsZero() {
					t.Errorf("the registry counts as failing: %+v", s)
				}
				if n := asked(r, http.MethodGet, "stable"); n != 5 {
					t.Errorf("%d questions by GET, want 5", n)
				}
			})
		})
	}
}

// noHeadTransport is noHead on the way to a registry.
type noHeadTransport struct {
	to     http.RoundTripper
	status int
}

func (n noHeadTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	if q.Method == http.MethodHead && strings.Contains(q.URL.Path, "/manifests/") {
		return &http.Response{StatusCode: n.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: q}, nil
	}
	return n.to.RoundTrip(q)
}

// TestHeadIsTriedOnceForAll: the first refusal is enough, and a registry that
// knows HEAD is believed when it has no such tag.
func TestHeadIsTriedOnceForAll(t *testing.T) {
	r, ref, _ := serve(t, registry.Options{Middleware: noHead(http.StatusMethodNotAllowed)})
	c := client.New(client.Options{})
	for range 3 {
		fresh(t, c, ref)
	}
	if n := asked(r, http.MethodHead, "stable"); n != 1 {
		t.Errorf("HEAD was tried %d times", n)
	}
	sound, ref, _ := serve(t, registry.Options{})
	c = client.New(client.Options{})
	fresh(t, c, ref)
	for range 3 {
		fails(t, c, sound.Ref("app", "none"), "no tag none")
	}
	if n := asked(sound, http.MethodGet, "none"); n != 0 {
		t.Errorf("a registry that answers HEAD was doubted %d times", n)
	}
	// One that has answered nothing yet is doubted once.
	sound.ResetRequests()
	c = client.New(client.Options{})
	for range 3 {
		fails(t, c, sound.Ref("app", "none"), "no tag none")
	}
	if n := asked(sound, http.MethodGet, "none"); n != 1 {
		t.Errorf("it was asked by GET %d times, want once", n)
	}
}

// TestLoneImageOfAnotherPlatformIsRefused: a manifest that is no index says in
// its configuration for which machine it is. It is refused before it is pulled.
func TestLoneImageOfAnotherPlatformIsRefused(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	c := client.New(client.Options{})
	means(t, fresh(t, c, ref), digest)
	err := func() error {
		_, err := client.New(client.Options{}).Release(t.Context(), ref, reconciler.Ask{Platform: "linux/s390x"})
		return err
	}()
	says(t, err, "it is an image for "+here(), "this is linux/s390x", "platform:")
	if reconciler.IsTerminal(err) {
		t.Error("a tag that is pushed anew would not be seen")
	}
	// With something known, that stays.
	foreign := client.New(client.Options{Platform: "linux/s390x"})
	_, index, err := r.PushIndex(t.Context(), "app", "edge", map[string]registry.App{"linux/s390x": {Empty: true, Build: "1"}})
	if err != nil {
		t.Fatal(err)
	}
	means(t, fresh(t, foreign, r.Ref("app", "edge")), index)
	if err := r.Tag(t.Context(), "app", "stable", "edge"); err != nil {
		t.Fatal(err)
	}
	kept := fresh(t, foreign, r.Ref("app", "edge"))
	means(t, kept, index)
	says(t, kept.Err, "it is an image for "+here())
}

// TestLoneImageIsRefusedOnceItsConfigurationCanBeRead: until then nothing speaks
// against it.
func TestLoneImageIsRefusedOnceItsConfigurationCanBeRead(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	r.Fault(registry.Fault{Match: registry.Blobs, Status: 500})
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Platform: "linux/s390x", Transport: via})
		means(t, fresh(t, c, ref), digest)
		r.ClearFaults()
		time.Sleep(2 * time.Minute)
		fails(t, c, ref, "it is an image for "+here())
		time.Sleep(2 * time.Hour)
		fails(t, c, ref, "it is an image for "+here())
	})
}
