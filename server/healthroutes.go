package server

import (
	"context"
	"io"
	"net/http"

	"github.com/fairlead/fairlead/server/auth"
)

const healthTag = "health"

// healthRoutes tell those who watch how the daemon is.
func (a *API) healthRoutes(r *router) {
	see := func(path, id, summary, description string) operation {
		return operation{method: http.MethodGet, path: path, id: id, summary: summary, description: description, tag: healthTag, role: public, setup: true}
	}
	health := see("/api/health", "getHealth", "How everything is", "Always 200. It names no instance; getHealthDetails does, to those who are known. It is at most two seconds old.")
	health.produces = map[string]any{jsonType: Health{}}
	routeStream(r, health, func(_ context.Context, _ *none, w http.ResponseWriter) error {
		body, err := a.healthBody()
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(body) // the client may be gone
		return nil
	})
	details := see("/api/health/detailed", "getHealthDetails", "How everything is, with names and places", "")
	details.role, details.setup = auth.RoleViewer, false
	route(r, details, func(ctx context.Context, _ *none) (Health, error) { return a.Health(ctx) })
	alive := see("/healthz", "alive", "Whether the daemon answers", "")
	alive.produces = map[string]any{textType: nil}
	routeStream(r, alive, func(_ context.Context, _ *none, w http.ResponseWriter) error {
		w.Header().Set("Content-Type", textType)
		_, _ = io.WriteString(w, "ok\n")
		return nil
	})
	ready := see("/readyz", "ready", "Whether the daemon can do its work", "After a real write to its store and, where an instance has data, a real query. Both are tried every 30 seconds, "+
		"and when asked, every 5 seconds at most. Three failures in a row make it 503, two successes 200 again.")
	routeWhole(r, ready, func(ctx context.Context, _ *none) (*readyAnswer, error) {
		out := &readyAnswer{Status: http.StatusOK, Body: a.Ready(ctx)}
		if !out.Body.Ready {
			out.Status = http.StatusServiceUnavailable
		}
		return out, nil
	})
}

type readyAnswer struct {
	Status int
	Body   Readiness
}
