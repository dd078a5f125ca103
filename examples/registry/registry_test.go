package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/fairlead/fairlead/examples/registry"
)

func push(t *testing.T, r *registry.Registry, repo, tag string, app registry.App) (ref, digest string) {
	t.Helper()
	ref, digest, err := r.Push(t.Context(), repo, tag, app)
	if err != nil {
		t.Fatal(err)
	}
	return ref, digest
}

// pull reads the whole image, layers too, with one try a request.
func pull(ctx context.Context, ref string, opts ...remote.Option) (v1.Image, error) {
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		return nil, err
	}
	opts = append(opts, remote.WithContext(ctx), remote.WithRetryBackoff(remote.Backoff{Steps: 1}))
	img, err := remote.Image(parsed, opts...)
	if err != nil {
		return nil, err
	}
	body := mutate.Extract(img)
	_, err = io.Copy(io.Discard, body)
	return img, errors.Join(err, body.Close())
}

func TestPushedImageIsPulledWithItsSettings(t *testing.T) {
	r := registry.Test(t)
	app := registry.App{
		Version: "1.2.3", Build: "abc", Sick: true, StartDelay: 2 * time.Second, User: "app",
		Env: map[string]string{"GREETING": "hi"}, Labels: map[string]string{"team": "x"},
	}
	ref, digest := push(t, r, "some/app", "1.2.3", app)
	if want := r.Addr() + "/some/app:1.2.3"; ref != want {
		t.Errorf("ref %q, want %q", ref, want)
	}
	img, err := pull(t.Context(), r.RefDigest("some/app", digest))
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	wantEnv := []string{"APP_BUILD=abc", "APP_SICK=true", "APP_START_DELAY=2s", "APP_VERSION=1.2.3", "GREETING=hi", "PATH=/"}
	if !slices.Equal(file.Config.Env, wantEnv) {
		t.Errorf("env %q, want %q", file.Config.Env, wantEnv)
	}
	if file.Config.User != "app" || file.Config.Labels["team"] != "x" ||
		file.Config.Labels["org.opencontainers.image.version"] != "1.2.3" {
		t.Errorf("config %+v", file.Config)
	}
	health := file.Config.Healthcheck
	if health == nil || health.StartPeriod != 7*time.Second || !slices.Equal(health.Test, []string{"CMD", "/app", "healthcheck"}) {
		t.Errorf("healthcheck %+v", health)
	}
}

func TestCommandAndHealthcheckByKind(t *testing.T) {
	r := registry.Test(t)
	tests := []struct {
		name   string
		app    registry.App
		cmd    []string
		health bool
	}{
		{"server", registry.App{}, []string{"serve"}, true},
		{"no healthcheck", registry.App{NoHealthcheck: true}, []string{"serve"}, false},
		{"job", registry.App{Job: true, JobExit: 3, JobTime: time.Second}, []string{"job", "3", "1s"}, false},
		{"own command", registry.App{Cmd: []string{"version"}}, []string{"version"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			img, err := r.Image(t.Context(), tt.app)
			if err != nil {
				t.Fatal(err)
			}
			file, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(file.Config.Cmd, tt.cmd) || (file.Config.Healthcheck != nil) != tt.health {
				t.Errorf("cmd %q, healthcheck %v", file.Config.Cmd, file.Config.Healthcheck)
			}
		})
	}
}

func TestDigestsAreReproducible(t *testing.T) {
	app := registry.App{Version: "1.0.0", BigMiB: 1, Env: map[string]string{"A": "1", "B": "2", "C": "3"}}
	_, first := push(t, registry.Test(t), "app", "1", app)
	_, second := push(t, registry.TestWith(t, registry.Options{Cache: t.TempDir()}), "other", "2", app)
	if first != second {
		t.Errorf("the same image has digest %s and, built anew, %s", first, second)
	}
	app.Build = "next"
	if _, third := push(t, registry.Test(t), "app", "1", app); third == first {
		t.Error("another build has the same digest")
	}
}

func TestDirectorySurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	r := registry.TestWith(t, registry.Options{Dir: dir})
	_, digest := push(t, r, "deep/er/app", "1", registry.App{Version: "1", BigMiB: 1})
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again := registry.TestWith(t, registry.Options{Dir: dir, Addr: r.Addr()})
	img, err := pull(t.Context(), again.Ref("deep/er/app", "1"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := img.Digest(); err != nil || got.String() != digest {
		t.Errorf("after the restart digest %s (%v), want %s", got, err, digest)
	}
}

// TestManyProcessesBuildOnce stands in for several test binaries that start on an empty cache together: each Registry
// takes the lock on its own, as processes do.
func TestManyProcessesBuildOnce(t *testing.T) {
	cache := t.TempDir()
	digests := make(chan string, 4)
	for range cap(digests) {
		r := registry.TestWith(t, registry.Options{Cache: cache})
		go func() {
			_, digest, err := r.Push(context.WithoutCancel(t.Context()), "app", "1", registry.App{Version: "1"})
			digests <- fmt.Sprint(digest, err)
		}()
	}
	first := <-digests
	for range cap(digests) - 1 {
		if next := <-digests; next != first {
			t.Errorf("one process says %s, another %s", first, next)
		}
	}
	files, err := filepath.Glob(filepath.Join(cache, "*.tar.gz"))
	if err != nil || len(files) != 1 || !strings.HasPrefix(first, "sha256:") || !strings.HasSuffix(first, "<nil>") {
		t.Errorf("files %v (%v), digest %s", files, err, first)
	}
}

func TestAddressTakenIsAnError(t *testing.T) {
	r := registry.Test(t)
	if other, err := registry.Start(registry.Options{Addr: r.Addr()}); err == nil {
		_ = other.Close()
		t.Fatal("a second registry started on the same address")
	}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name  string
		fault registry.Fault
		check func(error) bool
	}{
		{"unauthorized", registry.Fault{Match: registry.Manifests, Status: 401}, status(401)},
		{"rate limit", registry.Fault{Match: registry.Blobs, Status: 429, RetryAfter: time.Second}, status(429)},
		{"broken server", registry.Fault{Match: registry.Repo("app"), Status: 500}, status(500)},
		{"cut", registry.Fault{Match: registry.Blobs, Cut: true, CutAfter: 10}, func(err error) bool {
			return errors.Is(err, io.ErrUnexpectedEOF)
		}},
		{"stuck", registry.Fault{Delay: time.Hour}, func(err error) bool {
			return errors.Is(err, context.DeadlineExceeded)
		}},
	}
	r := registry.Test(t)
	ref, _ := push(t, r, "app", "1", registry.App{Version: "1"})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer r.ClearFaults()
			r.Fault(tt.fault)
			within := time.Minute
			if tt.fault.Delay > within {
				within = 2 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			if _, err := pull(ctx, ref); !tt.check(err) {
				t.Errorf("pull says %v", err)
			}
			r.ClearFaults()
			if _, err := pull(t.Context(), ref); err != nil {
				t.Errorf("after the fault: %v", err)
			}
		})
	}
}

func status(code int) func(error) bool {
	return func(err error) bool {
		var answer *transport.Error
		return errors.As(err, &answer) && answer.StatusCode == code
	}
}

func TestFaultHitsSoManyTimes(t *testing.T) {
	r := registry.Test(t)
	r.Fault(registry.Fault{Times: 2, Status: 503, RetryAfter: 1500 * time.Millisecond})
	var got []int
	for range 3 {
		resp := get(t, r.Addr())
		got = append(got, resp.StatusCode)
		if resp.StatusCode == 503 && resp.Header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q, want it rounded up to 2", resp.Header.Get("Retry-After"))
		}
	}
	if !slices.Equal(got, []int{503, 503, 200}) {
		t.Errorf("statuses %v", got)
	}
}

