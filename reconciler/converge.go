package reconciler

import (
	"context"
	"errors"
	"fmt"
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
	r.keepNotices(l)
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return err
	}
	d, m, err := r.decideNow(ctx, l, m)
	if err != nil {
		return err
	}
	if m, err = r.remember(m, l, d); err != nil {
		return err
	}
	r.show(l, m, d)
	if err := r.settleCommitted(ctx); err != nil {
		return err
	}
	r.keepCertificates(r.coming(l, d))
	r.keepAttachments(r.coming(l, d), d.phase == PhaseSuspended)
	switch d.choice {
	case chooseNew:
		return r.deploy(ctx, l, m, d)
	case chooseHeld:
		return r.holdTo(ctx, m, d.generation)
	case chooseLastGood:
		return r.healLastGood(ctx, l)
	}
	return r.look(ctx)
}

// coming is the revision that is about to be applied, or that a first
// deployment tried; nil: what is applied is all that counts.
func (r *Instance) coming(l loaded, d decision) *loaded {
	if l.err == nil && l.spec.Name != "" && (d.choice == chooseNew || r.good == nil) {
		return &l
	}
	return nil
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
	stands := l.err == nil && d.choice == chooseLastGood && d.stands
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

// look only observes: there is nothing to converge to.
func (r *Instance) look(ctx context.Context) error {
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false)
	if err != nil {
		return err
	}
	t := Target{}
	if r.good != nil {
		t = r.good.target
		r.routing.follow(t.Spec, have, nil)
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
func (r *Instance) deploy(ctx context.Context, l loaded, m memo, d decision) error {
	key := attemptKey(l.spec.Hash(), d.digest)
	r.goOn(key)
	if r.waits() {
		return r.instead(ctx, r.try.err)
	}
	r.going.Store(true)
	defer r.going.Store(false)
	r.begins("deploy %s %q: see which images are here, and fetch the others", l.rev.Short(), l.rev.Subject)
	watched, stop := r.watchPull(ctx, "new "+key, d.digest)
	g, t, planned, err := r.prepare(watched, l, m, d.digest)
	cause := context.Cause(watched)
	stop()
	if err != nil {
		return r.notPrepared(ctx, cause, redactError(l.spec.Sensitive, err))
	}
	a := application{kind: "deploy", doing: "new " + key, digest: d.digest, generation: g, target: t, planned: planned, who: l.rev.Author}
	if d.stands {
		a.who = "channel " + l.spec.Follow.Channel
	}
	return r.applyUnseen(ctx, a)
}

// applyUnseen applies what a survey led to. Settings that other hands changed
// on what is left alone are looked for once it stands: nobody waits for that.
func (r *Instance) applyUnseen(ctx context.Context, a application) error {
	if err := r.apply(ctx, a); err != nil {
		return err
	}
	if r.unseen {
		r.Hint()
	}
	return nil
}

// waits reports whether the next try is not due.
func (r *Instance) waits() bool {
	return !r.forced && r.try.err != nil && time.Now().Before(r.try.notUntil)
}

// terminalPause is how long what trying again cannot mend is left alone. What
// stands in its way may be on this host (a name that is taken, an external
// network that is missing), and then a hand mends it without a new revision.
const terminalPause = 5 * time.Minute

// failed counts a failure of the specification that is tried: 2 s, 4 s, … up to
// five minutes until the next.
func (r *Instance) failed(err error) {
	r.try.failures++
	r.try.err = err
	pause := jitter(min(time.Second<<min(r.try.failures, 10), 5*time.Minute))
	if IsTerminal(err) {
		pause = jitter(terminalPause)
	}
	if asked, ok := RetryDelay(err); ok {
		pause = asked
	}
	r.try.notUntil = time.Now().Add(pause)
}

// instead keeps the last good generation while a new one cannot be tried.
func (r *Instance) instead(ctx context.Context, why error) error {
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
		s.set(now, ContainersReady, "False", reasonOf(why, s.Phase), why.Error())
	})
	if healErr != nil {
		return healErr
	}
	return why
}

