package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/fairlead/fairlead/desired"
)

// executor carries out one plan: it writes each action to the journal before
// it starts, runs services side by side in the order of their dependencies,
// and then waits until everything it touched is ready.
type executor struct {
	driver  Driver
	journal *journal
	log     *logrus.Entry
	target  Target
	actions []Action
	// touched are the services whose readiness decides: those of the plan,
	// and those of an earlier attempt at the same generation.
	touched []string
	slots   *semaphore.Weighted // bounds the engine's parallel work
	// undoing says that this is the way back. It is gone even when nothing can
	// be written down (a full disk): the journal tells of the apply already.
	undoing bool

	routing *routing
	prober  Prober
	deploys bool        // it makes something new
	baking  func()      // called when everything is ready and has to stay so; may be nil
	smoked  atomic.Bool // the smoke steps were made while switching
	held    holds
	risks   risks
	served  func() // called when everything that was touched serves; may be nil
	tell    teller
}

// parallelStarts bounds how many containers are started at a time. An engine
// saturates two cores at about four, but each start also waits for the kernel
// and the disk: a first deployment of 100 takes a tenth longer with four.
const parallelStarts = 16

func (r *Instance) newExecutor(log *logrus.Entry, t Target, actions []Action, touched []string) *executor {
	x := &executor{driver: r.cfg.Driver, journal: r.journal, log: log, target: t, actions: actions,
		touched: touched, slots: semaphore.NewWeighted(parallelStarts), routing: r.routing, prober: r.cfg.Prober, tell: r.teller(t.Spec)}
	x.target.Switch = x
	return x
}

