package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/fairlead/fairlead/reconciler"
)

// Ensure implements reconciler.Driver.
func (e *Engine) Ensure(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	switch a.Kind {
	case reconciler.KindNetwork:
		return e.ensureNetwork(ctx, t, a)
	case reconciler.KindVolume:
		return e.ensureVolume(ctx, t, a)
	case reconciler.KindContainer:
		return e.ensureContainer(ctx, t, a)
	}
	return fmt.Errorf("ensure %s: kind %q is not known", a.Object, a.Kind)
}

// Remove implements reconciler.Driver.
func (e *Engine) Remove(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	switch a.Kind {
	case reconciler.KindNetwork:
		return e.removeNetwork(ctx, t, a.Object)
	case reconciler.KindVolume:
		return reconciler.Terminal(fmt.Errorf("remove volume %s: an apply never removes volumes; use docker volume rm when its data is not needed", a.Object))
	case reconciler.KindContainer:
		return e.removeContainer(ctx, t, a)
	}
	return fmt.Errorf("remove %s: kind %q is not known", a.Object, a.Kind)
}

func (e *Engine) ensureVolume(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	v, ok := t.Spec.Volumes[a.Name]
	if !ok {
		return fmt.Errorf("ensure volume %s: it is not in the target", a.Name)
	}
	have, found, err := e.inspectVolume(ctx, v.Name)
	switch {
	case err != nil:
		return err
	case !found && v.External:
		return missingExternal("volume", a.Name, v.Name)
	case found && !v.External && e.owns(have.Labels, t.Spec.Name) && have.Labels[labelHash] != v.Hash():
		return reconciler.Terminal(fmt.Errorf("ensure volume %s: it exists with other options, and a volume is never made anew; "+
			"take back the change, or give the volume another name", v.Name))
	case found:
		return nil
	}
	err = call(ctx, writeTimeout, func(ctx context.Context) error {
		_, err := e.api().VolumeCreate(ctx, volume.CreateOptions{
			Name: v.Name, Driver: v.Driver, DriverOpts: v.DriverOpts, Labels: e.volumeLabels(t, v),
		})
		return err
	})
	return e.fail(err, "create volume %s", v.Name)
}

func (e *Engine) inspectVolume(ctx context.Context, name string) (v volume.Volume, found bool, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		v, err = e.api().VolumeInspect(ctx, name)
		return err
	})
	if notFound(err) {
		return v, false, nil
	}
	return v, err == nil, e.fail(err, "inspect volume %s", name)
}

func (e *Engine) ensureNetwork(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	n, ok := t.Spec.Networks[a.Name]
	if !ok {
		return fmt.Errorf("ensure network %s: it is not in the target", a.Name)
	}
	have, err := e.networksNamed(ctx, n.Name)
	switch {
	case err != nil:
		return err
	case len(have) == 0 && n.External:
		return missingExternal("network", a.Name, n.Name)
	case n.External:
		return nil
	case len(have) > 0 && !e.owns(have[0].Labels, t.Spec.Name):
		return reconciler.Terminal(fmt.Errorf("ensure network %s: there is one already that is not ours (%s); remove it, or write external: true to use it as it is",
			n.Name, e.whoseIs(have[0].Labels)))
	case len(have) == 1 && have[0].Labels[labelHash] == n.Hash():
		return nil
	case len(have) > 0:
		if err := e.tryNetwork(ctx, t, n, have[0]); err != nil {
			return err
		}
		if err := e.removeNetwork(ctx, t, n.Name); err != nil {
			return err
		}
	}
	err = call(ctx, writeTimeout, func(ctx context.Context) error {
		_, err := e.api().NetworkCreate(ctx, n.Name, mapNetwork(n, e.networkLabels(t, n)))
		return err
	})
	return e.fail(err, "create network %s", n.Name)
}

// networksNamed lists the networks of exactly this name. There may be several:
// engines below API 1.44 take a name twice, and a request that was on its way
// when the daemon was killed is still carried out.
func (e *Engine) networksNamed(ctx context.Context, name string) (named []network.Summary, err error) {
	var list []network.Summary
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		list, err = e.api().NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", name))})
		return err
	})
	for _, n := range list {
		if n.Name == name { // the filter takes parts of names
			named = append(named, n)
		}
	}
	return named, e.fail(err, "list networks named %s", name)
}

// removeNetwork takes a network of the instance away. Running containers of
// the instance are taken off it first; a stranger's container keeps it.
func (e *Engine) removeNetwork(ctx context.Context, t reconciler.Target, name string) error {
	named, err := e.networksNamed(ctx, name)
	if err != nil {
		return err
	}
	for _, n := range named {
		if !e.owns(n.Labels, t.Spec.Name) {
			continue
		}
		if err := e.removeNetworkID(ctx, t, n.ID, name); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) removeNetworkID(ctx context.Context, t reconciler.Target, id, name string) error {
	var have network.Inspect
	err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
		have, err = e.api().NetworkInspect(ctx, id, network.InspectOptions{})
		return err
	})
	if notFound(err) {
		return nil
	}
	if err != nil {
		return e.fail(err, "inspect network %s", name)
	}
	list, err := e.listInstance(ctx, t.Spec.Name)
	if err != nil {
		return err
	}
	attached := slices.Sorted(maps.Keys(have.Containers))
	var ours []container.Summary
	for _, c := range attached {
		s, own := summaryOf(list, c)
		if ours = append(ours, s); !own {
			return fmt.Errorf("remove network %s: container %s, which is not ours, is attached to it; disconnect it first", name, have.Containers[c].Name)
		}
	}
	if err := e.takeAway(ctx, t, ours, list); err != nil {
		return err
	}
	for _, c := range attached {
		if err := e.disconnect(ctx, id, c); err != nil {
			return fmt.Errorf("remove network %s: %w", name, err)
		}
	}
	err = call(ctx, writeTimeout, func(ctx context.Context) error { return e.api().NetworkRemove(ctx, id) })
	if notFound(err) {
		return nil
	}
	return e.fail(err, "remove network %s", name)
}

func (e *Engine) listInstance(ctx context.Context, instance string) (list []container.Summary, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		list, err = e.api().ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(
			filters.Arg("label", labelOwner+"="+e.opts.Owner), filters.Arg("label", labelInstance+"="+instance))})
		return err
	})
	return list, e.fail(err, "list containers of %s", instance)
}

func (e *Engine) disconnect(ctx context.Context, net, id string) error {
	err := call(ctx, writeTimeout, func(ctx context.Context) error {
		return e.api().NetworkDisconnect(ctx, net, id, true)
	})
	if notFound(err) || err != nil && notConnected(err) {
		return nil
	}
	return e.fail(err, "disconnect container %s", short(id))
}

func (e *Engine) connect(ctx context.Context, net, id string, ep *network.EndpointSettings) error {
	err := call(ctx, writeTimeout, func(ctx context.Context) error {
		return e.api().NetworkConnect(ctx, net, id, ep)
	})
	if err != nil && alreadyConnected(err) {
		return nil
	}
	return e.fail(err, "connect container %s to network %s", short(id), net)
}

var errGone = errors.New("it was removed meanwhile")
