package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func (c *cli) applyCommand() *cobra.Command {
	var req server.ReconcileRequest
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "apply [NAME…]",
		Short: "Apply the newest revision now, and wait for the outcome",
		Long: `Looks for a newer revision and a newer release, applies them, and waits for the
outcome. Without a name it does so for every instance, one after the other.

A release that has to wait for its time (upgrade.window, minAge, busy) is not
taken, and the exit code is 5; with --now it is taken at once.

` + exitHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			return inTime(ctx, c.apply(ctx, args, req))
		},
	}
	cmd.Flags().BoolVar(&req.Retry, "retry", false, "also try again what failed and is in quarantine")
	cmd.Flags().BoolVar(&req.Now, "now", false, "also take a release that waits for its window, its age, or a busy application")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up waiting after this time (exit code 7); a daemon goes on")
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "print nothing but errors")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) apply(ctx context.Context, args []string, req server.ReconcileRequest) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return &exitError{codeOfError(err), err}
	}
	defer b.Close()
	source, err := b.Sync(ctx)
	if err := firstError(context.Cause(ctx), err); err != nil {
		return &exitError{codeOfError(err), err}
	}
	names, err := pick(ctx, b, args)
	if err != nil && len(source.Problems) > 0 {
		return &exitError{exitRefused, err}
	}
	if err != nil {
		return err
	}
	code := c.complainOfSource(source)
	req.Wait, req.By = true, b.by
	var results []server.Result
	for _, name := range names {
		result, one, err := c.applyOne(ctx, b, name, req, false)
		if err != nil {
			c.complain(fmt.Errorf("%s: %w", name, err))
		}
		results, code = append(results, result), worse(code, one)
	}
	if _, err := c.structured(results); err != nil {
		return err
	}
	return exitWith(code)
}

// complainOfSource says what is wrong with the repository beside what can be
// applied of it, and returns the code for that.
func (c *cli) complainOfSource(s server.SourceInfo) int {
	switch {
	case s.Error != "": // the last revision still counts, but it is not what was asked for
		c.complain(fmt.Errorf("read repository: %s", s.Error))
		return exitError1
	case len(s.Problems) > 0:
		c.listProblems(s.Problems)
		return exitRefused
	case s.Problem != "":
		c.complain(fmt.Errorf("read repository: %s", s.Problem))
		return exitError1
	}
	return exitDone
}

// applyOne applies one instance and prints what happens. With held, a generation
// that is held is success.
func (c *cli) applyOne(ctx context.Context, b connected, name string, req server.ReconcileRequest, held bool) (server.Result, int, error) {
	out := &follower{c: c, silent: c.quiet || c.format != "", pulls: newPullPrinter(c.out), began: time.Now(), retry: req.Retry}
	result, err := b.Reconcile(ctx, name, req, out.update)
	out.pulls.clear()
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return result, codeOfError(err), err
	}
	last := lastRecord(ctx, b, name)
	code := codeOfResult(result, last)
	if held && isHeld(result) {
		code = exitDone // as asked for
	}
	if result.Record == nil && (code == exitRolledBack || code == exitFailed) {
		result.Record = last // it ended before the command came
	}
	out.result(result, code)
	if !out.silent {
		c.remark(result.Status, req, b.daemon)
	}
	return result, code, nil
}

// isHeld reports whether the generation that somebody went back to is there.
func isHeld(r server.Result) bool {
	if r.Status.Hold == nil {
		return false
	}
	came := r.Record != nil && r.Record.Kind == "rollback" && r.Record.Outcome == reconciler.Applied
	return r.Status.Phase == reconciler.PhaseHeld || came
}

// remark says what an apply did not do, though it may have been expected to.
func (c *cli) remark(s reconciler.Status, req server.ReconcileRequest, daemon bool) {
	if req.Now && (s.Release == nil || s.Release.Channel == "") {
		fmt.Fprintf(c.out, "  %s follows no channel: no release of it can wait\n", s.Name)
	}
	if s.Release != nil && s.Release.Error != "" {
		fmt.Fprintln(c.out, "  The registry could not be asked what is newest: "+oneLine(s.Release.Error))
	}
	if !daemon && len(s.Front) > 0 {
		fmt.Fprintf(c.out, "  No daemon runs, so nobody leads requests to %s: fairlead run does\n", commas(s.Front))
	}
}

