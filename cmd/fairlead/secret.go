package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/server"
)

// secretBackend is the part of a backend that is about secrets.
type secretBackend interface {
	Secrets(ctx context.Context, instance string) (server.SecretList, error)
	SetSecret(ctx context.Context, instance, name string, v server.SecretValue) (server.ChangeAnswer, error)
	RemoveSecret(ctx context.Context, instance, name string) (server.ChangeAnswer, error)
	AdmitSecrets(ctx context.Context, instance string, adm server.Admission) (server.ChangeAnswer, error)
}

func (c *cli) secretCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "secret",
		Aliases: []string{"secrets"},
		Short:   "Keep secrets in the repository, encrypted",
		Long: `Keeps the secrets of an instance in its secrets.enc.yaml, in the format of SOPS
with age recipients. The files of an instance refer to one as ${secret:NAME}.

WHERE is an instance of the daemon, which commits the change, or the directory
of one (with a slash, as ./instances/acme, or . for this one), whose files are
written for you to commit.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.secretSetCommand(), c.secretListCommand(), c.secretGetCommand(), c.secretRemoveCommand(),
		c.secretRecipientsCommand(), c.secretRekeyCommand(), c.secretKeyCommand())
	return cmd
}

func (c *cli) secretSetCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "set WHERE NAME",
		Short: "Set a secret",
		Long: `Sets a secret. The value is asked for where there is a terminal, and else read from
standard input; it never stands on the command line, where others could see it.
The end of a single line is not part of it.`,
		Example: `  fairlead secret set acme KEBOOLA_TOKEN
  pass show keboola | fairlead secret set ./instances/acme KEBOOLA_TOKEN
  fairlead secret set acme GOOGLE_KEY --from-file key.json`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.secretSet(cmd.Context(), args[0], args[1], file)
		},
	}
	cmd.Flags().StringVar(&file, "from-file", "", "read the value from a file")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) secretSet(ctx context.Context, where, name, file string) error {
	if err := secrets.CheckName(name); err != nil {
		return err
	}
	return c.changeSecret(ctx, where, name+" is set", func(b secretBackend, instance string) (server.ChangeAnswer, error) {
		value, err := c.secretValue(name, file)
		if err != nil {
			return server.ChangeAnswer{}, err
		}
		return b.SetSecret(ctx, instance, name, server.SecretValue{Value: value})
	})
}

// secretValue reads a value from where nobody else sees it.
func (c *cli) secretValue(name, file string) (string, error) {
	var data []byte
	var err error
	in, isFile := c.in.(*os.File)
	switch {
	case file != "":
		data, err = readSmall(file)
	case isFile && term.IsTerminal(int(in.Fd())):
		fmt.Fprintf(c.err, "%s: ", name)
		data, err = term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(c.err)
	default:
		data, err = io.ReadAll(io.LimitReader(c.in, secrets.MaxValue+2))
	}
	if err != nil {
		return "", fmt.Errorf("read the value of %s: %w", name, err)
	}
	text := string(data)
	if line := strings.TrimRight(text, "\r\n"); !strings.Contains(line, "\n") {
		text = line
	}
	if text == "" {
		return "", withHint(fmt.Errorf("read the value of %s: it is empty", name), "write it to standard input, or give --from-file; fairlead secret remove removes one")
	}
	return text, nil
}

func (c *cli) secretRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove WHERE NAME",
		Aliases: []string{"rm"},
		Short:   "Remove a secret",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeSecret(cmd.Context(), args[0], args[1]+" is removed; old commits keep it, encrypted", func(b secretBackend, instance string) (server.ChangeAnswer, error) {
				return b.RemoveSecret(cmd.Context(), instance, args[1])
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// changeSecret makes a change where it belongs, and says what came of it.
func (c *cli) changeSecret(ctx context.Context, where, done string, change func(secretBackend, string) (server.ChangeAnswer, error)) error {
	b, instance, err := c.secretsAt(ctx, where, toAct)
	if err != nil {
		return err
	}
	defer b.Close()
	answer, err := change(b, instance)
	if err != nil {
		return err
	}
	if ok, err := c.structured(answer); ok || err != nil {
		return err
	}
	local, isLocal := b.secretBackend.(*secretTree)
	switch {
	case answer.Patch != "":
		fmt.Fprint(c.out, answer.Patch)
		fmt.Fprintln(c.err, answer.Hint)
	case answer.Unchanged, isLocal && len(local.written) == 0:
		fmt.Fprintln(c.out, "nothing to do: it is so already")
	case isLocal:
		fmt.Fprintf(c.out, "%s\nwritten, to be committed: %s\n", done, strings.Join(local.written, ", "))
	default:
		fmt.Fprintf(c.out, "%s: commit %s\n", done, shortCommit(answer.Commit))
	}
	return nil
}

func shortCommit(commit string) string { return commit[:min(len(commit), 8)] }

func (c *cli) secretListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list WHERE",
		Aliases: []string{"ls"},
		Short:   "List the names of secrets",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.showSecrets(cmd.Context(), args[0], func(list server.SecretList) {
				for _, name := range list.Names {
					fmt.Fprintln(c.out, name)
				}
				if len(list.Names) == 0 {
					fmt.Fprintln(c.err, "no secrets in "+list.File)
				}
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) showSecrets(ctx context.Context, where string, show func(server.SecretList)) error {
	b, instance, err := c.secretsAt(ctx, where, toRead)
	if err != nil {
		return err
	}
	defer b.Close()
	list, err := b.Secrets(ctx, instance)
	if err != nil {
		return err
	}
	if done, err := c.structured(list); done || err != nil {
		return err
	}
	if show(list); list.Problem != "" {
		fmt.Fprintln(c.err, list.Problem)
	}
	return nil
}

func (c *cli) secretGetCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "get DIRECTORY NAME",
		Short: "Say whether a secret is set, or show it",
		Long: `Says whether a secret is set in the files of a directory. With --show it is written
