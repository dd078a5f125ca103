package server

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

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
