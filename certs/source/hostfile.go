package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
)

// readHostFile reads a file that the operator named. One that holds a
// credential must not be for everybody.
func readHostFile(name string, secret bool) ([]byte, error) {
	file, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO would block
	if err != nil {
		return nil, fail(ErrRefused, "open %s: %s", name, cause(err))
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fail(ErrRefused, "stat %s: %s", name, cause(err))
	case !info.Mode().IsRegular():
		return nil, fail(ErrRefused, "%s is not a regular file", name)
	case secret && info.Mode().Perm()&0o007 != 0:
		return nil, fail(ErrRefused, "%s holds a credential and is open to everybody (%s); chmod 600 it", name, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(file, MaxSize+1))
	if err != nil || len(data) > MaxSize {
		return nil, fail(ErrRefused, "%s does not read, or is larger than %d bytes", name, MaxSize)
	}
	return data, nil
}

// cause is the system's word for an error of a file.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return fmt.Sprintf("%T", err)
}
