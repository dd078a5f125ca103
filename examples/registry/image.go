package registry

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// imageTime is the time of everything in an image, so that equal input gives equal digests.
var imageTime = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// App says what one image is like. The zero value with a Version is a healthy server on port 8000.
// Equal values give equal digests with the same sources and Go version.
type App struct {
	Version string // what /version answers; also the label org.opencontainers.image.version
	Build   string // what "/" shows beside it; part of the digest, so a rebuilt tag can be made

	Sick       bool          // answers, but is never healthy
	SickAfter  time.Duration // healthy first, sick from then on
	Crash      bool          // exits with 1 at once
	ExitAfter  time.Duration // exits with 1 after serving this long
	StartDelay time.Duration // listens only after this time; its start period is made to cover it
	Job        bool          // a one-shot: "app job", no healthcheck
	JobExit    int           // the one-shot's exit status
	JobTime    time.Duration // how long the one-shot takes

	NoHealthcheck  bool
	HealthInterval time.Duration // 500 ms when 0
	User           string        // "app" is uid 1000
	Empty          bool          // has no program in it: for tests that look at images and run none
	BigMiB         int           // one more layer of this many MiB that do not compress
	Env            map[string]string
	Labels         map[string]string
	Cmd            []string // in place of "serve"; the entrypoint stays /app
}

// Push builds the image and pushes it as repo:tag. ref is "127.0.0.1:PORT/repo:tag", digest "sha256:…" of the manifest.
func (r *Registry) Push(ctx context.Context, repo, tag string, app App) (ref, digest string, err error) {
	ref = r.Ref(repo, tag)
	to, err := name.NewTag(ref, name.Insecure)
	if err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	img, err := r.Image(ctx, app)
	if err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	hash, err := img.Digest()
	if err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	err = remote.Write(to, img, remote.WithContext(ctx), remote.WithAuth(r.auth()), remote.WithTransport(r.direct()))
	if err != nil {
		return "", "", fmt.Errorf("push %s: %w", ref, err)
	}
	return ref, hash.String(), nil
}

func (r *Registry) auth() authn.Authenticator {
	if r.opts.Username == "" {
		return authn.Anonymous
	}
	return &authn.Basic{Username: r.opts.Username, Password: r.opts.Password}
}

// direct serves a push without the network and without faults: a test breaks pulls, not its own setting-up.
func (r *Registry) direct() http.RoundTripper {
	if r.opts.Token { // a push in this process is no plain HTTP, so the realm would not do for it
		return handlerTransport{handler: r.handler}
	}
	return handlerTransport{handler: r.authenticate(r.handler)}
}

// handlerTransport calls a handler in this process.
type handlerTransport struct{ handler http.Handler }

func (t handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	defer func() { _ = in.Body.Close() }()
	answer := httptest.NewRecorder()
	t.handler.ServeHTTP(answer, in)
	resp := answer.Result()
	resp.Request = req
	return resp, nil
}

// Image makes the image without pushing it.
func (r *Registry) Image(ctx context.Context, app App) (v1.Image, error) {
	var layers []mutate.Addendum
	if !app.Empty {
		layer, err := r.appLayer(ctx)
		if err != nil {
			return nil, err
		}
		layers = append(layers, addendum(layer, "app"))
	}
	if app.BigMiB > 0 {
		big, err := bigLayer(app)
		if err != nil {
			return nil, fmt.Errorf("make big layer: %w", err)
		}
		layers = append(layers, addendum(big, "random bytes"))
	}
	img, err := mutate.Append(empty.Image, layers...)
	if err != nil {
		return nil, fmt.Errorf("append layers: %w", err)
	}
	return configure(img, app)
}

func addendum(layer v1.Layer, what string) mutate.Addendum {
	return mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: imageTime}, CreatedBy: what}}
}

func configure(img v1.Image, app App) (v1.Image, error) {
	file, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("read image configuration: %w", err)
	}
	file = file.DeepCopy()
	file.Created = v1.Time{Time: imageTime}
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config = app.config()
	img, err = mutate.ConfigFile(img, file)
	if err != nil {
		return nil, fmt.Errorf("set image configuration: %w", err)
	}
	return img, nil
}

func (a App) config() v1.Config {
	c := v1.Config{
		Entrypoint:   []string{"/app"},
		Cmd:          a.command(),
		Env:          a.environment(),
		Labels:       map[string]string{"org.opencontainers.image.version": a.Version},
		User:         a.User,
		WorkingDir:   "/",
		ExposedPorts: map[string]struct{}{"8000/tcp": {}},
		StopSignal:   "SIGTERM",
	}
	if a.Build != "" {
		c.Labels["org.opencontainers.image.revision"] = a.Build
	}
	maps.Copy(c.Labels, a.Labels)
	if !a.NoHealthcheck && !a.Job {
		c.Healthcheck = a.healthcheck()
	}
	return c
}

func (a App) command() []string {
	switch {
	case a.Cmd != nil:
		return a.Cmd
	case a.Job:
		return []string{"job", strconv.Itoa(a.JobExit), a.JobTime.String()}
	default:
		return []string{"serve"}
	}
}

// environment is sorted: the order is part of the digest.
func (a App) environment() []string {
	env := map[string]string{"PATH": "/", "APP_VERSION": a.Version}
	set := func(name, value string, want bool) {
		if want {
			env[name] = value
		}
	}
	set("APP_BUILD", a.Build, a.Build != "")
	set("APP_SICK", "true", a.Sick)
	set("APP_SICK_AFTER", a.SickAfter.String(), a.SickAfter > 0)
	set("APP_EXIT", "1", a.Crash)
	set("APP_EXIT_AFTER", a.ExitAfter.String(), a.ExitAfter > 0)
	set("APP_START_DELAY", a.StartDelay.String(), a.StartDelay > 0)
	maps.Copy(env, a.Env)
	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

// patience is how many checks in a row must fail of a build that is to be well: on a machine that is loaded many times
// over, a process is asked before it had its first time slice.
const patience = 30

func (a App) healthcheck() *v1.HealthConfig {
	interval := a.HealthInterval
	if interval == 0 {
		interval = 500 * time.Millisecond
	}
	h := &v1.HealthConfig{Test: []string{"CMD", "/app", "healthcheck"}, Interval: interval, Timeout: 30 * time.Second, Retries: patience}
	if a.Sick || a.SickAfter > 0 {
		h.Retries = 3 // it is found out soon
	}
	if a.StartDelay > 0 {
		h.StartPeriod = a.StartDelay + 5*time.Second
	}
	return h
}

// bigLayer holds pseudo-random bytes seeded by version, build and size: incompressible, and the same each time.
func bigLayer(a App) (v1.Layer, error) {
	size := int64(a.BigMiB) << 20
	seed := sha256.Sum256([]byte(fmt.Sprint(a.Version, "\x00", a.Build, "\x00", a.BigMiB)))
	open := func() (io.ReadCloser, error) {
		pr, pw := io.Pipe()
		go func() { pw.CloseWithError(writeBig(pw, rand.NewChaCha8(seed), size)) }()
		return pr, nil
	}
	return tarball.LayerFromOpener(open, tarball.WithCompressionLevel(gzip.NoCompression))
}

func writeBig(w io.Writer, from io.Reader, size int64) error {
	tw := tar.NewWriter(w)
	h := &tar.Header{Name: "big", Mode: 0o644, Size: size, ModTime: imageTime, Typeflag: tar.TypeReg}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.CopyN(tw, from, size)
	return errors.Join(err, tw.Close())
}
