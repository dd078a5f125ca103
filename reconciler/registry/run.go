package registry

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// atOnce bounds the questions that Run has under way.
	atOnce    = 8
	idleSleep = time.Hour
)

// Run asks in the background what is due, until ctx ends; then it waits for the
// questions under way, which end with it. It runs once at a time.
func (c *Client) Run(ctx context.Context) error {
	if !c.running.CompareAndSwap(false, true) {
		return errors.New("follow registries: already running")
	}
	defer c.running.Store(false)
	var all sync.WaitGroup
	defer all.Wait()
	slots := make(chan struct{}, atOnce)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
		case <-c.kick:
		}
		timer.Reset(c.askDue(ctx, &all, slots))
	}
}

// askDue begins what is due and returns how long nothing else is.
func (c *Client) askDue(ctx context.Context, all *sync.WaitGroup, slots chan struct{}) time.Duration {
	sleep := idleSleep
	for _, e := range c.list() {
		now := time.Now()
		e.mu.Lock()
		due := e.dueLocked(now)
		switch {
		case due.IsZero() || e.running != nil: // its end wakes Run
		case due.After(now):
			sleep = min(sleep, due.Sub(now))
		default:
			select {
			case slots <- struct{}{}:
				f := c.begin(e, ctx, true)
				all.Go(func() {
					<-f.done
					<-slots
					c.nudge()
				})
			default: // the end of one wakes Run
			}
		}
		e.mu.Unlock()
	}
	return max(sleep, time.Millisecond)
}

func (c *Client) list() []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]*entry, 0, len(c.entries))
	for _, e := range c.entries {
		all = append(all, e)
	}
	return all
}
