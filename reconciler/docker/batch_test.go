package docker

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/docker/docker/api/types/container"
)

// Who asks while a list runs must not get that list: it may have been read
// before what he asks about happened.
func TestAListIsNeverOlderThanTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var started atomic.Int32
		b := newBatcher(func(context.Context) ([]container.Summary, error) {
			n := started.Add(1)
			time.Sleep(time.Second)
			return make([]container.Summary, n), nil
		})
		ask := func(want int) {
			out, err := b.get(t.Context(), gather)
			if err != nil || len(out) != want {
				t.Errorf("list %d, %v, want list %d", len(out), err, want)
			}
		}
		for range 10 {
			go ask(1)
		}
		time.Sleep(500 * time.Millisecond) // the first list is running
		for range 10 {
			go ask(2)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := started.Load(); n != 2 {
			t.Errorf("%d lists for 20 questions, want 2", n)
		}
	})
}

func TestOneWhoGivesUpDoesNotSpoilTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBatcher(func(ctx context.Context) ([]container.Summary, error) {
			time.Sleep(time.Second)
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			if _, err := b.get(ctx, gather); !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up got %v", err)
			}
		}()
		synctest.Wait()
		time.AfterFunc(10*time.Millisecond, cancel)
		if _, err := b.get(t.Context(), gather); err != nil {
			t.Errorf("who waited got %v", err)
		}
		time.Sleep(time.Minute)
	})
}
