package docker

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// leave asks that no request is led to a container any more. An error leaves
// it running.
func (tn *turn) leave(ctx context.Context, id string) error {
	if tn.t.Switch == nil {
		return nil
	}
	c, err := tn.container(ctx, id)
	if err != nil {
		return err
	}
	return leave(ctx, tn.t, c)
}

func leave(ctx context.Context, t reconciler.Target, c reconciler.Container) error {
	if t.Switch == nil {
		return nil
	}
	if err := t.Switch.Leave(ctx, t, c); err != nil {
		return fmt.Errorf("take requests away from container %s: %w", c.Name, err)
	}
	return nil
}

// lead asks that requests are led to a start-first replacement. One that is
// refused is removed; the old one was not touched.
func (tn *turn) lead(ctx context.Context, id, name string) error {
	if tn.t.Switch == nil {
		return nil
	}
	c, err := tn.container(ctx, id)
	if err != nil {
		return err
	}
	if err := tn.t.Switch.Ready(ctx, tn.t, c); err != nil {
		return tn.discard(ctx, id, name, fmt.Errorf("lead requests to container %s: %w", name, err))
	}
	return nil
}

// waitReady is the wait of a start-first replacement. One that does not get
// ready is removed; the old one was not touched.
func (tn *turn) waitReady(ctx context.Context, id, name string) error {
	err := tn.e.waitStartFirst(ctx, tn.t, tn.service, id)
	var nr *reconciler.NotReady
	if !errors.As(err, &nr) {
		return err
	}
	return tn.discard(ctx, id, name, err)
}

// discard removes a replacement that failed because of why. When ctx is over
// too, it is left for the next turn.
func (tn *turn) discard(ctx context.Context, id, name string, why error) error {
	if ctx.Err() != nil {
		return why
	}
	if err := tn.stop(ctx, id, name); err != nil && !errors.Is(err, errGone) {
		return errors.Join(why, err)
	}
	return errors.Join(why, tn.e.remove(ctx, id, name))
}

// container describes a container of the replica as it is now. The list that
// the turn began with will do for one that it did not change since.
func (tn *turn) container(ctx context.Context, id string) (reconciler.Container, error) {
	c, ok := tn.found[id]
	if !ok || tn.changed[id] {
		list, err := tn.e.shareList(ctx, tn.t.Spec.Name)
		if err != nil {
			return reconciler.Container{}, err
		}
		if c, ok = summaryOf(list, id); !ok {
			return reconciler.Container{}, errGone
		}
		tn.list = list
	}
	return tn.e.observedIn(c, tn.list, tn.notes), nil
}

// takeAway asks, for containers that run, that no request is led to them.
func (e *Engine) takeAway(ctx context.Context, t reconciler.Target, which, list []container.Summary) error {
	if t.Switch == nil {
		return nil
	}
	notes, err := e.notes.read(t.Spec.Name)
	if err != nil {
		return err
	}
	for _, c := range which {
		if !(swap.Container{State: reconciler.State(c.State)}).Active() {
			continue
		}
		if err := leave(ctx, t, e.observedIn(c, list, notes)); err != nil {
			return err
		}
	}
	return nil
}
