package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

func (a *API) serveData(mux *http.ServeMux) {
	const all, one = "/api/instances/{name}/connectors", "/api/instances/{name}/connectors/{connector}"
	names := func(r *http.Request) (string, string) { return r.PathValue("name"), r.PathValue("connector") }
	get(mux, all, func(r *http.Request) (any, error) { return a.Connectors(r.Context(), r.PathValue("name")) })
	get(mux, one, func(r *http.Request) (any, error) {
		instance, name := names(r)
		return a.Connector(r.Context(), instance, name)
	})
	get(mux, one+"/runs", a.getRuns)
	mux.HandleFunc("GET "+one+"/log", a.getRunLog)
	get(mux, one+"/tables", func(r *http.Request) (any, error) {
		limit, err := number(r, "limit", maxLimit, 1)
		if err != nil {
			return nil, err
		}
		instance, name := names(r)
		return a.DiscoverTables(r.Context(), instance, name, limit)
	})
	get(mux, one+"/generations", func(r *http.Request) (any, error) {
		instance, name := names(r)
		return a.DataGenerations(r.Context(), instance, name)
	})
	post(mux, one+"/run", func(r *http.Request, req *RunRequest) (any, error) {
		instance, name := names(r)
		return a.RunConnector(r.Context(), instance, name, *req)
	})
	post(mux, one+"/cancel", func(r *http.Request, _ *struct{}) (any, error) {
		instance, name := names(r)
		return a.CancelConnector(r.Context(), instance, name)
	})
	post(mux, one+"/rollback", func(r *http.Request, req *DataRollback) (any, error) {
		instance, name := names(r)
		return a.RollbackData(r.Context(), instance, name, req.Generation)
	})
	post(mux, one+"/purge", func(r *http.Request, _ *struct{}) (any, error) {
		instance, name := names(r)
		return struct{}{}, a.PurgeConnector(r.Context(), instance, name)
	})
	mux.HandleFunc("POST "+one+"/webhook", a.postWebhook)
	get(mux, "/api/instances/{name}/catalog", func(r *http.Request) (any, error) { return a.Catalog(r.Context(), r.PathValue("name")) })
	get(mux, "/api/instances/{name}/profile", func(r *http.Request) (any, error) {
		return a.Profile(r.Context(), r.PathValue("name"), operator(r), r.URL.Query().Get("table"), r.URL.Query().Get("column"))
	})
	mux.HandleFunc("POST /api/instances/{name}/query", a.postQuery)
	mux.HandleFunc("POST /api/query", a.postQuery)
}

// maxWebhook is the most bytes of a webhook that are read.
const maxWebhook = 25 << 20

// postWebhook hears of changes at a service. What it says is not believed but for
// its signature: the connector runs soon, and asks the service itself.
func (a *API) postWebhook(w http.ResponseWriter, r *http.Request) {
	deadline(w, callTimeout)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxWebhook))
	if err != nil {
		answerError(w, &Error{Status: http.StatusRequestEntityTooLarge, Detail: "read webhook: " + err.Error()})
		return
	}
	if a.cfg.Connectors == nil {
		answerError(w, errors.New("take webhook: nobody runs connectors here"))
		return
	}
	if err := a.cfg.Connectors.Webhook(r.PathValue("name"), r.PathValue("connector"), r.Header.Get("X-Hub-Signature"), body); err != nil {
		answerError(w, conflict(err))
		return
	}
	answerJSON(w, http.StatusOK, struct{}{})
}

func (a *API) getRuns(r *http.Request) (any, error) {
	limit, err := number(r, "limit", 20, 1)
	if err != nil {
		return nil, err
	}
	return a.ConnectorRuns(r.Context(), r.PathValue("name"), r.PathValue("connector"), limit)
}

func (a *API) getRunLog(w http.ResponseWriter, r *http.Request) {
	run, err := strconv.ParseInt(cmp.Or(r.URL.Query().Get("run"), "0"), 10, 64)
	if err != nil || run < 0 {
		answerError(w, &Error{Status: http.StatusBadRequest, Detail: "run: is not the number of a run"})
		return
	}
	deadline(w, callTimeout)
	text := &lateHeader{w: w}
	switch err := a.ConnectorLog(r.Context(), r.PathValue("name"), r.PathValue("connector"), run, text); {
	case err != nil && !text.begun:
		answerError(w, err)
	case err != nil:
		panic(http.ErrAbortHandler) // half of a log must not look like one
	case !text.begun:
		_, _ = text.Write(nil)
	}
}

