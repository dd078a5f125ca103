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

func TestTagMeansADigestAndMoves(t *testing.T) {
	r, ref, first := serve(t, registry.Options{})
	c := client.New(client.Options{})
	got := ask(t, c, ref, reconciler.Ask{})
	means(t, got, first)
	if got.Digest != r.Addr()+"/app@"+first || got.Ref != ref || got.Seen.IsZero() || got.Asked.IsZero() || got.Err != nil || got.Created.Year() != 2026 {
		t.Errorf("release %+v", got)
	}
	_, second := push(t, r, "stable", "2")
	means(t, ask(t, c, ref, reconciler.Ask{}), first) // not asked again yet
	moved := fresh(t, c, ref)
	means(t, moved, second)
	if err := r.Tag(t.Context(), "app", first, "stable"); err != nil {
		t.Fatal(err)
	}
	back := fresh(t, c, ref)
	means(t, back, first)
	if !back.Seen.Equal(got.Seen) {
		t.Errorf("the digest was first seen at %v, and now at %v", got.Seen, back.Seen)
	}
}

func TestDigestIsNotAsked(t *testing.T) {
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, ref := range []string{"127.0.0.1:1/app@" + digest, "127.0.0.1:1/app:tag@" + digest} {
		got := fresh(t, client.New(client.Options{}), ref)
		if got.Digest != "127.0.0.1:1/app@"+digest {
			t.Errorf("%s means %+v", ref, got)
		}
	}
}

func TestNoReferenceIsTerminal(t *testing.T) {
	err := fails(t, client.New(client.Options{}), "UPPER/Case:x:y", "no image reference")
	if !reconciler.IsTerminal(err) {
		t.Error("it is tried again, and cannot get better")
	}
}

func TestIndexHasThisPlatform(t *testing.T) {
	r := registry.Test(t)
	ref, digest, err := r.PushIndex(t.Context(), "app", "stable", map[string]registry.App{
		here(): {Empty: true, Build: "1", Version: "2026.04.3"}, "linux/s390x": {Empty: true, Build: "1"}, "unknown/unknown": {Empty: true, Build: "attestation"}})
	if err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Options{})
	got := fresh(t, c, ref)
	means(t, got, digest)
	if got.Version != "2026.04.3" || got.Created.IsZero() {
		t.Errorf("the platform's image says %+v", got)
	}
	if _, err := c.Release(t.Context(), ref, reconciler.Ask{Platform: "linux/riscv64"}); err == nil {
		t.Error("an image for riscv64 was found")
	} else {
		says(t, err, "no image for linux/riscv64", "linux/s390x", here())
		if strings.Contains(err.Error(), "unknown") {
			t.Errorf("attestations count as a platform: %v", err)
		}
	}
	_, other, err := r.PushIndex(t.Context(), "app", "stable", map[string]registry.App{"linux/s390x": {Empty: true, Build: "2"}})
	if err != nil || other == digest {
		t.Fatal(other, err)
	}
	kept := fresh(t, c, ref)
	means(t, kept, digest) // what runs stays
	says(t, kept.Err, "no image for "+here(), "linux/s390x")
	if kept.Since.IsZero() {
		t.Error("it does not say since when")
	}
}

func TestMissingTagNamesThoseLikeIt(t *testing.T) {
	r, _, _ := serve(t, registry.Options{})
	for _, tag := range []string{"dev-2026.04.1", "sha-1234567"} {
		push(t, r, tag, "1")
	}
	c := client.New(client.Options{})
	err := fails(t, c, r.Ref("app", "stabel"), "no tag stabel in app", "stable")
	if reconciler.IsTerminal(err) {
		t.Error("a tag that is pushed later would not be seen")
	}
	_, digest := push(t, r, "stabel", "late")
	means(t, fresh(t, c, r.Ref("app", "stabel")), digest)
}

func TestVersionAndDeprecation(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	c := client.New(client.Options{})
	for _, tag := range []string{"stable-2026.04.9", "stable-2026.04.11"} {
		push(t, r, tag, "other "+tag)
	}
	if err := r.Tag(t.Context(), "app", "stable", "stable-2026.04.10"); err != nil {
		t.Fatal(err)
	}
	got := fresh(t, c, ref)
	if got.Version != "2026.04.10" || got.Deprecated != "" {
		t.Errorf("release %+v", got)
	}
	if err := r.Tag(t.Context(), "app", "stable", "deprecated-2026.04.10"); err != nil {
		t.Fatal(err)
	}
	// a digest without a version of its own that carries a deprecated tag
	_, odd := push(t, r, "edge", "odd")
	if err := r.Tag(t.Context(), "app", "edge", "deprecated-2026.03.1"); err != nil {
		t.Fatal(err)
	}
	after := client.New(client.Options{})
	if got := fresh(t, after, ref); got.Deprecated != "deprecated-2026.04.10" {
		t.Errorf("%s is deprecated by %q", digest, got.Deprecated)
	}
	if got := fresh(t, after, r.Ref("app", "edge")); got.Deprecated != "deprecated-2026.03.1" || got.Version != "" {
		t.Errorf("%s: %+v", odd, got)
	}
	if got := fresh(t, after, r.Ref("app", "stable-2026.04.9")); got.Version != "2026.04.9" || got.Deprecated != "" {
		t.Errorf("a numbered tag: %+v", got)
	}
}

