package docker

import (
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/fairlead/fairlead/desired"
)

// mapNetworks sets the network mode and the endpoints. From API 1.44 on all of
// them are given when the container is made, and the MAC address belongs to
// an endpoint; before, there is one endpoint and one MAC address.
func mapNetworks(b blueprint, c *config) {
	s := b.service
	c.host.Links = links(b, s)
	if s.NetworkMode != "" || len(s.Networks) == 0 {
		c.host.NetworkMode = container.NetworkMode(b.peerMode(s.NetworkMode))
		c.container.MacAddress = s.MacAddress
		return
	}
	c.network = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	c.later = map[string]*network.EndpointSettings{}
	for i, sn := range s.Networks {
		name, ep := networkName(b, sn), mapEndpoint(b, sn)
		if i == 0 {
			c.host.NetworkMode = container.NetworkMode(name)
			mac := ep.MacAddress
			if mac == "" {
				mac = s.MacAddress
			}
			if ep.MacAddress = mac; !b.newer("1.44") {
				c.container.MacAddress, ep.MacAddress = mac, ""
			}
		}
		if i == 0 || b.newer("1.44") {
			c.network.EndpointsConfig[name] = ep
			continue
		}
		c.later[name] = ep
	}
}

func networkName(b blueprint, sn desired.ServiceNetwork) string {
	if n, ok := b.target.Spec.Networks[sn.Network]; ok {
		return n.Name
	}
	return sn.Network
}

func mapEndpoint(b blueprint, sn desired.ServiceNetwork) *network.EndpointSettings {
	s := b.service
	aliases := append([]string{properName(b.target.Spec, s, b.replica), s.Name}, sn.Aliases...)
	ep := &network.EndpointSettings{
		Aliases: aliases, Links: links(b, s), MacAddress: sn.MacAddress,
		DriverOpts: sn.DriverOpts, GwPriority: sn.GwPriority,
	}
	if sn.IPv4 != "" || sn.IPv6 != "" || len(sn.LinkLocalIPs) > 0 {
		ep.IPAMConfig = &network.EndpointIPAMConfig{IPv4Address: sn.IPv4, IPv6Address: sn.IPv6, LinkLocalIPs: sn.LinkLocalIPs}
	}
	return ep
}

// links names every container of a linked service by its alias, by its number
// and by its name, as docker compose does.
func links(b blueprint, s desired.Service) []string {
	var out []string
	for _, l := range s.Links {
		svc, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = svc
		}
		other, ok := b.target.Spec.Services[svc]
		if !ok {
			continue
		}
		for n := 1; n <= max(other.Replicas, 1); n++ {
			name := properName(b.target.Spec, other, n)
			out = append(out, name+":"+alias, fmt.Sprintf("%s:%s-%d", name, svc, n), name+":"+name)
		}
	}
	for _, l := range s.ExternalLinks {
		name, alias, ok := strings.Cut(l, ":")
		if !ok {
			alias = name
		}
		out = append(out, name+":"+alias)
	}
	return out
}

// mapNetwork says what a network is made from.
func mapNetwork(n desired.Network, labels map[string]string) network.CreateOptions {
	o := network.CreateOptions{
		Driver: n.Driver, Options: n.DriverOpts, Internal: n.Internal, Attachable: n.Attachable,
		EnableIPv4: n.EnableIPv4, EnableIPv6: n.EnableIPv6, Labels: labels,
	}
	if o.Driver == "" {
		o.Driver = "bridge"
	}
	if n.IPAM == nil {
		return o
	}
	o.IPAM = &network.IPAM{Driver: n.IPAM.Driver, Options: n.IPAM.Options}
	for _, p := range n.IPAM.Pools {
		o.IPAM.Config = append(o.IPAM.Config, network.IPAMConfig{
			Subnet: p.Subnet, IPRange: p.IPRange, Gateway: p.Gateway, AuxAddress: p.Aux,
		})
	}
	return o
}
