package docker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/versions"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// gate is a field that engines below an API version refuse or, worse, drop
// without a word: a volume's subpath mounts the whole volume before 1.45.
type gate struct {
	field  string
	api    string
	engine string // the first release with that API
	used   func(desired.Service) bool
}

// What can be had another way on older engines is not in the list:
// create_host_path (the bind syntax), several networks (joined before the
// start), the first network's MAC address (the container's own).
var gates = []gate{
	{"annotations", "1.43", "24.0", func(s desired.Service) bool { return len(s.Annotations) > 0 }},
	{"healthcheck.start_interval", "1.44", "25.0", func(s desired.Service) bool {
		return s.Healthcheck != nil && s.Healthcheck.StartInterval > 0
	}},
	{"networks.mac_address (not of the first network)", "1.44", "25.0", func(s desired.Service) bool {
		return len(s.Networks) > 1 && slices.ContainsFunc(s.Networks[1:], func(n desired.ServiceNetwork) bool { return n.MacAddress != "" })
	}},
	{"networks.gw_priority", "1.48", "28.0", anyNetwork(func(n desired.ServiceNetwork) bool { return n.GwPriority != 0 })},
	{"networks.driver_opts (endpoint.sysctls)", "1.46", "27.0", anyNetwork(func(n desired.ServiceNetwork) bool {
		_, ok := n.DriverOpts["com.docker.network.endpoint.sysctls"]
		return ok
	})},
	{"networks.interface_name", "1.49", "28.1", anyNetwork(func(n desired.ServiceNetwork) bool {
		_, ok := n.DriverOpts["com.docker.network.endpoint.ifname"]
		return ok
	})},
	{"volumes.bind.recursive", "1.44", "25.0", anyMount(func(m desired.Mount) bool {
		return m.Recursive == "writable" || m.Recursive == "readonly"
	})},
	{"volumes.bind.recursive with create_host_path", "1.42", "23.0", anyMount(func(m desired.Mount) bool {
		return m.CreateHost && m.Recursive != "" && m.Recursive != "enabled"
	})},
	{"volumes.source with a colon and create_host_path", "1.42", "23.0", anyMount(func(m desired.Mount) bool {
		return m.Type == desired.MountBind && m.CreateHost && strings.Contains(m.Source+m.Target, ":")
	})},
	{"volumes.volume.subpath", "1.45", "26.0", anyMount(func(m desired.Mount) bool {
		return m.Type == desired.MountVolume && m.Subpath != ""
	})},
	{"volumes.type image", "1.48", "28.0", anyMount(func(m desired.Mount) bool { return m.Type == desired.MountImage })},
	{"devices (CDI)", "1.44", "25.0", func(s desired.Service) bool {
		return slices.ContainsFunc(s.Devices, func(d desired.Device) bool { return isCDI(d.Host) })
	}},
}

func anyMount(f func(desired.Mount) bool) func(desired.Service) bool {
	return func(s desired.Service) bool { return slices.ContainsFunc(s.Mounts, f) }
}

func anyNetwork(f func(desired.ServiceNetwork) bool) func(desired.Service) bool {
	return func(s desired.Service) bool { return slices.ContainsFunc(s.Networks, f) }
}

// checkGates says everything of the spec that this engine would not carry.
func checkGates(api string, spec desired.Spec) error {
	var errs []error
	for _, name := range spec.ServiceNames() {
		for _, g := range gates {
			if versions.LessThan(api, g.api) && g.used(spec.Services[name]) {
				errs = append(errs, fmt.Errorf("service %s: %s needs engine %s or later (API %s); this one has API %s", name, g.field, g.engine, g.api, api))
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(spec.Networks)) {
		if n := spec.Networks[k]; n.EnableIPv4 != nil && !*n.EnableIPv4 && versions.LessThan(api, "1.48") {
			errs = append(errs, fmt.Errorf("network %s: enable_ipv4: false needs engine 28.0 or later (API 1.48); this one has API %s", k, api))
		}
	}
	return reconciler.Terminal(errors.Join(errs...))
}
