package connectors

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/sirupsen/logrus"
)

// Memory keeps what has to outlive the daemon beside the store, sealed: records
// of runs, what they left for the next. reconciler.Store gives one, Notebook.
type Memory interface {
	// Get returns what was put last under a key; nil when nothing was.
	Get(key string) ([]byte, error)
	Put(key string, value []byte) error
}

// Program runs connectors of tiers a and b. When its ctx ends it kills what it
// started, all of it, before it returns.
type Program interface {
	Runner
	// Sweep ends and removes what an earlier process left running of an instance.
	// It is called before the first run of an instance, and not beside one.
	Sweep(ctx context.Context, instance string) error
}

// Options are the settings of a Manager. Dir, Memory and Publisher are required;
// the zero value of every other one is its default.
type Options struct {
	// Dir holds a directory for every instance; runs are in INSTANCE/runs/SOURCE/ID
	// and the files of programs in INSTANCE/programs.
	Dir       string
	Memory    Memory
	Publisher Publisher
	// Sources makes a source that is built in; nil: there are none.
	Sources func(ctx context.Context, spec desired.ConnectorSpec) (Source, error)
	// Program runs the others; nil: they cannot run.
	Program Program
	// Event is told what people may want to know; nil: nobody is.
	// correlation is the id of the request that led to it; empty: none did.
	Event func(instance, reason, message, correlation string)

	// AtOnce is how many runs there are at a time on this host; 2. Of several
	// instances none gets all of them.
	AtOnce  int
	MinFree int64 // bytes of the disk that a run must find free; 1 GiB, negative: none
	// Seed makes a fleet read its sources at different times; the host's name.
	Seed string
	Now  func() time.Time // nil: time.Now
	Log  *logrus.Entry    // nil: nothing is logged

	free func(dir string) (int64, error)
	step func(string) // told before each thing that is done to the disk or the notes; for tests
}

// The defaults of what a spec leaves out.
const (
	defaultTimeout = time.Hour
	defaultKeep    = 5
	// publishLimit bounds the making of a generation, which goes on when the time
	// of the run itself is over.
	publishLimit  = 2 * time.Hour
	discoverLimit = 5 * time.Minute
	// nudgePause is the least time from one run to the next that a nudge is for.
	nudgePause = time.Minute
	// lostPause is the least time from the end of a run to one that brings again
	// what was lost since: a disk that damages everything is not written to all day.
	lostPause  = 10 * time.Minute
	sweepLimit = 10 * time.Minute
)

func (o Options) withDefaults() Options {
	if o.AtOnce <= 0 {
		o.AtOnce = 2
	}
	if o.MinFree == 0 {
		o.MinFree = 1 << 30
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = silent()
	}
	if o.free == nil {
		o.free = freeBytes
	}
	if o.step == nil {
		o.step = func(string) {}
	}
	return o
}
