package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) planCommand() *cobra.Command {
	var detailed bool
	var at string
	cmd := &cobra.Command{
		Use:   "plan [NAME]",
		Short: "Show what the newest revision would change",
		Long: `Shows what the newest revision would change, and changes nothing. A plan made
before the images are pulled compares them by reference.

  +   create     ~   change in place     -   remove     -/+ replace     !  held, with why`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.plan(cmd.Context(), args, at, detailed) },
	}
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "end with 2 when there are changes")
	cmd.Flags().StringVar(&at, "ref", "", "plan for this commit, branch or tag instead of the newest revision of the followed one")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) plan(ctx context.Context, args []string, at string, detailed bool) error {
	b, err := c.connect(ctx, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, err := b.Sync(ctx); err != nil {
		return err
	}
	names, err := pick(ctx, b, args)
	if err != nil {
		return err
	}
	var reports []reconciler.PlanReport
	code := exitDone
	for _, name := range names {
		r, err := b.Plan(ctx, name, at)
		if err != nil && len(names) == 1 {
			return err
		}
		if err != nil {
			c.complain(fmt.Errorf("%s: %w", name, err))
			code = worse(code, exitError1)
			continue
		}
		if detailed && len(r.Actions) > 0 {
			code = worse(code, exitChanges)
		}
		reports = append(reports, r)
	}
	var out any = reports
	if len(args) == 1 {
		out = reports[0]
	}
	if done, err := c.structured(out); done || err != nil {
		return firstError(err, exitWith(code))
	}
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		printPlan(c.out, c.paint(c.out), r)
	}
	return exitWith(code)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
