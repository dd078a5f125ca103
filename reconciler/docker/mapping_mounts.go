package docker

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"

	"github.com/fairlead/fairlead/desired"
)

// mapMounts fills Binds, Mounts and Tmpfs. Binds is the older syntax: it alone
// makes a missing host path below API 1.42, and knows SELinux labels.
func mapMounts(b blueprint, h *container.HostConfig) error {
	taken := map[string]bool{}
	for _, m := range b.service.Mounts {
		taken[filepath.Clean(m.Target)] = true
		if err := mapMount(b, m, h); err != nil {
			return err
		}
	}
	// Anonymous volumes of the image go over to the replacement, as they do
	// with docker compose: their data would seem lost otherwise.
	for _, target := range slices.Sorted(maps.Keys(b.volumes)) {
		if name := b.inherit[target]; name != "" && !taken[filepath.Clean(target)] {
			h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: name, Target: target})
		}
	}
	return nil
}

func mapMount(b blueprint, m desired.Mount, h *container.HostConfig) error {
	switch m.Type {
	case desired.MountBind:
		mapBind(b, m, m.Source, h)
	case desired.MountTracked:
		src, err := trackedPath(b.target, m.Source)
		if err != nil {
			return err
		}
		m.ReadOnly, m.CreateHost = true, false
		mapBind(b, m, src, h)
	case desired.MountWork:
		m.CreateHost = false
		mapBind(b, m, workPath(b, m), h)
	case desired.MountVolume:
		mapVolume(b, m, h)
	case desired.MountTmpfs:
		mapTmpfs(m, h)
	case desired.MountImage:
		h.Mounts = append(h.Mounts, mount.Mount{
			Type: mount.TypeImage, Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly,
			ImageOptions: &mount.ImageOptions{Subpath: m.Subpath},
		})
	default:
		return fmt.Errorf("mount %s: type %q is not known", m.Target, m.Type)
	}
	return nil
}

func workPath(b blueprint, m desired.Mount) string {
	return filepath.Join(b.target.Dir, "work", filepath.FromSlash(m.Source))
}

func mapBind(b blueprint, m desired.Mount, source string, h *container.HostConfig) {
	if bindSyntax(b, m, source) {
		h.Binds = append(h.Binds, bindString(source, m))
		return
	}
	o := &mount.BindOptions{
		Propagation:      mount.Propagation(m.Propagation),
		CreateMountpoint: m.CreateHost,
		NonRecursive:     m.Recursive == "disabled",
		// "enabled" is what the engine does by itself.
		ReadOnlyNonRecursive:   m.Recursive == "writable",
		ReadOnlyForceRecursive: m.Recursive == "readonly",
	}
	h.Mounts = append(h.Mounts, mount.Mount{
		Type: mount.TypeBind, Source: source, Target: m.Target, ReadOnly: m.ReadOnly,
		Consistency: mount.Consistency(m.Consistency), BindOptions: o,
	})
}

// bindSyntax says whether the older syntax must or can be used.
func bindSyntax(b blueprint, m desired.Mount, source string) bool {
	if strings.Contains(source, ":") || strings.Contains(m.Target, ":") || m.Recursive != "" && m.Recursive != "enabled" {
		return false
	}
	if m.SELinux != "" {
		return true
	}
	return m.CreateHost && (m.Propagation == "" || !b.newer("1.42"))
}

func bindString(source string, m desired.Mount) string {
	opts := []string{"rw"}
	if m.ReadOnly {
		opts[0] = "ro"
	}
	for _, o := range []string{m.SELinux, m.Propagation} {
		if o != "" {
			opts = append(opts, o)
		}
	}
	if m.NoCopy {
		opts = append(opts, "nocopy")
	}
	return source + ":" + m.Target + ":" + strings.Join(opts, ",")
}

func mapVolume(b blueprint, m desired.Mount, h *container.HostConfig) {
	source := b.inherit[m.Target] // of an anonymous volume, when it replaces one
	if m.Source != "" {
		source = m.Source
		if v, ok := b.target.Spec.Volumes[m.Source]; ok {
			source = v.Name
		}
		if len(m.Labels) == 0 && m.Subpath == "" && !m.NoCopy {
			h.Binds = append(h.Binds, bindString(source, m))
			return
		}
	}
	o := &mount.VolumeOptions{NoCopy: m.NoCopy, Subpath: m.Subpath, Labels: m.Labels}
	h.Mounts = append(h.Mounts, mount.Mount{
		Type: mount.TypeVolume, Source: source, Target: m.Target, ReadOnly: m.ReadOnly,
		Consistency: mount.Consistency(m.Consistency), VolumeOptions: o,
	})
}

// mapTmpfs writes what has a size or mode as a mount, the rest as the short
// entries of compose's tmpfs key.
func mapTmpfs(m desired.Mount, h *container.HostConfig) {
	if m.TmpfsSize == 0 && m.TmpfsMode == 0 && !m.ReadOnly {
		h.Tmpfs[m.Target] = m.TmpfsOpts
		return
	}
	h.Mounts = append(h.Mounts, mount.Mount{
		Type: mount.TypeTmpfs, Target: m.Target, ReadOnly: m.ReadOnly,
		TmpfsOptions: &mount.TmpfsOptions{SizeBytes: m.TmpfsSize, Mode: os.FileMode(m.TmpfsMode)},
	})
}
