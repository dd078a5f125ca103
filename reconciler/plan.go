package reconciler

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// Held is something that the target asks for and that is not done, with why.
// It becomes a condition, so that nothing is skipped in silence.
type Held struct {
	Kind    Kind   `json:"kind,omitempty"`
	Name    string `json:"name,omitempty"`
	Reason  string `json:"reason"`  // one word: EmptySpec, NameTaken, VolumeDiffers
	Message string `json:"message"` // what is wrong and what to do
}

// Planned is the difference between a target and what is there.
type Planned struct {
	Actions []Action `json:"actions,omitempty"`
	Held    []Held   `json:"held,omitempty"`
}

// Empty reports whether there is nothing to do.
func (p Planned) Empty() bool { return len(p.Actions) == 0 }

// Plan says what leads from what is there to the target. It is pure: equal
// inputs give equal plans, and the plan after a successful apply is empty. What
// was not observed is left alone (law 3); what is not owned is never touched
// (law 5), and a volume is never removed or made anew.
//
// Actions come in the order in which they are applied: networks, volumes,
// removals of containers (they may hold a port or a name), containers with
// their dependencies first, removals of networks. Connectors come last, and are
// carried out by saying what is wanted.
func Plan(t Target, have Observed) Planned {
	if have.Containers == nil {
		return Planned{}
	}
	if len(t.Spec.Services) == 0 && len(have.Containers) > 0 && !t.Spec.AllowEmpty {
		return Planned{Held: []Held{{
			Reason: "EmptySpec",
			Message: fmt.Sprintf("the revision has no service left and would remove all %d containers; "+
				"set allowEmpty: true in instance.yaml if that is meant", len(have.Containers)),
		}}}
	}
	p := planner{t: t, have: have, replaced: map[string]string{}}
	p.networks()
	p.volumes()
	p.unwantedContainers()
	for _, name := range StartOrder(t.Spec) {
		p.service(t.Spec.Services[name])
	}
	p.unwantedNetworks()
	p.connectors()
	return p.out
}

// planner carries the plan that is being made.
type planner struct {
	t    Target
	have Observed
	out  Planned
	// replaced says why services and networks get a new object, so that what
	// hangs on them follows: "service:app" or "network:front".
	replaced map[string]string
}

func (p *planner) add(a Action) { p.out.Actions = append(p.out.Actions, a) }

func (p *planner) hold(kind Kind, name, reason, format string, args ...any) {
	p.out.Held = append(p.out.Held, Held{kind, name, reason, fmt.Sprintf(format, args...)})
}

func (p *planner) networks() {
	if p.have.Networks == nil {
		return
	}
	for _, key := range sortedKeys(p.t.Spec.Networks) {
		n := p.t.Spec.Networks[key]
		if n.External {
			continue // its absence is an error of Prepare, which touches nothing
		}
		got, there := p.have.Networks[n.Name]
		switch {
		case !there:
			p.add(Action{Kind: KindNetwork, Verb: Create, Name: key, Object: n.Name, Reason: "missing"})
		case !got.Owned:
			p.hold(KindNetwork, key, "NameTaken", "network %s exists but is not Fairlead's; "+
				"remove it (docker network rm %[1]s) or declare it external: true", n.Name)
		case got.Hash != n.Hash():
			p.replaced["network:"+key] = "its network " + n.Name + " is replaced"
			p.add(Action{Kind: KindNetwork, Verb: Replace, Name: key, Object: n.Name, Reason: "configuration changed"})
		}
	}
}

func (p *planner) volumes() {
	if p.have.Volumes == nil {
		return
	}
	for _, key := range sortedKeys(p.t.Spec.Volumes) {
		v := p.t.Spec.Volumes[key]
		if v.External {
			continue
		}
		got, there := p.have.Volumes[v.Name]
		switch {
		case !there:
			p.add(Action{Kind: KindVolume, Verb: Create, Name: key, Object: v.Name, Reason: "missing"})
		case got.Owned && got.Hash != v.Hash():
			p.hold(KindVolume, key, "VolumeDiffers", "volume %s was made with other driver options and is kept as it is, "+
				"since making it anew would lose its data; back it up and remove it yourself, or give the new one another name", v.Name)
		}
	}
}

