package reconciler

import (
	"context"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// cancelWhenNewer returns a context that is cancelled when what is being
// applied is no longer what counts: the newest commit wins (law 8), and so does
// a newer release, once: a channel that moves faster than the application
// starts would keep it from ever being up.
//
// A shield puts that off until it is over.
func (r *Instance) cancelWhenNewer(ctx context.Context, a application, s *shield) (context.Context, func()) {
	ctx, stop := r.watch(ctx, watch{doing: a.doing, shield: s, generation: a.generation.Number}, a.digest)
	return ctx, func() { stop(); s.drop() }
}

// watchPull is cancelWhenNewer for the time in which images are fetched. It may
// be long: containers that come back with other addresses meanwhile are found.
func (r *Instance) watchPull(ctx context.Context, doing, digest string) (context.Context, func()) {
	if r.cfg.Traffic == nil {
		return r.watch(ctx, watch{doing: doing}, digest)
	}
	t := r.lastTarget()
	return r.watch(ctx, watch{doing: doing, happened: func() {
		if have, err := r.cfg.Driver.Observe(ctx, r.cfg.Name, false); err == nil {
			r.routing.follow(t.Spec, have, nil)
		}
	}}, digest)
}

func (r *Instance) watch(ctx context.Context, w watch, digest string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	w.current, w.picked, w.tookOver = r.loaded, r.picked, r.tookOver
	w.s = situation{lastSpec: r.lastSpec(), last: r.lastTarget(), going: digest}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.watching(ctx, w, func() { cancel(errSuperseded) })
	}()
	return ctx, func() { cancel(context.Canceled); <-done }
}

// watching looks at each trigger whether something takes over, until ctx ends.
func (r *Instance) watching(ctx context.Context, w watch, cancel func()) {
	shielded, said := w.shield.until(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-shielded:
			shielded = nil
		case <-r.newer:
		}
		switch by, rev := r.outdated(ctx, w); {
		case by == nobody:
			if w.happened != nil {
				w.happened()
			}
		case by == anOperator, shielded == nil:
			cancel()
		case !said:
			said = true
			r.sayWaits(rev, w.generation)
		}
	}
}

// watch is what an apply began with.
type watch struct {
	current loaded
	picked  string // digest that was chosen
	doing   string
	// tookOver says that it took the place of what was being applied before.
	tookOver   bool
	s          situation
	shield     *shield
	generation int    // that is being applied
	happened   func() // something happened that does not take over; may be nil
}

// takeover is who asks for something else than what is being done.
type takeover int

const (
	nobody takeover = iota
	somethingNewer
	anOperator
)

// outdated says whether the newest revision, the registry or an operator asks
// for something else than what is being done. An unreadable or invalid revision
// takes over nothing.
func (r *Instance) outdated(ctx context.Context, w watch) (takeover, desired.Revision) {
	l := r.read(ctx, w.current.key)
	m, err := r.cfg.Store.memo(r.cfg.Name)
	if err != nil || l.err != nil {
		return nobody, l.rev
	}
	same := l.key == w.current.key
	if same {
		l = w.current
	}
	idle := false // the application was asked before, and is being replaced
	s := w.s
	s.spec, s.memo, s.now, s.busy, s.offer = l.spec, m, time.Now(), &idle, r.ask(ctx, l.spec, false)
	newer := false
	switch d := decide(s); {
	case d.choice == chooseHeld:
		if w.doing != fmt.Sprintf("generation %d", d.generation) {
			return anOperator, l.rev
		}
	case same: // nothing can have come but a release
		newer = !w.tookOver && d.choice == chooseNew && !sameDigest(d.digest, w.picked) && d.digest != ""
	case d.choice == chooseNew:
		newer = w.doing != "new "+attemptKey(l.spec.Hash(), d.digest)
	case d.choice == chooseLastGood:
		newer = w.doing != "good"
	}
	if newer {
		return somethingNewer, l.rev
	}
	return nobody, l.rev
}
