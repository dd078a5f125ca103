package docker

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// signalLimit bounds a signal to one container; nothing is waited for.
const signalLimit = 10 * time.Second

// Signal sends a signal, "SIGHUP" or "HUP", to every running container of a
// service that serves now, and returns how many there were. One that is paused
// counts as not running. It goes to the container that was looked at, by ID,
// never to whoever has the name meanwhile.
func (e *Engine) Signal(ctx context.Context, instance, service, signal string) (int, error) {
	name, err := checkSignal(signal)
	if err != nil {
		return 0, reconciler.Terminal(fmt.Errorf("signal service %s: %w", service, err))
	}
	list, _, err := e.servingNow(ctx, instance, service)
	if err != nil {
		return 0, fmt.Errorf("signal service %s: %w", service, err)
	}
	n := 0
	for _, c := range list {
		sent, err := e.signal(ctx, c, instance, name)
		if err != nil {
			return n, err
		}
		if sent {
			n++
		}
	}
	return n, nil
}

// signal looks at the container itself once more: a list may be older than a
// swap.
func (e *Engine) signal(ctx context.Context, c container.Summary, instance, signal string) (sent bool, err error) {
	in, err := e.inspectOwned(ctx, c.ID, instance)
	if err != nil || in.State == nil || !in.State.Running || in.State.Paused || in.State.Restarting {
		return false, err
	}
	err = call(ctx, signalLimit, func(ctx context.Context) error { return e.api().ContainerKill(ctx, in.ID, signal) })
	if notFound(err) || conflict(err) { // it ended between the two calls
		return false, nil
	}
	return err == nil, e.fail(err, "send %s to container %s", signal, nameOf(c))
}

// inspectOwned looks at one container; it is empty when that is gone or is not
// this owner's any more.
func (e *Engine) inspectOwned(ctx context.Context, id, instance string) (in container.InspectResponse, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		in, err = e.api().ContainerInspect(ctx, id)
		return err
	})
	switch {
	case notFound(err):
		return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{}}, nil
	case err != nil:
		return in, e.fail(err, "look at container %s", short(id))
	case in.ContainerJSONBase == nil || in.Config == nil || !e.owns(in.Config.Labels, instance):
		return container.InspectResponse{ContainerJSONBase: &container.ContainerJSONBase{}}, nil
	}
	return in, nil
}

// Addresses are where the running containers of a service that serve now are
// reached from this host, sorted: one of each network that a container is in,
// and 127.0.0.1 for the host's own. None means that none of them runs.
func (e *Engine) Addresses(ctx context.Context, instance, service string) ([]netip.Addr, error) {
	list, all, err := e.servingNow(ctx, instance, service)
	if err != nil {
		return nil, fmt.Errorf("find addresses of service %s: %w", service, err)
	}
	var out []netip.Addr
	for _, c := range list {
		// One is enough: a server listens on all of them, and of an internal
		// network and another the order of names is as good as any.
		byNetwork := addresses(c, all)
		if names := sortedKeys(byNetwork); len(names) > 0 {
			out = append(out, byNetwork[names[0]])
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

// servingNow lists the running containers of a service that are neither about
// to come nor about to go, and all of this owner beside them.
func (e *Engine) servingNow(ctx context.Context, instance, service string) (list, all []container.Summary, err error) {
	all, err = e.lists.get(ctx, gather)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range all {
		if e.owns(c.Labels, instance) && c.Labels[labelService] == service && c.State == container.StateRunning &&
			swap.SlotOf(nameOf(c), c.Labels[labelName]) == reconciler.SlotCurrent {
			list = append(list, c)
		}
	}
	return list, all, nil
}

// checkSignal returns the full name of a signal that a process can heed.
// SIGKILL and SIGSTOP reach none.
func checkSignal(s string) (string, error) {
	name := strings.ToUpper(s)
	if _, err := strconv.Atoi(name); err == nil {
		return "", fmt.Errorf("%q is a number: numbers differ between machines, use a name as SIGHUP", s)
	}
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	switch unix.SignalNum(name) {
	case 0:
		return "", fmt.Errorf("there is no signal %q; use a name as SIGHUP, SIGUSR1", s)
	case unix.SIGKILL, unix.SIGSTOP:
		return "", fmt.Errorf("%s ends or stops a process and cannot have it reload", name)
	}
	return name, nil
}
