package server

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/server/auth"
)

const syncTag = "sync"

// syncRoutes have data brought in, and tell how it is.
func (a *API) syncRoutes(r *router) {
	trigger := operation{method: http.MethodPost, path: "/api/sync/trigger", id: "triggerSync", tag: syncTag, role: auth.RoleAdmin, summary: "Bring data in now",
		description: "Nothing in the body asks for all tables, a list or {\"tables\": a list} for some: by SOURCE.NAME, by name, or as the service calls them. It is for administrators: a run costs money at the service. Analysts see what comes of it.",
		errors:      map[int]string{http.StatusConflict: "sync_already_in_progress, with job_id.", http.StatusUnprocessableEntity: "A table is not known."}}
	trigger.scope = auth.ScopeSync
	route(r, trigger, func(ctx context.Context, in *struct {
		OnInstance
		Source string `query:"source" maxLength:"64" doc:"one connector, or all of a kind" example:"keboola"`
		Body   *TableChoice
	}) (SyncTriggered, error) {
		return a.TriggerSync(ctx, in.Instance, in.Source, orZero(in.Body).Tables)
	})
	status := operation{method: http.MethodGet, path: "/api/sync/status", id: "syncStatus", tag: syncTag, role: public, summary: "Whether data comes in now",
		description: "locked is for everybody, so that an upgrade can wait for it; what runs is for whoever signed in."}
	route(r, status, func(ctx context.Context, in *OnInstance) (SyncStatus, error) {
		who, known := auth.From(ctx)
		return a.SyncStatus(ctx, in.Instance, known && who.Role.Allows(auth.RoleViewer))
	})
	route(r, operation{method: http.MethodGet, path: "/api/sync/runs", id: "syncRuns", tag: syncTag, role: auth.RoleViewer, summary: "The runs of connectors, newest first"},
		func(ctx context.Context, in *struct {
			OnInstance
			Limited
			Source string `query:"source" maxLength:"64" doc:"of one connector"`
		}) ([]SyncRecord, error) {
			return a.SyncRuns(ctx, in.Instance, in.Source, in.entries())
		})
	route(r, operation{method: http.MethodGet, path: "/api/sync/manifest", id: "syncManifest", tag: syncTag, role: auth.RoleAnalyst, summary: "Which state the data of each table is in"},
		func(ctx context.Context, in *OnInstance) (SyncManifest, error) {
			return a.SyncManifest(ctx, in.Instance)
		})
	route(r, operation{method: http.MethodGet, path: "/api/catalog/tables", id: "listTables", tag: dataTag, role: auth.RoleAnalyst, summary: "The tables that can be queried"},
		func(ctx context.Context, in *OnInstance) (Catalogue, error) { return a.Catalogue(ctx, in.Instance) })
	route(r, operation{method: http.MethodGet, path: "/api/catalog/profile/{table}", id: "profileTable", tag: dataTag, role: auth.RoleAnalyst, costly: true, summary: "What is in the columns of a table"},
		func(ctx context.Context, in *struct {
			OnInstance
			Table  string `path:"table" maxLength:"130" doc:"SOURCE.TABLE, or a flat name" example:"shop.orders"`
			Column string `query:"column" maxLength:"256" doc:"one of them"`
		}) (TableProfile, error) {
			return a.ProfileTable(ctx, in.Instance, in.Table, in.Column)
		})
}
