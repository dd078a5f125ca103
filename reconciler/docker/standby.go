package docker

import (
	"context"
	"maps"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// allMade says that every container which the target makes from an image is
// there already, in whatever slot: nothing has to be made from it any more.
func (e *Engine) allMade(ctx context.Context, t reconciler.Target, ref string) (bool, error) {
	notes, err := e.notes.read(t.Spec.Name)
	if err != nil {
		return false, err
	}
	list, err := e.shareList(ctx, t.Spec.Name)
	if err != nil {
		return false, err
	}
	for _, s := range t.Spec.Services {
		for _, m := range s.Mounts {
			if m.Type == desired.MountImage && m.Source == ref {
				return false, nil
			}
		}
		if s.Image != ref {
			continue
		}
		for n := 1; n <= s.Replicas; n++ {
			if !e.isMadeAs(t, s, n, list, notes) {
				return false, nil
			}
		}
	}
	return true, nil
}

// isMadeAs says whether a replica's container is there as the target has it,
// and whatever it was made to share with, too.
func (e *Engine) isMadeAs(t reconciler.Target, s desired.Service, replica int, list []container.Summary, notes page) bool {
	for _, c := range list {
		if c.Labels[labelService] == s.Name && c.Labels[labelReplica] == strconv.Itoa(replica) && e.madeFrom(c, t, s, notes) &&
			e.peersMade(c, t, s, list, notes) {
			return true
		}
	}
	return false
}

func (e *Engine) madeFrom(c container.Summary, t reconciler.Target, s desired.Service, notes page) bool {
	return c.State != container.StateDead && c.State != container.StateRemoving &&
		c.Labels[labelHash] == s.Hash() && c.ImageID == t.Images[s.Image].ID && e.impostor(c, notes) == ""
}

func (e *Engine) peersMade(c container.Summary, t reconciler.Target, s desired.Service, list []container.Summary, notes page) bool {
	for _, svc := range reconciler.Peers(s) {
		peer, ok := summaryOf(list, c.Labels[labelPeer+svc])
		if !ok || !e.madeFrom(peer, t, t.Spec.Services[svc], notes) {
			return false
		}
	}
	return true
}

// notePull remembers a pull for later clean-ups, and keeps the next one off.
func (e *Engine) notePull(instance, id, ref string) error {
	e.notePrepared(instance, id)
	return e.notes.notePull(id, ref, time.Now())
}

func (e *Engine) notePrepared(instance, id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.prepared[instance] == nil {
		e.prepared[instance] = map[string]bool{}
	}
	e.prepared[instance][id] = true
}

func (e *Engine) forgetPrepared(instance string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.prepared, instance)
}

// beingPrepared are the images that a clean-up must leave whatever it is told.
func (e *Engine) beingPrepared() map[string]bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]bool{}
	for _, ids := range e.prepared {
		maps.Copy(out, ids)
	}
	return out
}
