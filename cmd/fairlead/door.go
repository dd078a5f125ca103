package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/fairlead/fairlead/server"
)

// door is a listener that opens when it is wanted: a host on which no instance
// has a front keeps its ports for whoever else uses them. A port that is taken
// is tried again. A socket that was passed to the process is always open.
type door struct {
	name, address string
	what          string // it listens for
	log           *logrus.Entry
	change        chan struct{} // capacity 1: wanted is another one
	done          chan struct{}
	closeOnce     sync.Once

	mu     sync.Mutex
	wanted bool
	passed bool
	open   net.Listener  // nil: it is shut
	opened chan struct{} // closed when it is open
	err    error
}

var _ net.Listener = (*door)(nil)

// The pauses between two tries at a port that is taken.
const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

func newDoor(name, address string, passed []net.Listener, log *logrus.Entry) *door {
	d := &door{name: name, address: address, what: "the front", log: log.WithField("listener", name),
		change: make(chan struct{}, 1), done: make(chan struct{}), opened: make(chan struct{})}
	if len(passed) > 0 {
		d.passed, d.open = true, together(passed)
		close(d.opened)
	}
	return d
}

// want says whether the door is to be open.
func (d *door) want(open bool) {
	d.mu.Lock()
	same := d.wanted == open
	d.wanted = open
	d.mu.Unlock()
	if same {
		return
	}
	select {
	case d.change <- struct{}{}:
	default:
	}
}

// Run opens and shuts until ctx ends.
func (d *door) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for pause := firstRetry; ; {
		select {
		case <-ctx.Done():
			return
		case <-d.change:
			pause = firstRetry
		case <-timer.C:
		}
		if !d.settle(ctx) {
			timer.Reset(pause)
			pause = min(2*pause, lastRetry)
		}
	}
}

// settle makes the door as it is wanted, and reports whether it is.
func (d *door) settle(ctx context.Context) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.passed, d.isDone():
	case !d.wanted:
		d.err = nil
		d.shutLocked()
	case d.open == nil:
		return d.openLocked(ctx)
	}
	return true
}

func (d *door) openLocked(ctx context.Context) bool {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", d.address)
	if err != nil {
		if d.err == nil || d.err.Error() != err.Error() {
			d.log.WithError(err).Error("Listen for " + d.what + "; it is tried again until the port is free")
		}
		d.err = err
		return false
	}
	d.err, d.open = nil, l
	close(d.opened)
	d.log.WithField("address", l.Addr().String()).Info("Listen for " + d.what)
	return true
}

func (d *door) shutLocked() {
	if d.open == nil {
		return
	}
	d.log.Info("Listen no more: no instance has a front")
	_ = d.open.Close() // there is nothing to do about a port that does not close
	d.open, d.opened = nil, make(chan struct{})
}

func (d *door) isDone() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// isOpen is closed while the door is open.
func (d *door) isOpen() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opened
}

// Accept implements net.Listener. It waits while the door is shut.
func (d *door) Accept() (net.Conn, error) {
	for {
		d.mu.Lock()
		l, opened := d.open, d.opened
		d.mu.Unlock()
		if l == nil {
			select {
			case <-opened:
				continue
			case <-d.done:
				return nil, net.ErrClosed
			}
		}
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) && !d.isDone() {
			continue // it was shut
		}
		return conn, err
	}
}

// Close implements net.Listener. A socket that was passed goes on to listen in
// the process that keeps it.
func (d *door) Close() error {
	d.closeOnce.Do(func() { close(d.done) })
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		return nil
	}
	return d.open.Close()
}

// Addr implements net.Listener.
func (d *door) Addr() net.Addr {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open != nil {
		return d.open.Addr()
	}
	return doorAddr(d.address)
}

// doorAddr is the address of a door that is shut.
type doorAddr string

func (doorAddr) Network() string  { return "tcp" }
func (a doorAddr) String() string { return string(a) }

// info says where the door is, and why it is not open.
func (d *door) info() server.Listener {
	info := server.Listener{Name: d.name, Address: d.Addr().String()}
	d.mu.Lock()
	defer d.mu.Unlock()
	info.Open, info.Passed = d.open != nil, d.passed
	if d.err != nil {
		info.Error = d.err.Error()
	}
	return info
}

// together makes one listener of several: sockets of one name may stand for
// IPv4 and IPv6.
func together(list []net.Listener) net.Listener {
	if len(list) == 1 {
		return list[0]
	}
	m := &merged{list: list, accepted: make(chan accepted), done: make(chan struct{})}
	for _, l := range list {
		go m.accept(l)
	}
	return m
}

type merged struct {
	list     []net.Listener
	accepted chan accepted
	done     chan struct{}
	once     sync.Once
}

type accepted struct {
	conn net.Conn
	err  error
}

func (m *merged) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		select {
		case m.accepted <- accepted{conn, err}:
		case <-m.done:
			if conn != nil {
				_ = conn.Close() // nobody takes it any more
			}
			return
		}
	}
}

func (m *merged) Accept() (net.Conn, error) {
	select {
	case a := <-m.accepted:
		return a.conn, a.err
	case <-m.done:
		return nil, net.ErrClosed
	}
}

func (m *merged) Close() error {
	var errs []error
	m.once.Do(func() {
		close(m.done)
		for _, l := range m.list {
			errs = append(errs, l.Close())
		}
	})
	return errors.Join(errs...)
}

func (m *merged) Addr() net.Addr { return m.list[0].Addr() }
