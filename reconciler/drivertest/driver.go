package drivertest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

var _ reconciler.Driver = (*Engine)(nil)

// Observe implements reconciler.Driver.
func (e *Engine) Observe(ctx context.Context, instance string, deep bool) (reconciler.Observed, error) {
	if err := e.look("observe " + instance); err != nil {
		return reconciler.Observed{}, err
	}
	if err := ctx.Err(); err != nil {
		return reconciler.Observed{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	o := reconciler.Observed{Containers: []reconciler.Container{}}
	for _, b := range e.containers {
		if b.instance == instance {
			c := e.observed(b)
			c.Changed = changed(b, deep)
			o.Containers = append(o.Containers, c)
		}
	}
	slices.SortFunc(o.Containers, func(a, b reconciler.Container) int { return strings.Compare(a.Name, b.Name) })
	if deep {
		e.observeDeep(instance, &o)
	}
	return o, nil
}

// Survey implements reconciler.Driver.
func (e *Engine) Survey(ctx context.Context, instance string) (reconciler.Observed, error) {
	o, err := e.Observe(ctx, instance, true)
	for i := range o.Containers {
		o.Containers[i].Changed = slices.DeleteFunc(o.Containers[i].Changed, func(c reconciler.Change) bool { return c.Field != "container" })
	}
	return o, err
}

// changed tells that another container stands in place at once; what was set
// differently only shows when looking deep.
func changed(b *box, deep bool) []reconciler.Change {
	if deep {
		return slices.Clone(b.changed)
	}
	return slices.DeleteFunc(slices.Clone(b.changed), func(c reconciler.Change) bool { return c.Field != "container" })
}

func (e *Engine) observeDeep(instance string, o *reconciler.Observed) {
	o.Foreign = map[string]string{}
	for _, b := range e.containers {
		switch {
		case b.instance == "":
			o.Foreign[b.name] = b.owner
		case b.instance != instance:
			o.Foreign[b.name] = "instance " + b.instance
		}
	}
	o.Networks = map[string]reconciler.NetworkState{}
	for name, n := range e.networks {
		s := reconciler.NetworkState{ID: n.id, Name: name, Owned: n.instance == instance}
		if s.Owned {
			s.Hash = n.hash
		}
		o.Networks[name] = s
	}
	o.Volumes = maps.Clone(e.volumes)
}

// Prepare implements reconciler.Driver.
func (e *Engine) Prepare(ctx context.Context, t reconciler.Target, p reconciler.Progress) (map[string]reconciler.Image, error) {
	if err := e.checkExternal(t.Spec); err != nil {
		return nil, err
	}
	if err := checkLocks(t.Spec); err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.prepared[t.Spec.Name] = map[string]bool{}
	e.mu.Unlock()
	out := map[string]reconciler.Image{}
	for _, name := range t.Spec.ServiceNames() {
		s := t.Spec.Services[name]
		if _, done := out[s.Image]; done && s.PullPolicy != "always" {
			continue
		}
		img, err := e.prepareImage(ctx, t, s, p)
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		e.prepared[t.Spec.Name][img.ID] = true
		delete(e.prepared[justPulled], img.ID)
		e.mu.Unlock()
		out[s.Image] = img
	}
	return out, nil
}

func (e *Engine) checkExternal(s desired.Spec) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, n := range s.Networks {
		if n.External && e.networks[n.Name] == nil {
			return reconciler.Terminal(fmt.Errorf("prepare network %s: it is external and does not exist", n.Name))
		}
	}
	for _, v := range s.Volumes {
		if _, ok := e.volumes[v.Name]; v.External && !ok {
			return reconciler.Terminal(fmt.Errorf("prepare volume %s: it is external and does not exist", v.Name))
		}
	}
	return nil
}

// checkLocks refuses to run a single writer twice.
func checkLocks(s desired.Spec) error {
	for _, name := range s.ServiceNames() {
		svc := s.Services[name]
		if len(svc.Locks) > 0 && (svc.UpdateOrder == "start-first" || svc.Replicas > 1) {
			return reconciler.Terminal(fmt.Errorf("service %s: it has locks and would run twice", name))
		}
	}
	return nil
}

func (e *Engine) prepareImage(ctx context.Context, t reconciler.Target, s desired.Service, p reconciler.Progress) (reconciler.Image, error) {
	switch fixed := t.Images[s.Image]; {
	case fixed.ID != "":
		return e.fetchFixed(ctx, t, s, fixed, p)
	case fixed.Digest != "":
		return e.fetchDigest(ctx, s, fixed.Digest, p)
	}
	e.mu.Lock()
	img, have := e.images[e.local[s.Image]]
	e.mu.Unlock()
	switch {
	case have && s.PullPolicy == "refresh": // there is no clock: its period is always over
		return e.refresh(ctx, t, s.Image, img, p)
	case have && s.PullPolicy != "always":
		return img, nil
	case s.PullPolicy == "never":
		return img, reconciler.Terminal(fmt.Errorf("prepare image %s: it is not on the engine and pull_policy is never", s.Image))
	}
	return e.pull(ctx, s.Image, p)
}

// refresh goes on with what is there when the registry does not give it.
func (e *Engine) refresh(ctx context.Context, t reconciler.Target, ref string, have reconciler.Image, p reconciler.Progress) (reconciler.Image, error) {
	img, err := e.pull(ctx, ref, p)
	if err == nil || ctx.Err() != nil {
		return img, err
	}
	if t.Tell != nil {
		t.Tell("ImageKept", err.Error())
	}
	return have, nil
}

// fetchDigest makes sure that what a registry resolved is there, and never
// asks for the reference.
func (e *Engine) fetchDigest(ctx context.Context, s desired.Service, digest string, p reconciler.Progress) (reconciler.Image, error) {
	e.mu.Lock()
	for _, img := range e.images {
		if img.Digest == digest {
			e.mu.Unlock()
			return img, nil
		}
	}
	e.mu.Unlock()
	if s.PullPolicy == "never" {
		return reconciler.Image{}, reconciler.Terminal(fmt.Errorf("prepare image %s: it is not on the engine and pull_policy is never", digest))
	}
	return e.pull(ctx, digest, p)
}

func (e *Engine) fetchFixed(ctx context.Context, t reconciler.Target, s desired.Service, fixed reconciler.Image, p reconciler.Progress) (reconciler.Image, error) {
	e.mu.Lock()
	_, have := e.images[fixed.ID]
	have = have || e.complete(t, fixed.ID)
	e.mu.Unlock()
	if have {
		return fixed, nil
	}
	if fixed.Digest == "" {
		return fixed, reconciler.Terminal(fmt.Errorf("prepare image %s: it is gone from the engine and has no digest to fetch it by", s.Image))
	}
	_, err := e.pull(ctx, fixed.Digest, p)
	return fixed, err
}

// complete says that there is a container for every replica that the target
// has of an image: nothing has to be made from it.
func (e *Engine) complete(t reconciler.Target, image string) bool {
	for name, s := range t.Spec.Services {
		if t.Images[s.Image].ID != image {
			continue
		}
		for n := 1; n <= s.Replicas; n++ {
			if !slices.ContainsFunc(e.replica(t.Spec.Name, name, n), func(b *box) bool { return e.madeFrom(t, b) && e.peersMade(t, b) }) {
				return false
			}
		}
	}
	return true
}

func (e *Engine) madeFrom(t reconciler.Target, b *box) bool {
	s := t.Spec.Services[b.service]
	return b.hash == s.Hash() && b.image == t.Images[s.Image].ID && len(b.changed) == 0
}

func (e *Engine) peersMade(t reconciler.Target, b *box) bool {
	for _, id := range b.peers {
		if p := e.byID(id); p == nil || !e.madeFrom(t, p) {
			return false
		}
	}
	return true
}

func (e *Engine) pull(ctx context.Context, ref string, p reconciler.Progress) (reconciler.Image, error) {
	if err := e.step("pull %s", ref); err != nil {
		return reconciler.Image{}, err
	}
	if err := ctx.Err(); err != nil {
		return reconciler.Image{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	img, ok := e.registry[ref]
	if e.noRegistry {
		return img, fmt.Errorf("pull %s: the registry is down", ref)
	}
	if err := e.pullErrs[ref]; err != nil {
		return img, fmt.Errorf("pull %s: %w", ref, err)
	}
	if !ok {
		return img, fmt.Errorf("pull %s: not found", ref)
	}
	e.local[ref], e.images[img.ID], e.pulled[img.ID] = img.ID, img, true
	e.prepared[justPulled][img.ID] = true
	if p != nil {
		p(ref, 1, 1)
	}
	return img, nil
}

// Prune implements reconciler.Pruner.
func (e *Engine) Prune(_ context.Context, keep map[string]bool) (gone []string, err error) {
	if err := e.look("prune"); err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(e.pulled)) {
		used := keep[id] || keep[e.images[id].Digest] || slices.ContainsFunc(e.containers, func(b *box) bool { return b.image == id })
		for _, images := range e.prepared {
			used = used || images[id]
		}
		for ref, of := range e.local {
			used = used || of == id && keep[ref]
		}
		if used {
			continue
		}
		delete(e.images, id)
		delete(e.pulled, id)
		maps.DeleteFunc(e.local, func(_, of string) bool { return of == id })
		gone = append(gone, id)
	}
	return gone, nil
}

// Ensure implements reconciler.Driver.
func (e *Engine) Ensure(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	switch a.Kind {
	case reconciler.KindNetwork:
		return e.ensureNetwork(ctx, t, a)
	case reconciler.KindVolume:
		return e.ensureVolume(ctx, t, a)
	}
	return e.ensureContainer(ctx, t, a)
}

func (e *Engine) ensureVolume(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	v, ok := t.Spec.Volumes[a.Name]
	if !ok {
		return fmt.Errorf("ensure volume %s: not in the target", a.Name)
	}
	e.mu.Lock()
	have, exists := e.volumes[v.Name]
	e.mu.Unlock()
	switch {
	case !exists && v.External:
		return reconciler.Terminal(fmt.Errorf("ensure volume %s: it is external and does not exist", v.Name))
	case exists && have.Owned && have.Hash != v.Hash():
		return reconciler.Terminal(fmt.Errorf("ensure volume %s: it exists with other options and is never made anew", v.Name))
	case exists:
		return nil
	}
	if err := e.take(ctx, "create-volume %s", v.Name); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.volumes[v.Name] = reconciler.VolumeState{Name: v.Name, Hash: v.Hash(), Owned: true}
	return nil
}

// take announces a step and refuses it when the context is over.
func (e *Engine) take(ctx context.Context, format string, args ...any) error {
	if err := e.step(format, args...); err != nil {
		return err
	}
	return ctx.Err()
}

func (e *Engine) ensureNetwork(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	n, ok := t.Spec.Networks[a.Name]
	if !ok {
		return fmt.Errorf("ensure network %s: not in the target", a.Name)
	}
	e.mu.Lock()
	have := e.networks[n.Name]
	e.mu.Unlock()
	switch {
	case have == nil && n.External:
		return reconciler.Terminal(fmt.Errorf("ensure network %s: it is external and does not exist", n.Name))
	case n.External:
		return nil
	case have != nil && have.instance != t.Spec.Name:
		return reconciler.Terminal(fmt.Errorf("ensure network %s: it exists and is not ours", n.Name))
	case have != nil && have.hash == n.Hash():
		return nil
	case have != nil:
		if err := e.removeNetwork(ctx, t, n.Name); err != nil {
			return err
		}
	}
	if err := e.take(ctx, "create-network %s", n.Name); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks[n.Name] = &netBox{id: e.newID("n"), instance: t.Spec.Name, hash: n.Hash()}
	return nil
}

// attached are the running containers of the instance on its own network.
func (e *Engine) attached(instance, name string) (out []*box) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := e.networks[name]; n == nil || n.instance != instance {
		return nil
	}
	for _, b := range e.containers {
		if _, on := b.networks[name]; on && b.instance == instance && b.phase == reconciler.StateRunning {
			out = append(out, b)
		}
	}
	return out
}

func (e *Engine) removeNetwork(ctx context.Context, t reconciler.Target, name string) error {
	instance := t.Spec.Name
	for _, b := range e.attached(instance, name) {
		if err := e.leave(ctx, t, b); err != nil {
			return err
		}
	}
	if err := e.take(ctx, "remove-network %s", name); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := e.networks[name]
	if n == nil || n.instance != instance {
		return nil
	}
	for _, b := range e.containers {
		if _, on := b.networks[name]; on && b.instance != instance && b.phase == reconciler.StateRunning {
			return fmt.Errorf("remove network %s: %s, which is not ours, is attached to it", name, b.name)
		}
	}
	delete(e.networks, name)
	for _, b := range e.containers {
		if b.instance == instance && b.phase == reconciler.StateRunning {
			delete(b.networks, name)
		}
	}
	return nil
}

// Remove implements reconciler.Driver.
func (e *Engine) Remove(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	switch a.Kind {
	case reconciler.KindVolume:
		return reconciler.Terminal(fmt.Errorf("remove volume %s: volumes are never removed by an apply", a.Object))
	case reconciler.KindNetwork:
		return e.removeNetwork(ctx, t, a.Object)
	}
	return e.run(ctx, t, a, func(have []swap.Container) swap.Step { return swap.NextRemoval(a.Object, have) })
}
