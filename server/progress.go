package server

import (
	"sync"

	"github.com/fairlead/fairlead/reconciler"
)

// Progress passes on how far pulls are to whoever listens.
type Progress struct {
	mu        sync.Mutex
	listeners map[chan pullOf]bool
}

type pullOf struct {
	instance string
	Pull
}

// NewProgress returns a Progress that nobody listens to.
func NewProgress() *Progress { return &Progress{listeners: map[chan pullOf]bool{}} }

// For returns what an instance reports its pulls to. It never blocks: a
// listener that does not keep up misses steps.
func (p *Progress) For(instance string) reconciler.Progress {
	return func(image string, current, total int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for ch := range p.listeners {
			select {
			case ch <- pullOf{instance, Pull{image, current, total}}:
			default:
			}
		}
	}
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
