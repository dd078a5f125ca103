package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

// lists counts the questions for the tags of a repository.
func lists(r *registry.Registry) (n int) {
	for _, req := range r.Requests() {
		if strings.HasSuffix(req.Path, "/tags/list") {
			n++
		}
	}
	return n
}

// TestDeprecatedDigestIsKnown: a digest is told to be taken back by the tag that
// is its own, by a person's question and without a background.
func TestDeprecatedDigestIsKnown(t *testing.T) {
	r, _, digest := serve(t, registry.Options{})
	_, other := push(t, r, "stable", "2")
	if err := r.Tag(t.Context(), "app", "stable", "deprecated-2026.04.2"); err != nil {
		t.Fatal(err)
	}
	mem := newMemory()
	c := client.New(client.Options{Memory: mem})
	if got := fresh(t, c, r.RefDigest("app", other)); got.Deprecated != "deprecated-2026.04.2" || got.Err != nil || got.Asked.IsZero() {
		t.Errorf("the digest that was taken back: %+v", got)
	}
	if got := ask(t, c, r.RefDigest("app", digest), reconciler.Ask{}); got.Deprecated != "" {
		t.Errorf("another digest: %+v", got)
	}
	again := client.New(client.Options{Memory: mem})
	before := len(r.Requests())
	if got := ask(t, again, r.RefDigest("app", other), reconciler.Ask{Known: true}); got.Deprecated == "" {
		t.Errorf("after a restart: %+v", got)
	}
	if n := len(r.Requests()) - before; n != 0 {
		t.Errorf("%d requests for what is to be known", n)
	}
	r.Fault(registry.Fault{Match: func(q *http.Request) bool { return strings.HasSuffix(q.URL.Path, "/tags/list") }, Status: 500})
	if got := fresh(t, client.New(client.Options{Memory: mem}), r.RefDigest("app", other)); got.Deprecated == "" || got.Err != nil {
		t.Errorf("not to be able to look it up is not to be cleared: %+v", got)
	}
}

// TestTagsAreListedOnceForAllDigests: thirty instances run ten digests of a
// repository for a day, and the repository is asked for its tags once an hour.
// A deprecation, and its end, arrive within the hour.
func TestTagsAreListedOnceForAllDigests(t *testing.T) {
	r, _, _ := serve(t, registry.Options{})
	var refs []string
	for i := range 10 {
		_, digest := push(t, r, "stable", fmt.Sprint(i))
		refs = append(refs, r.RefDigest("app", digest))
	}
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		var told news
		c := client.New(client.Options{Transport: via, Changed: told.changed})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		last := refs[9]
		hour := func(want string) {
			t.Helper()
			for range 120 {
				for i := range 30 {
					if _, err := c.Release(ctx, refs[i%10], reconciler.Ask{Every: time.Minute, Fresh: i == 0}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(30 * time.Second)
			}
			if got, err := c.Release(ctx, last, reconciler.Ask{}); err != nil || got.Deprecated != want {
				t.Errorf("%+v, %v; want %q", got, err, want)
			}
		}
		hour("")
		if err := r.Tag(ctx, "app", "stable", "deprecated-2026.01.1"); err != nil {
			t.Fatal(err)
		}
		told.n = nil
		hour("deprecated-2026.01.1")
		if told.of(last) != 1 {
			t.Errorf("told %d times", told.of(last))
		}
		if err := r.Untag(ctx, "app", "deprecated-2026.01.1"); err != nil {
			t.Fatal(err)
		}
		for range 22 {
			hour("")
		}
		if n := lists(r); n < 23 || n > 28 {
			t.Errorf("the tags were listed %d times in a day", n)
		}
		cancel()
		<-done
	})
}

// TestManyDeprecationsAreLookedUpAFewAtATime: all of them, though no question
// has many requests.
func TestManyDeprecationsAreLookedUpAFewAtATime(t *testing.T) {
	r, _, digest := serve(t, registry.Options{})
	if err := r.Tag(t.Context(), "app", "stable", "deprecated-2020.01.1"); err != nil { // the oldest of all
		t.Fatal(err)
	}
	push(t, r, "stable", "2")
	for n := range 40 {
		if err := r.Tag(t.Context(), "app", "stable", fmt.Sprintf("deprecated-2026.01.%d", n+1)); err != nil {
			t.Fatal(err)
		}
	}
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for range 12 {
			if _, err := c.Release(ctx, r.RefDigest("app", digest), reconciler.Ask{}); err != nil {
				t.Fatal(err)
			}
			before := len(r.Requests())
			time.Sleep(30 * time.Second)
			if n := len(r.Requests()) - before; n > 20 {
				t.Errorf("%d requests within half a minute", n)
			}
		}
		if got := ask(t, c, r.RefDigest("app", digest), reconciler.Ask{}); got.Deprecated != "deprecated-2020.01.1" {
			t.Errorf("the oldest deprecation is not known: %+v", got)
		}
		cancel()
		<-done
	})
}
