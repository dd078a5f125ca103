package drivertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// Kind is how the image that a Harness makes behaves.
type Kind string

// The kinds of images that the suite needs.
const (
	KindPlain     Kind = "plain"     // runs, no health check
	KindHealthy   Kind = "healthy"   // healthy within seconds
	KindUnhealthy Kind = "unhealthy" // never healthy
	KindCrash     Kind = "crash"     // ends with an error at once
	KindJob       Kind = "job"       // ends with 0 at once
)

// Hands are the other hands that the suite lets tamper with an engine. Names
// are names on the engine. What cannot be done ends the test.
type Hands interface {
	Stop(name string)
	Kill(name string)
	Pause(name string)
	RemoveContainer(name string)
	Rename(name, to string)
	Disconnect(name, network string)
	Recreate(name string) // another container with the same labels in its place
	AddForeign(name, owner string)
}

// Harness is one engine, empty of what the instance owns, for one test.
type Harness struct {
	Driver   reconciler.Driver
	Instance string // unique; every name on the engine begins with it
	Dir      string
	// Image makes an image and returns its reference; other versions have
	// other references.
	Image func(k Kind, version int) string
	Hands Hands
	// Limit changes the container's limits as docker update does.
	Limit func(name string)
	// Fail makes the nth call that changes or asks the engine fail from now
	// on, 1 being the next, and all calls after it; whether it had effect is
	// open. 0 ends that.
	Fail func(n int)
	// Alive says whether a container of that name runs, whoever owns it.
	Alive func(name string) bool
	// Digest returns what a reference means in the registry.
	Digest func(ref string) string
	// RemoveImage takes an image off the engine by force.
	RemoveImage func(id string)
	// RegistryDown makes the registry refuse everything, or ends that.
	RegistryDown func(down bool)
	// Lock holds a lock on a file, a path in the container, on a volume of it.
	Lock func(container, file string) (release func())

	// What only RunEngineRestart needs. Restart ends the engine with everything
	// that runs on it and starts it again. It may be slow: then CutEvery says
	// that only every so manieth call is cut. Policy changes a restart policy
	// as docker update does.
	Restart  func()
	CutEvery int
	Policy   func(name, policy string)
}

// Run tests a driver against the contract of reconciler.Driver. newHarness is
// called once for each test.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, c := range []struct {
		name string
		run  func(*bench)
	}{
		{"CreateAndRepeat", (*bench).createAndRepeat},
		{"ReplaceAndUndo", (*bench).replaceAndUndo},
		{"FailedCandidateGivesWay", (*bench).failedCandidate},
		{"RemoveAndUndo", (*bench).removeAndUndo},
		{"HealInPlace", (*bench).healInPlace},
		{"HealByReplacing", (*bench).healByReplacing},
		{"ForeignIsLeftAlone", (*bench).foreign},
		{"InstancesAreApart", (*bench).instancesApart},
		{"Await", (*bench).await},
		{"AwaitJob", (*bench).awaitJob},
		{"StartFirst", (*bench).startFirst},
		{"NetworkMadeAnew", (*bench).networkAnew},
		{"VolumesStay", (*bench).volumesStay},
		{"Peers", (*bench).peers},
		{"Images", (*bench).images},
		{"ImagesByDigest", (*bench).imagesByDigest},
		{"WayBackWithoutTheImage", (*bench).wayBack},
		{"Addresses", (*bench).addresses},
		{"SwitchStopFirst", (*bench).switchStopFirst},
		{"SwitchStartFirst", (*bench).switchStartFirst},
		{"SwitchRefuses", (*bench).switchRefuses},
		{"NoSwitchWithoutAStop", (*bench).noSwitch},
		{"SwitchOfANetworkMadeAnew", (*bench).switchNetwork},
		{"LockOutlivesItsContainer", (*bench).lockHeld},
		{"SingleWriterRunsOnce", (*bench).singleWriter},
		{"CutAtEveryCall", (*bench).cutEverywhere},
		{"CutAtEveryCallOfTheUndo", (*bench).cutUndo},
		{"CutOfAStartFirst", (*bench).cutStartFirst},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(&bench{T: t, Harness: newHarness(t)}) })
	}
}

// bench is a harness with words for what tests do.
type bench struct {
	*testing.T
	Harness
}

// target is an instance with one network, one volume and the services given.
func (b *bench) target(generation int, services ...desired.Service) reconciler.Target {
	spec := desired.Spec{
		Name: b.Instance, Services: map[string]desired.Service{}, HealthTimeout: 2 * time.Minute,
		Networks: map[string]desired.Network{"default": {Key: "default", Name: b.Instance + "_default"}},
		Volumes:  map[string]desired.Volume{"data": {Key: "data", Name: b.Instance + "_data"}},
	}
	for _, s := range services {
		if s.Networks == nil && s.NetworkMode == "" {
			s.Networks = []desired.ServiceNetwork{{Network: "default"}}
		}
		if s.Replicas == 0 {
			s.Replicas = 1
		}
		spec.Services[s.Name] = s
	}
	return reconciler.Target{Spec: spec, Generation: generation, Revision: "rev", Dir: b.Dir}
}

