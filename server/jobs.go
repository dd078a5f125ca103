package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/reconciler"
)

// The bounds of jobs.
const (
	keptJobs    = 100      // the newest, those under way included
	runningJobs = 16       // at once
	maxResult   = 64 << 10 // bytes of a result as JSON
	jobLimit    = 24 * time.Hour
	maxWait     = 60 // seconds that a call waits for the end of a job
)

// JobState is how far a job is.
type JobState string

// The states of a job. All but the first are final.
const (
	JobRunning     JobState = "running"
	JobDone        JobState = "done"
	JobFailed      JobState = "failed"
	JobCancelled   JobState = "cancelled"
	JobInterrupted JobState = "interrupted" // the daemon ended under it
)

// Job is long work that somebody asked for.
type Job struct {
	ID          string    `json:"id" example:"sync-17"`
	Kind        string    `json:"kind" example:"sync"`
	State       JobState  `json:"state" enum:"running,done,failed,cancelled,interrupted"`
	By          string    `json:"by" doc:"who asked for it"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended,omitzero"`
	Step        string    `json:"step,omitempty" doc:"what it is at"`
	Done        int64     `json:"done" doc:"of total"`
	Total       int64     `json:"total" doc:"0: not known"`
	Correlation string    `json:"correlation,omitempty" doc:"of the request that asked for it"`
	// Result is what came of it; its form depends on the kind.
	Result json.RawMessage `json:"result,omitempty" doc:"what came of it; its form depends on the kind"`
	Error  *Error          `json:"error,omitempty" doc:"why it failed"`
	Seq    int64           `json:"-"`
}

// Over reports whether nothing more happens to it.
func (j Job) Over() bool { return j.State != JobRunning }

// Notes keeps bytes by key over restarts; reconciler.Notebook is one.
type Notes interface {
	Get(key string) ([]byte, error)
	Put(key string, data []byte) error
}

// Jobs runs long work and remembers what came of it. The newest are kept over
// restarts; one that was under way when the daemon ended is interrupted.
type Jobs struct {
	notes Notes // nil: nothing is kept
	log   *logrus.Entry

	mu      sync.Mutex
	loaded  bool
	seq     int64
	jobs    map[string]*work
	stopped bool
	group   sync.WaitGroup
}

// work is a job with what steers it.
type work struct {
	job    Job
	cancel context.CancelCauseFunc
	ended  chan struct{}
}

// NewJobs does no I/O; what was kept is read by the first use. notes and log may
// be nil.
func NewJobs(notes Notes, log *logrus.Entry) *Jobs {
	return &Jobs{notes: notes, log: log, jobs: map[string]*work{}}
}

// JobProgress is how a job tells how far it is.
type JobProgress struct {
	jobs *Jobs
	id   string
}

// Step tells what the job is at; done is out of total, which is 0 while unknown.
func (p *JobProgress) Step(step string, done, total int64) {
	p.jobs.mu.Lock()
	defer p.jobs.mu.Unlock()
	if w := p.jobs.jobs[p.id]; w != nil && !w.job.Over() {
		w.job.Step, w.job.Done, w.job.Total = step, done, total
	}
}

var (
	errCancelled = errors.New("it was cancelled")
	errStopped   = errors.New("the daemon stopped")
)