// follower prints what happens while an apply is waited for.
type follower struct {
	c      *cli
	silent bool
	pulls  *pullPrinter
	began  time.Time
	retry  bool // what is in quarantine was to be tried again
}

func (f *follower) update(u server.Update) {
	switch {
	case f.silent:
	case u.Pull != nil:
		f.pulls.show(*u.Pull)
	case u.Plan != nil:
		f.pulls.clear()
		printPlan(f.c.out, f.c.paint(f.c.out), *u.Plan)
		fmt.Fprintln(f.c.out)
	}
}

// result prints how it ended. A failure goes to where errors go, also when
// nothing else is printed.
func (f *follower) result(r server.Result, code int) {
	s, p := r.Status, f.c.paint(f.c.out)
	if code == exitDone {
		if !f.silent {
			fmt.Fprintln(f.c.out, f.success(r, p))
			if s.Phase == reconciler.PhaseSuspended || s.Phase == reconciler.PhaseHeld && r.Record != nil && r.Record.Kind == "deploy" {
				fmt.Fprintf(f.c.out, "  Nothing more is done now: %s\n", oneLine(messageOf(s)))
			}
		}
		return
	}
	w, pe := f.c.err, f.c.paint(f.c.err)
	switch code {
	case exitRefused:
		fmt.Fprintf(w, "%s %s: %s %s and is not applied; what runs is kept\n", pe.red("Refused"), s.Name, revisionLine(s.Attempted), s.Problems.Verdict())
		f.c.listProblems(s.Problems)
	case exitSuspended:
		fmt.Fprintf(w, "%s %s: %s\n", pe.yellow(string(s.Phase)), s.Name, messageOf(s))
		if s.Release != nil && canWait(s.Release.Deferred) {
			fmt.Fprintln(w, "  To take it at once: fairlead apply --now "+s.Name)
		}
		if f.retry && len(s.Quarantined) > 0 {
			fmt.Fprintln(w, "  What failed stays in quarantine, since nothing is tried now: "+wayToRetry(s))
		}
	case exitRolledBack:
		fmt.Fprintf(w, "%s %s: generation %d is back: %s\n", pe.red("Rolled back"), s.Name, s.Generation, reasonOf(r))
		f.logs(r.Record)
		fmt.Fprintln(w, "  It is not tried again until it changes; if the cause was outside: fairlead apply --retry "+s.Name)
	default:
		fmt.Fprintf(w, "%s %s: %s\n", pe.red("Failed"), s.Name, reasonOf(r))
		f.logs(r.Record)
	}
}

// wayToRetry is what to do before what failed can be tried again.
func wayToRetry(s reconciler.Status) string {
	again := "; then fairlead apply --retry " + s.Name
	switch {
	case s.Phase == reconciler.PhaseHeld && s.Release != nil && s.Release.Channel != "":
		return "fairlead apply --now --retry " + s.Name + " ends the hold; so does a commit that changes the instance"
	case s.Phase == reconciler.PhaseHeld:
		return "a commit that changes the instance ends the hold" + again
	case s.Suspended != nil && s.Suspended.By == "instance.yaml":
		return "take suspend out of instance.yaml" + again
	}
	return "fairlead resume " + s.Name + again
}

func (f *follower) success(r server.Result, p painter) string {
	s := r.Status
	if s.Hold != nil && (r.Record == nil || r.Record.Kind == "rollback") {
		return fmt.Sprintf("%s %s: generation %d is back and is held until a newer revision changes the instance", p.green("Rolled back"), s.Name, s.Hold.Generation)
	}
	if r.Record == nil {
		return fmt.Sprintf("%s %s: nothing to do, generation %d stands at %s", p.green("Up to date"), s.Name, s.Generation, revisionLine(s.Applied))
	}
	return fmt.Sprintf("%s %s: generation %d, %s, in %s", p.green("Applied"), s.Name, r.Record.Generation,
		reconciler.Count(len(r.Record.Actions), "action"), reconciler.Took(r.Record.Duration))
}

func (f *follower) logs(r *reconciler.Record) {
	if r == nil {
		return
	}
	for _, line := range r.Logs {
		fmt.Fprintln(f.c.err, "  | "+oneLine(line))
	}
}

func reasonOf(r server.Result) string {
	if r.Record != nil && r.Record.Reason != "" {
		return strings.TrimSpace(r.Record.Reason)
	}
	return messageOf(r.Status)
}
