package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// upgrade is one image changed among n services, by each contender in turn.
type upgrade struct {
	b       *bench
	n       int
	project string // ours; those of the others are named after it

	ours     repo
	daemon   *daemon
	upstream repo // compose's
	clone    repo
	rawID    string // the container that the floor replaces

	got   map[string]*series
	parts map[string]*series
}

// partNames are what the time of a change is made of, in order.
var partNames = []string{"commit to seen", "seen to apply", "apply to created", "created to stopped", "stopped to started"}

func measureChange(ctx context.Context, b *bench) error {
	for _, n := range []int{1, 10} {
		u := &upgrade{b: b, n: n, project: b.name("change" + strconv.Itoa(n)), got: map[string]*series{}, parts: map[string]*series{}}
		if err := u.run(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (u *upgrade) run(ctx context.Context) error {
	defer u.b.tell("change of 1 in %d services is measured", u.n)
	if err := u.setUp(ctx); err != nil {
		return err
	}
	contenders := []struct {
		name string
		do   func(context.Context, int) (time.Duration, error)
	}{{"ours", u.fairlead}, {"raw", u.floor}, {"compose", u.compose}}
	for round := 1; round <= u.b.rounds(9, 2); round++ {
		for i := range contenders { // another one begins each time
			c := contenders[(i+round)%len(contenders)]
			took, err := c.do(ctx, round)
			if err != nil {
				return fmt.Errorf("round %d of %s: %w", round, c.name, err)
			}
			u.of(u.got, c.name).add(took)
		}
	}
	u.tell()
	return u.tearDown(ctx)
}

func (u *upgrade) of(m map[string]*series, name string) *series {
	if m[name] == nil {
		m[name] = &series{}
	}
	return m[name]
}

func (u *upgrade) tell() {
	what := fmt.Sprintf("change 1 of %d: commit to started", u.n)
	u.b.figure(figure{name: what, ours: *u.got["ours"], against: "stop + create + start", theirs: *u.got["raw"], unit: "ms", floor: true, limit: 1.15})
	u.b.figure(figure{name: what, ours: *u.got["ours"], against: "git pull && docker compose up -d", theirs: *u.got["compose"], unit: "ms"})
	text := fmt.Sprintf("Parts of a change of 1 in %d, ms:", u.n)
	for i, name := range partNames {
		if i > 0 {
			text += ","
		}
		text += fmt.Sprintf(" %s %s", name, u.of(u.parts, name))
	}
	u.b.note("%s. The floor: stop %s, create %s, start %s.", text, u.of(u.parts, "raw stop"), u.of(u.parts, "raw create"), u.of(u.parts, "raw start"))
}

func (u *upgrade) image(round int) string { return u.b.images[round%2] }

func (u *upgrade) file(round int) map[string]string {
	return map[string]string{"compose.yaml": composeFile(u.n, u.image(round), u.b.images[0], "0")}
}

func (u *upgrade) setUp(ctx context.Context) (err error) {
	if u.ours, err = makeRepo(ctx, filepath.Join(u.b.dir, u.project)); err != nil {
		return err
	}
	first, err := u.ours.commit(ctx, u.file(0))
	if err != nil {
		return err
	}
	if u.daemon, err = u.b.startDaemon(ctx, u.project, u.ours.dir); err != nil {
		return err
	}
	if err := u.daemon.converged(ctx, u.project, first); err != nil {
		return err
	}
	if err := u.setUpCompose(ctx); err != nil {
		return err
	}
	if err := u.b.raw.makeNetwork(ctx, u.project+"-raw"); err != nil {
		return err
	}
	u.rawID, err = u.b.raw.create(ctx, u.project+"-raw", u.project+"-raw-0", u.image(0))
	if err != nil {
		return err
	}
	return u.b.raw.start(ctx, u.rawID)
}

func (u *upgrade) setUpCompose(ctx context.Context) (err error) {
	if u.upstream, err = makeRepo(ctx, filepath.Join(u.b.dir, u.project+"-upstream")); err != nil {
		return err
	}
	if _, err := u.upstream.commit(ctx, u.file(0)); err != nil {
		return err
	}
	u.clone = repo{filepath.Join(u.b.dir, u.project+"-clone")}
	if _, err := u.upstream.git(ctx, "clone", "-q", u.upstream.dir, u.clone.dir); err != nil {
		return err
	}
	_, err = output(ctx, u.clone.dir, nil, u.b.compose, "-p", u.project+"-compose", "up", "-d")
	return err
}

func (u *upgrade) tearDown(ctx context.Context) error {
	if err := u.daemon.stop(ctx); err != nil {
		return err
	}
	for _, p := range []string{u.project, u.project + "-compose", u.project + "-raw"} {
		if err := u.b.clear(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// fairlead measures a commit to a repository that a running daemon follows.
func (u *upgrade) fairlead(ctx context.Context, round int) (time.Duration, error) {
	commit, err := u.ours.stage(ctx, u.file(round))
	if err != nil {
		return 0, err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	happened := u.b.raw.watch(watched, u.project)
	began, err := u.ours.publish(ctx, commit)
	if err != nil {
		return 0, err
	}
	if err := u.daemon.converged(ctx, u.project, commit); err != nil {
		return 0, err
	}
	at, err := u.startOf(ctx, u.project, round)
	if err != nil {
		return 0, err
	}
	u.split(began, at, happened)
	return at.Sub(began), nil
}

// startOf is when the changed service's container started; it must be the new one.
func (u *upgrade) startOf(ctx context.Context, project string, round int) (time.Time, error) {
	_, ref, at, err := u.b.raw.started(ctx, project, "s1")
	if err == nil && ref != u.image(round) {
		err = fmt.Errorf("%s runs image %s, not %s", project, ref, u.image(round))
	}
	return at, err
}

// split tells the parts of a change apart, by the daemon's log and the engine's events.
func (u *upgrade) split(began, started time.Time, happened <-chan events.Message) {
	seen, _ := u.daemon.when("revision:", began)
	acted, _ := u.daemon.when("Apply action", began)
	var created, stopped time.Time
	for created.IsZero() || stopped.IsZero() {
		select {
		case m := <-happened:
			at := time.Unix(0, m.TimeNano)
			switch m.Action {
			case events.ActionCreate:
				created = at
			case events.ActionStop:
				stopped = at
			}
		case <-time.After(time.Second):
			return // the engine did not tell: no parts, but the whole counts
		}
	}
	for i, at := range []time.Time{seen, acted, created, stopped, started} {
		u.of(u.parts, partNames[i]).add(at.Sub(began))
		began = at
	}
}

// floor measures the calls that nobody can do without.
func (u *upgrade) floor(ctx context.Context, round int) (time.Duration, error) {
	began := time.Now()
	if err := u.b.raw.cli.ContainerStop(ctx, u.rawID, container.StopOptions{}); err != nil {
		return 0, err
	}
	stopped := time.Now()
	id, err := u.b.raw.create(ctx, u.project+"-raw", fmt.Sprintf("%s-raw-%d", u.project, round), u.image(round))
	if err != nil {
		return 0, err
	}
	created := time.Now()
	if err := u.b.raw.start(ctx, id); err != nil {
		return 0, err
	}
	in, err := u.b.raw.cli.ContainerInspect(ctx, id)
	if err != nil {
		return 0, err
	}
	started, err := time.Parse(time.RFC3339Nano, in.State.StartedAt)
	if err != nil {
		return 0, err
	}
	u.of(u.parts, "raw stop").add(stopped.Sub(began))
	u.of(u.parts, "raw create").add(created.Sub(stopped))
	u.of(u.parts, "raw start").add(started.Sub(created))
	old := u.rawID
	u.rawID = id
	return started.Sub(began), u.b.raw.cli.ContainerRemove(ctx, old, container.RemoveOptions{Force: true})
}

// compose measures the same commit pulled and brought up.
func (u *upgrade) compose(ctx context.Context, round int) (time.Duration, error) {
	commit, err := u.upstream.stage(ctx, u.file(round))
	if err != nil {
		return 0, err
	}
	began, err := u.upstream.publish(ctx, commit)
	if err != nil {
		return 0, err
	}
	if _, err := u.clone.git(ctx, "pull", "-q"); err != nil {
		return 0, err
	}
	if _, err := output(ctx, u.clone.dir, nil, u.b.compose, "-p", u.project+"-compose", "up", "-d"); err != nil {
		return 0, err
	}
	at, err := u.startOf(ctx, u.project+"-compose", round)
	return at.Sub(began), err
}
