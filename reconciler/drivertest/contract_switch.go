package drivertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/reconciler"
)

// watch is a Switch that writes down what it is asked, and finds fault with
// what is not as it should be at that time.
type watch struct {
	b      *bench
	mu     sync.Mutex
	calls  []string
	faults []string
	leave  error
	ready  error
}

// watch makes the target ask a new watch.
func (b *bench) watch(t *reconciler.Target) *watch {
	w := &watch{b: b}
	t.Switch = w
	return w
}

func (w *watch) Leave(_ context.Context, t reconciler.Target, c reconciler.Container) error {
	w.note("leave", t, c)
	return w.leave
}

func (w *watch) Ready(_ context.Context, t reconciler.Target, c reconciler.Container) error {
	w.note("ready", t, c)
	if !w.b.Alive(t.Spec.ContainerName(c.Service, c.Replica)) {
		w.fault("the one that serves is gone before %s took over", c.Name)
	}
	return w.ready
}

func (w *watch) note(what string, t reconciler.Target, c reconciler.Container) {
	if !w.b.Alive(c.Name) {
		w.fault("%s of %s, which does not run", what, c.Name)
	}
	if c.ID == "" || c.Service == "" || c.Replica == 0 || c.State != reconciler.StateRunning || t.Spec.Name != w.b.Instance {
		w.fault("%s of %+v for %s", what, c, t.Spec.Name)
	}
	if a := c.Addresses[w.b.network()]; !a.IsValid() {
		w.fault("%s of %s without an address on %s: %v", what, c.Name, w.b.network(), c.Addresses)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprintf("%s %s %s", what, c.Name, c.ID))
}

func (w *watch) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// check fails the test for every fault that was found.
func (w *watch) check() {
	w.b.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.faults) > 0 {
		w.b.Fatal(strings.Join(w.faults, "\n"))
	}
}

// asked checks what was asked since the last time, as "VERB NAME ID".
func (w *watch) asked(want ...string) {
	w.b.Helper()
	w.check()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.calls, want) {
		w.b.Fatalf("asked %q, want %q", w.calls, want)
	}
	w.calls = nil
}

func (b *bench) switchStopFirst() {
	one := b.target(1, b.web(KindPlain, 1))
	w := b.watch(&one)
	one = b.deploy(one)
	w.asked() // nothing was stopped
	old := b.serves(one, "web")
	two := b.target(2, b.web(KindPlain, 2))
	two.Switch = w
	two = b.prepare(two)
	b.must(b.apply(two), "replace")
	w.asked("leave " + b.name("web") + " " + old)
	next := b.serves(two, "web")
	b.must(b.apply(one), "undo")
	w.asked("leave " + b.name("web") + " " + next)
	b.must(b.Driver.Settle(b.Context(), one), "settle")
	w.asked()
	b.must(b.Driver.Remove(b.Context(), two, b.container(reconciler.Remove, "web", 1)), "remove")
	w.asked("leave " + b.name("web") + " " + old)
}

func (b *bench) firstTarget(generation int, k Kind, v int) reconciler.Target {
	s := b.web(k, v)
	s.UpdateOrder = "start-first"
	return b.target(generation, s)
}

func (b *bench) switchStartFirst() {
	one := b.deploy(b.firstTarget(1, KindPlain, 1))
	old, name := b.serves(one, "web"), b.name("web")
	bad := b.firstTarget(2, KindUnhealthy, 2)
	w := b.watch(&bad)
	bad = b.prepare(bad)
	b.notReady(b.Driver.Ensure(b.Context(), bad, b.container(reconciler.Replace, "web", 1)), "health")
	w.asked() // it never was ready, and the old one stays
	two := b.firstTarget(3, KindHealthy, 3)
	two.Switch = w
	two = b.prepare(two)
	b.must(b.apply(two), "replace")
	id := b.serves(two, "web")
	w.asked("ready "+name+".next "+id, "leave "+name+" "+old)
}

// switchRefuses: what is refused is not done.
func (b *bench) switchRefuses() {
	one := b.deploy(b.firstTarget(1, KindPlain, 1))
	old := b.serves(one, "web")
	two := b.firstTarget(2, KindPlain, 2)
	w := b.watch(&two)
	two = b.prepare(two)
	w.ready = fmt.Errorf("smoke: %w", &reconciler.NotReady{Container: "web", Phase: "smoke", Reason: "step 1: status 500"})
	b.notReady(b.Driver.Ensure(b.Context(), two, b.container(reconciler.Replace, "web", 1)), "smoke")
	w.check()
	if b.serves(one, "web") != old || len(b.observe(false).Containers) != 1 {
		b.Fatalf("after a replacement that was refused: %+v", b.observe(false).Containers)
	}
	w.ready, w.leave = nil, errors.New("the front is stuck")
	for _, do := range []func() error{
		func() error { return b.apply(two) },
		func() error { return b.Driver.Remove(b.Context(), two, b.container(reconciler.Remove, "web", 1)) },
	} {
		if err := do(); !errors.Is(err, w.leave) {
			b.Fatalf("error is %v, want that of Leave", err)
		}
		w.check()
		if b.serves(one, "web") != old {
			b.Fatal("a container was stopped to which requests may be led")
		}
	}
	w.leave = nil
	b.must(b.apply(two), "go on")
	b.serves(two, "web")
}

