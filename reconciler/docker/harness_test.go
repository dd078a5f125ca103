package docker_test

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/docker/client"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// rig is a driver on the real engine with everything that a test needs
// besides: its own eyes and hands, and a wire that can be cut.
type rig struct {
	testing.TB
	engine   *docker.Engine
	raw      *client.Client // not through the wire
	wire     *wire
	owner    string
	instance string
	images   func(k drivertest.Kind, version int) string
}

func newRig(t testing.TB, images func(drivertest.Kind, int) string, change ...func(*docker.Options)) *rig {
	t.Helper()
	r := &rig{TB: t, wire: &wire{}, owner: t.TempDir(), images: images}
	r.instance = fmt.Sprintf("fldt%08x", rand.Uint32())
	o := docker.Options{Owner: r.owner, Wrap: r.wire.wrap}
	for _, f := range change {
		f(&o)
	}
	var err error
	if r.raw, err = client.NewClientWithOpts(client.WithHost(cmp.Or(o.Host, docker.DefaultHost)), client.WithAPIVersionNegotiation()); err != nil {
		t.Fatal(err)
	}
	if r.engine, err = docker.New(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.clean)
	return r
}

// clean removes everything whose name begins with the rig's instance, and
// nothing else.
func (r *rig) clean() {
	ctx := context.Background()
	list, err := r.raw.ContainerList(ctx, container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", r.instance))})
	r.check(err)
	for _, c := range list {
		if err := r.raw.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			r.Logf("clean up: %v", err)
		}
	}
	nets, err := r.raw.NetworkList(ctx, network.ListOptions{Filters: filters.NewArgs(filters.Arg("name", r.instance))})
	r.check(err)
	for _, n := range nets {
		if err := r.raw.NetworkRemove(ctx, n.ID); err != nil {
			r.Logf("clean up: %v", err)
		}
	}
	vols, err := r.raw.VolumeList(ctx, volume.ListOptions{Filters: filters.NewArgs(filters.Arg("name", r.instance))})
	r.check(err)
	for _, v := range vols.Volumes {
		if err := r.raw.VolumeRemove(ctx, v.Name, true); err != nil {
			r.Logf("clean up: %v", err)
		}
	}
	r.check(r.raw.Close())
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// What other hands do.

func (r *rig) Stop(name string) {
	zero := 0
	r.check(r.raw.ContainerStop(r.Context(), name, container.StopOptions{Timeout: &zero}))
}
func (r *rig) Kill(name string)       { r.check(r.raw.ContainerKill(r.Context(), name, "KILL")) }
func (r *rig) Pause(name string)      { r.check(r.raw.ContainerPause(r.Context(), name)) }
func (r *rig) Rename(name, to string) { r.check(r.raw.ContainerRename(r.Context(), name, to)) }
func (r *rig) RemoveContainer(name string) {
	r.check(r.raw.ContainerRemove(r.Context(), name, container.RemoveOptions{Force: true}))
}
func (r *rig) Disconnect(name, net string) {
	r.check(r.raw.NetworkDisconnect(r.Context(), net, name, true))
}

func (r *rig) Recreate(name string) {
	in := r.inspect(name)
	r.RemoveContainer(name)
	eps := map[string]*network.EndpointSettings{}
	for n, ep := range in.NetworkSettings.Networks {
		eps[n] = &network.EndpointSettings{Aliases: ep.Aliases}
	}
	in.Config.Hostname = ""
	made, err := r.raw.ContainerCreate(r.Context(), in.Config, in.HostConfig, &network.NetworkingConfig{EndpointsConfig: eps}, nil, name)
	r.check(err)
	r.check(r.raw.ContainerStart(r.Context(), made.ID, container.StartOptions{}))
}

func (r *rig) AddForeign(name, owner string) {
	ref := r.images(drivertest.KindPlain, 1)
	body, err := r.raw.ImagePull(r.Context(), ref, pullOptions())
	r.check(err)
	_, err = io.Copy(io.Discard, body)
	r.check(errors.Join(err, body.Close()))
	made, err := r.raw.ContainerCreate(r.Context(), &container.Config{Image: ref, Labels: map[string]string{"com.docker.compose.project": owner}},
		&container.HostConfig{NetworkMode: "none"}, nil, nil, name)
	r.check(err)
	r.check(r.raw.ContainerStart(r.Context(), made.ID, container.StartOptions{}))
}

func (r *rig) Limit(name string) {
	_, err := r.raw.ContainerUpdate(r.Context(), name, container.UpdateConfig{Resources: container.Resources{Memory: 32 << 20, MemorySwap: 64 << 20}})
	r.check(err)
}

func (r *rig) inspect(name string) container.InspectResponse {
	r.Helper()
	in, err := r.raw.ContainerInspect(r.Context(), name)
	r.check(err)
	return in
}

func (r *rig) alive(name string) bool {
	in, err := r.raw.ContainerInspect(r.Context(), name)
	return err == nil && in.State.Running
}

// wire counts the calls to the engine and can break.
type wire struct {
	mu    sync.Mutex
	calls []string
	left  int // calls that still get through, plus one; 0: all do
	// lose says that the call which breaks first reaches the engine.
	lose bool
	next http.RoundTripper
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	w.next = next
	return w
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.calls = append(w.calls, req.Method+" "+req.URL.Path)
	cut, lose := w.left == 1, w.left == 1 && w.lose
	if w.left > 1 {
		w.left--
	}
	w.lose = w.lose && !lose
	w.mu.Unlock()
	if cut && !lose {
		return nil, errors.New("wire cut")
	}
	resp, err := w.next.RoundTrip(req)
	if err == nil && lose {
		resp.Body.Close()
		return nil, errors.New("answer lost")
	}
	return resp, err
}

// fail breaks the nth call from now on. Every other one reaches the engine,
// and only its answer is lost.
func (w *wire) fail(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left, w.lose = n, n%2 == 0
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = nil
}

func (w *wire) count() (n int, calls string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.calls), strings.Join(w.calls, "\n")
}

// imagesOf pushes images into the registry as they are asked for. They are those
// of this registry only: what another test, or a run that was killed, left on
// the engine is not in the way.
func imagesOf(t testing.TB, reg *registry.Registry) func(drivertest.Kind, int) string {
	var mu sync.Mutex
	done := map[string]string{}
	return func(k drivertest.Kind, version int) string {
		mu.Lock()
		defer mu.Unlock()
		tag := fmt.Sprintf("%d", version)
		if ref := done[string(k)+tag]; ref != "" {
			return ref
		}
		app := registry.App{Version: tag, Build: string(k) + " " + crand.Text()}
		switch k {
		case drivertest.KindPlain:
			app.NoHealthcheck = true
		case drivertest.KindUnhealthy:
			app.Sick = true
		case drivertest.KindCrash:
			app.Crash, app.NoHealthcheck = true, true
		case drivertest.KindJob:
			app.Job = true
		}
		ref, _, err := reg.Push(context.Background(), "fldt/"+string(k), tag, app)
		if err != nil {
			t.Fatal(err)
		}
		done[string(k)+tag] = ref
		return ref
	}
}
