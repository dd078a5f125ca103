package server

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
)

// Configure is API.Configure.
func (c *Client) Configure(ctx context.Context, req ConfigureRequest) (Configured, error) {
	return call[Configured](ctx, c, http.MethodPost, "/api/admin/configure", req)
}

// DiscoverAndRegister is API.DiscoverAndRegister.
func (c *Client) DiscoverAndRegister(ctx context.Context, req DiscoverRequest, dry bool) (DiscoverResult, error) {
	query := url.Values{"dry_run": {strconv.FormatBool(dry)}}
	return call[DiscoverResult](ctx, c, http.MethodPost, "/api/admin/discover-and-register?"+query.Encode(), req)
}

// DeleteConnectorFile is API.DeleteConnectorFile, on the newest state.
func (c *Client) DeleteConnectorFile(ctx context.Context, instance, connector string) (ChangeAnswer, error) {
	return call[ChangeAnswer](ctx, c, http.MethodDelete, of(instance, "connectors/"+url.PathEscape(connector)+"/file", nil), nil)
}
