package desired

import (
	"fmt"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"
)

// follow gives the services of the release their image, and says when a move
// of it is taken; nil without a release.
func (l *loader) follow(p Project) *Follow {
	busy := l.busy(p)
	r := l.file.Release
	if r == nil {
		l.noteGates("no release.channel is followed", "")
		return nil
	}
	if l.file.bad("release") {
		return nil
	}
	f := r.follow()
	l.setImage(p, f.Ref)
	switch {
	case f.Channel != "":
		f.Every, f.Busy = DefaultEvery, busy
		if u := l.file.Upgrade; u != nil {
			f.Every, f.Window, f.MinAge = orDefault(u.Every, DefaultEvery), u.Window, orDefault(u.MinAge, 0)
		}
	case r.Digest != "":
		l.noteGates("release.digest is pinned", "they count again when the pin is removed")
	default:
		l.noteGates("release.version is pinned", "they count again when the pin is removed")
	}
	return f
}

// follow is what the release makes of the image: a digest wins over a version,
// and both over a channel.
func (r Release) follow() *Follow {
	ref := ImageRef{Repository: r.Image}
	switch {
	case r.Digest != "":
		ref.Digest = r.Digest
		return &Follow{Ref: ref.String()}
	case r.Version != "":
		ref.Tag = "stable-" + r.Version
		return &Follow{Ref: ref.String(), Version: r.Version}
	}
	ref.Tag = r.Channel
	return &Follow{Ref: ref.String(), Channel: r.Channel}
}

// noteGates tells that nothing is there for the gates to hold: they are for
// the moves of a channel, a commit is never held.
func (l *loader) noteGates(why, hint string) {
	var idle []string
	for _, key := range []string{"upgrade.every", "upgrade.window", "upgrade.minAge", "upgrade.busy"} {
		if l.file.has(key) {
			idle = append(idle, key)
		}
	}
	if len(idle) == 0 {
		return
	}
	verb := " has no effect: "
	if len(idle) > 1 {
		verb = " have no effect: "
	} else if hint != "" {
		hint = "it counts again when the pin is removed"
	}
	l.note("upgrade", strings.Join(idle, ", ")+verb+why, hint)
}

// setImage gives the services whose image is of the release's repository the
// one that it decided.
func (l *loader) setImage(p Project, image string) {
	repository := l.file.Release.Image
	others := map[string]bool{}
	found := false
	for _, name := range sortedKeys(p.Services) {
		s := p.Services[name]
		ref, err := ParseImageRef(s.Image)
		if err != nil {
			continue // compose's own check speaks for it
		}
		if CanonicalRepository(ref.Repository) != CanonicalRepository(repository) {
			others[ref.Repository] = true
			continue
		}
		found = true
		s.Image = image
		p.Services[name] = s
	}
	if !found && len(p.Services) > 0 {
		l.file.add("release.image", "no service has an image of this repository", didYouMean(repository, sortedKeys(others)))
	}
}

// busy is the question that holds an upgrade back.
func (l *loader) busy(p Project) *BusyCheck {
	const field = "upgrade.busy.url"
	if l.file.Upgrade == nil || l.file.Upgrade.Busy == nil || l.file.bad(field) {
		return nil
	}
	b, f := l.file.Upgrade.Busy, l.filler(&l.file.document, p.HostEnv)
	address := f.address(field, b.URL, "httpURL")
	l.noteHostSecrets("upgrade", f.wanted)
	u, err := url.Parse(address)
	if err != nil || secretUse.MatchString(address) {
		return nil // no host is meant, or what is wrong was told
	}
	port, ok := urlPort(u)
	host := u.Hostname()
	_, service := p.Services[host]
	switch {
	case host == "" || !ok:
		l.file.add(field, "names no host and port between 1 and 65535", "for example "+syntaxes["httpURL"].example)
	case service && u.Scheme == "https":
		l.file.add(field, "asks a service of the instance over https", "write http://: the question does not leave the host")
	case !service && !strings.ContainsAny(host, ".:") && host != "localhost":
		l.note(field, fmt.Sprintf("%q is no service of the instance; a host of this name is asked", clip(host)), didYouMean(host, sortedKeys(p.Services)))
	}
	check := &BusyCheck{Host: u.Host, TLS: u.Scheme == "https", Port: port, Path: u.RequestURI(), Field: b.Field,
		MaxDefer: orDefault(b.MaxDefer, DefaultMaxDefer)}
	if service {
		check.Service = host
	}
	return check
}

// urlPort is the port of an http or https URL.
func urlPort(u *url.URL) (port int, ok bool) {
	if u.Port() != "" {
		port, err := strconv.Atoi(u.Port())
		return port, err == nil && port >= 1 && port <= 65535
	}
	if strings.HasSuffix(u.Host, ":") {
		return 0, false
	}
	if u.Scheme == "https" {
		return 443, true
	}
	return 80, true
}

// lock gives the services their lock files.
func (l *loader) lock(p Project) {
	u := l.file.Upgrade
	if u == nil {
		return
	}
	for i, lock := range u.Locks {
		at := fmt.Sprintf("upgrade.locks[%d]", i)
		name, file, _ := strings.Cut(lock, ":")
		l.service(at, name, p)
		if l.file.bad(at) {
			continue
		}
		if !keeps(p, name, file, map[string]bool{}) {
			l.file.add(at, fmt.Sprintf("%s is in no volume or bind of %s", clip(file), name),
				"a lock that the next container could meet lies in a mount that both have")
			continue
		}
		s := p.Services[name]
		s.Locks = append(s.Locks, file)
		p.Services[name] = s
	}
}

// keeps says whether a file of a service's containers lies where the next
// container finds it: in a volume, a bind or a work directory, its own or one
// that it takes from another container.
func keeps(p Project, service, file string, seen map[string]bool) bool {
	seen[service] = true
	var around Mount
	for _, m := range p.Services[service].Mounts {
		target := path.Clean(m.Target)
		if (file == target || strings.HasPrefix(file, strings.TrimSuffix(target, "/")+"/")) && len(target) > len(around.Target) {
			around = m
		}
	}
	switch around.Type {
	case MountVolume, MountBind, MountWork:
		return true
	case "":
	default:
		return false
	}
	for _, from := range p.Services[service].VolumesFrom {
		kind, rest, _ := strings.Cut(from, ":")
		other, _, _ := strings.Cut(rest, ":")
		if kind == "container" || !seen[other] && keeps(p, other, file, seen) {
			return true // of a container that is not the instance's, nothing is known
		}
	}
	return false
}

func orDefault(d *Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return time.Duration(*d)
}
