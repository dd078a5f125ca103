package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

const connectorTag = "connectors"

// OfConnector is the input of a call about one connector.
type OfConnector struct {
	OfInstance
	Connector string `path:"connector" maxLength:"128" doc:"the connector" example:"shop"`
}

const connectorPath = "/api/instances/{name}/connectors/{connector}"

// connectorRoutes are about connectors.
func (a *API) connectorRoutes(r *router) {
	a.seeConnectorRoutes(r)
	a.runConnectorRoutes(r)
	routeStream(r, operation{method: http.MethodGet, path: connectorPath + "/log", id: "readRunLog", tag: connectorTag, role: auth.RoleViewer,
		summary: "What a run of a connector wrote", produces: map[string]any{textType: nil}}, a.getRunLog)
	route(r, operation{method: http.MethodPost, path: connectorPath + "/webhook", id: "hearConnector", tag: connectorTag, role: public, maxBody: maxWebhook, before: a.beforeNudge,
		summary:     "Hear of changes at the service of a connector",
		description: "What it says is not believed but for its signature: the connector runs soon, and asks the service itself."}, a.postWebhook)
}

func (a *API) seeConnectorRoutes(r *router) {
	see := func(path, id, summary string, role auth.Role) operation {
		return operation{method: http.MethodGet, path: path, id: id, summary: summary, tag: connectorTag, role: role}
	}
	route(r, see("/api/instances/{name}/connectors", "listConnectors", "The connectors of an instance", auth.RoleViewer),
		func(ctx context.Context, in *OfInstance) (ConnectorList, error) { return a.Connectors(ctx, in.Name) })
	route(r, see(connectorPath, "getConnector", "A connector", auth.RoleViewer),
		func(ctx context.Context, in *OfConnector) (reconciler.AttachmentStatus, error) {
			return a.Connector(ctx, in.Name, in.Connector)
		})
	route(r, see(connectorPath+"/runs", "listRuns", "The runs of a connector, newest first", auth.RoleViewer),
		func(ctx context.Context, in *struct {
			OfConnector
			Limited
		}) ([]connectors.Record, error) {
			return a.ConnectorRuns(ctx, in.Name, in.Connector, in.entries())
		})
	discover := see(connectorPath+"/tables", "discoverTables", "What the service of a connector has", auth.RoleAdmin)
	discover.costly = true
	route(r, discover,
		func(ctx context.Context, in *struct {
			OfConnector
			Limit int `query:"limit" minimum:"1" default:"500" doc:"tables; no more than 500 come"`
		}) (Discovery, error) {
			return a.DiscoverTables(ctx, in.Name, in.Connector, min(in.Limit, maxLimit))
		})
	route(r, see(connectorPath+"/generations", "listDataGenerations", "The states of a connector's data that are kept", auth.RoleViewer),
		func(ctx context.Context, in *OfConnector) ([]DataGeneration, error) {
			return a.DataGenerations(ctx, in.Name, in.Connector)
		})
}

func (a *API) runConnectorRoutes(r *router) {
	do := func(what, id, summary string) operation {
		return operation{method: http.MethodPost, path: connectorPath + what, id: id, summary: summary, tag: connectorTag, role: auth.RoleAdmin}
	}
	run := do("/run", "runConnector", "Have a connector run now")
	run.scope = auth.ScopeSync
	route(r, run,
		func(ctx context.Context, in *struct {
			OfConnector
			Body *RunRequest
		}) (RunStarted, error) {
			return a.RunConnector(ctx, in.Name, in.Connector, orZero(in.Body))
		})
	route(r, do("/cancel", "cancelConnector", "End the run that is under way"),
		func(ctx context.Context, in *struct {
			OfConnector
			Body *none
		}) (reconciler.AttachmentStatus, error) {
			return a.CancelConnector(ctx, in.Name, in.Connector)
		})
	route(r, do("/rollback", "rollBackData", "Attach an older state of a connector's data"),
		func(ctx context.Context, in *struct {
			OfConnector
			Body *DataRollback
		}) (reconciler.AttachmentStatus, error) {
			return a.RollbackData(ctx, in.Name, in.Connector, orZero(in.Body).Generation)
		})
	purge := do("/purge", "purgeConnector", "Remove what a connector left")
	purge.description = "The data and the runs of a connector that is wanted no more. They are gone then."
	route(r, purge, func(ctx context.Context, in *struct {
		OfConnector
		Body *none
	}) (none, error) {
		return none{}, a.PurgeConnector(ctx, in.Name, in.Connector)
	})
}

// maxWebhook is the most bytes of a webhook that are read.
const maxWebhook = 25 << 20

type webhookInput struct {
	OfConnector
	Signature string `header:"X-Hub-Signature" doc:"HMAC of the body, as the service makes it" example:"sha256=4d1c…"`
	HookRequest
}

// beforeNudge turns away what comes too often or cannot be signed, before its
// body is read: anybody may send one.
func (a *API) beforeNudge(r *http.Request) error {
	if a.cfg.Connectors == nil {
		return absent("take webhook: nobody runs connectors here")
	}
	if wait := a.hooks.nudges.take(sender(r.Context()), time.Now()); wait > 0 {
		return tooMany(wait)
	}
	digits, ok := strings.CutPrefix(r.Header.Get("X-Hub-Signature"), "sha256=")
	if mac, err := hex.DecodeString(digits); !ok || err != nil || len(mac) != sha256.Size {
		return a.deniedNudge(r.Context(), &Error{Status: http.StatusUnauthorized, Detail: "take webhook: the signature is missing or wrong, or nothing is expected here",
			Hint: "set webhookSecret of the connector to the secret of the webhook at Jira"})
	}
	return nil
}

// deniedNudge counts whoever does not know the secret.
func (a *API) deniedNudge(ctx context.Context, err error) error {
	if answeredStatus(err) != http.StatusUnauthorized {
		return err
	}
	if wait := a.hooks.nudges.denied(sender(ctx), time.Now()); wait > 0 {
		return tooMany(wait)
	}
	return err
}

// postWebhook hears of changes at a service.
func (a *API) postWebhook(ctx context.Context, in *webhookInput) (none, error) {
	if err := a.cfg.Connectors.Webhook(ctx, in.Name, in.Connector, in.Signature, in.body); err != nil {
		return none{}, a.deniedNudge(ctx, conflict(err))
	}
	return none{}, nil
}

type runLogInput struct {
	OfConnector
	Run int64 `query:"run" minimum:"0" doc:"the number of the run; 0: the newest"`
}

func (a *API) getRunLog(ctx context.Context, in *runLogInput, w http.ResponseWriter) error {
	text := &lateHeader{w: w}
	switch err := a.ConnectorLog(ctx, in.Name, in.Connector, in.Run, text); {
	case err != nil && !text.begun:
		return err
	case err != nil:
		panic(http.ErrAbortHandler) // half of a log must not look like one
	case !text.begun:
		_, _ = text.Write(nil)
	}
	return nil
}

// lateHeader says that an answer is text once there is some.
type lateHeader struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", textType)
		l.w.WriteHeader(http.StatusOK)
	}
	return l.w.Write(p)
}
