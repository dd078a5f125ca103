package server

import (
	"context"
	"net/http"
	"time"

	"github.com/fairlead/fairlead/server/auth"
)

const changeTag = "changes"

// commitTime bounds a call that asks a service and pushes to a remote.
const commitTime = 5 * time.Minute

// OnInstance says which instance is meant where the path does not.
type OnInstance struct {
	Instance string `query:"instance" maxLength:"39" doc:"left out: the only one" example:"acme"`
}

func commitErrors() map[int]string {
	return map[int]string{http.StatusConflict: "Somebody else changed the same files, or the repository takes no commit now.",
		http.StatusUnprocessableEntity: "The result would not load: problems says what is wrong, and nothing was committed."}
}

func changing(method, path, id, summary, description string) operation {
	return operation{method: method, path: path, id: id, summary: summary, description: description, tag: changeTag, role: auth.RoleAdmin, timeout: commitTime, errors: commitErrors()}
}

// changeRoutes are calls that make commits.
func (a *API) changeRoutes(r *router) {
	a.configureRoutes(r)
	a.registryRoutes(r)
	a.fileRoutes(r)
}

func (a *API) configureRoutes(r *router) {
	configure := changing(http.MethodPost, "/api/admin/configure", "configure", "Say where data comes from",
		"The credentials are tried at the service first. Then the connector, its secrets encrypted, and an instance where there is none yet become one commit.")
	configure.costly = true
	configure.errors[http.StatusBadRequest] = "Something is missing, or the service refused the credentials."
	configure.errors[http.StatusConflict] = "connection_change_affects_registrations: tables are registered that would come from somewhere else. Or somebody else changed the same files."
	route(r, configure, func(ctx context.Context, in *struct{ Body ConfigureRequest }) (Configured, error) {
		return a.Configure(ctx, in.Body)
	})
	discover := changing(http.MethodGet, "/api/admin/discover-tables", "discoverSourceTables", "What the service of a connector has", "")
	discover.costly = true
	route(r, discover, func(ctx context.Context, in *struct {
		OnInstance
		Source string `query:"source" maxLength:"64" doc:"the connector; left out: the only one" example:"keboola"`
		Limit  int    `query:"limit" minimum:"1" maximum:"2000" default:"500" doc:"tables"`
	}) (SourceTables, error) {
		return a.SourceTables(ctx, in.Instance, in.Source, in.Limit)
	})
	register := changing(http.MethodPost, "/api/admin/discover-and-register", "discoverAndRegister", "Register tables of a service",
		"The tables that are chosen, or all, are added to the file of the connector. Those that are registered stay as somebody wrote them.")
	register.costly = true
	route(r, register, func(ctx context.Context, in *struct {
		OnInstance
		Source string `query:"source" maxLength:"64" doc:"the connector; left out: the only one"`
		DryRun bool   `query:"dry_run" doc:"only say what would be registered"`
		Body   *DiscoverRequest
	}) (DiscoverResult, error) {
		req := orZero(in.Body)
		if req.Instance == "" {
			req.Instance = in.Instance
		}
		if req.Source == "" {
			req.Source = in.Source
		}
		return a.DiscoverAndRegister(ctx, req, in.DryRun)
	})
}

// OfTable is the input of a call about one registered table.
type OfTable struct {
	OnInstance
	ID string `path:"id" maxLength:"130" doc:"SOURCE.NAME, or a name that only one source has" example:"shop.orders"`
}

