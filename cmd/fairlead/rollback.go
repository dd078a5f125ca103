package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
)

func (c *cli) rollbackCommand() *cobra.Command {
	var commit bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "rollback [NAME] [GENERATION]",
		Short: "Go back to an older generation",
		Long: `Goes back to an older generation; without a number to the good one before the
applied. It is held until a newer revision changes the instance, and healed like
any other. With --commit the repository is brought back instead, by a commit that
restores the instance's directory, so that the repository keeps saying what runs.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := withTimeout(cmd.Context(), timeout)
			defer cancel()
			return c.rollback(ctx, args, commit)
		},
	}
	cmd.Flags().BoolVar(&commit, "commit", false, "make the commit that brings the repository back")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "give up waiting after this time (exit code 7); a daemon goes on")
	cmd.Flags().BoolVarP(&c.quiet, "quiet", "q", false, "print nothing but errors")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) rollback(ctx context.Context, args []string, commit bool) error {
	names, number, err := splitNumber(args)
	if err != nil {
		return err
	}
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	name, err := pickOne(ctx, b, names)
	if err != nil {
		return err
	}
	back, err := b.Rollback(ctx, name, server.RollbackRequest{Generation: number, Commit: commit, By: b.by})
	if err != nil {
		return err
	}
	if !c.quiet && c.format == "" {
		fmt.Fprintf(c.out, "Roll %s back to generation %d, %s\n", name, back.Generation.Number, revisionLine(back.Generation.Revision))
		if back.Commit != "" {
			fmt.Fprintf(c.out, "Commit %s\n", back.Commit)
		}
	}
	result, code, err := c.applyOne(ctx, b, name, server.ReconcileRequest{Wait: true}, !commit)
	if err != nil {
		return &exitError{code, err}
	}
	if _, err := c.structured(result); err != nil {
		return err
	}
	return exitWith(code)
}

// splitNumber takes "NAME", "N", or "NAME N".
func splitNumber(args []string) (names []string, number int, err error) {
	if len(args) == 0 {
		return nil, 0, nil
	}
	last := args[len(args)-1]
	number, err = strconv.Atoi(last)
	switch {
	case err == nil && number > 0:
		return args[:len(args)-1], number, nil
	case err == nil || len(args) == 2:
		return nil, 0, fmt.Errorf("%q is not the number of a generation; fairlead history shows them", last)
	}
	return args, 0, nil
}
