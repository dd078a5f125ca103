package reconciler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/desired"
)

// verify waits until everything that was touched is ready, asks the
// application, leads requests to it, and sees that it stays so. Only what was
// touched gates: a service that was sick before stays its own problem.
func (x *executor) verify(ctx context.Context) error {
	if err := x.write(Entry{Step: StepVerify, Generation: x.target.Generation}); err != nil {
		return err
	}
	if err := x.allReady(ctx, leastStable, x.ready); err != nil {
		return err
	}
	if err := x.probeAndAdmit(ctx); err != nil {
		return err
	}
	x.risks.serves()
	if x.served != nil {
		x.served()
	}
	bake := max(x.target.Spec.Bake, leastStable)
	if len(x.touched) == 0 {
		return nil
	}
	if x.baking != nil {
		x.baking()
	}
	if x.target.Spec.Bake > 0 {
		x.tell.say(LineBake, "", "see for %s that all of it stays so (health.bake)", x.target.Spec.Bake)
	}
	if err := x.allReady(ctx, bake, x.await); err != nil {
		return err
	}
	return x.checkHealth(ctx)
}

// allReady waits, in the given way, for every replica of what was touched.
func (x *executor) allReady(ctx context.Context, stable time.Duration, await func(context.Context, Wait) error) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range x.touched {
		s, known := x.target.Spec.Services[name]
		if !known {
			continue
		}
		for replica := 1; replica <= s.Replicas; replica++ {
			w := Wait{Service: name, Replica: replica, Condition: x.readiness(name), Stable: stable}
			group.Go(func() error { return await(ctx, w) })
		}
	}
	return group.Wait()
}

// ready waits for one replica. One that can be asked over HTTP is ready when it
// answers: its health check says so only at its next turn, seconds later, while
// requests may be held. What the health check says counts in the bake.
func (x *executor) ready(ctx context.Context, w Wait) error {
	told := x.sayWait(w)
	if err := x.isReady(ctx, w); err != nil {
		return err
	}
	told()
	return nil
}

func (x *executor) isReady(ctx context.Context, w Wait) error {
	if !x.answersHTTP(w.Service) {
		return x.await(ctx, w)
	}
	group, both := errgroup.WithContext(ctx)
	waiting, enough := context.WithCancel(both)
	defer enough()
	group.Go(func() error { // it may end, or restart again and again: then nobody answers
		if err := x.await(waiting, w); err != nil && waiting.Err() == nil {
			return err
		}
		return nil
	})
	group.Go(func() error {
		defer enough()
		return x.answers(both, w)
	})
	return group.Wait()
}

func (x *executor) answersHTTP(service string) bool {
	check := x.target.Spec.Check
	return check != nil && check.Service == service && check.Path != "" && x.prober != nil
}

// addressKept is how long a container is asked at the address that it had: one
// that is restarted may come back with another.
const addressKept = 5 * time.Second

