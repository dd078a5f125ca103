package reconciler

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// converge is the body of a pass. Its error says that something has to be
// tried again; what a person should know is in the status.
func (r *Instance) converge(ctx context.Context) error {
	if err := r.start(ctx); err != nil {
		return err
	}
	l := r.load(ctx)
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return err
	}
	d := decide(situation{spec: l.spec, loadErr: l.err, memo: m, lastSpec: r.lastSpec(), now: time.Now()})
	if m, err = r.remember(m, l, d); err != nil {
		return err
	}
	r.show(l, m, d)
	if err := r.settleCommitted(ctx); err != nil {
		return err
	}
	switch d.choice {
	case chooseNew:
		return r.deploy(ctx, l, m)
	case chooseHeld:
		return r.holdTo(ctx, m, d.generation)
	case chooseLastGood:
		return r.healLastGood(ctx, l, m)
	}
	return r.look(ctx)
}

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
	if err := r.recover(ctx, lastApply(entries)); err != nil {
		return err
	}
	r.deep.Store(true)
	r.ready = true
	return nil
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
func (r *Instance) recover(ctx context.Context, in *interrupted) error {
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
		if err := r.adopt(g); err != nil {
			return err
		}
	case in.Undoing:
		log.Info("Finish the rollback that was cut off by the restart")
		if err := r.quarantine(g, in.Reason); err != nil {
			return err
		}
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
	return ctx.Err()
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

func (r *Instance) lastSpec() string {
	if r.good == nil {
		return ""
	}
	return r.good.SpecHash
}

// remember writes down which revision is attempted and applied, when that
// changed, and ends a hold that a newer revision outdated.
func (r *Instance) remember(m memo, l loaded, d decision) (memo, error) {
	stands := l.err == nil && d.choice == chooseLastGood && d.phase == PhaseIdle
	same := m.Attempted.Commit == l.rev.Commit && (!stands || m.Applied.Commit == l.rev.Commit)
	if l.rev.Commit == "" || (same && !d.unhold) {
		return m, nil
	}
	return r.cfg.Store.update(r.cfg.Name, func(m *memo) {
		m.Attempted = l.rev
		if stands {
			m.Applied = l.rev
		}
		if d.unhold {
			m.Hold = nil
		}
	})
}

// show writes the decision into the status and tells what is new in it.
func (r *Instance) show(l loaded, m memo, d decision) {
	before := r.Status()
	r.showDecision(l, m, d)
	r.announce(before, d, l)
}

func (r *Instance) showDecision(l loaded, m memo, d decision) {
	now := time.Now()
	r.setStatus(func(s *Status) {
		s.Attempted, s.Applied, s.AppliedAt = m.Attempted, m.Applied, m.AppliedAt
		s.Generation, s.Quarantined, s.Hold, s.Suspended = m.LastGood, m.Quarantined, m.Hold, m.Suspended
		s.Uncommitted, s.LocalFiles, s.Notes = l.dirty, l.spec.LocalFiles, l.spec.Notes
		s.Problems = problemsOf(l.err)
		s.Phase = d.phase
		r.showSource(s, l, now)
		switch d.phase {
		case PhaseIdle:
			s.Sync = Synced
		case PhaseSuspended:
			s.Health = Suspended
			if s.Suspended == nil {
				s.Suspended = &Suspension{Reason: d.message, By: "instance.yaml"}
			}
		default:
			s.Sync = OutOfSync
		}
		var gone sourceError
		if errors.As(l.err, &gone) {
			s.Sync, s.Phase = Unknown, PhaseRetrying
		}
		r.said = said{s.Phase, s.Sync}
	})
}

func (r *Instance) showSource(s *Status, l loaded, now time.Time) {
	source := r.cfg.Source.Status()
	var gone sourceError
	switch {
	case errors.As(l.err, &gone):
		s.set(now, SourceReady, "Unknown", "SourceUnreadable", l.err.Error())
	case l.err != nil:
		s.set(now, SourceReady, "False", "Invalid", firstLines(l.err.Error(), 5))
	case source.Err != nil:
		s.set(now, SourceReady, "False", "SourceStale", fmt.Sprintf("last read %s: %v",
			source.LastSuccess.UTC().Format(time.RFC3339), source.Err))
	default:
		s.set(now, SourceReady, "True", "Read", l.rev.Short()+" "+l.rev.Subject)
	}
}

// announce makes an event of what is new in a decision.
func (r *Instance) announce(before Status, d decision, l loaded) {
	if before.Phase == d.phase && before.Attempted.Commit == l.rev.Commit {
		return
	}
	switch d.phase {
	case PhaseRefused:
		var gone sourceError
		if !errors.As(l.err, &gone) {
			r.event("Refused", fmt.Sprintf("%s %q does not validate: %s", l.rev.Short(), l.rev.Subject, firstLines(d.message, 3)), l.rev, 0)
		}
	case PhaseQuarantined, PhaseHeld, PhaseSuspended:
		r.event(string(d.phase), d.message, l.rev, 0)
	}
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	if len(lines) <= n {
		return text
	}
	return strings.Join(lines[:n], "") + "…"
}

// look only observes: there is nothing to converge to.
func (r *Instance) look(ctx context.Context) error {
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil {
		return err
	}
	t := Target{}
	if r.good != nil {
		t = r.good.target
	}
	r.setStatus(func(s *Status) {
		phase := s.Health
		s.observe(time.Now(), t, have)
		if phase == Suspended && s.Phase == PhaseSuspended {
			s.Health = Suspended
		}
	})
	return nil
}

// deploy makes a new generation of what the revision says. Until that can be
// tried, the last good one is kept healed.
func (r *Instance) deploy(ctx context.Context, l loaded, m memo) error {
	hash := l.spec.Hash()
	if r.try.specHash != hash {
		r.try = attempt{specHash: hash}
	}
	if r.waits() {
		return r.instead(ctx, m, r.try.err)
	}
	r.setStatus(func(s *Status) { s.Phase = PhaseApplying })
	watched, stop := r.cancelWhenNewer(ctx, "new "+hash)
	g, t, planned, err := r.prepare(watched, l, m)
	cause := context.Cause(watched)
	stop()
	if err != nil {
		if cause != nil {
			return cause
		}
		r.failed(err)
		if errors.Is(err, ErrUnreachable) {
			return err
		}
		r.cfg.Log.WithError(err).WithField("revision", l.rev.Short()).Warn("Prepare generation")
		return r.instead(ctx, m, err)
	}
	return r.apply(ctx, application{kind: "deploy", doing: "new " + hash, generation: g, target: t, planned: planned, who: l.rev.Author})
}

// waits reports whether the next try is not due.
func (r *Instance) waits() bool {
	return !r.forced && r.try.err != nil && (r.try.terminal || time.Now().Before(r.try.notUntil))
}

// failed counts a failure of the specification that is tried: 2 s, 4 s, … up to
// five minutes until the next.
func (r *Instance) failed(err error) {
	r.try.failures++
	r.try.err, r.try.terminal = err, IsTerminal(err)
	pause := jitter(min(time.Second<<min(r.try.failures, 10), 5*time.Minute))
	if asked, ok := RetryDelay(err); ok {
		pause = asked
	}
	r.try.notUntil = time.Now().Add(pause)
}

// instead keeps the last good generation while a new one cannot be tried.
func (r *Instance) instead(ctx context.Context, m memo, why error) error {
	now := time.Now()
	var healErr error
	if r.good != nil {
		healErr = r.heal(ctx, r.good.target)
	} else {
		healErr = r.look(ctx)
	}
	r.setStatus(func(s *Status) {
		s.Phase, s.Sync = PhaseRetrying, OutOfSync
		if IsTerminal(why) {
			s.Phase = PhaseStalled
		}
		s.set(now, ContainersReady, "False", string(s.Phase), why.Error())
	})
	if healErr != nil {
		return healErr
	}
	return why
}

// prepare resolves the target and plans it, touching nothing that runs.
func (r *Instance) prepare(ctx context.Context, l loaded, m memo) (Generation, Target, Planned, error) {
	g := r.nextGeneration(l, m)
	t := Target{Spec: l.spec, Generation: g.Number, Revision: l.rev.Commit, Dir: r.cfg.Home}
	have, err := r.observeSettled(ctx)
	if err != nil {
		return g, t, Planned{}, err
	}
	if planned := Plan(t, have); blocked(planned) != nil {
		return g, t, planned, blocked(planned)
	}
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return g, t, Planned{}, err
	}
	if have, err = r.observe(ctx); err != nil { // pulling may have taken minutes
		return g, t, Planned{}, err
	}
	g.Images = t.Images
	planned := Plan(t, have)
	return g, t, planned, blocked(planned)
}

