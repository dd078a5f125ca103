package analytics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// pool has the query workers of an instance, and who waits for one.
type pool struct {
	i  *instance
	mu sync.Mutex

	now      *catalog
	queue    *queue
	all      map[*worker]bool
	idle     []*worker // the one that was used last is the last
	starting int
	served   int64         // the newest catalogue that a worker had
	fails    int           // starts in a row that failed
	lastFail error         // of a start
	careful  bool          // sources are attached one by one, to find the one that kills workers
	renew    bool          // a new worker is wanted beside those that are there
	retryIn  time.Duration // until what failed of remotes is tried again
	retryAt  time.Time
	resting  bool // after a start that failed
	ended    bool
	number   int
	took     time.Duration // of a query, a moving mean
	bringing int           // idle workers that are being brought to the catalogue
	settled  chan struct{} // is closed when there are none any more
}

func newPool(i *instance) pool {
	o := i.a.o
	return pool{i: i, retryIn: remoteRetry, all: map[*worker]bool{}, now: &catalog{sources: map[string]*generation{}},
		queue: newQueue(o.MaxWaiting, o.MaxWaitingUser, max(1, o.Workers-1))}
}

func (p *pool) catalog() *catalog {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// swap makes a catalogue the one that workers are brought to, each before its
// next query.
func (p *pool) swap(c *catalog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.version = p.now.version + 1
	if c.remoteKey != p.now.remoteKey && len(p.all) > 0 {
		p.renew = true
	}
	p.now = c
	p.freshen()
	p.warm()
}

// replaceAll has new workers take the place of all that are there.
func (p *pool) replaceAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renew = true
	p.warm()
}

// discard takes a worker out and ends it. The caller has the lock.
func (p *pool) discard(w *worker) {
	if !p.all[w] {
		return
	}
	delete(p.all, w)
	p.idle = slices.DeleteFunc(p.idle, func(o *worker) bool { return o == w })
	w.kill()
	if !p.i.a.spawn(w.close) {
		w.close()
	}
}

func (p *pool) drop(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.discard(w)
}

// rest makes a worker one of the idle ones. The caller has the lock.
func (p *pool) rest(w *worker) {
	if w.busy, w.user = false, ""; w.retired || w.killed.Load() || w.isDead() || p.ended {
		p.discard(w)
		return
	}
	w.idleSince = time.Now()
	p.idle = append(p.idle, w)
}

// take gives an idle worker; nil when there is none. The caller has the lock.
func (p *pool) take() *worker {
	for len(p.idle) > 0 {
		w := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if !w.isDead() {
			w.busy = true
			return w
		}
		p.discard(w)
	}
	return nil
}

// dispatch gives idle workers to those whose turn it is, and starts as many as are
// missing. The caller has the lock.
func (p *pool) dispatch() {
	for p.queue.length > 0 {
		w := p.take()
		if w == nil {
			break
		}
		t := p.queue.next()
		if t == nil {
			p.rest(w)
			break
		}
		w.user = t.user
		t.worker <- w
	}
	for !p.ended && !p.resting && p.queue.ready() > p.starting && len(p.all)+p.starting < p.i.a.o.Workers {
		p.start()
	}
	p.freshen()
}

// freshen brings idle workers to the catalogue. The caller has the lock.
func (p *pool) freshen() {
	for _, w := range slices.Clone(p.idle) {
		if w.version == p.now.version || w.isDead() {
			continue
		}
		p.idle = slices.DeleteFunc(p.idle, func(o *worker) bool { return o == w })
		w.busy = true
		if p.bringing++; p.bringing == 1 {
			p.settled = make(chan struct{})
		}
		if !p.i.a.spawn(func() { p.refresh(w) }) {
			p.brought()
		}
	}
}

// brought takes note that one has been brought. The caller has the lock.
func (p *pool) brought() {
	if p.bringing--; p.bringing == 0 {
		close(p.settled)
	}
}

func (p *pool) refresh(w *worker) {
	err := p.update(w)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.brought()
	if err != nil {
		p.discard(w)
	} else {
		p.rest(w)
	}
	p.dispatch()
	p.warm()
}

// settle waits until the workers that are idle have what they are to have.
func (p *pool) settle(ctx context.Context) {
	p.mu.Lock()
	count, done := p.bringing, p.settled
	p.mu.Unlock()
	if count == 0 {
		return
	}
	timer := time.NewTimer(settleFor)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// update brings a worker that nobody else speaks with to the catalogue. An error
// says that the worker is of no use any more.
func (p *pool) update(w *worker) error {
	p.mu.Lock()
	c, version, careful := p.now, p.now.version, p.careful
	if w.version == version {
		p.mu.Unlock()
		return nil
	}
	w.target = c
	fresh := w.version == 0
	p.mu.Unlock()
	have, failed, culprit, err := w.attach(c, careful)
	p.mu.Lock()
	w.have, w.failed, w.target, w.version = have, failed, nil, version
	if err == nil && len(failed) == 0 {
		p.served = max(p.served, version)
	}
	var gone errGone
	if errors.As(err, &gone) {
		p.careful = p.careful || !w.killed.Load()
	}
	p.mu.Unlock()
	if err != nil && culprit != "" && careful {
		failed = map[string]string{culprit: err.Error()}
	}
	for source, why := range failed {
		p.i.couldNot(w, c, source, why, fresh)
	}
	return err
}

// couldNot says beside that a worker could not attach a source. When it has it
// nevertheless, only tables of a remote database are missing.
func (i *instance) couldNot(w *worker, c *catalog, source, why string, fresh bool) {
	g := c.sources[source]
	if g == nil {
		i.a.o.Log.WithField("instance", i.name).Warnf("attach %s: %s", source, why)
		return
	}
	if i.has(w, source) == g.number || len(g.manifest.Remotes) > 0 && w.remotes != c.remoteKey {
		return
	}
	i.a.spawn(func() { i.unattachable(source, g.number, why, fresh) })
}

// has is the generation of a source that a worker has; 0: none.
func (p *pool) has(w *worker, source string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.have[source]
}

// held are the generations of a source that a worker has or is about to have.
func (p *pool) held(source string) map[int]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := map[int]bool{}
	note := func(c *catalog) {
		if c != nil && c.sources[source] != nil {
			held[c.sources[source].number] = true
		}
	}
	note(p.now)
	for w := range p.all {
		held[w.have[source]] = true
		note(w.target)
	}
	return held
}

// tidy ends workers that nobody has needed for long; one stays while there is
// something attached.
func (p *pool) tidy(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := 0
	if len(p.now.sources) > 0 {
		least = 1
	}
	for _, w := range slices.Clone(p.idle) {
		if len(p.all) > least && now.Sub(w.idleSince) >= p.i.a.o.Idle {
			p.discard(w)
		}
	}
	p.tryRemotes(now)
	p.warm()
}

// close ends everything; those who wait are told.
func (p *pool) close() {
	p.mu.Lock()
	p.ended = true
	for _, t := range p.queue.all() {
		t.failed <- ErrClosed
	}
	workers := slices.Collect(maps.Keys(p.all))
	p.mu.Unlock()
	for _, w := range workers {
		w.kill()
	}
	for _, w := range workers {
		w.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.all)
	p.idle = nil
}
