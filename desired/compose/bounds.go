package compose

import "github.com/fairlead/fairlead/desired"

// bounded looks for what the policies do not permit. Mounts of the host's
// paths and of images are looked at where they are read.
func (l *loader) bounded() {
	for _, b := range l.in.Bounds {
		for _, name := range mapKeys(l.out.Services) {
			s := l.out.Services[name]
			at := []string{"services", name}
			l.forbidden(append(at, "image"), b.Image(s.Image))
			for _, found := range b.Privileges(s) {
				l.forbidden(append(at[:2:2], found.Path...), &found.Breach)
			}
			for _, m := range s.Mounts {
				if m.Type == desired.MountWork {
					l.forbidden(append(at[:2:2], "volumes"), l.nested(b, m.Source))
				}
			}
		}
		for _, key := range mapKeys(l.out.Volumes) {
			l.forbidden([]string{"volumes", key, "driver_opts"}, b.Volume(l.out.Volumes[key], l.in.Real))
		}
		for _, key := range mapKeys(l.out.Networks) {
			l.forbidden([]string{"networks", key, "name"}, b.Network(l.out.Networks[key]))
		}
	}
}

// nested looks for a directory of the instance around another, to which some
// container writes.
func (l *loader) nested(b desired.Bounds, inner string) *desired.Breach {
	for _, name := range mapKeys(l.out.Services) {
		for _, m := range l.out.Services[name].Mounts {
			if m.Type != desired.MountWork || m.ReadOnly {
				continue
			}
			if breach := b.Nested(inner, m.Source); breach != nil {
				return breach
			}
		}
	}
	return nil
}

// boundPath looks at a path of the host that is mounted.
func (l *loader) boundPath(p []string, name string) {
	for _, b := range l.in.Bounds {
		l.forbidden(p, b.HostPath(name, l.in.Real))
	}
}
