package desired

import (
	"fmt"
	"slices"
	"strings"
)

// PrivilegeBreach is a Breach with the key of the service that it is about, as
// a path below services.NAME.
type PrivilegeBreach struct {
	Path []string
	Breach
}

// plainCapabilities are those that the engine gives a container that asks for
// none (moby, daemon/pkg/oci/caps/defaults.go). All of them together are not
// root on the host.
var plainCapabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
	"NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
}

// Privileges lists what in a service is, or may become, root on the host. It
// is what the baseline of Kubernetes' Pod Security Standards forbids, with
// what compose has besides.
func (b Bounds) Privileges(s Service) (found []PrivilegeBreach) {
	if !b.confined() {
		return nil
	}
	add := func(what, hint string, path ...string) {
		found = append(found, PrivilegeBreach{path, *b.breach(RulePrivileged, what, hint)})
	}
	if s.Privileged {
		add("a privileged container is root on the host", "remove the key, and add by cap_add what the service needs", "privileged")
	}
	for i, c := range s.CapAdd {
		if name := strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(c)), "CAP_"); !slices.Contains(plainCapabilities, name) {
			add("the capability "+clip(c), "those that may be added are "+listed(plainCapabilities), "cap_add", fmt.Sprint(i))
		}
	}
	for i, opt := range s.SecurityOpt {
		if !plainSecurity(opt) {
			add("the security option "+clip(opt), "those that take nothing away are no-new-privileges, seccomp=builtin, a named AppArmor profile and label=level:…",
				"security_opt", fmt.Sprint(i))
		}
	}
	for _, ns := range []struct{ key, value string }{{"pid", s.PID}, {"ipc", s.IPC}, {"network_mode", s.NetworkMode}, {"uts", s.UTS}, {"userns_mode", s.UsernsMode}, {"cgroup", s.Cgroup}} {
		if ns.value == "host" || strings.HasPrefix(ns.value, "container:") {
			add(ns.key+" "+clip(ns.value)+" shares what is not the instance's own", "share with service:NAME, or leave the key out", ns.key)
		}
	}
	for i, d := range s.Devices {
		add("the device "+clip(d.Host), "remove it, or ask for privileged: true there", "devices", fmt.Sprint(i))
	}
	for i, r := range s.DeviceCgroupRules {
		add("the device rule "+clip(r), "remove it, or ask for privileged: true there", "device_cgroup_rules", fmt.Sprint(i))
	}
	for i, v := range s.VolumesFrom {
		if strings.HasPrefix(v, "container:") {
			add("the volumes of "+clip(v)+", which is not the instance's own", "mount a named volume, or write service:NAME", "volumes_from", fmt.Sprint(i))
		}
	}
	return found
}

// plainSecurity says whether a security option leaves a container at least as
// confined as it is without. A seccomp profile of one's own may permit all.
func plainSecurity(opt string) bool {
	name, value, ok := strings.Cut(opt, "=")
	if !ok {
		name, value, _ = strings.Cut(opt, ":")
	}
	switch name {
	case "no-new-privileges":
		return true
	case "seccomp":
		return value == "builtin"
	case "apparmor":
		return value != "unconfined" && value != ""
	case "label":
		return strings.HasPrefix(value, "level:")
	}
	return false
}
