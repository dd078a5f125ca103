package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) whyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why [INSTANCE/]OBJECT",
		Short: "Explain why a container, service, network or volume is as it is",
		Long: `Explains a container, service, network or volume: what it is now, which commit
and fields made it so, and what it waits for.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return c.why(cmd.Context(), args[0]) },
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) why(ctx context.Context, object string) error {
	b, err := c.connect(ctx, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	var names []string
	if instance, rest, named := strings.Cut(object, "/"); named {
		names, object = []string{instance}, rest
	}
	if names, err = pick(ctx, b, names); err != nil {
		return err
	}
	var found []reconciler.Explanation
	var last error
	for _, name := range names {
		list, err := b.Why(ctx, name, object)
		if err != nil {
			last = err
			continue
		}
		found = append(found, list...)
	}
	if len(found) == 0 {
		if len(names) > 1 {
			return withHint(fmt.Errorf("explain %s: nothing of that name", object), "instances: "+commas(names)+"; fairlead status NAME lists what one has")
		}
		return errors.Join(last)
	}
	if done, err := c.structured(found); done || err != nil {
		return err
	}
	for i, e := range found {
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		c.explain(e)
	}
	return nil
}

func (c *cli) explain(e reconciler.Explanation) {
	p := c.paint(c.out)
	now := "not there"
	if e.Now.Name != "" {
		now = string(e.Now.State)
		if e.Now.Done {
			now = "done"
		}
		if e.Now.Health != "" {
			now += ", " + string(e.Now.Health)
		}
		now += ", image " + e.Now.Image
	} else if a := e.Connector; a != nil {
		now = "connector, " + string(a.Phase)
		if a.Generation > 0 {
			now += fmt.Sprintf(", data of generation %d from %s ago", a.Generation, age(a.Published, time.Now()))
		}
	} else if len(e.Pending) == 0 && e.Last != nil && e.Last.Outcome == reconciler.Applied {
		now = string(e.Last.Actions[0].Verb) + "d"
	}
	fmt.Fprintf(c.out, "%s: %s\n", p.bold(e.Object), oneLine(now))
	if e.Last != nil {
		r := e.Last
		fmt.Fprintf(c.out, "last touched %s ago by a %s of generation %d (%s), %s\n", age(r.Started, time.Now()), r.Kind, r.Generation, r.Outcome, revisionLine(r.Revision))
		printActions(c.out, p, r.Actions)
		if r.Reason != "" {
			fmt.Fprintf(c.out, "  it failed: %s\n", oneLine(r.Reason))
		}
	}
	if len(e.Pending) > 0 {
		fmt.Fprintln(c.out, "about to happen:")
		printActions(c.out, p, e.Pending)
	}
	if e.Waiting != "" {
		fmt.Fprintf(c.out, "%s %s\n", p.yellow("!"), oneLine(firstLine(e.Waiting)))
	}
}
