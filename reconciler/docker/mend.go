package docker

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
)

// mend brings the networks and limits of a container to what the target says,
// without making it anew. errUnfit when that is impossible.
func (tn *turn) mend(ctx context.Context, id, name string) error {
	if c, ok := tn.fresh[id]; ok {
		for _, net := range sortedKeys(c.later) {
			if err := tn.e.connect(ctx, net, id, c.later[net]); err != nil {
				return err
			}
		}
		return nil
	}
	in, err := tn.inspect(ctx, id, name)
	if err != nil {
		return err
	}
	if err := tn.mendNetworks(ctx, in); err != nil {
		return err
	}
	if err := tn.mendLimits(ctx, in, name); err != nil {
		return err
	}
	return tn.mendNamespace(ctx, in, name)
}

func (tn *turn) inspect(ctx context.Context, id, name string) (in container.InspectResponse, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		in, err = tn.e.api().ContainerInspect(ctx, id)
		return err
	})
	if notFound(err) {
		return in, errGone
	}
	return in, tn.e.fail(err, "inspect container %s", name)
}

// mendNetworks joins what is missing. A container that was stopped while its
// network was made anew still names the old one: it is taken off and joined
// again. Networks that others joined it to are left.
func (tn *turn) mendNetworks(ctx context.Context, in container.InspectResponse) error {
	wanted, err := tn.endpoints(ctx)
	if err != nil {
		return err
	}
	for _, name := range sortedKeys(wanted) {
		net, found, err := tn.e.inspectNetwork(ctx, name)
		if err != nil {
			return err
		}
		have := in.NetworkSettings.Networks[name]
		if found && have != nil && (have.NetworkID == net.ID || have.NetworkID == "") && sameEndpoint(have, wanted[name], in.ID) {
			continue
		}
		if have != nil {
			if err := tn.leave(ctx, in.ID); err != nil {
				return err
			}
			if err := tn.e.disconnect(ctx, name, in.ID); err != nil {
				return err
			}
		}
		if err := tn.e.connect(ctx, name, in.ID, wanted[name]); err != nil {
			return err
		}
	}
	return nil
}

// endpoints are the attachments that the target asks for, by network name.
func (tn *turn) endpoints(ctx context.Context) (map[string]*network.EndpointSettings, error) {
	api, err := tn.e.version(ctx)
	if err != nil {
		return nil, err
	}
	b := blueprint{target: tn.t, service: tn.service, replica: tn.replica, api: api, peers: tn.peers}
	c := config{container: mapContainer(b), host: &container.HostConfig{}}
	mapNetworks(b, &c)
	out := maps.Clone(c.later)
	if c.network != nil {
		if out == nil {
			out = map[string]*network.EndpointSettings{}
		}
		maps.Copy(out, c.network.EndpointsConfig)
	}
	return out, nil
}

// sameEndpoint compares what was asked for: names and static addresses.
func sameEndpoint(have, want *network.EndpointSettings, id string) bool {
	for _, a := range want.Aliases {
		if !slices.Contains(have.Aliases, a) {
			return false
		}
	}
	h, w := have.IPAMConfig, want.IPAMConfig
	if h == nil {
		h = &network.EndpointIPAMConfig{}
	}
	if w == nil {
		w = &network.EndpointIPAMConfig{}
	}
	return h.IPv4Address == w.IPv4Address && h.IPv6Address == w.IPv6Address
}

// mendLimits sets back what docker update changed, by whose hand ever.
func (tn *turn) mendLimits(ctx context.Context, in container.InspectResponse, name string) error {
	changed := tn.changedLimits(in)
	if len(changed) == 0 {
		return nil
	}
	u, ok := updateFor(tn.service, changed)
	if !ok {
		return errUnfit
	}
	err := call(ctx, writeTimeout, func(ctx context.Context) error {
		_, err := tn.e.api().ContainerUpdate(ctx, in.ID, u)
		return err
	})
	switch {
	case notFound(err):
		return errGone
	case err != nil && !connectionLost(err) && ctx.Err() == nil:
		tn.e.log.WithError(err).WithField("container", name).Info("limits cannot be set back in place; the container is made anew")
		return errUnfit
	case err != nil:
		return tn.e.fail(err, "update container %s", name)
	}
	after, err := tn.inspect(ctx, in.ID, name)
	if err == nil && len(tn.changedLimits(after)) > 0 {
		return errUnfit
	}
	return err
}

// changedLimits are the settings that are not as they are remembered, but
// networks, which are mended apart. The restart policy is compared with the
// target: it is taken from what is set aside, and that need not be remembered.
func (tn *turn) changedLimits(in container.InspectResponse) []string {
	var out []string
	is := settings(in)
	for _, c := range diffSettings(tn.notes.Containers[in.ID].Settings, is) {
		if c.Field != "restart" && !strings.HasPrefix(c.Field, "networks.") {
			out = append(out, c.Field)
		}
	}
	if have, known := is["restart"]; known && have != restart(restartPolicy(tn.service)) {
		out = append(out, "restart")
	}
	return out
}