func (b *bench) web(k Kind, version int) desired.Service {
	zero := time.Duration(0)
	return desired.Service{
		Name: "web", Image: b.Image(k, version), StopGrace: &zero,
		Mounts: []desired.Mount{{Type: desired.MountVolume, Source: "data", Target: "/data"}},
	}
}

func (b *bench) name(service string) string { return b.Instance + "-" + service + "-1" }

func (b *bench) network() string { return b.Instance + "_default" }

func (b *bench) must(err error, what string) {
	b.Helper()
	if err != nil {
		b.Fatalf("%s: %v", what, err)
	}
}

// prepare resolves the target's images.
func (b *bench) prepare(t reconciler.Target) reconciler.Target {
	b.Helper()
	images, err := b.Driver.Prepare(b.Context(), t, nil)
	b.must(err, "prepare")
	t.Images = images
	return t
}

func (b *bench) ensureShared(t reconciler.Target) error {
	for _, a := range []reconciler.Action{
		{Kind: reconciler.KindNetwork, Verb: reconciler.Create, Name: "default", Object: b.network()},
		{Kind: reconciler.KindVolume, Verb: reconciler.Create, Name: "data", Object: b.Instance + "_data"},
	} {
		if err := b.Driver.Ensure(b.Context(), t, a); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) container(v reconciler.Verb, service string, replica int) reconciler.Action {
	return reconciler.Action{Kind: reconciler.KindContainer, Verb: v, Name: service, Replica: replica, Object: b.Instance + "-" + service + "-1"}
}

// apply brings everything of the target into effect, services in order of name.
func (b *bench) apply(t reconciler.Target) error {
	if err := b.ensureShared(t); err != nil {
		return err
	}
	for _, name := range t.Spec.ServiceNames() {
		for n := 1; n <= t.Spec.Services[name].Replicas; n++ {
			if err := b.Driver.Ensure(b.Context(), t, b.container(reconciler.Create, name, n)); err != nil {
				return err
			}
		}
	}
	return nil
}

// deploy prepares, applies and settles.
func (b *bench) deploy(t reconciler.Target) reconciler.Target {
	b.Helper()
	t = b.prepare(t)
	b.must(b.apply(t), "apply")
	b.must(b.Driver.Settle(b.Context(), t), "settle")
	return t
}

func (b *bench) observe(deep bool) reconciler.Observed {
	b.Helper()
	o, err := b.Driver.Observe(b.Context(), b.Instance, deep)
	b.must(err, "observe")
	if o.Containers == nil {
		b.Fatal("observe: containers are nil, which means not observed")
	}
	return o
}

// current returns the container that serves; it must be the only one of its
// service in that slot.
func (b *bench) current(service string) reconciler.Container {
	b.Helper()
	var found []reconciler.Container
	for _, c := range b.observe(false).Containers {
		if c.Service == service && c.Slot == reconciler.SlotCurrent {
			found = append(found, c)
		}
	}
	if len(found) != 1 {
		b.Fatalf("%d containers serve as %s, want 1: %+v", len(found), service, found)
	}
	return found[0]
}

func (b *bench) inSlot(s reconciler.Slot) []reconciler.Container {
	b.Helper()
	return slices.DeleteFunc(b.observe(false).Containers, func(c reconciler.Container) bool { return c.Slot != s })
}

// serves checks that the service is what the target says and returns its ID.
func (b *bench) serves(t reconciler.Target, service string) string {
	b.Helper()
	c, s := b.current(service), t.Spec.Services[service]
	switch {
	case c.State != reconciler.StateRunning:
		b.Fatalf("%s is %s, want running", c.Name, c.State)
	case c.Name != b.name(service):
		b.Fatalf("%s is named %s, want %s", service, c.Name, b.name(service))
	case c.Hash != s.Hash() || c.ImageID != t.Images[s.Image].ID || c.ImageRef != s.Image:
		b.Fatalf("%s was made from another service or image: %+v", c.Name, c)
	case s.NetworkMode == "" && !slices.Contains(c.Networks, b.network()):
		b.Fatalf("%s is on %v, want %s", c.Name, c.Networks, b.network())
	case len(c.Changed) != 0:
		b.Fatalf("%s counts as changed: %v", c.Name, c.Changed)
	}
	return c.ID
}

func (b *bench) notReady(err error, phase string) {
	b.Helper()
	var nr *reconciler.NotReady
	if !errors.As(err, &nr) {
		b.Fatalf("error is %v, want a *NotReady", err)
	}
	if nr.Phase != phase || nr.Reason == "" || nr.Container == "" {
		b.Fatalf("not ready: %+v, want phase %s with reason and container", nr, phase)
	}
}