func (a *API) registryRoutes(r *router) {
	list := operation{method: http.MethodGet, path: "/api/admin/registry", id: "listRegistry", tag: changeTag, role: auth.RoleAdmin,
		summary: "The tables that are asked for", description: "Those of the newest revision, which the loop may not have taken yet."}
	route(r, list, func(ctx context.Context, in *OnInstance) (Registry, error) { return a.Registry(ctx, in.Instance) })
	register := changing(http.MethodPost, "/api/admin/register-table", "registerTable", "Register a table", "")
	register.status = http.StatusCreated
	route(r, register, func(ctx context.Context, in *struct{ Body TableEntry }) (TableChanged, error) {
		return a.RegisterTable(ctx, in.Body)
	})
	update := changing(http.MethodPut, "/api/admin/registry/{id}", "updateTable", "Change a registered table", "Only the fields that are given change; an empty text takes one away.")
	route(r, update, func(ctx context.Context, in *struct {
		OfTable
		Body TableEntry
	}) (TableChanged, error) {
		return a.UpdateTable(ctx, firstOf(in.Instance, in.Body.Instance), in.ID, in.Body)
	})
	remove := changing(http.MethodDelete, "/api/admin/registry/{id}", "unregisterTable", "Remove a registered table", "The header Fairlead-Commit names the commit; where this daemon may not push, DELETE answers 200 with the patch in its body.")
	remove.status = http.StatusNoContent
	routeStream(r, withAnswer(remove), func(ctx context.Context, in *OfTable, w http.ResponseWriter) error {
		answer, err := a.UnregisterTable(ctx, in.Instance, in.ID)
		if err != nil {
			return err
		}
		if answer.Patch != "" {
			answerJSON(w, http.StatusOK, answer)
			return nil
		}
		w.Header().Set("Fairlead-Commit", answer.Commit)
		w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// withAnswer says what a call answers that writes its answer itself.
func withAnswer(op operation) operation {
	op.status, op.produces = 0, map[string]any{"application/json": ChangeAnswer{}}
	return op
}

func firstOf(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func (a *API) fileRoutes(r *router) {
	const file = connectorPath + "/file"
	read := operation{method: http.MethodGet, path: file, id: "getConnectorFile", tag: changeTag, role: auth.RoleAdmin, summary: "The file of a connector", description: "As it is in the newest revision, with its comments."}
	route(r, read, func(ctx context.Context, in *OfConnector) (ConnectorFile, error) {
		return a.ConnectorFile(ctx, in.Name, in.Connector)
	})
	write := changing(http.MethodPut, file, "putConnectorFile", "Write the file of a connector", "base is the commit that the file was read at; without it the connector has to be a new one.")
	write.maxBody = 2 << 20
	route(r, write, func(ctx context.Context, in *struct {
		OfConnector
		Body ConnectorFile
	}) (ChangeAnswer, error) {
		return a.PutConnectorFile(ctx, in.Name, in.Connector, in.Body)
	})
	route(r, changing(http.MethodDelete, file, "deleteConnectorFile", "Remove a connector", "Its data stays until it is purged."), func(ctx context.Context, in *struct {
		OfConnector
		Base string `query:"base" maxLength:"64" doc:"the commit that the file was read at; left out: the newest"`
	}) (ChangeAnswer, error) {
		return a.DeleteConnectorFile(ctx, in.Name, in.Connector, in.Base)
	})
	create := changing(http.MethodPost, "/api/instances", "createInstance", "Make an instance", "One without containers: connectors bring data, and a compose file may come later.")
	create.status = http.StatusCreated
	route(r, create, func(ctx context.Context, in *struct{ Body NewInstance }) (ChangeAnswer, error) {
		return a.CreateInstance(ctx, in.Body)
	})
	route(r, changing(http.MethodPatch, "/api/instances/{name}/release", "changeRelease", "Say which release an instance follows", "The rest of instance.yaml stays as it is written."), func(ctx context.Context, in *struct {
		OfInstance
		Body ReleaseChange
	}) (ChangeAnswer, error) {
		return a.ChangeRelease(ctx, in.Name, in.Body)
	})
	route(r, changing(http.MethodPost, "/api/instances/{name}/revert", "revertInstance", "Bring the directory of an instance back", "A new commit makes it what it was at another one."), func(ctx context.Context, in *struct {
		OfInstance
		Body RevertRequest
	}) (ChangeAnswer, error) {
		return a.Revert(ctx, in.Name, in.Body)
	})
}
