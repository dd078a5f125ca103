package main_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/examples/registry"
)

// channel is one instance that follows a channel of a registry of its own, on a
// real engine.
type channel struct {
	*crash
	name  string
	agent []string // further arguments of every command
}

func newChannel(t *testing.T) *channel {
	t.Helper()
	t.Parallel()
	c := &channel{crash: newCrash(t, 1)}
	c.name = c.instances[0]
	c.agent = []string{"--front-http", "off", "--front-https", ports.Address(t), "--poll", "1s"}
	return c
}

// push makes a build and moves the channel to it.
func (c *channel) push(app registry.App) string {
	c.t.Helper()
	_, digest, err := c.reg.Push(c.t.Context(), "app", "stable", app)
	if err != nil {
		c.t.Fatal(err)
	}
	return digest
}

// want commits an instance that follows the channel, with more of instance.yaml
// and of its service.
func (c *channel) want(more, service string) {
	c.t.Helper()
	c.n++
	dir := filepath.Join(c.repo, "instances", c.name)
	files := map[string]string{
		"instance.yaml": "apiVersion: fairlead/v1\nname: " + c.name + "\nrelease: {image: " + c.reg.Addr() + "/app, channel: stable}\n" +
			"health: {service: app, port: 8000, path: /readyz, timeout: 90s, bake: 100ms}\n" + more,
		"compose.yaml": fmt.Sprintf("services:\n  app:\n    image: %s/app:whatever\n    environment: {ROUND: \"%d\"}\n%s"+
			"    healthcheck: {test: [CMD, /app, healthcheck], interval: 200ms}\n", c.reg.Addr(), c.n, service),
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	c.git("add", "-A")
	c.git("commit", "-qm", fmt.Sprintf("Round %d", c.n))
}

// begin runs a daemon until the test ends.
func (c *channel) begin() {
	c.t.Helper()
	cmd, out := c.daemon(append([]string{"run"}, c.agent...)...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(2 * time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			c.t.Error("the daemon does not end")
		}
		if c.t.Failed() {
			c.t.Logf("daemon:\n%s", out)
		}
	})
	c.await("the daemon answers", func() bool { return c.command("status").code == 0 })
}

type outcome struct {
	code int
	text string
}

func (c *channel) command(args ...string) outcome {
	c.t.Helper()
	cmd, out := c.daemon(args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String()}
}

// must runs a command that has to end with the code, and to say what is given.
func (c *channel) must(code int, says string, args ...string) string {
	c.t.Helper()
	got := c.command(args...)
	if got.code != code || !strings.Contains(got.text, says) {
		c.t.Fatalf("fairlead %v ended with %d, want %d and %q:\n%s", args, got.code, code, says, got.text)
	}
	return got.text
}

func (c *channel) await(what string, ok func() bool) {
	c.t.Helper()
	tick, end := time.NewTicker(100*time.Millisecond), time.After(4*time.Minute)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			c.t.Fatalf("wait until %s:\n%s", what, c.command("status", c.name).text)
		case <-tick.C:
		}
	}
}

// followed is what the status says of a release.
type followed struct {
	Phase      string
	Generation int
	Release    struct {
		Ref, Running, Newest, Error string
		RunningRelease              string `json:"running_release"`
		Deferred                    *struct{ Reason, Message string }
		Since                       time.Time
	}
	Front      []string
	Conditions []struct{ Type, Status, Reason, Message string }
	Containers []struct{ State, Health string }
}

func (c *channel) status() (s followed) {
	c.t.Helper()
	got := c.command("status", c.name, "-o", "json")
	if err := json.Unmarshal([]byte(got.text), &s); err != nil {
		c.t.Fatalf("%v\n%s", err, got.text)
	}
	return s
}

func (c *channel) runs(digest string) bool {
	s := c.status()
	return s.Phase == "Idle" && strings.HasSuffix(s.Release.Running, digest)
}

