package deliver

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/certs/pair"
	"github.com/fairlead/fairlead/certs/store"
	"github.com/fairlead/fairlead/desired"
)

// directory is one that was delivered to. One call at a time is at work in it.
type directory struct {
	sync.Mutex
	delivered bool // by this process
}

func (d *Deliverer) directory(path string) *directory {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir := d.dirs[path]
	if dir == nil {
		dir = &directory{}
		d.dirs[path] = dir
	}
	return dir
}

// write makes a directory hold the pair.
func (d *Deliverer) write(to desired.Delivery, live pair.Pair) Outcome {
	dir := d.directory(filepath.Clean(to.Dir))
	dir.Lock()
	defer dir.Unlock()
	if err := checkWay(to.Dir); err != nil {
		return failure(to.Dir, fmt.Errorf("deliver certificate to %s: %w", to.Dir, err))
	}
	amiss, err := store.Deliver(live, targetOf(to))
	if err != nil {
		return failure(to.Dir, withHint(err, hintOfDirectory(err)))
	}
	o := success(to.Dir, "")
	o.Changed, o.Drift = len(amiss) > 0, tampered(amiss, dir.delivered)
	dir.delivered = true
	return o
}

func targetOf(to desired.Delivery) store.Target {
	t := store.Target{Dir: to.Dir, UID: -1, GID: -1, KeyMode: to.Mode, Password: to.Password}
	if to.UID != nil {
		t.UID = *to.UID
	}
	if to.GID != nil {
		t.GID = *to.GID
	}
	for _, f := range to.Formats {
		t.Formats = append(t.Formats, store.Format(f))
	}
	return t
}

// tampered leaves out what nobody changed: a renewal, and all of it the first
// time.
func tampered(amiss []store.Drift, before bool) (list []store.Drift) {
	for _, a := range amiss {
		if a.Kind == store.Outdated || (a.Kind == store.Missing && !before) {
			continue
		}
		list = append(list, a)
	}
	return list
}

// checkWay goes the way to a directory from the root on and refuses it where
// others could put something else in its place: they would choose where the
// daemon writes a key, with its rights.
func checkWay(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) == "/" {
		return fmt.Errorf("%q is no absolute path of a directory", dir)
	}
	for at := filepath.Dir(filepath.Clean(dir)); ; at = filepath.Dir(at) {
		info, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is missing: make it first, owned by the daemon's user; only the directory itself is made by the delivery", at)
		}
		if err != nil {
			return err
		}
		if err := checkStep(at, info); err != nil {
			return err
		}
		if at == "/" {
			return nil
		}
	}
}

func checkStep(at string, info fs.FileInfo) error {
	uid := int(info.Sys().(*syscall.Stat_t).Uid)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		to, err := filepath.EvalSymlinks(at)
		if err != nil {
			to = "nowhere"
		}
		return fmt.Errorf("%s on the way is a symbolic link, to %s: name the directory itself", at, to)
	case !info.IsDir():
		return fmt.Errorf("%s on the way is no directory", at)
	case uid != 0 && uid != os.Geteuid():
		return fmt.Errorf("%s on the way belongs to user %d, who could put something else in its place: deliver to a directory below one of the daemon's user", at, uid)
	case info.Mode()&0o022 != 0 && info.Mode()&fs.ModeSticky == 0:
		return fmt.Errorf("%s on the way may be written to by others (mode %04o), who could put something else in its place: chmod go-w it", at, info.Mode().Perm())
	}
	return nil
}

func hintOfDirectory(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only for the daemon: under systemd list the directory in ReadWritePaths"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full; what was there before is still there"
	}
	return ""
}
