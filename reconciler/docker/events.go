package docker

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

const (
	reconnectFirst = 250 * time.Millisecond
	reconnectLast  = 30 * time.Second
)

// Events tells which instance something happened to; an empty name means any.
// It is a hint only: events get lost, so who hears one looks for himself, and
// who hears none looks now and then all the same. After each reconnection
// there is an empty hint. The channel is closed when ctx ends.
func (e *Engine) Events(ctx context.Context) <-chan string {
	hints := make(chan string, 64)
	var wg sync.WaitGroup
	// Three exec events come with each probe of a health check: the engine is
	// asked to leave them out.
	wg.Go(func() {
		e.stream(ctx, hints, filters.NewArgs(append(actions("event",
			"create", "start", "restart", "die", "stop", "kill", "oom", "pause", "unpause", "rename", "destroy", "update", "health_status"),
			filters.Arg("type", "container"), filters.Arg("label", labelOwner+"="+e.opts.Owner))...))
	})
	// A network's events carry no label of the container.
	wg.Go(func() {
		e.stream(ctx, hints, filters.NewArgs(append(actions("event", "disconnect", "connect"), filters.Arg("type", "network"))...))
	})
	go func() {
		wg.Wait()
		close(hints)
	}()
	return hints
}

func actions(key string, values ...string) []filters.KeyValuePair {
	out := make([]filters.KeyValuePair, len(values))
	for i, v := range values {
		out[i] = filters.Arg(key, v)
	}
	return out
}

// stream reads one stream of events, and connects again for as long as it takes.
func (e *Engine) stream(ctx context.Context, hints chan<- string, f filters.Args) {
	pause := reconnectFirst
	for first := true; ctx.Err() == nil; first = false {
		began := time.Now()
		err := e.streamOnce(ctx, hints, f, !first)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > reconnectLast {
			pause = reconnectFirst
		}
		e.log.WithError(err).Debug("events of the engine broke off")
		if sleep(ctx, pause) != nil {
			return
		}
		pause = min(2*pause, reconnectLast)
	}
}

func (e *Engine) streamOnce(ctx context.Context, hints chan<- string, f filters.Args, again bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if again {
		// The stream answers only with its first event: ask whether anyone is there.
		err := call(ctx, readTimeout, func(ctx context.Context) error {
			_, err := e.api().Ping(ctx)
			return err
		})
		if err != nil {
			return e.fail(err, "connect to engine")
		}
	}
	msgs, errs := e.api().Events(ctx, events.ListOptions{Filters: f})
	if again && !hint(ctx, hints, "") {
		return ctx.Err()
	}
	for {
		select {
		case m := <-msgs:
			instance, ok := e.instanceOf(m)
			if !ok {
				continue
			}
			e.wakers.wake(instance)
			if !hint(ctx, hints, instance) {
				return ctx.Err()
			}
		case err := <-errs:
			return e.fail(err, "read events")
		}
	}
}

func hint(ctx context.Context, hints chan<- string, instance string) bool {
	select {
	case hints <- instance:
		return true
	case <-ctx.Done():
		return false
	}
}

// instanceOf tells whose an event is.
func (e *Engine) instanceOf(m events.Message) (string, bool) {
	if m.Type == events.NetworkEventType {
		e.mu.Lock()
		defer e.mu.Unlock()
		inst, ok := e.whose[m.Actor.Attributes["container"]]
		return inst, ok
	}
	if strings.HasPrefix(string(m.Action), "exec_") {
		return "", false
	}
	a := m.Actor.Attributes
	return a[labelInstance], a[labelOwner] == e.opts.Owner && a[labelInstance] != ""
}
