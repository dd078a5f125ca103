package front

import (
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// maxGaps is how many ended gaps of a service are remembered.
const maxGaps = 64

// service is the record of when a service could take no request. The mutex of
// the Front guards it.
type service struct {
	name string
	had  bool // it could, once
	open *reconciler.Gap
	past []*reconciler.Gap
	lost time.Duration // of all gaps that ended
	gaps uint64        // that ended
}

// Gaps implements reconciler.Traffic.
func (f *Front) Gaps(name string, since time.Time) []reconciler.Gap {
	f.mu.Lock()
	defer f.mu.Unlock()
	inst := f.instances[name]
	if inst == nil {
		return nil
	}
	var list []reconciler.Gap
	for _, key := range sortedKeys(inst.services) {
		for _, g := range inst.services[key].past {
			if !g.From.Add(g.For).Before(since) {
				list = append(list, *g)
			}
		}
	}
	return list
}

// refresh begins and ends gaps after a change, and releases what can go on.
func (inst *instance) refresh(now time.Time) {
	can := map[*service]bool{}
	for _, rt := range inst.routes {
		s := rt.state.Load()
		can[s.service] = can[s.service] || s.available()
	}
	for name, svc := range inst.services {
		able, routed := can[svc]
		switch {
		case !routed:
			delete(inst.services, name)
		case able:
			svc.end(now, inst.waiting(svc))
			svc.had = true
		case svc.had:
			svc.begin(now)
		}
	}
	for _, rt := range inst.routes {
		rt.wake()
	}
}

// waiting are the requests held for a service.
func (inst *instance) waiting(svc *service) (list []*waiter) {
	for _, rt := range inst.routes {
		if rt.state.Load().service != svc {
			continue
		}
		for e := rt.queue.Front(); e != nil; e = e.Next() {
			list = append(list, e.Value.(*waiter))
		}
	}
	return list
}

func (svc *service) begin(now time.Time) {
	if svc.open == nil {
		svc.open = &reconciler.Gap{Service: svc.name, From: now}
	}
}

// end closes a gap. What waits now is about to be served, and counts as such.
func (svc *service) end(now time.Time, waiting []*waiter) {
	g := svc.open
	if g == nil {
		return
	}
	svc.open = nil
	g.For = now.Sub(g.From)
	svc.lost += g.For
	svc.gaps++
	for _, w := range waiting {
		g.Held++
		g.Longest = max(g.Longest, now.Sub(w.arrived))
	}
	if svc.past = append(svc.past, g); len(svc.past) > maxGaps {
		svc.past = svc.past[1:]
	}
}