// noSwitch: what does not run is not asked for.
func (b *bench) noSwitch() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	two := b.target(2, b.web(KindPlain, 2))
	w := b.watch(&two)
	one.Switch = w
	two = b.prepare(two)
	b.Hands.Kill(b.name("web"))
	b.must(b.apply(one), "heal")
	w.asked()
	b.Hands.Kill(b.name("web"))
	b.must(b.apply(two), "replace what does not run")
	w.asked()
	b.serves(two, "web")
}

// switchNetwork: a container that loses its address is left first, too.
func (b *bench) switchNetwork() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	old := b.serves(one, "web")
	two := b.target(2, b.web(KindPlain, 1))
	net := two.Spec.Networks["default"]
	net.Internal = true
	two.Spec.Networks["default"] = net
	w := b.watch(&two)
	two = b.prepare(two)
	b.must(b.ensureShared(two), "make the network anew")
	w.asked("leave " + b.name("web") + " " + old)
	b.must(b.apply(two), "apply")
	if got := b.serves(two, "web"); got != old || !b.current("web").Addresses[b.network()].IsValid() {
		b.Fatalf("after the network was made anew: %+v", b.current("web"))
	}
}

func (b *bench) addresses() {
	port := ports.Test(b)
	host := b.web(KindPlain, 1)
	host.Name, host.NetworkMode, host.Environment = "host", "host", map[string]string{"PORT": port}
	side := b.web(KindPlain, 1)
	side.Name, side.NetworkMode, side.Environment = "side", "service:web", map[string]string{"PORT": "8001"}
	alone := b.web(KindPlain, 1)
	alone.Name, alone.NetworkMode = "alone", "none"
	t := b.target(1, b.web(KindPlain, 1), host, alone)
	b.deploy(t)
	side.Replicas = 1
	t.Spec.Services["side"] = side // made after the container that it shares with
	t = b.deploy(t)
	for _, deep := range []bool{false, true} {
		seen := map[string]map[string]netip.Addr{}
		for _, c := range b.observe(deep).Containers {
			seen[c.Service] = c.Addresses
		}
		web := seen["web"][b.network()]
		if !web.IsValid() || len(seen["web"]) != 1 || seen["side"][b.network()] != web || len(seen["alone"]) != 0 ||
			seen["host"]["host"] != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
			b.Fatalf("deep %t: addresses %v", deep, seen)
		}
		b.answers(web)
	}
	b.Hands.Stop(b.name("web"))
	for _, c := range b.observe(false).Containers {
		if c.Service == "web" && len(c.Addresses) != 0 {
			b.Fatalf("addresses of a container that does not run: %v", c.Addresses)
		}
	}
	b.must(b.apply(t), "heal")
	b.answers(b.current("web").Addresses[b.network()])
}

// answers waits until somebody listens where the images do.
func (b *bench) answers(at netip.Addr) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	for {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(at, DefaultPort).String())
		if err == nil {
			conn.Close()
			return
		}
		if pause(ctx) != nil {
			b.Fatalf("nobody answers at %s: %v", at, err)
		}
	}
}

// lockHeld: a lock that outlives its container keeps the successor away.
func (b *bench) lockHeld() {
	svc := func(v int) desired.Service {
		s := b.web(KindPlain, v)
		s.Locks = []string{"/data/never-made.duckdb", "/data/system.duckdb"}
		return s
	}
	one := b.deploy(b.target(1, svc(1)))
	old, name := b.serves(one, "web"), b.name("web")
	two := b.prepare(b.target(2, svc(2)))
	release := b.Lock(name, "/data/system.duckdb")
	err := b.apply(two)
	if err == nil || !strings.Contains(err.Error(), "/data/system.duckdb") || reconciler.IsTerminal(err) {
		b.Fatalf("with a lock that is held: %v, want an error that names the file and is tried again", err)
	}
	for _, c := range b.observe(false).Containers {
		if c.State == reconciler.StateRunning {
			b.Fatalf("%s was started beside a lock that is held", c.Name)
		}
	}
	if err := b.apply(two); err == nil {
		b.Fatal("the second attempt does not ask for the lock")
	}
	time.AfterFunc(300*time.Millisecond, release)
	b.must(b.apply(two), "go on")
	b.serves(two, "web")
	b.must(b.apply(one), "undo")
	if b.serves(one, "web") != old {
		b.Fatal("the undo did not bring the old container back")
	}
}

func (b *bench) singleWriter() {
	s := b.web(KindPlain, 1)
	s.Locks = []string{"/data/system.duckdb"}
	first := s
	first.UpdateOrder = "start-first"
	twice := s
	twice.Replicas = 2
	for _, bad := range []desired.Service{first, twice} {
		if _, err := b.Driver.Prepare(b.Context(), b.target(1, bad), nil); !reconciler.IsTerminal(err) {
			b.Fatalf("a single writer that would run twice: %v, want a terminal error", err)
		}
	}
	b.prepare(b.target(1, s))
}
