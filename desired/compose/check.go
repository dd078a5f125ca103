package compose

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fairlead/fairlead/desired"
)

// check looks for what cannot run although every key is right.
func (l *loader) check() {
	names := mapKeys(l.out.Services)
	for _, name := range names {
		s := l.out.Services[name]
		l.checkReferences(s)
		l.checkReplicas(s)
		l.checkStartFirst(s)
	}
	l.checkNames(names)
	l.checkPorts(names)
	l.checkCycles(names)
	l.checkCompletion(names)
	l.checkOptions()
	l.bounded()
}

// checkReferences follows service:NAME in the keys that share a namespace.
func (l *loader) checkReferences(s desired.Service) {
	for key, value := range map[string]string{"ipc": s.IPC, "pid": s.PID} {
		if name, ok := strings.CutPrefix(value, "service:"); ok {
			l.referTo([]string{"services", s.Name, key}, name)
		}
	}
}

// single gives the first thing of a service that only one container can have
// at a time, and its path.
func single(s desired.Service) (string, []string) {
	p := []string{"services", s.Name}
	if s.ContainerName != "" {
		return "container_name", append(p, "container_name")
	}
	for _, n := range s.Networks {
		switch {
		case n.IPv4 != "":
			return "a static address", append(p, "networks", n.Network, "ipv4_address")
		case n.IPv6 != "":
			return "a static address", append(p, "networks", n.Network, "ipv6_address")
		case n.MacAddress != "":
			return "a fixed mac_address", append(p, "networks", n.Network, "mac_address")
		}
	}
	for i, port := range s.Ports {
		if port.Published != "" && !strings.Contains(port.Published, "-") {
			return "a fixed host port", append(p, "ports", itoa(i))
		}
	}
	return "", nil
}

func (l *loader) checkReplicas(s desired.Service) {
	if what, p := single(s); what != "" && s.Replicas > 1 {
		l.wrong(p, fmt.Sprintf("%s and %d replicas: only one container can have it", what, s.Replicas), "take it out, or run one replica")
	}
}

func (l *loader) checkStartFirst(s desired.Service) {
	if what, p := single(s); what != "" && s.UpdateOrder == "start-first" {
		l.wrong(p, what+" and update_config.order start-first: the old and the new container run at once", "take it out, or write order: stop-first")
	}
}

func (l *loader) checkNames(names []string) {
	owner := map[string]string{}
	for _, name := range names {
		s := l.out.Services[name]
		c := s.ContainerName
		p := []string{"services", name, "container_name"}
		if c != "" && !containerName.MatchString(c) {
			l.wrong(p, c+" is not a container name", "use letters, digits, _ . and -, beginning with a letter or digit")
		}
		if other, taken := owner[c]; taken && c != "" {
			l.wrong(p, c+" is the container_name of "+other+" too", "give each service its own")
		}
		owner[c] = name
	}
}

// containerName is what the engine allows.
var containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// binding is one fixed port of the host.
type binding struct {
	service string
	index   int
	port    desired.Port
}

func (l *loader) checkPorts(names []string) {
	byPort := map[string][]binding{}
	for _, name := range names {
		s := l.out.Services[name]
		if s.Replicas == 0 {
			continue
		}
		for i, p := range s.Ports {
			if p.Published == "" || strings.Contains(p.Published, "-") {
				continue
			}
			key := p.Published + "/" + p.Protocol
			for _, b := range byPort[key] {
				if overlap(b.port.HostIP, p.HostIP) {
					l.wrong([]string{"services", name, "ports", itoa(i)},
						fmt.Sprintf("the host port %s is published by %s too", p.Published, b.service), "publish one of them on another port or address")
				}
			}
			byPort[key] = append(byPort[key], binding{name, i, p})
		}
	}
}

// overlap tells whether two listening addresses exclude each other.
func overlap(a, b string) bool {
	if a == b || a == "" || b == "" {
		return true
	}
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	if errX != nil || errY != nil {
		return false
	}
	return x == y || x.Is4() == y.Is4() && (x.IsUnspecified() || y.IsUnspecified())
}

