package program

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// DefaultImage is what a tier a connector runs in that names no image.
const DefaultImage = desired.DefaultProgramImage

// Where a container has its things.
const (
	programDir = "/connector"
	outDir     = "/out"
	stateFile  = "/state.json"
	depsDir    = "/deps"
)

// maxPids is how many processes and threads a program may have at a time.
const maxPids = 512

// nobody is the user that tier a containers run as.
const nobody = "65534:65534"

// Engine makes containers. Package reconciler/docker implements it.
type Engine interface {
	// JobImage makes sure that an image is there; an empty user is its own.
	JobImage(ctx context.Context, instance, ref, user string, p reconciler.Progress) (reconciler.JobImage, error)
	// RunJob runs a container to its end and removes it, however it ended. When
	// ctx ends first, the error is its cause.
	RunJob(ctx context.Context, job reconciler.Job, output io.Writer) (reconciler.JobEnd, error)
	// SweepJobs removes what an earlier process left of an instance's jobs.
	SweepJobs(ctx context.Context, instance string) error
}

// Options say what programs run with.
type Options struct {
	Engine Engine // nil: there are no containers here
	// AllowHost says that the host lets programs run as processes of its own.
	AllowHost bool
	// Owner tells the processes of this daemon from those of others: the path of
	// the data directory.
	Owner string
	// Instances is the directory with a folder for each instance. Under the
	// folder's cache/ are installed packages, and what a run needs besides.
	Instances string
	Log       *logrus.Entry // nil: nothing is logged
}

// Runner runs programs. Several may run at a time, of one source one.
type Runner struct {
	opts Options
	log  *logrus.Entry

	mu       sync.Mutex
	installs map[string]*install // by directory
}

var _ connectors.Runner = (*Runner)(nil)

// New returns a Runner that has done nothing yet.
func New(opts Options) *Runner {
	log := opts.Log
	if log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		log = logrus.NewEntry(silent)
	}
	return &Runner{opts: opts, log: log, installs: map[string]*install{}}
}

// attempt is one run of a program.
type attempt struct {
	*Runner
	run     connectors.Run
	spec    desired.ProgramSource
	scratch string // a directory of its own, removed with it
	output  io.Writer
}

// ended is how a program ended by itself.
type ended struct {
	code        int
	outOfMemory bool
}

// Run implements connectors.Runner. Tables in the report are those that the
// program left files of; they were not read. Beside an error, those that are OK
// are whole: the program said so.
func (r *Runner) Run(ctx context.Context, run connectors.Run) (connectors.Report, error) {
	if run.Spec.Program == nil {
		return connectors.Report{}, reconciler.Terminal(fmt.Errorf("run %s: it is no program", run.Source))
	}
	a := &attempt{Runner: r, run: run, spec: *run.Spec.Program, output: run.Output}
	if a.output == nil {
		a.output = io.Discard
	}
	if err := a.prepare(); err != nil {
		return connectors.Report{}, err
	}
	defer func() {
		if err := os.RemoveAll(a.scratch); err != nil {
			r.log.WithError(err).Warn("what a run needed is still there")
		}
	}()
	end, err := a.execute(ctx)
	if err != nil {
		err = a.explain(ctx, err)
		if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			return a.overtime(err)
		}
		return connectors.Report{}, err
	}
	return a.judge(end)
}

// cache is the directory of an instance that may be lost.
func (r *Runner) cache(instance string) string {
	return filepath.Join(r.opts.Instances, instance, "cache")
}

// prepare makes what a run needs besides its own directory.
func (a *attempt) prepare() error {
	fail := func(err error) error { return fmt.Errorf("prepare run of %s: %w", a.run.Source, err) }
	if err := os.MkdirAll(a.cache(a.run.Instance), 0o755); err != nil {
		return fail(err)
	}
	var err error
	if a.scratch, err = os.MkdirTemp(a.cache(a.run.Instance), "run-"); err != nil {
		return fail(err)
	}
	state := a.run.Job.State
	if len(state) == 0 {
		state = []byte("{}")
	}
	err = os.WriteFile(a.state(), state, 0o644)
	if err == nil {
		err = os.Chmod(a.state(), 0o644) // whatever the umask is: another user reads it
	}
	if err != nil {
		return errors.Join(fail(err), os.RemoveAll(a.scratch))
	}
	return nil
}

func (a *attempt) state() string { return filepath.Join(a.scratch, "state.json") }

// execute runs the program where it is to run, under watch.
func (a *attempt) execute(ctx context.Context) (ended, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if a.contained() {
		return a.inContainer(ctx, cancel)
	}
	return a.onHost(ctx, cancel)
}

// contained says that the program runs in a container: an image can do no other.
func (a *attempt) contained() bool { return !a.spec.Host || a.spec.Files == "" }

// explain says why a program did not come to its own end. Why ctx ended is known
// to who made it.
func (a *attempt) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("run %s: the program was stopped: %w", a.run.Source, ctx.Err())
	}
	return fmt.Errorf("run %s: %w", a.run.Source, err)
}

// say writes a line of ours into the log of the run.
func (a *attempt) say(format string, args ...any) {
	_, _ = fmt.Fprintf(a.output, "fairlead: "+format+"\n", args...) // the log is bounded by who made it
}

// environment is all that a program sees besides what its image or a minimal
// host sets. What is ours cannot be declared away.
func (a *attempt) environment(out, state, home string) []string {
	env := map[string]string{"HOME": home}
	for k, v := range a.spec.Env {
		env[k] = v
	}
	env["FAIRLEAD_SOURCE"], env["FAIRLEAD_OUT"], env["FAIRLEAD_STATE"] = a.run.Source, out, state
	names := make([]string, len(a.run.Job.Tables))
	for i, t := range a.run.Job.Tables {
		names[i] = t.Name
	}
	if len(names) > 0 {
		env["FAIRLEAD_TABLES"] = strings.Join(names, ",")
	}
	list := make([]string, 0, len(env))
	for k, v := range env {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return list
}

// python are variables for programs in Python: a log that comes as it is
// written, and no writing beside the program.
func python(deps string) []string {
	env := []string{"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"}
	if deps != "" {
		env = append(env, "PYTHONPATH="+deps)
	}
	return env
}

func (a *attempt) memory() int64 { return cmp.Or(a.spec.Memory, desired.DefaultMemory) }
func (a *attempt) disk() int64   { return cmp.Or(a.spec.Disk, desired.DefaultDisk) }

// Sweep removes the containers and ends the processes that an earlier daemon
// left of an instance's runs, and what these had on the disk. No run of the
// instance may be under way.
func (r *Runner) Sweep(ctx context.Context, instance string) error {
	errs := []error{endMarked(ctx, r.marker(instance, ""))}
	if r.opts.Engine != nil {
		errs = append(errs, r.opts.Engine.SweepJobs(ctx, instance))
	}
	for _, left := range []string{"run-*", "python/" + unfinished + "*"} {
		names, _ := filepath.Glob(filepath.Join(r.cache(instance), left)) // of constant patterns
		for _, name := range names {
			errs = append(errs, os.RemoveAll(name))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("clear up runs of %s: %w", instance, err)
	}
	return nil
}
