//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// confinement is what the calling thread, and those that it starts, may reach.
type confinement struct {
	read  []string // directories and files
	write []string // directories, which may be read too
	// share are directories whose files may be linked into those of write. The
	// kernel lets nobody link a file to where more may be done with it, so that
	// the files, but not the directories, can be written to here as there.
	share   []string
	run     []string // programs and what they load
	network bool
}

// landlock has the kernel hold the calling thread and those that come from it to
// their directories (landlock(7)). Other threads of the process, which run
// nothing of a user's, stay as they are: so the engine is opened and used by the
// thread that called this. An error says that the kernel cannot.
func (c confinement) landlock() error {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("confine by Landlock: %w", errno)
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: handled(int(abi))}
	if abi >= 4 && !c.network {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("confine by Landlock: %w", errno)
	}
	defer func() { _ = unix.Close(int(rules)) }()
	all := attr.Handled_access_fs
	write := all &^ (unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK)
	for _, given := range []struct {
		paths  []string
		access uint64
	}{
		{c.read, readable}, {c.write, write}, {c.run, readable | unix.LANDLOCK_ACCESS_FS_EXECUTE},
		{c.share, all & (readable | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REFER)},
	} {
		if err := allow(int(rules), given.paths, given.access); err != nil {
			return fmt.Errorf("confine by Landlock: %w", err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine by Landlock: %w", err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return fmt.Errorf("confine by Landlock: %w", errno)
	}
	return nil
}

// handled are the rights over files that a kernel knows; one that it does not
// know would be refused.
func handled(abi int) uint64 {
	bits := 13 // EXECUTE to MAKE_SYM
	switch {
	case abi >= 5:
		bits = 16 // and REFER, TRUNCATE, IOCTL_DEV
	case abi >= 3:
		bits = 15
	case abi >= 2:
		bits = 14
	}
	return 1<<bits - 1
}

const (
	readable = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	forFiles = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_EXECUTE
)

// allow adds what is there of paths to a set of rules.
func allow(rules int, paths []string, access uint64) error {
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) == nil && stat.Mode&unix.S_IFMT != unix.S_IFDIR {
			rule.Allowed_access &= forFiles // others are refused for what is no directory
		}
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
			uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		_ = unix.Close(fd)
		if errno != 0 {
			return errno
		}
	}
	return nil
}
