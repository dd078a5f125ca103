package front

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// A container that takes the requests of several ports has left when all of
// them are quiet, and the longest drain time of its routes counts. They are
// looked at in no order, so this is done several times.
func TestDrainWaitsForEveryPort(t *testing.T) {
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			h := start(t, Options{})
			c := h.client(false)
			const short = 20 * time.Millisecond
			ends := []chan struct{}{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
			begun := make(chan struct{}, 100) // the client may ask again
			var routes []reconciler.Route
			for n, end := range ends {
				rt := routeTo(newBackend(t, "c", func(w http.ResponseWriter, _ *http.Request) {
					begun <- struct{}{}
					<-end
					_, _ = io.WriteString(w, "whole")
				}))
				rt.Host = fmt.Sprintf("host%d.test", n)
				if n > 0 {
					rt.Drain = short
				}
				routes = append(routes, rt)
			}
			h.set(routes...)
			var slow []chan error
			for n := range ends {
				slow = append(slow, background(func() error {
					s, b, err := get(c, fmt.Sprintf("https://host%d.test/", n))
					return want(200, "whole", s, b, err)
				}))
			}
			for range ends {
				<-begun
			}
			drained := background(func() error { return h.front.Drain(t.Context(), "acme", "c") })
			for _, end := range ends[1:] {
				close(end)
			}
			select {
			case err := <-drained:
				t.Errorf("drained with a request in flight: %v", err)
				close(ends[0])
			case <-time.After(5 * short):
				close(ends[0])
				await(t, "drain", drained)
			}
			for _, ended := range slow {
				await(t, "request", ended)
			}
			if n := h.front.total.cut.Load(); n != 0 {
				t.Errorf("%d requests counted as cut off", n)
			}
		})
	}
}

// A request that has waited once, and has to again, is not sent to the end.
func TestHeldByArrivalWheneverTheyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, rt := waiting(Options{}, time.Hour)
		defer f.stop()
		now := time.Now()
		for _, ago := range []int{2, 4, 1, 3, 5, 0} {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if _, err := rt.enqueue(r, now.Add(-time.Duration(ago)*time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		ago := 5
		for e := rt.queue.Front(); e != nil; e = e.Next() {
			if got := now.Sub(e.Value.(*waiter).arrived); got != time.Duration(ago)*time.Second {
				t.Errorf("it is the turn of the one that came %v ago, want %ds", got, ago)
			}
			ago--
		}
		f.refuseHeld()
	})
}

// Its time is over just as it could be let go: it goes.
func TestExpiredButAvailableIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, rt := waiting(Options{}, time.Minute)
		defer f.stop()
		w, err := rt.enqueue(httptest.NewRequest(http.MethodGet, "/", nil), time.Now())
		if w == nil || err != nil {
			t.Fatal(w, err)
		}
		rt.releasing = true // others go before it
		here(f, time.Minute)
		rt.giveUp(w, errExpired)
		if w.err != nil || w.gap.Refused != 0 || f.held != 0 {
			t.Errorf("%v, %d refused, %d held", w.err, w.gap.Refused, f.held)
		}
		rt.releasing = false
	})
}