func (p *planner) unwantedNetworks() {
	wanted := map[string]bool{}
	for _, n := range p.t.Spec.Networks {
		wanted[n.Name] = true
	}
	for _, name := range sortedKeys(p.have.Networks) {
		if n := p.have.Networks[name]; n.Owned && !wanted[name] {
			p.add(Action{Kind: KindNetwork, Verb: Remove, Name: name, Object: name, Reason: "no longer in the specification"})
		}
	}
}

// unwantedContainers plans the removal of containers whose service or replica
// is gone, dependents first.
func (p *planner) unwantedContainers() {
	var gone []Container
	for _, c := range p.have.Containers {
		s, known := p.t.Spec.Services[c.Service]
		if (!known || c.Replica > s.Replicas) && c.Slot == SlotCurrent {
			gone = append(gone, c)
		}
	}
	slices.SortFunc(gone, func(a, b Container) int {
		return cmp.Or(strings.Compare(b.Service, a.Service), cmp.Compare(b.Replica, a.Replica), strings.Compare(a.Name, b.Name))
	})
	for _, c := range gone {
		reason := "no longer in the specification"
		if s, known := p.t.Spec.Services[c.Service]; known {
			reason = fmt.Sprintf("replicas: %d", s.Replicas)
		}
		p.add(Action{Kind: KindContainer, Verb: Remove, Name: c.Service, Replica: c.Replica, Object: c.Name, Reason: reason})
	}
}

func (p *planner) service(s desired.Service) {
	for replica := 1; replica <= s.Replicas; replica++ {
		a, needed := p.container(s, replica)
		if !needed {
			continue
		}
		if holder, taken := p.have.Foreign[a.Object]; taken {
			p.hold(KindContainer, s.Name, "NameTaken", "the name %s is held by a container that is not Fairlead's (%s); "+
				"remove or rename it, or for a whole compose project: docker compose -p PROJECT down", a.Object, holder)
			continue
		}
		if a.Verb != Update {
			p.replaced["service:"+s.Name] = "its service " + s.Name + " is replaced"
		}
		p.add(a)
	}
}

// container plans one replica; needed is false when it is as it should be.
func (p *planner) container(s desired.Service, replica int) (a Action, needed bool) {
	a = Action{Kind: KindContainer, Name: s.Name, Replica: replica, Object: p.t.Spec.ContainerName(s.Name, replica)}
	current, others, spare := p.find(s, replica)
	switch {
	case current == nil && spare:
		a.Verb, a.Reason = Create, "the container that was set aside returns"
		return a, true
	case current == nil:
		a.Verb, a.Reason = Create, "missing"
		return a, true
	}
	if reason, changes := p.mustReplace(s, *current); reason != "" {
		a.Verb, a.Reason, a.Changes = Replace, reason, changes
		return a, true
	}
	a.Changes = p.fixes(s, *current, a.Object)
	for _, o := range others {
		a.Changes = append(a.Changes, Change{"duplicate", o.Name, "(removed)"})
	}
	if len(a.Changes) == 0 {
		return a, false
	}
	a.Verb, a.Reason = Update, fixReason(a.Changes)
	return a, true
}

// find returns the container that serves a replica, others that claim to, and
// whether one that was set aside fits the target.
func (p *planner) find(s desired.Service, replica int) (current *Container, others []Container, spare bool) {
	proper := p.t.Spec.ContainerName(s.Name, replica)
	for i, c := range p.have.Containers {
		if c.Service != s.Name || c.Replica != replica {
			continue
		}
		if c.Slot != SlotCurrent {
			spare = spare || p.fits(s, c)
			continue
		}
		switch {
		case current == nil:
			current = &p.have.Containers[i]
		case current.Name != proper && c.Name == proper:
			others = append(others, *current)
			current = &p.have.Containers[i]
		default:
			others = append(others, c)
		}
	}
	return current, others, spare
}

