package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The names of sockets that may be passed to the daemon: FileDescriptorName=
// of the units in scripts.
const (
	socketHTTP  = "http"
	socketHTTPS = "https"
)

// sockets are the listeners that whoever started the process passed to it, by
// name. A connection that arrives while no daemon runs waits in them.
type sockets map[string][]net.Listener

// firstSocket is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstSocket = 3

// inheritSockets takes over what is passed to process pid, and keeps it from
// processes that this one starts. It is called once, before any is started.
func inheritSockets(getenv func(string) string, pid int) (sockets, error) {
	names, err := socketNames(getenv, pid)
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		err = errors.Join(err, os.Unsetenv(name))
	}
	if err != nil {
		return nil, fmt.Errorf("take over sockets: %w", err)
	}
	for i := range names {
		unix.CloseOnExec(firstSocket + i) // all of them first: one may be refused
	}
	s := sockets{}
	for i, name := range names {
		l, err := adopt(firstSocket+i, name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("take over socket %s (descriptor %d): %w", name, firstSocket+i, err), s.Close())
		}
		s[name] = append(s[name], l)
	}
	return s, nil
}

// maxSockets is more than anybody passes and bounds what is read.
const maxSockets = 64

// socketNames reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES: one name for
// each descriptor from firstSocket on. Sockets of another process are none.
func socketNames(getenv func(string) string, pid int) ([]string, error) {
	whom, count := getenv("LISTEN_PID"), getenv("LISTEN_FDS")
	if whom == "" || count == "" {
		return nil, nil
	}
	whose, err := strconv.ParseUint(whom, 10, 31)
	if err != nil {
		return nil, fmt.Errorf("LISTEN_PID: %q is not a process", whom)
	}
	if int(whose) != pid {
		return nil, nil // meant for a parent, which did not unset it
	}
	n, err := strconv.ParseUint(count, 10, 31)
	if err != nil || n > maxSockets {
		return nil, fmt.Errorf("LISTEN_FDS: %q is not a number up to %d", count, maxSockets)
	}
	if n == 0 {
		return nil, nil
	}
	names := strings.Split(getenv("LISTEN_FDNAMES"), ":")
	if len(names) != int(n) {
		return nil, fmt.Errorf("LISTEN_FDNAMES: %d sockets have %d names: set FileDescriptorName= in each socket unit", n, len(names))
	}
	known := []string{socketHTTP, socketHTTPS}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("LISTEN_FDNAMES: nothing listens on a socket called %q: FileDescriptorName= is one of %s", name, strings.Join(known, ", "))
		}
	}
	return names, nil
}

// adopt makes a listener of a descriptor, which it closes.
func adopt(fd int, name string) (net.Listener, error) {
	f := os.NewFile(uintptr(fd), name)
	if f == nil {
		return nil, errors.New("there is no such descriptor")
	}
	defer f.Close() // the listener has its own
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, fmt.Errorf("it is not a socket: %w", err)
	}
	if listens == 0 {
		return nil, errors.New("it does not listen: the socket unit wants ListenStream= and Accept=no")
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	if _, ok := l.(*net.TCPListener); !ok {
		return nil, errors.Join(fmt.Errorf("it listens on %s, not on a port", l.Addr()), l.Close())
	}
	return l, nil
}

// Close closes what nobody took.
func (s sockets) Close() error {
	var errs []error
	for name, list := range s {
		for _, l := range list {
			errs = append(errs, l.Close())
		}
		delete(s, name)
	}
	return errors.Join(errs...)
}
