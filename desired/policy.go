package desired

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"strings"
)

// DefaultProgramImage is what the program of a connector runs in that names no
// image.
const DefaultProgramImage = "python:3.12-slim"

// PolicySpec is the policy of an instance as it was read.
type PolicySpec struct {
	Images     []string `json:"images,omitempty"`
	HostMounts []string `json:"host_mounts,omitempty"`
	Privileged *bool    `json:"privileged,omitempty"`
	// Signed asks for signatures, from the next revision on by those whom
	// Signers lists: the content of SignersFile, a path in the repository.
	Signed      bool   `json:"signed,omitempty"`
	SignersFile string `json:"signers_file,omitempty"`
	Signers     string `json:"signers,omitempty"`
}

// bounds are those that this instance must keep: the host's and its own.
func (l *loader) bounds() []Bounds {
	all := append([]Bounds{}, l.in.Bounds...)
	if p := l.file.Policy; p != nil && !l.file.bad("policy") {
		all = append(all, Bounds{Of: "the policy in " + l.file.file, Images: p.Images, HostMounts: p.HostMounts, Privileged: p.Privileged,
			Private: l.in.Private, Shared: l.in.Shared})
	}
	return all
}

// policy is what instance.yaml asks of its revisions; nil: nothing.
func (l *loader) policy() (*PolicySpec, error) {
	p := l.file.Policy
	if p == nil {
		return nil, nil
	}
	s := &PolicySpec{Images: p.Images, HostMounts: p.HostMounts, Privileged: p.Privileged, Signed: p.RequireSignedCommits}
	if p.AllowedSigners == "" || l.file.bad("policy") {
		return s, nil
	}
	return s, l.signers(p.AllowedSigners, s)
}

// signers reads the file of allowed signers. Its only error is that nothing
// could be read.
func (l *loader) signers(name string, into *PolicySpec) error {
	const field = "policy.allowedSigners"
	file := path.Join(l.dir, name)
	if strings.HasPrefix(file, "../") {
		l.file.add(field, fmt.Sprintf("%q is outside the repository", clip(name)), "")
		return nil
	}
	data, err := readBounded(l.fsys, file)
	switch {
	case err != nil:
		return err
	case data == nil:
		l.file.add(field, fmt.Sprintf("there is no file %q", clip(name)), `add it, with a line for each: jan@acme.com namespaces="git" ssh-ed25519 AAAA…`)
		return nil
	case l.in.Signers == nil:
		l.file.add(field, "cannot be read here: nothing that reads signers is at hand", "")
		return nil
	}
	err = l.in.Signers(file, data)
	var problems Problems
	if errors.As(err, &problems) {
		l.problems = append(l.problems, problems...)
		return nil
	}
	into.SignersFile, into.Signers = file, string(data)
	return err
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
				c.forbid("image", b.Image(cmp.Or(program.Image, DefaultProgramImage)))
			}
		}
	}
}

// boundDeliveries looks at the directories of the host that certificates are
// written to, by root.
func (l *loader) boundDeliveries(certificates map[string]CertificateSpec) {
	for _, b := range l.bounds() {
		for _, name := range sortedKeys(certificates) {
			for i, d := range certificates[name].Deliver {
				l.file.forbid(fmt.Sprintf("certificates.%s.deliver[%d].dir", name, i), b.HostPath(d.Dir, l.in.Real))
			}
		}
	}
}

// CheckImageGlob says why a text is no pattern of images.
func CheckImageGlob(s string) error { return checkSyntax("imageGlob", s) }

// CheckHostPath says why a text is no path of a host.
func CheckHostPath(s string) error { return checkSyntax("hostPath", s) }

func checkSyntax(name, value string) error {
	rule := syntaxes[name]
	if text := rule.text(value); text != "" {
		return fmt.Errorf("%s; %s", text, rule.advice(value))
	}
	return nil
}
