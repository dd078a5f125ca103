package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/fairlead/fairlead/server"
	"github.com/fairlead/fairlead/server/auth"
)

// peopleBackend is who carries out a command about people.
type peopleBackend interface {
	SetupCode(ctx context.Context) (server.SetupCode, error)
	Users(ctx context.Context) ([]auth.User, error)
	CreateUser(ctx context.Context, req server.NewUser) (auth.User, error)
	ChangeUser(ctx context.Context, user string, req server.UserChange) (auth.User, error)
	DeleteUser(ctx context.Context, user string) (auth.User, error)
	UserSessions(ctx context.Context, user string) ([]auth.Session, error)
	EndSession(ctx context.Context, id string) (auth.Session, error)
	EndSessions(ctx context.Context, user string) error
	UserTokens(ctx context.Context, user string) ([]auth.Token, error)
	CreateToken(ctx context.Context, req server.NewToken) (server.MadeToken, error)
	DeleteToken(ctx context.Context, id string) (auth.Token, error)
	Audit(ctx context.Context, q auth.AuditQuery) ([]auth.Entry, error)
	ExportAudit(ctx context.Context, w io.Writer) error
}

var (
	_ peopleBackend = (*server.Client)(nil)
	_ peopleBackend = (*server.API)(nil)
)

// withPeople does something with users: through the daemon, else over its data
// directory. Neither a repository nor an engine is needed.
func (c *cli) withPeople(ctx context.Context, do func(context.Context, peopleBackend) error) error {
	s, err := c.settings()
	if err != nil {
		return err
	}
	client, err := c.daemonOf(ctx, s)
	if err != nil {
		return err
	}
	if client != nil {
		return errors.Join(do(ctx, client), client.Close())
	}
	d, err := openData(s.Data)
	if err != nil {
		return err
	}
	c.complainOfDamage(d)
	store, err := keepPeople(s, d, nil)
	if err == nil {
		err = do(auth.With(ctx, hostAdmin(c.operator())), server.NewAPI(server.Config{Auth: store, Alone: true}))
	}
	return errors.Join(err, d.Close())
}

