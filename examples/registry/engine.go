package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// TB is the part of testing.TB that Test needs; the demo does not link the testing package for it.
type TB interface {
	Helper()
	Cleanup(func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Test starts a registry in memory for one test and closes it afterwards.
func Test(t TB) *Registry {
	t.Helper()
	return TestWith(t, Options{})
}

// TestWith is Test with options.
func TestWith(t TB, opts Options) *Registry {
	t.Helper()
	r, err := Start(opts)
	if err != nil {
		t.Fatalf("start registry: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := r.Forget(ctx); err != nil {
			t.Logf("remove images of registry %s: %v", r.Addr(), err)
		}
		if err := r.Close(); err != nil {
			t.Logf("%v", err)
		}
	})
	return r
}

// Forget removes from the engine every image that was pulled from this registry and is not in use. A free port is used
// again sooner or later, and a left-over "127.0.0.1:PORT/app:1.0.0" would then stand in for the new one. Without an
// engine there is nothing to remove. DOCKER_HOST is respected when it is unix:// or tcp:// without TLS.
func (r *Registry) Forget(ctx context.Context) error {
	engine, err := dialEngine()
	if err != nil {
		return err
	}
	defer engine.client.CloseIdleConnections()
	refs, err := engine.images(ctx, r.addr+"/")
	var unreachable *net.OpError
	if errors.As(err, &unreachable) && unreachable.Op == "dial" {
		return nil
	}
	errs := []error{err}
	for _, ref := range refs {
		errs = append(errs, engine.remove(ctx, ref))
	}
	return errors.Join(errs...)
}

// engineAPI is the two calls of the engine's API that Forget makes. The tests' helpers must not pull in the Docker
// client, which only reconciler/docker may import.
type engineAPI struct {
	client *http.Client
	base   string
}

func dialEngine() (engineAPI, error) {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	network, addr, _ := strings.Cut(host, "://")
	if network != "unix" && network != "tcp" {
		return engineAPI{}, fmt.Errorf("reach engine: DOCKER_HOST %q is neither unix:// nor tcp://", host)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
	}}
	return engineAPI{client: &http.Client{Transport: transport}, base: "http://engine"}, nil
}

// images lists references, by tag or by digest, that start with prefix.
func (e engineAPI) images(ctx context.Context, prefix string) ([]string, error) {
	resp, err := e.call(ctx, http.MethodGet, "/images/json")
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	var list []struct{ RepoTags, RepoDigests []string }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(&list); err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var refs []string
	for _, image := range list {
		for _, ref := range append(image.RepoTags, image.RepoDigests...) {
			if strings.HasPrefix(ref, prefix) {
				refs = append(refs, ref)
			}
		}
	}
	return refs, nil
}

func (e engineAPI) remove(ctx context.Context, ref string) error {
	resp, err := e.call(ctx, http.MethodDelete, "/images/"+ref)
	if err != nil {
		return fmt.Errorf("remove image %s: %w", ref, err)
	}
	return resp.Body.Close()
}

// call answers only with success, or with "not found" for a removal: removing a tag takes its digest with it.
func (e engineAPI) call(ctx context.Context, method, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 || (method == http.MethodDelete && resp.StatusCode == http.StatusNotFound) {
		return resp, nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024)) // only to explain; the status has decided
	_ = resp.Body.Close()
	return nil, fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
}