// answers asks one replica until it answers as the HTTP check wants.
func (x *executor) answers(ctx context.Context, w Wait) error {
	limited, cancel := context.WithTimeout(ctx, x.healthTimeout())
	defer cancel()
	var err error = &NotReady{Container: x.target.Spec.ContainerName(w.Service, w.Replica), Phase: "health", Reason: "it does not run"}
	for {
		have, oerr := x.driver.Observe(limited, x.target.Spec.Name, false)
		if oerr != nil {
			return oerr
		}
		try, done := context.WithTimeout(limited, addressKept)
		for _, c := range have.Containers {
			if c.Service == w.Service && c.Replica == w.Replica && c.Slot == SlotCurrent && c.State == StateRunning {
				err = x.probe(try, c, true, false)
			}
		}
		done()
		if err == nil || context.Cause(ctx) != nil {
			return firstOf(context.Cause(ctx), err)
		}
		timer := time.NewTimer(lookPause)
		select {
		case <-limited.Done():
			timer.Stop()
			return firstOf(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// lookPause is between two looks for a container that does not answer yet.
const lookPause = 100 * time.Millisecond

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// probeAndAdmit makes the HTTP check and the smoke steps, and then leads
// requests to what was touched. Requests that are held meanwhile are not kept
// longer than their route allows: what is healthy by then gets them.
func (x *executor) probeAndAdmit(ctx context.Context) error {
	if check := x.target.Spec.Check; check != nil && !slices.Contains(x.touched, check.Service) { // a deployment touched what it needs
		if err := x.checkHealth(ctx); err != nil { // else it was asked already
			return err
		}
	}
	release := x.admitBeforeHoldEnds(ctx)
	err := x.smoke(ctx)
	release()
	if err != nil {
		return err
	}
	return x.admit(ctx, x.touched...)
}

// admit leads requests to the services, as they are found now.
func (x *executor) admit(ctx context.Context, services ...string) error {
	services = slices.DeleteFunc(slices.Clone(services), func(s string) bool { return !x.routed(s) })
	if len(services) == 0 {
		return nil
	}
	have, err := x.driver.Observe(ctx, x.target.Spec.Name, false)
	if err != nil {
		return err
	}
	for _, s := range services {
		x.routing.admit(x.target.Spec, s, have)
		x.tell.say(LineSwitch, s, "requests go to it")
	}
	return nil
}

// routed reports whether the target leads requests to a service.
func (x *executor) routed(service string) bool {
	return x.routing != nil && x.routing.traffic != nil &&
		slices.ContainsFunc(x.target.Spec.Front, func(f desired.FrontRoute) bool { return f.Service == service })
}

// admitBeforeHoldEnds admits early when the smoke steps take longer than
// requests are held. The function that it returns ends that.
func (x *executor) admitBeforeHoldEnds(ctx context.Context) func() {
	until, held := x.held.until()
	if !held {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		timer := time.NewTimer(time.Until(until))
		defer timer.Stop()
		select {
		case <-ctx.Done():
		case <-timer.C:
			if err := x.admit(ctx, x.touched...); err != nil {
				x.log.WithError(err).Warn("Release held requests")
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

// holds remembers when the first request may have begun to be held.
type holds struct {
	mu    sync.Mutex
	first time.Time // when the earliest hold ends
}

// holdMargin is how long before the end of a hold requests are released to a
// service that is healthy, though not every smoke step was made.
const holdMargin = 2 * time.Second

func (h *holds) began(hold time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if end := time.Now().Add(hold - min(holdMargin, hold/4)); h.first.IsZero() || end.Before(h.first) {
		h.first = end
	}
}

func (h *holds) until() (time.Time, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first, !h.first.IsZero()
}

// Leave implements Switch.
func (x *executor) Leave(ctx context.Context, _ Target, c Container) error {
	if x.routing == nil || !x.routing.leads(c.Service) {
		return nil
	}
	for _, f := range x.target.Spec.Front {
		if f.Service == c.Service {
			x.held.began(f.Hold)
		}
	}
	x.tell.say(LineSwitch, c.Name, "lead no more requests to it, and wait for those on their way")
	if err := x.routing.leave(ctx, c.ID); err != nil {
		return fmt.Errorf("drain %s: %w", c.Name, err)
	}
	x.tell.say(LineSwitch, c.Name, "no request is on its way to it any more")
	return nil
}

// Ready implements Switch: the replacement of a start-first swap is asked
// before requests are led to it.
func (x *executor) Ready(ctx context.Context, _ Target, c Container) error {
	if check := x.target.Spec.Check; check != nil && check.Service == c.Service && x.prober != nil {
		x.tell.say(LineCheck, c.Name, "ask it before requests go to it: GET %s", check.Path)
		if err := x.probe(ctx, c, true, len(x.target.Spec.Smoke) > 0); err != nil {
			return err
		}
		x.smoked.Store(true)
	}
	if x.routed(c.Service) {
		x.routing.add(x.target.Spec, c)
		x.tell.say(LineSwitch, c.Name, "requests go to it as well")
	}
	return nil
}

// checkHealth makes the HTTP check on every replica of its service, when that
// service or something that it needs was touched.
func (x *executor) checkHealth(ctx context.Context) error {
	check := x.target.Spec.Check
	if check == nil || !x.answersHTTP(check.Service) || !x.concerns(check.Service) {
		return nil
	}
	x.tell.say(LineCheck, check.Service, "ask whether it is well: GET %s", check.Path)
	return x.eachCurrent(ctx, check.Service, func(ctx context.Context, c Container) error { return x.probe(ctx, c, true, false) })
}

// smoke makes the smoke steps on the first replica, unless that was done when
// it was switched to.
func (x *executor) smoke(ctx context.Context) error {
	check := x.target.Spec.Check
	if check == nil || len(x.target.Spec.Smoke) == 0 || x.prober == nil || !x.concerns(check.Service) {
		return nil
	}
	if x.smoked.Load() && len(x.touched) == 1 {
		return nil
	}
	return x.eachCurrent(ctx, check.Service, func(ctx context.Context, c Container) error {
		if c.Replica != 1 {
			return nil
		}
		return x.probe(ctx, c, false, true)
	})
}

// eachCurrent does something with each container of a service that runs now.
func (x *executor) eachCurrent(ctx context.Context, service string, do func(context.Context, Container) error) error {
	have, err := x.driver.Observe(ctx, x.target.Spec.Name, false)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	found := 0
	for _, c := range have.Containers {
		if c.Service == service && c.Slot == SlotCurrent && c.State == StateRunning {
			found++
			group.Go(func() error { return do(ctx, c) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if found == 0 && x.target.Spec.Services[service].Replicas > 0 {
		return &NotReady{Container: x.target.Spec.ContainerName(service, 1), Phase: "health", Reason: "it does not run any more"}
	}
	return nil
}

// probe asks one container over HTTP, within the time that health.timeout gives.
func (x *executor) probe(ctx context.Context, c Container, health, smoke bool) error {
	check := *x.target.Spec.Check
	e, ok := endpointOf(c, check.Port)
	if !ok {
		return &NotReady{Container: c.Name, Phase: "health", Reason: "it has no address that this host reaches (network_mode: none?)"}
	}
	base := "http://" + e.Address.String()
	if health && check.Path != "" {
		limited, cancel := context.WithTimeout(ctx, x.healthTimeout())
		defer cancel()
		if err := x.prober.Health(limited, base, check); err != nil {
			return x.asked(ctx, c, err)
		}
	}
	if !smoke {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, smokeLimit)
	defer cancel()
	began := time.Now()
	x.tell.say(LineSmoke, c.Name, "make %s", Count(len(x.target.Spec.Smoke), "smoke step"))
	err := x.prober.Smoke(limited, base, x.target.Spec.Smoke)
	if err == nil {
		x.tell.say(LineSmoke, c.Name, "every smoke step was answered as it should be, after %s", Took(time.Since(began)))
	}
	if limited.Err() != nil && ctx.Err() == nil && err != nil {
		err = &NotReady{Phase: "smoke", Reason: fmt.Sprintf("the steps did not end within %s", smokeLimit)}
	}
	return x.asked(ctx, c, err)
}

// smokeLimit bounds all smoke steps together; each has a limit of its own.
const smokeLimit = 30 * time.Minute

// asked names the container in what a probe says; what took over goes first.
func (x *executor) asked(ctx context.Context, c Container, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	var sick *NotReady
	if errors.As(err, &sick) {
		sick.Container = c.Name
	}
	return err
}

// concerns reports whether a service was touched, or, by a deployment, something
// that it needs. A heal answers only for what it heals.
func (x *executor) concerns(service string) bool {
	if !x.deploys {
		return slices.Contains(x.touched, service)
	}
	seen := map[string]bool{}
	var reaches func(string) bool
	reaches = func(name string) bool {
		if seen[name] {
			return false
		}
		seen[name] = true
		return slices.Contains(x.touched, name) || slices.ContainsFunc(needs(x.target.Spec.Services[name]), reaches)
	}
	return reaches(service)
}

func (x *executor) healthTimeout() time.Duration {
	if t := x.target.Spec.HealthTimeout; t > 0 {
		return t
	}
	return defaultHealthTimeout
}
