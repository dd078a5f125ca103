package front

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Drain implements reconciler.Traffic. It is nil also when the drain time is
// over: what was still in flight is cut off then, and counted.
func (f *Front) Drain(ctx context.Context, name, container string) error {
	leaving, limit := f.leave(name, container)
	if len(leaving) == 0 {
		return nil
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, ep := range leaving {
		select {
		case <-ep.done:
		case <-timer.C:
			f.cut(name, container, leaving, limit)
			return nil
		case <-ctx.Done():
			return fmt.Errorf("drain container %s: %w", container, context.Cause(ctx))
		}
	}
	return nil
}

// leave takes a container out of all routes and returns what is in flight to
// it, with the longest drain time of its routes.
func (f *Front) leave(name, container string) (leaving []*endpoint, limit time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	inst := f.instances[name]
	if inst == nil {
		return nil, 0
	}
	its := func(ep *endpoint) bool { return ep.key.container == container }
	for _, rt := range inst.routes {
		s := *rt.state.Load()
		if slices.ContainsFunc(s.endpoints, its) {
			s.endpoints = slices.DeleteFunc(slices.Clone(s.endpoints), its)
			rt.state.Store(&s)
		}
	}
	for key, ep := range inst.endpoints {
		if its(ep) {
			delete(inst.endpoints, key)
			inst.last = nil
			inst.takeOut(ep)
		}
	}
	inst.refresh(time.Now())
	for _, ep := range inst.leaving {
		if its(ep) {
			leaving, limit = append(leaving, ep), max(limit, ep.drain)
		}
	}
	f.forget(inst)
	return leaving, limit
}

// cut ends what a drain did not wait for.
func (f *Front) cut(name, container string, leaving []*endpoint, limit time.Duration) {
	left := int64(0)
	for _, ep := range leaving {
		left += ep.inflight.Load()
		ep.kill()
	}
	if left == 0 {
		return
	}
	f.total.cut.Add(uint64(left))
	f.log.WithFields(logFields{"instance": name, "container": container, "requests": left, "after": limit}).
		Warn("drain time is over; requests in flight were cut off")
}
