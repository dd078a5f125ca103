package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/docker/go-units"

	"github.com/fairlead/fairlead/reconciler"
)

// The labels of jobs. They have none of those that services have: a job is no
// part of what an instance is observed to run.
const (
	labelJobOwner    = "fairlead.job.owner"
	labelJobInstance = "fairlead.job.instance"
	labelJobSource   = "fairlead.job.source"
)

const (
	// outputGrace is how long what a job wrote may still come after its end.
	outputGrace = 30 * time.Second
	// engineAway is how long an engine may be gone (an upgrade, a restart) before
	// a job is given up. Its container is removed by the next sweep.
	engineAway = 2 * time.Minute
)

// RunJob runs a job to its end, writing what it says to output, and removes its
// container, whatever happened. It ends early with ctx, and with its cause.
func (e *Engine) RunJob(ctx context.Context, j reconciler.Job, output io.Writer) (end reconciler.JobEnd, err error) {
	if err := e.sweepJobs(ctx, j.Instance, j.Source); err != nil {
		return end, err
	}
	cfg, host := jobConfig(e.opts.Owner, j)
	name := fmt.Sprintf("%s-connector-%s-%08x", j.Instance, j.Source, rand.Uint32())
	var made container.CreateResponse
	err = call(ctx, writeTimeout, func(ctx context.Context) (err error) {
		made, err = e.api().ContainerCreate(ctx, cfg, host, nil, nil, name)
		return err
	})
	if err != nil {
		// An answer that was lost leaves a container, which is not started.
		swept := e.sweepJobs(context.WithoutCancel(ctx), j.Instance, j.Source)
		return end, errors.Join(e.fail(err, "create container %s", name), swept)
	}
	defer func() {
		rerr := e.remove(context.WithoutCancel(ctx), made.ID, name)
		err = errors.Join(err, rerr)
	}()
	for _, w := range made.Warnings {
		e.log.WithField("container", name).Warn(w)
	}
	stream, err := e.attachJob(ctx, made.ID, name)
	if err != nil {
		return end, err
	}
	defer stream.Close()
	if err := call(ctx, writeTimeout, func(ctx context.Context) error {
		return e.api().ContainerStart(ctx, made.ID, container.StartOptions{})
	}); err != nil {
		return end, e.fail(err, "start container %s", name)
	}
	return e.followJob(ctx, made.ID, name, stream, output)
}

// attachJob takes the output of a container that is not started yet. The engine
// keeps none of it: a job that talks fills no disk, it waits until it was heard.
// The stream is a connection of its own, which the client would make without TLS.
func (e *Engine) attachJob(ctx context.Context, id, name string) (types.HijackedResponse, error) {
	version, err := e.version(ctx)
	if err != nil {
		return types.HijackedResponse{}, err
	}
	dial := (&net.Dialer{Timeout: dialTimeout}).DialContext
	if e.opts.CertDir != "" {
		dial = func(ctx context.Context, _, addr string) (net.Conn, error) { return dialTLS(ctx, e.opts.CertDir, addr) }
	}
	cli, err := client.NewClientWithOpts(client.WithHost(e.opts.Host), client.WithVersion(version),
		client.WithHTTPClient(&http.Client{Transport: &http.Transport{DialContext: dial}}))
	if err != nil {
		return types.HijackedResponse{}, e.fail(err, "attach to container %s", name)
	}
	stream, err := cli.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	return stream, e.fail(err, "attach to container %s", name)
}

// followJob copies a job's output and waits for its end.
func (e *Engine) followJob(ctx context.Context, id, name string, stream types.HijackedResponse, output io.Writer) (reconciler.JobEnd, error) {
	copied := make(chan error, 1)
	go func() {
		_, err := stdcopy.StdCopy(output, output, stream.Reader)
		copied <- err
	}()
	end, err := e.awaitJob(ctx, id, name)
	if err != nil {
		stream.Close()
		<-copied
		return end, err
	}
	grace := time.AfterFunc(outputGrace, stream.Close)
	defer grace.Stop()
	if cerr := <-copied; cerr != nil {
		e.log.WithError(cerr).WithField("container", name).Warn("a part of what a connector wrote is missing from its log")
	}
	return end, nil
}

