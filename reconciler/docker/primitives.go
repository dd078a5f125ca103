package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// defaultGrace is how long the engine waits between the stop signal and the
// kill unless the container says otherwise.
const defaultGrace = 10 * time.Second

// stop ends a container with the grace it was made with.
func (tn *turn) stop(ctx context.Context, id, name string) error {
	for _, c := range tn.have {
		// Older engines refuse to stop what is paused.
		if c.ID == id && c.State == reconciler.StatePaused {
			err := call(ctx, writeTimeout, func(ctx context.Context) error { return tn.e.api().ContainerUnpause(ctx, id) })
			if err != nil && !notFound(err) && !notPaused(err) && !notRunning(err) {
				return tn.e.fail(err, "unpause container %s", name)
			}
		}
	}
	return tn.e.stop(ctx, id, name)
}

func (e *Engine) stop(ctx context.Context, id, name string) error {
	grace := defaultGrace
	err := call(ctx, readTimeout, func(ctx context.Context) error {
		in, err := e.api().ContainerInspect(ctx, id)
		if err == nil && in.Config != nil && in.Config.StopTimeout != nil {
			grace = time.Duration(*in.Config.StopTimeout) * time.Second
		}
		return err
	})
	if err == nil {
		err = call(ctx, grace+writeTimeout, func(ctx context.Context) error {
			return e.api().ContainerStop(ctx, id, container.StopOptions{})
		})
	}
	if notFound(err) {
		return errGone
	}
	return e.fail(err, "stop container %s", name)
}

// remove takes a container away and leaves its volumes.
func (e *Engine) remove(ctx context.Context, id, name string) error {
	err := call(ctx, writeTimeout, func(ctx context.Context) error {
		return e.api().ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	})
	switch {
	case notFound(err):
		return nil
	case err != nil && beingRemoved(err):
		return e.awaitGone(ctx, id)
	}
	return e.fail(err, "remove container %s", name)
}

// awaitGone waits until a removal that somebody began is done.
func (e *Engine) awaitGone(ctx context.Context, id string) error {
	return call(ctx, writeTimeout, func(ctx context.Context) error {
		for {
			in, err := e.api().ContainerInspect(ctx, id)
			switch {
			case notFound(err):
				return nil
			case err != nil:
				return e.fail(err, "wait for the removal of container %s", short(id))
			case in.State != nil && in.State.Status == container.StateDead:
				return e.fail(e.api().ContainerRemove(ctx, id, container.RemoveOptions{Force: true}), "remove container %s", short(id))
			}
			if err := sleep(ctx, pollFirst); err != nil {
				return fmt.Errorf("wait for the removal of container %s: %w", short(id), err)
			}
		}
	})
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// makeWorkDirs makes the directories of writable relative binds that nothing
// was seeded to. A path that leaves the work directory is refused.
func makeWorkDirs(b blueprint) error {
	for _, m := range b.service.Mounts {
		if m.Type != desired.MountWork {
			continue
		}
		if !filepath.IsLocal(filepath.FromSlash(m.Source)) {
			return fmt.Errorf("mount %s: %q is outside the work directory", m.Target, m.Source)
		}
		if err := os.MkdirAll(filepath.Join(b.target.Dir, "work"), 0o755); err != nil {
			return err
		}
		root, err := os.OpenRoot(filepath.Join(b.target.Dir, "work"))
		if err != nil {
			return err
		}
		_, err = root.Stat(filepath.FromSlash(m.Source))
		if os.IsNotExist(err) {
			err = root.MkdirAll(filepath.FromSlash(m.Source), 0o755)
		}
		root.Close()
		if err != nil {
			return fmt.Errorf("mount %s: make work directory %s: %w", m.Target, m.Source, err)
		}
	}
	return nil
}

// parsePlatform reads "linux/arm64/v8"; empty is the engine's own.
func parsePlatform(s string) (*ocispec.Platform, error) {
	if s == "" {
		return nil, nil
	}
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return nil, reconciler.Terminal(fmt.Errorf("platform %q is not of the form os/arch or os/arch/variant", s))
	}
	p := &ocispec.Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}
