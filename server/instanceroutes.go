package server

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

const instanceTag = "instances"

// OfInstance is the input of a call about one instance.
type OfInstance struct {
	Name string `path:"name" maxLength:"128" doc:"the instance" example:"acme"`
}

// Limited says how many entries of something past are wanted.
type Limited struct {
	Limit int `query:"limit" minimum:"1" default:"20" doc:"entries, the newest ones; no more than 500 come"`
}

func (l Limited) entries() int { return min(l.Limit, maxLimit) }

// instanceRoutes are about instances: how they are, why, and what is done.
func (a *API) instanceRoutes(r *router) {
	a.statusRoutes(r)
	a.watchRoutes(r)
	a.operateRoutes(r)
}

// statusRoutes tell how instances are.
func (a *API) statusRoutes(r *router) {
	see := func(path, id, summary, description string) operation {
		return operation{method: http.MethodGet, path: path, id: id, summary: summary, description: description, tag: instanceTag, role: auth.RoleViewer}
	}
	route(r, see("/api/instances", "listInstances", "The state of everything", "The repository, what listens, and every instance with its status."),
		func(ctx context.Context, _ *none) (Overview, error) { return a.Overview(ctx) })
	route(r, see("/api/instances/{name}", "getInstance", "The status of an instance", "Revision, generation, containers, certificates, connectors, and conditions with their reasons."),
		func(ctx context.Context, in *OfInstance) (reconciler.Status, error) { return a.Status(ctx, in.Name) })
	route(r, see("/api/instances/{name}/plan", "planInstance", "What would change", "The actions that a revision would bring, each with why. Nothing is done."),
		func(ctx context.Context, in *struct {
			OfInstance
			Ref string `query:"ref" maxLength:"256" doc:"commit, branch or tag; none: the newest revision" example:"main"`
		}) (reconciler.PlanReport, error) {
			return a.Plan(ctx, in.Name, in.Ref)
		})
	route(r, see("/api/instances/{name}/generations", "listGenerations", "The generations that are kept", "Oldest first. Each can be rolled back to."),
		func(ctx context.Context, in *OfInstance) ([]reconciler.Generation, error) {
			return a.Generations(ctx, in.Name)
		})
	route(r, see("/api/instances/{name}/history", "listApplies", "What was applied", "Newest first, with what came of it and why."),
		func(ctx context.Context, in *struct {
			OfInstance
			Limited
		}) ([]reconciler.Record, error) {
			return a.History(ctx, in.Name, in.entries())
		})
	route(r, see("/api/instances/{name}/why", "explain", "Why something is as it is", "Of a service, container, network or volume."),
		func(ctx context.Context, in *struct {
			OfInstance
			Object string `query:"name" required:"true" maxLength:"256" doc:"a service or container" example:"web"`
		}) ([]reconciler.Explanation, error) {
			return a.Why(ctx, in.Name, in.Object)
		})
}

// EventQuery says which events are wanted.
type EventQuery struct {
	Limit  int  `query:"limit" minimum:"0" default:"50" doc:"past events, the newest ones; no more than 500 come"`
	Follow bool `query:"follow" doc:"go on with those that come, a line of JSON each"`
}

// watchRoutes tell what happens.
func (a *API) watchRoutes(r *router) {
	watch := func(path, id, summary, description string, produces map[string]any) operation {
		return operation{method: http.MethodGet, path: path, id: id, summary: summary, description: description,
			tag: instanceTag, role: auth.RoleViewer, produces: produces, endless: true}
	}
	events := map[string]any{"application/json": []reconciler.Event{}, ndjson: reconciler.Event{}}
	const told = "Oldest first: a list, or with follow a line of JSON each for as long as the client stays."
	routeStream(r, watch("/api/events", "watchEvents", "What happened, and happens", told, events),
		func(ctx context.Context, in *EventQuery, w http.ResponseWriter) error {
			return a.writeEvents(ctx, "", *in, w)
		})
	routeStream(r, watch("/api/instances/{name}/events", "watchInstance", "What happened, and happens, to an instance", told, events),
		func(ctx context.Context, in *struct {
			OfInstance
			EventQuery
		}, w http.ResponseWriter) error {
			return a.writeEvents(ctx, in.Name, in.EventQuery, w)
		})
	routeStream(r, watch("/api/instances/{name}/live", "watchApply", "What is done for an instance, as it is done",
		"Each action, what is waited for, pulls, checks, switches and results, oldest first: a list, or with follow a line of JSON each for as long as the client stays. "+
			"The newest 500 lines are kept, until the daemon ends. After a broken connection the number of the last line that came, as after, goes on without a loss; a line of the kind missed says where there is one.",
		map[string]any{"application/json": []ApplyLine{}, ndjson: ApplyLine{}}),
		func(ctx context.Context, in *struct {
			OfInstance
			After  int64 `query:"after" minimum:"0" doc:"only lines with a greater number"`
			Follow bool  `query:"follow" doc:"go on with those that come"`
		}, w http.ResponseWriter) error {
			return a.writeApplyLog(ctx, in.Name, in.After, in.Follow, w)
		})
	routeStream(r, watch("/api/instances/{name}/logs", "readLogs", "What containers write", "A line of JSON a line, the container's name first.",
		map[string]any{ndjson: LogLine{}}),
		func(ctx context.Context, in *struct {
			OfInstance
			Service string `query:"service" maxLength:"128" doc:"one service; none: all" example:"web"`
			Tail    int    `query:"tail" minimum:"-1" default:"100" doc:"past lines of each container; -1: all; no more than 500 come"`
			Follow  bool   `query:"follow" doc:"go on with those that come"`
		}, w http.ResponseWriter) error {
			s := &stream{w: w}
			s.end(a.Logs(ctx, LogQuery{Instance: in.Name, Service: in.Service, Tail: min(in.Tail, maxLimit), Follow: in.Follow},
				func(l LogLine) error { return s.send(l) }))
			return nil
		})
}

