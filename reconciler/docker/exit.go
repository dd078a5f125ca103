package docker

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/docker/api/types/container"
)

// prove makes sure that a container which was stopped has really ended and
// that no lock of it is held any more: nothing is started in its place before.
// What it looks at also tells whether the engine may start it again.
func (tn *turn) prove(ctx context.Context, id, name string) error {
	in, err := tn.awaitEnd(ctx, id, name)
	if err != nil {
		return err
	}
	if len(tn.service.Locks) > 0 {
		if err := awaitUnlocked(ctx, name, in, tn.service.Locks, tn.e.lockLimit); err != nil {
			return err
		}
	}
	for i := range tn.have {
		if tn.have[i].ID == id {
			tn.have[i].Revives = revives(in, tn.stopped[id])
		}
	}
	return nil
}

// revives says whether the engine starts a container that has ended when it is
// started itself, which happens at every boot. With "always" it does so
// whoever stopped the container, with "on-failure" when the process ended with
// an error, be it that of the signal; only "unless-stopped" heeds a stop (seen
// with engine 20.10). stopped says that it was us who stopped it.
func revives(in container.InspectResponse, stopped bool) bool {
	if in.HostConfig == nil {
		return true
	}
	switch in.HostConfig.RestartPolicy.Name {
	case "", container.RestartPolicyDisabled:
		return false
	case container.RestartPolicyUnlessStopped:
		return !stopped
	case container.RestartPolicyOnFailure:
		return in.State.ExitCode != 0
	}
	return true
}

// disarm keeps the engine from starting by itself what was stopped to be
// replaced: its successor would not be alone. A mend gives the policy back.
func (tn *turn) disarm(ctx context.Context, id, name string) error {
	err := call(ctx, writeTimeout, func(ctx context.Context) error {
		_, err := tn.e.api().ContainerUpdate(ctx, id, container.UpdateConfig{
			RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled}})
		return err
	})
	if notFound(err) {
		return errGone
	}
	return tn.e.fail(err, "take the restart policy from container %s", name)
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
