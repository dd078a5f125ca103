package compose

import (
	"path"
	"slices"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/fairlead/fairlead/desired"
)

// upDir is where a work path goes that lies in the repository but outside of
// the instance: _up/ and its path from the repository's root.
const upDir = "_up"

func (l *loader) mounts(s *types.ServiceConfig, d *desired.Service) {
	for i, v := range s.Volumes {
		l.mount(s, v, l.mountPath(s.Name, i, v), d)
	}
	for i, t := range s.Tmpfs {
		target, opts, _ := strings.Cut(t, ":")
		l.target([]string{"services", s.Name, "tmpfs", itoa(i)}, target)
		d.Mounts = append(d.Mounts, desired.Mount{Type: desired.MountTmpfs, Target: path.Clean(target), TmpfsOpts: opts})
	}
	for i, v := range s.VolumesFrom {
		d.VolumesFrom = append(d.VolumesFrom, l.volumesFrom([]string{"services", s.Name, "volumes_from", itoa(i)}, v))
	}
	l.configs(s, d)
	l.secrets(s, d)
	l.clashes(s.Name, d)
}

// mountPath is the place of a mount in the files. Overlays merge the lists, so
// the entry is looked for by its target.
func (l *loader) mountPath(service string, i int, v types.ServiceVolumeConfig) []string {
	p := []string{"services", service, "volumes"}
	for _, s := range slices.Backward(l.sources) {
		if s.template {
			continue
		}
		for _, n := range oneOrMore(s.value(p)) {
			n = deref(n)
			_, target := child(n, "target")
			short := n != nil && slices.Contains(strings.Split(n.Value, ":"), v.Target)
			if short || target != nil && path.Clean(target.Value) == v.Target {
				l.places[strings.Join(append(p, itoa(i)), "\x00")] = at{file: s.path, line: n.Line}
				return append(p, itoa(i))
			}
		}
	}
	return append(p, itoa(i))
}

func (l *loader) volumesFrom(p []string, v string) string {
	if strings.HasPrefix(v, "container:") {
		return v
	}
	name, _, _ := strings.Cut(v, ":")
	l.referTo(p, name)
	return "service:" + v
}

func (l *loader) target(p []string, target string) {
	if !path.IsAbs(target) {
		l.wrong(p, "the target "+target+" is not an absolute path", "write the path inside the container, from /")
	}
}

func (l *loader) mount(s *types.ServiceConfig, v types.ServiceVolumeConfig, p []string, d *desired.Service) {
	m := desired.Mount{Target: v.Target, ReadOnly: v.ReadOnly, Consistency: v.Consistency}
	l.target(p, v.Target)
	l.foreign(v, p)
	switch v.Type {
	case types.VolumeTypeBind:
		l.bind(v, p, &m)
	case types.VolumeTypeVolume:
		l.volume(v, p, &m)
	case types.VolumeTypeTmpfs:
		m.Type = desired.MountTmpfs
		if v.Tmpfs != nil {
			m.TmpfsSize, m.TmpfsMode = int64(v.Tmpfs.Size), v.Tmpfs.Mode
		}
	case types.VolumeTypeImage:
		m.Type, m.Source = desired.MountImage, v.Source
		if v.Image != nil {
			m.Subpath = v.Image.SubPath
		}
		if v.Source == "" {
			l.wrong(p, "the mount names no image", "write the image under source")
		}
		for _, b := range l.in.Bounds {
			l.forbidden(p, b.Image(v.Source))
		}
	default:
		l.wrong(p, "a mount of type "+v.Type+" is not supported by this version", "write bind, volume, tmpfs or image")
		return
	}
	if m.Type != "" {
		d.Mounts = append(d.Mounts, m)
	}
}

// foreign notes options that belong to another type of mount.
func (l *loader) foreign(v types.ServiceVolumeConfig, p []string) {
	for kind, has := range map[string]bool{"bind": v.Bind != nil, "volume": v.Volume != nil, "tmpfs": v.Tmpfs != nil, "image": v.Image != nil} {
		if has && kind != v.Type {
			l.noteAt(p, "the options under "+kind+" have no effect on a mount of type "+v.Type)
		}
	}
}

func (l *loader) volume(v types.ServiceVolumeConfig, p []string, m *desired.Mount) {
	m.Type, m.Source = desired.MountVolume, v.Source
	if v.Volume != nil {
		m.NoCopy, m.Subpath, m.Labels = v.Volume.NoCopy, v.Volume.Subpath, filled(v.Volume.Labels)
	}
	if _, ok := l.model.Volumes[v.Source]; ok || v.Source == "" || l.wasRemoved("volumes", v.Source) {
		return
	}
	hint := orDeclare(v.Source, "volumes", mapKeys(l.model.Volumes))
	if strings.Contains(v.Source, "/") {
		hint = "for a path of the repository write ./" + v.Source
	}
	l.wrong(p, "there is no volume "+v.Source, hint)
}

// bind decides where the bytes of a bind mount live: on the host when the path
// is absolute; under a content-addressed path when the repository has it and
// the container only reads it; else in the instance's work directory (law 11).
func (l *loader) bind(v types.ServiceVolumeConfig, p []string, m *desired.Mount) {
	if v.Bind != nil {
		m.SELinux, m.Propagation, m.Recursive = v.Bind.SELinux, v.Bind.Propagation, v.Bind.Recursive
	}
	in, host, err := l.stage.where(v.Source, l.in.Dir)
	if err != nil {
		l.problem(l.locate(p), l.locate(p).field, err)
		return
	}
	if host {
		l.boundPath(p, in)
		m.Type, m.Source = desired.MountBind, in
		m.CreateHost = v.Bind == nil || bool(v.Bind.CreateHostPath)
		return
	}
	_, err = l.tree.resolve(in)
	there := err == nil
	if err != nil && !isMissing(err) {
		l.problem(l.locate(p), l.locate(p).field, err)
		return
	}
	switch {
	case there && v.ReadOnly:
		m.Type, m.Source = desired.MountTracked, l.track(in, p)
	case v.ReadOnly:
		m.Type, m.Source = desired.MountWork, l.workPath(in, p)
		l.noteAt(p, in+" is not in the repository: the container sees an empty directory of the instance's work directory")
	default:
		m.Type, m.Source = desired.MountWork, l.workPath(in, p)
		if there {
			m.Seed = l.track(in, p)
		}
	}
}

// workPath is a path below the instance's work directory.
func (l *loader) workPath(in string, p []string) string {
	if rel, ok := under(l.in.Dir, in); ok {
		if rel == upDir || strings.HasPrefix(rel, upDir+"/") {
			l.wrong(p, "the name "+upDir+" is taken: it is where paths outside of the instance's directory go", "use another name")
		}
		return rel
	}
	return path.Join(upDir, in)
}

// track puts the content at a path into the project, and gives its key.
func (l *loader) track(in string, p []string) string {
	t, err := l.tree.content(in)
	if err != nil {
		where := l.locate(p)
		l.problem(where, where.field, err)
		return ""
	}
	return l.keep(t)
}

func (l *loader) keep(t desired.FileTree) string {
	k := t.Hash()
	l.out.Files[k] = t
	return k
}

// clashes reports two mounts at one place.
func (l *loader) clashes(service string, d *desired.Service) {
	seen := map[string]bool{}
	for _, m := range d.Mounts {
		if seen[m.Target] {
			l.wrong([]string{"services", service, "volumes"}, "two mounts have the target "+m.Target, "keep one of them")
		}
		seen[m.Target] = true
	}
}

func mapKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
