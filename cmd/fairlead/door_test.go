package main

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
)

// opening runs a door and serves "hello" on it until the test ends.
func opening(t *testing.T, d *door) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { d.Run(ctx) })
	all.Go(func() {
		for {
			conn, err := d.Accept()
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("accept: %v", err)
				}
				return
			}
			_, _ = io.WriteString(conn, "hello")
			_ = conn.Close()
		}
	})
	t.Cleanup(func() {
		cancel()
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		all.Wait()
	})
}

// greets reports whether somebody serves at an address.
func greets(address string) bool {
	conn, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return false
	}
	got, err := io.ReadAll(conn)
	return err == nil && string(got) == "hello"
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("wait until %s", what)
		case <-tick.C:
		}
	}
}

func TestDoorOpensWhenItIsWanted(t *testing.T) {
	at := ports.Address(t)
	d := newDoor("https", at, nil, quietLog())
	opening(t, d)
	if info := d.info(); info.Open || info.Address != at {
		t.Errorf("it is open unasked: %+v", info)
	}
	for range 3 {
		d.want(true)
		waitFor(t, "it is open", func() bool { return d.info().Open })
		address := d.info().Address
		if !greets(address) {
			t.Fatalf("nobody serves at %s", address)
		}
		d.want(true) // changes nothing
		d.want(false)
		waitFor(t, "it is shut", func() bool { return !d.info().Open })
		if greets(address) {
			t.Fatal("it is shut and serves")
		}
	}
}

func TestDoorWaitsForAPortThatIsTaken(t *testing.T) {
	address := ports.Address(t)
	other, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor("http", address, nil, quietLog())
	opening(t, d)
	d.want(true)
	waitFor(t, "it says why it is not open", func() bool { return d.info().Error != "" })
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the port is taken over", func() bool { return greets(address) })
	if info := d.info(); !info.Open || info.Error != "" {
		t.Errorf("got %+v", info)
	}
}

func TestDoorOfPassedSockets(t *testing.T) {
	for n := 1; n <= 2; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			var passed []net.Listener
			for range n {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				passed = append(passed, l)
			}
			d := newDoor("https", ":443", passed, quietLog())
			opening(t, d)
			d.want(true)
			d.want(false) // a passed socket stays open
			for _, l := range passed {
				waitFor(t, "it serves", func() bool { return greets(l.Addr().String()) })
			}
			if info := d.info(); !info.Open || !info.Passed {
				t.Errorf("got %+v", info)
			}
		})
	}
}

func TestDoorThatIsClosedWhileShut(t *testing.T) {
	d := newDoor("https", "127.0.0.1:0", nil, quietLog())
	ended := make(chan error, 1)
	go func() { _, err := d.Accept(); ended <- err }()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestFrontIsOff: both addresses off lead nothing, unless sockets were passed.
func TestFrontIsOff(t *testing.T) {
	s := defaultSettings()
	s.Front.HTTP, s.Front.HTTPS = off, off
	if l := newLead(s, sockets{}, quietLog()); l != nil {
		t.Error("a front that is off leads")
	}
	s.Front.HTTPS = "127.0.0.1:8443"
	if l := newLead(s, sockets{}, quietLog()); l == nil || l.plain != nil || l.port() != 8443 || len(l.listeners()) != 1 {
		t.Errorf("got %+v", l)
	}
}
