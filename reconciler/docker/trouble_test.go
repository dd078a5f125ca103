package docker_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

func publishing(name, image, port string) desired.Service {
	s := desired.Service{Name: name, Image: image}
	if port != "" {
		s.Ports = []desired.Port{{Target: 8000, Published: port, HostIP: "127.0.0.1"}}
	}
	return s
}

func (r *rig) ensure(t reconciler.Target, service string) error {
	return r.engine.Ensure(r.Context(), t, reconciler.Action{Kind: reconciler.KindContainer, Name: service, Replica: 1})
}

// One commit moves a port of the host from a service to another: whichever
// comes first, the new holder waits until the old one has given it up.
func TestPortGoesOverFromOneServiceToAnother(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref, port := r.images(drivertest.KindPlain, 1), ports.Test(t)
	one := r.deploy(r.target(publishing("app", ref, port)))
	two := r.target(publishing("app", ref, ""), publishing("proxy", ref, port))
	two.Images = one.Images
	done := make(chan error, 1)
	go func() { done <- r.ensure(two, "proxy") }()
	select {
	case err := <-done:
		t.Fatalf("the proxy did not wait for its port: %v", err)
	case <-time.After(2 * time.Second):
	}
	r.check(r.ensure(two, "app"))
	r.check(<-done)
	if !r.alive(r.instance+"-proxy-1") || !r.alive(r.instance+"-app-1") {
		t.Error("not both of them run")
	}
}

// A port that a stranger holds is not waited for, and what ran before comes
// back.
func TestPortOfAStrangerIsNotWaitedFor(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.check(err)
	defer l.Close()
	ref := r.images(drivertest.KindPlain, 1)
	one := r.deploy(r.target(publishing("app", ref, ports.Test(t))))
	two := r.target(publishing("app", ref, fmt.Sprint(l.Addr().(*net.TCPAddr).Port)))
	two.Images = one.Images
	began := time.Now()
	if err := r.ensure(two, "app"); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("error = %v", err)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s to say so", took)
	}
	r.check(r.ensure(one, "app"))
	if !r.alive(r.instance + "-app-1") {
		t.Error("the old container is not back")
	}
}

// A container that shares the network of one that was started anew reaches
// nothing any more until it is started anew, too.
func TestSharedNamespaceIsHealedAfterARestart(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	side := desired.Service{Name: "side", Image: ref, NetworkMode: "service:app", Environment: map[string]string{"PORT": "8001"}}
	tgt := r.deploy(r.target(desired.Service{Name: "app", Image: ref}, side))
	name := r.instance + "-side-1"
	before := r.inspect(name).State.StartedAt
	r.Stop(r.instance + "-app-1")
	r.check(r.ensure(tgt, "app"))
	if a := r.plan(tgt); len(a) != 1 || a[0].Object != name || a[0].Verb != reconciler.Update || !strings.Contains(a[0].Reason, "namespace") {
		t.Fatalf("plan = %+v", a)
	}
	r.check(r.ensure(tgt, "side"))
	if r.inspect(name).State.StartedAt == before || !r.alive(name) {
		t.Error("it was not started anew")
	}
	if a := r.plan(tgt); len(a) != 0 {
		t.Errorf("plan after it = %+v", a)
	}
}

// Two containers whose names other hands swapped get their own names back.
func TestSwappedNamesAreHealed(t *testing.T) {
	r := newRig(t, imagesOf(t, registry.Test(t)))
	ref := r.images(drivertest.KindPlain, 1)
	tgt := r.deploy(r.target(desired.Service{Name: "app", Image: ref}, desired.Service{Name: "db", Image: ref}))
	app, db := r.instance+"-app-1", r.instance+"-db-1"
	ids := []string{r.inspect(app).ID, r.inspect(db).ID}
	r.Rename(app, r.instance+"-tmp")
	r.Rename(db, app)
	r.Rename(r.instance+"-tmp", db)
	for _, a := range r.plan(tgt) {
		r.check(r.engine.Ensure(t.Context(), tgt, a))
	}
	if r.inspect(app).ID != ids[0] || r.inspect(db).ID != ids[1] {
		t.Error("they do not have their own names back")
	}
	if a := r.plan(tgt); len(a) != 0 {
		t.Errorf("plan after it = %+v", a)
	}
}

func (r *rig) plan(t reconciler.Target) []reconciler.Action {
	r.Helper()
	o, err := r.engine.Observe(r.Context(), r.instance, true)
	r.check(err)
	return reconciler.Plan(t, o).Actions
}