func (x *executor) run(ctx context.Context) error {
	before, containers, after := x.phases()
	for _, a := range before {
		if err := x.act(ctx, a); err != nil {
			return err
		}
	}
	if err := x.services(ctx, containers); err != nil {
		return err
	}
	if err := x.verify(ctx); err != nil {
		return err
	}
	for _, a := range after { // networks go last: only now is nothing on them
		if err := x.act(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// phases splits the plan: what comes before the services (networks, volumes,
// removals of containers), the actions of each service, and what goes last:
// removals of containers that hand their requests over, and of networks.
func (x *executor) phases() (before []Action, services map[string][]Action, after []Action) {
	services = map[string][]Action{}
	var handed []Action
	for _, a := range x.actions {
		switch {
		case a.Kind == KindContainer && a.Verb == Remove && x.handsOver(a.Name):
			handed = append(handed, a)
		case a.Kind == KindConnector: // done by Attachments.Set, and not waited for
		case a.Kind == KindNetwork && a.Verb == Remove:
			after = append(after, a)
		case a.Kind == KindContainer && a.Verb != Remove:
			services[a.Name] = append(services[a.Name], a)
		default:
			before = append(before, a)
		}
	}
	return before, services, append(handed, after...)
}

// handsOver reports whether requests go from a service to another one that may
// run beside it: then it is removed once that one has them.
func (x *executor) handsOver(service string) bool {
	return slices.ContainsFunc(x.target.Spec.Front, func(f desired.FrontRoute) bool {
		return f.Service != service && x.target.Spec.Services[f.Service].UpdateOrder == startFirst && x.routing.leadsHost(f.Host, service)
	})
}

// startFirst is the update order in which both containers run for a while.
const startFirst = "start-first"

func (x *executor) write(e Entry) error {
	err := x.journal.write(e)
	if err != nil && x.undoing {
		x.log.WithError(err).Warn("Go back without a journal")
		return nil
	}
	return err
}

func (x *executor) act(ctx context.Context, a Action) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	x.noteRisk(a)
	words := fmt.Sprintf("%s %s %s", a.Verb, a.Kind, a.Object)
	if err := x.write(Entry{Step: StepAction, Generation: x.target.Generation, Action: words}); err != nil {
		return err
	}
	x.log.WithFields(logrus.Fields{"action": words, "reason": a.Reason}).Info("Apply action")
	told := x.sayAction(a)
	do := x.driver.Ensure
	if a.Verb == Remove {
		do = x.driver.Remove
	}
	calm, done := lingering(ctx)
	defer done()
	if err := do(calm, x.target, a); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("%s: %w", words, err)
	}
	told()
	return nil
}

// lingerFor is how long an action goes on when the daemon is told to stop, so
// that no container is left stopped with its replacement not started: nobody
// may come to resume it for a long time.
const lingerFor = 20 * time.Second

// lingering returns a context for one action. It ends with ctx when something
// else takes over or another action failed, since then a next step follows at
// once; when the daemon stops, it lasts lingerFor longer.
func lingering(ctx context.Context) (context.Context, func()) {
	calm, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	end := context.AfterFunc(ctx, func() {
		cause := context.Cause(ctx)
		if cause == context.Canceled {
			timer := time.AfterFunc(lingerFor, func() { cancel(cause) })
			context.AfterFunc(calm, func() { timer.Stop() })
			return
		}
		cancel(cause)
	})
	return calm, func() { end(); cancel(context.Canceled) }
}

// services runs every service with actions as soon as what it depends on is
// there. The first failure stops the rest.
func (x *executor) services(ctx context.Context, actions map[string][]Action) error {
	group, ctx := errgroup.WithContext(ctx)
	done := map[string]chan struct{}{}
	for name := range actions {
		done[name] = make(chan struct{})
	}
	for _, name := range StartOrder(x.target.Spec) {
		if len(actions[name]) == 0 {
			continue
		}
		group.Go(func() error {
			if err := x.awaitDependencies(ctx, name, done); err != nil {
				return err
			}
			if err := x.service(ctx, actions[name]); err != nil {
				return err
			}
			close(done[name])
			return nil
		})
	}
	return group.Wait()
}

// service applies the actions of one service. Replicas that are replaced go
// one by one, each ready before the next, so that a bad release stops at the
// first.
func (x *executor) service(ctx context.Context, actions []Action) error {
	group, gctx := errgroup.WithContext(ctx)
	rolling := slices.ContainsFunc(actions, func(a Action) bool { return a.Verb == Replace }) && len(actions) > 1
	for i, a := range actions {
		one := func(ctx context.Context) error {
			if err := x.slots.Acquire(ctx, 1); err != nil {
				return context.Cause(ctx)
			}
			defer x.slots.Release(1)
			return x.act(ctx, a)
		}
		if !rolling {
			group.Go(func() error { return one(gctx) })
			continue
		}
		if err := one(ctx); err != nil {
			return err
		}
		if i < len(actions)-1 {
			if err := x.replicaReady(ctx, a); err != nil {
				return err
			}
		}
	}
	return group.Wait()
}

// replicaReady waits for one of several replicas and leads requests to it.
func (x *executor) replicaReady(ctx context.Context, a Action) error {
	if err := x.ready(ctx, Wait{Service: a.Name, Replica: a.Replica, Condition: x.readiness(a.Name), Stable: leastStable}); err != nil {
		return err
	}
	return x.admit(ctx, a.Name)
}

func (x *executor) awaitDependencies(ctx context.Context, name string, done map[string]chan struct{}) error {
	service := x.target.Spec.Services[name]
	for _, dep := range needs(service) {
		ch, acting := done[dep]
		if !acting {
			continue
		}
		select {
		case <-ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, d := range service.DependsOn {
		dep, known := x.target.Spec.Services[d.Service]
		if !known {
			continue // optional, and its profile is off
		}
		x.sayDependency(name, d)
		for replica := 1; replica <= dep.Replicas; replica++ {
			err := x.await(ctx, Wait{Service: d.Service, Replica: replica, Condition: d.Condition})
			if err != nil && (d.Required || context.Cause(ctx) != nil) {
				return err
			}
		}
	}
	return nil
}

// readiness is what a service must reach: completion if somebody waits for it,
// else that it runs (and is healthy, where it can tell).
func (x *executor) readiness(service string) desired.Condition {
	for _, s := range x.target.Spec.Services {
		for _, d := range s.DependsOn {
			if d.Service == service && d.Condition == desired.Completed {
				return desired.Completed
			}
		}
	}
	return desired.Started
}

// leastStable makes a wait look at the health check even where no time to bake
// is asked for: "started" alone would be fulfilled by a process that is up.
const leastStable = 50 * time.Millisecond

// defaultHealthTimeout bounds a wait when the specification does not.
const defaultHealthTimeout = 2 * time.Minute

func (x *executor) await(ctx context.Context, w Wait) error {
	timeout := x.healthTimeout()
	limited, cancel := context.WithTimeout(ctx, timeout+w.Stable)
	defer cancel()
	err := x.driver.Await(limited, x.target, w)
	switch {
	case err == nil:
		return nil
	case context.Cause(ctx) != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrUnreachable):
		return err // a call that got no answer in time says nothing of the container
	case errors.Is(err, context.DeadlineExceeded):
		return &NotReady{
			Container: x.target.Spec.ContainerName(w.Service, w.Replica), Phase: phaseOf(w),
			Reason: fmt.Sprintf("not reached after %s (health.timeout in instance.yaml)", timeout),
		}
	}
	return err
}

func phaseOf(w Wait) string {
	switch w.Condition {
	case desired.Healthy:
		return "health"
	case desired.Completed:
		return "completion"
	}
	if w.Stable > 0 {
		return "stable"
	}
	return "start"
}

// touchedBy lists the services that a plan acts on, sorted.
func touchedBy(actions []Action) (names []string) {
	for _, a := range actions {
		if a.Kind == KindContainer && a.Verb != Remove && !slices.Contains(names, a.Name) {
			names = append(names, a.Name)
		}
	}
	slices.Sort(names)
	return names
}
