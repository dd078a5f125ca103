package desired

// PolicySpec is the policy of an instance as it was read.
type PolicySpec struct {
	Images     []string `json:"images,omitempty"`
	HostMounts []string `json:"host_mounts,omitempty"`
	Privileged *bool    `json:"privileged,omitempty"`
}

// bounds are those that this instance must keep: the host's and its own.
func (l *loader) bounds() []Bounds {
	all := append([]Bounds{}, l.in.Bounds...)
	if p := l.file.Policy; p != nil && !l.file.bad("policy") {
		all = append(all, Bounds{Of: "the policy in " + l.file.file, Images: p.Images, HostMounts: p.HostMounts, Privileged: p.Privileged})
	}
	return all
}

// policy is what instance.yaml asks of its revisions; nil: nothing.
func (l *loader) policy() *PolicySpec {
	p := l.file.Policy
	if p == nil {
		return nil
	}
	return &PolicySpec{Images: p.Images, HostMounts: p.HostMounts, Privileged: p.Privileged}
}

// forbid adds what a policy does not permit.
func (p *document) forbid(field string, b *Breach) {
	if b != nil {
		p.problems.add(Problem{File: p.file, Line: p.line(field), Field: field, Text: b.Text, Hint: b.Hint, Rule: b.Rule})
	}
}

// boundImages looks at the images that are named outside of compose files.
func (l *loader) boundImages(connectors map[string]ConnectorSpec) {
	for _, b := range l.bounds() {
		if r := l.file.Release; r != nil && !l.file.bad("release") {
			l.file.forbid("release.image", b.Image(r.Image))
		}
		for _, c := range l.connectors {
			if program := connectors[c.name].Program; program != nil && !program.Host {
				c.forbid("image", b.Image(program.Image))
			}
		}
	}
}
