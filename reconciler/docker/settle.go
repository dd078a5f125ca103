package docker

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// Settle implements reconciler.Driver.
func (e *Engine) Settle(ctx context.Context, t reconciler.Target) error {
	list, err := e.listInstance(ctx, t.Spec.Name)
	if err != nil {
		return err
	}
	var current, leftover []container.Summary
	for _, c := range list {
		if swap.SlotOf(nameOf(c), c.Labels[labelName]) == reconciler.SlotCurrent {
			current = append(current, c)
		} else {
			leftover = append(leftover, c)
		}
	}
	if err := e.takeAway(ctx, t, leftover, list); err != nil {
		return err
	}
	if err := e.clear(ctx, leftover); err != nil {
		return err
	}
	return e.memorize(ctx, t.Spec.Name, current)
}

func (e *Engine) clear(ctx context.Context, leftover []container.Summary) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for _, c := range leftover {
		g.Go(func() error {
			if (swap.Container{State: reconciler.State(c.State)}).Active() {
				if err := e.stop(ctx, c.ID, nameOf(c)); err != nil && !errors.Is(err, errGone) {
					return err
				}
			}
			return e.remove(ctx, c.ID, nameOf(c))
		})
	}
	return g.Wait()
}

// memorize writes down which containers stand and with what settings. What is
// known already keeps its first reading: a change since then is still one.
// What stands in the place of a known one keeps being reported.
func (e *Engine) memorize(ctx context.Context, instance string, current []container.Summary) error {
	notes, err := e.notes.read(instance)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	known := map[string]remembered{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, c := range current {
		if r, ok := notes.Containers[c.ID]; ok {
			known[c.ID] = r
			continue
		}
		if old := e.impostor(c, notes); old != "" {
			known[old] = notes.Containers[old]
			continue
		}
	}
	for _, c := range current {
		if _, ok := notes.Containers[c.ID]; ok || e.impostor(c, notes) != "" {
			continue
		}
		g.Go(func() error {
			var in container.InspectResponse
			err := call(gctx, readTimeout, func(ctx context.Context) (err error) {
				in, err = e.api().ContainerInspect(ctx, c.ID)
				return err
			})
			if notFound(err) {
				return nil
			}
			if err != nil {
				return e.fail(err, "inspect container %s", nameOf(c))
			}
			replica, _ := strconv.Atoi(c.Labels[labelReplica])
			mu.Lock()
			defer mu.Unlock()
			known[c.ID] = remembered{
				Service: c.Labels[labelService], Replica: replica, Generation: c.Labels[labelGeneration],
				Hash: c.Labels[labelHash], Image: c.ImageID, Settings: settings(in),
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return e.notes.change(instance, func(p *page) {
		p.Containers = known
		for id := range p.Completed {
			if !slices.ContainsFunc(current, func(c container.Summary) bool { return c.ID == id }) {
				delete(p.Completed, id)
			}
		}
	})
}
