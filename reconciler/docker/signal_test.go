package docker_test

import (
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// until waits for what the engine does in its own time.
func (r *rig) until(what string, ok func() bool) {
	r.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			r.Fatalf("it never came that %s", what)
		}
	}
}

func TestSignalAndAddresses(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: ref, Replicas: 2}, desired.Service{Name: "app", Image: ref}))
	first, second, other := r.instance+"-web-1", r.instance+"-web-2", r.instance+"-app-1"
	addrs := func() []netip.Addr {
		t.Helper()
		list, err := r.engine.Addresses(t.Context(), r.instance, "web")
		r.check(err)
		return list
	}
	at := func(name string) netip.Addr {
		t.Helper()
		return netip.MustParseAddr(r.inspect(name).NetworkSettings.Networks[r.instance+"_default"].IPAddress)
	}
	signal := func(service, name string, want int) {
		t.Helper()
		n, err := r.engine.Signal(t.Context(), r.instance, service, name)
		if err != nil || n != want {
			t.Fatalf("signalled %d with %s, want %d: %v", n, name, want, err)
		}
	}
	both := []netip.Addr{at(first), at(second)}
	slices.SortFunc(both, netip.Addr.Compare)
	if got := addrs(); !slices.Equal(got, both) {
		t.Errorf("addresses %v, want %v", got, both)
	}
	// SIGURG is heeded by every Go program and ends none.
	signal("web", "SIGURG", 2)
	signal("web", "urg", 2)
	signal("none", "SIGURG", 0)
	if !r.alive(first) || !r.alive(second) {
		t.Fatal("the signal ended it")
	}
	// One that ends it shows that it arrived, at all of this service and no other.
	r.Pause(second)
	signal("web", "SIGINT", 1)
	r.until("the first has ended", func() bool { return !r.alive(first) })
	if got := addrs(); len(got) != 0 {
		t.Errorf("addresses %v of one that has ended and one that is paused", got)
	}
	signal("web", "SIGURG", 0)
	if !r.alive(other) || !r.alive(second) {
		t.Error("another container was signalled")
	}
	// It is brought back, whatever the engine made of the signal.
	r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}))
	if got := addrs(); len(got) != 1 || got[0] != at(first) {
		t.Errorf("addresses %v", got)
	}
}

// Whoever has taken a container's name or place is not signalled, nor is what
// another daemon owns.
func TestSignalReachesOnlyOurs(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1)}))
	name := r.instance + "-web-1"
	elsewhere, err := docker.New(docker.Options{Owner: "/elsewhere"})
	r.check(err)
	n, err := elsewhere.Signal(t.Context(), r.instance, "web", "SIGINT")
	if err != nil || n != 0 {
		t.Errorf("another daemon's container: %d, %v", n, err)
	}
	list, err := elsewhere.Addresses(t.Context(), r.instance, "web")
	if err != nil || len(list) > 0 {
		t.Errorf("addresses of another daemon's container: %v, %v", list, err)
	}
	if n, err := r.engine.Signal(t.Context(), r.instance+"x", "web", "SIGINT"); err != nil || n != 0 {
		t.Errorf("another instance's container: %d, %v", n, err)
	}
	aside := name + swap.PreviousSuffix // as one that was replaced
	r.Rename(name, aside)
	r.AddForeign(name, "stranger")
	if n, err := r.engine.Signal(t.Context(), r.instance, "web", "SIGINT"); err != nil || n != 0 {
		t.Errorf("one that was replaced: %d, %v", n, err)
	}
	if !r.alive(name) || !r.alive(aside) {
		t.Error("one that is not meant was signalled")
	}
}

func TestSignalOfHostNetwork(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), NetworkMode: "host",
		Environment: map[string]string{"PORT": ports.Test(t)}}))
	list, err := r.engine.Addresses(t.Context(), r.instance, "web")
	if err != nil || !slices.Equal(list, []netip.Addr{netip.MustParseAddr("127.0.0.1")}) {
		t.Errorf("addresses %v, %v", list, err)
	}
}

func TestSignalsThatAreNone(t *testing.T) {
	e, err := docker.New(docker.Options{Owner: "/x", Host: "unix:///nowhere.sock"})
	if err != nil {
		t.Fatal(err)
	}
	for signal, says := range map[string]string{
		"": "no signal", "SIGNONE": "no signal", "SIGSIGHUP": "no signal", "1": "is a number", "-1": "is a number", "HUP; rm": "no signal",
		"SIGKILL": "cannot have it reload", "kill": "cannot have it reload", "STOP": "cannot have it reload",
	} {
		if _, err := e.Signal(t.Context(), "acme", "web", signal); !reconciler.IsTerminal(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", signal, err, says)
		}
	}
	for _, signal := range []string{"SIGHUP", "hup", "USR1", "SIGUSR2", "SIGWINCH"} { // good, but nobody is there
		if _, err := e.Signal(t.Context(), "acme", "web", signal); !docker.IsUnreachable(err) {
			t.Errorf("%q: %v", signal, err)
		}
	}
	if _, err := e.Addresses(t.Context(), "acme", "web"); !docker.IsUnreachable(err) {
		t.Errorf("addresses: %v", err)
	}
}

// The engine takes any signal for somebody's wish that the container stay
// stopped (moby issue 41302): with restart: unless-stopped it is not started
// again when it ends. The next pass starts it.
func TestSignalledContainerComesBack(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	tgt := r.deploy(r.target(desired.Service{Name: "web", Image: r.images(drivertest.KindPlain, 1), Restart: desired.Restart{Name: "unless-stopped"}}))
	name := r.instance + "-web-1"
	n, err := r.engine.Signal(t.Context(), r.instance, "web", "SIGURG")
	if err != nil || n != 1 {
		t.Fatalf("signalled %d: %v", n, err)
	}
	before := r.inspect(name)
	r.check(syscall.Kill(before.State.Pid, syscall.SIGKILL)) // a crash, as the engine sees it
	r.until("the engine saw it end", func() bool {
		in := r.inspect(name)
		return !in.State.Running || in.State.StartedAt != before.State.StartedAt
	})
	revived := r.inspect(name).State.Running
	r.check(r.engine.Ensure(t.Context(), tgt, reconciler.Action{Kind: reconciler.KindContainer, Name: "web", Replica: 1}))
	if !r.alive(name) {
		t.Error("it does not run")
	}
	t.Logf("the engine started it again by itself: %t", revived)
}
