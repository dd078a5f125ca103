package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// ReconcileRequest asks for a pass.
type ReconcileRequest struct {
	Retry bool `json:"retry"` // lift the quarantine first
	Wait  bool `json:"wait"`  // for the outcome
	// Now takes a release that waits for its time (window, minAge, busy). It
	// means nothing to an instance that follows no channel.
	Now bool   `json:"now,omitempty"`
	By  string `json:"-"`
}

// RollbackRequest asks for an older generation; 0 is the good one before the
// applied. With Commit the repository is brought back by a new commit, without
// it the generation is held until a newer revision arrives.
type RollbackRequest struct {
	Generation int    `json:"generation,omitempty" minimum:"0" doc:"0: the good one before the applied"`
	Commit     bool   `json:"commit,omitempty" doc:"bring the repository back as well, by a new commit"`
	By         string `json:"-"`
}

// RolledBack is the answer to a RollbackRequest. The rollback itself is made by
// the next pass.
type RolledBack struct {
	Generation reconciler.Generation `json:"generation"`
	Commit     string                `json:"commit,omitempty"` // that was made
	// Patch brings the repository back, where this daemon may not push.
	Patch string `json:"patch,omitempty"`
}

// SuspendRequest asks to stop all action, until Until if it is not zero.
type SuspendRequest struct {
	Reason string    `json:"reason" maxLength:"1024" doc:"for those who wonder" example:"stocktaking until Monday"`
	Until  time.Time `json:"until,omitzero" doc:"none: until it is resumed"`
	By     string    `json:"-"`
}

// Pull is how far the pull of an image is; Total is 0 while unknown.
type Pull struct {
	Image   string `json:"image"`
	Current int64  `json:"current"`
	Total   int64  `json:"total"`
}

// Update is something that happened while a reconcile was waited for. Exactly
// one field is set, and Result is the last.
type Update struct {
	Plan   *reconciler.PlanReport `json:"plan,omitempty"`
	Pull   *Pull                  `json:"pull,omitempty"`
	Event  *reconciler.Event      `json:"event,omitempty"`
	Result *Result                `json:"result,omitempty"`
}

// Result is what a reconcile came to.
type Result struct {
	Status reconciler.Status `json:"status"`
	// Record is the newest apply when one ended meanwhile.
	Record *reconciler.Record `json:"record,omitempty"`
}

// lookEvery is how often a waiting reconcile looks whether the plan is known.
const lookEvery = 50 * time.Millisecond

// Reconcile makes a pass, retries that are not due included. With Wait it
// returns when the instance has come to rest, and emit is told what happens on
// the way; emit may be nil.
func (a *API) Reconcile(ctx context.Context, name string, req ReconcileRequest, emit func(Update)) (Result, error) {
	r, err := a.find(name)
	if err != nil {
		return Result{}, err
	}
	if req.Now { // first: it ends a hold
		if err := r.UpgradeNow(ctx, req.By); err != nil && !errors.Is(err, reconciler.ErrNoChannel) {
			return Result{}, err
		}
	}
	if req.Retry {
		if err := r.Retry(ctx); err != nil {
			return Result{}, err
		}
	}
	if !req.Wait && !a.cfg.Alone {
		r.HintFor(ctx)
		return Result{Status: r.Status()}, nil
	}
	before, err := newestRecord(r)
	if err != nil {
		return Result{}, err
	}
	w := waiter{api: a, instance: r, emit: emit}
	status, err := w.run(ctx)
	result := Result{Status: status}
	if record, rerr := newestRecord(r); rerr == nil && record != nil && (before == nil || record.Seq != before.Seq) {
		result.Record = record
		w.planOf(*record)
	}
	return result, err
}

func newestRecord(r *reconciler.Instance) (*reconciler.Record, error) {
	list, err := r.History(1)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// waiter waits for one reconcile and tells of it.
type waiter struct {
	api      *API
	instance *reconciler.Instance
	emit     func(Update)
	planned  bool
}

func (w *waiter) tell(u Update) {
	if w.emit != nil {
		w.emit(u)
	}
}

func (w *waiter) run(ctx context.Context) (reconciler.Status, error) {
	events, stopEvents := w.api.cfg.Events.Listen()
	defer stopEvents()
	pulls, stopPulls := w.api.cfg.Progress.listen()
	defer stopPulls()
	done := make(chan error, 1)
	go func() { done <- w.pass(ctx) }()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.planShown()
		case p := <-pulls:
			if p.instance == w.instance.Name() {
				w.tell(Update{Pull: &p.Pull})
			}
		case e := <-events:
			if e.Instance == w.instance.Name() {
				w.planShown()
				w.tell(Update{Event: &e})
			}
		case err := <-done:
			w.drain(events)
			return w.instance.Status(), err
		}
	}
}

// drain tells of the events that came before the pass ended.
func (w *waiter) drain(events <-chan reconciler.Event) {
	for {
		select {
		case e := <-events:
			if e.Instance == w.instance.Name() {
				w.tell(Update{Event: &e})
			}
		default:
			return
		}
	}
}

