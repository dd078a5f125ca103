package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// built is where the program is, for as long as the tests run.
var built string

// program is the daemon, built once for all tests by the first that needs it.
var program = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(built, "fairlead")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "github.com/fairlead/fairlead/cmd/fairlead").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	var err error
	if built, err = os.MkdirTemp("", "fairlead-browser-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(built)
	os.Exit(code)
}

// house is a daemon on a real engine, started without any configuration but
// where it keeps its data, and what its connectors may read.
type house struct {
	t       *testing.T
	dir     string
	data    string
	repo    string
	exports string
	url     string
	log     lockedBuffer
	client  *server.Client
	reg     *registry.Registry
	owned   []string // instances whose containers go at the end
}

// lockedBuffer is written by the daemon while it is read.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseIn(t, t.TempDir())
}

func newHouseIn(t *testing.T, dir string) *house {
	t.Helper()
	bin, err := program()
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, dir: dir, data: filepath.Join(dir, "data"), exports: filepath.Join(dir, "exports")}
	h.repo = filepath.Join(h.data, "repo")
	h.reg = registry.Test(t) // its images go last, when no container is left that has them
	h.client = server.NewClient(filepath.Join(h.data, "fairlead.sock"), "")
	t.Cleanup(func() { _ = h.client.Close() })
	cmd := exec.Command(bin, "run", "--data", h.data, "--listen", "127.0.0.1:0", "--front-http", "127.0.0.1:0", "--front-https", "127.0.0.1:0", "--poll", "1s",
		"--connectors-dir", h.exports, "--log-format", "json")
	cmd.Env, cmd.Stderr = h.environment(), &h.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", tail(h.log.String(), 60))
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(limit):
			_ = cmd.Process.Kill()
			t.Error("the daemon does not end")
		}
		h.clean()
	})
	h.until("the daemon says where its pages are", func() bool {
		select {
		case <-ended:
			t.Fatalf("the daemon ended\n%s", tail(h.log.String(), 30))
		default:
		}
		o, err := h.client.Overview(t.Context())
		if err == nil && o.Server != nil && o.Server.Open {
			h.url = o.Server.URL
		}
		return h.url != ""
	})
	return h
}

// environment is that of a host that nobody has set up.
func (h *house) environment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAIRLEAD_") && !strings.HasPrefix(v, "HOME=") {
			env = append(env, v)
		}
	}
	return append(env, "HOME="+h.dir, "GIT_CONFIG_GLOBAL=/dev/null", "FAIRLEAD_CONFIG="+h.write(filepath.Join(h.dir, "agent.yaml"), ""))
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (h *house) write(name, text string) string {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		h.t.Fatal(err)
	}
	return name
}

// until waits for what no browser shows.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			h.t.Fatalf("waited until %s\n%s", what, tail(h.log.String(), 30))
		case <-tick.C:
		}
	}
}

// git runs git in the repository that the daemon made.
func (h *house) git(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.repo, "-c", "user.name=Grace", "-c", "user.email=grace@example.com", "-c", "safe.directory=*"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit puts files into the repository as somebody with an editor does.
func (h *house) commit(message string, files map[string]string) string {
	h.t.Helper()
	for name, text := range files {
		h.write(filepath.Join(h.repo, name), text)
	}
	h.git("add", "-A")
	h.git("commit", "-qm", message)
	return h.git("rev-parse", "HEAD")
}

// instance is the name of a compose project that no other test has.
func (h *house) instance(prefix string) string {
	name := fmt.Sprintf("%s-%06x", prefix, rand.Uint32()&0xffffff)
	h.owned = append(h.owned, name)
	return name
}

// push makes an image of a version of the application.
func (h *house) push(version string) string {
	h.t.Helper()
	ref, _, err := h.reg.Push(h.t.Context(), "app", version, registry.App{Version: version, HealthInterval: 200 * time.Millisecond, Sick: strings.HasSuffix(version, "sick")})
	if err != nil {
		h.t.Fatal(err)
	}
	return ref
}

// project are the files of a compose project that runs an image.
func project(name, image string) map[string]string {
	dir := "instances/" + name + "/"
	return map[string]string{
		dir + "instance.yaml": "apiVersion: fairlead/v1\nname: " + name + "\nhealth: {timeout: 20s, bake: 100ms}\n",
		dir + "compose.yaml":  "services:\n  app:\n    image: " + image + "\n",
	}
}

// running is the image that the container of an instance runs, as the engine
// says it.
func (h *house) running(instance string) string {
	h.t.Helper()
	out, err := exec.Command("docker", "inspect", "-f", "{{.Config.Image}} {{.State.Status}}", instance+"-app-1").CombinedOutput()
	if err != nil {
		return strings.TrimSpace(string(out))
	}
	return strings.TrimSpace(string(out))
}

// status is what the daemon says of an instance.
func (h *house) status(instance string) reconciler.Status {
	s, err := h.client.Status(h.t.Context(), instance)
	if err != nil {
		return reconciler.Status{}
	}
	return s
}

// clean removes what the tests made on the engine, and nothing else.
func (h *house) clean() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, name := range h.owned {
		for _, kind := range []string{"container", "network", "volume"} {
			list := []string{kind, "ls", "-q", "--filter", "label=com.docker.compose.project=" + name}
			if kind == "container" {
				list = append(list, "-a")
			}
			out, err := exec.CommandContext(ctx, "docker", list...).Output()
			if err != nil {
				h.t.Logf("docker %v: %v", list, err)
				continue
			}
			for _, id := range strings.Fields(string(out)) {
				remove := []string{kind, "rm", id}
				if kind == "container" {
					remove = []string{"rm", "-f", id}
				}
				if out, err := exec.CommandContext(ctx, "docker", remove...).CombinedOutput(); err != nil {
					h.t.Logf("docker %v: %v %s", remove, err, out)
				}
			}
		}
	}
}

// call asks the API as a program does, and reads the answer into into.
func (h *house) call(method, path, token string, body, into any) int {
	h.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			h.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, h.url+path, bytes.NewReader(text))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Timeout: limit}).Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			h.t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, answer)
		}
	}
	return resp.StatusCode
}