// lateHeader says that an answer is text once there is some.
type lateHeader struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		l.w.WriteHeader(http.StatusOK)
	}
	return l.w.Write(p)
}

func connectorOf(instance, name, what string, query url.Values) string {
	path := of(instance, "connectors", nil)
	if name != "" {
		path += "/" + url.PathEscape(name)
	}
	if what != "" {
		path += "/" + what
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	return path
}

// Connectors is API.Connectors.
func (c *Client) Connectors(ctx context.Context, instance string) (ConnectorList, error) {
	return call[ConnectorList](ctx, c, http.MethodGet, connectorOf(instance, "", "", nil), nil)
}

// Connector is API.Connector.
func (c *Client) Connector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error) {
	return call[reconciler.AttachmentStatus](ctx, c, http.MethodGet, connectorOf(instance, name, "", nil), nil)
}

// RunConnector is API.RunConnector.
func (c *Client) RunConnector(ctx context.Context, instance, name string, req RunRequest) (RunStarted, error) {
	return call[RunStarted](ctx, c, http.MethodPost, connectorOf(instance, name, "run", nil), req)
}

// CancelConnector is API.CancelConnector.
func (c *Client) CancelConnector(ctx context.Context, instance, name string) (reconciler.AttachmentStatus, error) {
	return call[reconciler.AttachmentStatus](ctx, c, http.MethodPost, connectorOf(instance, name, "cancel", nil), struct{}{})
}

// ConnectorRuns is API.ConnectorRuns.
func (c *Client) ConnectorRuns(ctx context.Context, instance, name string, limit int) ([]connectors.Record, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	return call[[]connectors.Record](ctx, c, http.MethodGet, connectorOf(instance, name, "runs", query), nil)
}

// ConnectorLog is API.ConnectorLog.
func (c *Client) ConnectorLog(ctx context.Context, instance, name string, run int64, w io.Writer) error {
	query := url.Values{"run": {strconv.FormatInt(run, 10)}}
	resp, err := c.do(ctx, http.MethodGet, connectorOf(instance, name, "log", query), "text/plain", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// DiscoverTables is API.DiscoverTables.
func (c *Client) DiscoverTables(ctx context.Context, instance, name string, limit int) (Discovery, error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	return call[Discovery](ctx, c, http.MethodGet, connectorOf(instance, name, "tables", query), nil)
}

// DataGenerations is API.DataGenerations.
func (c *Client) DataGenerations(ctx context.Context, instance, name string) ([]DataGeneration, error) {
	return call[[]DataGeneration](ctx, c, http.MethodGet, connectorOf(instance, name, "generations", nil), nil)
}

// RollbackData is API.RollbackData.
func (c *Client) RollbackData(ctx context.Context, instance, name string, generation int) (reconciler.AttachmentStatus, error) {
	return call[reconciler.AttachmentStatus](ctx, c, http.MethodPost, connectorOf(instance, name, "rollback", nil), DataRollback{generation})
}

// PurgeConnector is API.PurgeConnector.
func (c *Client) PurgeConnector(ctx context.Context, instance, name string) error {
	_, err := call[struct{}](ctx, c, http.MethodPost, connectorOf(instance, name, "purge", nil), struct{}{})
	return err
}

// Catalog is API.Catalog.
func (c *Client) Catalog(ctx context.Context, instance string) ([]connectors.CatalogTable, error) {
	return call[[]connectors.CatalogTable](ctx, c, http.MethodGet, of(instance, "catalog", nil), nil)
}

// Profile is API.Profile; the daemon knows itself who asks.
func (c *Client) Profile(ctx context.Context, instance, _, table, column string) (json.RawMessage, error) {
	query := url.Values{"table": {table}, "column": {column}}
	return call[json.RawMessage](ctx, c, http.MethodGet, of(instance, "profile", query), nil)
}
