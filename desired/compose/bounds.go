package compose

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
		}
		for _, key := range mapKeys(l.out.Volumes) {
			l.forbidden([]string{"volumes", key, "driver_opts"}, b.Volume(l.out.Volumes[key], l.in.Real))
		}
	}
}

// boundPath looks at a path of the host that is mounted.
func (l *loader) boundPath(p []string, name string) {
	for _, b := range l.in.Bounds {
		l.forbidden(p, b.HostPath(name, l.in.Real))
	}
}
