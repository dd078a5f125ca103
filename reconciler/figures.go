package reconciler

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// PassResult is how a pass ended, in one word.
type PassResult string

// The results of passes.
const (
	PassDone        PassResult = "done"
	PassFailed      PassResult = "failed"      // it is tried again
	PassStalled     PassResult = "stalled"     // trying again does not help
	PassWaiting     PassResult = "waiting"     // for something that needs time
	PassSuperseded  PassResult = "superseded"  // something newer took over
	PassUnreachable PassResult = "unreachable" // the engine did not answer
)

// Figures are what was counted of an instance since the start of the daemon.
type Figures struct {
	Passes   map[PassResult]int
	Duration Durations // of passes
	// Drift are the things that other hands changed, by what they are: container,
	// network, volume, files. Each counts once until it is as it should be.
	Drift map[string]int
	// DriftSince is since when something is drifted; zero while nothing is.
	DriftSince time.Time
}

// Durations are times by how long they took.
type Durations struct {
	Bounds []time.Duration // upper ones, inclusive
	Counts []int           // one a bound, not cumulative
	Count  int
	Sum    time.Duration
}

// passBounds reach from a pass that finds nothing to do to a deployment that
// waits for its application.
func passBounds() []time.Duration {
	const ms, s = time.Millisecond, time.Second
	return []time.Duration{5 * ms, 25 * ms, 100 * ms, 250 * ms, s, 2500 * ms, 5 * s, 10 * s, 30 * s, 60 * s, 120 * s, 300 * s}
}

// Observe counts one more.
func (d *Durations) Observe(took time.Duration) {
	d.Count++
	d.Sum += took
	if i := slices.IndexFunc(d.Bounds, func(b time.Duration) bool { return took <= b }); i >= 0 {
		d.Counts[i]++
	}
}

// NewDurations counts by bounds, which ascend.
func NewDurations(bounds ...time.Duration) Durations {
	return Durations{Bounds: bounds, Counts: make([]int, len(bounds))}
}

// counted is what an instance counts while it runs.
type counted struct {
	mu      sync.Mutex
	figures Figures
	drifted map[string]bool // objects that are drifted now
}

func newCounted() *counted {
	return &counted{figures: Figures{Passes: map[PassResult]int{}, Duration: NewDurations(passBounds()...), Drift: map[string]int{}},
		drifted: map[string]bool{}}
}

// Figures returns what was counted so far.
func (r *Instance) Figures() Figures {
	r.counted.mu.Lock()
	defer r.counted.mu.Unlock()
	f := r.counted.figures
	f.Passes, f.Drift, f.Duration.Counts = maps.Clone(f.Passes), maps.Clone(f.Drift), slices.Clone(f.Duration.Counts)
	return f
}

func (c *counted) passed(err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures.Passes[resultOf(err)]++
	c.figures.Duration.Observe(took)
}

func resultOf(err error) PassResult {
	_, waits := RetryDelay(err)
	switch {
	case err == nil:
		return PassDone
	case errors.Is(err, errSuperseded):
		return PassSuperseded
	case errors.Is(err, ErrUnreachable):
		return PassUnreachable
	case IsTerminal(err):
		return PassStalled
	case waits:
		return PassWaiting
	}
	return PassFailed
}

// drift counts what a close look found to be other than it should be.
func (c *counted) drift(actions []Action, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := map[string]bool{}
	for _, a := range actions {
		found[objectOf(a)] = true
		if !c.drifted[objectOf(a)] {
			c.figures.Drift[string(a.Kind)]++
		}
	}
	c.drifted = found
	if c.figures.DriftSince.IsZero() {
		c.figures.DriftSince = now.UTC()
	}
	c.endDriftLocked()
}

// mended takes back what was drifted and is not any more.
func (c *counted) mended(actions []Action) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range actions {
		delete(c.drifted, objectOf(a))
	}
	c.endDriftLocked()
}

func (c *counted) endDriftLocked() {
	if len(c.drifted) == 0 {
		c.figures.DriftSince = time.Time{}
	}
}

func objectOf(a Action) string { return string(a.Kind) + " " + a.Object }

// driftedFiles counts tracked files that were put back as soon as they were seen.
func (c *counted) driftedFiles() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.figures.Drift["files"]++
}
