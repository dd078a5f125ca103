package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
)

// prove makes sure that a container which was stopped has really ended and
// that no lock of it is held any more: nothing is started in its place before.
func (tn *turn) prove(ctx context.Context, id, name string) error {
	in, err := tn.awaitEnd(ctx, id, name)
	if err != nil || len(tn.service.Locks) == 0 {
		return err
	}
	return awaitUnlocked(ctx, name, in, tn.service.Locks, tn.e.lockLimit)
}

func (tn *turn) awaitEnd(ctx context.Context, id, name string) (in container.InspectResponse, err error) {
	for began, pause := time.Now(), pollFirst; ; pause = min(pause*3/2, pollLast) {
		if in, err = tn.inspect(ctx, id, name); err != nil {
			return in, err
		}
		if in.ContainerJSONBase == nil || in.State == nil {
			return in, fmt.Errorf("stop container %s: the engine does not tell its state", name)
		}
		if !in.State.Running && in.State.Pid == 0 {
			return in, nil
		}
		if time.Since(began) > tn.e.lockLimit {
			return in, fmt.Errorf("stop container %s: its process %d survived the stop (the engine says %s); nothing is started beside it. "+
				"Find out what keeps the process (ps, dmesg), end it, or restart the engine", name, in.State.Pid, in.State.Status)
		}
		if err := sleep(ctx, pause); err != nil {
			return in, fmt.Errorf("stop container %s: wait for the end of its process: %w", name, err)
		}
	}
}
