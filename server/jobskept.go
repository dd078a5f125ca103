package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// keptJob is a job as it is kept: with the status of its error, and its number.
type keptJob struct {
	Job
	Seq    int64 `json:"seq"`
	Status int   `json:"status,omitempty"`
}

// slot is the key of a job. There are as many as are kept: a job takes the place
// of the one that many before it, so that nothing ever has to be removed.
func slot(seq int64) string { return "job-" + strconv.FormatInt(seq%keptJobs, 10) }

func (j *Jobs) keep(job Job) error {
	if j.notes == nil {
		return nil
	}
	kept := keptJob{Job: job, Seq: job.Seq}
	if job.Error != nil {
		kept.Status = job.Error.Status
	}
	data, err := json.Marshal(kept)
	if err == nil {
		err = j.notes.Put(slot(job.Seq), data)
	}
	if err != nil {
		return fmt.Errorf("keep job %s: %w", job.ID, err)
	}
	return nil
}

// loadLocked reads what was kept, once. What was under way then is interrupted.
func (j *Jobs) loadLocked() error {
	if j.loaded || j.notes == nil {
		return nil
	}
	for i := range int64(keptJobs) {
		data, err := j.notes.Get(slot(i))
		if err != nil {
			return fmt.Errorf("read jobs: %w", err)
		}
		var kept keptJob
		if len(data) == 0 || json.Unmarshal(data, &kept) != nil || kept.ID == "" {
			continue // a note that cannot be read is a job that is not known any more
		}
		j.recall(kept)
	}
	j.loaded = true
	return nil
}

func (j *Jobs) recall(kept keptJob) {
	job := kept.Job
	job.Seq = kept.Seq
	if job.Error != nil {
		job.Error.Status = kept.Status
	}
	if !job.Over() {
		job.State, job.Ended = JobInterrupted, time.Now().UTC()
		job.Error = AsError(errors.New("the daemon ended while it was under way"))
		job.Error.Hint = "see what came of it, and start it again"
	}
	ended := make(chan struct{})
	close(ended)
	j.jobs[job.ID] = &work{job: job, cancel: func(error) {}, ended: ended}
	j.seq = max(j.seq, job.Seq)
}

// forgetLocked leaves out of memory what has no place on disk any more. A job
// that is still under way stays.
func (j *Jobs) forgetLocked() {
	for id, w := range j.jobs {
		if w.job.Over() && w.job.Seq <= j.seq-keptJobs {
			delete(j.jobs, id)
		}
	}
}