// checkCycles finds services that wait for each other.
func (l *loader) checkCycles(names []string) {
	const (
		open = 1
		done = 2
	)
	state := map[string]int{}
	var stack []string
	var visit func(name string)
	visit = func(name string) {
		state[name] = open
		stack = append(stack, name)
		for _, d := range l.out.Services[name].DependsOn {
			switch state[d.Service] {
			case open:
				circle := append(slices.Clone(stack[slices.Index(stack, d.Service):]), d.Service)
				l.wrong([]string{"services", name, "depends_on", d.Service}, "the services wait for each other: "+strings.Join(circle, " → "), "take one of the dependencies out")
			case 0:
				visit(d.Service)
			}
		}
		stack = stack[:len(stack)-1]
		state[name] = done
	}
	for _, name := range names {
		if state[name] == 0 {
			visit(name)
		}
	}
}

// checkCompletion finds those who wait for the end of what never ends.
func (l *loader) checkCompletion(names []string) {
	for _, name := range names {
		for _, d := range l.out.Services[name].DependsOn {
			r := l.out.Services[d.Service].Restart.Name
			if d.Condition == desired.Completed && (r == "always" || r == "unless-stopped") {
				l.wrong([]string{"services", name, "depends_on", d.Service}, d.Service+" is restarted whenever it ends (restart: "+r+"), so it never completes",
					`write restart: "no" or on-failure there, or wait for service_started`)
			}
		}
	}
}

// checkOptions looks at the options of short volume entries: compose-go drops
// the ones it does not know.
func (l *loader) checkOptions() {
	for _, s := range l.sources {
		for _, doc := range s.docs {
			services := deref(valueIn(doc, []string{"services"}, s.lists))
			if services == nil || services.Kind != yaml.MappingNode {
				continue
			}
			for i := 0; i+1 < len(services.Content); i += 2 {
				name := services.Content[i].Value
				if _, on := l.model.Services[name]; on && !s.template {
					l.volumeOptions(s, name, services.Content[i+1])
				}
			}
		}
	}
}

var knownOptions = []string{
	"ro", "rw", "z", "Z", "nocopy", "private", "rprivate", "shared", "rshared", "slave", "rslave", "",
}

// sameTarget reports a second entry for one target in the same list: compose-go
// would keep only the last one.
func (l *loader) sameTarget(s *source, service string, i int, n *yaml.Node, targets map[string]int) {
	target := ""
	if part := strings.Split(n.Value, ":"); len(part) > 1 {
		target = part[1]
	}
	if _, v := child(n, "target"); v != nil {
		target = v.Value
	}
	if target = path.Clean(target); !path.IsAbs(target) || strings.Contains(target, "$") {
		return
	}
	if line, dup := targets[target]; dup {
		where := at{s.path, n.Line, field([]string{"services", service, "volumes", itoa(i)})}
		l.problem(where, where.field, &fileError{text: fmt.Sprintf("the target %s is mounted twice (first on line %d)", target, line), hint: "keep one of them"})
	}
	targets[target] = n.Line
}

func (l *loader) volumeOptions(s *source, service string, node *yaml.Node) {
	_, list := child(node, "volumes")
	targets := map[string]int{}
	for i, n := range oneOrMore(list) {
		n = deref(n)
		l.sameTarget(s, service, i, n, targets)
		part := strings.Split(n.Value, ":")
		if n.Kind != yaml.ScalarNode || len(part) < 3 || strings.Contains(n.Value, "$") {
			continue
		}
		where := at{s.path, n.Line, field([]string{"services", service, "volumes", itoa(i)})}
		for opt := range strings.SplitSeq(part[len(part)-1], ",") {
			switch {
			case slices.Contains(knownOptions, opt):
			case opt == "cached" || opt == "delegated" || opt == "consistent":
				l.note(where, "the option "+opt+" has no effect on Linux")
			default:
				l.problem(where, where.field, &fileError{text: "unknown mount option " + opt, hint: "known are ro, rw, z, Z, nocopy and the propagation modes"})
			}
		}
	}
}
