package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"golang.org/x/sys/unix"
)

// options are what the command line says.
type options struct {
	dir, name, bin string
	rate           int // requests a second
}

// place is where a demo keeps what it makes: everything is below one directory.
type place struct {
	dir  string
	name string // of the instance
}

func (p place) in(name string) string { return filepath.Join(p.dir, name) }

func (p place) repo() string     { return p.in("repo") }
func (p place) data() string     { return p.in("data") }
func (p place) config() string   { return p.in("agent.yaml") }
func (p place) socket() string   { return filepath.Join(p.data(), "fairlead.sock") }
func (p place) instance() string { return filepath.Join(p.repo(), "instances", p.name) }

// instanceName is that of instance.yaml; it must not be mistaken for a flag or a pattern by docker either.
var instanceName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}$`)

func newPlace(opt options) (place, error) {
	if !instanceName.MatchString(opt.name) {
		return place{}, fmt.Errorf("use -name %s: not a name of an instance", opt.name)
	}
	if opt.dir == "" {
		state := os.Getenv("XDG_STATE_HOME")
		if state == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return place{}, fmt.Errorf("find home directory (set HOME, or use -dir): %w", err)
			}
			state = filepath.Join(home, ".local", "state")
		}
		opt.dir = filepath.Join(state, "fairlead-demo")
	}
	dir, err := filepath.Abs(opt.dir)
	if err != nil {
		return place{}, fmt.Errorf("use -dir: %w", err)
	}
	return place{dir: dir, name: opt.name}, nil
}

// marker tells a demo's directory, which down may remove, from any other.
const marker = "fairlead-demo"

// claim makes the directory. One with other content is refused.
func (p place) claim() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make directory of the demo: %w", err)
	}
	if p.ours() {
		return nil
	}
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("read directory of the demo: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("use %s: it holds something else; name another directory by -dir", p.dir)
	}
	return os.WriteFile(p.in(marker), nil, 0o600)
}

func (p place) ours() bool {
	info, err := os.Lstat(p.in(marker))
	return err == nil && info.Mode().IsRegular()
}

// empty removes everything but the marker and the lock.
func (p place) empty() error {
	entries, err := os.ReadDir(p.dir)
	if err != nil {
		return fmt.Errorf("empty %s: %w", p.dir, err)
	}
	for _, e := range entries {
		if e.Name() != marker && e.Name() != lockFile {
			err = errors.Join(err, os.RemoveAll(p.in(e.Name())))
		}
	}
	if err != nil {
		return fmt.Errorf("empty %s: %w", p.dir, err)
	}
	return nil
}

// remove removes the directory; the marker goes last, so that a removal that was cut off can be repeated.
func (p place) remove() error {
	if !p.ours() {
		return nil
	}
	if err := p.empty(); err != nil {
		return err
	}
	if err := os.Remove(p.in(lockFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", p.dir, err)
	}
	return errors.Join(os.Remove(p.in(marker)), os.Remove(p.dir))
}

const lockFile = "lock"

// lock keeps a second demo out until unlock is called. The directory must be claimed.
func (p place) lock() (unlock func(), err error) {
	f, err := os.OpenFile(p.in(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", p.dir, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: another demo is being played there", p.dir), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// writeFile replaces a file as a whole.
func writeFile(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	tmp := name + ".new"
	if err := os.WriteFile(tmp, []byte(content), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, name)
}
