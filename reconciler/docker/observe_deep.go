package docker

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/reconciler"
)

// whole is what the engine has, of everybody.
type whole struct {
	containers []container.Summary
	networks   []network.Summary
	volumes    volume.ListResponse
}

// listAll asks for all three at once: a deployment waits for the answers.
func (e *Engine) listAll(ctx context.Context) (w whole, err error) {
	cli := e.api()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		w.containers, err = cli.ContainerList(ctx, container.ListOptions{All: true})
		return e.fail(err, "list containers")
	})
	g.Go(func() (err error) {
		w.networks, err = cli.NetworkList(ctx, network.ListOptions{})
		return e.fail(err, "list networks")
	})
	g.Go(func() (err error) {
		w.volumes, err = cli.VolumeList(ctx, volume.ListOptions{})
		return e.fail(err, "list volumes")
	})
	err = g.Wait()
	return w, err
}

// survey looks at everything but the settings of containers: whose names are
// taken, networks, volumes.
func (e *Engine) survey(ctx context.Context, instance string, notes page) (reconciler.Observed, error) {
	all, err := e.listAll(ctx)
	if err != nil {
		return reconciler.Observed{}, err
	}
	e.noteOwners(all.containers)
	o := reconciler.Observed{
		Containers: []reconciler.Container{}, Foreign: map[string]string{},
		Networks: map[string]reconciler.NetworkState{}, Volumes: map[string]reconciler.VolumeState{},
	}
	for _, c := range all.containers {
		switch {
		case e.owns(c.Labels, instance):
			o.Containers = append(o.Containers, e.observedIn(c, all.containers, notes))
		case c.Labels[labelInstance] == instance && c.Labels[labelOwner] != "":
			return reconciler.Observed{}, e.otherOwner(instance, nameOf(c), c.Labels)
		default:
			o.Foreign[nameOf(c)] = e.whoseIs(c.Labels)
		}
	}
	if err := e.addNetworks(instance, all.networks, &o); err != nil {
		return reconciler.Observed{}, err
	}
	for _, v := range all.volumes.Volumes {
		s := reconciler.VolumeState{Name: v.Name, Owned: e.owns(v.Labels, instance)}
		if s.Owned {
			s.Hash = v.Labels[labelHash]
		}
		o.Volumes[v.Name] = s
	}
	sortContainers(o.Containers)
	return o, nil
}

func (e *Engine) addNetworks(instance string, nets []network.Summary, o *reconciler.Observed) error {
	for _, n := range nets {
		if n.Labels[labelInstance] == instance && n.Labels[labelOwner] != "" && n.Labels[labelOwner] != e.opts.Owner {
			return e.otherOwner(instance, n.Name, n.Labels)
		}
		s := reconciler.NetworkState{ID: n.ID, Name: n.Name, Owned: e.owns(n.Labels, instance)}
		if s.Owned {
			s.Hash = n.Labels[labelHash]
		}
		// Names are not unique below API 1.44. Ours counts before a stranger's;
		// of two of ours no container can be started on either, so that they
		// are to be replaced by one.
		if have, twice := o.Networks[n.Name]; twice && have.Owned {
			if s.Owned {
				have.Hash = "duplicate"
				o.Networks[n.Name] = have
			}
			continue
		}
		o.Networks[n.Name] = s
	}
	return nil
}

// otherOwner refuses to share an instance with another daemon: two of them
// would undo each other's work for ever.
func (e *Engine) otherOwner(instance, object string, labels map[string]string) error {
	return reconciler.Terminal(fmt.Errorf(
		"observe instance %s: %s belongs to the daemon with the data directory %s, not to the one with %s; "+
			"rename the instance, or remove the other one's containers first", instance, object, labels[labelOwner], e.opts.Owner))
}

// addSettings inspects the containers that are remembered and tells what of
// them was changed since.
func (e *Engine) addSettings(ctx context.Context, cs []reconciler.Container, notes page) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	seen := make([]container.InspectResponse, len(cs))
	for i := range cs {
		was, known := notes.Containers[cs[i].ID]
		if !known || cs[i].State == reconciler.StateRemoving {
			continue
		}
		g.Go(func() error {
			in, err := e.api().ContainerInspect(ctx, cs[i].ID)
			if notFound(err) {
				return nil // gone since the list: the next observation shows it
			}
			if err != nil {
				return e.fail(err, "inspect container %s", cs[i].Name)
			}
			cs[i].Changed = append(cs[i].Changed, byOthers(cs[i].Slot, diffSettings(was.Settings, settings(in)))...)
			seen[i] = in
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	addNamespaces(cs, seen)
	return nil
}

// byOthers leaves out what we changed ourselves: what is set aside is without
// its restart policy. Any other policy there is the work of other hands.
func byOthers(slot reconciler.Slot, changes []reconciler.Change) []reconciler.Change {
	return slices.DeleteFunc(changes, func(c reconciler.Change) bool {
		return slot == reconciler.SlotPrevious && c.Field == "restart" && c.New == restart(container.RestartPolicy{})
	})
}

// addNamespaces tells which containers share a namespace that is gone.
func addNamespaces(cs []reconciler.Container, seen []container.InspectResponse) {
	for i, in := range seen {
		for _, id := range shares(in) {
			j := slices.IndexFunc(cs, func(c reconciler.Container) bool { return c.ID == id })
			if j >= 0 && outlived(in, seen[j]) {
				cs[i].Changed = append(cs[i].Changed, namespaceChange(seen[j]))
				break
			}
		}
	}
}

// diffSettings compares what is remembered with what is there. A setting that
// only one side knows (an engine of another version) is no difference.
func diffSettings(was, is map[string]string) []reconciler.Change {
	var out []reconciler.Change
	for _, k := range slices.Sorted(maps.Keys(was)) {
		if v, ok := is[k]; ok && v != was[k] {
			out = append(out, reconciler.Change{Field: k, Old: was[k], New: v})
		}
	}
	return out
}
