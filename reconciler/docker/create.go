package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// create makes the container and leaves it stopped.
func (tn *turn) create(ctx context.Context, name string) (string, error) {
	if err := tn.nameFree(ctx, name); err != nil {
		return "", err
	}
	b, err := tn.blueprint(ctx)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	c, err := mapService(b)
	if err != nil {
		return "", err
	}
	if err := makeWorkDirs(b); err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	platform, err := parsePlatform(tn.service.Platform)
	if err != nil {
		return "", fmt.Errorf("create container %s: %w", name, err)
	}
	tn.e.announce(name, true)
	var made container.CreateResponse
	err = call(ctx, writeTimeout, func(ctx context.Context) error {
		made, err = tn.e.api().ContainerCreate(ctx, c.container, c.host, c.network, platform, name)
		return err
	})
	switch {
	case conflict(err):
		return "", tn.nameTaken(ctx, name, err)
	case err != nil:
		return "", tn.e.fail(err, "create container %s", name)
	}
	tn.e.markMade(made.ID, tn.t.Spec.Name)
	tn.e.announce(name, false)
	tn.fresh[made.ID] = c
	for _, w := range made.Warnings {
		tn.e.log.WithField("container", name).Warn(w)
	}
	return made.ID, nil
}

// blueprint gathers what the container is made from.
func (tn *turn) blueprint(ctx context.Context) (blueprint, error) {
	b := blueprint{target: tn.t, service: tn.service, replica: tn.replica, peers: tn.peers, inherit: tn.inherit()}
	var err error
	if b.api, err = tn.e.version(ctx); err != nil {
		return b, err
	}
	for _, svc := range reconciler.Peers(tn.service) {
		if tn.peers[svc] == "" {
			return b, fmt.Errorf("service %s, which it shares with, has no container", svc)
		}
	}
	id := tn.t.Images[tn.service.Image].ID
	if id == "" {
		return b, fmt.Errorf("image %s is not resolved", tn.service.Image)
	}
	if b.image, b.volumes, err = tn.imageName(ctx, id); err != nil {
		return b, err
	}
	b.labels = tn.e.containerLabels(tn.t, tn.service, tn.replica, id, tn.peers)
	return b, nil
}

// imageName is what to write as the container's image: the reference as long
// as it means the wanted image, for people who read docker ps; its ID else.
func (tn *turn) imageName(ctx context.Context, id string) (string, map[string]struct{}, error) {
	for _, ref := range []string{tn.service.Image, tn.t.Images[tn.service.Image].Digest, id} {
		if ref == "" {
			continue
		}
		in, found, err := tn.e.imageDetails(ctx, ref)
		if err != nil {
			return "", nil, err
		}
		if found && in.ID == id {
			if in.Config == nil {
				return ref, nil, nil
			}
			return ref, in.Config.Volumes, nil
		}
	}
	return "", nil, fmt.Errorf("image %s (%s) is not on the engine", tn.service.Image, shortImage(id))
}

// inherit are the anonymous volumes of the container that is replaced.
func (tn *turn) inherit() map[string]string {
	out := map[string]string{}
	for _, slot := range []reconciler.Slot{reconciler.SlotPrevious, reconciler.SlotCurrent} {
		for _, c := range tn.have {
			if c.Slot() != slot {
				continue
			}
			for _, m := range tn.found[c.ID].Mounts {
				if m.Type == "volume" && anonymous(m.Name) {
					out[m.Destination] = m.Name
				}
			}
		}
	}
	return out
}

// anonymous recognises the name that the engine gives to a volume without one.
func anonymous(name string) bool {
	return len(name) == 64 && strings.Trim(name, "0123456789abcdef") == ""
}

// nameFree makes sure, before a replacement leads to a stop, that the proper
// name can be had. It costs a call only when that name is a new one.
func (tn *turn) nameFree(ctx context.Context, name string) error {
	proper := tn.want.Name
	if name == proper || slices.ContainsFunc(tn.have, func(c swap.Container) bool { return c.Name == proper }) {
		return nil
	}
	var in container.InspectResponse
	err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
		in, err = tn.e.api().ContainerInspect(ctx, proper)
		return err
	})
	switch {
	case notFound(err), err == nil && strings.TrimPrefix(in.Name, "/") != proper: // a name may be taken for an ID
		return nil
	case err != nil:
		return tn.e.fail(err, "inspect container %s", proper)
	}
	return tn.nameTaken(ctx, proper, errors.New("the name is taken"))
}

// nameTaken says who holds the name, so that a person can act.
func (tn *turn) nameTaken(ctx context.Context, name string, err error) error {
	in, ierr := tn.inspect(ctx, name, name)
	if errors.Is(ierr, errGone) {
		return errGone // it was given up meanwhile; look again
	}
	if ierr != nil || in.Config == nil {
		return tn.e.fail(err, "create container %s", name)
	}
	l := in.Config.Labels
	if tn.e.owns(l, tn.t.Spec.Name) && l[labelService] == tn.service.Name && l[labelReplica] == strconv.Itoa(tn.replica) {
		return errGone // ours: an earlier call made it after all; look again
	}
	if tn.e.owns(l, tn.t.Spec.Name) && l[labelName] != "" && swap.SlotOf(name, l[labelName]) == reconciler.SlotCurrent && l[labelName] != name {
		// Other hands gave it the name of another service. Its own turn gives
		// it its proper one back; two that were swapped wait for each other.
		stray := l[labelName] + "." + short(in.ID)
		rerr := call(ctx, writeTimeout, func(ctx context.Context) error { return tn.e.api().ContainerRename(ctx, in.ID, stray) })
		if rerr == nil || notFound(rerr) {
			return errGone
		}
	}
	return reconciler.Terminal(fmt.Errorf("create container %s: the name is taken by container %s (%s), which is not ours; rename or remove it",
		name, short(in.ID), tn.e.whoseIs(l)))
}