// planShown tells the plan once, as soon as it is being applied.
func (w *waiter) planShown() {
	s := w.instance.Status()
	if w.planned || len(s.Pending) == 0 || !onItsWay(s.Phase) {
		return
	}
	w.planned = true
	w.tell(Update{Plan: &reconciler.PlanReport{Instance: s.Name, Revision: w.revisionOf(s), From: s.Generation,
		Planned: reconciler.Planned{Actions: s.Pending}, Switches: s.Switches, Notes: s.Notes}})
}

// revisionOf is the revision that is being applied: the newest, or that of the
// generation that an operator holds.
func (w *waiter) revisionOf(s reconciler.Status) desired.Revision {
	list, err := w.instance.Generations()
	if s.Hold == nil || err != nil {
		return s.Attempted
	}
	for _, g := range list {
		if g.Number == s.Hold.Generation {
			return g.Revision
		}
	}
	return s.Attempted
}

// planOf tells the plan of an apply that ended before anyone saw it.
func (w *waiter) planOf(r reconciler.Record) {
	if w.planned {
		return
	}
	w.planned = true
	w.tell(Update{Plan: &reconciler.PlanReport{Instance: w.instance.Name(), Revision: r.Revision, From: r.From,
		Planned: reconciler.Planned{Actions: r.Actions}}})
}

// pass makes passes until the instance rests: a newer revision may have taken
// over from the one that the first pass was about.
func (w *waiter) pass(ctx context.Context) error {
	if w.api.cfg.Alone {
		w.instance.Once(ctx)
		return context.Cause(ctx)
	}
	for {
		s, err := w.instance.Reconcile(ctx)
		if err != nil {
			return err
		}
		if !onItsWay(s.Phase) && s.Phase != reconciler.PhasePending {
			return nil
		}
	}
}

// onItsWay reports whether an apply has begun and has not ended.
func onItsWay(p reconciler.Phase) bool {
	return p == reconciler.PhaseApplying || p == reconciler.PhaseBaking
}

// Rollback asks for an older generation. The next pass brings it about.
func (a *API) Rollback(ctx context.Context, name string, req RollbackRequest) (RolledBack, error) {
	r, err := a.find(name)
	if err != nil {
		return RolledBack{}, err
	}
	g, err := r.RollbackTarget(req.Generation)
	if err != nil {
		return RolledBack{}, orConflict(err, "GET /api/instances/"+name+"/generations (fairlead history "+name+") lists those that are kept and good")
	}
	if !req.Commit {
		g, err := r.Rollback(ctx, req.Generation, req.By)
		return RolledBack{Generation: g}, err
	}
	message := fmt.Sprintf("Roll back %s to generation %d\n\nThe directory is as it was at %s, %q.\n",
		name, g.Number, g.Revision.Commit, g.Revision.Subject)
	by := authorOf(ctx)
	if _, known := auth.From(ctx); !known {
		by = namedAuthor(req.By, "")
	}
	defer a.cfg.Fleet.Attend(ctx)() // a watch of the repository may see the commit first
	done, err := a.cfg.Source.Restore(ctx, Restoration{Dir: r.Status().Dir, Commit: g.Revision.Commit, Message: message, Author: by})
	if err != nil {
		return RolledBack{Generation: g}, fmt.Errorf("commit rollback: %w", sayAgain(ctx, err, ""))
	}
	return RolledBack{Generation: g, Commit: done.Commit, Patch: done.Patch}, a.taken(ctx, done)
}

// Suspend stops all action on an instance, healing included.
func (a *API) Suspend(ctx context.Context, name string, req SuspendRequest) (reconciler.Status, error) {
	r, err := a.find(name)
	if err != nil {
		return reconciler.Status{}, err
	}
	if !req.Until.IsZero() && !req.Until.After(time.Now()) {
		return reconciler.Status{}, invalid(withHint(fmt.Errorf("suspend %s: %s is in the past", name, req.Until.Format(time.RFC3339)),
			"give a later time, or none"))
	}
	if err := r.Suspend(ctx, req.Reason, req.By, req.Until); err != nil {
		return reconciler.Status{}, invalid(withHint(err, `send {"reason": "…"}`))
	}
	return a.after(ctx, r)
}

// Resume ends what Suspend began.
func (a *API) Resume(ctx context.Context, name, by string) (reconciler.Status, error) {
	r, err := a.find(name)
	if err != nil {
		return reconciler.Status{}, err
	}
	if err := r.Resume(ctx, by); err != nil {
		return reconciler.Status{}, err
	}
	return a.after(ctx, r)
}

// after returns the status once the loop has seen what was asked.
func (a *API) after(ctx context.Context, r *reconciler.Instance) (reconciler.Status, error) {
	if a.cfg.Alone {
		return r.Look(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := r.Reconcile(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return s, nil // an apply in progress is not waited for
	}
	return s, err
}