func (a *API) writeEvents(ctx context.Context, name string, q EventQuery, w http.ResponseWriter) error {
	limit := min(q.Limit, maxLimit)
	if q.Follow {
		s := &stream{w: w}
		s.end(a.Events(ctx, name, limit, true, func(e reconciler.Event) error { return s.send(e) }))
		return nil
	}
	deadline(w, callTimeout)
	list := []reconciler.Event{}
	err := a.Events(ctx, name, limit, false, func(e reconciler.Event) error {
		list = append(list, e)
		return nil
	})
	if err == nil {
		answerJSON(w, http.StatusOK, list)
	}
	return err
}

func (a *API) writeApplyLog(ctx context.Context, name string, after int64, follow bool, w http.ResponseWriter) error {
	if follow {
		s := &stream{w: w}
		s.end(a.ApplyLog(ctx, name, after, true, func(l ApplyLine) error { return s.send(l) }))
		return nil
	}
	deadline(w, callTimeout)
	list := []ApplyLine{}
	err := a.ApplyLog(ctx, name, after, false, func(l ApplyLine) error {
		list = append(list, l)
		return nil
	})
	if err == nil {
		answerJSON(w, http.StatusOK, list)
	}
	return err
}

// reconcileBody is a ReconcileRequest that waits unless it says otherwise.
type reconcileBody struct {
	Retry bool  `json:"retry,omitempty" doc:"lift the quarantine first"`
	Wait  *bool `json:"wait,omitempty" doc:"for the outcome; true where it is not given"`
	Now   bool  `json:"now,omitempty" doc:"take a release that waits for its time"`
}

func (b reconcileBody) request(by string) ReconcileRequest {
	return ReconcileRequest{Retry: b.Retry, Wait: b.Wait == nil || *b.Wait, Now: b.Now, By: by}
}

// operateRoutes change what is done for an instance.
func (a *API) operateRoutes(r *router) {
	do := func(path, id, summary, description string) operation {
		return operation{method: http.MethodPost, path: path, id: id, summary: summary, description: description, tag: instanceTag, role: auth.RoleAdmin}
	}
	route(r, do("/api/instances/{name}/rollback", "rollBack", "Bring an older generation back",
		"It is held until a newer revision arrives; with commit, a commit of its own brings the repository back as well."),
		func(ctx context.Context, in *struct {
			OfInstance
			Body *RollbackRequest
		}) (RolledBack, error) {
			req := orZero(in.Body)
			req.By = by(ctx)
			return a.Rollback(ctx, in.Name, req)
		})
	route(r, do("/api/instances/{name}/suspend", "suspend", "Stop all action", "Healing included, until it is resumed or its time is over. What runs goes on running."),
		func(ctx context.Context, in *struct {
			OfInstance
			Body *SuspendRequest
		}) (reconciler.Status, error) {
			req := orZero(in.Body)
			req.By = by(ctx)
			return a.Suspend(ctx, in.Name, req)
		})
	route(r, do("/api/instances/{name}/resume", "resume", "End a suspension", ""),
		func(ctx context.Context, in *struct {
			OfInstance
			Body *none
		}) (reconciler.Status, error) {
			return a.Resume(ctx, in.Name, by(ctx))
		})
	reconcile := do("/api/instances/{name}/reconcile", "reconcile", "Make a pass",
		"Answers with the outcome, or with a line of JSON for all that happens on the way where Accept is application/x-ndjson; the last line has the result.")
	reconcile.scope = auth.ScopeSync
	reconcile.produces, reconcile.endless = map[string]any{"application/json": Result{}, ndjson: Update{}}, true
	routeStream(r, reconcile, a.postReconcile)
}

type reconcileInput struct {
	OfInstance
	Accept string `header:"Accept" doc:"application/json, or application/x-ndjson for all that happens"`
	Body   *reconcileBody
}

// postReconcile answers with one object, or with a stream of updates where the
// client accepts one.
func (a *API) postReconcile(ctx context.Context, in *reconcileInput, w http.ResponseWriter) error {
	req := orZero(in.Body).request(by(ctx))
	if in.Accept != ndjson {
		result, err := a.Reconcile(ctx, in.Name, req, nil)
		deadline(w, lineTimeout)
		if err == nil {
			answerJSON(w, http.StatusOK, result)
		}
		return err
	}
	s := &stream{w: w}
	result, err := a.Reconcile(ctx, in.Name, req, func(u Update) { _ = s.send(u) }) // a client that is gone ends the context
	if err == nil {
		err = s.send(Update{Result: &result})
	}
	s.end(err)
	return nil
}
