package main

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/fairlead/fairlead/server"
)

// TestSocketOutlivesTheDaemon passes a socket as systemd does. A connection
// made while no daemon runs waits for the next one.
func TestSocketOutlivesTheDaemon(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := newWorld(t)
	w.begin(acme("1"))
	w.env = append(w.env, "FAIRLEAD_FRONT_HTTP=off", "LISTEN_FDS=1", "LISTEN_FDNAMES=https")
	run := func() *exec.Cmd {
		t.Helper()
		cmd := w.command()
		cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" run`, os.Args[0]}
		cmd.ExtraFiles = []*os.File{f}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	first := run()
	waitFor(t, "the daemon answers", func() bool { return w.run("status").code == 0 && frontOf(t, w) != "" })
	if got := frontOf(t, w); got != l.Addr().String() {
		t.Errorf("it listens on %q, not on %s", got, l.Addr())
	}
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := first.Wait(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		c := &http.Client{Timeout: limit, Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "nobody.test"}}} // any certificate of its own
		resp, err := c.Get("https://" + l.Addr().String() + "/")
		if err == nil {
			err = resp.Body.Close()
		}
		answered <- err
	}()
	run()
	if err := <-answered; err != nil && !strings.Contains(err.Error(), "tls:") { // a handshake that was refused was an answer
		t.Errorf("the connection was lost: %v", err)
	}
}

// frontOf is where the daemon takes HTTPS; empty: nowhere.
func frontOf(t *testing.T, w *world) string {
	t.Helper()
	var o server.Overview
	if err := json.Unmarshal([]byte(w.must(0, "status", "-o", "json").stdout), &o); err != nil {
		t.Fatal(err)
	}
	for _, l := range o.Front {
		if l.Open && l.Passed && l.Name == "https" {
			return l.Address
		}
	}
	return ""
}
