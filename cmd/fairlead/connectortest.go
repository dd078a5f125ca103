package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/connectors/analytics"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
	connectorstarter "github.com/fairlead/fairlead/connectors/starter"
	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) connectorTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test DIR|FILE",
		Short: "Check what a connector left, without a daemon",
		Long: `Checks what a connector left against the contract (docs/connectors.md): a directory
with out/ or extract.duckdb in it, out/ itself, or an extract.duckdb. Everything that
is wrong is told at once, with how to mend it. It ends with 1 when something is.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.connectorTest(cmd.Context(), args[0]) },
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) connectorTest(ctx context.Context, path string) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return withHint(fmt.Errorf("check %s: %w", path, err), "name the directory that the connector wrote to")
	}
	// Builds and checks need no directory of an instance.
	a := analytics.New(analytics.Options{Dir: func(string) string { return "" },
		Remote: wire.RemotePolicy{Extensions: s.Connect.Extensions, Hosts: s.Connect.RemoteHosts, Tokens: s.Connect.RemoteTokens}})
	defer a.Close()
	reply, err := a.Check(ctx, path)
	if err != nil {
		return err
	}
	code := exitDone
	if len(reply.Problems) > 0 {
		code = exitError1
	}
	if done, err := c.structured(reply); done || err != nil {
		if err != nil {
			return err
		}
		return exitWith(code)
	}
	c.printCheck(reply)
	return exitWith(code)
}

func (c *cli) printCheck(reply wire.CheckReply) {
	d := detail{c.out, c.paint(c.out), time.Now()}
	if len(reply.Tables) > 0 {
		rows := [][]cell{heads(d.p, "TABLE", "MODE", "ROWS", "COLUMNS", "KEY", "DESCRIPTION")}
		for _, t := range reply.Tables {
			rows = append(rows, []cell{plainCell(t.Name), plainCell(string(t.QueryMode)), plainCell(grouped(t.Rows)), plainCell(fmt.Sprint(len(t.Columns))),
				plainCell(orDash(commas(t.PrimaryKey))), plainCell(firstLine(t.Description))})
		}
		table(c.out, rows)
	}
	if len(reply.Problems) == 0 {
		fmt.Fprintln(c.out, d.p.green("good")+": "+reconciler.Count(len(reply.Tables), "table")+" would be published")
		return
	}
	fmt.Fprintln(c.out, d.p.red(reconciler.Count(len(reply.Problems), "problem"))+":")
	printProblems(d, reply.Problems)
}

func (c *cli) connectorNewCommand() *cobra.Command {
	var tier, source, dir string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Write a starter for a connector",
		Long: `Writes a commented starter for a connector into connectors/ of the directory of an
instance: a program of your own as files beside it (tier a), a container image of
your own (tier b), or a source that is built in (tier c). Nothing is overwritten.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			written, err := connectorstarter.Write(dir, args[0], tier, source)
			if err != nil {
				return err
			}
			for _, name := range written {
				fmt.Fprintln(c.out, filepath.Join(dir, name))
			}
			fmt.Fprintln(c.out, "edit them, check with fairlead validate, and commit")
			return nil
		},
	}
	cmd.Flags().StringVar(&tier, "tier", "a", "a: files of a program, b: an image, c: built in")
	cmd.Flags().StringVar(&source, "source", "", "with --tier c: files, keboola, bigquery, jira or postgres")
	cmd.Flags().StringVar(&dir, "dir", ".", "directory of the instance")
	return cmd
}
