package docker

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/docker/swap"
)

// gather is how long the list of a quick observation waits for others who want
// the same: a timer makes the passes of all instances at once. Who is about to
// act does not wait; he shares a list only with those who come while one runs.
const gather = 3 * time.Millisecond

// batcher lets everyone who asks at the same time share one list. Who asks
// gets a list that started after the question, so no one acts on old news.
type batcher struct {
	list func(context.Context) ([]container.Summary, error)

	mu   sync.Mutex
	next *listing
	busy chan struct{} // holds a token while a list runs: those who come meanwhile share the next
}

func newBatcher(list func(context.Context) ([]container.Summary, error)) *batcher {
	return &batcher{list: list, busy: make(chan struct{}, 1)}
}

type listing struct {
	done chan struct{}
	out  []container.Summary
	err  error
}

func (b *batcher) get(ctx context.Context, wait time.Duration) ([]container.Summary, error) {
	b.mu.Lock()
	l := b.next
	if l == nil {
		l = &listing{done: make(chan struct{})}
		b.next = l
		go b.run(l, wait)
	}
	b.mu.Unlock()
	select {
	case <-l.done:
		return l.out, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *batcher) run(l *listing, wait time.Duration) {
	b.busy <- struct{}{}
	defer func() { <-b.busy }()
	time.Sleep(wait)
	b.mu.Lock()
	b.next = nil
	b.mu.Unlock()
	// Not the context of who asked first: others wait for the same answer.
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	l.out, l.err = b.list(ctx)
	close(l.done)
}

// listOwned lists every container of this owner.
func (e *Engine) listOwned(ctx context.Context) ([]container.Summary, error) {
	out, err := e.api().ContainerList(ctx, container.ListOptions{
		All: true, Filters: filters.NewArgs(filters.Arg("label", labelOwner+"="+e.opts.Owner)),
	})
	if err != nil {
		return nil, e.fail(err, "list containers")
	}
	e.noteOwners(out)
	return out, nil
}

// shareList lists the containers of an instance with whoever asks at the same
// time: a plan of 100 would make 100 lists of 100 at once.
func (e *Engine) shareList(ctx context.Context, instance string) ([]container.Summary, error) {
	all, err := e.lists.get(ctx, 0)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(c container.Summary) bool { return !e.owns(c.Labels, instance) }), nil
}

// noteOwners remembers which container belongs to which instance, for events.
func (e *Engine) noteOwners(list []container.Summary) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.whose)
	for _, c := range list {
		if c.Labels[labelOwner] == e.opts.Owner {
			e.whose[c.ID] = c.Labels[labelInstance]
		}
	}
}

// Observe implements reconciler.Driver.
func (e *Engine) Observe(ctx context.Context, instance string, deep bool) (reconciler.Observed, error) {
	notes, err := e.notes.read(instance)
	if err != nil {
		return reconciler.Observed{}, err
	}
	if deep {
		ctx, cancel := context.WithTimeout(ctx, 2*readTimeout)
		defer cancel()
		o, err := e.survey(ctx, instance, notes)
		if err != nil {
			return o, err
		}
		return o, e.addSettings(ctx, o.Containers, notes)
	}
	list, err := e.lists.get(ctx, gather)
	if err != nil {
		return reconciler.Observed{}, err
	}
	o := reconciler.Observed{Containers: []reconciler.Container{}}
	for _, c := range list {
		if e.owns(c.Labels, instance) {
			o.Containers = append(o.Containers, e.observedIn(c, list, notes))
		}
	}
	sortContainers(o.Containers)
	return o, nil
}

// Survey implements reconciler.Driver.
func (e *Engine) Survey(ctx context.Context, instance string) (reconciler.Observed, error) {
	notes, err := e.notes.read(instance)
	if err != nil {
		return reconciler.Observed{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return e.survey(ctx, instance, notes)
}

func sortContainers(cs []reconciler.Container) {
	slices.SortFunc(cs, func(a, b reconciler.Container) int { return strings.Compare(a.Name, b.Name) })
}

// observed reads one entry of a list.
func (e *Engine) observed(c container.Summary, notes page) reconciler.Container {
	replica, _ := strconv.Atoi(c.Labels[labelReplica])
	o := reconciler.Container{
		ID: c.ID, Name: nameOf(c), Service: c.Labels[labelService], Replica: replica,
		Hash: c.Labels[labelHash], ImageRef: c.Labels[labelImage], ImageID: c.ImageID,
		State: reconciler.State(c.State), Completed: notes.Completed[c.ID],
	}
	o.Slot = swap.SlotOf(o.Name, c.Labels[labelName])
	o.ExitCode, o.Health = parseStatus(c.Status)
	if o.State == reconciler.StateRunning || o.State == reconciler.StatePaused {
		o.ExitCode = 0
	}
	if c.NetworkSettings != nil {
		for n := range c.NetworkSettings.Networks {
			o.Networks = append(o.Networks, n)
		}
		slices.Sort(o.Networks)
	}
	for k, v := range c.Labels {
		if svc, ok := strings.CutPrefix(k, labelPeer); ok {
			if o.Peers == nil {
				o.Peers = map[string]string{}
			}
			o.Peers[svc] = v
		}
	}
	if id := e.impostor(c, notes); id != "" {
		o.Changed = []reconciler.Change{{Field: "container", Old: short(id), New: short(c.ID)}}
	}
	return o
}

// impostor returns the ID of the container in whose place c was put by other
// hands, with the same labels; empty when c is the one that was made.
func (e *Engine) impostor(c container.Summary, notes page) string {
	if _, known := notes.Containers[c.ID]; known || e.isMade(c.ID, nameOf(c)) {
		return ""
	}
	replica, _ := strconv.Atoi(c.Labels[labelReplica])
	for id, r := range notes.Containers {
		if r.Service == c.Labels[labelService] && r.Replica == replica && r.Hash == c.Labels[labelHash] &&
			r.Image == c.ImageID && r.Generation == c.Labels[labelGeneration] {
			return id
		}
	}
	return ""
}

// nameOf is a container's own name. Names of links ("/other/alias") are listed too.
func nameOf(c container.Summary) string {
	for _, n := range c.Names {
		if n = strings.TrimPrefix(n, "/"); !strings.Contains(n, "/") {
			return n
		}
	}
	return short(c.ID)
}

func short(id string) string {
	if len(id) > 12 {
		return id[:12]
	}
	return id
}
