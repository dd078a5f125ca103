package reconciler

import (
	"context"
	"fmt"
	"path/filepath"
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
	planned.Held = append(planned.Held, r.checkFiles(t)...)
	r.held = planned.Held
	if r.loaded.err == nil && r.loaded.spec.Hash() == r.good.SpecHash {
		r.loaded.spec.Files = nil // on disk and intact: no need to keep them in memory
	}
	if planned.Empty() {
		return r.tidy(ctx, t, have)
	}
	r.setStatus(func(s *Status) { s.observe(time.Now(), t, have); s.Sync, s.Pending = OutOfSync, planned.Actions })
	if wait := r.flaps.wait(planned.Actions, time.Now()); wait > 0 && !r.forced {
		return RetryAfter(fmt.Errorf("heal %s: it keeps falling over, waiting %s", planned.Actions[0].Object, wait.Round(time.Second)), wait)
	}
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	r.setStatus(func(s *Status) { s.Phase = PhaseApplying })
	return r.apply(ctx, application{kind: "heal", doing: "good", generation: r.good.Generation, target: t, planned: planned, who: "fairlead"})
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
		x := newExecutor(r.cfg.Driver, r.journal, r.cfg.Log, t, nil, r.brokenTouched())
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
