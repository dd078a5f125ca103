package server

import (
	"fmt"
	"sync"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// Progress passes on what is done for instances, as it is done: how far pulls
// are, to whoever listens, and lines, of which it keeps the newest.
type Progress struct {
	mu        sync.Mutex
	listeners map[chan pullOf]bool
	pulls     map[string]pullTold // by instance and image, while they are told of
	logs      *applyLogs
}

type pullOf struct {
	instance string
	Pull
}

// NewProgress returns a Progress that nobody listens to.
func NewProgress() *Progress {
	return &Progress{listeners: map[chan pullOf]bool{}, pulls: map[string]pullTold{}, logs: newApplyLogs()}
}

// For returns what an instance reports its pulls to. It never blocks: a
// listener that does not keep up misses steps.
func (p *Progress) For(instance string) reconciler.Progress {
	return func(image string, current, total int64) {
		pull := Pull{image, current, total}
		p.mu.Lock()
		defer p.mu.Unlock()
		for ch := range p.listeners {
			select {
			case ch <- pullOf{instance, pull}:
			default:
			}
		}
		if p.worthALineLocked(instance, pull) {
			p.logs.add(instance, reconciler.Line{At: time.Now().UTC(), Kind: reconciler.LinePull, Object: image, Text: pull.text()})
		}
	}
}

// Lines returns what an instance tells its lines to. It never blocks.
func (p *Progress) Lines(instance string) reconciler.Lines {
	return func(l reconciler.Line) { p.logs.add(instance, l) }
}

func (p *Progress) listen() (<-chan pullOf, func()) {
	ch := make(chan pullOf, 16)
	p.mu.Lock()
	p.listeners[ch] = true
	p.mu.Unlock()
	return ch, func() {
		p.mu.Lock()
		delete(p.listeners, ch)
		p.mu.Unlock()
	}
}

// pullTold is when the next line of a pull is due.
type pullTold struct {
	next  time.Time
	pause time.Duration
	done  bool
}

// How often a pull has a line: after a second, and then ever less often, so that
// one of an hour has some hundred and not thousands.
const (
	pullPause     = time.Second
	pullPauseMost = 30 * time.Second
	maxPullsTold  = 200
)

// worthALineLocked says whether how far a pull is makes a line: at its
// beginning, at its end, and now and then between.
func (p *Progress) worthALineLocked(instance string, pull Pull) bool {
	key, now := instance+" "+pull.Image, time.Now()
	t, known := p.pulls[key]
	done := pull.Total > 0 && pull.Current >= pull.Total
	switch {
	case known && !t.done && !done && now.Before(t.next), known && t.done && done:
		return false
	case !known && len(p.pulls) >= maxPullsTold:
		clear(p.pulls) // at worst there is a line more of each
	}
	if t.done {
		t = pullTold{}
	}
	t.done, t.pause = done, min(max(2*t.pause, pullPause), pullPauseMost)
	t.next = now.Add(t.pause)
	p.pulls[key] = t
	return true
}

// text says how far a pull is.
func (p Pull) text() string {
	switch {
	case p.Total <= 0:
		return "fetch it: " + sizeOf(p.Current)
	case p.Current >= p.Total:
		return "fetched, " + sizeOf(p.Total)
	}
	return fmt.Sprintf("fetch it: %s of %s (%d%%)", sizeOf(p.Current), sizeOf(p.Total), 100*p.Current/p.Total)
}
