package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/hooks"
)

func (c *cli) notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Look at where notices go, and try it",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.notifyListCommand(), c.notifyTestCommand())
	return cmd
}

const startForNotices = "only a daemon sends notices; start it, or name its directory by --data"

// withDaemon does something that only a daemon can; where none runs the hint says
// what to do.
func (c *cli) withDaemon(ctx context.Context, hint string, do func(*server.Client) error) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	client, err := c.daemonOf(ctx, s)
	if err != nil {
		return err
	}
	if client == nil {
		return withHint(errors.New("ask the daemon: none runs on "+s.Data), hint)
	}
	return errors.Join(do(client), client.Close())
}

func (c *cli) notifyListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the channels, with what waits and what fails",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withDaemon(cmd.Context(), startForNotices, func(d *server.Client) error {
				list, err := d.NoticeChannels(cmd.Context())
				if err != nil {
					return err
				}
				if done, err := c.structured(list); done || err != nil {
					return err
				}
				printChannels(c.out, list)
				return nil
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func printChannels(w io.Writer, list server.NoticeList) {
	if len(list.Channels) == 0 {
		fmt.Fprintln(w, "Notices go nowhere: add notify to instance.yaml, or notify.urlFile to agent.yaml.")
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tCHANNEL\tOF\tWAITING\tLAST\tERROR")
		for _, ch := range list.Channels {
			of := strings.Join(ch.Instances, ", ")
			if ch.Host {
				of = strings.Join(append([]string{"this host"}, ch.Hears...), " ")
			}
			last := "never"
			if !ch.LastOK.IsZero() {
				last = ch.LastOK.UTC().Format(time.RFC3339)
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", ch.ID, ch.Name, of, ch.Waiting, last, oneLine(ch.Error))
		}
		_ = t.Flush() // what it writes to does not fail, or nobody sees it
	}
	if list.CommitStatus != "" {
		fmt.Fprintln(w, "The status of commits cannot be set: "+list.CommitStatus)
	}
}

func (c *cli) notifyTestCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [CHANNEL]",
		Short: "Send a test notice to a channel, or to all",
		Long:  `Sends a test notice to the channel of an ID or name, or to all, and says what came of it.`,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withDaemon(cmd.Context(), startForNotices, func(d *server.Client) error {
				tests, err := d.TestNotices(cmd.Context(), server.NoticeTestRequest{Channel: asName(args)})
				if err != nil {
					return err
				}
				done, err := c.structured(tests)
				if err != nil {
					return err
				}
				if !done {
					printTests(c.out, tests)
				}
				for _, t := range tests.Results {
					if !t.OK {
						return &exitError{code: exitError1}
					}
				}
				return nil
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func printTests(w io.Writer, tests server.NoticeTests) {
	for _, t := range tests.Results {
		said := "sent"
		if !t.OK {
			said = "not sent: " + t.Error
		}
		fmt.Fprintf(w, "%s  %s: %s\n", t.ID, t.Name, said)
	}
}

func (c *cli) hookCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hook",
		Short: "Show what to enter where webhooks are set up",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.hookURLCommand(), c.hookSecretCommand())
	return cmd
}

func (c *cli) hookURLCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "url [PROVIDER]",
		Short: "Print the URL of a webhook: " + strings.Join(hooks.Providers(), ", ") + " or registry",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := c.settings()
			if err != nil {
				return err
			}
			if s.Server.Host == "" {
				return withHint(errors.New("print the URL of webhooks: nobody else reaches this daemon"), "set server.host to the name that the front or a proxy serves it by")
			}
			list := append(hooks.Providers(), hooks.Registry)
			for _, p := range list {
				path := "/hooks/git/" + p
				if p == hooks.Registry {
					path = "/hooks/" + p
				}
				switch {
				case len(args) == 0:
					fmt.Fprintf(c.out, "%-10s https://%s%s\n", p, s.Server.Host, path)
				case args[0] == p:
					fmt.Fprintf(c.out, "https://%s%s\n", s.Server.Host, path)
					return nil
				}
			}
			if len(args) > 0 {
				return withHint(fmt.Errorf("print the URL of webhooks: there is no provider %q", args[0]), "there are "+strings.Join(list, ", "))
			}
			return nil
		},
	}
}

func (c *cli) hookSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Print the secret that senders of webhooks have to know",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			s, err := c.settings()
			if err != nil {
				return err
			}
			name, own := s.hookSecretFile()
			secret, err := readToken(name, hooks.MinSecret)
			if errors.Is(err, fs.ErrNotExist) && own {
				return withHint(errors.New("read the secret of webhooks: there is none yet"), "the daemon makes it at its first start; or set hooks.secretFile")
			}
			if err != nil {
				return fmt.Errorf("read the secret of webhooks: %w", err)
			}
			fmt.Fprintln(c.out, secret)
			return nil
		},
	}
}
