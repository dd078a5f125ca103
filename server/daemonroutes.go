package server

import (
	"context"
	"net/http"

	"github.com/fairlead/fairlead/server/auth"
)

const daemonTag = "daemon"

// daemonRoutes are about the daemon itself, and the repository that it follows.
func (a *API) daemonRoutes(r *router) {
	route(r, operation{method: http.MethodGet, path: "/api/version", id: "getVersion", tag: daemonTag, role: auth.RoleViewer,
		summary: "Which version runs"},
		func(ctx context.Context, _ *none) (Version, error) { return a.Version(ctx) })
	route(r, operation{method: http.MethodGet, path: "/api/source", id: "getSource", tag: daemonTag, role: auth.RoleViewer,
		summary: "How fresh the desired state is", description: "The repository, the newest revision, and what is wrong with either."},
		func(ctx context.Context, _ *none) (SourceInfo, error) { return a.Source(ctx) })
	route(r, operation{method: http.MethodPost, path: "/api/source/sync", id: "syncSource", tag: daemonTag, role: auth.RoleAdmin, scope: auth.ScopeSync,
		summary: "Look for a newer revision now", description: "An error to read the repository is in the answer: the last revision still counts."},
		func(ctx context.Context, _ *none) (SourceInfo, error) { return a.Sync(ctx) })
	a.metricRoutes(r)
}

// textType is the media type of plain text.
const textType = "text/plain; charset=utf-8"

// metricRoutes serve the figures of metricsHandler. A collector that tells the
// same as another one is an error of the call, not of the daemon.
func (a *API) metricRoutes(r *router) {
	metrics, err := a.metricsHandler()
	routeStream(r, operation{method: http.MethodGet, path: "/metrics", id: "getMetrics", tag: daemonTag, role: auth.RoleViewer,
		summary: "Figures for Prometheus", produces: map[string]any{textType: nil}},
		func(ctx context.Context, in *struct {
			Accept   string `header:"Accept" doc:"text or OpenMetrics"`
			Encoding string `header:"Accept-Encoding"`
		}, w http.ResponseWriter) error {
			if err != nil {
				return err
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
			if err != nil {
				return err
			}
			req.Header.Set("Accept", in.Accept)
			req.Header.Set("Accept-Encoding", in.Encoding)
			metrics.ServeHTTP(w, req)
			return nil
		})
}
