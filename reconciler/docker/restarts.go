package docker

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// Restarts returns how often the engine started the containers of an instance
// anew by itself, by name. A list does not tell it, so each is inspected: ask
// for it when somebody looks, not in a loop.
func (e *Engine) Restarts(ctx context.Context, instance string) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	list, err := e.shareList(ctx, instance)
	if err != nil {
		return nil, err
	}
	counts, mu := map[string]int{}, sync.Mutex{}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, c := range list {
		g.Go(func() error {
			in, err := e.api().ContainerInspect(ctx, c.ID)
			if notFound(err) {
				return nil // gone since the list
			}
			if err != nil {
				return e.fail(err, "inspect container %s", nameOf(c))
			}
			mu.Lock()
			defer mu.Unlock()
			counts[nameOf(c)] = in.RestartCount
			return nil
		})
	}
	return counts, g.Wait()
}
