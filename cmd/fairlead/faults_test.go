package main_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/server"
)

// TestRegistryFaultsLeaveWhatRuns: instances with a registry each, and each
// registry fails in its own way when a new release is there. What runs is not
// touched, the status says why and since when, and once the registry is well
// the upgrade comes by itself.
func TestRegistryFaultsLeaveWhatRuns(t *testing.T) {
	list := []*fault{
		{name: "429", fault: registry.Fault{Status: http.StatusTooManyRequests, RetryAfter: 8 * time.Second}, says: "limits how often"},
		{name: "500", fault: registry.Fault{Status: http.StatusInternalServerError}, says: "status 500"},
		{name: "slow", fault: registry.Fault{Match: registry.Manifests, Delay: time.Hour}, says: "in time"},
		{name: "garbage", fault: registry.Fault{Match: registry.Manifests, Garbage: "<html>Please log in</html>"}, says: "no image manifest"},
		{name: "wrong digest", fault: registry.Fault{Match: registry.Manifests, Header: func(h http.Header) {
			h.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("ab", 32))
		}}, says: "does not have it"},
		// The registry answers, and breaks off in the middle of a layer.
		{name: "pull cut halfway", fault: registry.Fault{Match: registry.Blobs, Cut: true, CutAfter: 300 << 10}},
	}
	t.Parallel()
	fleet := newCrash(t, len(list))
	for i, f := range list {
		f.channel = channelOf(fleet, i)
		f.first = f.push(registry.App{Version: "2026.11.1"})
		f.want("upgrade: {every: 10s}\n", "")
	}
	list[0].launch()
	for _, f := range list {
		f.await(f.name+": the first release runs", func() bool { return f.runs(f.first) })
		f.since = f.inspect(f.app()).State.StartedAt
		f.reg.Fault(f.fault)
		f.reg.ResetRequests()
		f.second = f.push(registry.App{Version: "2026.11.2", Build: f.channel.name, BigMiB: 1}) // a layer that no other has
	}
	for _, f := range list {
		f.await(f.name+": the fault is told", f.told)
		f.untouched()
	}
	for _, f := range list {
		f.reg.ClearFaults()
	}
	for _, f := range list {
		f.await(f.name+": the second release runs", func() bool { return f.runs(f.second) })
		for _, rec := range f.channel.history(f.channel.name) {
			if rec.Outcome != "Applied" {
				t.Errorf("%s: the registry's fault was taken for the release's: %+v", f.name, rec)
			}
		}
	}
}

// fault is one registry that fails, and the instance that follows it.
type fault struct {
	*channel
	name, says           string
	fault                registry.Fault
	first, second, since string
}

// told reports whether the status says what is wrong, and since when.
func (f *fault) told() bool {
	s := f.status()
	if f.says == "" {
		blobs := 0
		for _, r := range f.reg.Requests() {
			if r.Method == http.MethodGet && strings.Contains(r.Path, "/blobs/") {
				blobs++
			}
		}
		return blobs > 0 && strings.HasSuffix(s.Release.Newest, f.second)
	}
	for _, c := range s.Conditions {
		if c.Type == "ReleaseReady" {
			return c.Status == "Unknown" && c.Reason == "RegistryUnreachable" && strings.HasPrefix(c.Message, "since 20") &&
				strings.Contains(c.Message, f.says) && !s.Release.Since.IsZero()
		}
	}
	return false
}

func (f *fault) untouched() {
	f.t.Helper()
	in := f.inspect(f.app())
	if s := f.status(); !in.State.Running || in.State.StartedAt != f.since || !strings.HasSuffix(s.Release.Running, f.first) {
		f.t.Errorf("%s: what ran was touched: %+v, %+v", f.name, in.State, s.Release)
	}
}

// channelOf is one instance of a fleet, with a registry of its own.
func channelOf(fleet *crash, i int) *channel {
	own := *fleet
	own.reg = registry.Test(fleet.t)
	return &channel{crash: &own, name: fleet.instances[i],
		agent: []string{"--front-http", "off", "--front-https", ports.Address(fleet.t), "--poll", "1s"}}
}

func (c *channel) app() string { return c.name + "-app-1" }

