package drivertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// ensureContainer brings one replica to what the target says.
func (e *Engine) ensureContainer(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	s, ok := t.Spec.Services[a.Name]
	if !ok {
		return fmt.Errorf("ensure container %s: service %s is not in the target", a.Object, a.Name)
	}
	want := swap.Want{
		Name:       t.Spec.ContainerName(a.Name, a.Replica),
		StartFirst: s.UpdateOrder == "start-first",
	}
	return e.run(ctx, t, a, func(have []swap.Container) swap.Step {
		w := want
		for _, c := range have {
			w.Rest = w.Rest || s.MayEnd() && c.Fits && e.isCompleted(c.ID)
		}
		return swap.Next(w, have)
	})
}

func (e *Engine) isCompleted(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.byID(id)
	return b != nil && b.completed
}

// run asks for one step after the other until there is none left.
func (e *Engine) run(ctx context.Context, t reconciler.Target, a reconciler.Action, next func([]swap.Container) swap.Step) error {
	known := map[string]swap.Container{} // what was done in this run
	for range 60 {
		have := e.have(t, a, known)
		st := next(have)
		if st.Op == swap.Done {
			return nil
		}
		if err := e.do(ctx, t, a, st); err != nil {
			return err
		}
		for _, c := range swap.Apply(swap.Want{}, have, st, "") {
			if st.Op == swap.Prove && c.ID == st.ID {
				c.Revives = e.willRevive(c.ID)
			}
			known[c.ID] = c
		}
	}
	return fmt.Errorf("%s container %s: it does not come to an end", a.Verb, a.Object)
}

func (e *Engine) have(t reconciler.Target, a reconciler.Action, known map[string]swap.Container) []swap.Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []swap.Container
	for _, b := range e.replica(t.Spec.Name, a.Name, a.Replica) {
		out = append(out, swap.Container{
			ID: b.id, Name: b.name, Proper: b.proper, State: e.status(b).state,
			Fits: e.fits(t, b), Mended: known[b.id].Mended, Ready: known[b.id].Ready,
			Led: known[b.id].Led, Left: known[b.id].Left, Ended: known[b.id].Ended, Revives: known[b.id].Revives,
		})
	}
	return out
}

// mendable are the settings that an engine can change on a container.
var mendable = []string{"memory", "cpus", "pids", "restart"}

func (e *Engine) fits(t reconciler.Target, b *box) bool {
	s, ok := t.Spec.Services[b.service]
	if !ok || b.hash != s.Hash() {
		return false
	}
	if img, known := t.Images[s.Image]; known && img.ID != b.image {
		return false
	}
	for svc, id := range b.peers {
		if p := e.peer(t, svc); p == nil || p.id != id {
			return false
		}
	}
	return !slices.ContainsFunc(b.changed, func(c reconciler.Change) bool {
		return !slices.Contains(mendable, c.Field)
	})
}

// peer is the container that serves as the first replica of a service.
func (e *Engine) peer(t reconciler.Target, service string) *box {
	for _, b := range e.replica(t.Spec.Name, service, 1) {
		if b.name == b.proper {
			return b
		}
	}
	return nil
}

