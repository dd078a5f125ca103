package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) historyCommand() *cobra.Command {
	var limit int
	var full bool
	cmd := &cobra.Command{
		Use:   "history [NAME]",
		Short: "Show what was applied, when, by whom and how it ended",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if limit < 1 || limit > 500 {
				return fmt.Errorf("--limit: %d is not between 1 and 500", limit)
			}
			return c.history(cmd.Context(), args, limit, full)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 20, "how many, the newest first")
	cmd.Flags().BoolVar(&full, "full", false, "with the plan and the reason of each")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) history(ctx context.Context, args []string, limit int, full bool) error {
	b, err := c.connect(ctx, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	names, err := pick(ctx, b, args)
	if err != nil {
		return err
	}
	all := map[string][]reconciler.Record{}
	for _, name := range names {
		if all[name], err = b.History(ctx, name, limit); err != nil {
			return err
		}
	}
	var out any = all
	if len(args) == 1 {
		out = all[args[0]]
	}
	if done, err := c.structured(out); done || err != nil {
		return err
	}
	for i, name := range names {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		c.printHistory(name, all[name], full)
	}
	return nil
}

func (c *cli) printHistory(name string, records []reconciler.Record, full bool) {
	p, now := c.paint(c.out), time.Now()
	fmt.Fprintln(c.out, p.bold(name))
	if len(records) == 0 {
		fmt.Fprintln(c.out, "  nothing was applied yet")
		return
	}
	if !full {
		table(c.out, historyRows(records, p, now))
		return
	}
	for _, r := range records {
		table(c.out, historyRows([]reconciler.Record{r}, p, now)[1:])
		printActions(c.out, p, r.Actions)
		for _, g := range r.Gaps {
			fmt.Fprintln(c.out, "        "+oneLine(g.Line()))
		}
		if r.Reason != "" {
			fmt.Fprintln(c.out, "        "+oneLine(r.Reason))
		}
		for _, line := range r.Logs {
			fmt.Fprintln(c.out, "        | "+oneLine(line))
		}
	}
}

// historyRows has columns for releases and interruptions where there are some.
func historyRows(records []reconciler.Record, p painter, now time.Time) [][]cell {
	releases := slices.ContainsFunc(records, func(r reconciler.Record) bool { return r.Release != "" })
	gaps := slices.ContainsFunc(records, func(r reconciler.Record) bool { return len(r.Gaps) > 0 })
	rows := [][]cell{{}}
	for _, h := range []string{"GENERATION", "KIND", "REVISION", "RELEASE", "OUTCOME", "AGE", "TOOK", "HELD", "WHO", "SUBJECT"} {
		if h == "RELEASE" && !releases || h == "HELD" && !gaps {
			continue
		}
		rows[0] = append(rows[0], cell{h, p.bold})
	}
	for _, r := range records {
		paint := p.green
		if r.Outcome != reconciler.Applied {
			paint = p.red
		}
		row := []cell{plainCell(fmt.Sprint(r.Generation)), plainCell(r.Kind), plainCell(orDash(r.Revision.Short()))}
		if releases {
			row = append(row, plainCell(orDash(strings.TrimPrefix(r.Release, "sha256:"))))
		}
		row = append(row, cell{string(r.Outcome), paint}, plainCell(age(r.Started, now)), plainCell(reconciler.Took(r.Duration)))
		if gaps {
			row = append(row, plainCell(held(r.Gaps)))
		}
		rows = append(rows, append(row, plainCell(orDash(r.Who)), plainCell(clip(r.Revision.Subject, 60))))
	}
	return rows
}

// held is for how long requests had nowhere to go.
func held(gaps []reconciler.Gap) string {
	if len(gaps) == 0 {
		return "-"
	}
	return reconciler.Took(longest(gaps))
}
