package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	client "github.com/fairlead/fairlead/reconciler/registry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// news counts what is told of each reference.
type news struct {
	mu sync.Mutex
	n  map[string]int
}

func (n *news) changed(ref string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.n == nil {
		n.n = map[string]int{}
	}
	n.n[ref]++
}

func (n *news) of(ref string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.n[ref]
}

// TestOneQuestionAnInterval has 25 instances ask for four references at every
// pass, for an hour in a bubble of its own time.
func TestOneQuestionAnInterval(t *testing.T) {
	r := registry.Test(t)
	tags := []string{"stable", "dev", "dev-x", "other"}
	for _, tag := range tags {
		push(t, r, tag, tag)
	}
	to := r.Transport()
	var mu sync.Mutex
	asked := map[string][]time.Time{}
	via := roundTrip(func(q *http.Request) (*http.Response, error) {
		if q.Method == http.MethodHead {
			mu.Lock()
			asked[q.URL.Path] = append(asked[q.URL.Path], time.Now())
			mu.Unlock()
		}
		return to.RoundTrip(q)
	})
	r.ResetRequests()
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		const every, span = 5 * time.Minute, time.Hour
		for begin := time.Now(); time.Since(begin) < span; time.Sleep(30 * time.Second) {
			var pass sync.WaitGroup
			for i := range 25 {
				pass.Go(func() {
					for _, tag := range tags {
						got, err := c.Release(ctx, r.Ref("app", tag), reconciler.Ask{Every: every + time.Duration(i)*time.Minute})
						if err != nil || got.Err != nil || time.Since(got.Asked) > every {
							t.Errorf("%s: %+v, %v", tag, got, err)
						}
					}
				})
			}
			pass.Wait()
		}
		gaps := map[time.Duration]bool{}
		for _, tag := range tags {
			// the first, then one after each nine tenths to the whole of the interval
			if n := manifests(r, tag); n < 12 || n > 15 {
				t.Errorf("%s was asked for %d times within %v, every %v", tag, n, span, every)
			}
			mu.Lock()
			times := asked["/v2/app/manifests/"+tag]
			mu.Unlock()
			for i := range times[1:] {
				gap := times[i+1].Sub(times[i])
				gaps[gap] = true
				if gap < every*9/10 || gap > every {
					t.Errorf("%s was asked for %v after the last time", tag, gap)
				}
			}
		}
		if len(gaps) < len(tags) { // a fleet would ask in step
			t.Errorf("no chance is in the intervals: %v", gaps)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ends with %v", err)
		}
	})
}

