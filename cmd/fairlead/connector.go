package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func (c *cli) connectorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "connector",
		Aliases: []string{"connectors"},
		Short:   "Look at connectors, run them, read their logs, check what they leave",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.connectorLsCommand(), c.connectorShowCommand(), c.connectorRunCommand(), c.connectorCancelCommand(), c.connectorRunsCommand(),
		c.connectorLogCommand(), c.connectorDiscoverCommand(), c.connectorGenerationsCommand(), c.connectorRollbackCommand(), c.connectorPurgeCommand(),
		c.connectorAddCommand(), c.connectorRegisterCommand(), c.connectorRemoveCommand(), c.connectorTestCommand(), c.connectorNewCommand())
	return cmd
}

const connectorNameHelp = `The name is that of the connector's file, or INSTANCE/NAME where several instances
have one of that name.`

// ownedConnector is a connector with whose it is.
type ownedConnector struct {
	Instance string `json:"instance"`
	reconciler.AttachmentStatus
}

func (c *cli) connectorLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [INSTANCE]",
		Short: "List the connectors with their data",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return c.connectorLs(cmd.Context(), args) },
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) connectorLs(ctx context.Context, args []string) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	all, removed, err := allConnectors(ctx, b, args)
	if err != nil {
		return err
	}
	if done, err := c.structured(all); done || err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.out, "no connectors")
	} else {
		width, _ := terminal(c.out)
		printConnectors(c, all, time.Now(), width)
	}
	for _, name := range removed {
		fmt.Fprintf(c.out, "%s is wanted no more; its data is kept until fairlead connector purge %s\n", name, name)
	}
	return nil
}

func allConnectors(ctx context.Context, b backend, names []string) (all []ownedConnector, removed []string, err error) {
	names, err = pick(ctx, b, names)
	if err != nil {
		return nil, nil, err
	}
	all = []ownedConnector{}
	for _, name := range names {
		list, err := b.Connectors(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		for _, one := range list.Connectors {
			all = append(all, ownedConnector{name, one})
		}
		for _, one := range list.Removed {
			removed = append(removed, name+"/"+one)
		}
	}
	return all, removed, nil
}

// withConnector finds a connector and does something with it.
func (c *cli) withConnector(ctx context.Context, name string, do func(context.Context, connected, ownedConnector) error) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	instances, name, err := splitName(name)
	if err != nil {
		return err
	}
	all, _, err := allConnectors(ctx, b, instances)
	if err != nil {
		return err
	}
	var found []ownedConnector
	var names []string
	for _, o := range all {
		names = append(names, o.Instance+"/"+o.Name)
		if o.Name == name {
			found = append(found, o)
		}
	}
	switch {
	case len(found) == 1:
		return do(ctx, b, found[0])
	case len(found) > 1:
		return withHint(fmt.Errorf("there are several connectors %s", name), "say which: INSTANCE/"+name)
	case len(names) == 0:
		return withHint(fmt.Errorf("there is no connector %s", name), "there are none; docs/connectors.md shows how they are written")
	}
	return withHint(fmt.Errorf("there is no connector %s", name), "there are: "+commas(names))
}

// splitName reads NAME or INSTANCE/NAME.
func splitName(name string) (instances []string, rest string, err error) {
	instance, rest, named := strings.Cut(name, "/")
	switch {
	case !named:
		return nil, name, nil
	case strings.Trim(instance, ".") == "" || rest == "":
		return nil, "", withHint(fmt.Errorf("there is no connector %s", name), "it is written NAME or INSTANCE/NAME; fairlead connector ls lists them")
	}
	return []string{instance}, rest, nil
}

// onConnector makes a command that is about one connector.
func (c *cli) onConnector(use, short, long string, do func(context.Context, connected, ownedConnector) error) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long + "\n\n" + connectorNameHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.withConnector(cmd.Context(), args[0], do) },
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) connectorShowCommand() *cobra.Command {
	return c.onConnector("show [INSTANCE/]NAME", "Show what is known of a connector", "Shows how a connector stands, its tables and its last runs.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			runs, err := b.ConnectorRuns(ctx, o.Instance, o.Name, 5)
			if err != nil {
				return err
			}
			if done, err := c.structured(struct {
				ownedConnector
				Runs []connectors.Record `json:"runs"`
			}{o, runs}); done || err != nil {
				return err
			}
			detail{c.out, c.paint(c.out), time.Now()}.connector(o, runs)
			return nil
		})
}

func (c *cli) connectorCancelCommand() *cobra.Command {
	return c.onConnector("cancel [INSTANCE/]NAME", "End the run that is under way", "Ends the run that is under way, or waits for its turn. It runs again at its next time.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			s, err := b.CancelConnector(ctx, o.Instance, o.Name)
			if err != nil {
				return err
			}
			if done, err := c.structured(s); done || err != nil {
				return err
			}
			fmt.Fprintf(c.out, "the run of %s is being ended\n", o.Name)
			return nil
		})
}

func (c *cli) connectorRunsCommand() *cobra.Command {
	var limit int
	cmd := c.onConnector("runs [INSTANCE/]NAME", "List the runs of a connector", "Lists the runs of a connector, newest first, with what became of each table.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			runs, err := b.ConnectorRuns(ctx, o.Instance, o.Name, limit)
			if err != nil {
				return err
			}
			if done, err := c.structured(runs); done || err != nil {
				return err
			}
			if len(runs) == 0 {
				fmt.Fprintln(c.out, "no runs yet")
				return nil
			}
			printRuns(c, runs, time.Now())
			return nil
		})
	cmd.Flags().IntVarP(&limit, "limit", "n", 20, "how many")
	return cmd
}

