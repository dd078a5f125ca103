package docker

import (
	"context"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// SetLockLimit bounds the waits for the end of a process and for locks.
func (e *Engine) SetLockLimit(d time.Duration) { e.lockLimit = d }

// SetToldLimit bounds the wait for what other hands or the engine ended.
func (e *Engine) SetToldLimit(d time.Duration) { e.toldLimit = d }

// CreateOnly makes the container of a service and does not start it.
func (e *Engine) CreateOnly(ctx context.Context, t reconciler.Target, service string) error {
	s := t.Spec.Services[service]
	tn, err := e.newTurn(ctx, t, s, 1)
	if err != nil {
		return err
	}
	tn.want = swap.Want{Name: properName(t.Spec, s, 1)}
	_, err = tn.create(ctx, tn.want.Name)
	return err
}
