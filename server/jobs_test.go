package server

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pocket keeps notes in memory.
type pocket struct {
	mu    sync.Mutex
	notes map[string][]byte
	full  error
}

func newPocket() *pocket { return &pocket{notes: map[string][]byte{}} }

func (p *pocket) Get(key string) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.notes[key], nil
}

func (p *pocket) Put(key string, data []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil {
		return p.full
	}
	p.notes[key] = append([]byte{}, data...)
	return nil
}

func startJob(t *testing.T, j *Jobs, do func(context.Context, *JobProgress) (any, error)) Job {
	t.Helper()
	job, err := j.Start(t.Context(), "sync", "Ada", do)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func TestJobsTellWhatCameOfThem(t *testing.T) {
	tests := map[string]struct {
		do     func(context.Context, *JobProgress) (any, error)
		state  JobState
		result string
		detail string
	}{
		"done":      {func(context.Context, *JobProgress) (any, error) { return map[string]int{"tables": 3}, nil }, JobDone, `{"tables":3}`, ""},
		"nothing":   {func(context.Context, *JobProgress) (any, error) { return nil, nil }, JobDone, "", ""},
		"failed":    {func(context.Context, *JobProgress) (any, error) { return nil, errors.New("no disk") }, JobFailed, "", "no disk"},
		"in part":   {func(context.Context, *JobProgress) (any, error) { return 1, errors.New("no disk") }, JobFailed, "1", "no disk"},
		"panics":    {func(context.Context, *JobProgress) (any, error) { panic("oops") }, JobFailed, "", "it broke: oops"},
		"no JSON":   {func(context.Context, *JobProgress) (any, error) { return func() {}, nil }, JobFailed, "", "write result"},
		"too long":  {func(context.Context, *JobProgress) (any, error) { return strings.Repeat("x", maxResult), nil }, JobDone, "", ""},
		"too slow":  {func(ctx context.Context, _ *JobProgress) (any, error) { <-ctx.Done(); return nil, ctx.Err() }, JobFailed, "", "longer than 24h"},
		"has a say": {func(context.Context, *JobProgress) (any, error) { return nil, &Error{Status: 409, Detail: "busy"} }, JobFailed, "", "busy"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				notes := newPocket()
				j := NewJobs(notes, nil)
				id := startJob(t, j, tt.do).ID
				for _, jobs := range []*Jobs{j, NewJobs(notes, nil)} {
					if jobs == j {
						time.Sleep(jobLimit + time.Second) // the bubble's time
						synctest.Wait()
					}
					got, err := jobs.Get(t.Context(), id, time.Minute)
					if err != nil || got.State != tt.state || string(got.Result) != tt.result || got.By != "Ada" || got.Ended.IsZero() {
						t.Errorf("got %+v, %v", got, err)
					}
					if (got.Error == nil) != (tt.detail == "") || (got.Error != nil && !strings.Contains(got.Error.Detail, tt.detail)) {
						t.Errorf("got error %+v, want %q", got.Error, tt.detail)
					}
					if tt.detail == "busy" && got.Error.Status != http.StatusConflict {
						t.Errorf("the status of the error is %d", got.Error.Status)
					}
				}
			})
		})
	}
}

func TestJobIsCancelledStoppedAndInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := newPocket()
		j := NewJobs(notes, nil)
		ctx, stop := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { j.Run(ctx); close(over) }()
		untilTold := func(ctx context.Context, p *JobProgress) (any, error) {
			p.Step("waits", 1, 2)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		first, second := startJob(t, j, untilTold), startJob(t, j, untilTold)
		synctest.Wait()
		if got, err := j.Get(t.Context(), first.ID, time.Second); err != nil || got.State != JobRunning || got.Step != "waits" || got.Done != 1 || got.Total != 2 {
			t.Errorf("got %+v, %v", got, err)
		}
		// Another daemon reads the notes as after a crash.
		if got, err := NewJobs(notes, nil).Get(t.Context(), second.ID, 0); err != nil || got.State != JobInterrupted || got.Error == nil || got.Error.Hint == "" {
			t.Errorf("after a crash: %+v, %v", got, err)
		}
		if _, err := j.Cancel(first.ID); err != nil {
			t.Error(err)
		}
		if got, _ := j.Get(t.Context(), first.ID, time.Second); got.State != JobCancelled {
			t.Errorf("got %+v", got)
		}
		if _, err := j.Cancel(first.ID); AsError(err).Status != http.StatusConflict {
			t.Errorf("a job that is over was cancelled: %v", err)
		}
		stop()
		<-over
		if got, _ := j.Get(t.Context(), second.ID, 0); got.State != JobInterrupted {
			t.Errorf("got %+v", got)
		}
		if _, err := j.Start(t.Context(), "sync", "", untilTold); AsError(err).Status != http.StatusServiceUnavailable {
			t.Errorf("a job began after the end: %v", err)
		}
	})
}

func TestJobsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := newPocket()
		j := NewJobs(notes, nil)
		open := make(chan struct{})
		wait := func(context.Context, *JobProgress) (any, error) { <-open; return nil, nil }
		for range runningJobs {
			startJob(t, j, wait)
		}
		if _, err := j.Start(t.Context(), "sync", "", wait); AsError(err).Status != http.StatusTooManyRequests || AsError(err).RetryAfter == 0 {
			t.Errorf("got %v", err)
		}
		close(open)
		synctest.Wait()
		for range 3 * keptJobs {
			startJob(t, j, wait)
			synctest.Wait()
		}
		for _, jobs := range []*Jobs{j, NewJobs(notes, nil)} {
			list, err := jobs.List()
			if err != nil || len(list) != keptJobs || list[0].ID != "sync-316" || list[keptJobs-1].Seq != list[0].Seq-keptJobs+1 {
				t.Errorf("%d jobs from %s on, %v", len(list), list[0].ID, err)
			}
		}
		if next, err := NewJobs(notes, nil).Start(t.Context(), "sync", "", wait); err != nil || next.ID != "sync-317" {
			t.Errorf("after a restart: %+v, %v", next, err)
		}
		synctest.Wait()
	})
}

// A job that ends after a hundred others took its place leaves theirs alone.
func TestOldJobTakesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		notes := newPocket()
		j := NewJobs(notes, nil)
		open := make(chan struct{})
		old := startJob(t, j, func(context.Context, *JobProgress) (any, error) { <-open; return nil, nil })
		for range keptJobs {
			startJob(t, j, func(context.Context, *JobProgress) (any, error) { return nil, nil })
			synctest.Wait()
		}
		if got, err := j.Get(t.Context(), old.ID, 0); err != nil || got.Over() {
			t.Errorf("got %+v, %v", got, err)
		}
		close(open)
		synctest.Wait()
		if _, err := j.Get(t.Context(), old.ID, 0); AsError(err).Status != http.StatusNotFound {
			t.Errorf("got %v", err)
		}
		if list, err := NewJobs(notes, nil).List(); err != nil || len(list) != keptJobs || list[0].ID != "sync-101" {
			t.Errorf("%d jobs, %v", len(list), err)
		}
	})
}

func TestJobThatCannotBeKeptDoesNotStart(t *testing.T) {
	notes := newPocket()
	notes.full = errors.New("no space left")
	j := NewJobs(notes, nil)
	_, err := j.Start(t.Context(), "sync", "", func(context.Context, *JobProgress) (any, error) {
		t.Error("it ran")
		return nil, nil
	})
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}
