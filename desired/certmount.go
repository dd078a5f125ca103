package desired

import (
	"fmt"
	"path"
	"strings"
)

// noteMounts warns of mounts through which a new certificate is not seen: a
// bind mount keeps the file, or the directory that a link leads to, that was
// there when the container was made.
func (l *loader) noteMounts(p Project) {
	for _, name := range sortedKeys(l.file.Certificates) {
		for _, service := range sortedKeys(p.Services) {
			for _, m := range p.Services[service].Mounts {
				if m.Type == MountBind {
					l.noteMount(name, service, m)
				}
			}
		}
	}
}

func (l *loader) noteMount(name, service string, m Mount) {
	at, source := "certificates."+name, path.Clean(m.Source)
	for i, d := range l.file.Certificates[name].Deliver {
		if d.Dir != "" && inside(source, d.Dir) {
			l.noteWhole(fmt.Sprintf("%s.deliver[%d].dir", at, i), service, m, d.Dir)
			return
		}
	}
	// Where the data directory is, is the host's to say. What is in it has
	// these names on every host.
	own := "/certs/" + l.name + "/" + name
	if before, below, ok := strings.Cut(source, own+"/"); ok && below != "" {
		l.noteWhole(at, service, m, before+own)
	}
}

func (l *loader) noteWhole(field, service string, m Mount, dir string) {
	rest := strings.TrimPrefix(path.Clean(m.Source), dir+"/")
	l.note(field, fmt.Sprintf("the service %s mounts %s:%s, and will never see another certificate there", service, m.Source, m.Target),
		fmt.Sprintf("mount the directory: %s:/tls:ro, and read /tls/%s", dir, rest))
}
