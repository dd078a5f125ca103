package reconciler

import (
	"context"
	"fmt"
	"time"
)

// cancelWhenNewer returns a context that is cancelled when what is being
// applied is no longer what counts: the newest commit wins (law 8), and so does
// a newer release, once: a channel that moves faster than the application
// starts would keep it from ever being up.
func (r *Instance) cancelWhenNewer(ctx context.Context, doing, digest string) (context.Context, func()) {
	return r.watch(ctx, doing, digest, nil)
}

// watchPull is cancelWhenNewer for the time in which images are fetched. It may
// be long: containers that come back with other addresses meanwhile are found.
func (r *Instance) watchPull(ctx context.Context, doing, digest string) (context.Context, func()) {
	if r.cfg.Traffic == nil {
		return r.watch(ctx, doing, digest, nil)
	}
	t := r.lastTarget()
	return r.watch(ctx, doing, digest, func() {
		if have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false); err == nil {
			r.routing.follow(t.Spec, have, nil)
		}
	})
}

func (r *Instance) watch(ctx context.Context, doing, digest string, happened func()) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := watch{current: r.loaded, picked: r.picked, doing: doing, tookOver: r.tookOver,
		s: situation{lastSpec: r.lastSpec(), last: r.lastTarget(), going: digest}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-r.newer:
			}
			if r.outdated(ctx, w) {
				cancel(errSuperseded)
			} else if happened != nil {
				happened()
			}
		}
	}()
	return ctx, func() { cancel(context.Canceled); <-done }
}

// watch is what an apply began with.
type watch struct {
	current loaded
	picked  string // digest that was chosen
	doing   string
	// tookOver says that it took the place of what was being applied before.
	tookOver bool
	s        situation
}

// outdated reports whether the newest revision, the registry or an operator
// asks for something else than what is being done. An unreadable or invalid
// revision takes over nothing.
func (r *Instance) outdated(ctx context.Context, w watch) bool {
	l := r.read(ctx, w.current.key)
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil || l.err != nil {
		return false
	}
	same := l.key == w.current.key
	if same {
		l = w.current
	}
	idle := false // the application was asked before, and is being replaced
	s := w.s
	s.spec, s.memo, s.now, s.busy, s.offer = l.spec, m, time.Now(), &idle, r.ask(ctx, l.spec, false)
	switch d := decide(s); {
	case d.choice == chooseHeld:
		return w.doing != fmt.Sprintf("generation %d", d.generation)
	case same: // nothing can have come but a release
		return !w.tookOver && d.choice == chooseNew && !sameDigest(d.digest, w.picked) && d.digest != ""
	case d.choice == chooseNew:
		return w.doing != "new "+attemptKey(l.spec.Hash(), d.digest)
	case d.choice == chooseLastGood:
		return w.doing != "good"
	}
	return false
}