to standard output as it is, without a line's end. The API never answers a value.`,
		Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error { return c.secretGet(args[0], args[1], show) },
	}
	cmd.Flags().BoolVar(&show, "show", false, "show the value; it needs the key")
	return cmd
}

func (c *cli) secretGet(dir, name string, show bool) error {
	if !isDirectory(dir) {
		return withHint(fmt.Errorf("%q is not a directory: the daemon shows no values", dir), "give the directory of the instance, with a slash: ./instances/NAME")
	}
	t, err := c.secretTree(dir)
	if err != nil {
		return err
	}
	defer t.Close()
	list, err := t.Secrets(context.Background(), "")
	if err != nil {
		return err
	}
	value, err := t.value(list, name, show)
	if err != nil {
		return err
	}
	if show {
		_, err = io.WriteString(c.out, value)
		return err
	}
	fmt.Fprintf(c.out, "%s is set; --show shows it\n", name)
	return nil
}

func (c *cli) secretRecipientsCommand() *cobra.Command {
	var adm server.Admission
	cmd := &cobra.Command{
		Use:   "recipients WHERE",
		Short: "List or change who can read the secrets",
		Long: `Lists the public age keys for which the secrets are encrypted. With --add and
--remove it changes them, in .sops.yaml and in the file. Whoever is removed knows
the values that there were: they are encrypted anew, and should be replaced.`,
		Example: `  fairlead secret recipients acme --add age1…
  fairlead secret recipients ./instances/acme --add age1… --age-key-file ~/.config/sops/age/keys.txt`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(adm.Add)+len(adm.Remove) > 0 {
				return c.admit(cmd.Context(), args[0], adm)
			}
			return c.showSecrets(cmd.Context(), args[0], c.printRecipients)
		},
	}
	cmd.Flags().StringSliceVar(&adm.Add, "add", nil, "let this public key read them, age1…; may be repeated")
	cmd.Flags().StringSliceVar(&adm.Remove, "remove", nil, "let this public key read them no more; may be repeated")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) printRecipients(list server.SecretList) {
	for _, r := range list.Recipients {
		for _, own := range list.Own {
			if r == own {
				r += " (this host)"
			}
		}
		fmt.Fprintln(c.out, r)
	}
	if len(list.Recipients) == 0 {
		fmt.Fprintln(c.err, "nobody yet: fairlead secret set makes "+list.File)
	}
}

func (c *cli) secretRekeyCommand() *cobra.Command {
	var adm server.Admission
	cmd := &cobra.Command{
		Use:   "rekey WHERE",
		Short: "Encrypt for whom .sops.yaml names, after it was changed",
		Args:  cobra.ExactArgs(1),
		RunE:  func(cmd *cobra.Command, args []string) error { return c.admit(cmd.Context(), args[0], adm) },
	}
	cmd.Flags().BoolVar(&adm.Rotate, "rotate", false, "encrypt every value anew, although nobody was removed")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) admit(ctx context.Context, where string, adm server.Admission) error {
	done := "who can read the secrets is changed"
	if adm.Rotate {
		done = "the secrets are encrypted anew"
	}
	return c.changeSecret(ctx, where, done, func(b secretBackend, instance string) (server.ChangeAnswer, error) {
		return b.AdmitSecrets(ctx, instance, adm)
	})
}

// publicKeys is what fairlead secret key says.
type publicKeys struct {
	File string   `json:"file"`
	Keys []string `json:"keys"`
}

func (c *cli) secretKeyCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Show the public age key of this host, or make a key for a person",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if file != "" {
				return c.newKey(file)
			}
			return c.showKey()
		},
	}
	cmd.Flags().StringVar(&file, "new", "", "make a key in this file, which must not be there")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) showKey() error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	ring := s.keyring()
	keys, err := ring.read()
	if err != nil {
		return err
	}
	if keys == nil {
		return withHint(fmt.Errorf("there is no key yet: %s", ring.file), "fairlead run makes it at its first start; fairlead secret key --new FILE makes one for a person")
	}
	return c.printKeys(publicKeys{ring.file, keys.Recipients()})
}

func (c *cli) newKey(file string) error {
	if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("make %s: it is there already, and what was encrypted for it would be lost", file)
	}
	ring := keyring{file: file}
	if err := ring.make(); err != nil {
		return err
	}
	keys, err := ring.read()
	if err != nil {
		return err
	}
	return c.printKeys(publicKeys{file, keys.Recipients()})
}

func (c *cli) printKeys(k publicKeys) error {
	if done, err := c.structured(k); done || err != nil {
		return err
	}
	for _, key := range k.Keys {
		fmt.Fprintln(c.out, key)
	}
	return nil
}
