package server

import (
	"context"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

const jobTag = "jobs"

// JobList are jobs, newest first.
type JobList struct {
	Jobs []Job `json:"jobs"`
}

// Jobs runs long work for calls.
func (a *API) Jobs() *Jobs { return a.jobs }

// OfJob is the input of a call about one job.
type OfJob struct {
	ID   string `path:"id" maxLength:"128" doc:"the job" example:"sync-17"`
	Wait int    `query:"wait" minimum:"0" maximum:"60" doc:"seconds to wait for its end"`
}

// jobRoutes are about long work.
func (a *API) jobRoutes(r *router) {
	route(r, operation{method: http.MethodGet, path: "/api/jobs", id: "listJobs", tag: jobTag, role: auth.RoleViewer,
		summary: "Long work, newest first", description: "The newest 100 are kept, over restarts as well. One that was under way when the daemon ended is interrupted."},
		func(context.Context, *none) (JobList, error) {
			list, err := a.jobs.List()
			return JobList{list}, err
		})
	route(r, operation{method: http.MethodGet, path: "/api/jobs/{id}", id: "getJob", tag: jobTag, role: auth.RoleViewer,
		summary: "A job", description: "With wait, the answer comes when the job is over, or the time is."},
		func(ctx context.Context, in *OfJob) (Job, error) {
			return a.jobs.Get(ctx, in.ID, time.Duration(min(in.Wait, maxWait))*time.Second)
		})
	route(r, operation{method: http.MethodPost, path: "/api/jobs/{id}/cancel", id: "cancelJob", tag: jobTag, role: auth.RoleAdmin,
		summary: "End a job", description: "It is asked to end; wait for it to see what came of it.", errors: map[int]string{http.StatusConflict: "it is over already"}},
		func(_ context.Context, in *struct {
			ID   string `path:"id" maxLength:"128" doc:"the job" example:"sync-17"`
			Body *none
		}) (Job, error) {
			return a.jobs.Cancel(in.ID)
		})
}
