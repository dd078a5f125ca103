package docker

import (
	"context"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/reconciler"
)

// A container that shares the network, IPC or PID namespace of another one
// keeps the namespace of that one's process. When that process ends and is
// started again, it is left with a namespace in which nobody is: it runs, but
// reaches nothing and is not reached, until it is started anew itself.

// shares lists the containers whose namespaces a container was made to share.
func shares(in container.InspectResponse) (ids []string) {
	if in.ContainerJSONBase == nil || in.HostConfig == nil {
		return nil
	}
	h := in.HostConfig
	for _, id := range []string{h.NetworkMode.ConnectedContainer(), h.IpcMode.Container(), h.PidMode.Container()} {
		if id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}

// runningSince is when the process of a container was started; zero when it
// does not run.
func runningSince(in container.InspectResponse) time.Time {
	if in.ContainerJSONBase == nil || in.State == nil || !in.State.Running {
		return time.Time{}
	}
	at, err := time.Parse(time.RFC3339Nano, in.State.StartedAt)
	if err != nil {
		return time.Time{}
	}
	return at
}

// outlived says that the peer was started after the container that shares its
// namespace.
func outlived(in, peer container.InspectResponse) bool {
	mine, its := runningSince(in), runningSince(peer)
	return !mine.IsZero() && its.After(mine)
}

// namespaceChange is what a person is told of a namespace that is gone.
func namespaceChange(peer container.InspectResponse) reconciler.Change {
	return reconciler.Change{Field: "namespace", Old: "of a process that ended", New: "of " + peer.Name[min(1, len(peer.Name)):]}
}

// mendNamespace starts a container anew whose shared namespace is gone.
func (tn *turn) mendNamespace(ctx context.Context, in container.InspectResponse, name string) error {
	for _, id := range shares(in) {
		peer, err := tn.inspect(ctx, id, short(id))
		if err != nil {
			return err
		}
		if !outlived(in, peer) {
			continue
		}
		if err := tn.leave(ctx, in.ID); err != nil {
			return err
		}
		if err := tn.stop(ctx, in.ID, name); err != nil {
			return err
		}
		return tn.e.fail(tn.start(ctx, in.ID), "start container %s", name)
	}
	return nil
}