// prepare resolves the target and plans it, touching nothing that runs.
func (r *Instance) prepare(ctx context.Context, l loaded, m memo, digest string) (Generation, Target, Planned, error) {
	g := r.nextGeneration(l, m, digest)
	t := Target{Spec: l.spec, Generation: g.Number, Revision: l.rev.Commit, Dir: r.cfg.Home, Images: r.fixed(l.spec, digest)}
	began := time.Now()
	have, err := r.observeSettled(ctx)
	if err != nil {
		return g, t, Planned{}, err
	}
	if planned := Plan(t, r.withConnectors(have)); blocked(planned) != nil {
		return g, t, planned, blocked(planned)
	}
	if err := r.cfg.hosts.take(r.cfg.Name, l.spec); err != nil {
		return g, t, Planned{}, err
	}
	t.Tell = func(reason, message string) { r.event(reason, message, l.rev, g.Number) }
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return g, t, Planned{}, err
	}
	// Pulling may have taken minutes. What changes within a moment is seen by
	// the driver, which looks again at all that it touches.
	if time.Since(began) > time.Second {
		if have, err = r.survey(ctx); err != nil {
			return g, t, Planned{}, err
		}
	}
	g.Images = t.Images
	planned := Plan(t, r.withConnectors(have))
	return g, t, planned, blocked(planned)
}

// blocked says what in a plan keeps a new generation from being whole.
func blocked(p Planned) error {
	for _, h := range p.Held {
		if h.Reason == "EmptySpec" || h.Reason == "NameTaken" {
			return Terminal(heldError{h})
		}
	}
	return nil
}

// heldError is something held that keeps a generation from being whole.
type heldError struct{ Held }

func (e heldError) Error() string { return "plan generation: " + e.Message }

// reasonOf is the reason of the condition that an error becomes.
func reasonOf(err error, otherwise Phase) string {
	var held heldError
	if errors.As(err, &held) {
		return held.Reason
	}
	return string(otherwise)
}

// nextGeneration numbers a new generation; one that was cut off before it
// stood keeps its number.
func (r *Instance) nextGeneration(l loaded, m memo, digest string) Generation {
	g := Generation{Revision: l.rev, SpecHash: l.spec.Hash(), Started: time.Now().UTC(), Release: r.releaseName(l.spec, digest)}
	if r.broken != nil {
		old, _, err := r.cfg.Store.generation(r.cfg.Name, r.broken.Generation)
		if err == nil && !old.Good && old.SpecHash == g.SpecHash && followedDigest(old, l.spec) == digest {
			g.Number = old.Number
			return g
		}
	}
	g.Number = m.Next
	return g
}

// followedDigest is what the reference that a specification follows meant.
func followedDigest(g Generation, spec desired.Spec) string {
	if spec.Follow == nil {
		return ""
	}
	return g.Images[spec.Follow.Ref].Digest
}

// observe looks closely and adds what older generations know.
func (r *Instance) observe(ctx context.Context) (Observed, error) {
	// Taken back before looking: a hint that comes meanwhile is not yet seen.
	r.deep.Store(false)
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, true)
	if err != nil {
		r.deep.Store(true)
		return have, err
	}
	r.lastDeep, r.unseen = time.Now(), false
	have.Known, have.Digests, have.Sensitive = r.known()
	return have, nil
}

// survey looks at everything but the settings of each container, before what
// is made anew by a plan. After an apply that was cut off it looks at those too.
func (r *Instance) survey(ctx context.Context) (Observed, error) {
	if r.broken != nil {
		return r.observe(ctx)
	}
	have, err := r.cfg.Driver.Survey(ctx, r.cfg.Name)
	if err != nil {
		return have, err
	}
	r.unseen = len(have.Containers) > 0
	have.Known, have.Digests, have.Sensitive = r.known()
	return have, nil
}