// Start begins a job that goes on when ctx ends; of ctx it keeps the values. The
// context that do gets ends when the job is cancelled, the daemon stops, or a day
// is over. What do returns is written as JSON.
func (j *Jobs) Start(ctx context.Context, kind, by string, do func(context.Context, *JobProgress) (any, error)) (Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.loadLocked(); err != nil {
		return Job{}, err
	}
	if j.stopped {
		return Job{}, &Error{Status: http.StatusServiceUnavailable, Detail: "start job: the daemon stops", Hint: "try again in a moment", RetryAfter: 5 * time.Second}
	}
	running := 0
	for _, w := range j.jobs {
		if !w.job.Over() {
			running++
		}
	}
	if running >= runningJobs {
		return Job{}, &Error{Status: http.StatusTooManyRequests, Detail: fmt.Sprintf("start job: %d are under way", running),
			Hint: "wait for one of GET /api/jobs, or cancel one", RetryAfter: 30 * time.Second}
	}
	j.seq++
	job := Job{ID: kind + "-" + strconv.FormatInt(j.seq, 10), Seq: j.seq, Kind: kind, State: JobRunning, By: by,
		Started: time.Now().UTC(), Correlation: reconciler.CorrelationOf(ctx)}
	if err := j.keep(job); err != nil {
		return Job{}, err
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	w := &work{job: job, cancel: cancel, ended: make(chan struct{})}
	j.jobs[job.ID] = w
	j.forgetLocked()
	j.group.Go(func() { j.run(ctx, w, do) })
	return job, nil
}

func (j *Jobs) run(ctx context.Context, w *work, do func(context.Context, *JobProgress) (any, error)) {
	ctx, cancel := context.WithTimeoutCause(ctx, jobLimit, fmt.Errorf("it took longer than %s", jobLimit))
	defer cancel()
	defer w.cancel(nil)
	result, err := j.guarded(ctx, w.job.ID, do)
	if ctx.Err() != nil && err != nil {
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	w.job.end(result, err)
	if w.job.Seq <= j.seq-keptJobs { // its place has been taken
		delete(j.jobs, w.job.ID)
	} else if err := j.keep(w.job); err != nil && j.log != nil {
		j.log.WithError(err).WithField("job", w.job.ID).Error("Keep the outcome of a job")
	}
	close(w.ended)
}

// guarded has a job that panics fail, and not the daemon.
func (j *Jobs) guarded(ctx context.Context, id string, do func(context.Context, *JobProgress) (any, error)) (result any, err error) {
	defer func() {
		if broken := recover(); broken != nil {
			err = fmt.Errorf("it broke: %v", broken)
			if j.log != nil {
				j.log.WithFields(logrus.Fields{"job": id, "panic": broken, "stack": string(debug.Stack())}).Error("A job broke")
			}
		}
	}()
	return do(ctx, &JobProgress{j, id})
}

// end notes what came of a job.
func (j *Job) end(result any, err error) {
	j.Ended, j.State = time.Now().UTC(), JobDone
	body, jsonErr := json.Marshal(result)
	if err == nil && jsonErr != nil {
		err = fmt.Errorf("write result: %w", jsonErr)
	}
	switch {
	case len(body) > maxResult: // a result that is too long to keep is not the job's failure
		j.Step = fmt.Sprintf("the result has %d KiB and is not kept", len(body)>>10)
	case result != nil && jsonErr == nil:
		j.Result = body
	}
	switch {
	case err == nil:
		return
	case errors.Is(err, errCancelled):
		j.State = JobCancelled
	case errors.Is(err, errStopped):
		j.State = JobInterrupted
	default:
		j.State = JobFailed
	}
	j.Error = AsError(err)
}

// List returns the jobs that are remembered, newest first.
func (j *Jobs) List() ([]Job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.loadLocked(); err != nil {
		return nil, err
	}
	list := []Job{}
	for _, w := range j.jobs {
		list = append(list, w.job)
	}
	slices.SortFunc(list, func(x, y Job) int { return cmp.Compare(y.Seq, x.Seq) })
	return list, nil
}

// Get returns a job, once it is over or wait is.
func (j *Jobs) Get(ctx context.Context, id string, wait time.Duration) (Job, error) {
	w, err := j.find(id)
	if err != nil {
		return Job{}, err
	}
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-w.ended:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return w.job, nil
}

func (j *Jobs) find(id string) (*work, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.loadLocked(); err != nil {
		return nil, err
	}
	if w := j.jobs[id]; w != nil {
		return w, nil
	}
	return nil, &Error{Status: http.StatusNotFound, Detail: "find job " + id + ": there is none",
		Hint: fmt.Sprintf("GET /api/jobs lists them; the newest %d are kept", keptJobs)}
}

// Cancel asks a job to end, and returns it as it is then.
func (j *Jobs) Cancel(id string) (Job, error) {
	w, err := j.find(id)
	if err != nil {
		return Job{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if w.job.Over() {
		return w.job, &Error{Status: http.StatusConflict, Detail: fmt.Sprintf("cancel job %s: it is %s already", id, w.job.State)}
	}
	w.cancel(errCancelled)
	return w.job, nil
}

// Run waits for ctx to end, then ends the jobs that are under way and waits for
// them for as long as an open call is waited for.
func (j *Jobs) Run(ctx context.Context) {
	<-ctx.Done()
	j.mu.Lock()
	j.stopped = true
	for _, w := range j.jobs {
		if !w.job.Over() {
			w.cancel(errStopped)
		}
	}
	j.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		j.group.Wait()
		close(ended)
	}()
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
}
