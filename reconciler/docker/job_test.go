package docker_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/examples/registry"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker"
	"github.com/fairlead/fairlead/reconciler/drivertest"
)

// jobRig has an image whose command ends by itself.
func jobRig(t *testing.T) (*rig, string) {
	t.Helper()
	reg, err := registry.Start(registry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	r := newRig(t, imagesOf(t, reg))
	ref := r.images(drivertest.KindJob, 1)
	img, err := r.engine.JobImage(t.Context(), r.instance, ref, "app", nil)
	r.check(err)
	if img.UID != 1000 || img.GID != 1000 || !img.Runs {
		t.Errorf("image: %+v", img)
	}
	return r, img.ID
}

func TestJobRunsAndIsGone(t *testing.T) {
	t.Parallel()
	r, image := jobRig(t)
	var out bytes.Buffer
	end, err := r.engine.RunJob(t.Context(), reconciler.Job{Instance: r.instance, Source: "shop", Image: image, Tmp: 1 << 20, Memory: 64 << 20}, &out)
	if err != nil || end.ExitCode != 0 {
		t.Errorf("%+v, %v\n%s", end, err, &out)
	}
	o, err := r.engine.Survey(t.Context(), r.instance)
	if r.check(err); len(o.Containers) > 0 {
		t.Errorf("left: %+v", o.Containers)
	}
	_, err = r.engine.RunJob(t.Context(), reconciler.Job{Instance: r.instance, Source: "shop", Image: image, Tmp: 1 << 20, Entrypoint: []string{"/none"}}, &out)
	if err == nil || !strings.Contains(err.Error(), "/none") {
		t.Errorf("a command that is not there: %v", err)
	}
}

// What a job says comes by a connection of its own, which is as safe as the others.
func TestJobByTLS(t *testing.T) {
	t.Parallel()
	r, image := jobRig(t)
	dir := t.TempDir()
	a := newAuthority(t)
	a.write(dir, true)
	e, err := docker.New(docker.Options{Host: "tcp://" + serveTLS(t, a), Owner: r.owner, CertDir: dir})
	r.check(err)
	var out bytes.Buffer
	end, err := e.RunJob(t.Context(), reconciler.Job{Instance: r.instance, Source: "shop", Image: image, Tmp: 1 << 20}, &out)
	if err != nil || end.ExitCode != 0 || out.Len() == 0 {
		t.Errorf("%+v, %v: %q", end, err, &out)
	}
}

// A job is seen by nobody who looks for services, lasts as long as its context,
// and one that was left is swept by its owner and nobody else.
func TestJobIsNoService(t *testing.T) {
	t.Parallel()
	r, image := jobRig(t)
	job := reconciler.Job{Instance: r.instance, Source: "shop", Image: image, Tmp: 1 << 20, Command: []string{"serve"}}
	ctx, cancel := context.WithCancelCause(t.Context())
	started, ended := &firstWrite{said: make(chan struct{})}, make(chan error, 1)
	go func() {
		_, err := r.engine.RunJob(ctx, job, started)
		ended <- err
	}()
	<-started.said
	for _, deep := range []bool{false, true} {
		o, err := r.engine.Observe(t.Context(), r.instance, deep)
		if r.check(err); len(o.Containers) > 0 || o.Containers == nil {
			t.Errorf("observed (deep %t): %+v", deep, o.Containers)
		}
	}
	other, err := docker.New(docker.Options{Owner: t.TempDir()})
	r.check(err)
	r.check(other.SweepJobs(t.Context(), r.instance))
	r.check(r.engine.SweepJobs(t.Context(), "another"))
	select {
	case err := <-ended:
		t.Fatalf("it was swept by somebody else: %v", err)
	default:
	}
	why := errors.New("enough")
	cancel(why)
	if err := <-ended; !errors.Is(err, why) {
		t.Errorf("ended with %v", err)
	}
	left := &firstWrite{said: make(chan struct{})}
	go func() {
		end, err := r.engine.RunJob(t.Context(), job, left)
		if err == nil && end.ExitCode == 0 {
			err = errors.New("a job that was swept ended well")
		} else {
			err = nil
		}
		ended <- err
	}()
	<-left.said
	r.check(r.engine.SweepJobs(t.Context(), r.instance))
	r.check(<-ended)
}

// firstWrite tells when something is written to it.
type firstWrite struct {
	said chan struct{}
	done bool
}

func (f *firstWrite) Write(p []byte) (int, error) {
	if !f.done {
		f.done = true
		close(f.said)
	}
	return len(p), nil
}
