package docker

import (
	"net/netip"
	"slices"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/reconciler"
)

// hostNetwork is the engine's name for the network of the host itself.
const hostNetwork = "host"

// addresses are where a listed container is reached, by network; nil when it
// does not run. A container that shares another one's network is reached where
// that one is, if the list has it.
func addresses(c container.Summary, list []container.Summary) map[string]netip.Addr {
	if c.State != container.StateRunning {
		return nil
	}
	mode := container.NetworkMode(c.HostConfig.NetworkMode)
	if peer := mode.ConnectedContainer(); mode.IsContainer() {
		i := slices.IndexFunc(list, func(o container.Summary) bool { return o.ID == peer || nameOf(o) == peer })
		if i < 0 || list[i].State != container.StateRunning || container.NetworkMode(list[i].HostConfig.NetworkMode).IsContainer() {
			return nil // engines refuse a peer that shares itself
		}
		return addresses(list[i], nil)
	}
	if mode.IsHost() {
		return map[string]netip.Addr{hostNetwork: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
	}
	if c.NetworkSettings == nil {
		return nil
	}
	var out map[string]netip.Addr
	for name, ep := range c.NetworkSettings.Networks {
		if a := endpointAddress(ep); a.IsValid() {
			if out == nil {
				out = map[string]netip.Addr{}
			}
			out[name] = a
		}
	}
	return out
}

// endpointAddress prefers IPv4. Engines write no address as "" or, as of API
// 1.52, leave it out.
func endpointAddress(ep *network.EndpointSettings) netip.Addr {
	if ep == nil {
		return netip.Addr{}
	}
	for _, s := range []string{ep.IPAddress, ep.GlobalIPv6Address} {
		if a, err := netip.ParseAddr(s); err == nil && !a.IsUnspecified() {
			return a
		}
	}
	return netip.Addr{}
}

// summaryOf finds a container in a list.
func summaryOf(list []container.Summary, id string) (container.Summary, bool) {
	i := slices.IndexFunc(list, func(c container.Summary) bool { return c.ID == id })
	if i < 0 {
		return container.Summary{}, false
	}
	return list[i], true
}

// observedIn reads one entry of a list with what only the whole list tells.
func (e *Engine) observedIn(c container.Summary, list []container.Summary, notes page) reconciler.Container {
	o := e.observed(c, notes)
	o.Addresses = addresses(c, list)
	return o
}
