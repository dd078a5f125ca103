package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	gogit "github.com/go-git/go-git/v5"

	"github.com/fairlead/fairlead/reconciler"
)

// nothing is a pass that finds nothing to do, by each contender in turn.
type nothing struct {
	b         *bench
	instances int
	services  int
	loop      *loop
	bare      *gogit.Repository // the floor's
	url       string
	dir       string // compose's
	project   string // compose's

	pass, floor, theirs series
	calls               series
}

func measureNoop(ctx context.Context, b *bench) error {
	small := b.rounds(100, 20)
	for _, n := range []*nothing{{b: b, instances: 1, services: small}, {b: b, instances: b.rounds(20, 4), services: 5}} {
		if err := n.run(ctx); err != nil {
			return err
		}
		b.tell("a pass over %d × %d that finds nothing to do is measured", n.instances, n.services)
	}
	return nil
}

func (n *nothing) run(ctx context.Context) (err error) {
	if err := n.setUp(ctx); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, n.loop.close()) // before anything is removed: it would be healed
		if err == nil {
			err = n.tearDown(ctx)
		}
	}()
	for i := range n.b.rounds(21, 3) {
		if err := n.round(ctx, i); err != nil {
			return err
		}
	}
	calls, err := n.composeCalls(ctx)
	if err != nil {
		return err
	}
	n.tell(calls)
	return nil
}

func (n *nothing) tell(calls float64) {
	what := fmt.Sprintf("pass over %d × %d, nothing to do: ", n.instances, n.services)
	up := "docker compose up -d"
	if n.instances > 1 {
		up += fmt.Sprintf(" × %d", n.instances)
	}
	n.b.figure(figure{name: what + "calls", ours: n.calls, against: "one list", theirs: series{1}, unit: "calls", floor: true, limit: 1})
	n.b.figure(figure{name: what + "calls", ours: n.calls, against: up, theirs: series{calls}, unit: "calls"})
	n.b.figure(figure{name: what + "wall", ours: n.pass, against: "one list + one go-git fetch", theirs: n.floor, unit: "ms", floor: true, limit: 2})
	n.b.figure(figure{name: what + "wall", ours: n.pass, against: up, theirs: n.theirs, unit: "ms"})
}

// setUp deploys the containers twice: ours, and one project of compose. Where there are several instances, compose's
// one project is brought up as often as there are instances.
func (n *nothing) setUp(ctx context.Context) error {
	id := n.b.name("noop" + strconv.Itoa(n.instances))
	root := filepath.Join(n.b.dir, id)
	r, err := makeRepo(ctx, filepath.Join(root, "work"))
	if err != nil {
		return err
	}
	files, names := map[string]string{}, []string{}
	for i := range n.instances {
		name := id + "-" + strconv.Itoa(i)
		names = append(names, name)
		files["instances/"+name+"/compose.yaml"] = n.file()
	}
	if _, err := r.commit(ctx, files); err != nil {
		return err
	}
	if _, err := r.git(ctx, "clone", "-q", "--bare", r.dir, filepath.Join(root, "served.git")); err != nil {
		return err
	}
	served, err := serveGit(ctx, root)
	if err != nil {
		return err
	}
	n.url = served.URL + "/served.git"
	if n.loop, err = startLoop(ctx, n.b, id, n.url, names, served.Close); err != nil {
		return err
	}
	if n.bare, err = gogit.PlainCloneContext(ctx, filepath.Join(root, "floor.git"), true, &gogit.CloneOptions{URL: n.url}); err != nil {
		return fmt.Errorf("clone for the floor: %w", err)
	}
	n.project = id + "-compose"
	if n.dir, err = n.b.composeDir(n.project, n.file()); err != nil {
		return err
	}
	return n.up(ctx, n.b.host)
}

func (n *nothing) file() string {
	return composeFile(n.services, n.b.images[0], n.b.images[0], "0")
}

func (n *nothing) up(ctx context.Context, host string) error {
	_, err := output(ctx, n.dir, []string{"DOCKER_HOST=" + host}, n.b.compose, "-p", n.project, "up", "-d")
	return err
}

func (n *nothing) round(ctx context.Context, i int) error {
	parts := []func(context.Context) error{n.ours, n.lowest, n.compose}
	for k := range parts {
		if err := parts[(k+i)%len(parts)](ctx); err != nil {
			return err
		}
	}
	return nil
}

func (n *nothing) ours(ctx context.Context) error {
	took, calls, err := n.loop.pass(ctx)
	if err != nil {
		return err
	}
	n.pass.add(took)
	n.calls = append(n.calls, float64(calls))
	return nil
}

// lowest is what nobody can do without: one list of the same containers, and one fetch that finds nothing.
func (n *nothing) lowest(ctx context.Context) error {
	began := time.Now()
	if err := n.bare.FetchContext(ctx, &gogit.FetchOptions{}); !errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return fmt.Errorf("fetch found something new: %w", err)
	}
	list, err := n.b.raw.cli.ContainerList(ctx, container.ListOptions{All: true,
		Filters: filters.NewArgs(filters.Arg("label", n.loop.ownerLabel))})
	if err != nil {
		return err
	}
	n.floor.add(time.Since(began))
	if len(list) != n.instances*n.services {
		return fmt.Errorf("the floor lists %d containers, want %d", len(list), n.instances*n.services)
	}
	return nil
}

func (n *nothing) compose(ctx context.Context) error {
	began := time.Now()
	for range n.instances {
		if err := n.up(ctx, n.b.host); err != nil {
			return err
		}
	}
	n.theirs.add(time.Since(began))
	return nil
}

// composeCalls counts by a proxy, which times do not go through.
func (n *nothing) composeCalls(ctx context.Context) (float64, error) {
	proxy, err := newCountingProxy(ctx, filepath.Join(n.b.dir, n.project+".sock"), n.b.host)
	if err != nil {
		return 0, err
	}
	defer func() { _ = proxy.close() }() // nothing goes through any more
	for range n.instances {
		if err := n.up(ctx, proxy.host); err != nil {
			return 0, err
		}
	}
	return float64(proxy.n.Load()), nil
}

func (n *nothing) tearDown(ctx context.Context) error {
	for _, r := range n.loop.instances() {
		if err := n.b.clear(ctx, r.Name()); err != nil {
			return err
		}
	}
	return n.b.clear(ctx, n.project)
}

// composeDir makes a project directory for docker compose.
func (b *bench) composeDir(project, file string) (string, error) {
	dir := filepath.Join(b.dir, project)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make compose project: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "compose.yaml"), []byte(file), 0o644); err != nil {
		return "", fmt.Errorf("make compose project: %w", err)
	}
	return dir, nil
}

// idle says that an instance is at rest after a pass that began after a time.
func idle(s reconciler.Status, after time.Time) bool {
	return s.Phase == reconciler.PhaseIdle && s.LastPass.After(after)
}
