package compose

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

// ifnameOption is how the engine is told the name of an interface.
const ifnameOption = "com.docker.network.endpoint.ifname"

func (l *loader) networking(s *types.ServiceConfig, d *desired.Service) {
	d.NetworkMode = l.networkMode(s)
	d.Ports = l.ports(s)
	d.Expose = l.expose(s)
	d.Links = l.links(s)
	for _, link := range s.ExternalLinks {
		d.ExternalLinks = append(d.ExternalLinks, withAlias(link))
	}
	d.ExtraHosts = s.ExtraHosts.AsList(":")
	slices.Sort(d.ExtraHosts)
	if len(d.ExtraHosts) == 0 {
		d.ExtraHosts = nil
	}
	d.DNS, d.DNSSearch, d.DNSOptions = some(s.DNS), some(s.DNSSearch), some(s.DNSOpts)
	d.MacAddress, d.Sysctls = s.MacAddress, filled(s.Sysctls)
	if s.NetworkMode != "" {
		l.noNetworks(s)
		return
	}
	for _, key := range s.NetworksByPriority() {
		p := []string{"services", s.Name, "networks", key}
		if _, ok := l.model.Networks[key]; !ok && !l.wasRemoved("networks", key) {
			l.wrong(p, "there is no network "+key, orDeclare(key, "networks", slices.Collect(maps.Keys(l.model.Networks))))
			continue
		}
		d.Networks = append(d.Networks, l.attachment(key, s.Networks[key], p))
	}
}

func orDeclare(key, section string, names []string) string {
	if hint := didYouMean(key, names); hint != "" {
		return hint
	}
	return "declare it under " + section + " at the top level"
}

func (l *loader) attachment(key string, c *types.ServiceNetworkConfig, p []string) desired.ServiceNetwork {
	n := desired.ServiceNetwork{Network: key}
	if c == nil {
		return n
	}
	n.Aliases, n.IPv4, n.IPv6 = some(c.Aliases), c.Ipv4Address, c.Ipv6Address
	n.LinkLocalIPs, n.MacAddress = some(c.LinkLocalIPs), c.MacAddress
	n.GwPriority, n.Priority, n.DriverOpts = c.GatewayPriority, c.Priority, filled(c.DriverOpts)
	l.address(append(p[:len(p):len(p)], "ipv4_address"), n.IPv4, netip.Addr.Is4)
	l.address(append(p[:len(p):len(p)], "ipv6_address"), n.IPv6, netip.Addr.Is6)
	if c.InterfaceName == "" {
		return n
	}
	if have, ok := n.DriverOpts[ifnameOption]; ok && have != c.InterfaceName {
		l.wrong(append(p[:len(p):len(p)], "interface_name"), "it differs from the driver option "+ifnameOption, "keep one of them")
	}
	if n.DriverOpts == nil {
		n.DriverOpts = map[string]string{}
	}
	n.DriverOpts[ifnameOption] = c.InterfaceName
	return n
}

func (l *loader) address(p []string, value string, is func(netip.Addr) bool) {
	if value == "" {
		return
	}
	if a, err := netip.ParseAddr(value); err != nil || !is(a) {
		l.wrong(p, value+" is not such an address", "")
	}
}

func (l *loader) networkMode(s *types.ServiceConfig) string {
	p := []string{"services", s.Name, "network_mode"}
	kind, name, ref := strings.Cut(s.NetworkMode, ":")
	switch {
	case s.NetworkMode == "", s.NetworkMode == "host", s.NetworkMode == "none", s.NetworkMode == "bridge":
	case ref && kind == "service" && name != "":
		l.referTo(p, name)
	case ref && kind == "container" && name != "":
	default:
		l.wrong(p, s.NetworkMode+" is not a network mode", "write host, none, bridge, service:NAME or container:NAME; for a network of the host declare it under networks with external: true")
	}
	return s.NetworkMode
}

