package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// takeLock makes this build a single writer: it holds an exclusive lock on a file until the process ends or the lock
// is closed. A lock that another process holds is an error at once. kind is fcntl (record locks, what databases use)
// or flock.
func takeLock(name, kind string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	switch kind {
	case "fcntl":
		err = syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
	case "flock":
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	default:
		err = fmt.Errorf("APP_LOCK_KIND %q is neither fcntl nor flock", kind)
	}
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EACCES):
		err = exitError{code: 1, reason: "another process holds the lock on " + name + ": there may be only one writer"}
	case err != nil:
		err = fmt.Errorf("lock %s: %w", name, err)
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, err
	}
	return f, nil
}
