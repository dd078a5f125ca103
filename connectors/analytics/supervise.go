package analytics

import (
	"path/filepath"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// startTries is how many starts may fail in a row before those who wait are told.
const startTries = 3

// A remote database that is down is tried again after these times.
const (
	remoteRetry     = time.Minute
	remoteRetryMost = 15 * time.Minute
)

// warm starts a worker when there is something attached and none is there, and
// when one is to be renewed. The caller has the lock, as for all below that say so.
func (p *pool) warm() {
	if p.ended || p.resting || p.starting > 0 {
		return
	}
	if p.renew || len(p.all) == 0 && (len(p.now.sources) > 0 || p.queue.length > 0) {
		p.start()
	}
}

// start starts a worker beside. The caller has the lock.
func (p *pool) start() {
	renew := p.renew
	p.renew = false
	p.starting++
	p.number++
	n := p.number
	if !p.i.a.spawn(func() { p.bring(n, renew) }) {
		p.starting--
	}
}

// setup is what a new worker is told first.
func (p *pool) setup(c *catalog, n int) wire.Setup {
	o := p.i.a.o
	return wire.Setup{
		Allowed: []string{p.i.path(extractsDir), p.i.path(analyticsDir, systemSchema)},
		Temp:    filepath.Join(p.i.path(analyticsDir, childrenDir), "worker-"+strconv.Itoa(n)),
		Memory:  o.Memory, MaxAddress: o.MaxData, MaxFile: o.MaxSpill, Threads: o.Threads,
		Extensions: o.Extensions, Remotes: c.remotes, Tokens: c.tokens, Policy: o.Remote,
	}
}

// bring starts a worker and brings it to the catalogue; only then is it one of
// the pool's. Those that are to be replaced end when it is there.
func (p *pool) bring(n int, renew bool) {
	c := p.catalog()
	w, err := startWorker(p.i.a.ctx, p.i.a.o.Command, p.setup(c, n), p.i.a.groups.make(wire.Worker, p.i.a.o.MaxData+groupRoom))
	if err == nil {
		p.i.a.tellUnconfined(wire.Worker, w.ready.Unconfined)
		w.remotes, w.busy = c.remoteKey, true
		p.mu.Lock()
		p.all[w] = true // so that nobody removes what it is about to attach
		p.mu.Unlock()
		if err = p.update(w); err != nil {
			p.drop(w)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting--
	if err != nil {
		p.renew = p.renew || renew
		p.startFailed(err)
		return
	}
	p.fails, p.lastFail, p.careful = 0, nil, false
	if renew && p.lacks(w, c) && len(p.all) > 1 { // those that are there have what was good
		p.discard(w)
		return
	}
	p.renew = p.renew || w.remotes != p.now.remoteKey // they changed while it was being started
	p.retireOthers(w, renew)
	p.i.a.spawn(func() { p.watch(w) })
	p.rest(w)
	p.dispatch()
	p.warm()
}

// lacks reports whether there is a source that a worker could not attach at all.
func (p *pool) lacks(w *worker, c *catalog) bool {
	for source := range w.failed {
		if g := c.sources[source]; g != nil && w.have[source] != g.number {
			return true
		}
	}
	return false
}

// tryRemotes has a new worker try again what could not be attached of databases of
// others: a worker attaches those when it starts, before it is locked. The caller
// has the lock.
func (p *pool) tryRemotes(now time.Time) {
	failing := false
	for w := range p.all {
		failing = failing || len(w.ready.Remotes) > 0 || len(w.failed) > 0
	}
	switch {
	case !failing:
		p.retryIn, p.retryAt = remoteRetry, time.Time{}
	case p.retryAt.IsZero():
		p.retryAt = now.Add(p.retryIn)
	case !now.Before(p.retryAt):
		p.retryIn = min(2*p.retryIn, remoteRetryMost)
		p.retryAt = now.Add(p.retryIn)
		p.renew = true
	}
}

// retireOthers ends workers whose place another takes. The caller has the lock.
func (p *pool) retireOthers(w *worker, every bool) {
	for other := range p.all {
		if other != w && (every || other.remotes != w.remotes) {
			other.retired = true
			if !other.busy {
				p.discard(other)
			}
		}
	}
}

// startFailed tells those who wait, when there is no worker left to wait for, and
// tries again after a while. The caller has the lock.
func (p *pool) startFailed(err error) {
	p.fails++
	p.lastFail = err
	if p.ended {
		return
	}
	if p.fails == 1 || p.fails%20 == 0 {
		p.i.a.o.Log.WithField("instance", p.i.name).WithError(err).Warn("a query worker did not start")
	}
	if len(p.all) == 0 && p.starting == 0 && p.fails > startTries {
		for _, t := range p.queue.all() {
			t.failed <- err
		}
	}
	if p.resting {
		return
	}
	p.resting = true
	pause := min(50*time.Millisecond<<min(p.fails, 8), 10*time.Second)
	p.i.a.spawn(func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-p.i.a.ctx.Done():
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.resting = false
		p.dispatch()
		p.warm()
	})
}

// watch notices the end of a worker that nobody speaks with.
func (p *pool) watch(w *worker) {
	<-w.dead
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all[w] && !w.busy {
		if !w.killed.Load() {
			p.i.a.o.Log.WithField("instance", p.i.name).Warnf("an idle query worker ended (%s): another one takes its place", w.epitaph())
		}
		p.discard(w)
		p.warm()
	}
}
