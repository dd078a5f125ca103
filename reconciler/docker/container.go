package docker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// turn is one replica on its way to the target.
type turn struct {
	e       *Engine
	t       reconciler.Target
	service desired.Service
	replica int
	want    swap.Want
	notes   page

	have    []swap.Container
	list    []container.Summary          // of the instance, as last seen
	found   map[string]container.Summary // of the replica, by ID
	peers   map[string]string            // service -> container that serves now
	fresh   map[string]config            // made in this turn: what from
	unfit   map[string]bool              // cannot be mended in place
	stopped map[string]bool              // by this turn
	changed map[string]bool              // since the list
}

// maxSteps ends a turn that other hands keep undoing.
const maxSteps = 60

func (e *Engine) ensureContainer(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	s, ok := t.Spec.Services[a.Name]
	if !ok {
		return fmt.Errorf("ensure container %s: service %s is not in the target", a.Object, a.Name)
	}
	tn, err := e.newTurn(ctx, t, s, max(a.Replica, 1))
	if err != nil {
		return err
	}
	tn.want = swap.Want{
		Name:       properName(t.Spec, s, tn.replica),
		StartFirst: s.UpdateOrder == "start-first" && !exclusive(s),
	}
	return tn.run(ctx, func() swap.Step { return swap.Next(tn.want, tn.have) })
}

func (e *Engine) removeContainer(ctx context.Context, t reconciler.Target, a reconciler.Action) error {
	s := t.Spec.Services[a.Name] // often absent: that is why it goes
	s.Name = a.Name
	tn, err := e.newTurn(ctx, t, s, max(a.Replica, 1))
	if err != nil {
		return err
	}
	return tn.run(ctx, func() swap.Step { return swap.NextRemoval(a.Object, tn.have) })
}

// exclusive says that two containers of the service cannot run side by side:
// both want the same port of the host, address or namespace.
func exclusive(s desired.Service) bool {
	port := func(p desired.Port) bool { return p.Published != "" && !strings.Contains(p.Published, "-") }
	address := func(n desired.ServiceNetwork) bool { return n.IPv4 != "" || n.IPv6 != "" || n.MacAddress != "" }
	return slices.ContainsFunc(s.Ports, port) || slices.ContainsFunc(s.Networks, address) ||
		s.MacAddress != "" || s.NetworkMode == "host" || strings.Contains(s.NetworkMode, ":")
}

func (e *Engine) newTurn(ctx context.Context, t reconciler.Target, s desired.Service, replica int) (*turn, error) {
	notes, err := e.notes.read(t.Spec.Name)
	if err != nil {
		return nil, err
	}
	tn := &turn{e: e, t: t, service: s, replica: replica, notes: notes, fresh: map[string]config{}, unfit: map[string]bool{}, stopped: map[string]bool{}}
	return tn, tn.look(ctx)
}

// look lists the instance's containers and finds this replica's among them.
func (tn *turn) look(ctx context.Context) error {
	list, err := tn.e.shareList(ctx, tn.t.Spec.Name)
	if err != nil {
		return err
	}
	tn.peers = map[string]string{}
	for _, svc := range reconciler.Peers(tn.service) {
		if c, ok := serving(list, svc, 1); ok {
			tn.peers[svc] = c.ID
		}
	}
	old := map[string]swap.Container{}
	for _, c := range tn.have {
		old[c.ID] = c
	}
	tn.have, tn.list = nil, list
	tn.found, tn.changed = map[string]container.Summary{}, map[string]bool{}
	for _, c := range list {
		if c.Labels[labelService] != tn.service.Name || c.Labels[labelReplica] != strconv.Itoa(tn.replica) {
			continue
		}
		if c.State == container.StateRemoving {
			if err := tn.e.awaitGone(ctx, c.ID); err != nil {
				return err
			}
			continue
		}
		tn.found[c.ID] = c
		tn.have = append(tn.have, swap.Container{
			ID: c.ID, Name: nameOf(c), Proper: c.Labels[labelName], State: reconciler.State(c.State),
			Fits: c.State != container.StateDead && tn.fits(c), Mended: old[c.ID].Mended,
			Ready: old[c.ID].Ready, Led: old[c.ID].Led, Left: old[c.ID].Left, Ended: old[c.ID].Ended, Revives: old[c.ID].Revives,
		})
	}
	return nil
}