// referTo checks a reference to a service from a key other than depends_on.
func (l *loader) referTo(p []string, name string) {
	if _, on := l.model.Services[name]; !on {
		l.unknownService(p, name)
	}
}

func (l *loader) noNetworks(s *types.ServiceConfig) {
	p := []string{"services", s.Name, "networks"}
	if len(s.Networks) > 0 {
		l.wrong(p, "networks and network_mode cannot be used together", "keep one of them")
	}
	if len(s.Ports) == 0 {
		return
	}
	p[2] = "ports"
	switch {
	case s.NetworkMode == "bridge":
	case s.NetworkMode == "host":
		l.noteAt(p, "the key has no effect: with network_mode host every port of the container is one of the host")
	default:
		l.wrong(p, "ports cannot be published with network_mode "+s.NetworkMode, "publish them at the service whose network this one uses")
	}
}

func (l *loader) ports(s *types.ServiceConfig) []desired.Port {
	if s.NetworkMode == "host" {
		return nil
	}
	var out []desired.Port
	for i, c := range s.Ports {
		p := l.portPath(s, i)
		port := desired.Port{Target: uint16(c.Target), Published: c.Published, HostIP: c.HostIP, Protocol: c.Protocol}
		switch port.Protocol {
		case "tcp":
			port.Protocol = ""
		case "", "udp", "sctp":
		default:
			l.wrong(p, c.Protocol+" is not a protocol", "write tcp, udp or sctp")
		}
		if c.Target < 1 || c.Target > 65535 {
			l.wrong(p, fmt.Sprintf("%d is not a port", c.Target), "a port is a number from 1 to 65535")
		}
		if !validPublished(c.Published) {
			l.wrong(p, strconv.Quote(c.Published)+" is not a port", "a port is a number from 1 to 65535, or a range of them")
		}
		if port.Published == "0" {
			port.Published = ""
		}
		out = append(out, port)
	}
	return out
}

// portPath is the path of a port. Ranges are expanded and overlays merged by
// then, so the line is that of the entry which names the port.
func (l *loader) portPath(s *types.ServiceConfig, i int) []string {
	list := []string{"services", s.Name, "ports"}
	p := append(list[:3:3], itoa(i))
	for _, src := range slices.Backward(l.sources) {
		if src.template {
			continue
		}
		for _, n := range oneOrMore(src.value(list)) {
			n = deref(n)
			_, published := child(n, "published")
			said := n.Value
			if published != nil {
				said = published.Value
			}
			if numbers := strings.FieldsFunc(said, notDigit); within(numbers, s.Ports[i].Published) {
				l.places[strings.Join(p, "\x00")] = at{file: src.path, line: n.Line}
				return p
			}
		}
	}
	return p
}

func notDigit(r rune) bool { return r < '0' || r > '9' }

// within tells whether a port is one of the numbers, or between the first two.
func within(numbers []string, port string) bool {
	if port == "" || slices.Contains(numbers, port) {
		return slices.Contains(numbers, port)
	}
	return len(numbers) > 1 && atoi(numbers[0]) < atoi(port) && atoi(port) < atoi(numbers[1])
}

func validPublished(s string) bool {
	if s == "" || s == "0" {
		return true
	}
	from, to, isRange := strings.Cut(s, "-")
	a, err := strconv.ParseUint(from, 10, 16)
	if err != nil || a == 0 {
		return false
	}
	if !isRange {
		return true
	}
	b, err := strconv.ParseUint(to, 10, 16)
	return err == nil && b >= a
}

var exposed = regexp.MustCompile(`^\d{1,5}(-\d{1,5})?(/(tcp|udp|sctp))?$`)

