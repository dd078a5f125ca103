package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	// A container is looked at after pollFirst, then ever more slowly.
	pollFirst = 50 * time.Millisecond
	pollLast  = 500 * time.Millisecond
	// maxRestarts is how often the engine may start a process again before it
	// counts as a crash loop. A few are forgiven: many programs end when the
	// database is not up yet, and come up the next time.
	maxRestarts = 5
	// startFirstLimit is how long a start-first replacement has when the
	// instance says nothing.
	startFirstLimit = 2 * time.Minute
)

// wakers lets events cut short the pause between two looks.
type wakers struct {
	mu sync.Mutex
	m  map[string]map[chan struct{}]bool
}

func (w *wakers) add(instance string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil {
		w.m = map[string]map[chan struct{}]bool{}
	}
	if w.m[instance] == nil {
		w.m[instance] = map[chan struct{}]bool{}
	}
	w.m[instance][ch] = true
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.m[instance], ch)
	}
}

func (w *wakers) wake(instance string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.m[instance] {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Await implements reconciler.Driver.
func (e *Engine) Await(ctx context.Context, t reconciler.Target, w reconciler.Wait) error {
	list, err := e.shareList(ctx, t.Spec.Name)
	if err != nil {
		return err
	}
	c, ok := serving(list, w.Service, max(w.Replica, 1))
	if !ok {
		return &reconciler.NotReady{Container: w.Service, Phase: phase(w), Reason: "there is no such container"}
	}
	return e.await(ctx, t, w, c.ID, nameOf(c))
}

// waitStartFirst waits for a replacement that runs beside the old container.
func (e *Engine) waitStartFirst(ctx context.Context, t reconciler.Target, s desired.Service, id string) error {
	limit := t.Spec.HealthTimeout
	if limit <= 0 {
		limit = startFirstLimit
	}
	wctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w := reconciler.Wait{Service: s.Name, Condition: desired.Healthy, Stable: time.Second}
	err := e.await(wctx, t, w, id, s.Name+".next")
	if errors.Is(err, context.DeadlineExceeded) && !IsUnreachable(err) && ctx.Err() == nil {
		return e.notReady(ctx, id, w, fmt.Sprintf("not healthy within %s", limit))
	}
	return err
}

func phase(w reconciler.Wait) string {
	switch {
	case w.Condition == desired.Healthy:
		return "health"
	case w.Condition == desired.Completed:
		return "completion"
	case w.Stable > 0:
		return "stable"
	}
	return "start"
}

// await looks at one container until the wait is fulfilled or cannot be.
func (e *Engine) await(ctx context.Context, t reconciler.Target, w reconciler.Wait, id, name string) error {
	woken, forget := e.wakers.add(t.Spec.Name)
	defer forget()
	v := verdict{wait: w, job: t.Spec.Services[w.Service].MayEnd(), base: -1}
	e.mu.Lock()
	if e.made[id] {
		v.base = 0
	}
	e.mu.Unlock()
	for pause := pollFirst; ; pause = min(pause*3/2, pollLast) {
		var in container.InspectResponse
		err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
			in, err = e.api().ContainerInspect(ctx, id)
			return err
		})
		switch {
		case notFound(err):
			return &reconciler.NotReady{Container: name, Phase: phase(w), Reason: "it was removed"}
		case ctx.Err() != nil:
			return fmt.Errorf("wait for %s: %s: %w", name, phase(w), ctx.Err())
		case err != nil:
			return e.fail(err, "wait for %s", name)
		}
		done, reason := v.judge(in, time.Now())
		switch {
		case reason != "" && e.endedByOthers(ctx, &v, in):
			// It comes back with the engine, or the engine is missed by then.
		case reason != "":
			return e.notReady(ctx, id, w, reason)
		case done && v.completed:
			return e.notes.change(t.Spec.Name, func(p *page) { p.Completed[id] = true })
		case done:
			return nil
		}
		timer := time.NewTimer(v.next(pause, time.Now()))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-woken:
		}
		timer.Stop()
		if ctx.Err() != nil {
			return fmt.Errorf("wait for %s: %s: %w", name, phase(w), ctx.Err())
		}
	}
}

// verdict judges one look after the other.
type verdict struct {
	wait      reconciler.Wait
	job       bool
	base      int       // restarts before the wait began; -1: not known
	seen      int       // restarts at the last look
	since     time.Time // good without a break since
	completed bool
	goneSince time.Time // ended by others, and found so without a break since
}

// judge says whether the wait is over: fulfilled, or for the reason given
// impossible.
func (v *verdict) judge(in container.InspectResponse, now time.Time) (done bool, reason string) {
	st := in.State
	if v.base < 0 {
		v.base = in.RestartCount
	}
	if n := in.RestartCount - v.base; n >= maxRestarts {
		return false, fmt.Sprintf("restarted %d times, last exit code %d", n, st.ExitCode)
	}
	if in.RestartCount != v.seen {
		v.seen, v.since = in.RestartCount, time.Time{}
	}
	switch st.Status {
	case container.StateExited, container.StateDead:
		return v.ended(st)
	case container.StateRunning:
		v.goneSince = time.Time{}
	default: // created, paused, restarting, removing: not yet, or not any more
		v.since = time.Time{}
		return false, ""
	}
	if v.wait.Condition == desired.Completed {
		return false, ""
	}
	return v.running(st, now)
}

func (v *verdict) ended(st *container.State) (bool, string) {
	oneShot := v.job || v.wait.Condition == desired.Completed
	if st.ExitCode == 0 && oneShot && v.wait.Condition != desired.Healthy {
		v.completed = true
		return true, ""
	}
	reason := fmt.Sprintf("exited with code %d", st.ExitCode)
	if st.OOMKilled {
		reason += " (out of memory)"
	}
	if st.Error != "" {
		reason += ": " + clip(st.Error, 300)
	}
	return false, reason
}

func (v *verdict) running(st *container.State, now time.Time) (bool, string) {
	health := reconciler.Health("")
	if st.Health != nil {
		health = parseHealth(st.Health.Status)
	}
	asked := v.wait.Condition == desired.Healthy || v.wait.Stable > 0
	if asked && health == reconciler.HealthUnhealthy {
		return false, "unhealthy" + lastProbe(st.Health)
	}
	if asked && health == reconciler.HealthStarting {
		v.since = time.Time{}
		return false, ""
	}
	if v.since.IsZero() {
		v.since = now
	}
	return now.Sub(v.since) >= v.wait.Stable, ""
}

// next is the pause before the next look, shortened to the end of the time
// that the container must stay good.
func (v *verdict) next(pause time.Duration, now time.Time) time.Duration {
	if v.since.IsZero() || v.wait.Stable == 0 {
		return pause
	}
	return max(time.Millisecond, min(pause, v.wait.Stable-now.Sub(v.since)))
}

func lastProbe(h *container.Health) string {
	for i := len(h.Log) - 1; i >= 0; i-- {
		if out := strings.TrimSpace(h.Log[i].Output); out != "" {
			return ": " + clip(printable(out), 200)
		}
	}
	return ""
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

func (e *Engine) notReady(ctx context.Context, id string, w reconciler.Wait, reason string) error {
	nr := &reconciler.NotReady{Container: w.Service, Phase: phase(w), Reason: reason, Logs: e.lastLines(ctx, id)}
	_ = call(ctx, readTimeout, func(ctx context.Context) error { // without an answer the service's name has to do
		in, err := e.api().ContainerInspect(ctx, id)
		if err == nil {
			nr.Container = strings.TrimPrefix(in.Name, "/")
		}
		return err
	})
	return nr
}
