package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func (c *cli) certCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Look at certificates, renew them, print signing requests, try a source",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.certLsCommand(), c.certShowCommand(), c.certRenewCommand(), c.certCSRCommand(), c.certRollbackCommand(), c.certTestCommand())
	return cmd
}

func (c *cli) certLsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls [INSTANCE]",
		Short: "List the certificates with what is left of their lives",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return c.certLs(cmd.Context(), args) },
	}
	c.outputFlag(cmd)
	return cmd
}

// ownedCertificate is a certificate with whose it is.
type ownedCertificate struct {
	Instance string `json:"instance"`
	reconciler.CertificateStatus
}

func (c *cli) certLs(ctx context.Context, args []string) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	all, err := allCertificates(ctx, b, args)
	if err != nil {
		return err
	}
	if done, err := c.structured(all); done || err != nil {
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.out, "no certificates")
		return nil
	}
	width, _ := terminal(c.out)
	printCertificates(c, all, time.Now(), width)
	return nil
}

func allCertificates(ctx context.Context, b backend, names []string) ([]ownedCertificate, error) {
	names, err := pick(ctx, b, names)
	if err != nil {
		return nil, err
	}
	all := []ownedCertificate{}
	for _, name := range names {
		list, err := b.Certificates(ctx, name)
		if err != nil {
			return nil, err
		}
		for _, one := range list {
			all = append(all, ownedCertificate{name, one})
		}
	}
	return all, nil
}

const certNameHelp = `The name is that of the certificate in instance.yaml, INSTANCE/NAME where several
instances have one of that name, or the host where its route names none.`

func (c *cli) certShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show [INSTANCE/]NAME",
		Short: "Show what is known of a certificate",
		Long:  "Shows what is known of a certificate: what is served, until when, who has it, and\nwhat was refused and why.\n\n" + certNameHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withCertificate(cmd.Context(), args[0], func(_ context.Context, _ connected, o ownedCertificate) error {
				if done, err := c.structured(o); done || err != nil {
					return err
				}
				detail{c.out, c.paint(c.out), time.Now()}.certificate(o)
				return nil
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// withCertificate finds a certificate and does something with it.
func (c *cli) withCertificate(ctx context.Context, name string, do func(context.Context, connected, ownedCertificate) error) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	var instances []string
	if instance, rest, named := strings.Cut(name, "/"); named {
		if strings.Trim(instance, ".") == "" || rest == "" {
			return withHint(fmt.Errorf("there is no certificate %s", name), "it is written NAME or INSTANCE/NAME; fairlead cert ls lists them")
		}
		instances, name = []string{instance}, rest
	}
	all, err := allCertificates(ctx, b, instances)
	if err != nil {
		return err
	}
	var found []ownedCertificate
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
		return withHint(fmt.Errorf("there are several certificates %s", name), "say which: INSTANCE/"+name)
	case len(names) == 0:
		return withHint(fmt.Errorf("there is no certificate %s", name), "instance.yaml has none; docs/configuration.md shows how they are written")
	}
	return withHint(fmt.Errorf("there is no certificate %s", name), "there are: "+commas(names))
}

func (c *cli) certRenewCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "renew [INSTANCE/]NAME",
		Short: "Ask for a successor now",
		Long: `Asks for a successor now, whatever the time and earlier failures: the source is
fetched again, or a new one is ordered. What is served stays until a better one has
passed every check. With --force a candidate also counts that is older than the live
one or was refused before; it has to pass the other checks all the same. An order by
ACME is begun and not waited for.

Ends with 6 when the source has a candidate that is refused.

` + certNameHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withCertificate(cmd.Context(), args[0], func(ctx context.Context, b connected, o ownedCertificate) error {
				now, err := b.RenewCertificate(ctx, o.Instance, o.Name, force)
				if err != nil {
					return err
				}
				code := codeOfRenewal(o.CertificateStatus, now)
				if done, err := c.structured(now); done || err != nil {
					return errors.Join(err, exitWith(code))
				}
				c.sayRenewed(o.CertificateStatus, now)
				return exitWith(code)
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "take one that is older than the live one or was refused before, if it is good otherwise")
	c.outputFlag(cmd)
	return cmd
}

func codeOfRenewal(was, now reconciler.CertificateStatus) int {
	if now.Generation == was.Generation && len(now.Refused) > 0 {
		return exitRefused
	}
	return exitDone
}

