package reconciler

import (
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// StartOrder returns the services so that each comes after what it depends on;
// among equals, by name. The loader has refused cycles; should there be one,
// its services still come out, in order of name.
func StartOrder(s desired.Spec) []string {
	var order []string
	done := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		service, known := s.Services[name]
		if !known || done[name] {
			return
		}
		done[name] = true
		for _, dep := range needs(service) {
			visit(dep)
		}
		order = append(order, name)
	}
	for _, name := range s.ServiceNames() {
		visit(name)
	}
	return order
}

// needs lists the services that must be started before this one, sorted.
func needs(s desired.Service) []string {
	deps := Peers(s)
	for _, d := range s.DependsOn {
		deps = append(deps, d.Service)
	}
	for _, l := range s.Links {
		name, _, _ := strings.Cut(l, ":")
		deps = append(deps, name)
	}
	slices.Sort(deps)
	return slices.Compact(deps)
}

// Peers lists, sorted, the services whose container this one shares a namespace or
// volumes with: it has to be made anew whenever they are.
func Peers(s desired.Service) (peers []string) {
	for _, mode := range append([]string{s.NetworkMode, s.IPC, s.PID}, s.VolumesFrom...) {
		name, found := strings.CutPrefix(mode, "service:")
		if !found {
			continue
		}
		name, _, _ = strings.Cut(name, ":")
		if !slices.Contains(peers, name) {
			peers = append(peers, name)
		}
	}
	slices.Sort(peers)
	return peers
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
