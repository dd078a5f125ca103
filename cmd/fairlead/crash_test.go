package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"github.com/fsnotify/fsnotify"

	"github.com/fairlead/fairlead/examples/registry"
)

// TestKilledAtTwoHundredPoints runs the real daemon on a real engine with
// several instances, and kills it (SIGKILL) again and again while it applies:
// each time after another journal entry was written. A point is one instance
// with an apply in progress at the kill. In the end everything must stand as
// the repository says, nothing may be left over, and a container that is not
// ours must not have noticed.
func TestKilledAtTwoHundredPoints(t *testing.T) {
	const wanted = 200
	c := newCrash(t, 8)
	c.commit("1.0.0")
	c.converge()
	foreign := c.foreign()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	t.Logf("seed %d", seed)
	points, steps, kills := 0, map[string]int{}, 0
	for points < wanted && kills < 2*wanted {
		version := fmt.Sprintf("1.0.%d", kills%3)
		if rnd.IntN(6) == 0 {
			version = "sick"
		}
		c.commit(version)
		for range 1 + rnd.IntN(2) { // some applies are killed again when they are resumed
			for _, step := range c.runAndKill(1 + rnd.IntN(40)) {
				points++
				steps[step]++
			}
			kills++
		}
	}
	t.Logf("%d kills, %d points: %v", kills, points, steps)
	if points < wanted || len(steps) < 4 {
		t.Errorf("%d points at %d kinds of steps: the test does not show what it is for", points, len(steps))
	}
	c.commit("1.0.1")
	c.converge()
	c.check("1.0.1")
	if got := c.inspect(foreign); got.State.StartedAt == "" || got.RestartCount != 0 || !got.State.Running {
		t.Errorf("the foreign container was touched: %+v", got.State)
	}
}

// crash is a fleet of instances, a repository, a registry and a daemon that is
// killed and started.
type crash struct {
	t         *testing.T
	bin, data string
	repo      string
	prefix    string
	instances []string
	refs      map[string]string
	docker    *client.Client
	reg       *registry.Registry
	n         int
}

// program builds the program once for all tests, for each link of it takes half a
// minute. TestMain removes it.
var program = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(os.Getenv("FAIRLEAD_TEST_BUILT"), "fairlead")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

func newCrash(t *testing.T, instances int) *crash {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	c := &crash{t: t, data: filepath.Join(t.TempDir(), "data"), repo: t.TempDir(), refs: map[string]string{},
		bin: bin, prefix: fmt.Sprintf("flk%06x", rand.Uint32()&0xffffff)}
	if c.docker, err = client.NewClientWithOpts(client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	c.reg = registry.Test(t)
	t.Cleanup(c.clean)
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2", "sick"} {
		if c.refs[v], _, err = c.reg.Push(t.Context(), "app", v, registry.App{Version: v, Sick: v == "sick"}); err != nil {
			t.Fatal(err)
		}
	}
	c.git("init", "-q", "-b", "main")
	for i := range instances {
		c.instances = append(c.instances, fmt.Sprintf("%s-%d", c.prefix, i))
	}
	return c
}