func (c *cli) sayRenewed(was, now reconciler.CertificateStatus) {
	switch {
	case now.Generation != was.Generation:
		fmt.Fprintf(c.out, "%s: generation %d is live, until %s\n", now.Name, now.Generation, day(now.NotAfter))
	case len(now.Refused) > 0:
		fmt.Fprintf(c.out, "%s: the candidate is refused; %s\n", now.Name, stays(now))
		printCertificateProblems(c.out, now.Refused)
	case !now.Staged.IsZero():
		fmt.Fprintf(c.out, "%s: a successor is there, and served from %s on\n", now.Name, day(now.Staged))
	case now.Phase == reconciler.CertificateLive || now.Phase == reconciler.CertificateSelfSigned:
		fmt.Fprintf(c.out, "%s: asked; there is nothing newer than generation %d yet\n", now.Name, now.Generation)
	default:
		fmt.Fprintf(c.out, "%s: asked; it is %s: %s\n", now.Name, now.Phase, oneLine(now.Message))
	}
}

func stays(c reconciler.CertificateStatus) string {
	if c.Generation == 0 {
		return "nothing is served"
	}
	return fmt.Sprintf("generation %d stays", c.Generation)
}

func (c *cli) certCSRCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "csr [INSTANCE/]NAME",
		Short: "Print the signing request for the key of this host",
		Long: `Prints the signing request in PEM, and beside it (on standard error) what to do
with it. The key never leaves this host.

` + certNameHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withCertificate(cmd.Context(), args[0], func(ctx context.Context, b connected, o ownedCertificate) error {
				r, err := b.CertificateRequest(ctx, o.Instance, o.Name)
				if err != nil {
					return err
				}
				if done, err := c.structured(r); done || err != nil {
					return err
				}
				fmt.Fprint(c.out, r.PEM)
				c.sayRequest(r)
				return nil
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) sayRequest(r server.CertificateRequest) {
	fmt.Fprintf(c.err, "\nThis asks for %s", commas(r.Domains))
	if r.Subject != "" {
		fmt.Fprintf(c.err, " as %s", oneLine(r.Subject))
	}
	fmt.Fprintf(c.err, ", %s key %s.\n", r.Key, r.SPKI)
	fmt.Fprintf(c.err, "It lies at %s. Give it to your authority, and have it publish the chain, leaf\nfirst or in any order, at\n  %s\nIt is served as soon as it is there and good.\n",
		r.File, oneLine(r.Source))
}

func (c *cli) certRollbackCommand() *cobra.Command {
	var number int
	cmd := &cobra.Command{
		Use:   "rollback [INSTANCE/]NAME",
		Short: "Make the pair before the live one again, until the source has another",
		Long: `Makes an older pair the live one, as a new generation. The one that was live is not
taken from its source again; whatever else comes from there is.

` + certNameHelp,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if number < 0 {
				return errors.New("--to: a generation is a number from 1 on; fairlead cert show lists those that are kept")
			}
			return c.withCertificate(cmd.Context(), args[0], func(ctx context.Context, b connected, o ownedCertificate) error {
				now, err := b.RollbackCertificate(ctx, o.Instance, o.Name, number)
				if err != nil {
					return err
				}
				if done, err := c.structured(now); done || err != nil {
					return err
				}
				fmt.Fprintf(c.out, "%s: generation %d is live, until %s\n", now.Name, now.Generation, day(now.NotAfter))
				return nil
			})
		},
	}
	cmd.Flags().IntVar(&number, "to", 0, "the generation (default: the one before)")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) certTestCommand() *cobra.Command {
	var t server.CertificateTest
	var instance string
	cmd := &cobra.Command{
		Use:   "test-url URL",
		Short: "Fetch a chain, or a chain and a key, and say what is right and wrong with it",
		Long: `Fetches a chain as the daemon would, with what this host permits, and holds it
against what is wanted. Nothing is published and nothing is remembered. With
--certificate it is held against a certificate of instance.yaml: its domains, its
key, what it trusts.

Ends with 1 when it cannot be fetched, and with 6 when it would be refused.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			t.URL = args[0]
			return c.certTest(cmd.Context(), instance, t)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&t.Privkey, "privkey", "", "where the key is (default: that of --certificate)")
	flags.StringSliceVar(&t.Domains, "domain", nil, "a name that it has to be for; may be repeated (default: those of --certificate)")
	flags.StringVar(&t.Certificate, "certificate", "", "a certificate of the instance to hold it against")
	flags.StringVar(&instance, "instance", "", "the instance (default: the only one)")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) certTest(ctx context.Context, instance string, t server.CertificateTest) error {
	b, err := c.connect(ctx, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	var names []string
	if instance != "" {
		names = []string{instance}
	}
	name, err := pickOne(ctx, b, names)
	if err != nil {
		return err
	}
	r, err := b.TestCertificate(ctx, name, t)
	if err != nil {
		return err
	}
	code := 0
	if !r.Served {
		code = exitRefused
	}
	if done, err := c.structured(r); done || err != nil {
		return errors.Join(err, exitWith(code))
	}
	detail{c.out, c.paint(c.out), time.Now()}.report(r)
	return exitWith(code)
}
