package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sirupsen/logrus"
)

// application is one apply: a plan on its way to a generation.
type application struct {
	kind       string // deploy, heal, rollback
	doing      string // what newer revisions are measured against: see outdated
	digest     string // that the followed reference means; empty: not known
	generation Generation
	target     Target
	planned    Planned
	who        string
	started    time.Time
}

// apply carries out a plan as a whole: it stands and is settled, or it is
// undone, or the journal says where to go on (law 7).
func (r *Instance) apply(ctx context.Context, a application) error {
	a.started = time.Now()
	if err := materialize(r.cfg.Home, a.target.Spec); err != nil {
		return err
	}
	if a.kind == "deploy" {
		if err := r.cfg.Store.putGeneration(r.cfg.Name, a.generation, a.target); err != nil {
			return err
		}
	}
	begin := r.begin(a)
	if err := r.journal.write(begin); err != nil {
		return err
	}
	switches := r.switches(a.target.Spec, a.planned)
	r.setStatus(func(s *Status) { s.Pending, s.Switches = a.planned.Actions, switches })
	r.sayPlan(a, switches)
	log := r.log().WithFields(logrus.Fields{"generation": a.generation.Number, "revision": a.generation.Revision.Short(), "kind": a.kind})
	guard := r.raiseShield(a.target.Spec)
	watched, stop := r.cancelWhenNewer(ctx, a, guard)
	x := r.executorOf(a, begin, log, guard)
	err := x.run(watched)
	if err != nil && errors.Is(context.Cause(watched), errSuperseded) {
		err = errSuperseded
	}
	stop()
	r.tookOver = errors.Is(err, errSuperseded)
	r.countCut(ctx, x, r.tookOver)
	if err != nil {
		return r.applyFailed(ctx, a, begin, err)
	}
	return r.commit(ctx, a, log)
}

// executorOf carries out an application. Only a deployment makes smoke steps:
// they may leave traces in the application, a heal is not a release, and what
// an operator goes back to was good before.
func (r *Instance) executorOf(a application, begin Entry, log *logrus.Entry, guard *shield) *executor {
	t := a.target
	if a.kind != "deploy" {
		t.Spec.Smoke = nil
	}
	x := r.newExecutor(log, t, a.planned.Actions, begin.Touched)
	x.deploys = a.kind == "deploy"
	x.served = func() { guard.lift(min(t.Spec.Bake, shieldServes)) }
	if a.kind != "heal" {
		x.baking = func() { r.setStatus(func(s *Status) { s.Phase = PhaseBaking }) }
	}
	return x
}

// begin is the journal's first entry. An attempt at a generation that was cut
// off goes on with what that one touched.
func (r *Instance) begin(a application) Entry {
	e := Entry{Step: StepBegin, Generation: a.generation.Number, Kind: a.kind, Attempt: 1, Touched: touchedBy(a.planned.Actions)}
	if r.good != nil {
		e.Previous = r.good.Number
	} else {
		e.Touched = a.target.Spec.ServiceNames() // nothing has ever passed its checks
	}
	if b := r.broken; b != nil && b.Generation == e.Generation && b.Kind == e.Kind {
		e.Attempt = b.Attempt + 1
		e.Touched = slices.Compact(slices.Sorted(slices.Values(append(e.Touched, b.Touched...))))
	}
	return e
}

// commit makes the generation the good one. The journal's entry comes first:
// from there on a crash goes forward.
func (r *Instance) commit(ctx context.Context, a application, log *logrus.Entry) error {
	from := 0
	if r.good != nil {
		from = r.good.Number
	}
	if err := r.journal.write(Entry{Step: StepCommit, Generation: a.generation.Number}); err != nil {
		return err
	}
	r.broken = &interrupted{Generation: a.generation.Number, Kind: a.kind, Committed: true}
	if a.kind != "heal" {
		if err := r.adopt(a.generation); err != nil {
			return err
		}
		r.keepAttachments(nil, false) // before the directories of programs leave the memory
	}
	r.try = attempt{}
	outcome := Record{Kind: a.kind, Generation: a.generation.Number, From: from, Revision: a.generation.Revision, Who: a.who,
		Release: a.generation.Release, Gaps: r.routing.gaps(a.started),
		Actions: a.planned.Actions, Outcome: Applied, Started: a.started.UTC(), Duration: time.Since(a.started)}
	r.record(outcome)
	r.shown(a, log)
	if err := r.cfg.Driver.Settle(ctx, a.target); err != nil {
		return fmt.Errorf("settle generation %d: %w", a.generation.Number, err)
	}
	if err := r.journal.clear(); err != nil {
		return err
	}
	r.broken = nil
	if a.kind != "heal" {
		r.loaded.spec.Files = nil // they are on disk now
	}
	if err := r.retain(ctx, a.target.Spec.RetainGenerations); err != nil {
		return err
	}
	r.untidy = r.untidy || a.kind != "heal"
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil {
		return err
	}
	r.held = a.planned.Held
	r.settled(a.target, have)
	if a.kind != "heal" {
		r.reshowRelease(ctx)
	}
	return nil
}