// process is a daemon that may be killed.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// launch runs a daemon until it is killed or the test ends.
func (c *channel) launch(args ...string) *process {
	c.t.Helper()
	cmd, out := c.daemon(append(append([]string{"run"}, c.agent...), args...)...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	p := &process{cmd, make(chan struct{})}
	go func() { _ = cmd.Wait(); close(p.ended) }()
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.ended:
		case <-time.After(2 * time.Minute):
			p.kill()
		}
		if c.t.Failed() {
			c.t.Logf("daemon:\n%s", out)
		}
	})
	client := server.NewClient(filepath.Join(c.data, "fairlead.sock"), "") // status would answer without a daemon, too
	defer client.Close()
	c.await("the daemon answers", func() bool { return client.Alive(c.t.Context()) == nil })
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// single commits an instance with one writer: it holds a lock on a file of its
// volume as long as it lives, which is stopDelay longer than it is told, and a
// second one beside it ends with an error.
func (c *channel) single(bake, stopDelay string) {
	c.t.Helper()
	c.n++
	dir := filepath.Join(c.repo, "instances", c.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"instance.yaml": fmt.Sprintf("apiVersion: fairlead/v1\nname: %s\nrelease: {image: %s/app, channel: stable}\n"+
			"upgrade: {every: 10s, locks: [\"app:/data/app.lock\"]}\n"+
			"health: {service: app, port: 8000, path: /readyz, timeout: 90s, bake: %s}\n", c.name, c.reg.Addr(), bake),
		"compose.yaml": fmt.Sprintf("services:\n  app:\n    image: %s/app:whatever\n    restart: always\n    volumes: [\"data:/data\"]\n"+
			"    environment: {ROUND: \"%d\", APP_LOCK: /data/app.lock, APP_STOP_DELAY: %s}\n"+
			"    healthcheck: {interval: 200ms, test: [CMD, /app, healthcheck]}\n"+
			"volumes: {data: {}}\n", c.reg.Addr(), c.n, stopDelay),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
	c.git("add", "-A")
	c.git("commit", "-qm", fmt.Sprintf("Round %d", c.n))
}

// alone checks that one container is there, that it runs, and that no second
// writer ever ran beside it.
func (c *channel) alone() {
	c.t.Helper()
	c.await("only one container is left", func() bool { return len(c.list()) == 1 })
	if in := c.inspect(c.app()); !in.State.Running || in.RestartCount != 0 {
		c.t.Errorf("%s: running %t, restarted %d times", c.app(), in.State.Running, in.RestartCount)
	}
}

func (c *channel) outcomes() (list []string) {
	for _, rec := range c.history(c.name) {
		list = append(list, rec.Outcome)
	}
	return list
}

// TestKilledBetweenStopAndStart kills the daemon when the old container was
// told to stop: it ends, and nobody is there to start its successor. The next
// start of the daemon finishes a good release, and undoes a sick one.
func TestKilledBetweenStopAndStart(t *testing.T) {
	c := newChannel(t)
	first := c.push(registry.App{Version: "2026.11.1"})
	c.single("100ms", "8s")
	daemon := c.launch()
	c.await("the first release runs", func() bool { return c.runs(first) })

	daemon = c.killAt(daemon, registry.App{Version: "2026.11.2"})
	second := c.push(registry.App{Version: "2026.11.2"}) // the same build, the same digest
	c.await("the switch is finished", func() bool { return c.runs(second) })
	c.alone()

	old := c.inspect(c.app()).ID
	c.killAt(daemon, registry.App{Version: "2026.11.3", Sick: true})
	c.await("the sick release is undone", func() bool { return c.status().Phase == "Quarantined" && c.runsOn(second) })
	c.alone()
	if in := c.inspect(c.app()); in.ID != old || in.HostConfig.RestartPolicy.Name != "always" {
		t.Errorf("back is %s with restart: %s, want %s with always", in.ID, in.HostConfig.RestartPolicy.Name, old)
	}
	if got := c.outcomes(); !slices.Contains(got, "RolledBack") {
		t.Errorf("history says %v", got)
	}
}

func (c *channel) runsOn(digest string) bool {
	return strings.HasSuffix(c.status().Release.Running, digest)
}

// killAt makes a release appear, kills the daemon when what runs is told to
// stop, waits until that has ended, and starts another daemon.
func (c *channel) killAt(daemon *process, app registry.App) *process {
	c.t.Helper()
	id := c.inspect(c.app()).ID
	ctx, cancel := context.WithTimeout(c.t.Context(), 4*time.Minute)
	defer cancel()
	told, failed := c.docker.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("container", id), filters.Arg("event", "kill"), filters.Arg("event", "die"))})
	c.push(app)
	for dead := false; !dead; {
		select {
		case e := <-told:
			if dead = e.Action == events.ActionDie; !dead {
				daemon.kill()
			}
		case err := <-failed:
			c.t.Fatalf("wait for the end of what runs: %v\n%s", err, c.command("status", c.name).text)
		}
	}
	select {
	case <-daemon.ended:
	default:
		c.t.Fatal("it ended before the daemon was killed")
	}
	c.await("nothing runs", func() bool { // the event comes before the state
		return !slices.ContainsFunc(c.list(), func(s container.Summary) bool { return s.State != "exited" && s.State != "created" })
	})
	if n := len(c.list()); n != 2 {
		c.t.Fatalf("%d containers are there, want the one that ended and its successor", n)
	}
	return c.launch()
}