// serving finds the container that serves as a replica now.
func serving(list []container.Summary, service string, replica int) (container.Summary, bool) {
	for _, c := range list {
		if c.Labels[labelService] == service && c.Labels[labelReplica] == strconv.Itoa(replica) &&
			swap.SlotOf(nameOf(c), c.Labels[labelName]) == reconciler.SlotCurrent {
			return c, true
		}
	}
	return container.Summary{}, false
}

// fits says whether a container was made from what the target says.
func (tn *turn) fits(c container.Summary) bool {
	if tn.unfit[c.ID] || c.Labels[labelHash] != tn.service.Hash() || tn.e.impostor(c, tn.notes) != "" {
		return false
	}
	if img, known := tn.t.Images[tn.service.Image]; known && img.ID != c.ImageID {
		return false
	}
	for svc, id := range tn.peers {
		if c.Labels[labelPeer+svc] != id {
			return false
		}
	}
	return true
}

// run takes one step after the other until there is none left.
func (tn *turn) run(ctx context.Context, next func() swap.Step) error {
	for range maxSteps {
		tn.want.Rest = tn.resting()
		st := next()
		if st.Op == swap.Done {
			return nil
		}
		made, err := tn.do(ctx, st)
		switch {
		case errors.Is(err, errGone):
			err = tn.look(ctx)
		case errors.Is(err, errUnfit):
			tn.unfit[st.ID] = true
			err = tn.look(ctx)
		case err == nil:
			tn.have, tn.changed[st.ID] = swap.Apply(tn.want, tn.have, st, made), true
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("ensure container %s: it did not come to an end after %d steps; is another program changing it?", tn.want.Name, maxSteps)
}

// resting says that the one-shot is done and not to be started again.
func (tn *turn) resting() bool {
	if !tn.service.MayEnd() {
		return false
	}
	for _, c := range tn.have {
		if c.Fits && tn.notes.Completed[c.ID] {
			return true
		}
	}
	return false
}

// errUnfit says that a container cannot be brought to the target in place.
var errUnfit = errors.New("cannot be changed in place")

func (tn *turn) do(ctx context.Context, st swap.Step) (made string, err error) {
	name := tn.nameOf(st.ID)
	switch st.Op {
	case swap.Create:
		return tn.create(ctx, st.Name)
	case swap.Mend:
		return "", tn.mend(ctx, st.ID, name)
	case swap.Wait:
		return "", tn.waitReady(ctx, st.ID, name)
	case swap.Lead:
		return "", tn.lead(ctx, st.ID, name)
	case swap.Leave:
		return "", tn.leave(ctx, st.ID)
	case swap.Prove:
		return "", tn.prove(ctx, st.ID, name)
	case swap.Disarm:
		return "", tn.disarm(ctx, st.ID, name)
	case swap.Stop:
		tn.stopped[st.ID] = true
		return "", tn.stop(ctx, st.ID, name)
	case swap.Remove:
		return "", tn.e.remove(ctx, st.ID, name)
	case swap.Rename:
		return "", tn.rename(ctx, st.ID, name, st.Name)
	case swap.Unpause:
		err = call(ctx, writeTimeout, func(ctx context.Context) error { return tn.e.api().ContainerUnpause(ctx, st.ID) })
		if err != nil && notPaused(err) {
			return "", nil
		}
	case swap.Start:
		err = tn.start(ctx, st.ID)
	}
	if notFound(err) && !strings.Contains(err.Error(), "network") {
		return "", errGone
	}
	return "", tn.e.fail(err, "%s container %s", st.Op, name)
}

func (tn *turn) nameOf(id string) string {
	for _, c := range tn.have {
		if c.ID == id {
			return c.Name
		}
	}
	return short(id)
}

// rename gives a container another name. Who holds a name that is taken is said.
func (tn *turn) rename(ctx context.Context, id, from, to string) error {
	err := call(ctx, writeTimeout, func(ctx context.Context) error { return tn.e.api().ContainerRename(ctx, id, to) })
	switch {
	case notFound(err):
		return errGone
	case conflict(err):
		return tn.nameTaken(ctx, to, err)
	case err != nil && strings.Contains(err.Error(), "same as the old name"):
		return nil
	}
	return tn.e.fail(err, "rename container %s to %s", from, to)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
