package reconciler

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// healLastGood heals what is applied, with the newest reading of it when that
// is the same specification.
func (r *Instance) healLastGood(ctx context.Context, l loaded) error {
	t := r.good.target
	if l.err == nil && l.spec.Hash() == r.good.SpecHash {
		t.Spec = l.spec
	}
	return r.heal(ctx, t)
}

// heal keeps an applied target as it is. When there is nothing to do it costs
// one quick observation, and nothing is logged.
func (r *Instance) heal(ctx context.Context, t Target) error {
	if !r.deepDue() {
		have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
		if err != nil {
			return err
		}
		if planned := Plan(t, have); planned.Empty() && !leftOver(have) {
			r.settled(t, have)
			return nil
		}
	}
	have, err := r.observe(ctx)
	if err != nil {
		return err
	}
	planned := Plan(t, have)
	r.counted.drift(planned.Actions, time.Now())
	planned.Held = append(planned.Held, r.checkFiles(t)...)
	r.held = planned.Held
	if r.loaded.err == nil && r.loaded.spec.Hash() == r.good.SpecHash {
		r.loaded.spec.Files = nil // on disk and intact: no need to keep them in memory
	}
	if planned.Empty() {
		return r.tidy(ctx, t, have)
	}
	r.setStatus(func(s *Status) { s.observe(time.Now(), t, have); s.Sync, s.Pending = OutOfSync, planned.Actions })
	return r.healDue(ctx, t, planned)
}

// healDue carries out what of a plan need not be waited for.
func (r *Instance) healDue(ctx context.Context, t Target, planned Planned) error {
	due, wait := r.flaps.due(planned.Actions, time.Now())
	if r.forced {
		due, wait = planned.Actions, 0
	}
	var waiting error
	if wait > 0 {
		waiting = RetryAfter(fmt.Errorf("heal %s: it keeps falling over, waiting %s",
			without(planned.Actions, due)[0].Object, wait.Round(time.Second)), wait)
	}
	ready, prepareErr := r.prepareHeal(ctx, t, due)
	if prepareErr != nil {
		if errors.Is(prepareErr, ErrUnreachable) || ctx.Err() != nil {
			return prepareErr
		}
		r.flaps.healed(without(due, ready), time.Now()) // so that a registry is not asked every second
	}
	if len(ready) == 0 {
		return errors.Join(prepareErr, waiting)
	}
	planned.Actions = ready
	r.begins("put back what is not as it should be: %s", Count(len(ready), "action"))
	err := r.apply(ctx, application{kind: "heal", doing: "good", generation: r.good.Generation, target: t, planned: planned, who: "fairlead"})
	if err != nil {
		return err
	}
	return errors.Join(prepareErr, waiting)
}

// prepareHeal fetches the images of the services that are to be healed, and
// returns the actions that can be done. An image that cannot be had keeps only
// its own service from being healed.
func (r *Instance) prepareHeal(ctx context.Context, t Target, actions []Action) (ready []Action, err error) {
	failed := map[string]bool{}
	for _, name := range touchedBy(actions) {
		one := t
		one.Spec.Services = map[string]desired.Service{name: t.Spec.Services[name]}
		if _, perr := r.cfg.Driver.Prepare(ctx, one, r.cfg.Progress); perr != nil {
			failed[name] = true
			err = errors.Join(err, fmt.Errorf("heal %s: %w", name, perr))
		}
	}
	for _, a := range actions {
		if a.Kind != KindContainer || !failed[a.Name] {
			ready = append(ready, a)
		}
	}
	return ready, err
}

// without returns the actions that are not among others.
func without(actions, others []Action) (rest []Action) {
	for _, a := range actions {
		if !slices.ContainsFunc(others, func(o Action) bool { return o.Kind == a.Kind && o.Object == a.Object && o.Verb == a.Verb }) {
			rest = append(rest, a)
		}
	}
	return rest
}

func (r *Instance) deepDue() bool {
	return r.broken != nil || r.deep.Load() || time.Since(r.lastDeep) > r.cfg.DeepEvery
}

func leftOver(have Observed) bool {
	for _, c := range have.Containers {
		if c.Slot != SlotCurrent {
			return true
		}
	}
	return false
}

// tidy ends what an interrupted apply left when everything stands as it should.
func (r *Instance) tidy(ctx context.Context, t Target, have Observed) error {
	if r.broken != nil || leftOver(have) {
		proven := t
		proven.Spec.Smoke = nil // it is no release
		x := r.newExecutor(r.cfg.Log, proven, nil, r.brokenTouched())
		if r.broken != nil && !r.broken.Committed {
			if err := x.verify(ctx); err != nil {
				return err
			}
		}
		if err := r.cfg.Driver.Settle(ctx, t); err != nil {
			return err
		}
		if err := r.journal.clear(); err != nil {
			return err
		}
		r.broken = nil
	}
	r.settled(t, have)
	return nil
}

func (r *Instance) brokenTouched() []string {
	if r.broken == nil {
		return nil
	}
	return r.broken.Touched
}

// settled shows that everything is as it should be, but for what is held. A
// quick observation does not see what is held, so the last deep one counts.
func (r *Instance) settled(t Target, have Observed) {
	r.routing.follow(t.Spec, have, nil)
	r.setStatus(func(s *Status) {
		s.observe(time.Now(), t, have)
		s.Pending = nil
		for _, h := range r.held {
			s.set(time.Now(), ContainersReady, "False", h.Reason, h.Message)
			if h.Reason == "NameTaken" {
				s.Sync = OutOfSync
			}
		}
	})
}

// checkFiles puts tracked files back that were changed or removed by hand. What
// it cannot put back is held.
func (r *Instance) checkFiles(t Target) (held []Held) {
	for _, key := range sortedKeys(mountedFiles(t.Spec)) {
		dir := filepath.Join(filesDir(t.Dir), key)
		if _, err := readTree(dir); err == nil {
			continue
		}
		tree, here := r.trackedFiles(key)
		if !here {
			held = append(held, Held{Reason: "FilesChanged", Message: fmt.Sprintf(
				"tracked files %s were changed by other hands, and the newest revision does not hold them any more", key)})
			continue
		}
		if err := writeTree(dir, tree); err != nil {
			held = append(held, Held{Reason: "FilesChanged", Message: fmt.Sprintf("restore tracked files %s: %v", key, err)})
			continue
		}
		r.counted.driftedFiles()
		r.event("DriftHealed", "tracked files that other hands changed were restored: "+key, r.loaded.rev, t.Generation)
	}
	return held
}

// trackedFiles returns tracked files of the newest revision. Their content is
// not kept in memory once it is on disk, so the revision may be read again.
func (r *Instance) trackedFiles(key string) (desired.FileTree, bool) {
	if r.loaded.err == nil && r.loaded.spec.Files == nil {
		if again := r.read(context.Background(), ""); again.err == nil {
			r.loaded = again
		}
	}
	tree, here := r.loaded.spec.Files[key]
	return tree, here
}
