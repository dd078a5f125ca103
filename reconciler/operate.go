package reconciler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// What operators ask of an instance. Each only writes down what is wanted and
// triggers a pass, so that the loop stays the one that acts.

// Name returns the name of the instance.
func (r *Instance) Name() string { return r.cfg.Name }

// Suspend stops all action, healing included, until Resume or the given time
// (zero: no end).
func (r *Instance) Suspend(ctx context.Context, reason, by string, until time.Time) error {
	if strings.TrimSpace(reason) == "" {
		return errors.New("suspend: a reason is needed, so that the next person knows why")
	}
	s := &Suspension{Reason: reason, By: by, At: time.Now().UTC(), Until: until}
	if _, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Suspended = s }); err != nil {
		return err
	}
	r.tell(CorrelationOf(ctx), "Suspended", by+": "+reason, desired.Revision{}, 0)
	r.note(ctx)
	r.Trigger()
	return nil
}

// Resume ends a suspension by Suspend. One in instance.yaml is ended by a commit.
func (r *Instance) Resume(ctx context.Context, by string) error {
	if _, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Suspended = nil }); err != nil {
		return err
	}
	r.tell(CorrelationOf(ctx), "Resumed", "by "+by, desired.Revision{}, 0)
	r.HintFor(ctx)
	return nil
}

// Retry lifts the quarantine of everything, for when the cause was outside. While
// the instance is suspended or held nothing would be tried, so nothing is lifted
// either: what failed would be tried later, when nobody looks.
func (r *Instance) Retry(ctx context.Context) error {
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil || len(m.Quarantined) == 0 {
		return err
	}
	l := r.read(ctx, "")
	s := situation{spec: l.spec, loadErr: l.err, memo: m, now: time.Now()}
	if l.err == nil {
		s.offer = r.ask(ctx, l.spec, false)
	}
	switch decide(s).phase {
	case PhaseSuspended, PhaseHeld:
		return nil
	}
	_, err = r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Quarantined = nil })
	return err
}

// Rollback holds an older generation (0: see RollbackTarget) until
// a newer revision changes the instance. The loop goes on and heals it.
func (r *Instance) Rollback(ctx context.Context, number int, by string) (Generation, error) {
	to, err := r.RollbackTarget(number)
	if err != nil {
		return to, err
	}
	l := r.read(ctx, "")
	hold := &Hold{Generation: to.Number, By: by, At: time.Now().UTC()}
	if l.err == nil {
		hold.Instead = l.spec.Hash()
		if o := r.ask(ctx, l.spec, false); o != nil {
			hold.Release = o.release.Digest
		}
	}
	if l.err == nil && hold.Instead == to.SpecHash && l.spec.Follow == nil {
		hold = nil // the newest revision asks for just that
	}
	if _, err := r.cfg.Store.update(r.cfg.Name, func(m *memo) { m.Hold = hold }); err != nil {
		return to, err
	}
	r.tell(CorrelationOf(ctx), "RollbackAsked", fmt.Sprintf("%s asks for generation %d (%s)", by, to.Number, to.Revision.Short()), to.Revision, to.Number)
	r.HintFor(ctx)
	return to, nil
}

// RollbackTarget returns the generation that a rollback to number goes to; 0 is
// the good one before the applied, or the applied one itself while a new one is
// on its way.
func (r *Instance) RollbackTarget(number int) (Generation, error) {
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return Generation{}, err
	}
	list, err := r.cfg.Store.Generations(r.cfg.Name)
	if err != nil {
		return Generation{}, err
	}
	var current Generation
	for _, g := range list {
		if g.Number == m.LastGood {
			current = g
		}
	}
	if number == 0 && m.LastGood != 0 && r.going.Load() {
		return current, nil
	}
	for _, g := range slices.Backward(list) {
		switch {
		case number != 0 && g.Number == number && !g.Good:
			return g, fmt.Errorf("roll back to generation %d: it never passed its checks", number)
		case number != 0 && g.Number == number:
			return g, nil
		case number == 0 && g.Good && g.Number < current.Number && !sameTarget(g, current):
			return g, nil
		}
	}
	if number == 0 {
		return Generation{}, errors.New("roll back: there is no older good generation; fairlead history shows what there is")
	}
	return Generation{}, fmt.Errorf("roll back to generation %d: %w; fairlead history shows what there is", number, ErrNoGeneration)
}

// sameTarget reports whether two generations ask for the same: a rollback from
// one to the other would change nothing.
func sameTarget(a, b Generation) bool {
	if a.SpecHash != b.SpecHash {
		return false
	}
	for ref, img := range a.Images {
		if other := b.Images[ref]; img.ID != other.ID && img.ID != "" && other.ID != "" {
			return false
		}
	}
	return true
}

