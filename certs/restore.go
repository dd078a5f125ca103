package certs

import (
	"strings"

	"github.com/fairlead/fairlead/certs/store"
)

// restore puts back what was changed on disk, and says so.
func (l *look) restore() error {
	if err := l.makeWay(); err != nil {
		return err
	}
	list, err := l.store.Restore()
	l.drifted("", list)
	if err == nil {
		l.restored = l.now
	}
	return err
}

// drifted tells of what was not as it should be, below a directory; empty is the
// certificate's own.
func (c *certificate) drifted(dir string, list []store.Drift) {
	if dir == "" {
		dir = c.dir
	}
	var said []string
	for _, d := range list {
		if d.Exposed() {
			c.tell(ReasonKeyExposed, "%s in %s was open to others (found %s, expected %s): it is closed again, but whoever read it has the key; have a new one certified", d.Path, dir, d.Found, d.Expected)
			continue
		}
		said = append(said, d.String())
	}
	if len(said) > 0 {
		c.m.counts.drift(c.id, len(said))
		c.tell(ReasonDrift, "in %s, put back: %s", dir, strings.Join(said, "; "))
	}
}
