package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"
)

// Labels by which docker compose, and Fairlead after it, mark what they make.
const (
	projectLabel = "com.docker.compose.project"
	serviceLabel = "com.docker.compose.service"
)

// raw is the engine's API with nothing around it: the floor.
type raw struct{ cli *client.Client }

func dialRaw(host string) (raw, error) {
	cli, err := client.NewClientWithOpts(client.WithHost(host), client.WithAPIVersionNegotiation())
	if err != nil {
		return raw{}, fmt.Errorf("reach engine: %w", err)
	}
	return raw{cli}, nil
}

func (r raw) pull(ctx context.Context, ref string) error {
	body, err := r.cli.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return fmt.Errorf("pull %s: %w", ref, err)
	}
	_, err = io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}

// list lists the containers of a project.
func (r raw) list(ctx context.Context, project string) ([]container.Summary, error) {
	return r.cli.ContainerList(ctx, container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", projectLabel+"="+project))})
}

// create makes a container as compose and Fairlead make theirs: one variable, one network.
func (r raw) create(ctx context.Context, project, name, ref string) (string, error) {
	made, err := r.cli.ContainerCreate(ctx,
		&container.Config{Image: ref, Env: []string{"ROUND=0"}, Labels: map[string]string{projectLabel: project, serviceLabel: name}},
		&container.HostConfig{NetworkMode: container.NetworkMode(project + "_default")},
		&network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{project + "_default": {Aliases: []string{name}}}},
		nil, name)
	return made.ID, err
}

func (r raw) start(ctx context.Context, id string) error {
	return r.cli.ContainerStart(ctx, id, container.StartOptions{})
}

func (r raw) makeNetwork(ctx context.Context, project string) error {
	_, err := r.cli.NetworkCreate(ctx, project+"_default", network.CreateOptions{Labels: map[string]string{projectLabel: project}})
	return err
}

// deploy makes and starts so many containers, four at a time.
func (r raw) deploy(ctx context.Context, project, ref string, n int) error {
	if err := r.makeNetwork(ctx, project); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(rawWorkers)
	for i := range n {
		g.Go(func() error {
			id, err := r.create(ctx, project, fmt.Sprintf("%s-s%d", project, i+1), ref)
			if err != nil {
				return err
			}
			return r.start(ctx, id)
		})
	}
	return g.Wait()
}

const rawWorkers = 4

// started is when the newest container of a service started, or the last one of a project when service is empty.
func (r raw) started(ctx context.Context, project, service string) (id, ref string, at time.Time, err error) {
	list, err := r.list(ctx, project)
	if err != nil {
		return "", "", at, err
	}
	for _, c := range list {
		if c.State != container.StateRunning || (service != "" && c.Labels[serviceLabel] != service) {
			continue
		}
		in, err := r.cli.ContainerInspect(ctx, c.ID)
		if err != nil {
			return "", "", at, err
		}
		t, err := time.Parse(time.RFC3339Nano, in.State.StartedAt)
		if err != nil {
			return "", "", at, err
		}
		if t.After(at) {
			id, ref, at = c.ID, in.Config.Image, t
		}
	}
	if id == "" {
		return "", "", at, fmt.Errorf("no container of %s %s runs", project, service)
	}
	return id, ref, at, nil
}

// remove takes away every container and network whose project is accepted.
func (r raw) remove(ctx context.Context, mine func(project string) bool) error {
	label := filters.NewArgs(filters.Arg("label", projectLabel))
	list, err := r.cli.ContainerList(ctx, container.ListOptions{All: true, Filters: label})
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	var g errgroup.Group // each removal is tried, whatever the others say
	g.SetLimit(rawWorkers)
	for _, c := range list {
		if !mine(c.Labels[projectLabel]) {
			continue
		}
		g.Go(func() error {
			err := r.cli.ContainerRemove(ctx, c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
			if client.IsErrNotFound(err) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("remove containers: %w", err)
	}
	nets, err := r.cli.NetworkList(ctx, network.ListOptions{Filters: label})
	if err != nil {
		return fmt.Errorf("list networks: %w", err)
	}
	for _, n := range nets {
		if mine(n.Labels[projectLabel]) {
			err = errors.Join(err, r.cli.NetworkRemove(ctx, n.ID))
		}
	}
	return err
}

// watch follows the containers of a project until ctx ends.
func (r raw) watch(ctx context.Context, project string) <-chan events.Message {
	msgs, _ := r.cli.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", "container"), filters.Arg("label", projectLabel+"="+project))})
	return msgs
}

// counter counts the requests to an engine.
type counter struct{ n atomic.Int64 }

// RoundTripper counts what goes through next.
func (c *counter) RoundTripper(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		c.n.Add(1)
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// countingProxy stands before the engine at a socket of its own. It is for counts, never for times.
type countingProxy struct {
	counter
	host   string
	server *http.Server
}

func newCountingProxy(ctx context.Context, socket, engine string) (*countingProxy, error) {
	network, addr, _ := strings.Cut(engine, "://")
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("count calls: %w", err)
	}
	p := &countingProxy{host: "unix://" + socket}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "engine"})
	to.Transport, to.FlushInterval = p.RoundTripper(&http.Transport{DialContext: dial}), -1
	p.server = &http.Server{Handler: to, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = p.server.Serve(l) }() // always ErrServerClosed
	return p, nil
}

func (p *countingProxy) close() error { return p.server.Close() }
