package registry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

// TestClockThatIsSetBack: what was learnt while the clock was years ahead does
// not make a release wait for its age for years, nor its registry for a question.
func TestClockThatIsSetBack(t *testing.T) {
	r, ref, first := serve(t, registry.Options{})
	_, second := push(t, r, "next", "2")
	via, mem := r.Transport(), newMemory()
	synctest.Test(t, func(t *testing.T) { // each bubble's clock begins in the year 2000
		time.Sleep(10 * 365 * 24 * time.Hour)
		ahead := fresh(t, client.New(client.Options{Transport: via, Memory: mem}), ref)
		means(t, ahead, first)
	})
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via, Memory: mem})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		defer func() { cancel(); <-done }()
		look := func() reconciler.Release { return ask(t, c, ref, reconciler.Ask{Every: time.Minute}) }
		if got := look(); !got.Seen.After(time.Now()) {
			t.Fatalf("it was learnt at %s, which is no clock that was ahead", got.Seen)
		}
		time.Sleep(time.Minute)
		if got := look(); got.Seen.After(time.Now()) || got.Asked.After(time.Now()) {
			t.Errorf("it is %s, and it was seen first at %s, asked for at %s", time.Now(), got.Seen, got.Asked)
		}
		if err := r.Tag(ctx, "app", second, "stable"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got := look()
		means(t, got, second)
		if age := time.Since(got.Seen); age < 0 || age > 2*time.Minute {
			t.Errorf("what is new has an age of %s", age)
		}
	})
}