// shown tells of an apply that stands.
func (r *Instance) shown(a application, log *logrus.Entry) {
	now := time.Now()
	r.setStatus(func(s *Status) {
		s.Outcome, s.Pending = Applied, nil
		switch a.kind {
		case "deploy":
			s.Phase, s.Sync = PhaseIdle, Synced
		case "rollback":
			s.Phase, s.Sync = PhaseHeld, OutOfSync
		case "heal": // what was said of the revision still holds
			s.Phase, s.Sync = r.said.phase, r.said.sync
		}
		if a.kind != "heal" {
			s.Applied, s.AppliedAt, s.Generation = a.generation.Revision, now.UTC(), a.generation.Number
			s.Changed = a.generation.Revision
		}
	})
	if a.generation.Release != "" {
		log = log.WithField("release", a.generation.Release)
	}
	log.WithFields(logrus.Fields{"actions": len(a.planned.Actions), "took": time.Since(a.started).Round(time.Millisecond).String()}).
		Info("Applied")
	if a.kind == "heal" {
		r.counted.mended(a.planned.Actions)
		r.flaps.healed(a.planned.Actions, now)
		for _, act := range a.planned.Actions {
			r.event("DriftHealed", fmt.Sprintf("%s: %s", act.Object, act.Reason), a.generation.Revision, a.generation.Number)
		}
		return
	}
	what := a.generation.Revision.Subject
	if a.generation.Release != "" {
		what = "release " + a.generation.Release + ", " + what
	}
	r.event("Applied", fmt.Sprintf("generation %d stands: %s", a.generation.Number, what), a.generation.Revision, a.generation.Number)
}

// applyFailed decides what an apply that did not get through leaves behind.
func (r *Instance) applyFailed(ctx context.Context, a application, begin Entry, err error) error {
	err = redactError(a.target.Spec.Sensitive, err)
	in := interrupted{Generation: begin.Generation, Previous: begin.Previous, Attempt: begin.Attempt, Kind: begin.Kind, Touched: begin.Touched}
	rec := Record{Kind: a.kind, Generation: a.generation.Number, From: begin.Previous, Revision: a.generation.Revision, Who: a.who, Release: a.generation.Release,
		Actions: a.planned.Actions, Reason: err.Error(), Started: a.started.UTC()}
	var sick *NotReady
	if errors.As(err, &sick) {
		rec.Failed, rec.Logs = sick.Phase, r.redactLogs(a.target, sick.Logs)
	}
	switch {
	case errors.Is(err, errSuperseded):
		r.broken = &in
		rec.Outcome = Superseded
		r.record(rec)
		return errSuperseded
	case ctx.Err() != nil: // the daemon stops: the next start resumes
		r.sayEnd("", "the daemon stops, and goes on with generation %d when it is started again", rec.Generation)
		return context.Cause(ctx)
	case errors.Is(err, ErrUnreachable):
		r.sayEnd(Failed, "it goes on as soon as the engine answers: %v", err)
		r.broken = &in
		return err
	case a.kind == "heal":
		r.flaps.healed(a.planned.Actions, time.Now())
		return r.giveUp(rec, in, err)
	case begin.Previous == 0: // a first deployment has nothing to go back to
		r.failed(err)
		return r.giveUp(rec, in, err)
	}
	r.failed(err)
	return r.rollBack(ctx, a, rec, in, err)
}

// giveUp leaves things as they are, to be tried again.
func (r *Instance) giveUp(rec Record, in interrupted, err error) error {
	rec.Outcome, rec.Duration = Failed, time.Since(rec.Started)
	r.record(rec)
	r.setStatus(func(s *Status) { s.Outcome = Failed })
	r.event("Failed", err.Error(), rec.Revision, rec.Generation)
	if in.Kind == "deploy" {
		r.broken = &in // the same number is tried again
	}
	if cerr := r.journal.clear(); cerr != nil {
		return errors.Join(err, cerr)
	}
	return err
}

// transientTries is how often a generation may fail for a reason that is not
// its own (the engine answered with an error) before it is quarantined.
const transientTries = 3

