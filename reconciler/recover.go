package reconciler

import (
	"context"
	"errors"
	"fmt"
)

// start reads, once, what an earlier run of the daemon left.
func (r *Instance) start(ctx context.Context) error {
	if r.ready {
		return nil
	}
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return err
	}
	if err := r.recallGood(m); err != nil {
		return err
	}
	entries, err := r.journal.read()
	if err != nil {
		return err
	}
	if err := r.recover(lastApply(entries)); err != nil {
		return err
	}
	r.route(ctx)
	r.routedOnce.Do(func() { close(r.routed) })
	r.deep.Store(true)
	r.ready = true
	return nil
}

// routeGone leads requests to an instance that the repository no longer has: its
// containers are left running, and so are its users.
func (r *Instance) routeGone(ctx context.Context) {
	r.routedOnce.Do(func() {
		defer close(r.routed)
		m, err := r.cfg.Store.memo(r.cfg.Name)
		if err == nil {
			err = r.recallGood(m)
		}
		if err != nil {
			r.cfg.Log.WithError(err).Warn("Lead requests to an instance that is gone from the repository")
			return
		}
		r.route(ctx)
	})
}

// leadOn leads requests to what is left of an instance that is gone, wherever it
// comes up again, until ctx ends. Addresses are given to others in time: what is
// led to has to be looked at.
func (r *Instance) leadOn(ctx context.Context) {
	for r.routeGone(ctx); ; r.leadLeft(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-r.trigger:
		}
	}
}

func (r *Instance) leadLeft(ctx context.Context) {
	if r.good == nil || r.cfg.Traffic == nil {
		return
	}
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil {
		return // the next look may tell
	}
	spec := r.good.target.Spec
	spec.Front = r.cfg.hosts.left(spec.Front)
	if len(have.Containers) == 0 {
		spec.Front, have.Containers = nil, []Container{} // somebody cleared up
	}
	r.routing.follow(spec, have, nil)
}

// route leads requests to what is applied before anything else is done: a pass
// may begin with a pull that takes minutes. What an apply that was cut off left
// unproved gets none. When the engine does not answer, requests are held.
func (r *Instance) route(ctx context.Context) {
	if r.good != nil {
		r.keepCertificates(nil)
		r.keepAttachments(nil, false)
	}
	if r.good == nil || r.cfg.Traffic == nil {
		return
	}
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil {
		have = Observed{Containers: []Container{}}
	}
	t := r.good.target
	r.routing.follow(t.Spec, have, func(c Container) bool {
		s := t.Spec.Services[c.Service]
		return r.broken == nil || c.Hash == s.Hash() && c.ImageID == t.Images[s.Image].ID
	})
}

func (r *Instance) recallGood(m memo) error {
	r.good = nil
	if m.LastGood == 0 {
		return nil
	}
	g, t, err := r.cfg.Store.generation(r.cfg.Name, m.LastGood)
	if err != nil {
		return err
	}
	t.Dir = r.cfg.Home
	r.good = &goodGeneration{g, t}
	return nil
}

// maxAttempts is how often a generation is begun when the daemon dies in it
// each time, before it counts as failed.
const maxAttempts = 3

// recover takes up the apply that the journal says was cut off: one that was
// committed is settled, one that was being undone stays quarantined, one that
// was on its way is resumed by the next pass, unless it was cut off too often.
func (r *Instance) recover(in *interrupted) error {
	if in == nil {
		return nil
	}
	log := r.cfg.Log.WithField("generation", in.Generation)
	g, _, err := r.cfg.Store.generation(r.cfg.Name, in.Generation)
	if err != nil {
		if errors.Is(err, ErrNoGeneration) {
			return r.journal.clear()
		}
		return err
	}
	r.broken = in
	switch {
	case in.Committed:
		log.Info("Settle the apply that was committed before the restart")
		if in.Kind == "heal" {
			return nil // of the generation that is applied already
		}
		if err := r.adopt(g); err != nil {
			return err
		}
	case in.Undoing:
		log.Info("Finish the rollback that was cut off by the restart")
		r.record(Record{Kind: in.Kind, Generation: in.Generation, From: in.Previous, Revision: g.Revision,
			Outcome: RolledBack, Reason: in.Reason + " (the rollback was finished after a restart)", Started: g.Started})
	case in.Attempt >= maxAttempts && in.Kind == "deploy" && in.Previous != 0:
		log.Warn("Roll back the apply that was cut off too often")
		if err := r.quarantine(g, fmt.Sprintf("it was cut off %d times by restarts", in.Attempt)); err != nil {
			return err
		}
	default:
		log.Info("Resume the apply that was cut off by the restart")
	}
	return nil
}

// adopt makes a generation the applied one.
func (r *Instance) adopt(g Generation) error {
	g.Good = true
	m, err := r.cfg.Store.markGood(r.cfg.Name, g)
	if err != nil {
		return err
	}
	return r.recallGood(m)
}

// settleCommitted ends an apply that was committed but not settled yet: only
// then does a container that was set aside belong to the last good generation
// again.
func (r *Instance) settleCommitted(ctx context.Context) error {
	if r.broken == nil || !r.broken.Committed || r.good == nil {
		return nil
	}
	if err := r.cfg.Driver.Settle(ctx, r.good.target); err != nil {
		return fmt.Errorf("settle generation %d: %w", r.good.Number, err)
	}
	if err := r.journal.clear(); err != nil {
		return err
	}
	r.broken = nil
	return nil
}
