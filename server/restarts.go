package server

import "context"

// Restarts returns how often the engine started each container of an instance
// anew, by name; none where the engine does not tell.
func (a *API) Restarts(ctx context.Context, instance string) (map[string]int, error) {
	if _, err := a.find(instance); err != nil {
		return nil, err
	}
	counter, counts := a.cfg.Logs.(interface {
		Restarts(ctx context.Context, instance string) (map[string]int, error)
	})
	if !counts {
		return nil, nil
	}
	return counter.Restarts(ctx, instance)
}