// awaitJob waits until a container does not run any more. An engine that goes
// away meanwhile is waited for.
func (e *Engine) awaitJob(ctx context.Context, id, name string) (reconciler.JobEnd, error) {
	var away time.Time
	for {
		e.waitOnce(ctx, id)
		if ctx.Err() != nil {
			return reconciler.JobEnd{}, context.Cause(ctx)
		}
		var in container.InspectResponse
		err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
			in, err = e.api().ContainerInspect(ctx, id)
			return err
		})
		err = e.fail(err, "inspect container %s", name)
		switch {
		case notFound(err):
			return reconciler.JobEnd{}, fmt.Errorf("run container %s: it was removed while it ran", name)
		case err == nil && in.State != nil && !in.State.Running && !in.State.Restarting && !in.State.Paused:
			return reconciler.JobEnd{ExitCode: in.State.ExitCode, OutOfMemory: in.State.OOMKilled}, nil
		case err == nil:
			away = time.Time{}
		case away.IsZero():
			away = time.Now()
		case time.Since(away) > engineAway:
			return reconciler.JobEnd{}, err
		}
		if err := sleep(ctx, pollLast); err != nil {
			return reconciler.JobEnd{}, context.Cause(ctx)
		}
	}
}

// waitOnce waits for a container's end, or until the engine hangs up; which of
// them it was is seen by looking.
func (e *Engine) waitOnce(ctx context.Context, id string) {
	done, failed := e.api().ContainerWait(ctx, id, container.WaitConditionNotRunning)
	select {
	case <-done:
	case <-failed:
	case <-ctx.Done():
	}
}

// jobConfig writes a job as the API has it: nothing of the host but its mounts,
// no capability, nowhere to write but where it says.
func jobConfig(owner string, j reconciler.Job) (*container.Config, *container.HostConfig) {
	c := &container.Config{
		Image: j.Image, Entrypoint: j.Entrypoint, Cmd: j.Command, Env: j.Env, WorkingDir: j.Dir, User: j.User,
		Labels:      map[string]string{labelJobOwner: owner, labelJobInstance: j.Instance, labelJobSource: j.Source},
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	h := &container.HostConfig{
		NetworkMode: "none", ReadonlyRootfs: true, CapDrop: []string{"ALL"}, SecurityOpt: []string{"no-new-privileges"},
		RestartPolicy: container.RestartPolicy{Name: container.RestartPolicyDisabled},
		LogConfig:     container.LogConfig{Type: "none"},
		Resources:     container.Resources{Memory: j.Memory, MemorySwap: j.Memory, NanoCPUs: int64(j.CPUs * 1e9)},
	}
	if j.Network {
		h.NetworkMode = "bridge"
	}
	if j.Pids > 0 {
		h.PidsLimit = &j.Pids
	}
	h.Ulimits = append(h.Ulimits, &units.Ulimit{Name: "core"})
	if j.MaxFile > 0 {
		h.Ulimits = append(h.Ulimits, &units.Ulimit{Name: "fsize", Soft: j.MaxFile, Hard: j.MaxFile})
	}
	h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeTmpfs, Target: "/tmp",
		TmpfsOptions: &mount.TmpfsOptions{SizeBytes: j.Tmp, Mode: 0o1777}})
	for _, m := range j.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeBind, Source: m.Source, Target: m.Target, ReadOnly: !m.Writable,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate}})
	}
	return c, h
}

// SweepJobs removes the containers of an instance's jobs, of which none may be
// under way in this process: an earlier one left them.
func (e *Engine) SweepJobs(ctx context.Context, instance string) error {
	return e.sweepJobs(ctx, instance, "")
}

func (e *Engine) sweepJobs(ctx context.Context, instance, source string) error {
	f := filters.NewArgs(filters.Arg("label", labelJobOwner+"="+e.opts.Owner), filters.Arg("label", labelJobInstance+"="+instance))
	if source != "" {
		f.Add("label", labelJobSource+"="+source)
	}
	var list []container.Summary
	if err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
		list, err = e.api().ContainerList(ctx, container.ListOptions{All: true, Filters: f})
		return err
	}); err != nil {
		return e.fail(err, "list containers of connectors")
	}
	var errs []error
	for _, c := range list {
		errs = append(errs, e.remove(ctx, c.ID, nameOf(c)))
	}
	return errors.Join(errs...)
}
