package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

const rollbackServices = 10

// rollback goes back to the release before, by each contender in turn.
type rollback struct {
	b       *bench
	project string
	ours    repo
	daemon  *daemon
	dir     string // compose's
	release int
	mine    series
	theirs  series
}

func measureRollback(ctx context.Context, b *bench) error {
	r := &rollback{b: b, project: b.name("rollback")}
	if err := r.setUp(ctx); err != nil {
		return err
	}
	for round := range b.rounds(7, 2) {
		if err := r.round(ctx, round); err != nil {
			return fmt.Errorf("round %d: %w", round+1, err)
		}
	}
	b.figure(figure{name: "rollback of 1 of 10: asked to old one serving", ours: r.mine, against: "docker compose up -d with the old file", theirs: r.theirs, unit: "ms"})
	if err := r.daemon.stop(ctx); err != nil {
		return err
	}
	for _, p := range []string{r.project, r.project + "-compose"} {
		if err := b.clear(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// file is a release: each differs from all before, and its image from the one before.
func (r *rollback) file(release int) string {
	return composeFile(rollbackServices, r.b.images[release%2], r.b.images[0], strconv.Itoa(release))
}

func (r *rollback) setUp(ctx context.Context) (err error) {
	if r.ours, err = makeRepo(ctx, filepath.Join(r.b.dir, r.project)); err != nil {
		return err
	}
	first, err := r.ours.commit(ctx, map[string]string{"compose.yaml": r.file(0)})
	if err != nil {
		return err
	}
	if r.daemon, err = r.b.startDaemon(ctx, r.project, r.ours.dir); err != nil {
		return err
	}
	if err := r.daemon.converged(ctx, r.project, first); err != nil {
		return err
	}
	return r.up(ctx, 0)
}

// up is compose's way to any release.
func (r *rollback) up(ctx context.Context, release int) (err error) {
	if r.dir, err = r.b.composeDir(r.project+"-compose", r.file(release)); err != nil {
		return err
	}
	_, err = output(ctx, r.dir, nil, r.b.compose, "-p", r.project+"-compose", "up", "-d")
	return err
}

// round deploys one more release and goes back to the first, so both contenders replace one container a time.
func (r *rollback) round(ctx context.Context, round int) error {
	r.release++
	commit, err := r.ours.commit(ctx, map[string]string{"compose.yaml": r.file(2*r.release - 1)})
	if err != nil {
		return err
	}
	if err := r.daemon.converged(ctx, r.project, commit); err != nil {
		return err
	}
	if err := r.up(ctx, 2*r.release-1); err != nil {
		return err
	}
	parts := []func(context.Context) error{r.back, r.composeBack}
	for i := range parts {
		if err := parts[(i+round)%len(parts)](ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *rollback) back(ctx context.Context) error {
	began := time.Now()
	if _, err := output(ctx, r.b.dir, nil, r.daemon.bin, "--config", r.daemon.config, "rollback", r.project, "1"); err != nil {
		return err
	}
	s, err := r.daemon.client.Status(ctx, r.project)
	if err != nil {
		return err
	}
	if s.Phase != reconciler.PhaseHeld {
		return fmt.Errorf("after the rollback the phase is %s", s.Phase)
	}
	return r.serving(ctx, r.project, began, &r.mine)
}

func (r *rollback) composeBack(ctx context.Context) error {
	dir, err := r.b.composeDir(r.project+"-compose", r.file(0))
	if err != nil {
		return err
	}
	began := time.Now()
	if _, err := output(ctx, dir, nil, r.b.compose, "-p", r.project+"-compose", "up", "-d"); err != nil {
		return err
	}
	return r.serving(ctx, r.project+"-compose", began, &r.theirs)
}

// serving reads when the container of the old image, made anew, started.
func (r *rollback) serving(ctx context.Context, project string, began time.Time, to *series) error {
	_, ref, at, err := r.b.raw.started(ctx, project, "s1")
	if err != nil {
		return err
	}
	if ref != r.b.images[0] || at.Before(began) {
		return fmt.Errorf("%s runs image %s since %s: it was not rolled back", project, ref, at)
	}
	to.add(at.Sub(began))
	return nil
}