// TestChannelIsFollowed: a tag that moves is found without being asked for, by
// digest, and the history says which release it was.
func TestChannelIsFollowed(t *testing.T) {
	c := newChannel(t)
	first := c.push(registry.App{Version: "2026.11.1"})
	c.want("upgrade: {every: 10s}\n", "")
	c.begin()
	c.await("the first release runs", func() bool { return c.runs(first) })
	if s := c.status(); s.Release.RunningRelease != "2026.11.1" || s.Release.Ref != c.reg.Ref("app", "stable") {
		t.Errorf("got %+v", s.Release)
	}
	second := c.push(registry.App{Version: "2026.11.2"})
	c.await("the second release runs", func() bool { return c.runs(second) })
	c.must(0, "2026.11.2", "history", c.name)
	c.must(0, "channel stable", "history", c.name)
	c.must(0, "stable 2026.11.2", "status")
	c.must(0, "Up to date", "apply", c.name)

	sick := c.push(registry.App{Version: "2026.11.3", Sick: true})
	c.await("the sick release is in quarantine", func() bool { return c.status().Phase == "Quarantined" })
	if s := c.status(); !strings.HasSuffix(s.Release.Running, second) || !strings.HasSuffix(s.Release.Newest, sick) {
		t.Errorf("got %+v", s.Release)
	}
	c.must(3, "2026.11.3", "apply", c.name)
}

// TestReleaseWaitsForItsTime: the window holds a release back, visibly, and
// only that; a person can take it.
func TestReleaseWaitsForItsTime(t *testing.T) {
	c := newChannel(t)
	first := c.push(registry.App{Version: "2026.11.1"})
	c.want(fmt.Sprintf("upgrade: {window: \"%s 00:00-00:30 UTC\"}\n", time.Now().Add(4*24*time.Hour).UTC().Format("Mon")), "")
	c.begin()
	c.must(0, "", "apply", c.name)
	if !c.runs(first) {
		t.Fatalf("a first deployment waits: %+v", c.status())
	}
	second := c.push(registry.App{Version: "2026.11.2"})
	c.must(5, "release 2026.11.2 waits for the window", "apply", c.name)
	if s := c.status(); s.Phase != "Deferred" || s.Release.Deferred == nil || s.Release.Deferred.Reason != "Window" || !strings.HasSuffix(s.Release.Running, first) {
		t.Errorf("got %+v", s)
	}
	c.must(0, "fairlead apply --now "+c.name, "plan", c.name)
	c.must(0, "Window", "why", c.name+"/app")
	c.must(0, "deferred", "status", c.name)

	c.want(fmt.Sprintf("upgrade: {window: \"%s 00:00-00:30 UTC\"}\n", time.Now().Add(4*24*time.Hour).UTC().Format("Mon")), "    labels: {changed: \"yes\"}\n")
	c.must(0, "Applied "+c.name, "apply", c.name)
	if s := c.status(); !strings.HasSuffix(s.Release.Running, first) {
		t.Errorf("a commit brought the release along: %+v", s.Release)
	}
	c.must(0, "Applied "+c.name, "apply", "--now", c.name)
	if !c.runs(second) {
		t.Errorf("got %+v", c.status())
	}
	c.must(0, "UpgradeAsked", "events", c.name)
}

// TestRegistryIsGone is law 14: what runs runs on and is healed, and the status
// says since when nobody answers.
func TestRegistryIsGone(t *testing.T) {
	c := newChannel(t)
	first := c.push(registry.App{Version: "2026.11.1"})
	c.want("", "")
	c.begin()
	c.await("the first release runs", func() bool { return c.runs(first) })
	c.reg.Fault(registry.Fault{Status: http.StatusInternalServerError})
	c.must(0, "The registry could not be asked what is newest", "apply", c.name)
	s := c.status()
	if s.Release.Error == "" || s.Release.Since.IsZero() || !strings.HasSuffix(s.Release.Running, first) {
		t.Errorf("got %+v", s.Release)
	}
	c.must(0, "does not answer since", "status", c.name)
	for _, l := range c.list() {
		_ = c.docker.ContainerRemove(t.Context(), l.ID, container.RemoveOptions{Force: true})
	}
	c.await("it is healed", func() bool {
		s := c.status()
		return len(s.Containers) == 1 && s.Containers[0].Health == "healthy"
	})
	metrics := c.metrics()
	for _, want := range []string{`fairlead_release_failing{instance="` + c.name + `"} 1`, `fairlead_instance_generation{instance="` + c.name + `"} 1`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s:\n%s", want, metrics)
		}
	}
	c.reg.ClearFaults()
	c.must(0, "", "apply", c.name)
	if s := c.status(); s.Release.Error != "" {
		t.Errorf("got %+v", s.Release)
	}
}

