package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resume [NAME…]",
		Short: "End a suspension",
		Long: `Ends a suspension by fairlead suspend. One in instance.yaml is ended by a commit.
Without a name it is for every instance.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.steer(cmd.Context(), args, func(ctx context.Context, b connected, name string) (reconciler.Status, error) {
				return b.Resume(ctx, name, b.by)
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}
