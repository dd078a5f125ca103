package analytics

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// ErrClosed says that the daemon is being stopped.
var ErrClosed = errors.New("the query workers are being stopped")

// Options are how an Analytics works. Zero values stand for the defaults named.
type Options struct {
	// Dir is the directory of an instance. Its extracts/ and analytics/ are ours.
	Dir func(instance string) string
	// Command starts this program as a child; the mode is appended. Default:
	// this executable with "child".
	Command []string

	// Workers is how many query workers an instance may have. Default: the number
	// of processors, at least 2 and at most 4.
	Workers int
	Threads int    // of one worker; default: half of the processors
	Memory  string // of DuckDB in one worker; default 512MB
	// MaxData bounds what one child may have at all, in bytes; default 2 GiB.
	MaxData  int64
	MaxSpill int64         // bytes of one temporary file of a worker; default 2 GiB
	Idle     time.Duration // after which a worker beyond the first ends; default 5m

	MaxWaiting     int           // queries of an instance that wait; default 100
	MaxWaitingUser int           // of one user; default half of MaxWaiting
	MaxWait        time.Duration // for a worker; default 1m
	MaxRows        int64         // of a result; default 1,000,000
	MaxBytes       int64         // of a result; default 256 MiB
	Deadline       time.Duration // of a query; default 60s, and none is longer

	Builds       int           // at once; default 2
	BuildTimeout time.Duration // default 30m
	BuildLimits  wire.BuildLimits
	BuildData    int64 // bytes that a build may have at all; default 4 GiB
	// MinFree is how many bytes of the disk a build leaves free; default 256 MiB,
	// and none when it is less than 0.
	MinFree int64

	// Inspect is how often the files of what is attached are looked at; default 10s.
	Inspect     time.Duration
	ExportAfter time.Duration // quiet time before the export is made anew; default 5s

	Extensions string // the directory that extensions are kept in
	Remote     wire.RemotePolicy
	// Token is the value of a variable that an attached database is given, for an
	// instance; false: there is none.
	Token func(instance, name string) (string, bool)
	Log   *logrus.Entry // nil: nothing is logged
	// Event is told what people should hear of. It must not call back. It may be nil.
	Event func(Event)

	noGroups bool                                                              // no control groups, in a test
	step     func(string)                                                      // tells a test what is about to be done
	build    func(context.Context, wire.BuildRequest) (wire.BuildReply, error) // in place of a child, in a test
}

// Event is something that happened to a source of an instance.
type Event struct {
	Instance string
	Source   string // empty: it is of the workers
	Reason   string // one word, stable
	Message  string
	Hint     string
}

// Analytics is the data of all instances. It implements connectors.Publisher.
type Analytics struct {
	o      Options
	groups cgroups
	builds chan struct{}
	ctx    context.Context // ends with Run or Close
	end    context.CancelCauseFunc
	tasks  sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	instances map[string]*instance
	lacking   map[string]string // why the kernel does not confine children altogether, by mode

	keeping sync.Mutex         // orders what is to be attached; taken before mu
	unkept  map[string]*unkept // by instance, what could not be opened yet
}

var _ connectors.Publisher = (*Analytics)(nil)

// New makes one that has done nothing yet. Run keeps it going, and ends it.
func New(o Options) *Analytics {
	o = o.defaults()
	a := &Analytics{o: o, builds: make(chan struct{}, o.Builds), instances: map[string]*instance{}, unkept: map[string]*unkept{}}
	a.ctx, a.end = context.WithCancelCause(context.Background())
	a.groups.off = o.noGroups
	a.groups.told = func(why error) {
		a.o.Log.WithError(why).Info("no control groups for query workers here: their memory is bounded by RLIMIT_DATA alone")
	}
	return a
}

