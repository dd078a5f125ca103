package deliver

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Between two looks at a server that was told.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

// tellAndAwait tells a server to reload and looks at it until it has the pair
// or its time is over. Half-way a signal is sent once more: one that comes while
// a server starts or reloads can be lost, and the master of HAProxy 2.6 was seen
// to sleep on one until the next.
func (v *visit) tellAndAwait(ctx context.Context, at places, w view, enough func(view) bool) (view, error) {
	limit := within(v.r)
	if !v.canTell() {
		return v.await(ctx, at, w, limit, enough, nil)
	}
	if v.r.Signal == "" || v.r.Caddy != "" {
		return v.tellOnce(ctx, at, w, limit, enough)
	}
	w, err := v.tellOnce(ctx, at, w, limit/2, enough)
	if err != nil || enough(w) || ctx.Err() != nil {
		return w, err
	}
	return v.tellOnce(ctx, at, w, limit-limit/2, enough)
}

// tellOnce looks while the server is still at it: a Caddy with a
// shutdown_delay, or a plugin that is slow to end, serves the new pair long
// before it answers.
func (v *visit) tellOnce(ctx context.Context, at places, w view, limit time.Duration, enough func(view) bool) (view, error) {
	telling, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	said, done := make(chan error, 1), make(chan struct{})
	var told error
	go func() {
		defer close(done)
		told = v.tell(telling)
		said <- told
	}()
	w, err := v.await(ctx, at, w, limit, enough, said)
	cancel()
	<-done
	if err == nil && !enough(w) && told != nil { // it came with the end of the time
		err = told
		if errors.Is(err, context.Canceled) {
			err = errors.New("it did not say in time whether it reloaded")
		}
	}
	v.told = v.told || err == nil
	return w, err
}

// tell has the containers of a service reload.
func (v *visit) tell(ctx context.Context) error {
	if v.r.Caddy != "" {
		return v.tellCaddy(ctx)
	}
	n, err := v.opts.Servers.Signal(ctx, v.instance, v.r.Service, v.r.Signal)
	if err == nil && n == 0 {
		err = errors.New("no container of it is running any more")
	}
	return err
}

func (v *visit) tellCaddy(ctx context.Context) error {
	a, err := parseAdmin(v.r.Caddy)
	if err != nil {
		return err
	}
	endpoints, err := a.endpoints(v.containers)
	if err != nil {
		return err
	}
	if len(endpoints) == 0 {
		return errAdmin
	}
	errs := make([]error, len(endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range endpoints {
		wg.Go(func() { errs[i] = a.reload(ctx, v.opts.Dial, endpoint) })
	}
	wg.Wait()
	if errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil }); len(errs) > 1 {
		return fmt.Errorf("%w, and %d more", errs[0], len(errs)-1)
	}
	return errors.Join(errs...)
}

// await looks again and again, until it is enough, the server was told in
// vain, or the time is over. w is what was seen before.
func (v *visit) await(ctx context.Context, at places, w view, limit time.Duration, enough func(view) bool, said <-chan error) (view, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		next := v.look(ctx, at)
		if enough(next) {
			return next, nil
		}
		if end, _ := ctx.Deadline(); ctx.Err() == nil && time.Now().Before(end) {
			w = next // else it was cut short, and the one before tells more
		}
		timer := time.NewTimer(pause)
		select {
		case err := <-said:
			if err != nil {
				timer.Stop()
				return w, err
			}
			said, pause = nil, firstPause/2
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return w, nil
		}
		timer.Stop()
	}
}

// where says at which server, for an error.
func (v *visit) where() string {
	if v.r.Service != "" {
		return v.r.Service
	}
	return nameOf(v.r)
}

// how says what was done to have it reload.
func (v *visit) how() string {
	took := within(v.r)
	switch {
	case !v.tried:
		return ""
	case !v.told:
		return fmt.Sprintf(" after %s", took)
	case v.r.Caddy != "":
		return fmt.Sprintf(" %s after it was told through its admin API", took)
	}
	return fmt.Sprintf(" %s after it was told by %s", took, v.r.Signal)
}
