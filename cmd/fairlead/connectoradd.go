package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// connectorDraft is what the flags of connector add say.
type connectorDraft struct {
	set, fromFile, fromEnv []string // KEY=VALUE, KEY=FILE, KEY=VARIABLE
	stdin                  string   // key
	schedule               string
	confirm                bool
}

func (c *cli) connectorAddCommand() *cobra.Command {
	var d connectorDraft
	cmd := &cobra.Command{
		Use:   "add [INSTANCE/]NAME SOURCE",
		Short: "Add a connector of a built-in source, or change one, by a commit",
		Long: `Tries a connection at its service, and commits it: the file of the connector, its
secrets encrypted, and an instance where there is none yet. The commit is yours.
Where the daemon may not push, the change is written as a patch for git am.

SOURCE is keboola (url, token), bigquery (project, location, key), postgres (url),
jira (url, and email and token, or pat) or files (dir). What is secret never stands
on the command line: it is read from standard input, a file or a variable. Which
tables are wanted is said by fairlead connector register.`,
		Example: `  pass show keboola | fairlead connector add acme/shop keboola --set url=https://connection.keboola.com --secret-stdin token
  fairlead connector add acme/crm postgres --secret-env url=CRM_URL --schedule "every 1h"
  fairlead connector add acme/dwh bigquery --set project=acme-data --secret-file key=key.json -o json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.connectorAdd(cmd.Context(), args[0], args[1], d)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&d.set, "set", nil, "KEY=VALUE of the source, which is not secret; may be repeated")
	f.StringArrayVar(&d.fromFile, "secret-file", nil, "KEY=FILE: a value that is secret, from a file; may be repeated")
	f.StringArrayVar(&d.fromEnv, "secret-env", nil, "KEY=VARIABLE: a value that is secret, from a variable; may be repeated")
	f.StringVar(&d.stdin, "secret-stdin", "", "KEY whose value is read from standard input, or asked for")
	f.StringVar(&d.schedule, "schedule", "", `when it runs, as "daily 07:00" or "every 1h"`)
	f.BoolVar(&d.confirm, "confirm", false, "change where a connector with tables gets them from")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) connectorAdd(ctx context.Context, name, source string, d connectorDraft) error {
	instances, name, err := splitName(name)
	if err != nil {
		return err
	}
	section, err := c.sectionOf(d)
	if err != nil {
		return err
	}
	fields := map[string]any{"name": name, source: section}
	if d.schedule != "" {
		fields["schedule"] = d.schedule
	}
	body, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("write connector: %w", err)
	}
	return c.changing(ctx, func(client *server.Client) error {
		done, err := client.Configure(ctx, server.ConfigureRequest{Instance: asName(instances), Connector: body, Confirm: d.confirm})
		if err != nil {
			return err
		}
		if ok, err := c.structured(done); ok || err != nil {
			return err
		}
		for _, warning := range done.Warnings {
			fmt.Fprintln(c.err, oneLine(warning))
		}
		c.tellChange(done.ChangeAnswer, fmt.Sprintf("%s/%s is configured, its service has %s", done.Instance, name, reconciler.Count(done.Tables, "table")))
		return nil
	})
}

// secretKeys are those of sources whose values others must not see.
var secretKeys = []string{"token", "pat", "key", "webhookSecret"}

// sectionOf are the keys of the source.
func (c *cli) sectionOf(d connectorDraft) (map[string]string, error) {
	section := map[string]string{}
	put := func(pair string, read func(key, value string) (string, error)) error {
		key, value, both := strings.Cut(pair, "=")
		if _, twice := section[key]; !both || key == "" || value == "" || twice {
			return withHint(fmt.Errorf("read the connector: a key of it is missing, or there twice (%s)", key), "write KEY=VALUE, each key once")
		}
		value, err := read(key, value)
		section[key] = value
		return err
	}
	for _, pair := range d.set {
		if err := put(pair, plainValue); err != nil {
			return nil, err
		}
	}
	for _, pair := range d.fromFile {
		if err := put(pair, c.secretValue); err != nil {
			return nil, err
		}
	}
	for _, pair := range d.fromEnv {
		if err := put(pair, c.secretOfEnv); err != nil {
			return nil, err
		}
	}
	if d.stdin != "" {
		if err := put(d.stdin+"=-", func(key, _ string) (string, error) { return c.secretValue(key, "") }); err != nil {
			return nil, err
		}
	}
	return section, nil
}

// plainValue refuses what everybody on this host could see in the list of
// processes.
func plainValue(key, value string) (string, error) {
	if (slices.Contains(secretKeys, key) || showsPassword(value)) && !strings.Contains(value, "${secret:") {
		return "", withHint(fmt.Errorf("read the connector: %s is secret, and others see the command line", key),
			"give it by --secret-stdin "+key+", --secret-file "+key+"=FILE or --secret-env "+key+"=VARIABLE, and have this one replaced")
	}
	return value, nil
}

// showsPassword takes what is no URL, and has an @, for one whose password is not
// escaped.
func showsPassword(value string) bool {
	u, err := url.Parse(value)
	if err != nil {
		return strings.Contains(value, "@")
	}
	_, password := u.User.Password()
	return password || u.Query().Has("password") || u.Query().Has("sslpassword")
}

func (c *cli) secretOfEnv(key, variable string) (string, error) {
	if value := c.getenv(variable); value != "" {
		return value, nil
	}
	return "", fmt.Errorf("read the value of %s: the variable %s is empty", key, variable)
}

// changing has a daemon make a change: it keeps the keys and the repository.
func (c *cli) changing(ctx context.Context, do func(*server.Client) error) error {
	return c.withDaemon(ctx, "start it (fairlead run), or name its directory by --data; without one write the file (fairlead connector new) and commit it", do)
}

// tellChange says what became of a change.
func (c *cli) tellChange(answer server.ChangeAnswer, done string) {
	switch {
	case answer.Patch != "":
		fmt.Fprint(c.out, answer.Patch)
		fmt.Fprintln(c.err, answer.Hint)
	case answer.Unchanged:
		fmt.Fprintln(c.out, done+"; nothing to do: it is so already")
	default:
		fmt.Fprintf(c.out, "%s: commit %s\n", done, shortCommit(answer.Commit))
	}
}

func (c *cli) connectorRegisterCommand() *cobra.Command {
	var all, dry bool
	cmd := &cobra.Command{
		Use:   "register [INSTANCE/]NAME [TABLE…]",
		Short: "Say which tables of a service are wanted, by a commit",
		Long: `Asks the service of a connector which tables it has, and commits those that are
named, by their id or name there, or all. Tables that are registered stay as they
are written. The connector runs by itself after the commit.`,
		Example: "  fairlead connector register acme/shop in.c-shop.orders in.c-shop.items\n  fairlead connector register acme/shop --all --dry-run",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if all == (len(args) > 1) {
				return withHint(errors.New("register tables: name some, or all of them"), "fairlead connector discover "+args[0]+" lists them; --all takes all")
			}
			return c.connectorRegister(cmd.Context(), args[0], args[1:], dry)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all tables that the service has")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "only say what would be registered")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) connectorRegister(ctx context.Context, name string, tables []string, dry bool) error {
	instances, name, err := splitName(name)
	if err != nil {
		return err
	}
	return c.changing(ctx, func(client *server.Client) error {
		done, err := client.DiscoverAndRegister(ctx, server.DiscoverRequest{Instance: asName(instances), Source: name, Tables: tables}, dry)
		if err != nil {
			return err
		}
		code := exitDone
		if done.Errors > 0 {
			code = exitError1
		}
		if ok, err := c.structured(done); ok || err != nil {
			return errors.Join(err, exitWith(code))
		}
		if len(done.Missing) > 0 {
			fmt.Fprintln(c.err, "the service does not have "+oneLine(commas(done.Missing)))
		}
		if dry {
			fmt.Fprintf(c.out, "would register %s: %s\n", reconciler.Count(done.WouldRegister, "table"), oneLine(orDash(commas(done.Tables))))
			return exitWith(code)
		}
		if done.Registered > 0 || done.Errors == 0 {
			c.tellChange(done.ChangeAnswer, fmt.Sprintf("registered %s of %s", reconciler.Count(done.Registered, "table"), name))
		}
		return exitWith(code)
	})
}

func (c *cli) connectorRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove INSTANCE/NAME",
		Aliases: []string{"rm"},
		Short:   "Remove a connector, by a commit; its data stays until it is purged",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			instances, name, err := splitName(args[0])
			if err != nil {
				return err
			}
			if len(instances) == 0 {
				return withHint(fmt.Errorf("remove %s: say of which instance", name), "write INSTANCE/"+name)
			}
			return c.changing(cmd.Context(), func(client *server.Client) error {
				done, err := client.DeleteConnectorFile(cmd.Context(), instances[0], name)
				if err != nil {
					return err
				}
				if ok, err := c.structured(done); ok || err != nil {
					return err
				}
				c.tellChange(done, args[0]+" is removed; fairlead connector purge removes its data")
				return nil
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}
