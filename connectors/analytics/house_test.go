package analytics

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/connectors"
)

// house is the data of one instance with real children.
type house struct {
	testing.TB
	*Analytics
	dir    string
	mu     sync.Mutex
	events []Event
}

const inst = "acme"

// newHouse starts it; at the end of the test nothing of it is left: no goroutine,
// no process, no descriptor, no temporary file.
func newHouse(t testing.TB, o Options) *house {
	t.Helper()
	return newHouseIn(t, t.TempDir(), o)
}

func newHouseIn(t testing.TB, dir string, o Options) *house {
	t.Helper()
	ignore := goleak.IgnoreCurrent()
	h := &house{TB: t, dir: dir}
	o.Dir = func(string) string { return dir }
	if o.Command == nil {
		o.Command = []string{self(t), "plain"}
	}
	o.Event = func(e Event) { h.mu.Lock(); defer h.mu.Unlock(); h.events = append(h.events, e) }
	o.noGroups = true // they would be in the group of whoever runs the tests
	set(&o.Inspect, time.Hour)
	set(&o.MinFree, -1) // the disk of whoever runs the tests may be full
	set(&o.ExportAfter, time.Hour)
	h.Analytics = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		pids := h.pids()
		cancel()
		must(t, <-ended)
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("child %d is still there", pid)
			}
		}
		left, _ := filepath.Glob(filepath.Join(dir, analyticsDir, childrenDir, "*"))
		if len(left) > 0 {
			t.Errorf("left %v", left)
		}
		goleak.VerifyNone(t, ignore)
	})
	return h
}

// run is a publication of tables with texts.
func (h *house) run(source, identity string, tables ...string) connectors.Publication {
	h.Helper()
	dir := h.TempDir()
	for n := 0; n < len(tables); n += 2 {
		must(h, os.WriteFile(filepath.Join(dir, tables[n]), []byte(tables[n+1]), 0o600))
	}
	return connectors.Publication{Instance: inst, Source: source, Identity: identity, Dir: dir, Keep: 3}
}

func (h *house) publish(source, identity string, tables ...string) int {
	h.Helper()
	done, err := h.Publish(h.Context(), h.run(source, identity, tables...))
	must(h, err)
	return done.Generation
}

func (h *house) ask(user, sql string) (string, error) {
	var out bytes.Buffer
	_, err := h.Query(context.Background(), inst, Query{SQL: sql, User: user}, &out)
	return out.String(), err
}

func (h *house) expect(sql, want string) {
	h.Helper()
	if got, err := h.ask("ada", sql); err != nil || got != want {
		h.Fatalf("%s: %q, %v; want %q", sql, got, err, want)
	}
}

// attached is what is told of a source.
func (h *house) attached(source string) connectors.Attached {
	for _, a := range h.Attached(inst) {
		if a.Source == source {
			return a
		}
	}
	return connectors.Attached{}
}

// until waits for something that comes by itself.
func (h *house) until(what string, ok func() bool) {
	h.Helper()
	limit, again := time.After(60*time.Second), time.NewTicker(2*time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-limit:
			h.Fatalf("not within a minute: %s\n%+v", what, h.Attached(inst))
		case <-again.C:
		}
	}
}

// pids are the workers that are there.
func (h *house) pids() (list []int) {
	h.Analytics.mu.Lock()
	i := h.instances[inst]
	h.Analytics.mu.Unlock()
	if i == nil {
		return nil
	}
	i.pool.mu.Lock()
	defer i.pool.mu.Unlock()
	for w := range i.all {
		if !w.isDead() {
			list = append(list, w.cmd.Process.Pid)
		}
	}
	return list
}

func (h *house) reported(reason string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range h.events {
		if e.Reason == reason {
			n++
		}
	}
	return n
}

// descriptors is how many this process has open.
func descriptors(t testing.TB) int {
	t.Helper()
	runtime.GC()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// resident is the memory of a process, in bytes.
func resident(t testing.TB, pid int) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	must(t, err)
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	must(t, err)
	return pages * int64(os.Getpagesize())
}