// known are the services of the newest generations and of the applied one, to
// say what differs.
func (r *Instance) known() (map[string]desired.Service, map[string]string, []string) {
	services, digests, sensitive := map[string]desired.Service{}, map[string]string{}, []string(nil)
	list, err := r.cfg.Store.Generations(r.cfg.Name)
	if err != nil {
		return services, digests, nil
	}
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return services, digests, nil
	}
	const newest = 5
	for i, g := range list {
		if i < len(list)-newest && g.Number != m.LastGood { // an operator may have gone far back
			continue
		}
		_, t, err := r.cfg.Store.generation(r.cfg.Name, g.Number)
		if err != nil {
			continue
		}
		for _, s := range t.Spec.Services {
			services[s.Hash()] = s
		}
		for _, img := range t.Images {
			digests[img.ID] = img.Digest
		}
		sensitive = append(sensitive, t.Spec.Sensitive...)
	}
	return services, digests, sensitive
}

// holdTo applies the generation that an operator asked for.
func (r *Instance) holdTo(ctx context.Context, m memo, number int) error {
	if r.good != nil && r.good.Number == number {
		return r.heal(ctx, r.good.target)
	}
	doing := fmt.Sprintf("generation %d", number)
	r.goOn(doing)
	if r.waits() {
		return r.instead(ctx, r.try.err)
	}
	r.begins("go back to generation %d, which %s asked for", number, m.Hold.By)
	watched, stop := r.watchPull(ctx, doing, "")
	g, t, planned, err := r.prepareHeld(watched, number)
	cause := context.Cause(watched)
	stop()
	if err != nil {
		return r.notPrepared(ctx, cause, fmt.Errorf("roll back to generation %d: %w", number, err))
	}
	return r.applyUnseen(ctx, application{kind: "rollback", doing: doing, generation: g, target: t, planned: planned, who: m.Hold.By})
}

// prepareHeld plans the way back to a recorded generation, touching nothing
// that runs.
func (r *Instance) prepareHeld(ctx context.Context, number int) (g Generation, t Target, planned Planned, err error) {
	if g, t, err = r.cfg.Store.generation(r.cfg.Name, number); err != nil {
		return g, t, planned, Terminal(err)
	}
	t.Dir = r.cfg.Home
	if held := r.checkFiles(t); len(held) > 0 {
		return g, t, planned, Terminal(heldError{held[0]})
	}
	if err := r.cfg.hosts.take(r.cfg.Name, t.Spec); err != nil {
		return g, t, planned, err
	}
	if t.Images, err = r.cfg.Driver.Prepare(ctx, t, r.cfg.Progress); err != nil {
		return g, t, planned, err
	}
	have, err := r.observeSettled(ctx)
	if err != nil {
		return g, t, planned, err
	}
	planned = Plan(t, r.withConnectors(have))
	return g, t, planned, blocked(planned)
}

// notPrepared keeps the last good generation when a way to another one could
// not be begun. cause is set when something else took over meanwhile.
func (r *Instance) notPrepared(ctx context.Context, cause, err error) error {
	r.tookOver = errors.Is(cause, errSuperseded)
	r.sayNotBegun(cause, err)
	if cause != nil {
		return cause
	}
	r.failed(err)
	if errors.Is(err, ErrUnreachable) {
		return err
	}
	return r.instead(ctx, err)
}

// observeSettled observes before a new apply; what an abandoned one left aside
// goes first.
func (r *Instance) observeSettled(ctx context.Context) (Observed, error) {
	have, err := r.survey(ctx)
	if err != nil || r.broken != nil || r.good == nil || !leftOver(have) {
		return have, err
	}
	if err := r.cfg.Driver.Settle(ctx, r.good.target); err != nil {
		return have, fmt.Errorf("settle: %w", err)
	}
	return r.survey(ctx)
}
