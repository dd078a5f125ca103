//go:build cgo

package duck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// stageVariable tells a child that the process was confined before it became this
// one, and what of it could not be done.
const stageVariable = "FAIRLEAD_CHILD_CONFINED"

// confinedStage reports whether this process is confined already, and why it is
// not altogether.
func confinedStage() (unconfined string, already bool) { return os.LookupEnv(stageVariable) }

// becomeConfined makes this process another one of the same program that reads
// the same request, and of which every thread is confined: what the kernel takes
// from a thread it takes from the process that the thread becomes (landlock(7),
// capabilities(7)). Taken later it would hold one thread beside others that are
// free, in the same memory. It returns only with an error.
//
// What a host does not allow is left out and told. What it cannot do without is
// an error.
func becomeConfined(c confinement, request []byte, foreign bool) error {
	runtime.LockOSThread()
	stdin, err := inMemory(request)
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	if err := unix.Dup3(stdin, 0, 0); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	loaded, err := mapped()
	if err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	c.run = append(append(c.run, "/proc/self/exe", "/etc/ld.so.cache"), loaded...)
	// It also keeps exec from giving root its rights back (capabilities(7)).
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine: %w", err)
	}
	var lacks []string
	for _, step := range []func() error{func() error { return withoutRights(foreign) }, c.landlock, withoutCalls} {
		if err := step(); err != nil {
			lacks = append(lacks, err.Error())
		}
	}
	env := append(os.Environ(), stageVariable+"="+strings.Join(lacks, "; "))
	return fmt.Errorf("confine: %w", syscall.Exec("/proc/self/exe", os.Args, env))
}

// mapped are the files of which this process consists: it has to find them again,
// wherever a distribution has its libraries.
func mapped() (list []string, err error) {
	text, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		if _, name, found := strings.Cut(strings.TrimSpace(line), " /"); found && !slices.Contains(list, "/"+name) {
			list = append(list, "/"+name)
		}
	}
	return list, nil
}

// inMemory is a file that holds a text and is nowhere on a disk.
func inMemory(text []byte) (fd int, err error) {
	if fd, err = unix.MemfdCreate("request", unix.MFD_CLOEXEC); err != nil {
		return 0, err
	}
	for rest := text; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			return 0, err
		}
		rest = rest[n:]
	}
	_, err = unix.Seek(fd, 0, 0)
	return fd, err
}

// withoutRights gives up what root may beyond others. What a run left may belong
// to the user of its program, and be for that one only: then the right to read it
// is kept, and Landlock says where.
//
// What takes a right of its own to be given up for good is tried: without it
// no_new_privs holds, which a kernel cannot be asked to end.
func withoutRights(foreign bool) error {
	var keep uint64
	if foreign && os.Geteuid() == 0 {
		keep = 1 << unix.CAP_DAC_READ_SEARCH
	}
	const noRoot = 0b1111                  // SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP, both locked (capabilities(7))
	for right := 0; right <= 63; right++ { // the kernel refuses those that it does not know
		if keep&(1<<right) == 0 {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(right), 0, 0, 0)
		}
	}
	_ = unix.Prctl(unix.PR_SET_SECUREBITS, noRoot, 0, 0, 0)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	set := [2]unix.CapUserData{{Effective: uint32(keep), Permitted: uint32(keep), Inheritable: uint32(keep)}}
	err := unix.Capset(&header, &set[0])
	if err != nil && keep != 0 { // a container may not have it
		set[0] = unix.CapUserData{}
		keep, err = 0, unix.Capset(&header, &set[0])
	}
	if err != nil {
		return fmt.Errorf("give up the rights of root: %w", err)
	}
	if keep != 0 {
		_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, unix.CAP_DAC_READ_SEARCH, 0, 0)
	}
	return nil
}

// maxLooked bounds the look for files of others.
const maxLooked = 100_000

// ofOthers reports whether there is something below a path that belongs to
// another user than this process.
func ofOthers(path string) bool {
	errFound, looked := errors.New("found"), 0
	err := filepath.WalkDir(path, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return errFound // it cannot be told
		}
		info, err := e.Info()
		if err != nil {
			return nil // it is gone
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if looked++; !ok || int(stat.Uid) != os.Geteuid() || looked > maxLooked {
			return errFound
		}
		return nil
	})
	return err != nil
}
