package drivertest

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

const (
	pollEvery = 20 * time.Millisecond
	// maxRestarts is how many restarts are forgiven before they count as a
	// crash loop, as the real driver does.
	maxRestarts = 5
)

// Await implements reconciler.Driver.
func (e *Engine) Await(ctx context.Context, t reconciler.Target, w reconciler.Wait) error {
	e.mu.Lock()
	var id, name string
	for _, b := range e.replica(t.Spec.Name, w.Service, w.Replica) {
		if b.name == b.proper {
			id, name = b.id, b.name
		}
	}
	e.mu.Unlock()
	if id == "" {
		return &reconciler.NotReady{Container: w.Service, Phase: "start", Reason: "there is no such container"}
	}
	if err := e.take(ctx, "wait %s", name); err != nil {
		return err
	}
	return e.await(ctx, t, id, w)
}

// await polls one container until the wait is fulfilled or cannot be.
func (e *Engine) await(ctx context.Context, t reconciler.Target, id string, w reconciler.Wait) error {
	base, seen := -1, 0
	var since time.Time // healthy, or running, without a break since
	for {
		e.mu.Lock()
		b, down := e.byID(id), e.down
		if b == nil {
			e.mu.Unlock()
			return &reconciler.NotReady{Container: w.Service, Phase: "start", Reason: "it was removed"}
		}
		s, job := e.status(b), w.Condition == desired.Completed || t.Spec.Services[w.Service].MayEnd()
		name := b.name
		if job && s.state == reconciler.StateExited && s.exit == 0 && w.Condition != desired.Healthy && !b.started.IsZero() {
			b.completed = true
			e.mu.Unlock()
			return nil
		}
		e.mu.Unlock()
		if down != nil {
			return fmt.Errorf("wait for %s: %w", name, down)
		}
		if base < 0 {
			base = s.restarts
		}
		if s.restarts != seen {
			seen, since = s.restarts, time.Time{}
		}
		done, err := judge(name, s, base, w, &since)
		if done || err != nil {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for %s: %s: %w", name, w.Condition, err)
		}
	}
}

// judge decides on one look whether the wait is over.
func judge(name string, s status, base int, w reconciler.Wait, since *time.Time) (bool, error) {
	fail := func(phase, reason string) (bool, error) {
		return false, &reconciler.NotReady{Container: name, Phase: phase, Reason: reason, Logs: []string{"log of " + name}}
	}
	phase := map[desired.Condition]string{desired.Healthy: "health", desired.Completed: "completion"}[w.Condition]
	switch {
	case phase != "":
	case w.Stable > 0:
		phase = "stable"
	default:
		phase = "start"
	}
	if s.restarts-base >= maxRestarts {
		return fail(phase, fmt.Sprintf("restarted %d times", s.restarts-base))
	}
	switch s.state {
	case reconciler.StateExited, reconciler.StateDead:
		return fail(phase, s.String())
	case reconciler.StateRunning:
	default:
		*since = time.Time{}
		return false, nil
	}
	if w.Condition == desired.Completed {
		return false, nil
	}
	if s.health == reconciler.HealthUnhealthy && (w.Condition == desired.Healthy || w.Stable > 0) {
		return fail("health", "unhealthy")
	}
	good := s.health == "" || s.health == reconciler.HealthHealthy || (w.Condition == desired.Started && w.Stable == 0)
	if !good {
		*since = time.Time{}
		return false, nil
	}
	if since.IsZero() {
		*since = time.Now()
	}
	return time.Since(*since) >= w.Stable, nil
}

func pause(ctx context.Context) error {
	timer := time.NewTimer(pollEvery)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Settle implements reconciler.Driver.
func (e *Engine) Settle(ctx context.Context, t reconciler.Target) error {
	if err := e.take(ctx, "settle %s", t.Spec.Name); err != nil {
		return err
	}
	for _, b := range e.leftovers(t.Spec.Name) {
		e.mu.Lock()
		active := swap.Container{State: e.status(b).state}.Active()
		e.mu.Unlock()
		if active {
			if err := e.leave(ctx, t, b); err != nil {
				return err
			}
		}
		if err := e.take(ctx, "remove %s", b.name); err != nil {
			return err
		}
		e.mu.Lock()
		e.drop(b.id)
		e.mu.Unlock()
	}
	return nil
}

func (e *Engine) leftovers(instance string) []*box {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*box
	for _, b := range e.containers {
		if b.instance == instance && e.observed(b).Slot != reconciler.SlotCurrent {
			out = append(out, b)
		}
	}
	return out
}
