package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"golang.org/x/sys/unix"
)

// lockLimit is how long a process may outlive the stop of its container, and a
// lock the process that held it.
const lockLimit = 10 * time.Second

// lockFile is one of a service's lock files, where this host has it.
type lockFile struct {
	name string // in the container
	dir  string // the source of its mount, or the directory of a mounted file
	rel  string // below dir
	at   string // where the container has dir's mount
}

func (l lockFile) String() string { return l.name + " (" + filepath.Join(l.dir, l.rel) + ")" }

// lockFiles maps paths in a container to files of the host. A path on no mount
// is in the container's own file system, and one on a tmpfs in its memory:
// nobody else has either.
func lockFiles(in container.InspectResponse, names []string) (files []lockFile) {
	for _, name := range names {
		name = path.Clean(name)
		var best *container.MountPoint
		for i, m := range in.Mounts {
			if under(name, m.Destination) && (best == nil || len(m.Destination) > len(best.Destination)) {
				best = &in.Mounts[i]
			}
		}
		if best == nil || best.Source == "" || best.Type == mount.TypeTmpfs {
			continue
		}
		at := path.Clean(best.Destination)
		dir, rel := filepath.Join(best.Source, subpath(in, at)), strings.TrimPrefix(strings.TrimPrefix(name, at), "/")
		if rel == "" { // the file itself is mounted
			dir, rel = filepath.Split(dir)
		}
		files = append(files, lockFile{name: name, dir: dir, rel: rel, at: at})
	}
	return files
}

func under(name, dir string) bool {
	dir = path.Clean(dir)
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

// subpath is the part of a volume that is mounted, which the engine does not
// add to the source of the mount.
func subpath(in container.InspectResponse, at string) string {
	if in.ContainerJSONBase == nil || in.HostConfig == nil {
		return ""
	}
	for _, m := range in.HostConfig.Mounts {
		if path.Clean(m.Target) == at && m.VolumeOptions != nil {
			return m.VolumeOptions.Subpath
		}
	}
	return ""
}

// awaitUnlocked waits until no process holds a lock on the files.
func awaitUnlocked(ctx context.Context, name string, in container.InspectResponse, locks []string, limit time.Duration) error {
	for _, l := range lockFiles(in, locks) {
		for began, pause := time.Now(), pollFirst; ; pause = min(pause*3/2, pollLast) {
			holder, err := l.holder()
			if err != nil {
				return fmt.Errorf("prove lock %s free: %w", l, err)
			}
			if holder == "" {
				break
			}
			if time.Since(began) > limit {
				return fmt.Errorf("prove lock %s free: container %s has ended, but %s still holds it after %s; nothing is started beside it. End what holds the file",
					l, name, holder, limit)
			}
			if err := sleep(ctx, pause); err != nil {
				return fmt.Errorf("prove lock %s free: %w", l, err)
			}
		}
	}
	return nil
}

// holder names the process that holds a lock on the file; empty when none does
// or there is no such file.
func (l lockFile) holder() (string, error) {
	f, err := l.open()
	if errors.Is(err, fs.ErrNotExist) {
		// The mount must be there, or nothing can be said.
		_, err = os.Stat(l.dir)
		return "", err
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	// A lock of the open file description also meets those of this process.
	want := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &want); err != nil {
		return "", fmt.Errorf("ask for a lock: %w", err)
	}
	if want.Type != unix.F_UNLCK {
		return holderName(f, int(want.Pid)), nil
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return holderName(f, 0), nil
	case errors.Is(err, unix.EBADF), errors.Is(err, unix.ENOLCK), errors.Is(err, unix.EOPNOTSUPP):
		return "", nil // a network file system, where flock is the lock asked for above or none
	case err != nil:
		return "", fmt.Errorf("ask for a lock: %w", err)
	}
	return "", unix.Flock(int(f.Fd()), unix.LOCK_UN)
}

// maxLinks bounds how many symbolic links a lock file is behind.
const maxLinks = 8

// open opens the file for reading. The application writes the directory, so
// that a link must not lead out of it, and only a plain file is opened: that of
// a device may do something.
func (l lockFile) open() (*os.File, error) {
	root, err := os.OpenRoot(l.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rel := l.rel
	for range maxLinks {
		f, err := root.OpenFile(rel, unix.O_PATH|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		info, err := f.Stat()
		if err == nil && info.Mode()&fs.ModeSymlink == 0 {
			return reopen(f, info)
		}
		f.Close()
		if err != nil {
			return nil, err
		}
		to, err := root.Readlink(rel)
		if err != nil {
			return nil, err
		}
		if rel = filepath.Join(filepath.Dir(rel), to); filepath.IsAbs(to) || !filepath.IsLocal(rel) {
			return nil, fmt.Errorf("it is a symbolic link to %s, which is outside its mount; name the file itself in upgrade.locks", to)
		}
	}
	return nil, fmt.Errorf("it is behind more than %d symbolic links", maxLinks)
}

// reopen opens for reading what was only looked up.
func reopen(f *os.File, info fs.FileInfo) (*os.File, error) {
	defer f.Close()
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("it is not a plain file (%s)", info.Mode().Type())
	}
	return os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(f.Fd())), os.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// holderName says which process holds a lock on f, as far as the kernel tells.
func holderName(f *os.File, pid int) string {
	if pid <= 0 {
		pid = lockedBy(f)
	}
	if pid <= 0 {
		return "a process that the kernel does not name"
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		return fmt.Sprintf("process %d", pid)
	}
	return fmt.Sprintf("process %d (%s)", pid, clip(printable(strings.TrimSpace(string(comm))), 64))
}

// lockedBy looks a file's locks up in the kernel's list; 0: not there.
func lockedBy(f *os.File) int {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0
	}
	list, err := os.Open("/proc/locks")
	if err != nil {
		return 0
	}
	defer list.Close()
	text, err := io.ReadAll(io.LimitReader(list, 4<<20))
	if err != nil {
		return 0
	}
	return findLock(string(text), fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino))
}

// findLock returns the process that /proc/locks says holds a lock on the file
// ("MAJOR:MINOR:INODE", proc_locks(5)); 0: none, or one without a process.
func findLock(list, file string) int {
	for line := range strings.Lines(list) {
		// "1: FLOCK  ADVISORY  WRITE 1234 08:01:131090 0 EOF"; "->" marks one that waits.
		f := strings.Fields(line)
		if len(f) < 6 || f[1] == "->" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			return pid
		}
	}
	return 0
}
