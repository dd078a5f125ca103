package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// SyncTriggered is the answer to a trigger.
type SyncTriggered struct {
	Status  string `json:"status" enum:"triggered"`
	Tables  any    `json:"tables" doc:"\"all\", or the ids of those that are asked for"`
	Message string `json:"message"`
	JobID   string `json:"job_id" example:"sync-17"`
	Source  string `json:"source,omitempty" doc:"the connector, where one is meant"`
}

// startedRun is a run that a trigger began.
type startedRun struct {
	instance, connector string
	run                 int64
	tables              []string // none: all
	joined              bool     // it had begun by itself, since what is wanted changed
}

// TriggerSync has connectors run now: all of an instance, one, or those that
// bring the tables that are named. It answers at once; the job waits for them. A
// run that began by itself because of a commit is joined: it brings the same.
func (a *API) TriggerSync(ctx context.Context, instance, name string, tables []string) (SyncTriggered, error) {
	if a.cfg.Connectors == nil {
		return SyncTriggered{}, absent("trigger sync: nobody runs connectors here")
	}
	if err := a.attended("trigger sync"); err != nil {
		return SyncTriggered{}, err
	}
	everything := name == "" && len(tables) == 0
	if everything && instance == "" && len(a.cfg.Fleet.Instances()) == 0 {
		return a.waited(ctx, "", "", nil, nil)
	}
	in, err := a.chosen(instance)
	if err != nil {
		return SyncTriggered{}, err
	}
	list, err := a.settledConnectors(ctx, in)
	if err != nil {
		return SyncTriggered{}, err
	}
	if everything {
		list = slices.DeleteFunc(list, func(c reconciler.AttachmentStatus) bool { return c.Reason == connectors.ReasonNoTables })
	}
	if everything && len(list) == 0 {
		return a.waited(ctx, in, "", nil, nil)
	}
	wanted, err := a.runsFor(ctx, in, name, list, tables)
	if err != nil {
		return SyncTriggered{}, err
	}
	for _, r := range wanted {
		if err := a.idle(ctx, r, list); err != nil {
			return SyncTriggered{}, err
		}
	}
	for i, r := range wanted {
		if wanted[i], err = a.begin(ctx, r); err != nil {
			a.stopRuns(wanted[:i])
			return SyncTriggered{}, err
		}
	}
	return a.waited(ctx, in, name, wanted, tables)
}

// settledConnectors are the connectors of an instance once the loop has seen the
// newest revision: whoever commits one has it run right after.
func (a *API) settledConnectors(ctx context.Context, instance string) ([]reconciler.AttachmentStatus, error) {
	r, err := a.find(instance)
	if err != nil {
		return nil, err
	}
	if _, err := a.after(ctx, r); err != nil {
		return nil, err
	}
	list, err := a.Connectors(ctx, instance)
	return list.Connectors, err
}

// A connector that was just committed is not ready at once.
const (
	readyWithin = 10 * time.Second
	readyEvery  = 100 * time.Millisecond
)

// begin triggers a run, or joins one.
func (a *API) begin(ctx context.Context, r startedRun) (startedRun, error) {
	for end := time.Now().Add(readyWithin); ; {
		id, err := a.cfg.Connectors.Trigger(ctx, r.instance, r.connector, r.tables)
		if r.run = id; err == nil {
			return r, nil
		}
		outdated := false
		if errors.Is(err, connectors.ErrRunning) {
			if r.run, r.joined, outdated = a.joinable(ctx, r); r.joined {
				return r, nil
			}
		}
		soon := outdated || errors.Is(err, connectors.ErrNotReady) || errors.Is(err, connectors.ErrUnknownSource) || errors.Is(err, connectors.ErrUnknownTable)
		if !soon || time.Now().After(end) {
			return r, a.inProgress(err, r)
		}
		select {
		case <-ctx.Done():
			return r, a.inProgress(err, r)
		case <-time.After(readyEvery):
		}
	}
}

// joinable is the run that is under way since what is wanted changed, or since
// such a one failed, unless another trigger follows it. outdated says that it
// ends by itself, since what is wanted has changed again, or has ended.
func (a *API) joinable(ctx context.Context, r startedRun) (run int64, may, outdated bool) {
	list, err := a.cfg.Connectors.Runs(r.instance, r.connector, 1)
	if err != nil {
		return 0, false, false
	}
	if len(list) == 0 || list[0].Outcome != "" {
		return 0, false, true // it has only just begun, or ended since it was looked at
	}
	c, err := a.Connector(ctx, r.instance, r.connector)
	if err != nil || c.Identity != list[0].Identity {
		return 0, false, err == nil
	}
	byItself := list[0].Cause == connectors.CauseChanged || list[0].Cause == connectors.CauseRetry
	return list[0].ID, byItself && a.syncs.of(r.instance, r.connector) == "", false
}

func (a *API) stopRuns(runs []startedRun) {
	for _, r := range runs {
		if !r.joined {
			_ = a.cfg.Connectors.Cancel(r.instance, r.connector) // it may have ended
		}
	}
}

// idle refuses what runs already.
func (a *API) idle(ctx context.Context, r startedRun, list []reconciler.AttachmentStatus) error {
	if !slices.ContainsFunc(list, func(c reconciler.AttachmentStatus) bool { return c.Name == r.connector && c.Running }) {
		return nil
	}
	if _, may, outdated := a.joinable(ctx, r); !may && !outdated {
		return a.inProgress(connectors.ErrRunning, r)
	}
	return nil
}

// inProgress is the answer to a trigger of what runs already, or cannot run.
func (a *API) inProgress(err error, r startedRun) error {
	if !errors.Is(err, connectors.ErrRunning) {
		return conflict(err)
	}
	e := &Error{Status: http.StatusConflict, Code: "sync_already_in_progress", JobID: a.syncs.of(r.instance, r.connector), RetryAfter: 15 * time.Second,
		Detail: fmt.Sprintf("trigger sync: %s of %s is running already", r.connector, r.instance), Hint: "wait for it: GET /api/sync/status says locked: false then"}
	if e.JobID != "" {
		e.Hint = "wait for it: GET /api/jobs/" + e.JobID + "?wait=60"
	}
	return e
}