func (e *Engine) do(ctx context.Context, t reconciler.Target, a reconciler.Action, st swap.Step) error {
	if st.Op == swap.Create {
		if err := e.take(ctx, "create %s", st.Name); err != nil {
			return err
		}
		return e.create(t, a, st.Name)
	}
	e.mu.Lock()
	b := e.byID(st.ID)
	e.mu.Unlock()
	if b == nil {
		return nil // gone since we looked: look again
	}
	if st.Op == swap.Rename {
		if err := e.take(ctx, "rename %s %s", b.name, st.Name); err != nil {
			return err
		}
		return e.rename(b, st.Name)
	}
	switch st.Op {
	case swap.Leave:
		return e.leave(ctx, t, b)
	case swap.Lead:
		return e.lead(ctx, t, b)
	}
	if err := e.take(ctx, "%s %s", st.Op, b.name); err != nil {
		return err
	}
	switch st.Op {
	case swap.Wait:
		return e.waitReady(ctx, t, b)
	case swap.Prove:
		return e.prove(ctx, t, b)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch st.Op {
	case swap.Stop:
		e.halt(b, 0)
	case swap.Remove:
		e.drop(b.id)
	case swap.Unpause:
		b.phase = reconciler.StateRunning
	case swap.Mend:
		return e.mend(t, b)
	case swap.Disarm:
		b.restart = desired.Restart{}
		b.changed = slices.DeleteFunc(b.changed, func(c reconciler.Change) bool { return c.Field == "restart" })
	case swap.Start:
		return e.start(b)
	}
	return nil
}

func (e *Engine) create(t reconciler.Target, a reconciler.Action, name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o := e.byName(name); o != nil {
		return reconciler.Terminal(fmt.Errorf("create container %s: the name is taken by %s", name, o.owner))
	}
	// Before anything is stopped for a replacement it must be sure of its name.
	proper := t.Spec.ContainerName(a.Name, a.Replica)
	if o := e.byName(proper); o != nil && o.instance != t.Spec.Name {
		return reconciler.Terminal(fmt.Errorf("create container %s: the name is taken by %s", proper, o.owner))
	}
	s := t.Spec.Services[a.Name]
	img, ok := t.Images[s.Image]
	if _, have := e.images[img.ID]; !ok || !have {
		return fmt.Errorf("create container %s: image %s is not on the engine", name, s.Image)
	}
	b := &box{
		id: e.newID("c"), name: name, proper: t.Spec.ContainerName(a.Name, a.Replica),
		instance: t.Spec.Name, service: a.Name, replica: a.Replica,
		hash: s.Hash(), ref: s.Image, image: img.ID, generation: t.Generation,
		mode: s.NetworkMode, networked: len(s.Networks) > 0, port: s.Environment["PORT"],
		networks: map[string]string{}, restart: s.Restart, peers: map[string]string{},
		checked: s.Healthcheck != nil && !s.Healthcheck.Disable,
		phase:   reconciler.StateCreated,
	}
	for _, p := range s.Ports {
		if p.Published != "" {
			b.ports = append(b.ports, p.HostIP+":"+p.Published+"/"+p.Protocol)
		}
	}
	for _, svc := range reconciler.Peers(s) {
		p := e.peer(t, svc)
		if p == nil {
			return fmt.Errorf("create container %s: service %s, which it shares with, has no container", name, svc)
		}
		b.peers[svc] = p.id
	}
	for _, m := range s.Mounts {
		if v, named := t.Spec.Volumes[m.Source]; m.Type == desired.MountVolume && named {
			if _, exists := e.volumes[v.Name]; !exists {
				return fmt.Errorf("create container %s: volume %s does not exist", name, v.Name)
			}
		}
	}
	if err := e.connect(t, s, b); err != nil {
		return err
	}
	e.containers = append(e.containers, b)
	return nil
}

// connect attaches the container to every network of its service.
func (e *Engine) connect(t reconciler.Target, s desired.Service, b *box) error {
	for _, sn := range s.Networks {
		name := t.Spec.Networks[sn.Network].Name
		n := e.networks[name]
		if n == nil {
			return fmt.Errorf("connect container %s: network %s does not exist", b.name, name)
		}
		b.networks[name] = n.id
	}
	return nil
}

func (e *Engine) mend(t reconciler.Target, b *box) error {
	b.changed = slices.DeleteFunc(b.changed, func(c reconciler.Change) bool { return slices.Contains(mendable, c.Field) })
	b.restart = t.Spec.Services[b.service].Restart
	return e.connect(t, t.Spec.Services[b.service], b)
}

func (e *Engine) rename(b *box, to string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if o := e.byName(to); o != nil {
		return fmt.Errorf("rename container %s: the name %s is taken", b.name, to)
	}
	b.name = to
	return nil
}

func (e *Engine) start(b *box) error {
	for name, id := range b.networks {
		if n := e.networks[name]; n == nil || n.id != id {
			return fmt.Errorf("start container %s: network %s not found", b.name, id)
		}
	}
	for _, o := range e.containers {
		if o == b || !(swap.Container{State: e.status(o).state}).Active() {
			continue
		}
		for _, p := range o.ports {
			if slices.Contains(b.ports, p) {
				return fmt.Errorf("start container %s: port %s is already allocated", b.name, p)
			}
		}
	}
	if err := e.listen(b); err != nil {
		return err
	}
	b.phase, b.started, b.manual = reconciler.StateRunning, time.Now(), false
	return nil
}

// waitReady is the wait of a start-first replacement. One that does not get
// ready is removed; the old container was not touched.
func (e *Engine) waitReady(ctx context.Context, t reconciler.Target, b *box) error {
	limit := t.Spec.HealthTimeout
	if limit <= 0 {
		limit = 2 * time.Minute
	}
	wctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := e.await(wctx, t, b.id, reconciler.Wait{Service: b.service, Replica: b.replica, Condition: desired.Healthy, Stable: time.Second})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = &reconciler.NotReady{Container: b.name, Phase: "health", Reason: fmt.Sprintf("not healthy after %s", limit)}
	}
	var nr *reconciler.NotReady
	if errors.As(err, &nr) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.drop(b.id)
	}
	return err
}
