package server

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/fairlead/fairlead/reconciler"
)

// LogQuery says which lines of which containers are wanted.
type LogQuery struct {
	Instance string
	Service  string // empty: all
	Tail     int    // lines a container; 0: none of the past, negative: all
	Follow   bool
}

// LogLine is a line that a container wrote, behind the container's name.
type LogLine struct {
	Line string `json:"line"`
}

// Logs writes what containers write, whole lines with the container's name
// before each, until the context ends it.
type Logs interface {
	Logs(ctx context.Context, instance, service string, follow bool, tail int, w io.Writer) error
}

// Events gives up to limit past events of an instance, or of all for an empty
// name, oldest first; and then, if follow is set, those that come.
func (a *API) Events(ctx context.Context, name string, limit int, follow bool, emit func(reconciler.Event) error) error {
	live, stop := a.cfg.Events.Listen()
	defer stop()
	past, err := a.recent(name, limit)
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for _, e := range past {
		seen[e.Instance] = e.Seq
		if err := emit(e); err != nil {
			return err
		}
	}
	for follow {
		select {
		case <-ctx.Done():
			return nil
		case e := <-live:
			if (name != "" && e.Instance != name) || (e.Seq != 0 && e.Seq <= seen[e.Instance]) {
				continue
			}
			if err := emit(e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (a *API) recent(name string, limit int) (list []reconciler.Event, err error) {
	instances := a.cfg.Fleet.Instances()
	if name != "" {
		r, err := a.find(name)
		if err != nil {
			return nil, err
		}
		instances = []*reconciler.Instance{r}
	}
	for _, r := range instances {
		some, err := r.Events(limit)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	slices.SortFunc(list, func(x, y reconciler.Event) int {
		return cmp.Or(x.At.Compare(y.At), cmp.Compare(x.Seq, y.Seq))
	})
	return list[max(0, len(list)-limit):], nil
}

// Logs gives what the containers of an instance write.
func (a *API) Logs(ctx context.Context, q LogQuery, emit func(LogLine) error) error {
	if _, err := a.find(q.Instance); err != nil {
		return err
	}
	if a.cfg.Logs == nil {
		return absent("read logs: the container engine offers none")
	}
	lines := &lineWriter{emit: emit}
	err := a.cfg.Logs.Logs(ctx, q.Instance, q.Service, q.Follow, q.Tail, lines)
	if err == nil {
		err = lines.rest()
	}
	switch {
	case q.Follow && ctx.Err() != nil:
		return nil
	case errors.Is(err, reconciler.ErrUnknownObject):
		return withHint(err, "GET /api/instances/"+q.Instance+" (fairlead status "+q.Instance+") lists its containers and their services")
	}
	return err
}
