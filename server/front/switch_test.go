package front

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/reconciler"
)

// load asks without a pause until it is ended, and counts what goes wrong.
type load struct {
	ok     atomic.Int64
	mu     sync.Mutex
	failed []string
	end    context.CancelFunc
	wait   sync.WaitGroup
}

func (l *load) fail(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, fmt.Sprintf(format, args...))
}

// underLoad starts clients of both protocols, each of which reads and writes.
func underLoad(h *harness, clients int) *load {
	ctx, cancel := context.WithCancel(h.t.Context())
	l := &load{end: cancel}
	for i := range clients {
		c := h.client(i%2 == 0)
		l.wait.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				l.ask(c, n)
			}
			c.CloseIdleConnections()
		})
	}
	return l
}

func (l *load) ask(c *http.Client, n int) {
	method, body := http.MethodGet, ""
	if n%3 == 0 {
		method, body = http.MethodPost, strings.Repeat("x", 1000)
	}
	r, err := http.NewRequest(method, "https://app.test/", strings.NewReader(body))
	if err != nil {
		l.fail("%v", err)
		return
	}
	res, err := c.Do(r)
	if err != nil {
		l.fail("%s: %v", method, err)
		return
	}
	got, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || string(got) != fmt.Sprint(len(body)) {
		l.fail("%s: %d %q %v", method, res.StatusCode, got, err)
		return
	}
	l.ok.Add(1)
}

func (l *load) finish(t *testing.T) {
	t.Helper()
	l.end()
	l.wait.Wait()
	for _, f := range l.failed[:min(len(l.failed), 5)] {
		t.Error(f)
	}
	t.Logf("%d requests served, %d failed", l.ok.Load(), len(l.failed))
	if l.ok.Load() == 0 || len(l.failed) > 0 {
		t.Errorf("%d requests served, %d failed", l.ok.Load(), len(l.failed))
	}
}

// strict answers with the length of the body. It tells when a request comes to
// it after it was drained.
type strict struct {
	*backend
	stopped atomic.Bool
	late    *atomic.Int64
}

func newStrict(t *testing.T, id string, late *atomic.Int64) *strict {
	s := &strict{late: late}
	s.backend = newBackend(t, id, func(w http.ResponseWriter, r *http.Request) {
		if s.stopped.Load() {
			s.late.Add(1)
		}
		n, _ := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n)
	})
	return s
}

func (s *strict) kill() { _ = s.Close() }

const switches = 500 // each way

// switchMany switches under load, and then looks for what was left behind.
func switchMany(t *testing.T, step func(h *harness, old, next *strict) error) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	h := start(t, Options{})
	var late atomic.Int64
	old := newStrict(t, "0", &late)
	h.set(routeTo(old.backend))
	h.front.Ready()
	l := underLoad(h, 8)
	for i := 1; i <= switches; i++ {
		next := newStrict(t, fmt.Sprint(i), &late)
		if err := step(h, old, next); err != nil {
			t.Fatalf("switch %d: %v", i, err)
		}
		old = next
		served := l.ok.Load() // every container has requests in flight when it goes
		eventually(t, "requests are served", func() bool { return l.ok.Load() >= served+8 })
	}
	l.finish(t)
	if n := late.Load(); n > 0 {
		t.Errorf("%d requests came to a container that was drained", n)
	}
	h.noLeak()
	h.stop()
	old.kill()
}

// noLeak looks at what the front keeps: one endpoint, and nothing that waits.
func (h *harness) noLeak() {
	h.t.Helper()
	f := h.front
	f.mu.Lock()
	defer f.mu.Unlock()
	inst := f.instances["acme"]
	inst.sweep()
	if len(inst.endpoints) != 1 || len(inst.leaving) != 0 || f.held != 0 || f.heldBytes != 0 {
		h.t.Errorf("left: %d endpoints, %d leaving, %d held with %d bytes", len(inst.endpoints), len(inst.leaving), f.held, f.heldBytes)
	}
	for _, ep := range inst.endpoints {
		if n := ep.inflight.Load(); n != 0 {
			h.t.Errorf("%d requests in flight", n)
		}
	}
}

func TestSwitchesStartFirst(t *testing.T) {
	switchMany(t, func(h *harness, old, next *strict) error {
		h.set(routeTo(old.backend, next.backend))
		if err := h.front.Drain(t.Context(), "acme", old.id); err != nil {
			return err
		}
		old.stopped.Store(true)
		old.kill()
		h.set(routeTo(next.backend))
		return nil
	})
}

