package reconciler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// The newest commit cancels an apply in progress (law 8). A single writer is
// down from its stop until its successor serves, so commits that come faster
// than it starts would keep it down for as long as they come. Therefore the
// apply after two that were cut short is let come up first (docs/adr/0014).

const (
	// cutsAllowed is how many applies in a row may be cut short while they have
	// something down.
	cutsAllowed = 2
	// shieldServes is how long, at most, what came up then serves before the
	// next commit may take it down.
	shieldServes = time.Minute
	// shieldMost is how long an apply is shielded beside the time that its health
	// check may take, whatever it is at: stops, pulls of peers, smoke steps.
	shieldMost = 2 * time.Minute
)

// shield keeps newer commits and releases from cancelling an apply until it is
// lifted. Nil shields nothing. It does not keep an operator from anything.
type shield struct {
	over chan struct{}

	mu     sync.Mutex
	timers []*time.Timer
	lifted bool
}

// raiseShield returns the shield of the next apply.
func (r *Instance) raiseShield(spec desired.Spec) *shield {
	if r.cuts < cutsAllowed {
		return nil
	}
	s := &shield{over: make(chan struct{})}
	timeout := spec.HealthTimeout
	if timeout <= 0 {
		timeout = defaultHealthTimeout
	}
	s.lift(timeout + shieldMost)
	return s
}

// lift ends the shield after a time.
func (s *shield) lift(after time.Duration) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = append(s.timers, time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.lifted {
			s.lifted = true
			close(s.over)
		}
	}))
}

// drop stops the shield's timers: what it shielded has ended.
func (s *shield) drop() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.timers {
		t.Stop()
	}
}

// until is closed when the shield is over; nil when there is none.
func (s *shield) until() <-chan struct{} {
	if s == nil {
		return nil
	}
	return s.over
}

// risks are the services that an apply takes down before it brings them up.
type risks struct {
	mu    sync.Mutex
	names []string
	up    bool
}

func (k *risks) add(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !slices.Contains(k.names, name) {
		k.names = append(k.names, name)
	}
}

func (k *risks) serves() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up = true
}

// list is what is at risk; nothing once all of it serves.
func (k *risks) list() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.up {
		return nil
	}
	return slices.Clone(k.names)
}

// noteRisk notes that an action takes a single writer down, or brings one up.
func (x *executor) noteRisk(a Action) {
	s, known := x.target.Spec.Services[a.Name]
	if a.Kind == KindContainer && a.Verb != Remove && known && s.UpdateOrder != startFirst && s.Replicas == 1 && !s.Job {
		x.risks.add(a.Name)
	}
}

// countCut counts an apply that was cut short while it had something down, and
// begins anew with one that was not.
func (r *Instance) countCut(ctx context.Context, x *executor, superseded bool) {
	if superseded && r.leftDown(ctx, x.risks.list()) {
		r.cuts++
		return
	}
	r.cuts = 0
}

// leftDown reports whether one of the services is not served by the container of
// the last good generation. What cannot be seen counts as down.
func (r *Instance) leftDown(ctx context.Context, services []string) bool {
	if len(services) == 0 {
		return false
	}
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil || r.good == nil {
		return true
	}
	t := r.good.target
	return slices.ContainsFunc(services, func(name string) bool {
		s, known := t.Spec.Services[name]
		return !known || !slices.ContainsFunc(have.Containers, func(c Container) bool {
			return c.Service == name && c.Slot == SlotCurrent && c.State == StateRunning && c.Hash == s.Hash() && c.ImageID == t.Images[s.Image].ID
		})
	})
}

// sayWaits tells that a newer revision or release waits until what is being
// applied serves.
func (r *Instance) sayWaits(rev desired.Revision, generation int) {
	message := fmt.Sprintf("%s %q waits until generation %d serves: newer ones cut %d applies short, and left the application down",
		rev.Short(), rev.Subject, generation, cutsAllowed)
	r.setStatus(func(s *Status) { s.set(time.Now(), SourceReady, "True", "NewerWaits", message) })
	r.cfg.Log.WithField("generation", generation).Info("A newer revision waits until the apply in progress serves")
	r.teller().say(LineGate, "", "%s", message)
	r.event("NewerWaits", message, rev, generation)
}