// blocked says what in a plan keeps a new generation from being whole.
func blocked(p Planned) error {
	for _, h := range p.Held {
		if h.Reason == "EmptySpec" || h.Reason == "NameTaken" {
			return Terminal(fmt.Errorf("plan generation: %s", h.Message))
		}
	}
	return nil
}

// nextGeneration numbers a new generation; one that was cut off before it
// stood keeps its number.
func (r *Instance) nextGeneration(l loaded, m memo) Generation {
	g := Generation{Revision: l.rev, SpecHash: l.spec.Hash(), Started: time.Now().UTC()}
	if r.broken != nil {
		old, _, err := r.cfg.Store.generation(r.cfg.Name, r.broken.Generation)
		if err == nil && !old.Good && old.SpecHash == g.SpecHash {
			g.Number = old.Number
			return g
		}
	}
	g.Number = m.Next
	return g
}

// observe looks closely and adds what older generations know.
func (r *Instance) observe(ctx context.Context) (Observed, error) {
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, true)
	if err != nil {
		return have, err
	}
	r.lastDeep = time.Now()
	have.Known, have.Sensitive = r.known()
	return have, nil
}

// known are the services of the newest generations, to say what differs.
func (r *Instance) known() (map[string]desired.Service, []string) {
	services, sensitive := map[string]desired.Service{}, []string(nil)
	list, err := r.cfg.Store.Generations(r.cfg.Name)
	if err != nil {
		return services, nil
	}
	for _, g := range list[max(0, len(list)-5):] {
		_, t, err := r.cfg.Store.generation(r.cfg.Name, g.Number)
		if err != nil {
			continue
		}
		for _, s := range t.Spec.Services {
			services[s.Hash()] = s
		}
		sensitive = append(sensitive, t.Spec.Sensitive...)
	}
	return services, sensitive
}