func get(t *testing.T, addr string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestMiddlewareAndRequestLog(t *testing.T) {
	seen := make(chan string, 100)
	r := registry.TestWith(t, registry.Options{Middleware: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			seen <- req.URL.Path
			next.ServeHTTP(w, req)
		})
	}})
	push(t, r, "app", "1", registry.App{Version: "1"})
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("a push in this process is in the request log: %v", got)
	}
	get(t, r.Addr())
	if got := <-seen; got != "/v2/" {
		t.Errorf("middleware saw %q", got)
	}
	if got := r.Requests(); !slices.Equal(got, []registry.Request{{Method: "GET", Path: "/v2/"}}) {
		t.Errorf("requests %v", got)
	}
	r.ResetRequests()
	if got := r.Requests(); len(got) != 0 {
		t.Errorf("after the reset %v", got)
	}
}

func TestBasicAuthentication(t *testing.T) {
	r := registry.TestWith(t, registry.Options{Username: "me", Password: "pw"})
	ref, _ := push(t, r, "app", "1", registry.App{Version: "1"})
	if _, err := pull(t.Context(), ref); !status(401)(err) {
		t.Errorf("pull without a password says %v", err)
	}
	if _, err := pull(t.Context(), ref, remote.WithAuth(&authn.Basic{Username: "me", Password: "bad"})); !status(401)(err) {
		t.Errorf("pull with a wrong password says %v", err)
	}
	if _, err := pull(t.Context(), ref, remote.WithAuth(&authn.Basic{Username: "me", Password: "pw"})); err != nil {
		t.Errorf("pull with the password: %v", err)
	}
}

func TestSourceMissingSaysWhatToDo(t *testing.T) {
	r := registry.TestWith(t, registry.Options{Source: t.TempDir()})
	_, _, err := r.Push(t.Context(), "app", "1", registry.App{})
	if err == nil || !strings.Contains(err.Error(), "examples/app") {
		t.Errorf("error %v", err)
	}
}

// TestEngineRunsTheImage is the whole way: pull by the engine, start, health, and removal by Forget.
func TestEngineRunsTheImage(t *testing.T) {
	r := registry.Test(t)
	good, _ := push(t, r, "app", "good", registry.App{Version: "1.0.0", User: "app", HealthInterval: 200 * time.Millisecond})
	sick, _ := push(t, r, "app", "sick", registry.App{Version: "1.0.1", Sick: true, HealthInterval: 200 * time.Millisecond})
	for ref, want := range map[string]string{good: "healthy", sick: "unhealthy"} {
		id := docker(t, "run", "--detach", ref)
		t.Cleanup(func() { removeIfThere(t, id) })
		if got := settledHealth(t, id); got != want {
			t.Errorf("%s is %s, want %s\n%s\n%s", ref, got, want, docker(t, "logs", id), docker(t, "inspect", "--format", "{{json .State}}", id))
		}
		docker(t, "stop", id)
		if got := docker(t, "inspect", "--format", "{{.State.ExitCode}}", id); got != "0" {
			t.Errorf("%s: exit status %s after stop, want 0", ref, got)
		}
		docker(t, "rm", id)
	}
	if err := r.Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := docker(t, "images", "--quiet", r.Addr()+"/app"); left != "" {
		t.Errorf("images left after Forget: %s", left)
	}
}

func removeIfThere(t *testing.T, id string) {
	t.Helper()
	if left := docker(t, "ps", "--all", "--quiet", "--filter", "id="+id); left != "" {
		docker(t, "rm", "--force", left)
	}
}

func settledHealth(t *testing.T, id string) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(2 * time.Minute)
	for {
		got := docker(t, "inspect", "--format", "{{.State.Health.Status}}", id)
		if got != "starting" {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			return got
		}
	}
}

func docker(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // t.Context is over in cleanups
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	return strings.TrimSpace(string(out))
}