// TestUpgradeIsDisturbed: a commit in the middle of a bake, and a way back for
// which nothing but the old container is left.
func TestUpgradeIsDisturbed(t *testing.T) {
	c := newChannel(t)
	c.push(registry.App{Version: "2026.11.1", Build: c.name}) // no other test has this image
	c.single("100ms", "100ms")
	c.launch()
	c.await("the first release runs", func() bool { return c.status().Phase == "Idle" })

	c.single("10m", "100ms")
	c.await("it bakes", func() bool { return c.status().Phase == "Baking" })
	c.single("100ms", "100ms")
	began, round := time.Now(), fmt.Sprintf("ROUND=%d", c.n)
	c.await("the newer commit is applied", func() bool {
		return c.status().Phase == "Idle" && slices.Contains(c.inspect(c.app()).Config.Env, round)
	})
	t.Logf("a commit took over from a bake of 10m after %s", time.Since(began).Round(time.Millisecond))
	c.alone()
	if got := c.outcomes(); !slices.Contains(got, "Superseded") || slices.Contains(got, "RolledBack") {
		t.Errorf("history says %v", got)
	}

	old := c.inspect(c.app())
	sick := c.push(registry.App{Version: "2026.11.2", Sick: true, StartDelay: 8 * time.Second})
	c.await("the sick release is looked at", func() bool {
		in, err := c.docker.ContainerInspect(t.Context(), c.app())
		return err == nil && in.ID != old.ID && in.State.Running
	})
	c.reg.Fault(registry.Fault{Status: http.StatusInternalServerError})
	if _, err := c.docker.ImageRemove(t.Context(), old.Image, image.RemoveOptions{Force: true, PruneChildren: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.docker.ImageInspect(t.Context(), old.Image); err == nil {
		t.Fatal("the image is still there")
	}
	c.await("the old container is back", func() bool {
		in, err := c.docker.ContainerInspect(t.Context(), c.app())
		return err == nil && in.ID == old.ID && in.State.Running && c.status().Phase == "Quarantined"
	})
	c.alone()
	if s := c.status(); !strings.HasSuffix(s.Release.Newest, sick) || !slices.Contains(c.outcomes(), "RolledBack") {
		t.Errorf("got %+v, history says %v", s.Release, c.outcomes())
	}
}

// TestEngineRestartAndFullDisk has an engine of its own, on a small disk. It is
// restarted while a release is being waited for, and its disk is full while
// another one is pulled.
func TestEngineRestartAndFullDisk(t *testing.T) {
	c := newChannel(t)
	apart := newApart(t)
	apart.mount("256m")
	apart.engine("up")
	c.useEngine("unix://" + apart.socket)
	first := c.push(registry.App{Version: "2026.11.1"})
	c.single("100ms", "1s")
	c.launch("--docker-host", "unix://"+apart.socket)
	c.await("the first release runs", func() bool { return c.runs(first) })
	t.Run("EngineRestart", func(t *testing.T) { c.engineRestart(apart) })
	t.Run("FullDisk", func(t *testing.T) { c.fullDisk(apart) })
}

func (c *channel) engineRestart(apart *apart) {
	old := c.inspect(c.app())
	second := c.push(registry.App{Version: "2026.11.2", StartDelay: 12 * time.Second})
	c.await("the second release is waited for", func() bool {
		in, err := c.docker.ContainerInspect(c.t.Context(), c.app())
		return err == nil && in.ID != old.ID && in.State.Running
	})
	before := c.inspect(old.ID)
	apart.engine("down")
	apart.engine("up")
	if in := c.inspect(old.ID); in.State.Running || in.State.StartedAt != before.State.StartedAt {
		c.t.Errorf("the engine started %s again beside its successor: %+v", in.Name, in.State)
	}
	c.await("the upgrade is done", func() bool { return c.runs(second) })
	c.alone()
	for _, outcome := range c.outcomes() {
		if outcome != "Applied" {
			c.t.Errorf("history says %v: the missing engine was taken for a failure of the release", c.outcomes())
		}
	}
}

func (c *channel) fullDisk(apart *apart) {
	old := c.inspect(c.app())
	third := c.push(registry.App{Version: "2026.11.3", BigMiB: 260})
	c.await("the full disk is told", func() bool {
		s := c.status()
		return slices.ContainsFunc(s.Conditions, func(cond struct{ Type, Status, Reason, Message string }) bool {
			return cond.Type == "ContainersReady" && cond.Status == "False" && strings.Contains(cond.Message, "disk of the engine is full")
		})
	})
	if in := c.inspect(c.app()); in.ID != old.ID || !in.State.Running || in.State.StartedAt != old.State.StartedAt {
		c.t.Errorf("what runs was touched: %+v", in.State)
	}
	apart.resize("1200m")
	c.await("the third release runs", func() bool { return c.runs(third) })
	c.alone()
}

// mount gives an engine apart a disk of its own, of a size such as 256m.
func (a *apart) mount(size string) {
	a.t.Helper()
	if err := unix.Mount("tmpfs", a.root, "tmpfs", 0, "size="+size); err != nil {
		a.t.Fatalf("mount %s: %v (this test needs root)", a.root, err)
	}
	a.t.Cleanup(func() { a.engine("down"); _ = unix.Unmount(a.root, unix.MNT_DETACH) })
}

func (a *apart) resize(size string) {
	a.t.Helper()
	if err := unix.Mount("tmpfs", a.root, "tmpfs", unix.MS_REMOUNT, "size="+size); err != nil {
		a.t.Fatalf("resize %s: %v", a.root, err)
	}
}
