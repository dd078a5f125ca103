package drivertest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// What other hands do to an engine. Names are names on the engine; a helper
// panics when there is no such object, since a test that tampers with nothing
// proves nothing.

func (e *Engine) tamper(name string, f func(b *box)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.byName(name)
	if b == nil {
		panic("drivertest: no container " + name)
	}
	f(b)
}

// Alive says whether there is a container of that name, whoever owns it, that
// runs.
func (e *Engine) Alive(name string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.byName(name)
	return b != nil && e.status(b).state == reconciler.StateRunning
}

// Kill ends the process with 137; the engine does not start it again.
func (e *Engine) Kill(name string) {
	e.tamper(name, func(b *box) { e.halt(b, 137) })
}

// Stop ends the process as docker stop does.
func (e *Engine) Stop(name string) {
	e.tamper(name, func(b *box) { e.halt(b, 0) })
}

// Pause freezes the process.
func (e *Engine) Pause(name string) {
	e.tamper(name, func(b *box) { b.phase = reconciler.StatePaused })
}

// RemoveContainer removes the container by force.
func (e *Engine) RemoveContainer(name string) {
	e.tamper(name, func(b *box) { e.drop(b.id) })
}

// Rename gives the container another name.
func (e *Engine) Rename(name, to string) { e.tamper(name, func(b *box) { b.name = to }) }

// Update changes a setting as docker update does: memory, cpus, pids and
// restart can be mended in place, anything else cannot.
func (e *Engine) Update(name, field, from, to string) {
	e.tamper(name, func(b *box) {
		b.changed = append(b.changed, reconciler.Change{Field: field, Old: from, New: to})
	})
}

// Disconnect takes the container off a network.
func (e *Engine) Disconnect(name, network string) {
	e.tamper(name, func(b *box) {
		if _, ok := b.networks[network]; !ok {
			panic("drivertest: " + name + " is not on " + network)
		}
		delete(b.networks, network)
	})
}

// Recreate puts another container with the same labels in the place of this
// one and starts it.
func (e *Engine) Recreate(name string) {
	e.tamper(name, func(b *box) {
		n := *b
		n.id, n.networks = e.newID("c"), maps.Clone(b.networks)
		n.changed = []reconciler.Change{{Field: "container", Old: b.id, New: n.id}}
		n.phase, n.started, n.completed = reconciler.StateRunning, time.Now(), false
		n.server = nil
		e.drop(b.id)
		e.containers = append(e.containers, &n)
		if err := e.listen(&n); err != nil {
			panic("drivertest: " + err.Error())
		}
	})
}

// AddForeign makes a running container that is not ours; owner says whose it
// is ("project blog").
func (e *Engine) AddForeign(name, owner string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byName(name) != nil {
		panic("drivertest: name taken: " + name)
	}
	e.containers = append(e.containers, &box{
		id: e.newID("c"), name: name, proper: name, owner: owner, networks: map[string]string{},
		phase: reconciler.StateRunning, started: time.Now(),
	})
}

// AddNetwork makes a network that is not ours.
func (e *Engine) AddNetwork(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.networks[name] = &netBox{id: e.newID("n")}
}

// AddVolume makes a volume that is not ours.
func (e *Engine) AddVolume(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.volumes[name] = reconciler.VolumeState{Name: name}
}

// RemoveNetwork removes a network; containers on it lose it.
func (e *Engine) RemoveNetwork(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.networks, name)
	for _, b := range e.containers {
		delete(b.networks, name)
	}
}

// Push puts a new image that behaves so under the reference into the registry
// and returns it. A reference that was pushed before is moved to it; what is
// on the engine stays as it is.
func (e *Engine) Push(ref string, b Behaviour) reconciler.Image {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := e.newID("sha256:i")
	img := reconciler.Image{ID: id, Digest: fmt.Sprintf("%s@sha256:%x", repository(ref), sha256.Sum256([]byte(id)))}
	e.registry[ref] = img
	e.registry[img.Digest] = img
	e.behaviours[id] = b
	return img
}

// MoveTag makes a reference mean what another one means, in the registry.
func (e *Engine) MoveTag(ref, like string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	img, ok := e.registry[like]
	if !ok {
		panic("drivertest: no image " + like)
	}
	e.registry[ref] = img
}

// FailPull makes every pull of the reference fail with err; nil ends it.
func (e *Engine) FailPull(ref string, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pullErrs[ref] = err
}

// RemoveImage takes the image of a reference off the engine.
func (e *Engine) RemoveImage(ref string) {
	e.mu.Lock()
	id := e.local[ref]
	e.mu.Unlock()
	e.RemoveImageID(id)
}

// RemoveImageID takes an image off the engine; containers of it stay.
func (e *Engine) RemoveImageID(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.images, id)
	for r, i := range e.local {
		if i == id {
			delete(e.local, r)
		}
	}
}

// SetRegistryDown makes every question to the registry fail, or ends that.
func (e *Engine) SetRegistryDown(down bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noRegistry = down
}

// HoldLock makes somebody hold a lock on a file, whatever container has it
// under that path.
func (e *Engine) HoldLock(file string) (release func()) {
	add := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.locked[file] += n
	}
	add(1)
	return func() { add(-1) }
}

// SetDown makes every call fail with err, as while the engine is restarted; nil
// brings it back, see EngineRestart.
func (e *Engine) SetDown(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.down != nil && err == nil {
		e.boot()
	}
	e.down = err
}

// EngineRestart ends every process. Containers are started again as their
// restart policies say, those that were stopped before included.
func (e *Engine) EngineRestart() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.boot()
}

func (e *Engine) boot() {
	for _, b := range e.containers {
		st := e.status(b)
		code, active := st.exit, (swap.Container{State: st.state}).Active()
		if active {
			code = 255
		}
		revives := e.revives(b, code)
		if active {
			e.halt(b, code)
			b.manual = false
		}
		if revives && e.listen(b) == nil {
			b.phase, b.started, b.manual = reconciler.StateRunning, time.Now(), false
		}
	}
}

// SetRestart changes the restart policy as docker update does.
func (e *Engine) SetRestart(name, policy string) {
	e.tamper(name, func(b *box) {
		b.changed = append(b.changed, reconciler.Change{Field: "restart", Old: b.restart.Name, New: policy})
		b.restart.Name = policy
	})
}

func repository(ref string) string {
	for i := len(ref) - 1; i >= 0 && ref[i] != '/'; i-- {
		if ref[i] == ':' {
			return ref[:i]
		}
	}
	return ref
}