func TestManyAskTogetherAndOneIsSent(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	c := client.New(client.Options{})
	var all sync.WaitGroup
	for range 25 {
		all.Go(func() {
			got, err := c.Release(t.Context(), ref, reconciler.Ask{})
			if err != nil || got.Digest != r.Addr()+"/app@"+digest {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	all.Wait()
	if n := manifests(r, "stable"); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestFreshAnswersAreShared has 25 ask afresh while a slow question is under
// way: its answer may be older than they are, so they share the next one.
func TestFreshAnswersAreShared(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	r.Fault(registry.Fault{Match: registry.Manifests, Delay: time.Second})
	via := r.Transport()
	r.ResetRequests()
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via})
		var all sync.WaitGroup
		for range 25 {
			all.Go(func() { means(t, fresh(t, c, ref), digest) })
		}
		all.Wait()
	})
	if n := manifests(r, "stable"); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

func TestNewsArriveByThemselves(t *testing.T) {
	r, ref, first := serve(t, registry.Options{})
	_, second := push(t, r, "next", "2")
	via := &switchable{to: r.Transport()}
	synctest.Test(t, func(t *testing.T) {
		var told news
		c := client.New(client.Options{Transport: via, Changed: told.changed})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		look := func() reconciler.Release {
			synctest.Wait()
			got, err := c.Release(ctx, ref, reconciler.Ask{Every: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		means(t, look(), first)
		told.n = nil
		if err := r.Tag(ctx, "app", second, "stable"); err != nil {
			t.Fatal(err)
		}
		means(t, look(), first)
		time.Sleep(time.Minute)
		means(t, look(), second)
		if n := told.of(ref); n != 1 {
			t.Errorf("a move was told %d times", n)
		}
		via.set(nil)
		lost := time.Now()
		for range 60 { // an hour
			time.Sleep(time.Minute)
			look()
		}
		got := look()
		means(t, got, second)
		if got.Err == nil || got.Since.Sub(lost) > time.Minute || told.of(ref) != 2 {
			t.Errorf("lost since %v (told %d times): %v", got.Since.Sub(lost), told.of(ref), got.Err)
		}
		if n := via.count(); n < 4 || n > 30 {
			t.Errorf("a lost registry was tried %d times within an hour", n)
		}
		via.set(r.Transport())
		for range 18 {
			time.Sleep(time.Minute)
			look()
		}
		if got := look(); got.Err != nil || told.of(ref) != 3 {
			t.Errorf("it is back (told %d times): %v", told.of(ref), got.Err)
		}
		cancel()
		<-done
	})
}

// switchable is a network that can be lost.
type switchable struct {
	mu    sync.Mutex
	to    http.RoundTripper
	tries int
}

func (s *switchable) set(to http.RoundTripper) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to, s.tries = to, 0
}

func (s *switchable) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tries
}

func (s *switchable) RoundTrip(q *http.Request) (*http.Response, error) {
	s.mu.Lock()
	to := s.to
	s.tries++
	s.mu.Unlock()
	if to == nil {
		return nil, errors.New("network is unreachable")
	}
	return to.RoundTrip(q)
}

func TestNobodyAsksAndNothingIsSent(t *testing.T) {
	r, ref, _ := serve(t, registry.Options{})
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		c := client.New(client.Options{Transport: via})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		if _, err := c.Release(ctx, ref, reconciler.Ask{Every: time.Minute}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if n := manifests(r, "stable"); n > 20 {
			t.Errorf("asked %d times in a day, though wanted once", n)
		}
		if err := c.Run(ctx); err == nil || errors.Is(err, context.Canceled) {
			t.Errorf("it runs twice: %v", err)
		}
		cancel()
		<-done
	})
}

func TestDeprecationIsNoticedWithinTheHour(t *testing.T) {
	r, ref, _ := serve(t, registry.Options{})
	via := r.Transport()
	synctest.Test(t, func(t *testing.T) {
		var told news
		c := client.New(client.Options{Transport: via, Changed: told.changed})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		for i := range 24 {
			got, err := c.Release(ctx, ref, reconciler.Ask{Every: 24 * time.Hour})
			if err != nil || (i > 12 && got.Deprecated == "") {
				t.Fatalf("after %d quarters: %+v, %v", i, got, err)
			}
			if i == 8 {
				if err := r.Tag(ctx, "app", "stable", "deprecated-2026.01.1"); err != nil {
					t.Fatal(err)
				}
				told.n = nil
			}
			time.Sleep(15 * time.Minute)
		}
		if told.of(ref) != 1 {
			t.Errorf("told %d times", told.of(ref))
		}
		cancel()
		<-done
	})
}

func TestMemoryOverRestarts(t *testing.T) {
	r, ref, digest := serve(t, registry.Options{})
	if err := r.Tag(t.Context(), "app", "stable", "stable-2026.04.3"); err != nil {
		t.Fatal(err)
	}
	mem := newMemory()
	before := fresh(t, client.New(client.Options{Memory: mem}), ref)
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	c := client.New(client.Options{Memory: mem})
	got := ask(t, c, ref, reconciler.Ask{})
	means(t, got, digest)
	if !got.Seen.Equal(before.Seen) || !got.Created.Equal(before.Created) || got.Version != "2026.04.3" || got.Err != nil {
		t.Errorf("remembered %+v, was %+v", got, before)
	}
	lost := fresh(t, c, ref)
	means(t, lost, digest)
	says(t, lost.Err, "reach")
	if again := fresh(t, client.New(client.Options{Memory: mem}), ref); !again.Since.Equal(lost.Since) {
		t.Errorf("since %v after the restart, %v before", again.Since, lost.Since)
	}
	for _, bad := range []string{"{", `[]`, `{"x":1}`, `{"` + ref + `":{"head":"sha256:short"}}`, `{"` + ref + `":{"facts":{"` + here() + `":{"digest":"rm -rf"}}}}`} {
		mem.m[".releases"] = []byte(bad)
		fails(t, client.New(client.Options{Memory: mem}), ref, "reach")
	}
}

func TestMemoryIsWrittenSeldom(t *testing.T) {
	_, ref, _ := serve(t, registry.Options{})
	mem := newMemory()
	c := client.New(client.Options{Memory: mem})
	for range 10 {
		fresh(t, c, ref)
	}
	if mem.puts != 1 {
		t.Errorf("ten equal answers were written %d times", mem.puts)
	}
}

// TestAskerMayLeave ends a question with the last of those who wait for it.
func TestAskerMayLeave(t *testing.T) {
	gone := make(chan struct{})
	arrived := make(chan struct{}, 100)
	_, ref, _ := serve(t, registry.Options{Middleware: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
			arrived <- struct{}{}
			select {
			case <-q.Context().Done():
			case <-gone:
			}
		})
	}})
	defer close(gone)
	c := client.New(client.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := c.Release(ctx, ref, reconciler.Ask{})
		answered <- err
	}()
	<-arrived
	cancel()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the answer is %v", err)
	}
	if s := c.Status(); len(s) != 1 || !s[0].FailingSince.IsZero() {
		t.Errorf("who goes away makes the registry fail: %+v", s)
	}
}

func TestManyReferencesAreAskedFewAtATime(t *testing.T) {
	var mu sync.Mutex
	now, most := 0, 0
	r, _, _ := serve(t, registry.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			next.ServeHTTP(w, q)
			mu.Lock()
			now--
			mu.Unlock()
		})
	}})
	c := client.New(client.Options{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, _ = c.Release(t.Context(), r.Ref("app", fmt.Sprintf("none-%d", i)), reconciler.Ask{})
		})
	}
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most > 5 { // four, and one whose answer is on its way
		t.Errorf("%d requests at once", most)
	}
}
