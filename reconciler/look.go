package reconciler

import (
	"context"
	"errors"
	"time"
)

// Look reads the newest revision and observes, without acting, without asking
// registries and without writing anything down: the status for when no loop runs.
// It must not be used beside Run or Once.
func (r *Instance) Look(ctx context.Context) (Status, error) {
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return r.Status(), err
	}
	if err := r.recallGood(m); err != nil {
		return r.Status(), err
	}
	l := r.load(ctx)
	idle := false // nobody asks it now
	sit := situation{spec: l.spec, loadErr: l.err, memo: m, lastSpec: r.lastSpec(), last: r.lastTarget(), now: time.Now(), busy: &idle}
	if l.err == nil {
		sit.offer = r.askAll(ctx, sit, Ask{Known: true})
	}
	d := decide(sit)
	r.keepCertificates(r.coming(l, d)) // it only says what is wanted
	r.keepAttachments(r.coming(l, d), d.phase == PhaseSuspended)
	if d.choice == chooseNew {
		d.phase = PhasePending
	}
	if l.rev.Commit != "" {
		m.Attempted = l.rev
	}
	r.showDecision(l, m, d)
	r.showRelease(l, sit, d)
	if err := r.look(ctx); err != nil {
		if !errors.Is(err, ErrUnreachable) {
			return r.Status(), err
		}
		r.setStatus(func(s *Status) {
			s.Sync = Unknown
			s.set(time.Now(), ContainersReady, "Unknown", "EngineUnreachable", err.Error())
		})
		return r.Status(), nil
	}
	r.setStatus(func(s *Status) {
		if len(s.Containers) == 0 && s.Generation == 0 && s.Health == Healthy {
			s.Health = Missing
		}
	})
	if l.err == nil && d.choice != chooseNothing && d.choice != chooseHeld {
		report, err := r.preview(ctx, nil, Ask{Known: true})
		if err != nil {
			return r.Status(), err
		}
		r.setStatus(func(s *Status) {
			s.Pending = report.Actions
			if len(report.Actions) > 0 {
				s.Sync = OutOfSync
			}
		})
	}
	return r.Status(), nil
}