// holdTo applies the generation that an operator asked for.
func (r *Instance) holdTo(ctx context.Context, m memo, number int) error {
	if r.good != nil && r.good.Number == number {
		return r.heal(ctx, r.good.target)
	}
	g, t, err := r.cfg.Store.generation(r.cfg.Name, number)
	if err != nil {
		return Terminal(err)
	}
	t.Dir = r.cfg.Home
	r.setStatus(func(s *Status) { s.Phase = PhaseApplying })
	if held := r.checkFiles(t); len(held) > 0 {
		return Terminal(fmt.Errorf("roll back to generation %d: %s", number, held[0].Message))
	}
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return err
	}
	have, err := r.observeSettled(ctx)
	if err != nil {
		return err
	}
	return r.apply(ctx, application{kind: "rollback", doing: fmt.Sprintf("generation %d", number), generation: g, target: t,
		planned: Plan(t, have), who: m.Hold.By})
}

// healLastGood heals what is applied, with the newest reading of it when that
// is the same specification.
func (r *Instance) healLastGood(ctx context.Context, l loaded, m memo) error {
	t := r.good.target
	if l.err == nil && l.spec.Hash() == r.good.SpecHash {
		images := t.Images
		t.Spec, t.Images = l.spec, images
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
			r.settled(t, have, planned)
			return nil
		}
	}
	have, err := r.observe(ctx)
	if err != nil {
		return err
	}
	r.deep.Store(false)
	planned := Plan(t, have)
	planned.Held = append(planned.Held, r.checkFiles(t)...)
	if planned.Empty() {
		return r.tidy(ctx, t, have, planned)
	}
	r.setStatus(func(s *Status) { s.observe(time.Now(), t, have); s.Sync, s.Pending = OutOfSync, planned.Actions })
	if wait := r.flaps.wait(planned.Actions, time.Now()); wait > 0 && !r.forced {
		return RetryAfter(fmt.Errorf("heal %s: it keeps falling over, waiting %s", planned.Actions[0].Object, wait.Round(time.Second)), wait)
	}
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	return r.apply(ctx, application{kind: "heal", doing: "good", generation: r.good.Generation, target: t, planned: planned, who: "fairlead"})
}

func (r *Instance) deepDue() bool {
	return r.broken != nil || r.deep.Swap(false) || time.Since(r.lastDeep) > r.cfg.DeepEvery
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
func (r *Instance) tidy(ctx context.Context, t Target, have Observed, planned Planned) error {
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
	r.settled(t, have, planned)
	return nil
}

func (r *Instance) brokenTouched() []string {
	if r.broken == nil {
		return nil
	}
	return r.broken.Touched
}

// settled shows that everything is as it should be.
func (r *Instance) settled(t Target, have Observed, planned Planned) {
	r.setStatus(func(s *Status) {
		s.observe(time.Now(), t, have)
		s.Pending = nil
		for _, h := range planned.Held {
			s.set(time.Now(), ContainersReady, "False", h.Reason, h.Message)
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

// observeSettled observes before a new apply; what an abandoned one left aside
// goes first.
func (r *Instance) observeSettled(ctx context.Context) (Observed, error) {
	have, err := r.observe(ctx)
	if err != nil || r.broken != nil || r.good == nil || !leftOver(have) {
		return have, err
	}
	if err := r.cfg.Driver.Settle(ctx, r.good.target); err != nil {
		return have, fmt.Errorf("settle: %w", err)
	}
	return r.observe(ctx)
}
