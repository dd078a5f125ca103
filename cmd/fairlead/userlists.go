package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

func (c *cli) userListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the users",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				list, err := b.Users(ctx)
				if err != nil {
					return err
				}
				return c.listed(list, len(list), "no users; fairlead user add EMAIL --role admin makes the first administrator", func() { c.printUsers(list) })
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// listed prints a list as -o asks, or for people.
func (c *cli) listed(v any, count int, none string, table func()) error {
	if done, err := c.structured(v); done || err != nil {
		return err
	}
	if count == 0 {
		fmt.Fprintln(c.out, none)
		return nil
	}
	table()
	return nil
}

// heads makes the first row of a table.
func (p painter) heads(names ...string) (row []cell) {
	for _, n := range names {
		row = append(row, cell{n, p.dim})
	}
	return row
}

func (c *cli) printUsers(list []auth.User) {
	p := c.paint(c.out)
	rows := [][]cell{p.heads("EMAIL", "NAME", "ROLE", "STATE", "SEEN")}
	for _, u := range list {
		state := plainCell("active")
		switch {
		case u.Disabled:
			state = cell{"disabled", p.yellow}
		case !u.SignsIn:
			state = cell{"no password", p.yellow}
		}
		rows = append(rows, []cell{plainCell(u.Email), plainCell(orDash(u.Name)), plainCell(string(u.Role)), state, plainCell(age(u.Seen, time.Now()))})
	}
	table(c.out, rows)
}

func (c *cli) userSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions EMAIL",
		Short: "List the sessions of a user",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				list, err := b.UserSessions(ctx, args[0])
				if err != nil {
					return err
				}
				return c.listed(list, len(list), "no sessions", func() { c.printSessions(list) })
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) printSessions(list []auth.Session) {
	rows, now := [][]cell{c.paint(c.out).heads("SESSION", "SINCE", "SEEN", "ADDRESS", "WITH")}, time.Now()
	for _, x := range list {
		rows = append(rows, []cell{plainCell(x.ID), plainCell(age(x.Created, now)), plainCell(age(x.Seen, now)), plainCell(orDash(x.Address)), plainCell(clip(orDash(x.Agent), 60))})
	}
	table(c.out, rows)
}

func (c *cli) userLogoutCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "logout EMAIL [SESSION]",
		Short: "End the sessions of a user, or one of them",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				if len(args) == 1 {
					return c.saidOf(nil, b.EndSessions(ctx, args[0]), "ended the sessions of "+args[0])
				}
				list, err := b.UserSessions(ctx, args[0])
				if err != nil {
					return err
				}
				if !slices.ContainsFunc(list, func(x auth.Session) bool { return x.ID == args[1] }) {
					return withHint(fmt.Errorf("%s has no session %s", args[0], args[1]), "fairlead user sessions "+args[0]+" lists them")
				}
				_, err = b.EndSession(ctx, args[1])
				return c.saidOf(nil, err, "ended session "+args[1])
			})
		},
	}
}

func (c *cli) userTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		Aliases: []string{"tokens"},
		Short:   "Manage personal access tokens",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.tokenAddCommand(), c.tokenListCommand(), c.tokenRemoveCommand())
	return cmd
}

func (c *cli) tokenAddCommand() *cobra.Command {
	var days int
	var never bool
	var scopes []string
	cmd := &cobra.Command{
		Use:   "add EMAIL NAME",
		Short: "Make a token of a user and print it, this once",
		Long: `Makes a personal access token and prints it on standard output. It is shown this
once; only its hash is kept. It may do what its user may, or less:
  read   look at everything that a viewer sees
  query  ask data
  sync   bring about what is configured already
  write  change what is configured
  admin  everything`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := server.NewToken{User: args[0], Name: args[1], Scopes: scopes, Expires: &server.Lifetime{Days: days, Forever: never}}
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				t, err := b.CreateToken(ctx, req)
				if err == nil && c.format == "" {
					fmt.Fprintf(c.err, "token %s of %s (%s); it is shown this once\n", oneLine(t.Name), oneLine(args[0]), t.ID)
				}
				return c.saidOf(t, err, t.Token)
			})
		},
	}
	cmd.Flags().IntVar(&days, "expires-in-days", 90, "days until it ends, up to 3650")
	cmd.Flags().BoolVar(&never, "never-expires", false, "it does not end")
	cmd.Flags().StringSliceVar(&scopes, "scope", nil, "what it may do; may be repeated (default: all that its user may)")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list EMAIL",
		Aliases: []string{"ls"},
		Short:   "List the tokens of a user",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				list, err := b.UserTokens(ctx, args[0])
				if err != nil {
					return err
				}
				return c.listed(list, len(list), "no tokens", func() { c.printTokens(list) })
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) printTokens(list []auth.Token) {
	p, now := c.paint(c.out), time.Now()
	rows := [][]cell{p.heads("TOKEN", "NAME", "BEGINS", "SCOPES", "ENDS", "USED", "FROM")}
	for _, t := range list {
		ends := plainCell("never")
		if !t.Expires.IsZero() {
			ends = plainCell(t.Expires.Format(time.DateOnly))
			if now.After(t.Expires) {
				ends = cell{"ended", p.yellow}
			}
		}
		scopes := commas(t.Scopes)
		if scopes == "" {
			scopes = "all"
		}
		rows = append(rows, []cell{plainCell(t.ID), plainCell(t.Name), plainCell(t.Prefix), plainCell(scopes), ends, plainCell(age(t.Seen, now)), plainCell(orDash(t.SeenFrom))})
	}
	table(c.out, rows)
}

func (c *cli) tokenRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "remove TOKEN",
		Aliases: []string{"rm"},
		Short:   "End a token, by its id",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				t, err := b.DeleteToken(ctx, args[0])
				return c.saidOf(nil, err, "ended token "+t.Name)
			})
		},
	}
}

func (c *cli) userAuditCommand() *cobra.Command {
	var q auth.AuditQuery
	var export bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show what people did",
		Long: `Shows who did what, the newest first: every change through the API, the pages and
the command line, and who signed in or was refused. With --export all of it, a JSON
object a line, the oldest first.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				if export {
					return b.ExportAudit(ctx, c.out)
				}
				list, err := b.Audit(ctx, q)
				if err != nil {
					return err
				}
				return c.listed(list, len(list), "nothing yet", func() { c.printAudit(list) })
			})
		},
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 50, "how many entries, up to 500")
	cmd.Flags().Uint64Var(&q.Before, "before", 0, "only entries with a smaller number")
	cmd.Flags().StringVar(&q.User, "user", "", "only what a user did, or what was done to them")
	cmd.Flags().BoolVar(&export, "export", false, "write the whole log as JSON lines")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) printAudit(list []auth.Entry) {
	p := c.paint(c.out)
	rows := [][]cell{p.heads("NO", "AT", "WHO", "FROM", "DID", "TO", "OUTCOME")}
	for _, e := range list {
		out := cell{strings.TrimSpace(e.Outcome + " " + e.Detail), p.green}
		if e.Outcome != auth.OutcomeDone {
			out.paint = p.red
		}
		from := e.Address
		if from == "" {
			from = e.Via
		}
		rows = append(rows, []cell{plainCell(fmt.Sprint(e.Seq)), plainCell(e.At.Local().Format(time.DateTime)), plainCell(orDash(e.Who)), plainCell(orDash(from)),
			plainCell(e.Operation), plainCell(clip(orDash(e.Target), 60)), out})
	}
	table(c.out, rows)
}
