package desired

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Bounds say how much of the host an instance may ask for. Each bounds only
// when it is there: a nil list and a nil Privileged permit everything, and an
// empty list nothing.
type Bounds struct {
	// Of is whose they are, as people call it: "the policy of this host".
	Of         string
	Images     []string // globs, see matchImage
	HostMounts []string // directories of the host
	Privileged *bool
	// Private are directories and sockets that nothing unprivileged may mount,
	// beside those of every host; Shared are parts of them that it may.
	Private, Shared []string
}

// Breach is something that Bounds do not permit.
type Breach struct {
	Rule string // the key of the policy: policy.images
	Text string // what is asked for, and who does not permit it
	Hint string
}

// The keys that a Breach names.
const (
	RuleImages     = "policy.images"
	RulePrivileged = "policy.privileged"
	RuleHostMounts = "policy.hostMounts"
	RuleSigned     = "policy.requireSignedCommits"
)

func (b Bounds) breach(rule, text, hint string) *Breach {
	return &Breach{Rule: rule, Text: text + ": " + b.Of + " does not permit it", Hint: hint}
}

// Image says whether an image may run; nil: it may. Tag and digest do not
// matter. What names no repository is never permitted by a list.
func (b Bounds) Image(ref string) *Breach {
	if b.Images == nil || ref == "" {
		return nil
	}
	repository, ok := repositoryOf(ref)
	if ok && slices.ContainsFunc(b.Images, func(glob string) bool { return matchImage(glob, repository) }) {
		return nil
	}
	hint := "no image may run"
	if len(b.Images) > 0 {
		hint = "permitted are " + listed(b.Images)
	}
	if !ok {
		return b.breach(RuleImages, fmt.Sprintf("%q names no repository", clip(ref)), hint)
	}
	return b.breach(RuleImages, "the image "+clip(repository), hint)
}

// repositoryOf is the repository of a reference, spelt out. The ID of an image
// passes for a reference, and names what no registry answers for.
func repositoryOf(ref string) (string, bool) {
	r, err := ParseImageRef(ref)
	if err != nil || r.Repository == "sha256" || len(r.Repository) == 64 && strings.Trim(r.Repository, "0123456789abcdef") == "" {
		return "", false
	}
	return spelt(r.Repository), true
}

// spelt spells a repository, or a glob of some, out. The name of a host has no
// case (RFC 4343); the engine allows it only there.
func spelt(repository string) string {
	domain, rest, _ := strings.Cut(CanonicalRepository(repository), "/")
	if domain = strings.ToLower(domain); domain == "index.docker.io" {
		domain = "docker.io"
	}
	return domain + "/" + rest
}