func (l *loader) expose(s *types.ServiceConfig) []string {
	var out []string
	for i, e := range s.Expose {
		if !exposed.MatchString(e) {
			l.wrong([]string{"services", s.Name, "expose", itoa(i)}, strconv.Quote(e)+" is not a port", "write a port, as 80, 80/udp or 3000-3005")
		}
		if !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

func withAlias(link string) string {
	if name, alias, ok := strings.Cut(link, ":"); ok && alias != "" {
		return link
	} else {
		return name + ":" + name
	}
}

func (l *loader) links(s *types.ServiceConfig) []string {
	var out []string
	for i, link := range s.Links {
		name, _, _ := strings.Cut(link, ":")
		l.referTo([]string{"services", s.Name, "links", itoa(i)}, name)
		out = append(out, withAlias(link))
	}
	return out
}

// networks maps the networks that a service is attached to. One that nothing
// uses is not made, as with docker compose.
func (l *loader) networks() {
	used := map[string]bool{}
	for _, s := range l.out.Services {
		for _, n := range s.Networks {
			used[n.Network] = true
		}
	}
	for key, c := range l.model.Networks {
		if !used[key] {
			l.unused("networks", key, func(s types.ServiceConfig) bool { _, ok := s.Networks[key]; return ok })
			continue
		}
		l.objectName([]string{"networks", key, "name"}, c.Name)
		n := desired.Network{
			Key: key, Name: c.Name, External: bool(c.External), Driver: c.Driver, DriverOpts: filled(c.DriverOpts),
			Internal: c.Internal, Attachable: c.Attachable, EnableIPv4: c.EnableIPv4, EnableIPv6: c.EnableIPv6,
			Labels: filled(c.Labels), IPAM: ipam(c.Ipam),
		}
		l.out.Networks[key] = n
	}
}

// objectName refuses what the engine would not take for a name of a network or a
// volume: a path would be bound, and container:NAME joined.
func (l *loader) objectName(p []string, name string) {
	if strings.HasPrefix(name, "/") || strings.Contains(name, ":") {
		l.wrong(p, strconv.Quote(name)+" is not a name", "write the name that the engine lists, without / at its beginning and without a colon")
	}
}

func ipam(c types.IPAMConfig) *desired.IPAM {
	if c.Driver == "" && len(c.Config) == 0 && len(c.Options) == 0 {
		return nil
	}
	out := &desired.IPAM{Driver: c.Driver, Options: filled(c.Options)}
	for _, p := range c.Config {
		if p != nil {
			out.Pools = append(out.Pools, desired.IPAMPool{Subnet: p.Subnet, IPRange: p.IPRange, Gateway: p.Gateway, Aux: filled(p.AuxiliaryAddresses)})
		}
	}
	return out
}

// unused notes an object that no service uses, not even one of a profile that
// is not active.
func (l *loader) unused(section, key string, uses func(types.ServiceConfig) bool) {
	for _, s := range l.model.DisabledServices {
		if uses(s) {
			return
		}
	}
	if p := []string{section, key}; l.written(p) {
		l.noteAt(p, "no service uses it, so it is not made")
	}
}

func (l *loader) volumes() {
	used := map[string]bool{}
	for _, s := range l.out.Services {
		for _, m := range s.Mounts {
			if m.Type == desired.MountVolume {
				used[m.Source] = true
			}
		}
	}
	for key, c := range l.model.Volumes {
		if !used[key] {
			l.unused("volumes", key, func(s types.ServiceConfig) bool {
				return slices.ContainsFunc(s.Volumes, func(v types.ServiceVolumeConfig) bool { return v.Type == "volume" && v.Source == key })
			})
			continue
		}
		l.objectName([]string{"volumes", key, "name"}, c.Name)
		p := []string{"volumes", key, "driver_opts", "device"}
		if o := c.DriverOpts; strings.Contains(","+o["o"]+",", ",bind,") && !strings.HasPrefix(o["device"], "/") || strings.HasPrefix(o["device"], l.stage.top) {
			l.wrong(p, "the device of a bind is a relative path", "write an absolute path of the host")
		}
		l.out.Volumes[key] = desired.Volume{
			Key: key, Name: c.Name, External: bool(c.External), Driver: c.Driver, DriverOpts: filled(c.DriverOpts), Labels: filled(c.Labels),
		}
	}
}
