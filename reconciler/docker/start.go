package docker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
)

const (
	// portWait is how long a start waits for a port of the host that another
	// container of the instance is about to give up: a stop and its grace.
	portWait = time.Minute
	portPoll = 250 * time.Millisecond
)

// start starts a container. A port of the host goes over from one service to
// another within one plan: the new holder waits until the old one is stopped.
func (tn *turn) start(ctx context.Context, id string) error {
	free := false
	for began := time.Now(); ; {
		err := call(ctx, writeTimeout, func(ctx context.Context) error {
			return tn.e.api().ContainerStart(ctx, id, container.StartOptions{})
		})
		if err == nil || !portTaken(err) || free || time.Since(began) > portWait {
			return err
		}
		list, lerr := tn.e.listInstance(ctx, tn.t.Spec.Name)
		if lerr != nil {
			return lerr
		}
		// Once nobody of ours holds it any more, it is tried a last time.
		free = !slices.ContainsFunc(list, tn.givesUpPort)
		if serr := sleep(ctx, portPoll); serr != nil {
			return serr
		}
	}
}

// givesUpPort says that a running container holds a port which this service
// publishes, and which its own service does not publish any more.
func (tn *turn) givesUpPort(c container.Summary) bool {
	if c.State != container.StateRunning || tn.found[c.ID].ID != "" {
		return false
	}
	other := tn.t.Spec.Services[c.Labels[labelService]]
	return slices.ContainsFunc(c.Ports, func(held container.Port) bool {
		return publishes(tn.service, held) && !publishes(other, held)
	})
}

func publishes(s desired.Service, held container.Port) bool {
	return slices.ContainsFunc(s.Ports, func(p desired.Port) bool {
		return held.PublicPort != 0 && p.Published == strconv.Itoa(int(held.PublicPort)) && portKey(p).Proto() == held.Type
	})
}

func portTaken(err error) bool {
	s := err.Error()
	return strings.Contains(s, "port is already allocated") || strings.Contains(s, "address already in use")
}
