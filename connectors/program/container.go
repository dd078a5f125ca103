package program

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

// errNoEngine says that there is nothing to make containers with.
var errNoEngine = errors.New("there is no container engine here; let it run as a process (host: true), or start an engine")

// inContainer runs the program in a container of its own.
func (a *attempt) inContainer(ctx context.Context, stop context.CancelCauseFunc) (ended, error) {
	if a.opts.Engine == nil {
		return ended{}, errNoEngine
	}
	tierA := a.spec.Files != ""
	image, user := a.spec.Image, a.spec.User
	if tierA {
		image, user = cmp.Or(image, DefaultImage), cmp.Or(user, nobody)
	}
	img, err := a.opts.Engine.JobImage(ctx, a.run.Instance, image, user, nil)
	if err != nil {
		return ended{}, err
	}
	job := a.job(img)
	switch {
	case tierA:
		if job.Command, err = command(a.run.Program, a.spec.Run); err != nil {
			return ended{}, err
		}
		job.Entrypoint, job.Command = job.Command[:1], job.Command[1:]
		if err := a.addProgram(ctx, img, &job); err != nil {
			return ended{}, err
		}
	case len(a.spec.Run) > 0:
		job.Entrypoint, job.Command = a.spec.Run[:1], a.spec.Run[1:]
	case !img.Runs:
		return ended{}, reconciler.Terminal(connectors.WithHint(fmt.Errorf("image %s has no command of its own", image),
			"give the image an ENTRYPOINT, or say what to start with run"))
	}
	if err := handOver(a.run.Job.Dir, img.UID, img.GID); err != nil {
		return ended{}, err
	}
	defer a.watch(ctx, a.run.Job.Dir, a.disk(), stop)()
	end, err := a.opts.Engine.RunJob(ctx, job, a.output)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return ended{}, cause
	}
	return ended{end.ExitCode, end.OutOfMemory}, err
}

// job is what both tiers have in common.
func (a *attempt) job(img reconciler.JobImage) reconciler.Job {
	env := a.environment(outDir, stateFile, "/tmp")
	return reconciler.Job{
		Instance: a.run.Instance, Source: a.run.Source, Image: img.ID, Env: env,
		User: fmt.Sprintf("%d:%d", img.UID, img.GID), Network: a.spec.Network,
		Memory: a.memory(), CPUs: a.spec.CPUs, Pids: maxPids,
		Tmp: min(max(a.memory()/4, 16<<20), 1<<30), MaxFile: a.disk(),
		Mounts: []reconciler.JobMount{
			{Source: a.run.Job.Dir, Target: outDir, Writable: true},
			{Source: a.state(), Target: stateFile},
		},
	}
}

// addProgram gives a job the files of a tier a connector, and the packages that
// they need.
func (a *attempt) addProgram(ctx context.Context, img reconciler.JobImage, job *reconciler.Job) error {
	job.Dir = programDir
	job.Mounts = append(job.Mounts, reconciler.JobMount{Source: a.run.Program, Target: programDir})
	deps, err := a.packages(ctx, img.ID, func(ctx context.Context, req, into string) (int, error) {
		return a.pipInContainer(ctx, img, req, into)
	})
	if err != nil {
		return err
	}
	at := ""
	if deps != "" {
		at = depsDir
		job.Mounts = append(job.Mounts, reconciler.JobMount{Source: deps, Target: depsDir})
	}
	job.Env = withDeclared(a.spec.Env, job.Env, python(at))
	return nil
}

// withDeclared adds variables of ours that a declared one of the same name beats.
func withDeclared(declared map[string]string, env, ours []string) []string {
	for _, v := range ours {
		name, _, _ := strings.Cut(v, "=")
		if _, theirs := declared[name]; !theirs {
			env = append(env, v)
		}
	}
	slices.Sort(env)
	return env
}

// handOver makes a directory writable for the user that a container runs as. A
// daemon that is not root cannot give it away, and opens it to all instead.
func handOver(dir string, uid, gid int) error {
	if os.Geteuid() != 0 && os.Geteuid() != uid {
		return os.Chmod(dir, 0o777)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	return os.Chown(dir, uid, gid)
}

// pipInContainer installs requirements in a container like that of the run,
// which has the network.
func (a *attempt) pipInContainer(ctx context.Context, img reconciler.JobImage, req, into string) (int, error) {
	deps, build := filepath.Join(into, "deps"), filepath.Join(into, "build")
	for _, dir := range []string{deps, build} {
		if err := handOver(dir, img.UID, img.GID); err != nil {
			return 0, err
		}
	}
	job := a.job(img)
	job.Entrypoint, job.Command = []string{"python3"}, pipArguments(depsDir, req)
	job.Dir, job.Network, job.MaxFile, job.Memory = programDir, true, maxPackages, max(job.Memory, pipMemory)
	job.Env = append(pipEnvironment(a.spec.Env), "HOME=/tmp", "TMPDIR=/build")
	job.Mounts = []reconciler.JobMount{
		{Source: a.run.Program, Target: programDir},
		{Source: deps, Target: depsDir, Writable: true}, {Source: build, Target: "/build", Writable: true},
	}
	end, err := a.opts.Engine.RunJob(ctx, job, a.output)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return 0, cause
	}
	return end.ExitCode, err
}
