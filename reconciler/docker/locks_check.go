package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// checkLocks says which services could never be replaced: a single writer
// cannot run twice.
func checkLocks(spec desired.Spec) error {
	var errs []error
	for _, name := range spec.ServiceNames() {
		s := spec.Services[name]
		if len(s.Locks) == 0 {
			continue
		}
		if s.UpdateOrder == "start-first" && !exclusive(s) {
			errs = append(errs, fmt.Errorf("service %s: update_config order start-first runs two containers at a time, and upgrade.locks says that only one may write; "+
				"take one of them back", name))
		}
		if s.Replicas > 1 {
			errs = append(errs, fmt.Errorf("service %s: %d replicas run at a time, and upgrade.locks says that only one may write; take one of them back", name, s.Replicas))
		}
	}
	return reconciler.Terminal(errors.Join(errs...))
}

// checkReach makes sure that the locks of what is going to be stopped can be
// looked at then: before a stop it can still be said what is missing. What need
// not be stopped needs no proof.
func (e *Engine) checkReach(ctx context.Context, t reconciler.Target, images map[string]reconciler.Image) error {
	t.Images = images
	for _, name := range t.Spec.ServiceNames() {
		s := t.Spec.Services[name]
		if len(s.Locks) == 0 {
			continue
		}
		tn, err := e.newTurn(ctx, t, s, 1)
		if err != nil {
			return err
		}
		for _, c := range tn.have {
			if !c.Active() || c.Fits {
				continue
			}
			in, err := tn.inspect(ctx, c.ID, c.Name)
			if errors.Is(err, errGone) {
				continue
			}
			if err != nil {
				return err
			}
			if err := e.reach(in, s.Locks); err != nil {
				return fmt.Errorf("prepare service %s: %w", name, err)
			}
		}
	}
	return nil
}

// reach says which lock files cannot be looked at from here. It is not
// terminal: how the daemon runs is mended without a new revision.
func (e *Engine) reach(in container.InspectResponse, locks []string) error {
	for _, l := range lockFiles(in, locks) {
		if why := e.unreachable(in, l); why != "" {
			return fmt.Errorf("upgrade.locks %s: whether it is free could not be proved, since %s; run the daemon on the engine's host, or with %s mounted at the same path, "+
				"or take the file off upgrade.locks", l.name, why, l.dir)
		}
	}
	return nil
}

func (e *Engine) unreachable(in container.InspectResponse, l lockFile) string {
	if !strings.HasPrefix(e.opts.Host, "unix://") {
		return "the engine at " + e.opts.Host + " is on another machine"
	}
	here, err := os.Stat(l.dir)
	if err != nil {
		return fmt.Sprintf("this daemon cannot reach %s (%v)", l.dir, errors.Unwrap(err))
	}
	there, err := os.Stat(filepath.Join("/proc", fmt.Sprint(pidHere(in)), "root", l.at))
	if err == nil && there.IsDir() && !os.SameFile(here, there) {
		return fmt.Sprintf("%s is another directory for this daemon than for the engine", l.dir)
	}
	return ""
}

// pidHere is the process of a container as this daemon sees it; -1 when it is
// in another PID namespace, where the number is that of another process.
func pidHere(in container.InspectResponse) int {
	if in.ContainerJSONBase == nil || in.State == nil || in.State.Pid == 0 {
		return -1
	}
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", in.State.Pid))
	if err != nil || !strings.Contains(string(groups), in.ID) {
		return -1
	}
	return in.State.Pid
}
