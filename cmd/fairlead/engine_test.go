package main_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/client"
)

// TestEngineRestart takes the engine away from a running daemon: in the middle
// of peace and right after a commit. Nothing may be decided meanwhile; when the
// engine is back, the newest revision is converged to.
func TestEngineRestart(t *testing.T) {
	apart := newApart(t)
	apart.engine("up")
	c := newCrash(t, 2)
	c.useEngine("unix://" + apart.socket)
	c.commit("1.0.0")
	daemon, out := c.daemon("run", "--poll", "1s", "--docker-host", "unix://"+apart.socket)
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = daemon.Process.Kill(); _ = daemon.Wait() })
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("daemon:\n%s", out)
		}
	})
	c.until("both deployed", func(s status) bool { return s.Sync == "Synced" && s.Health == "Healthy" })
	apart.engine("down")
	c.until("the engine is missed", func(s status) bool { return s.Sync == "Unknown" && s.reason("ContainersReady") == "EngineUnreachable" })
	c.commit("1.0.1")
	apart.engine("up")
	c.until("both upgraded", func(s status) bool {
		return s.Sync == "Synced" && s.Health == "Healthy" && s.Generation == 2 && len(s.Containers) == 1 &&
			strings.HasSuffix(s.Containers[0].Image, ":1.0.1")
	})
	for _, name := range c.instances {
		for _, rec := range c.history(name) {
			// A heal may have begun while the engine was going down.
			if rec.Kind == "deploy" && rec.Outcome != "Applied" {
				t.Errorf("%s: the missing engine was taken for a failure: %+v", name, rec)
			}
		}
	}
}

// apart is an engine of this test's own.
type apart struct {
	t      *testing.T
	root   string
	socket string
}

func newApart(t *testing.T) *apart {
	t.Helper()
	root, err := os.MkdirTemp("", "fle") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	a := &apart{t: t, root: root, socket: filepath.Join(root, "docker.sock")}
	t.Cleanup(func() { a.engine("down"); _ = os.RemoveAll(root) })
	return a
}

func (a *apart) engine(command string) {
	a.t.Helper()
	cmd := exec.Command("../../scripts/engine.sh", command)
	cmd.Env = append(os.Environ(), "FAIRLEAD_ENGINE_ROOT="+a.root, "DOCKER_HOST=")
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("engine %s: %v\n%s", command, err, out)
	}
}

func (c *crash) useEngine(host string) {
	c.t.Helper()
	_ = c.docker.Close()
	var err error
	if c.docker, err = client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation()); err != nil {
		c.t.Fatal(err)
	}
}

// status is what the CLI prints of an instance, as far as it is looked at.
type status struct {
	Name, Sync, Health, Phase string
	Generation                int
	Conditions                []struct{ Type, Status, Reason, Message string }
	Containers                []struct{ Name, Image, State string }
}

func (s status) reason(kind string) string {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c.Reason
		}
	}
	return ""
}

// until waits until every instance is as it should be.
func (c *crash) until(what string, ok func(status) bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 4*time.Minute)
	defer cancel()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	var last string
	for {
		good := 0
		for _, name := range c.instances {
			cmd, out := c.daemon("status", name, "-o", "json")
			var s status
			if err := cmd.Run(); err == nil && json.Unmarshal(out.Bytes(), &s) == nil && ok(s) {
				good++
			} else {
				last = out.String()
			}
		}
		if good == len(c.instances) {
			return
		}
		select {
		case <-ctx.Done():
			c.t.Fatalf("wait until %s: %d of %d; the last that is not:\n%s", what, good, len(c.instances), last)
		case <-tick.C:
		}
	}
}

type record struct{ Kind, Outcome, Reason string }

func (c *crash) history(name string) (list []record) {
	c.t.Helper()
	cmd, out := c.daemon("history", name, "-o", "json")
	if err := cmd.Run(); err != nil {
		c.t.Fatalf("history: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		c.t.Fatalf("history: %v\n%s", err, out)
	}
	return list
}
