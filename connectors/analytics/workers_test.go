package analytics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

func code(err error) string {
	var said *wire.Error
	if errors.As(err, &said) {
		return said.Code
	}
	return ""
}

// furnish attaches one source, and has one worker.
func (h *house) furnish() {
	h.Helper()
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	h.expect("read orders", "v1")
}

// A worker that is killed while it is idle is replaced, and whoever asks in that
// moment is answered by another.
func TestIdleWorkerKilled(t *testing.T) {
	h := newHouse(t, Options{})
	h.furnish()
	for range 20 {
		for _, pid := range h.pids() {
			must(t, syscall.Kill(pid, syscall.SIGKILL))
		}
		h.expect("read orders", "v1")
	}
	for _, pid := range h.pids() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	h.until("another takes its place by itself", func() bool { return len(h.pids()) == 1 && !h.attached("shop").Behind })
}

// A query whose worker somebody kills is asked of another one; one that has every
// worker killed, as by the kernel for its memory, is not asked for ever.
func TestWorkerKilledInAQuery(t *testing.T) {
	h := newHouse(t, Options{Workers: 1})
	h.furnish()
	before := h.pids()[0]
	answered := make(chan error, 1)
	go func() { _, err := h.ask("ada", "sleep 400ms"); answered <- err }()
	h.until("the query runs", func() bool { return h.busy() == 1 })
	must(t, syscall.Kill(before, syscall.SIGKILL))
	must(t, <-answered)
	if now := h.pids(); len(now) != 1 || now[0] == before {
		t.Fatalf("workers %v", now)
	}
	if _, err := h.ask("ada", "suicide"); code(err) != wire.CodeFatal || !strings.Contains(err.Error(), "signal: killed") {
		t.Fatalf("the query got %v", err)
	}
	h.expect("read orders", "v1")
}

func (h *house) busy() (n int) {
	i, err := h.instance(inst)
	must(h, err)
	i.pool.mu.Lock()
	defer i.pool.mu.Unlock()
	for w := range i.all {
		if w.user != "" {
			n++
		}
	}
	return n
}

// What a query does to its worker is told to its user and touches nobody else.
func TestQueriesThatEndTheirWorker(t *testing.T) {
	h := newHouse(t, Options{Workers: 2})
	h.furnish()
	for _, test := range []struct{ sql, code, text string }{
		{"crash", wire.CodeFatal, "a bug"},
		{"fatal", wire.CodeFatal, "invalidated"},
		{"hang", wire.CodeDeadline, "longer than 50ms"},
		{"refuse", wire.CodeRefused, "not a SELECT"},
	} {
		var out bytes.Buffer
		begun, deadline := time.Now(), 50*time.Second
		if test.code == wire.CodeDeadline {
			deadline = 50 * time.Millisecond
		}
		_, err := h.Query(t.Context(), inst, Query{SQL: test.sql, User: "eve", Deadline: deadline}, &out)
		if code(err) != test.code || !strings.Contains(err.Error(), test.text) || out.Len() > 0 {
			t.Errorf("%s: %v, wrote %d", test.sql, err, out.Len())
		}
		if took := time.Since(begun); took > 45*time.Second {
			t.Errorf("%s took %s", test.sql, took)
		}
		h.expect("read orders", "v1")
	}
}

// Who goes away does not keep a worker, and one that ends soon is not ended.
func TestClientGone(t *testing.T) {
	h := newHouse(t, Options{Workers: 1})
	h.furnish()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { h.until("the query runs", func() bool { return h.busy() == 1 }); cancel() }()
	if _, err := h.Query(ctx, inst, Query{SQL: "hang", User: "ada"}, io.Discard); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	h.expect("read orders", "v1")
}

// slowReader takes what it is given only when it is let.
type slowReader struct {
	began chan Result
	let   chan struct{}
	n     int
}

func (s *slowReader) Begin(r Result) error { s.began <- r; return nil }
func (s *slowReader) Write(p []byte) (int, error) {
	<-s.let
	s.n += len(p)
	return len(p), nil
}

// A result that nobody reads holds no worker, and is whole.
func TestSlowReaderHoldsNoWorker(t *testing.T) {
	h := newHouse(t, Options{Workers: 1})
	h.furnish()
	slow := &slowReader{began: make(chan Result), let: make(chan struct{})}
	ended := make(chan error, 1)
	go func() {
		_, err := h.Query(context.Background(), inst, Query{SQL: "big 5000000"}, slow)
		ended <- err
	}()
	if r := <-slow.began; len(r.Columns) != 1 || r.Rows != 1 {
		t.Errorf("result %+v", r)
	}
	h.expect("read orders", "v1")
	close(slow.let)
	if err := <-ended; err != nil || slow.n != 5000000 {
		t.Fatalf("%d bytes, %v", slow.n, err)
	}
}