func TestFactsThatFailDoNotFailTheAnswer(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	r.Fault(registry.Fault{Match: registry.Blobs, Status: 500})
	r.Fault(registry.Fault{Match: func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/tags/list") }, Status: 403})
	c := client.New(client.Options{})
	got := fresh(t, c, ref)
	means(t, got, digest)
	if got.Err != nil || !got.Created.IsZero() {
		t.Errorf("release %+v", got)
	}
	if s := c.Status(); len(s) != 1 || !s[0].FailingSince.IsZero() || s[0].LastSuccess.IsZero() {
		t.Errorf("a registry without lists of tags counts as failing: %+v", s)
	}
}

// TestDeprecationStaysWhenItCannotBeLookedUp: not to know is not to be cleared.
func TestDeprecationStaysWhenItCannotBeLookedUp(t *testing.T) {
	r, ref, _ := serve(t, registry.Options{})
	if err := r.Tag(t.Context(), "app", "stable", "deprecated-2026.04.1"); err != nil {
		t.Fatal(err)
	}
	via := &switchable{to: r.Transport()}
	lists := func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/tags/list") }
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via})
		look := func(want string) {
			t.Helper()
			time.Sleep(2 * time.Hour)
			if got := fresh(t, c, ref); got.Deprecated != want || got.Err != nil {
				t.Errorf("release %+v", got)
			}
		}
		look("deprecated-2026.04.1")
		r.Fault(registry.Fault{Match: lists, Status: 500})
		look("deprecated-2026.04.1")
		r.ClearFaults()
		if err := r.Untag(t.Context(), "app", "deprecated-2026.04.1"); err != nil {
			t.Fatal(err)
		}
		look("")
	})
}

// TestFaultsKeepWhatIsKnown breaks the registry in each way, first with
// nothing known and then with something.
func TestFaultsKeepWhatIsKnown(t *testing.T) {
	faults := map[string]struct {
		fault registry.Fault
		says  string
	}{
		"500":           {registry.Fault{Status: 500}, "status 500"},
		"503":           {registry.Fault{Status: 503}, "status 503"},
		"403":           {registry.Fault{Match: registry.Manifests, Status: 403}, "docker login"},
		"slow":          {registry.Fault{Delay: time.Hour}, "in time"},
		"login page":    {registry.Fault{Match: registry.Manifests, Garbage: "<html>Please log in</html>"}, "no image manifest"},
		"cut":           {registry.Fault{Match: registry.Manifests, Cut: true, CutAfter: 10}, "reach 127.0.0.1"},
		"corrupt bytes": {registry.Fault{Match: registry.Manifests, Corrupt: true}, "not taken"},
		"digest of nothing": {registry.Fault{Match: registry.Manifests, Header: func(h http.Header) {
			h.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
		}}, "does not have it"},
		"digest that is none": {registry.Fault{Match: registry.Manifests, Header: func(h http.Header) {
			h.Set("Docker-Content-Digest", "sha256:../../etc")
		}}, "which is none"},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, ref, digest := serve(t, registry.Options{})
			limit := time.Minute
			if f.fault.Delay > 0 {
				limit = 3 * time.Second
			}
			r.Fault(f.fault)
			c := client.New(client.Options{Timeout: limit})
			fails(t, c, ref, f.says)
			r.ClearFaults()
			means(t, fresh(t, c, ref), digest)
			_, second := push(t, r, "stable", "2")
			r.Fault(f.fault)
			before := time.Now()
			got := fresh(t, c, ref)
			means(t, got, digest)
			says(t, got.Err, f.says)
			if got.Since.Before(before) || got.Since.After(time.Now()) {
				t.Errorf("it fails since %v", got.Since)
			}
			since := got.Since
			if again := fresh(t, c, ref); !again.Since.Equal(since) {
				t.Errorf("it fails since %v, and since %v a moment later", since, again.Since)
			}
			r.ClearFaults()
			got = fresh(t, c, ref)
			means(t, got, second)
			if got.Err != nil || !got.Since.IsZero() {
				t.Errorf("it is mended, and says %v since %v", got.Err, got.Since)
			}
		})
	}
}

func TestNoDigestHeaderIsHashed(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	r.Fault(registry.Fault{Match: registry.Manifests, Header: func(h http.Header) { h.Del("Docker-Content-Digest") }})
	means(t, fresh(t, client.New(client.Options{}), ref), digest)
}

func TestETagSavesNothingButTheAnswer(t *testing.T) {
	answers := 0
	var seen []string
	r, ref, digest := serve(t, registry.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodHead && strings.HasSuffix(q.URL.Path, "/manifests/stable") {
				seen = append(seen, q.Header.Get("If-None-Match"))
				w.Header().Set("ETag", `"v1"`)
				if answers++; q.Header.Get("If-None-Match") == `"v1"` {
					w.WriteHeader(http.StatusNotModified)
					return
				}
			}
			next.ServeHTTP(w, q)
		})
	}})
	c := client.New(client.Options{})
	means(t, fresh(t, c, ref), digest)
	got := fresh(t, c, ref)
	means(t, got, digest)
	if got.Err != nil || len(seen) != 2 || seen[0] != "" || seen[1] != `"v1"` {
		t.Errorf("asked with %q, error %v, %d requests", seen, got.Err, len(r.Requests()))
	}
}
