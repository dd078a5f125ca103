package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func (c *cli) suspendCommand() *cobra.Command {
	var reason, until string
	cmd := &cobra.Command{
		Use:   "suspend [NAME…] --reason TEXT",
		Short: "Stop acting on instances, healing included",
		Long: `Stops acting on instances, healing included. What runs keeps running. Without a
name it is for every instance.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := parseUntil(until, time.Now())
			if err != nil {
				return err
			}
			if reason == "" {
				return errors.New("--reason is needed, so that the next person knows why")
			}
			return c.steer(cmd.Context(), args, func(ctx context.Context, b connected, name string) (reconciler.Status, error) {
				return b.Suspend(ctx, name, server.SuspendRequest{Reason: reason, Until: end, By: b.by})
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for whoever looks at the status")
	cmd.Flags().StringVar(&until, "until", "", "when it ends by itself: a time (2026-12-01T08:00:00Z) or a duration (4h)")
	c.outputFlag(cmd)
	return cmd
}

func parseUntil(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	d, err := desired.ParseDuration(s)
	if err != nil {
		return time.Time{}, fmt.Errorf("--until: %q is neither a time nor a duration; for example 2026-12-01T08:00:00Z or 4h", s)
	}
	return now.Add(time.Duration(d)).UTC().Truncate(time.Second), nil
}

// steer asks something of instances and prints what they are then.
func (c *cli) steer(ctx context.Context, args []string, ask func(context.Context, connected, string) (reconciler.Status, error)) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	names, err := pick(ctx, b, args)
	if err != nil {
		return err
	}
	var all []reconciler.Status
	for _, name := range names {
		s, err := ask(ctx, b, name)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	if done, err := c.structured(all); done || err != nil {
		return err
	}
	for _, s := range all {
		line := fmt.Sprintf("%s: %s", s.Name, s.Phase)
		if m := messageOf(s); m != "" {
			line += ", " + m
		}
		fmt.Fprintln(c.out, oneLine(line))
	}
	return nil
}