// One user cannot hold all workers, nor all places; the answer says when to come
// again.
func TestOneUserLeavesRoom(t *testing.T) {
	h := newHouse(t, Options{Workers: 2, MaxWaiting: 10, MaxWaitingUser: 3})
	h.furnish()
	ctx, cancel := context.WithCancel(t.Context())
	var eve sync.WaitGroup
	for range 4 { // one runs, three wait
		eve.Go(func() { _, _ = h.Query(ctx, inst, Query{SQL: "hang", User: "eve"}, io.Discard) })
	}
	i, err := h.instance(inst)
	must(t, err)
	h.until("three wait", func() bool {
		i.pool.mu.Lock()
		defer i.pool.mu.Unlock()
		return i.queue.length == 3
	})
	var busy ErrBusy
	if _, err := h.ask("eve", "read orders"); !errors.As(err, &busy) || busy.RetryAfter < time.Second || busy.Waiting != 3 {
		t.Fatalf("a fifth of hers: %v", err)
	}
	for range 20 {
		h.expect("read orders", "v1") // ada's
	}
	cancel()
	eve.Wait()
}

func TestNobodyWaitsForEver(t *testing.T) {
	h := newHouse(t, Options{Workers: 1, MaxWait: 100 * time.Millisecond})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	h.until("a worker is there", func() bool { _, err := h.ask("ada", "read orders"); return err == nil })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = h.Query(ctx, inst, Query{SQL: "hang", User: "eve"}, io.Discard) }()
	h.until("the query runs", func() bool { return h.busy() == 1 })
	var busy ErrBusy
	if _, err := h.ask("ada", "read orders"); !errors.As(err, &busy) {
		t.Fatal(err)
	}
	cancel()
	<-ended
}

// More workers come under load and go again; one stays while there is something.
func TestWorkersFollowTheLoad(t *testing.T) {
	h := newHouse(t, Options{Workers: 4, Idle: time.Nanosecond})
	h.furnish()
	var users sync.WaitGroup
	for n := range 4 {
		users.Go(func() {
			if _, err := h.ask(fmt.Sprint("user", n), "sleep 300ms"); err != nil {
				t.Error(err)
			}
		})
	}
	h.until("there are more", func() bool { return len(h.pids()) > 1 })
	users.Wait()
	i, err := h.instance(inst)
	must(t, err)
	h.until("one stays", func() bool { i.tidy(time.Now()); return len(h.pids()) == 1 })
	h.Keep(inst, nil)
	h.until("none stays", func() bool { i.tidy(time.Now()); return len(h.pids()) == 0 })
	if _, err := h.ask("ada", "pid"); err != nil { // somebody asks
		t.Fatal(err)
	}
}

// Without a program to start, who asks is told, and once it is there all is well.
func TestWorkersThatDoNotStart(t *testing.T) {
	link := t.TempDir() + "/fairlead"
	h := newHouse(t, Options{Command: []string{link, "plain"}, build: plainBuild})
	h.Keep(inst, map[string]string{"shop": "a"})
	h.publish("shop", "a", "orders", "v1")
	if _, err := h.ask("ada", "read orders"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatalf("it said %v", err)
	}
	if at := h.attached("shop"); !at.Behind || at.Generation != 0 || !strings.Contains(at.Problem, "no such file") {
		t.Fatalf("attached %+v", at)
	}
	must(t, os.Symlink(self(t), link))
	h.until("it is attached", func() bool { return h.attached("shop").Generation == 1 })
	h.expect("read orders", "v1")
}

// While sources are published anew all the time, no query fails, each sees what is
// there or what was there a moment ago, and nothing grows.
func TestRepublishedUnderLoad(t *testing.T) {
	republish(t, 60, Options{build: plainBuild})
}

func republish(t testing.TB, times int, o Options) {
	h := newHouse(t, o)
	sources := []string{"shop", "blog", "crm"}
	want := map[string]string{}
	for _, s := range sources {
		want[s] = "a"
	}
	h.Keep(inst, want)
	for _, s := range sources {
		h.publish(s, "a", s+"_t", "000000")
	}
	done := make(chan struct{})
	var asked, failed atomic.Int64
	var clients sync.WaitGroup
	for n := range 8 {
		clients.Go(func() {
			last := map[string]string{}
			for at := 0; ; at++ {
				select {
				case <-done:
					return
				default:
				}
				s := sources[at%len(sources)]
				got, err := h.ask(fmt.Sprint("user", n%4), "read "+s+"_t")
				if asked.Add(1); err != nil || got < last[s] {
					failed.Add(1)
					t.Errorf("%s: %q after %q, %v", s, got, last[s], err)
				}
				last[s] = got
			}
		})
	}
	var fds int
	for n := 1; n <= times; n++ {
		s := sources[n%len(sources)]
		h.publish(s, "a", s+"_t", fmt.Sprintf("%06d", n))
		if n == times/3 {
			fds = descriptors(t)
		}
	}
	now := descriptors(t)
	close(done)
	clients.Wait()
	if t.Logf("%d publications, %d queries, %d failed, %d descriptors and %d", times, asked.Load(), failed.Load(), fds, now); now > fds+16 {
		t.Errorf("%d descriptors are open, and %d were", now, fds)
	}
	for _, s := range sources {
		if list, err := h.Generations(inst, s); err != nil || len(list) > 4 {
			t.Errorf("%s has %d generations, %v", s, len(list), err)
		}
	}
	if asked.Load() < int64(times) {
		t.Errorf("only %d queries", asked.Load())
	}
}
