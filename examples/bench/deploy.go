package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// measureDeploy brings n containers up from nothing: until the tool returns, and until the last one runs.
func measureDeploy(ctx context.Context, b *bench) error {
	sizes := []struct{ n, rounds int }{{20, 4}, {100, 3}}
	if b.opt.quick {
		sizes = []struct{ n, rounds int }{{20, 1}}
	}
	for _, size := range sizes {
		d := &deployment{b: b, n: size.n, done: map[string]*series{}, last: map[string]*series{}}
		for round := range size.rounds {
			if err := d.round(ctx, round); err != nil {
				return fmt.Errorf("round %d with %d containers: %w", round+1, size.n, err)
			}
			b.tell("first deploy of %d: round %d of %d", size.n, round+1, size.rounds)
		}
		d.tell()
	}
	return nil
}

// deployment is the first deploy of n containers, by each contender in turn.
type deployment struct {
	b    *bench
	n    int
	done map[string]*series // until the tool returns
	last map[string]*series // until the last container runs
}

func (d *deployment) round(ctx context.Context, round int) error {
	contenders := []struct {
		name string
		do   func(context.Context, string) (time.Time, error)
	}{{"ours", d.fairlead}, {"compose", d.compose}, {"raw", d.raw}}
	for i := range contenders {
		c := contenders[(i+round)%len(contenders)]
		project := d.b.name(fmt.Sprintf("deploy%d-%s%d", d.n, c.name, round))
		began, err := c.do(ctx, project)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		took := time.Since(began)
		if err := d.complete(ctx, project); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		_, _, at, err := d.b.raw.started(ctx, project, "")
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		for _, to := range []map[string]*series{d.done, d.last} {
			if to[c.name] == nil {
				to[c.name] = &series{}
			}
		}
		d.done[c.name].add(took)
		d.last[c.name].add(at.Sub(began))
		if err := d.b.clear(ctx, project); err != nil {
			return err
		}
	}
	return nil
}

func (d *deployment) complete(ctx context.Context, project string) error {
	list, err := d.b.raw.list(ctx, project)
	if err != nil {
		return err
	}
	running := 0
	for _, c := range list {
		if c.State == "running" {
			running++
		}
	}
	if running != d.n || len(list) != d.n {
		return fmt.Errorf("%d of %d containers run, want %d", running, len(list), d.n)
	}
	return nil
}

func (d *deployment) file() string {
	return composeFile(d.n, d.b.images[0], d.b.images[0], "0")
}

// fairlead is one process from nothing, as compose is: it reads the repository, converges, checks, settles, and ends.
func (d *deployment) fairlead(ctx context.Context, project string) (time.Time, error) {
	r, err := makeRepo(ctx, filepath.Join(d.b.dir, project))
	if err != nil {
		return time.Time{}, err
	}
	if _, err := r.commit(ctx, map[string]string{"compose.yaml": d.file()}); err != nil {
		return time.Time{}, err
	}
	conf, err := d.b.configure(project, r.dir, d.b.host)
	if err != nil {
		return time.Time{}, err
	}
	began := time.Now()
	_, err = output(ctx, d.b.dir, nil, d.b.bin, "--config", conf.config, "run", "--once")
	return began, err
}

func (d *deployment) compose(ctx context.Context, project string) (time.Time, error) {
	dir, err := d.b.composeDir(project, d.file())
	if err != nil {
		return time.Time{}, err
	}
	began := time.Now()
	_, err = output(ctx, dir, nil, d.b.compose, "-p", project, "up", "-d")
	return began, err
}

func (d *deployment) raw(ctx context.Context, project string) (time.Time, error) {
	began := time.Now()
	return began, d.b.raw.deploy(ctx, project, d.b.images[0], d.n)
}

func (d *deployment) tell() {
	what := "first deploy of " + strconv.Itoa(d.n)
	limit := 0.0
	if d.n == 100 {
		limit = 1
	}
	against := "docker compose up -d"
	d.b.figure(figure{name: what + ": until it returns", ours: *d.done["ours"], against: against, theirs: *d.done["compose"], unit: "ms"})
	d.b.figure(figure{name: what + ": until the last runs", ours: *d.last["ours"], against: against, theirs: *d.last["compose"], unit: "ms", limit: limit})
	d.b.figure(figure{name: what + ": until the last runs", ours: *d.last["ours"], against: "create + start, 4 workers", theirs: *d.last["raw"], unit: "ms", floor: true})
}
