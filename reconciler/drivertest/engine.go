// Package drivertest holds an in-memory container engine that implements
// reconciler.Driver, and the contract suite that it and the real driver both
// pass. It is for tests only and imports no engine's library. Time is plain
// package time and only a Behaviour that serves HTTP leaves goroutines running,
// so it works in a testing/synctest bubble.
package drivertest

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// Engine is an in-memory engine for any number of instances. Its zero value is
// not usable; see New. It may be used from several goroutines.
type Engine struct {
	// Hook is called before each primitive step, outside every lock, with what
	// is about to happen: "create NAME", "rename OLD NEW", "stop NAME",
	// "start NAME", "unpause NAME", "remove NAME", "mend NAME", "wait NAME",
	// "prove NAME", "disarm NAME", with a Switch "leave NAME" and "lead NAME", "pull REF", "create-network NAME", "remove-network NAME",
	// "create-volume NAME", "observe INSTANCE", "settle INSTANCE". An error
	// makes the step fail without effect. It may tamper with the engine,
	// cancel a context or panic. Set it before the engine is used.
	Hook func(step string) error
	// LockLimit is how long a lock may outlive the container that held it;
	// zero is ten seconds.
	LockLimit time.Duration

	mu         sync.Mutex
	seq        int
	steps      []string
	containers []*box // in order of creation
	networks   map[string]*netBox
	volumes    map[string]reconciler.VolumeState
	registry   map[string]reconciler.Image // what a pull of a reference brings
	local      map[string]string           // reference -> image ID on the engine
	images     map[string]reconciler.Image // by ID: what is on the engine
	behaviours map[string]Behaviour        // by image ID
	pullErrs   map[string]error
	locked     map[string]int             // files by how many hold a lock on them
	pulled     map[string]bool            // images that were fetched for instances, by ID
	prepared   map[string]map[string]bool // by instance, the images of its last Prepare
	noRegistry bool
	down       error
}

// justPulled stands for the instance of images that Prepare is about to note.
const justPulled = ""

// box is one container.
type box struct {
	id, name, proper  string
	instance, service string // both empty when it is not ours
	owner             string // of a container that is not ours: whose it is
	replica           int
	hash, ref, image  string
	generation        int
	peers             map[string]string
	networks          map[string]string // name -> network ID
	ports             []string
	restart           desired.Restart
	checked           bool // has a health check
	changed           []reconciler.Change
	completed         bool

	mode      string // network_mode as written
	networked bool   // was made on a network
	port      string // of the environment
	addr      netip.Addr
	server    *http.Server // nil: it serves nothing, or does not run

	phase   reconciler.State // created, running (from started on), paused, exited
	started time.Time
	stopped time.Time
	ended   int  // exit code of a container that was stopped or killed
	manual  bool // it was a call that ended it
}

type netBox struct {
	id, instance, hash string
}

// New returns an empty engine.
func New() *Engine {
	return &Engine{
		networks:   map[string]*netBox{},
		volumes:    map[string]reconciler.VolumeState{},
		registry:   map[string]reconciler.Image{},
		local:      map[string]string{},
		images:     map[string]reconciler.Image{},
		behaviours: map[string]Behaviour{},
		pullErrs:   map[string]error{},
		pulled:     map[string]bool{},
		prepared:   map[string]map[string]bool{justPulled: {}},
		locked:     map[string]int{},
	}
}

// Steps returns the primitive steps that were taken or tried so far, without
// the observations.
func (e *Engine) Steps() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.steps)
}

// step tells the hook what is about to happen.
func (e *Engine) step(format string, args ...any) error {
	s := fmt.Sprintf(format, args...)
	e.mu.Lock()
	e.steps = append(e.steps, s)
	down := e.down
	e.mu.Unlock()
	if e.Hook != nil {
		if err := e.Hook(s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	if down != nil {
		return fmt.Errorf("%s: %w", s, down)
	}
	return nil
}

// look tells the hook about an observation, which is not recorded as a step.
func (e *Engine) look(what string) error {
	e.mu.Lock()
	down := e.down
	e.mu.Unlock()
	if e.Hook != nil {
		if err := e.Hook(what); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if down != nil {
		return fmt.Errorf("%s: %w", what, down)
	}
	return nil
}

func (e *Engine) newID(prefix string) string {
	e.seq++
	return fmt.Sprintf("%s%06d", prefix, e.seq)
}

func (e *Engine) byID(id string) *box {
	for _, b := range e.containers {
		if b.id == id {
			return b
		}
	}
	return nil
}

func (e *Engine) byName(name string) *box {
	for _, b := range e.containers {
		if b.name == name {
			return b
		}
	}
	return nil
}

// replica returns the containers of one replica of a service.
func (e *Engine) replica(instance, service string, n int) []*box {
	var out []*box
	for _, b := range e.containers {
		if b.instance == instance && b.service == service && b.replica == n {
			out = append(out, b)
		}
	}
	return out
}

func (e *Engine) drop(id string) {
	if b := e.byID(id); b != nil {
		e.hangUp(b)
	}
	e.containers = slices.DeleteFunc(e.containers, func(b *box) bool { return b.id == id })
}

// halt ends the process of a container.
func (e *Engine) halt(b *box, code int) {
	e.hangUp(b)
	b.phase, b.ended, b.stopped, b.manual = reconciler.StateExited, code, time.Now(), true
}

func (e *Engine) observed(b *box) reconciler.Container {
	st := e.status(b)
	c := reconciler.Container{
		ID: b.id, Name: b.name, Service: b.service, Replica: b.replica,
		Slot: swap.SlotOf(b.name, b.proper), Hash: b.hash, ImageRef: b.ref, ImageID: b.image,
		State: st.state, ExitCode: st.exit, Health: st.health,
		Peers: b.peers, Completed: b.completed, Addresses: e.addresses(b),
	}
	for n := range b.networks {
		c.Networks = append(c.Networks, n)
	}
	slices.Sort(c.Networks)
	return c
}