func (c *cli) connectorLogCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "log [INSTANCE/]NAME [RUN]",
		Short: "Show what a run wrote",
		Long:  "Shows what a run of a connector wrote, the newest one's if no number is given:\nits beginning and its end where it is long.\n\n" + connectorNameHelp,
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			var run int64
			if len(args) == 2 {
				var err error
				if run, err = strconv.ParseInt(args[1], 10, 64); err != nil || run < 1 {
					return withHint(fmt.Errorf("%q is not the number of a run", args[1]), "fairlead connector runs "+args[0]+" lists them")
				}
			}
			return c.withConnector(cmd.Context(), args[0], func(ctx context.Context, b connected, o ownedConnector) error {
				return b.ConnectorLog(ctx, o.Instance, o.Name, run, c.out)
			})
		},
	}
}

func (c *cli) connectorDiscoverCommand() *cobra.Command {
	var limit int
	cmd := c.onConnector("discover [INSTANCE/]NAME", "List what the service of a connector has",
		"Asks the service of a connector which tables it has that these credentials may\nread: what could be written under tables.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			found, err := b.DiscoverTables(ctx, o.Instance, o.Name, limit)
			if err != nil {
				return err
			}
			if done, err := c.structured(found); done || err != nil {
				return err
			}
			printDiscovered(c, found)
			return nil
		})
	cmd.Flags().IntVarP(&limit, "limit", "n", 500, "how many at most")
	return cmd
}

func (c *cli) connectorGenerationsCommand() *cobra.Command {
	return c.onConnector("generations [INSTANCE/]NAME", "List the kept states of a connector's data", "Lists the states of a connector's data that are kept, newest first.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			list, err := b.DataGenerations(ctx, o.Instance, o.Name)
			if err != nil {
				return err
			}
			if done, err := c.structured(list); done || err != nil {
				return err
			}
			printGenerations(c, list, time.Now())
			return nil
		})
}

func (c *cli) connectorRollbackCommand() *cobra.Command {
	var generation int
	cmd := c.onConnector("rollback [INSTANCE/]NAME", "Attach an older state of a connector's data",
		"Attaches an older generation of a connector's data, the one before that which is\nattached if none is named. It stays until a newer one is published.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			s, err := b.RollbackData(ctx, o.Instance, o.Name, generation)
			if err != nil {
				return err
			}
			if done, err := c.structured(s); done || err != nil {
				return err
			}
			fmt.Fprintf(c.out, "%s has generation %d of its data attached\n", o.Name, s.Generation)
			return nil
		})
	cmd.Flags().IntVar(&generation, "generation", 0, "which one (default: the one before)")
	return cmd
}

func (c *cli) connectorPurgeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "purge INSTANCE/NAME",
		Short: "Remove the data of a connector that is wanted no more",
		Long: `Removes the data, the runs and the logs of a connector whose file is gone from the
repository. Data of a connector that is still wanted is never removed.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			instances, name, err := splitName(args[0])
			if err != nil {
				return err
			}
			b, err := c.connect(cmd.Context(), toAct)
			if err != nil {
				return err
			}
			defer b.Close()
			instance, err := pickOne(cmd.Context(), b, instances)
			if err != nil {
				return err
			}
			if err := b.PurgeConnector(cmd.Context(), instance, name); err != nil {
				return err
			}
			fmt.Fprintf(c.out, "the data of %s is removed\n", name)
			return nil
		},
	}
}

func (c *cli) connectorRunCommand() *cobra.Command {
	var tables []string
	var quiet bool
	cmd := c.onConnector("run [INSTANCE/]NAME", "Run a connector now",
		"Has a connector run now, whatever its schedule, and waits for what comes of it.\nIt ends with 0 when all tables are good, and with 1 when one is not.",
		func(ctx context.Context, b connected, o ownedConnector) error {
			started, err := b.RunConnector(ctx, o.Instance, o.Name, server.RunRequest{Tables: tables})
			if err != nil {
				return err
			}
			if quiet {
				fmt.Fprintf(c.out, "run %d of %s is asked for\n", started.Run, o.Name)
				return nil
			}
			return c.awaitRun(ctx, b, o, started.Run)
		})
	cmd.Flags().StringArrayVar(&tables, "table", nil, "only this table; may be repeated")
	cmd.Flags().BoolVar(&quiet, "no-wait", false, "do not wait for its end")
	return cmd
}

// runLookEvery is how often a run that is waited for is looked at.
const runLookEvery = 250 * time.Millisecond

// awaitRun waits until a run has ended and tells what came of it.
func (c *cli) awaitRun(ctx context.Context, b connected, o ownedConnector, id int64) error {
	ticker := time.NewTicker(runLookEvery)
	defer ticker.Stop()
	width, live := terminal(c.err)
	for {
		runs, err := b.ConnectorRuns(ctx, o.Instance, o.Name, 20)
		if err != nil {
			return err
		}
		for _, r := range runs {
			switch {
			case r.ID != id:
			case r.Outcome != "":
				if live {
					fmt.Fprint(c.err, "\r\x1b[K")
				}
				return c.tellRun(r)
			case live && c.format == "":
				fmt.Fprint(c.err, "\r\x1b[K"+clip(progressOf(r), width-1))
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func (c *cli) tellRun(r connectors.Record) error {
	code := exitDone
	if r.Outcome != connectors.OK {
		code = exitError1
	}
	if done, err := c.structured(r); done || err != nil {
		return errors.Join(err, exitWith(code))
	}
	detail{c.out, c.paint(c.out), time.Now()}.run(r)
	return exitWith(code)
}
