package reconciler

import (
	"slices"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// SwitchReport says what users notice when a service that the front leads to is
// replaced.
type SwitchReport struct {
	Service string   `json:"service"`
	Hosts   []string `json:"hosts"`
	// Held says that requests wait while the old one stops and the new one
	// starts; otherwise both run for a while, and nobody waits.
	Held bool `json:"held"`
	// HoldFor is how long a request waits at most.
	HoldFor time.Duration `json:"hold_ns,omitempty"`
	// Last is how long the last replacement took, from the history; 0: unknown.
	Last time.Duration `json:"last_ns,omitempty"`
}

// switches lists what a plan does to the services that the front leads to.
func (r *Instance) switches(spec desired.Spec, p Planned) []SwitchReport {
	if r.cfg.Traffic == nil {
		return nil
	}
	var out []SwitchReport
	for _, f := range spec.Front {
		if !slices.ContainsFunc(p.Actions, func(a Action) bool { return r.noticed(a, f) }) {
			continue
		}
		if i := slices.IndexFunc(out, func(s SwitchReport) bool { return s.Service == f.Service }); i >= 0 {
			out[i].Hosts = append(out[i].Hosts, f.Host)
			out[i].HoldFor = min(out[i].HoldFor, f.Hold)
			continue
		}
		svc := spec.Services[f.Service]
		out = append(out, SwitchReport{Service: f.Service, Hosts: []string{f.Host}, HoldFor: f.Hold,
			Held: svc.UpdateOrder != startFirst && svc.Replicas == 1})
	}
	r.rememberGaps(out)
	return out
}

// noticed reports whether an action is a switch of a route: its service is
// replaced, or the service that it leads to now is removed.
func (r *Instance) noticed(a Action, f desired.FrontRoute) bool {
	if a.Kind != KindContainer {
		return false
	}
	return a.Verb == Replace && a.Name == f.Service || a.Verb == Remove && a.Name != f.Service && r.routing.leadsHost(f.Host, a.Name)
}

// rememberGaps fills in how long the newest replacement of each service took.
func (r *Instance) rememberGaps(switches []SwitchReport) {
	records, err := r.History(maxRecords)
	if err != nil {
		return
	}
	for i := range switches {
		for _, rec := range records {
			j := slices.IndexFunc(rec.Gaps, func(g Gap) bool { return g.Service == switches[i].Service })
			if j >= 0 && rec.Outcome == Applied {
				switches[i].Last = rec.Gaps[j].For
				break
			}
		}
	}
}