// fits reports whether a container was made from what the service says now.
func (p *planner) fits(s desired.Service, c Container) bool {
	return c.Hash == s.Hash() && p.imageFits(s, c)
}

// imageFits compares image IDs where the target knows them, else references:
// an image that is not resolved yet is only as different as its name. One that
// was not fetched yet has no ID, and is compared by its digest.
func (p *planner) imageFits(s desired.Service, c Container) bool {
	img, known := p.t.Images[s.Image]
	switch {
	case known && img.ID != "":
		return img.ID == c.ImageID
	case known:
		return sameDigest(img.Digest, p.have.Digests[c.ImageID])
	}
	return s.Image == c.ImageRef
}

// mustReplace says why a container cannot stay; empty when it can.
func (p *planner) mustReplace(s desired.Service, c Container) (reason string, changes []Change) {
	if !p.imageFits(s, c) {
		changes = append(changes, p.imageChange(s, c))
	}
	if c.Hash != s.Hash() {
		changes = append(changes, p.fieldChanges(s, c)...)
	}
	if len(changes) > 0 {
		return "changed: " + fieldList(changes), changes
	}
	for _, ch := range c.Changed {
		if ch.Field == "container" {
			return "re-created by other hands", []Change{ch}
		}
	}
	if c.State == StateDead || c.State == StateRemoving {
		return "state is " + string(c.State), nil
	}
	return p.dependencyReplaced(s, c), nil
}

// dependencyReplaced says which replaced object makes a new container necessary.
func (p *planner) dependencyReplaced(s desired.Service, c Container) string {
	for _, n := range s.Networks {
		if reason := p.replaced["network:"+n.Network]; reason != "" {
			return reason
		}
	}
	for _, peer := range Peers(s) {
		if reason := p.replaced["service:"+peer]; reason != "" {
			return reason
		}
		if id := c.Peers[peer]; id != "" && !p.serves(peer, id) {
			return "the container of " + peer + " whose namespace it shares is gone"
		}
	}
	for _, d := range s.DependsOn {
		if reason := p.replaced["service:"+d.Service]; d.Restart && reason != "" {
			return reason + " (depends_on restart: true)"
		}
	}
	return ""
}

func (p *planner) serves(service, id string) bool {
	return slices.ContainsFunc(p.have.Containers, func(c Container) bool {
		return c.Service == service && c.ID == id && c.Slot == SlotCurrent
	})
}

// fixes lists what can be put right without a new container.
func (p *planner) fixes(s desired.Service, c Container, proper string) (changes []Change) {
	if c.Name != proper {
		changes = append(changes, Change{"name", c.Name, proper})
	}
	switch c.State {
	case StatePaused:
		changes = append(changes, Change{"state", "paused", "running"})
	case StateCreated:
		changes = append(changes, Change{"state", "created", "running"})
	case StateExited:
		if done := c.Completed || (s.Job && c.ExitCode == 0); !done {
			changes = append(changes, Change{"state", fmt.Sprintf("exited (%d)", c.ExitCode), "running"})
		}
	}
	for _, n := range s.Networks {
		name := p.t.Spec.Networks[n.Network].Name
		if !slices.Contains(c.Networks, name) {
			changes = append(changes, Change{"networks", "(disconnected)", name})
		}
	}
	return append(changes, c.Changed...)
}

func fixReason(changes []Change) string {
	switch changes[0].Field {
	case "name":
		return "renamed by other hands"
	case "state":
		return "is " + changes[0].Old
	case "networks":
		return "disconnected from " + changes[0].New
	case "namespace":
		return "the process whose namespace it shares was started anew"
	case "duplicate":
		return "another container carries its labels"
	}
	return "changed by other hands: " + fieldList(changes)
}

func fieldList(changes []Change) string {
	var names []string
	for _, c := range changes {
		if !slices.Contains(names, c.Field) {
			names = append(names, c.Field)
		}
	}
	if len(names) > 4 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}
