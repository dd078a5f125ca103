package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/reconciler"
)

// stepLimit is how long a step may take, on a machine that is loaded many times over; else none takes a tenth of it.
const stepLimit = 5 * time.Minute

// playStep asks, waits, shows what happened, and checks that it is true.
func (d *demo) playStep(ctx context.Context, heading string, s step) error {
	var err error
	if d.before, err = d.ids(ctx); err != nil {
		return err
	}
	seen, err := d.newestRecord(ctx)
	if err != nil {
		return err
	}
	d.out.heading(heading)
	asked, err := s.ask(ctx, d)
	if err != nil {
		return err
	}
	d.out.block("asked", asked)
	v, err := d.await(ctx, s, seen)
	if ctx.Err() != nil {
		return err
	}
	d.view = v
	d.showOutcome(v, time.Since(d.asked))
	if err != nil {
		return err
	}
	if err := d.check(ctx, s); err != nil {
		return err
	}
	if err := d.markUsers(); err != nil {
		return err
	}
	if s.show != nil {
		if err := d.show(ctx, s.show...); err != nil {
			return err
		}
	}
	if s.then != nil {
		return s.then(ctx, d)
	}
	return nil
}

func (d *demo) check(ctx context.Context, s step) error {
	for _, c := range s.checks {
		if err := c.do(ctx, d); err != nil {
			return fmt.Errorf("check that %s: %w", c.says, err)
		}
		d.out.checked(c.says)
	}
	return nil
}

// newestRecord is the number of the newest apply in the history.
func (d *demo) newestRecord(ctx context.Context) (int, error) {
	list, err := d.client.History(ctx, d.name, 1)
	if err != nil && len(d.before) > 0 { // before the first commit the daemon does not know the instance
		return 0, err
	}
	if len(list) == 0 {
		return 0, nil
	}
	return list[0].Seq, nil
}

// await looks at the daemon until the step has arrived, the daemon is gone, or the time is over.
func (d *demo) await(ctx context.Context, s step, seen int) (view, error) {
	head, err := d.head(ctx)
	if err != nil {
		return view{}, err
	}
	v, gone := view{}, false
	err = waitUntil(ctx, stepLimit, func() bool {
		v = d.look(ctx, head, seen)
		_, runs := d.running("daemon")
		gone = !runs
		return gone || s.arrived(v)
	})
	if gone {
		err = errors.New("the daemon is gone")
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; the daemon says:\n%s", err, d.tail("daemon"))
	}
	return v, err
}

// look asks the daemon; what it does not know yet is empty.
func (d *demo) look(ctx context.Context, head string, seen int) view {
	v := view{head: head}
	var err error
	if v.status, err = d.client.Status(ctx, d.name); err != nil {
		return v
	}
	records, err := d.client.History(ctx, d.name, 20)
	if err != nil {
		return view{head: head}
	}
	for _, r := range records {
		if r.Seq > seen {
			v.fresh = append(v.fresh, r)
		}
	}
	return v
}

// showOutcome prints plan, outcome and time of a step.
func (d *demo) showOutcome(v view, took time.Duration) {
	var plan, happened []string
	for _, r := range slices.Backward(v.fresh) {
		plan = append(plan, actionLines(r.Actions)...)
		happened = append(happened, outcome(r)...)
	}
	for _, p := range v.status.Problems {
		happened = append(happened, indented(p.String())...)
	}
	if len(plan) == 0 {
		plan = []string{"nothing to do"}
	}
	d.out.block("plan", plan)
	state := fmt.Sprintf("sync %s, health %s, phase %s", v.status.Sync, v.status.Health, v.status.Phase)
	d.out.block("happened", append(happened, state))
	d.out.block("took", []string{seconds(took) + " from asked to there"})
}

func outcome(r reconciler.Record) []string {
	lines := []string{fmt.Sprintf("%s of generation %d: %s after %s", r.Kind, r.Generation, r.Outcome, seconds(r.Duration))}
	if r.Release != "" {
		lines[0] = fmt.Sprintf("%s of generation %d (release %s): %s after %s", r.Kind, r.Generation, r.Release, r.Outcome, seconds(r.Duration))
	}
	if r.Reason != "" {
		lines = append(lines, "because "+short(r.Reason))
	}
	for _, g := range r.Gaps {
		lines = append(lines, gapLine(g))
	}
	return lines
}

// commits makes a change and commits it.
func commits(message string, change func(*demo) error) asking {
	return func(ctx context.Context, d *demo) ([]string, error) {
		if err := change(d); err != nil {
			return nil, err
		}
		d.asked = time.Now()
		if err := d.commit(ctx, message); err != nil {
			return nil, err
		}
		lines, err := d.changed(ctx)
		return append([]string{fmt.Sprintf("git commit -m %q", message)}, lines...), err
	}
}

// reverts runs git revert on commits, which are named as they were before the first revert.
func reverts(commits ...string) asking {
	return func(ctx context.Context, d *demo) ([]string, error) {
		var lines []string
		hashes := []string{}
		for _, name := range commits {
			line, err := d.git(ctx, "log", "-1", "--format=%h %s", name)
			if err != nil {
				return nil, err
			}
			hash, subject, _ := strings.Cut(line, " ")
			hashes = append(hashes, hash)
			lines = append(lines, fmt.Sprintf("git revert %s    # %s", hash, subject))
		}
		d.asked = time.Now()
		_, err := d.git(ctx, append([]string{"revert", "--no-edit"}, hashes...)...)
		return lines, err
	}
}

// vandalizes does by hand what nobody should.
func vandalizes(ctx context.Context, d *demo) ([]string, error) {
	var lines []string
	d.asked = time.Now()
	for _, args := range [][]string{{"rm", "--force", d.container("db")}, {"kill", d.container("app")}} {
		if _, err := docker(ctx, args...); err != nil {
			return nil, err
		}
		lines = append(lines, "docker "+strings.Join(args, " "))
	}
	return lines, nil
}