func (c *channel) metrics() string {
	c.t.Helper()
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(c.data, "fairlead.sock"))
	}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://fairlead/metrics")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		c.t.Fatalf("%s, %v: %s", resp.Status, err, body)
	}
	return string(body)
}

// TestFrontLeadsRequests: requests reach the application over TLS, and a
// stop-first upgrade makes them wait, not fail.
func TestFrontLeadsRequests(t *testing.T) {
	c := newChannel(t)
	first := c.push(registry.App{Version: "2026.11.1"})
	front := "front:\n  - {host: data.example.com, to: \"app:8000\"}\n"
	c.want(front, "")
	c.begin()
	c.await("the first release runs", func() bool { return c.runs(first) })
	address := c.front()
	get := c.client(address)
	if got := get(); !strings.Contains(got, "2026.11.1") {
		t.Fatalf("got %q", got)
	}
	stop, failed := make(chan struct{}), make(chan string, 1)
	go func() {
		for {
			select {
			case <-stop:
				failed <- ""
				return
			default:
			}
			if got := get(); !strings.Contains(got, "2026.11.") {
				failed <- got
				return
			}
		}
	}()
	second := c.push(registry.App{Version: "2026.11.2"})
	said := c.must(0, "requests to data.example.com are held while app is replaced", "plan", c.name)
	if !strings.Contains(said, "at most 30s") {
		t.Errorf("got %s", said)
	}
	c.must(0, "requests to data.example.com are held", "apply", c.name)
	if !c.runs(second) {
		t.Fatalf("got %+v", c.status())
	}
	if got := get(); !strings.Contains(got, "2026.11.2") {
		t.Errorf("got %q", got)
	}
	close(stop)
	if got := <-failed; got != "" {
		t.Errorf("a request failed: %s", got)
	}
	c.must(0, "none refused", "history", c.name, "--full")
	metrics := c.metrics()
	for _, want := range []string{`fairlead_last_interruption_seconds{instance="` + c.name + `",service="app"}`,
		`fairlead_front_requests_total{code="2xx",host="data.example.com",instance="` + c.name + `"}`,
		`fairlead_applies_total{instance="` + c.name + `",kind="deploy",outcome="Applied"} 2`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics have no %s:\n%s", want, metrics)
		}
	}
	c.push(registry.App{Version: "2026.11.3"})
	c.must(0, "last time", "plan", c.name)
	c.want("", "")
	c.must(0, "", "apply", c.name)
	c.await("the port is given back", func() bool { return c.front() == "" })
	if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
		conn.Close()
		t.Error("it still listens")
	}
}

// TestApplyAloneLeadsNothing says so, instead of letting people wonder.
func TestApplyAloneLeadsNothing(t *testing.T) {
	c := newChannel(t)
	c.push(registry.App{Version: "2026.11.1"})
	c.want("front:\n  - {host: data.example.com, to: \"app:8000\"}\n", "")
	c.must(0, "No daemon runs, so nobody leads requests to data.example.com", "apply", c.name)
}

// front is where the daemon takes HTTPS; empty: nowhere.
func (c *channel) front() string {
	c.t.Helper()
	var o struct {
		Front []struct {
			Name, Address string
			Open          bool
		}
	}
	got := c.command("status", "-o", "json")
	if err := json.Unmarshal([]byte(got.text), &o); err != nil {
		c.t.Fatalf("%v\n%s", err, got.text)
	}
	for _, l := range o.Front {
		if l.Name == "https" && l.Open {
			return l.Address
		}
	}
	return ""
}

// client asks the front for the application's version.
func (c *channel) client(address string) func() string {
	client := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "data.example.com"}, // its own certificate
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}}}
	c.t.Cleanup(client.CloseIdleConnections)
	return func() string {
		resp, err := client.Get("https://data.example.com/version")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err := io.Copy(&body, io.LimitReader(resp.Body, 1<<16)); err != nil {
			return err.Error()
		}
		if resp.StatusCode != http.StatusOK {
			return resp.Status + ": " + body.String()
		}
		return body.String()
	}
}
