package front

import (
	"container/list"
	"context"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// Held requests are let go in groups, so that an application which has just
// started is not met by all of them at once: up to releaseAtOnce in flight for
// each endpoint, looked at every releaseEvery; and whatever is in flight,
// releaseSlowly each releaseStep-th time, so that answers which never end
// (streams) do not keep the rest waiting.
const (
	releaseAtOnce = 64
	releaseEvery  = 2 * time.Millisecond
	releaseSlowly = 16
	releaseStep   = 10
	// waiterBytes is what a held request takes apart from its headers: two
	// goroutines' stacks, buffers, the request itself.
	waiterBytes = 16 << 10
)

// refusal is why a request is not held, or not any longer.
type refusal string

func (r refusal) Error() string { return "no container takes requests: " + string(r) }

const (
	errFull     refusal = "too many requests wait"
	errExpired  refusal = "it took longer than requests are held"
	errGone     refusal = "the route has ended"
	errStopping refusal = "the front is stopping"
)

// waiter is a held request.
type waiter struct {
	arrived time.Time
	bytes   int64
	go_     chan struct{} // closed once it is out of the queue
	err     error         // why it was refused; set before go_ is closed
	place   *list.Element // nil once it is out of the queue
	gap     *reconciler.Gap
}

// hold waits until the route can be led on. The request's body is not read.
func (rt *route) hold(ctx context.Context, r *http.Request, arrived time.Time) error {
	w, err := rt.enqueue(r, arrived)
	if w == nil {
		return err
	}
	f := rt.front
	began := time.Now()
	f.total.held.Add(1)
	rt.stats.held.Add(1)
	timer := time.NewTimer(time.Until(arrived.Add(rt.state.Load().Hold)))
	defer timer.Stop()
	select {
	case <-w.go_:
	case <-timer.C:
		rt.giveUp(w, errExpired)
	case <-ctx.Done():
		rt.giveUp(w, context.Cause(ctx))
	}
	rt.stats.holds.observe(time.Since(began))
	return w.err
}

// enqueue lets a request wait. It is nil without an error when it need not.
func (rt *route) enqueue(r *http.Request, arrived time.Time) (*waiter, error) {
	f := rt.front
	w := &waiter{arrived: arrived, bytes: heldBytes(r), go_: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := rt.state.Load()
	switch {
	case s.gone:
		return nil, errGone
	case s.available():
		return nil, nil
	}
	s.service.begin(time.Now())
	w.gap = s.service.open
	switch {
	case f.stopping:
		return nil, rt.refuse(w, errStopping)
	case time.Since(arrived) >= s.Hold:
		return nil, rt.refuse(w, errExpired)
	case rt.queue.Len() >= f.opts.MaxHeldRoute, f.held >= f.opts.MaxHeld, f.heldBytes+w.bytes > f.opts.MaxHeldBytes:
		return nil, rt.refuse(w, errFull)
	}
	f.held++
	f.heldBytes += w.bytes
	at := rt.queue.Back()
	for at != nil && at.Value.(*waiter).arrived.After(arrived) {
		at = at.Prev()
	}
	if at == nil {
		w.place = rt.queue.PushFront(w)
	} else {
		w.place = rt.queue.InsertAfter(w, at)
	}
	return w, nil
}

// heldBytes is what a request takes while it is held. The body of one over
// HTTP/2 comes in as far as its stream's window goes; over HTTP/1.1 it stays
// with the kernel.
func heldBytes(r *http.Request) int64 {
	n := waiterBytes + len(r.RequestURI)
	if size := r.ContentLength; r.ProtoMajor == 2 && (size < 0 || size > streamWindow) {
		n += streamWindow
	} else if r.ProtoMajor == 2 {
		n += int(size)
	}
	for k, values := range r.Header {
		n += len(k)
		for _, v := range values {
			n += len(v)
		}
	}
	return int64(n)
}

// remove takes a waiter out of the queue; Front.mu is held.
func (rt *route) remove(w *waiter) {
	rt.queue.Remove(w.place)
	w.place = nil
	rt.front.held--
	rt.front.heldBytes -= w.bytes
}

// refuse counts a refusal; Front.mu is held.
func (rt *route) refuse(w *waiter, err error) error {
	w.err = err
	if _, is := err.(refusal); is {
		w.gap.Refused++
		rt.stats.refused.Add(1)
	}
	return err
}

// giveUp takes a waiter out of the queue that waits no longer, unless it was
// let go just now or can go on after all.
func (rt *route) giveUp(w *waiter, err error) {
	rt.front.mu.Lock()
	defer rt.front.mu.Unlock()
	if w.place == nil {
		return
	}
	rt.remove(w)
	if err == errExpired && rt.state.Load().available() {
		return
	}
	_ = rt.refuse(w, err) // the caller returns it
}

// refuseAll refuses all that waits; Front.mu is held.
func (rt *route) refuseAll(err error) {
	for e := rt.queue.Front(); e != nil; e = rt.queue.Front() {
		w := e.Value.(*waiter)
		rt.remove(w)
		_ = rt.refuse(w, err) // the waiter returns it
		close(w.go_)
	}
}

// wake lets go what waits, when it can go on; Front.mu is held.
func (rt *route) wake() {
	if rt.releasing || rt.queue.Len() == 0 || !rt.state.Load().available() {
		return
	}
	rt.letGo(releaseAtOnce)
	if rt.queue.Len() > 0 {
		rt.releasing = true
		go rt.release()
	}
}

// letGo lets the first n go; Front.mu is held.
func (rt *route) letGo(n int) {
	now := time.Now()
	for e := rt.queue.Front(); e != nil && n > 0; e, n = rt.queue.Front(), n-1 {
		w := e.Value.(*waiter)
		rt.remove(w)
		w.gap.Longest = max(w.gap.Longest, now.Sub(w.arrived))
		close(w.go_)
	}
}

// release lets go what waits, in groups, until nothing waits or nothing can.
func (rt *route) release() {
	tick := time.NewTicker(releaseEvery)
	defer tick.Stop()
	for step := 1; ; step++ {
		select {
		case <-tick.C:
		case <-rt.front.ctx.Done():
			return
		}
		if rt.releaseSome(step%releaseStep == 0) {
			return
		}
	}
}

// releaseSome reports whether the release is over.
func (rt *route) releaseSome(anyway bool) bool {
	rt.front.mu.Lock()
	defer rt.front.mu.Unlock()
	s := rt.state.Load()
	if rt.queue.Len() == 0 || !s.available() {
		rt.releasing = false
		return true
	}
	free := releaseAtOnce * len(s.endpoints)
	for _, ep := range s.endpoints {
		free -= int(ep.inflight.Load())
	}
	if anyway {
		free = max(free, releaseSlowly)
	}
	rt.letGo(free)
	return false
}