// Preview says what a revision would do now, without doing it. The spec is the
// newest revision's when snapshot is nil.
func (r *Instance) Preview(ctx context.Context, snapshot *desired.Snapshot) (PlanReport, error) {
	return r.preview(ctx, snapshot, Ask{Fresh: true})
}

func (r *Instance) preview(ctx context.Context, snapshot *desired.Snapshot, how Ask) (PlanReport, error) {
	l, err := r.readAt(ctx, snapshot)
	if err != nil {
		return PlanReport{}, err
	}
	have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, true)
	if err != nil {
		return PlanReport{}, err
	}
	have.Known, have.Digests, have.Sensitive = r.known()
	t := Target{Spec: l.spec, Revision: l.rev.Commit, Dir: r.cfg.Home}
	report := PlanReport{Instance: r.cfg.Name, Revision: l.rev, Notes: l.spec.Notes}
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil {
		return report, err
	}
	report.From = m.LastGood
	s, d, err := r.previewDecision(ctx, l, m, how)
	if err != nil {
		return report, err
	}
	if s.offer != nil {
		if err := s.offer.failed(); err != nil {
			report.Notes = append(report.Notes, fmt.Sprintf("the registry could not be asked what %s is now: %v", l.spec.Follow.Ref, err))
		}
	}
	t.Images = previewImages(s.last, l.spec, d.digest)
	have.Connectors, have.Attached = map[string]desired.ConnectorSpec{}, r.attached()
	maps.Copy(have.Connectors, s.last.Spec.Connectors)
	planned := Plan(t, have)
	report.Actions, report.Held = planned.Actions, planned.Held
	report.Switches = r.switches(l.spec, planned)
	if q := findQuarantine(m, l.spec.Hash(), l.spec.Follow, d.digest); q != nil {
		report.Notes = append(report.Notes, fmt.Sprintf("generation %d with this specification failed and is in quarantine: %s", q.Generation, q.Reason))
	}
	if w := d.deferral; w != nil {
		report.Deferred = w
	}
	report.Notes = append(report.Notes, r.rests(m, l.spec, s.newest())...)
	if owner, host, err := r.cfg.hosts.taken(r.cfg.Name, l.spec); err != nil {
		return report, err
	} else if owner != "" {
		report.Held = append(report.Held, hostTaken(owner, host))
	}
	return report, nil
}

// rests says why nothing of a plan would be done now.
func (r *Instance) rests(m memo, spec desired.Spec, newest string) (notes []string) {
	now := time.Now()
	if d, rests := suspended(situation{spec: spec, memo: m, now: now}); rests {
		notes = append(notes, "suspended: nothing of this is done until it is resumed: "+d.message)
	}
	if h := m.Hold; h != nil && h.stands(spec.Hash(), newest) {
		notes = append(notes, fmt.Sprintf("generation %d is held by %s: nothing of this is done until a newer revision changes the instance", h.Generation, h.By))
	}
	return notes
}

// previewDecision decides on a revision that need not be the newest one. It asks
// the application whether it is busy, and remembers nothing of it.
func (r *Instance) previewDecision(ctx context.Context, l loaded, m memo, how Ask) (situation, decision, error) {
	s := situation{spec: l.spec, memo: m, now: time.Now(), offer: r.askAs(ctx, l.spec, how)}
	s.memo.Suspended, s.memo.Hold, s.spec.Suspend = nil, nil, nil
	if m.LastGood != 0 {
		g, last, err := r.cfg.Store.generation(r.cfg.Name, m.LastGood)
		if err != nil {
			return s, decision{}, err
		}
		s.lastSpec, s.last = g.SpecHash, last
	}
	d := decide(s)
	if d.askBusy {
		busy := r.askBusy(ctx, *l.spec.Follow.Busy, l.spec.Sensitive)
		s.busy = &busy
		d = decide(s)
	}
	return s, d, nil
}

func (r *Instance) readAt(ctx context.Context, snapshot *desired.Snapshot) (loaded, error) {
	if snapshot == nil {
		l := r.read(ctx, "")
		return l, l.err
	}
	l := r.readTree(*snapshot, "")
	if judged := r.vouch(*snapshot, l); judged.unsigned && l.err == nil { // it need not be what is followed, nor be signed yet
		l.spec.Notes = append(l.spec.Notes, "it would be refused: "+judged.err.Error())
	}
	return l, l.err
}

// PlanReport is a plan with where it comes from.
type PlanReport struct {
	Instance string           `json:"instance"`
	Revision desired.Revision `json:"revision"`
	From     int              `json:"from"` // the applied generation; 0: none
	Planned
	// Switches say what users of the application will notice of the plan.
	Switches []SwitchReport `json:"switches,omitempty"`
	// Deferred is why a newer release is not part of the plan.
	Deferred *Deferral `json:"deferred,omitempty"`
	Notes    []string  `json:"notes,omitempty"`
}

