package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// root makes the command with all its subcommands.
func (c *cli) root() *cobra.Command {
	c.given = &given{values: map[string][]string{}}
	cmd := &cobra.Command{
		Use:   "fairlead",
		Short: "Keeps the containers of a host as a git repository says",
		Long: `Fairlead keeps the containers of a host as a git repository says.

The shortest way in, in the root of a git repository with a compose file:
  fairlead run --repo .

Settings come from flags, FAIRLEAD_* variables (--repo is FAIRLEAD_REPO) and
/etc/fairlead/agent.yaml, in that order of strength. Commands talk to the daemon
over its socket where one runs, and work alone where none does. What references
in git may reach (--fetch-allowed-host and more) is in docs/cli.md.

` + exitHelp,
		Version:       c.version,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHint(err, cmd.CommandPath()+" --help lists the flags")
	})
	flags := cmd.PersistentFlags()
	flags.SortFlags = false
	for _, o := range options() {
		v := &flagValue{o, c.given}
		flags.Var(v, o.flag, o.help)
		if o.kind == "BOOL" {
			flags.Lookup(o.flag).NoOptDefVal = "true"
		}
		flags.Lookup(o.flag).Hidden = strings.HasPrefix(o.key, "fetch.") || strings.HasPrefix(o.key, "connectors.") || strings.HasPrefix(o.key, "query.") || strings.HasPrefix(o.key, "notify.") ||
			strings.HasPrefix(o.key, "hooks.") || strings.HasPrefix(o.key, "policy.") || strings.HasPrefix(o.key, "commitStatus.") // a page of them, of which most hosts need two
	}
	flags.StringVar(&c.config, "config", "", "configuration of this host (default "+defaultConfig+")")
	cmd.AddCommand(c.runCommand(), c.validateCommand(), c.planCommand(), c.applyCommand(), c.statusCommand(), c.historyCommand(),
		c.rollbackCommand(), c.whyCommand(), c.suspendCommand(), c.resumeCommand(), c.eventsCommand(), c.logsCommand(), c.certCommand(), c.secretCommand(),
		c.connectorCommand(), c.queryCommand(), c.tablesCommand(), c.profileCommand(), c.userCommand(), c.notifyCommand(), c.hookCommand(),
		c.initCommand(), c.smokeCommand(), c.schemaCommand(), c.versionCommand())
	return cmd
}

// outputFlag adds -o.
func (c *cli) outputFlag(cmd *cobra.Command) {
	cmd.Flags().VarP((*formatValue)(&c.format), "output", "o", "json or yaml, for programs (default: for people)")
}

// formatValue is the value of -o.
type formatValue string

func (f *formatValue) Set(v string) error {
	if v != "json" && v != "yaml" {
		return fmt.Errorf("%q is neither json nor yaml", v)
	}
	*f = formatValue(v)
	return nil
}

func (f *formatValue) String() string { return string(*f) }
func (f *formatValue) Type() string   { return "FORMAT" }

// asName takes an instance's name where one may be given.
func asName(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