// matchImage matches a repository that is spelt out: a star is a part of one
// name between slashes, and ** at the end is one name or more.
func matchImage(glob, repository string) bool {
	want, have := strings.Split(spelt(glob), "/"), strings.Split(repository, "/")
	if want[len(want)-1] == "**" && len(have) >= len(want) {
		want, have = want[:len(want)-1], have[:len(want)-1]
	}
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// HostPath says whether a directory or file of the host may be mounted. real
// gives where a path leads on this host; nil: nobody can tell.
func (b Bounds) HostPath(name string, real func(string) (string, error)) *Breach {
	if b.HostMounts == nil && !b.confined() {
		return nil
	}
	if !path.IsAbs(name) { // the engine would resolve it by a directory of its own
		return b.breach(b.ruleOfPaths(), fmt.Sprintf("a mount of %q, which is not an absolute path,", clip(name)), "write it from /")
	}
	name = path.Clean(name)
	leads := name
	if real != nil {
		var err error
		if leads, err = real(name); err != nil {
			return b.breach(RuleHostMounts, fmt.Sprintf("nobody can tell where %s leads on this host", clip(name)), "make it a directory, not a link to what is not there")
		}
	}
	shown := clip(name)
	if leads != name {
		shown += ", which is " + clip(leads) + " on this host"
	}
	if at := b.private(leads, real); at != "" && b.confined() {
		return b.breach(RulePrivileged, fmt.Sprintf("a mount of %s gives away %s", shown, at), "mount only what the service needs, or ask for privileged: true there")
	}
	if b.HostMounts == nil {
		return nil
	}
	for _, dir := range b.HostMounts {
		if reaches(leads, leadsTo(dir, real)) {
			return nil
		}
	}
	hint := "no path of the host may be mounted; a named volume, or ./data, needs none"
	if len(b.HostMounts) > 0 {
		hint = "permitted is what lies in " + listed(b.HostMounts)
	}
	return b.breach(RuleHostMounts, "a mount of "+shown, hint)
}

// ruleOfPaths is the key that bounds paths of the host.
func (b Bounds) ruleOfPaths() string {
	if b.HostMounts == nil {
		return RulePrivileged
	}
	return RuleHostMounts
}

// Network says whether a network may be joined. The engine's own "host" is the
// host's, by whatever key it is asked for.
func (b Bounds) Network(n Network) *Breach {
	if b.confined() && n.Name == "host" {
		return b.breach(RulePrivileged, "the network host shares what is not the instance's own", "declare a network of the instance, or leave the key out")
	}
	return nil
}

// Nested says whether a directory of the instance may be mounted that lies in
// another one to which containers write: they can put a link to the host in its
// place, which the engine follows at the next start.
func (b Bounds) Nested(inner, outer string) *Breach {
	if b.HostMounts == nil && !b.confined() || inner == outer || outer != "." && !inside(inner, outer) {
		return nil
	}
	return b.breach(b.ruleOfPaths(), fmt.Sprintf("a mount of ./%s, in which a container that writes to ./%s can put a link to the host,", clip(inner), clip(outer)),
		"mount one of them, directories beside each other, or named volumes")
}

func (b Bounds) confined() bool { return b.Privileged != nil && !*b.Privileged }

// leadsTo is where a directory of a policy leads; one that is not there yet is
// meant as it is written.
func leadsTo(dir string, real func(string) (string, error)) string {
	if real != nil {
		if at, err := real(dir); err == nil {
			return at
		}
	}
	return path.Clean(dir)
}

// reaches says whether a path is a directory or lies in it. Both are clean.
func reaches(name, dir string) bool {
	return name == dir || dir == "/" && strings.HasPrefix(name, "/") || inside(name, dir)
}

// overlaps says whether a mount of one shows something of the other.
func overlaps(a, b string) bool { return reaches(a, b) || reaches(b, a) }

// privatePlaces are where whoever may write, and often who may read, is root:
// the sockets and files of engines, and what the kernel shows of itself.
var privatePlaces = []string{
	"/run/docker.sock", "/var/run/docker.sock", "/run/containerd", "/var/run/containerd", "/run/podman", "/var/run/podman",
	"/run/crio", "/var/run/crio", "/var/lib/docker", "/var/lib/containerd", "/proc", "/sys", "/dev", "/boot",
}

// private is the first private place that a mount of a path would show.
func (b Bounds) private(name string, real func(string) (string, error)) string {
	for _, dir := range b.Shared {
		if reaches(name, leadsTo(dir, real)) {
			return ""
		}
	}
	for _, place := range slices.Concat(b.Private, privatePlaces) {
		if overlaps(name, path.Clean(place)) || overlaps(name, leadsTo(place, real)) {
			return place
		}
	}
	return ""
}

// Volume says whether a volume may be made: the engine's own driver mounts
// whatever its options name.
func (b Bounds) Volume(v Volume, real func(string) (string, error)) *Breach {
	if b.HostMounts == nil && !b.confined() || v.External {
		return nil
	}
	if v.Driver != "" && v.Driver != "local" {
		if b.HostMounts == nil {
			return nil
		}
		return b.breach(RuleHostMounts, fmt.Sprintf("a volume of the driver %s, which may mount anything of the host,", clip(v.Driver)), "use the driver local, or make the volume on the host and write external: true")
	}
	kind, device := v.DriverOpts["type"], v.DriverOpts["device"]
	switch options := strings.Split(v.DriverOpts["o"], ","); {
	case slices.ContainsFunc(options, func(o string) bool { o = strings.TrimSpace(o); return o == "bind" || o == "rbind" }),
		kind == "none", kind == "bind", kind == "" && device != "":
		return b.HostPath(device, real)
	case slices.Contains([]string{"", "tmpfs", "nfs", "nfs4", "cifs", "smb3"}, kind):
		return nil // nothing of the host is named
	}
	return b.breach(b.ruleOfPaths(), fmt.Sprintf("a volume of the type %s, which mounts a device or directories of the host,", clip(kind)), "use a bind of a permitted directory, tmpfs, nfs or cifs")
}