// History returns up to limit applies, newest first.
func (r *Instance) History(limit int) ([]Record, error) {
	return r.cfg.Store.History(r.cfg.Name, limit)
}

// Generations returns the generations that are kept, oldest first.
func (r *Instance) Generations() ([]Generation, error) { return r.cfg.Store.Generations(r.cfg.Name) }

// Events returns up to limit events, newest first.
func (r *Instance) Events(limit int) ([]Event, error) { return r.cfg.Events.Recent(r.cfg.Name, limit) }

// Explanation says why an object is as it is.
type Explanation struct {
	Object  string          `json:"object"`
	Service string          `json:"service"`
	Now     ContainerStatus `json:"now,omitzero"`
	// Connector is set when the object is one: where it stands.
	Connector *AttachmentStatus `json:"connector,omitempty"`
	// Last is the newest apply that touched it, with only its own actions.
	Last    *Record  `json:"last,omitempty"`
	Pending []Action `json:"pending,omitempty"` // what is about to happen to it
	// Waiting says why something that the newest revision asks for is not done.
	Waiting string `json:"waiting,omitempty"`
}

// ErrUnknownObject says that an instance has nothing of that name.
var ErrUnknownObject = errors.New("nothing of that name")

// Why explains a service, a container or a connector: what it is, and which
// commit and fields made it so.
func (r *Instance) Why(name string) ([]Explanation, error) {
	s := r.Status()
	records, err := r.History(maxRecords)
	if err != nil {
		return nil, err
	}
	var out []Explanation
	for _, c := range s.Containers {
		if c.Name != name && c.Service != name {
			continue
		}
		e := Explanation{Object: c.Name, Service: c.Service, Now: c, Last: lastTouch(records, c.Name, KindContainer)}
		e.Pending = actionsOn(s.Pending, c.Name, KindContainer)
		out = append(out, e)
	}
	for i, a := range s.Attachments {
		if a.Name == name {
			out = append(out, Explanation{Object: name, Connector: &s.Attachments[i], Last: lastTouch(records, name, KindConnector),
				Pending: actionsOn(s.Pending, name, KindConnector)})
		}
	}
	if len(out) == 0 {
		if e, known := explainAbsent(s, records, name); known {
			out = append(out, e)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("explain %s: %w in instance %s", name, ErrUnknownObject, r.cfg.Name)
	}
	for i := range out {
		out[i].Waiting = waiting(s)
		if a := out[i].Connector; a != nil && a.Phase != AttachmentLive {
			out[i].Waiting = a.describe()
		}
	}
	return out, nil
}

// explainAbsent explains what is not there: networks, volumes, and containers
// that are gone or not made yet.
func explainAbsent(s Status, records []Record, name string) (Explanation, bool) {
	e := Explanation{Object: name, Last: lastTouch(records, name, ""), Pending: actionsOn(s.Pending, name, "")}
	return e, e.Last != nil || len(e.Pending) > 0
}

// lastTouch is the newest record that has to do with an object of a kind, or of
// any when kind is empty.
func lastTouch(records []Record, name string, kind Kind) *Record {
	for _, rec := range records {
		if mine := actionsOn(rec.Actions, name, kind); len(mine) > 0 {
			rec.Actions = mine
			return &rec
		}
	}
	return nil
}

func actionsOn(actions []Action, name string, kind Kind) (mine []Action) {
	for _, a := range actions {
		if (a.Object == name || a.Name == name) && (kind == "" || a.Kind == kind) {
			mine = append(mine, a)
		}
	}
	return mine
}

func waiting(s Status) string {
	switch s.Phase {
	case PhaseApplying, PhaseBaking:
		return ""
	case PhaseIdle:
		if c := s.Condition(ReleaseReady); c.Reason == "Deprecated" { // nothing is done about it, and somebody should
			return c.Reason + ": " + c.Message
		}
		return ""
	}
	switch { // why nothing is done goes before what would be done
	case s.Phase == PhaseSuspended && s.Suspended != nil:
		return "suspended: " + s.Suspended.Reason
	case s.Phase == PhaseHeld && s.Hold != nil:
		return fmt.Sprintf("generation %d is held by %s until a newer revision changes the instance", s.Hold.Generation, s.Hold.By)
	}
	for _, c := range []Condition{s.Condition(SourceReady), s.Condition(ReleaseReady), s.Condition(ContainersReady)} {
		if c.Status == "False" {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	if s.Phase == PhaseQuarantined && len(s.Quarantined) > 0 {
		return "quarantined: " + s.Quarantined[len(s.Quarantined)-1].Reason
	}
	return string(s.Phase)
}