func TestSwitchesStopFirst(t *testing.T) {
	switchMany(t, func(h *harness, old, next *strict) error {
		if err := h.front.Drain(t.Context(), "acme", old.id); err != nil {
			return err
		}
		old.stopped.Store(true)
		old.kill()
		h.set(routeTo()) // a pass that finds nothing that runs
		eventually(t, "requests are held", func() bool { return h.held() >= 4 })
		h.set(routeTo(next.backend))
		return nil
	})
}

// A container that is gone before anybody said so costs no request either, as
// long as nothing had been sent to it.
func TestKilledWithoutDrain(t *testing.T) {
	h := start(t, Options{})
	old := newBackend(t, "old", hello("old"))
	h.set(routeTo(old))
	c := h.client(true)
	mustGet(t, c, "https://app.test/", 200, "old")
	_ = old.Close()
	// Until the front has seen that its idle connection ended, a request may be
	// written to it, and one with a body is not sent a second time.
	eventually(t, "the idle connection is gone", func() bool { return h.connections() == 0 })
	done := background(func() error {
		res, err := c.Post("https://app.test/", "text/plain", strings.NewReader("body"))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return want(200, "again", res.StatusCode, string(b), err)
	})
	eventually(t, "the request is held", func() bool { return h.held() == 1 })
	// The same address accepts again: a probe finds out without a Set.
	serveBackend(t, "old", listenAt(t, old.address.String()), hello("again"))
	await(t, "held request", done)
	if g := h.front.Gaps("acme", time.Time{}); len(g) != 1 || g[0].Held != 1 {
		t.Errorf("gaps: %+v", g)
	}
}

// connections are those to containers that are open.
func (h *harness) connections() (n int) {
	h.front.mu.Lock()
	defer h.front.mu.Unlock()
	for _, inst := range h.front.instances {
		for _, ep := range inst.endpoints {
			ep.mu.Lock()
			n += len(ep.conns)
			ep.mu.Unlock()
		}
	}
	return n
}

func TestRefusedByOneIsServedByAnother(t *testing.T) {
	h := start(t, Options{})
	dead, alive := newBackend(t, "dead", hello("dead")), newBackend(t, "alive", hello("alive"))
	_ = dead.Close()
	h.set(routeTo(dead, alive))
	c := h.client(false)
	for range 20 {
		mustGet(t, c, "https://app.test/", 200, "alive")
	}
	if g := h.front.Gaps("acme", time.Time{}); len(g) != 0 {
		t.Errorf("gaps: %+v", g)
	}
}

// What was sent once is not sent again, unless that can do no harm.
func TestBrokenAnswers(t *testing.T) {
	h := start(t, Options{})
	var calls atomic.Int64
	b := newBackend(t, "b", func(http.ResponseWriter, *http.Request) {
		calls.Add(1)
		panic(http.ErrAbortHandler)
	})
	h.set(routeTo(b))
	c := h.client(true)
	mustGet(t, c, "https://app.test/", http.StatusBadGateway, "")
	if n := calls.Swap(0); n != 2 {
		t.Errorf("GET was sent %d times, want 2", n)
	}
	res, err := c.Post("https://app.test/", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if n := calls.Load(); res.StatusCode != http.StatusBadGateway || n != 1 {
		t.Errorf("POST: %d, sent %d times", res.StatusCode, n)
	}
}

func TestSetSaysWhatShouldBe(t *testing.T) {
	h := start(t, Options{})
	one := newBackend(t, "one", hello("one"))
	h.set(routeTo(one))
	before := h.front.table.Load()
	h.set(routeTo(one))
	if h.front.table.Load() != before {
		t.Error("the same Set made another table")
	}
	if err := h.front.Drain(t.Context(), "acme", "one"); err != nil {
		t.Fatal(err)
	}
	h.set(routeTo(one))
	h.front.Ready()
	c := h.client(true)
	mustGet(t, c, "https://app.test/", 200, "one")
	h.front.Set("acme", nil)
	mustGet(t, c, "https://app.test/", http.StatusMisdirectedRequest, "")
	h.front.Set("other", []reconciler.Route{routeTo(one)})
	mustGet(t, c, "https://app.test/", 200, "one")
	h.front.Set("acme", []reconciler.Route{routeTo()}) // claims what is taken
	mustGet(t, c, "https://app.test/", 200, "one")
	h.front.Set("other", nil)
	if rt := h.front.table.Load().hosts["app.test"]; rt == nil || rt.instance != "acme" {
		t.Errorf("the other claim does not come into force: %+v", rt)
	}
}
