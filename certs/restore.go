package certs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/fairlead/fairlead/certs/store"
)

// restore puts back what was changed on disk, and says so.
func (l *look) restore() error {
	if err := l.makeWay(); err != nil {
		return err
	}
	way := l.closeWay()
	list, err := l.store.Restore()
	l.drifted("", list)
	if err == nil {
		l.restored = l.now
	}
	return errors.Join(err, way)
}

// closeWay takes the right to write from others in the directories above: who
// may rename there puts one certificate in the place of another. An operator's
// link to another disk is followed.
func (l *look) closeWay() error {
	for _, dir := range []string{l.m.opts.Dir, filepath.Dir(l.dir)} {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at directory of certificates: %w", err)
		}
		uid := int(info.Sys().(*syscall.Stat_t).Uid)
		if uid != os.Geteuid() && uid != 0 {
			return fmt.Errorf("look at directory of certificates: %s belongs to user %d, who could change what is in it; chown it to user %d", dir, uid, os.Geteuid())
		}
		found := info.Mode().Perm()
		if found&0o022 == 0 {
			continue
		}
		if err := os.Chmod(dir, found&^0o022); err != nil {
			return fmt.Errorf("look at directory of certificates: %w", err)
		}
		l.drifted(dir, []store.Drift{{Path: ".", Kind: store.Mode, Found: fmt.Sprintf("%04o", found), Expected: fmt.Sprintf("%04o", found&^0o022)}})
	}
	return nil
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