// rollBack returns to the last good generation and quarantines the one that
// failed, so that it is not tried again (law 8).
func (r *Instance) rollBack(ctx context.Context, a application, rec Record, in interrupted, cause error) error {
	var sick *NotReady
	own := errors.As(cause, &sick) || IsTerminal(cause) || r.try.failures >= transientTries
	lost := r.condemn(a, own, cause)
	if policy := a.target.Spec.Rollback; policy == "off" || policy == "notify" {
		if err := r.cfg.Driver.Settle(ctx, a.target); err != nil {
			return err
		}
		return r.giveUp(rec, in, cause)
	}
	r.broken = &in
	in.Undoing = own
	if own {
		lost = errors.Join(lost, r.journal.write(Entry{Step: StepUndo, Generation: in.Generation, Reason: cause.Error()}))
	}
	r.log().WithError(cause).WithField("generation", in.Generation).Warn("Roll back generation")
	r.own().say(LineUndo, "", "generation %d failed, so generation %d comes back: %v", in.Generation, r.good.Number, cause)
	if err := redactError(append(slices.Clone(r.good.target.Spec.Sensitive), a.target.Spec.Sensitive...), r.undo(ctx)); err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrUnreachable) {
			rec.Outcome, rec.Duration = Failed, time.Since(rec.Started)
			rec.Reason += "; roll back: " + err.Error()
			r.record(rec)
			r.setStatus(func(s *Status) { s.Outcome = Failed })
			r.event("Failed", rec.Reason, rec.Revision, rec.Generation)
		}
		return fmt.Errorf("roll back to generation %d: %w", r.good.Number, err)
	}
	r.untidy = true
	r.keepAttachments(nil, false)
	rec.Outcome, rec.Duration, rec.Gaps = RolledBack, time.Since(rec.Started), r.routing.gaps(a.started)
	r.record(rec)
	r.event("RolledBack", fmt.Sprintf("generation %d failed and generation %d is back: %s", rec.Generation, r.good.Number, rec.Reason),
		rec.Revision, rec.Generation)
	r.setStatus(func(s *Status) { s.Outcome, s.Phase, s.Sync, s.Pending = RolledBack, PhaseRolledBack, OutOfSync, nil })
	r.reshowRelease(ctx)
	if !own {
		return cause
	}
	return lost
}

// condemn quarantines a generation that failed by its own fault, and ends the
// hold that asked for it. What cannot be written down (a full disk) does not
// keep the way back from being gone: at worst it is tried again later.
func (r *Instance) condemn(a application, own bool, cause error) error {
	var errs []error
	if own {
		errs = append(errs, r.quarantine(a.generation, cause.Error()))
	}
	if a.kind == "rollback" {
		_, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Hold = nil })
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// undo converges to the last good generation. It asks neither git nor a
// registry.
func (r *Instance) undo(ctx context.Context) error {
	t := r.good.target
	t.Spec.Bake, t.Spec.Smoke = 0, nil // it was good before: to be ready is enough
	have, err := r.observe(ctx)
	if err != nil {
		return err
	}
	planned := Plan(t, have)
	x := r.newExecutor(r.log().WithField("kind", "undo"), t, planned.Actions, touchedBy(planned.Actions))
	x.undoing = true
	if err := x.run(ctx); err != nil {
		return err
	}
	if err := r.cfg.Driver.Settle(ctx, r.good.target); err != nil {
		return err
	}
	if err := r.journal.clear(); err != nil {
		return err
	}
	r.broken = nil
	if have, err = r.cfg.Driver.Observe(ctx, r.cfg.Name, false); err != nil {
		return err
	}
	r.settled(r.good.target, have)
	return nil
}

func (r *Instance) quarantine(g Generation, reason string) error {
	q := Quarantined{SpecHash: g.SpecHash, Images: g.Images, Generation: g.Number, Revision: g.Revision, Reason: reason, At: time.Now().UTC()}
	if r.good != nil && r.good.SpecHash == g.SpecHash && r.good.target.Spec.Follow != nil {
		q.Release = g.Images[r.good.target.Spec.Follow.Ref].Digest // nothing else had changed
	}
	m, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { addQuarantine(m, q) })
	if err != nil {
		return err
	}
	// Who waited for this pass is told at once, not with the next one.
	r.setStatus(func(s *Status) { s.Quarantined = m.Quarantined })
	return nil
}

// record keeps what came of an apply, which does not stand or fall with that.
func (r *Instance) record(rec Record) {
	rec.Correlation = r.correlation
	if rec.Duration == 0 {
		rec.Duration = time.Since(rec.Started)
	}
	r.sayResult(rec)
	if _, err := r.cfg.Store.addRecord(r.cfg.Name, rec); err != nil {
		r.log().WithError(err).Error("Record apply")
	}
}

// redactLogs hides sensitive values in the last lines of a container.
func (r *Instance) redactLogs(t Target, lines []string) []string {
	hide := redactor(t.Spec.Sensitive)
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = hide("", line)
	}
	return out
}

// retain drops what is too old to return to: generations beyond the limit, and
// the tracked files and images that only they used. The applied generation and
// the newest good one before it always stay.
func (r *Instance) retain(ctx context.Context, limit int) error {
	list, err := r.cfg.Store.Generations(r.cfg.Name)
	if err != nil {
		return err
	}
	keep, good := map[int]bool{r.good.Number: true}, 0
	for _, g := range slices.Backward(list) {
		if g.Good && good < max(limit, 2) {
			keep[g.Number] = true
			good++
		}
	}
	files := map[string]bool{}
	for number := range keep {
		_, t, err := r.cfg.Store.generation(r.cfg.Name, number)
		if err != nil {
			return err
		}
		for key := range mountedFiles(t.Spec) {
			files[key] = true
		}
	}
	if err := r.cfg.Store.retain(r.cfg.Name, keep); err != nil {
		return err
	}
	return dropFiles(r.cfg.Home, files)
}
