package server

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// syncJobs are the jobs that wait for runs, by what they wait for.
type syncJobs struct {
	mu   sync.Mutex
	jobs map[string]string // job by instance/connector
}

func (s *syncJobs) of(instance, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[instance+"/"+name]
}

func (s *syncJobs) set(started []startedRun, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range started {
		key := r.instance + "/" + r.connector
		if id == "" {
			delete(s.jobs, key)
			continue
		}
		if s.jobs == nil {
			s.jobs = map[string]string{}
		}
		s.jobs[key] = id
	}
}

// waited starts the job that waits for runs.
func (a *API) waited(ctx context.Context, instance, name string, runs []startedRun, tables []string) (SyncTriggered, error) {
	done := make(chan struct{})
	job, err := a.jobs.Start(ctx, "sync", by(ctx), func(ctx context.Context, p *JobProgress) (any, error) {
		<-done
		defer a.syncs.set(runs, "")
		return a.followRuns(ctx, p, runs)
	})
	if err != nil {
		a.stopRuns(runs)
		return SyncTriggered{}, err
	}
	a.syncs.set(runs, job.ID)
	close(done)
	out := SyncTriggered{Status: "triggered", Tables: "all", JobID: job.ID, Source: name, Message: fmt.Sprintf("%s of %s under way; GET /api/jobs/%s tells how far it is", reconciler.Count(len(runs), "run"), instance, job.ID)}
	switch len(runs) {
	case 0:
		out.Message = "there is nothing to bring in yet: POST /api/admin/configure says where data comes from, and POST /api/admin/discover-and-register which tables"
	case 1:
		out.Source = runs[0].connector
	}
	if len(tables) > 0 {
		out.Tables = tables
	}
	return out, nil
}

// followRuns waits until runs have ended, and tells how far they are.
func (a *API) followRuns(ctx context.Context, p *JobProgress, runs []startedRun) (any, error) {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		ended, step := []SyncOutcome{}, ""
		for _, r := range runs {
			record, err := a.recordOf(r)
			if err != nil {
				return nil, err
			}
			if record.Outcome == "" {
				step = stepOf(r, record)
				continue
			}
			ended = append(ended, outcomeOf(r, record))
		}
		p.Step(step, int64(len(ended)), int64(len(runs)))
		if len(ended) == len(runs) {
			return ended, failedOf(ended)
		}
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errStopped) { // else they go on after the restart
				a.stopRuns(runs)
			}
			return ended, context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

// followEvery is how often a job looks at its runs.
const followEvery = 300 * time.Millisecond

// recordOf is what is known of a run.
func (a *API) recordOf(r startedRun) (connectors.Record, error) {
	list, err := a.cfg.Connectors.Runs(r.instance, r.connector, 0)
	if err != nil {
		return connectors.Record{}, err
	}
	for _, record := range list {
		if record.ID == r.run {
			return record, nil
		}
	}
	return connectors.Record{}, fmt.Errorf("follow run %d of %s: it is not known any more", r.run, r.connector)
}

func stepOf(r startedRun, record connectors.Record) string {
	for _, table := range sortedNames(record.Progress) {
		if n := record.Progress[table]; n[1] == 0 || n[0] < n[1] {
			return r.connector + "." + table + " " + strconv.FormatInt(n[0], 10)
		}
	}
	return r.connector
}

// SyncOutcome is what came of a run.
type SyncOutcome struct {
	Source  string                   `json:"source"`
	Run     int64                    `json:"run"`
	Outcome connectors.Outcome       `json:"outcome"`
	Error   string                   `json:"error,omitempty"`
	Hint    string                   `json:"hint,omitempty"`
	Rows    int64                    `json:"rows"`
	Tables  []connectors.TableResult `json:"tables,omitempty"`
}

func outcomeOf(r startedRun, record connectors.Record) SyncOutcome {
	out := SyncOutcome{Source: r.connector, Run: r.run, Outcome: record.Outcome, Error: record.Error, Hint: record.Hint}
	for _, t := range record.Tables {
		out.Rows += t.Rows
		t.Columns = nil // the catalog has them
		out.Tables = append(out.Tables, t)
	}
	return out
}

// failedOf is an error when nothing of a sync was any good.
func failedOf(all []SyncOutcome) error {
	var said []string
	for _, o := range all {
		if o.Outcome != connectors.Failed {
			return nil
		}
		said = append(said, o.Source+": "+o.Error)
	}
	if len(said) == 0 {
		return nil
	}
	return withHint(errors.New("sync: "+strings.Join(said, "; ")), all[0].Hint)
}
