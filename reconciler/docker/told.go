package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// toldLimit is how long a container that was told to end is waited for. An
// engine that is shut down answers on while it stops its containers, for 15
// seconds unless it is set up otherwise, and then is not there.
const toldLimit = 20 * time.Second

// endedByOthers says that a container has ended, not long ago, and not by
// itself.
func (e *Engine) endedByOthers(ctx context.Context, v *verdict, in container.InspectResponse) bool {
	if in.State.Status != container.StateExited {
		return false
	}
	v.since = time.Time{}
	if v.goneSince.IsZero() && e.wasTold(ctx, in) {
		v.goneSince = time.Now()
	}
	return !v.goneSince.IsZero() && time.Since(v.goneSince) < e.toldLimit
}

// wasTold says whether a container did not end by itself: somebody told the
// engine to signal its process, or the engine did so because it is shut down.
// That says nothing of the image it was made from.
func (e *Engine) wasTold(ctx context.Context, in container.InspectResponse) bool {
	began, err := time.Parse(time.RFC3339Nano, in.State.StartedAt)
	if err != nil {
		return false
	}
	ended, err := time.Parse(time.RFC3339Nano, in.State.FinishedAt)
	if err != nil || ended.Before(began) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	// The event is written a moment after the signal was sent.
	list, failed := e.api().Events(ctx, events.ListOptions{Since: stamp(began), Until: stamp(ended.Add(100 * time.Millisecond)),
		Filters: filters.NewArgs(filters.Arg("container", in.ID), filters.Arg("event", "kill"))})
	select {
	case <-list:
		return true
	case err := <-failed:
		// io.EOF is the end of the list. An engine that does not answer any more
		// is what this is about.
		return !errors.Is(err, io.EOF) && ctx.Err() == nil && connectionLost(err)
	}
}

// stamp is a time as the events API takes it.
func stamp(t time.Time) string { return fmt.Sprintf("%d.%09d", t.Unix(), t.Nanosecond()) }
