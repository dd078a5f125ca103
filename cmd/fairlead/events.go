package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) eventsCommand() *cobra.Command {
	var follow bool
	var limit int
	cmd := &cobra.Command{
		Use:   "events [NAME]",
		Short: "Show what happened, oldest first",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 0 || limit > 500 {
				return fmt.Errorf("--limit: %d is not between 0 and 500", limit)
			}
			return c.events(cmd.Context(), asName(args), limit, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on with those that come")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many of the past")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) events(ctx context.Context, name string, limit int, follow bool) error {
	b, err := c.connect(ctx, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	if follow && !b.daemon {
		return noDaemon("follow events")
	}
	p := c.paint(c.out)
	err = b.Events(ctx, name, limit, follow, func(e reconciler.Event) error {
		if done, err := c.structuredLine(e); done || err != nil {
			return err
		}
		_, err := fmt.Fprintf(c.out, "%s  %-12s %s  %s\n", e.At.Local().Format(time.DateTime), oneLine(e.Instance),
			p.event(e.Reason), oneLine(firstLine(e.Message)))
		return err
	})
	if ctx.Err() != nil {
		return nil // that is how following ends
	}
	return err
}

func (p painter) event(reason string) string {
	text := fmt.Sprintf("%-13s", oneLine(reason))
	switch reason {
	case "Applied", "DriftHealed", "Resumed":
		return p.green(text)
	case "RolledBack", "Failed", "Refused", "Quarantined":
		return p.red(text)
	}
	return p.yellow(text)
}

func noDaemon(what string) error {
	return withHint(fmt.Errorf("%s: no daemon runs", what), "start one with fairlead run, or name its data directory with --data")
}