func (c *cli) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		Aliases: []string{"users"},
		Short:   "Manage who may use the API and the pages",
		Long: `Manages users, their sessions and tokens, and shows what they did. Whoever may run
it is the host's administrator: it works with no administrator left, too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.userAddCommand(), c.userListCommand(), c.userPasswdCommand(), c.userRoleCommand(),
		c.userSwitchCommand("disable", "Keep a user out, and end their sessions", true), c.userSwitchCommand("enable", "Let a user in again", false),
		c.userRemoveCommand(), c.userSessionsCommand(), c.userLogoutCommand(), c.userTokenCommand(), c.userSetupCodeCommand(), c.userAuditCommand())
	return cmd
}

const passwordHelp = `The password is asked for on the terminal, or read from standard input (the first
line), or from --password-file. It is at least 12 characters that nobody would guess.`

func (c *cli) userAddCommand() *cobra.Command {
	var req server.NewUser
	var role, file string
	var without bool
	cmd := &cobra.Command{
		Use:   "add EMAIL",
		Short: "Make a user",
		Long:  "Makes a user.\n\n" + passwordHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			req.Email, req.Role = args[0], auth.Role(role)
			if !without {
				if req.Password, err = c.password(file); err != nil {
					return err
				}
			}
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				u, err := b.CreateUser(ctx, req)
				return c.saidOf(u, err, "made "+u.Email+", "+string(u.Role))
			})
		},
	}
	cmd.Flags().StringVar(&req.Name, "name", "", "name of the person, as commits show it")
	cmd.Flags().StringVar(&role, "role", string(auth.RoleViewer), "viewer, analyst or admin")
	cmd.Flags().StringVar(&file, "password-file", "", "file with the password")
	cmd.Flags().BoolVar(&without, "no-password", false, "leave it for later: they cannot sign in until then")
	c.outputFlag(cmd)
	return cmd
}

// saidOf prints what came of a change.
func (c *cli) saidOf(v any, err error, text string) error {
	if err != nil {
		return err
	}
	if done, err := c.structured(v); done || err != nil {
		return err
	}
	fmt.Fprintln(c.out, oneLine(text))
	return nil
}

func (c *cli) userPasswdCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "passwd EMAIL",
		Short: "Set the password of a user",
		Long:  "Sets the password of a user, and ends their sessions; tokens stay.\n\n" + passwordHelp,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := c.password(file)
			if err != nil {
				return err
			}
			return c.changeUser(cmd.Context(), args[0], server.UserChange{Password: &password}, "has a new password")
		},
	}
	cmd.Flags().StringVar(&file, "password-file", "", "file with the password")
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) changeUser(ctx context.Context, user string, req server.UserChange, text string) error {
	return c.withPeople(ctx, func(ctx context.Context, b peopleBackend) error {
		u, err := b.ChangeUser(ctx, user, req)
		return c.saidOf(u, err, u.Email+" "+text)
	})
}

func (c *cli) userRoleCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "role EMAIL viewer|analyst|admin",
		Short: "Give a user another role, and end their sessions",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			role := auth.Role(args[1])
			return c.changeUser(cmd.Context(), args[0], server.UserChange{Role: &role}, "has the role "+args[1])
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) userSwitchCommand(verb, short string, disabled bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   verb + " EMAIL",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.changeUser(cmd.Context(), args[0], server.UserChange{Disabled: &disabled}, "is "+verb+"d")
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) userRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "remove EMAIL",
		Aliases: []string{"rm"},
		Short:   "Remove a user with all sessions and tokens",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				u, err := b.DeleteUser(ctx, args[0])
				return c.saidOf(u, err, "removed "+u.Email)
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

func (c *cli) userSetupCodeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "setup-code",
		Short: "Show the code that the setup asks for from elsewhere",
		Long: `Shows the code that makes the first administrator from another machine: the page
/setup asks for it, and POST /auth/bootstrap takes it as setup_code.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.withPeople(cmd.Context(), func(ctx context.Context, b peopleBackend) error {
				code, err := b.SetupCode(ctx)
				if err == nil && !code.Open && c.format == "" {
					return withHint(errors.New("the setup is closed: there was an administrator already"), "fairlead user list shows who there is; fairlead user add EMAIL --role admin makes another one")
				}
				return c.saidOf(code, err, code.Code)
			})
		},
	}
	c.outputFlag(cmd)
	return cmd
}

// maxPasswordFile bounds what a password is read from.
const maxPasswordFile = 4 << 10

// password asks for one. It is never taken from the command line, which others
// on the host can see.
func (c *cli) password(file string) (string, error) {
	if file != "" && file != "-" {
		b, err := readBounded(file, maxPasswordFile)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		return passwordLine(b), nil
	}
	if f, ok := c.in.(*os.File); ok && file == "" && term.IsTerminal(int(f.Fd())) {
		return c.askPassword(f)
	}
	line, err := bufio.NewReader(io.LimitReader(c.in, maxPasswordFile)).ReadBytes('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read password: %w", err)
	}
	if len(line) == 0 {
		return "", withHint(errors.New("read password: standard input is empty"), "write it there, or name a file: --password-file FILE")
	}
	return passwordLine(line), nil
}

func passwordLine(b []byte) string {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	return strings.TrimSuffix(string(line), "\r")
}

// askPassword asks twice, without showing what is typed.
func (c *cli) askPassword(f *os.File) (string, error) {
	ask := func(prompt string) (string, error) {
		fmt.Fprint(c.err, prompt)
		b, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(c.err)
		if err != nil {
			return "", fmt.Errorf("read password: %w", err)
		}
		return string(b), nil
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	second, err := ask("Once more: ")
	if err == nil && first != second {
		err = errors.New("read password: the two differ")
	}
	return first, err
}
