package analytics

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	cgroupRoot   = "/sys/fs/cgroup"
	cgroupPrefix = "fairlead-child-"
)

// cgroups makes a control group for each child where the host lets us, so that
// memory which RLIMIT_DATA does not count (files of a tmpfs, page tables) is
// bounded as well, and the kernel ends the child and nobody else.
type cgroups struct {
	off   bool
	once  sync.Once
	dir   string // that groups are made in; empty: none can be
	file  string // that takes the limit
	count atomic.Int64
	told  func(why error) // is called once when no groups can be made
}

// cgroup is that of one child. A nil one does nothing.
type cgroup struct{ dir string }

// make gives a group with a limit in bytes, or nil where none can be had.
func (g *cgroups) make(mode string, limit int64) *cgroup {
	if g.off {
		return nil
	}
	g.once.Do(g.find)
	if g.dir == "" || limit <= 0 {
		return nil
	}
	name := fmt.Sprintf("%s%s-%d-%d", cgroupPrefix, mode, os.Getpid(), g.count.Add(1))
	c := &cgroup{filepath.Join(g.dir, name)}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil
	}
	if err := os.WriteFile(filepath.Join(c.dir, g.file), []byte(strconv.FormatInt(limit, 10)), 0); err != nil {
		c.remove()
		return nil
	}
	return c
}

// take puts a process into the group. It has read nothing yet and so done nothing.
func (c *cgroup) take(pid int) {
	if c != nil {
		_ = os.WriteFile(filepath.Join(c.dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	}
}

func (c *cgroup) remove() {
	if c != nil {
		_ = os.Remove(c.dir)
	}
}

// find looks for the place where groups can be made, by making one, and removes
// those that a daemon before us left.
func (g *cgroups) find() {
	dir, file, err := g.dir, g.file, error(nil)
	if dir == "" { // a test may have its own
		dir, file, err = ownCgroup()
	}
	if err == nil {
		probe := &cgroup{filepath.Join(dir, cgroupPrefix+"probe-"+strconv.Itoa(os.Getpid()))}
		if err = os.Mkdir(probe.dir, 0o755); err == nil {
			_, err = os.Stat(filepath.Join(probe.dir, file))
			probe.remove()
		}
	}
	if err != nil {
		if g.dir = ""; g.told != nil {
			g.told(err)
		}
		return
	}
	g.dir, g.file = dir, file
	left, _ := filepath.Glob(filepath.Join(dir, cgroupPrefix+"*"))
	for _, path := range left {
		_ = os.Remove(path) // one with a process in it stays
	}
}

// ownCgroup is the group that this process is in (cgroups(7)), for version 1 that
// of the memory controller, and the name of the file with the limit.
func ownCgroup() (dir, file string, err error) {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return "", "", err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		id, rest, _ := strings.Cut(lines.Text(), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		if id == "0" && dir == "" {
			dir, file = filepath.Join(cgroupRoot, path), "memory.max"
		}
		if controllers == "memory" {
			dir, file = filepath.Join(cgroupRoot, "memory", path), "memory.limit_in_bytes"
		}
	}
	if err := lines.Err(); err != nil {
		return "", "", err
	}
	if dir == "" {
		return "", "", errors.New("this process is in no control group with a memory limit")
	}
	if _, err := os.Stat(dir); err != nil && file != "memory.max" {
		dir = filepath.Join(cgroupRoot, "memory") // of a container, which sees its own as the root
	} else if err != nil {
		dir = cgroupRoot
	}
	return dir, file, nil
}