func (c *crash) git(args ...string) {
	c.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", c.repo, "-c", "user.name=Ann", "-c", "user.email=ann@example.com"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

// commit makes every instance ask for a version of its application, with a
// network that changes as well now and then.
func (c *crash) commit(version string) {
	c.t.Helper()
	c.n++
	for i, name := range c.instances {
		dir := filepath.Join(c.repo, "instances", name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			c.t.Fatal(err)
		}
		files := map[string]string{
			"instance.yaml": "apiVersion: fairlead/v1\nname: " + name + "\nhealth: {timeout: 90s, bake: 100ms}\n",
			"compose.yaml": fmt.Sprintf("services:\n  app:\n    image: %s\n    environment: {ROUND: \"%d\"}\n"+
				"    healthcheck: {test: [CMD, /app, healthcheck], interval: 200ms}\n"+
				"    volumes: [\"data:/data\"]\n    networks: [front]\n"+
				"networks:\n  front: {internal: %t}\nvolumes:\n  data: {}\n", c.refs[version], c.n, (c.n+i)%4 == 0),
		}
		for file, text := range files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	c.git("add", "-A")
	c.git("commit", "-qm", "ask for "+version)
}

func (c *crash) daemon(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(c.bin, append([]string{"--repo", c.repo, "--data", c.data}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// runAndKill starts the daemon, waits for the nth journal entry and kills it.
// It returns the last step of each apply that was in progress.
func (c *crash) runAndKill(n int) (steps []string) {
	c.t.Helper()
	journals := filepath.Join(c.data, "journal")
	watch, err := fsnotify.NewWatcher()
	if err != nil {
		c.t.Fatal(err)
	}
	defer watch.Close()
	if err := watch.Add(journals); err != nil {
		c.t.Fatal(err)
	}
	cmd, out := c.daemon("run")
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	patience := time.After(20 * time.Second)
	for writes := 0; writes < n; {
		select {
		case e := <-watch.Events:
			if e.Has(fsnotify.Write) {
				writes++
			}
			patience = time.After(1500 * time.Millisecond) // everything may have settled before
		case <-patience:
			writes = n
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	files, err := filepath.Glob(filepath.Join(journals, "*"))
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range files {
		if step := lastStep(f); step != "" {
			steps = append(steps, step)
		}
	}
	if bytes.Contains(out.Bytes(), []byte("panic")) {
		c.t.Fatalf("the daemon panicked:\n%s", out)
	}
	return steps
}

func lastStep(file string) (step string) {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(data) {
		var e struct{ Step, Action string }
		if json.Unmarshal(line, &e) == nil && e.Step != "" {
			verb, _, _ := strings.Cut(e.Action, " acme")
			step = e.Step + " " + strings.Join(strings.Fields(verb)[:min(2, len(strings.Fields(verb)))], " ")
		}
	}
	return strings.TrimSpace(step)
}

// converge runs until there is nothing more to do.
func (c *crash) converge() {
	c.t.Helper()
	for range 3 {
		cmd, out := c.daemon("run", "--once", "--timeout", "5m")
		err := cmd.Run()
		if err == nil {
			return
		}
		c.t.Logf("run --once: %v\n%s", err, out)
	}
	c.t.Fatal("it does not converge")
}

func (c *crash) list() []container.Summary {
	c.t.Helper()
	list, err := c.docker.ContainerList(c.t.Context(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", c.prefix))})
	if err != nil {
		c.t.Fatal(err)
	}
	return list
}

// check fails unless each instance has just its one container, of the version.
func (c *crash) check(version string) {
	c.t.Helper()
	var got, want []string
	for _, s := range c.list() {
		if s.Labels["fairlead.instance"] != "" {
			got = append(got, fmt.Sprintf("%s %s %s", s.Names[0], s.Image, s.State))
		}
	}
	for _, name := range c.instances {
		want = append(want, fmt.Sprintf("/%s-app-1 %s running", name, c.refs[version]))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		c.t.Errorf("containers:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	nets, err := c.docker.NetworkList(c.t.Context(), network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", c.prefix))})
	if err != nil || len(nets) != len(c.instances) {
		c.t.Errorf("%d networks, want %d, %v", len(nets), len(c.instances), err)
	}
	if left, _ := filepath.Glob(filepath.Join(c.data, "journal", "*")); len(left) > 0 {
		c.t.Errorf("journals are left: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(c.data, "instances", "*", "files", ".tmp-*")); len(left) > 0 {
		c.t.Errorf("half-written files are left: %v", left)
	}
}

// foreign starts a container that is not ours, with a name like ours.
func (c *crash) foreign() string {
	c.t.Helper()
	made, err := c.docker.ContainerCreate(c.t.Context(), &container.Config{Image: c.refs["1.0.0"],
		Labels: map[string]string{"com.docker.compose.project": c.instances[0]}}, nil, nil, nil, c.instances[0]+"-foreign-1")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.docker.ContainerStart(c.t.Context(), made.ID, container.StartOptions{}); err != nil {
		c.t.Fatal(err)
	}
	return made.ID
}

func (c *crash) inspect(id string) container.InspectResponse {
	c.t.Helper()
	in, err := c.docker.ContainerInspect(c.t.Context(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return in
}

// clean removes what carries the test's prefix, and nothing else.
func (c *crash) clean() {
	ctx := context.Background()
	list, _ := c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", c.prefix))})
	for _, s := range list {
		_ = c.docker.ContainerRemove(ctx, s.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}
	nets, _ := c.docker.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", c.prefix))})
	for _, n := range nets {
		_ = c.docker.NetworkRemove(ctx, n.ID)
	}
	for _, name := range c.instances {
		_ = c.docker.VolumeRemove(ctx, name+"_data", true)
	}
	_ = c.docker.Close()
}
