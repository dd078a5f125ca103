package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
)

func (c *cli) logsCommand() *cobra.Command {
	q := server.LogQuery{}
	cmd := &cobra.Command{
		Use:   "logs [NAME] [SERVICE]",
		Short: "Show what the containers write",
		Args:  cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Tail < -1 {
				return fmt.Errorf("--tail: %d is neither -1 nor a number of lines", q.Tail)
			}
			if len(args) == 2 {
				q.Service, args = args[1], args[:1]
			}
			return c.logs(cmd.Context(), args, q)
		},
	}
	cmd.Flags().BoolVarP(&q.Follow, "follow", "f", false, "go on with those that come")
	cmd.Flags().IntVar(&q.Tail, "tail", 100, "how many lines of the past a container; -1 for all")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) logs(ctx context.Context, names []string, q server.LogQuery) error {
	b, err := c.connect(ctx, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	if q.Instance, err = pickOne(ctx, b, names); err != nil {
		return err
	}
	err = b.Logs(ctx, q, func(l server.LogLine) error {
		if done, err := c.structuredLine(l); done || err != nil {
			return err
		}
		_, err := fmt.Fprintln(c.out, l.Line)
		return err
	})
	if ctx.Err() != nil {
		return nil // that is how following ends
	}
	return err
}
