//go:build cgo

package duck

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// limits are what the process may take from the host.
type limits struct {
	Data  int64 // bytes that it may have for itself
	File  int64 // bytes of one file
	Files uint64
	Nice  int
	// OOM is how readily the kernel ends it when memory is short: 0 to 1000.
	OOM int
}

// dieWithParent has the kernel end this process when the one that started it is
// gone. A parent that ended before is noticed by the end of the input.
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("die with parent: %w", err)
	}
	return nil
}

// apply gives up, for good, what goes beyond the limits. It comes before the
// engine is opened.
//
// Data is RLIMIT_DATA: address space (RLIMIT_AS) counts what Go and the allocator
// reserve and never touch, which is gigabytes, while this counts what is private
// and writable (setrlimit(2), since Linux 4.7 also private mappings). An
// allocation beyond it fails, which the engine reports as out of memory.
func (l limits) apply() error {
	set := func(name string, what int, value uint64) error {
		if value == 0 && what != unix.RLIMIT_CORE {
			return nil
		}
		var now unix.Rlimit
		if err := unix.Getrlimit(what, &now); err != nil {
			return fmt.Errorf("read limit of %s: %w", name, err)
		}
		value = min(value, now.Max)
		if err := unix.Setrlimit(what, &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("limit %s: %w", name, err)
		}
		return nil
	}
	for _, limit := range []struct {
		name  string
		what  int
		value uint64
	}{
		{"core files", unix.RLIMIT_CORE, 0},
		{"open files", unix.RLIMIT_NOFILE, l.Files},
		{"size of a file", unix.RLIMIT_FSIZE, uint64(max(l.File, 0))},
		{"memory", unix.RLIMIT_DATA, uint64(max(l.Data, 0))},
	} {
		if err := set(limit.name, limit.what, limit.value); err != nil {
			return err
		}
	}
	// Both only make room for others: a host that forbids them is no obstacle.
	threads, _ := filepath.Glob("/proc/self/task/*")
	for _, thread := range threads { // Linux has a nice value a thread, which new ones inherit
		if id, err := strconv.Atoi(filepath.Base(thread)); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, l.Nice)
		}
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(l.OOM)), 0)
	return nil
}