func (o Options) defaults() Options {
	cpus := runtime.NumCPU()
	set(&o.Workers, min(max(cpus, 2), 4))
	set(&o.Threads, max(1, cpus/2))
	set(&o.Memory, "512MB")
	set(&o.MaxData, 2<<30)
	set(&o.MaxSpill, 2<<30)
	set(&o.Idle, 5*time.Minute)
	set(&o.MaxWaiting, 100)
	set(&o.MaxWaitingUser, max(1, o.MaxWaiting/2))
	set(&o.MaxWait, time.Minute)
	set(&o.MaxRows, 1_000_000)
	set(&o.MaxBytes, 256<<20)
	set(&o.Deadline, time.Minute)
	set(&o.Builds, 2)
	set(&o.BuildTimeout, 30*time.Minute)
	set(&o.BuildData, 4<<30)
	set(&o.MinFree, 256<<20)
	set(&o.Inspect, 10*time.Second)
	set(&o.ExportAfter, 5*time.Second)
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			self = "/proc/self/exe"
		}
		o.Command = []string{self, "child"}
	}
	if o.Log == nil {
		silent := logrus.New()
		silent.SetLevel(logrus.PanicLevel)
		o.Log = logrus.NewEntry(silent)
	}
	if o.Event == nil {
		o.Event = func(Event) {}
	}
	if o.Token == nil {
		o.Token = func(string, string) (string, bool) { return "", false }
	}
	return o
}

// set gives a value that was left out its default.
func set[T comparable](v *T, fallback T) {
	var none T
	if *v == none {
		*v = fallback
	}
}

// Run looks after what is attached until ctx ends, and then ends all children.
func (a *Analytics) Run(ctx context.Context) error {
	defer a.Close()
	ticker := time.NewTicker(a.o.Inspect)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.ctx.Done():
			return nil
		case <-ticker.C:
			a.keepAgain()
			for _, i := range a.all() {
				i.inspect(false)
				i.tidy(time.Now())
			}
		}
	}
}

// Close ends all children and waits until everything has ended. Run does it, too.
func (a *Analytics) Close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.end(ErrClosed)
	for _, i := range a.all() {
		i.close()
	}
	a.tasks.Wait()
}

// spawn runs something beside, unless the end has come; Close waits for it.
func (a *Analytics) spawn(f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return false
	}
	a.tasks.Go(f)
	return true
}

// both is a context that ends with another one or with the end of everything.
func (a *Analytics) both(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(a.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func (a *Analytics) all() (list []*instance) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, i := range a.instances {
		list = append(list, i)
	}
	slices.SortFunc(list, func(x, y *instance) int { return strings.Compare(x.name, y.name) })
	return list
}

// instance is the data of one instance, opened when it is first asked for.
func (a *Analytics) instance(name string) (*instance, error) {
	if name == "" || name == "." || !filepath.IsLocal(name) || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("open the data of instance %q: the name is not valid", name)
	}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return nil, ErrClosed
	}
	i := a.instances[name]
	if i == nil {
		i = newInstance(a, name, a.o.Dir(name))
		a.instances[name] = i
	}
	a.mu.Unlock()
	if err := i.open(); err != nil {
		return nil, fmt.Errorf("open the data of instance %s: %w", name, err)
	}
	return i, nil
}

// Check says what is wrong with a directory or an extract.duckdb that a
// connector left. It needs no daemon.
func (a *Analytics) Check(ctx context.Context, path string) (wire.CheckReply, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return wire.CheckReply{}, fmt.Errorf("check %s: %w", path, err)
	}
	ctx, cancel := context.WithTimeout(ctx, a.o.BuildTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "fairlead-check-")
	if err != nil {
		return wire.CheckReply{}, fmt.Errorf("check %s: %w", path, err)
	}
	limits := a.o.BuildLimits
	limits.TempDir = dir
	var reply wire.CheckReply
	err = a.once(ctx, wire.Check, dir, a.o.BuildData, wire.CheckRequest{Path: path, Limits: limits, Remote: a.o.Remote}, &reply)
	a.tellUnconfined(wire.Check, reply.Unconfined)
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	if err != nil {
		return reply, fmt.Errorf("check %s: %w", path, err)
	}
	return reply, nil
}
