package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/reconciler/verify"
)

// smokeOptions are the flags of fairlead smoke.
type smokeOptions struct {
	url, file, instance            string
	timeout, wait                  time.Duration
	retries                        int
	email, passwordFile, tokenFile string
	ca                             string
	insecure                       bool
}

func (c *cli) smokeCommand() *cobra.Command {
	var o smokeOptions
	cmd := &cobra.Command{
		Use:   "smoke --url URL",
		Short: "Ask a running application whether it works, step by step",
		Long: `Makes the smoke steps of a file, of an instance, or the built-in sequence (health,
version, bootstrap, token, query, sync, health again) against an application
that runs anywhere. It needs no daemon and no container engine.

The built-in sequence logs in with FAIRLEAD_SMOKE_EMAIL and
FAIRLEAD_SMOKE_PASSWORD (or --email and --password-file), and makes the first
administrator of these when there is none; with --token-file it does neither.
${secret:NAME} in a file is the environment variable NAME.

No answer, and 502, 503 or 504, are tried again; a wrong answer is not. A step
that could not be tested is told apart from one that failed.

Exit codes here: 0 all steps passed; 6 a step failed; 1 a step could not be
tested, or the command is wrong; 7 --timeout is over.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.smoke(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.url, "url", "", "where the application is, as http://HOST:PORT or https://HOST")
	f.StringVar(&o.file, "file", "", "the steps: a list, or an instance.yaml")
	f.StringVar(&o.instance, "instance", "", "directory of an instance, whose smoke steps are made")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "longest time for all steps together")
	f.IntVar(&o.retries, "retries", desired.DefaultStepRetries, "how often a step that says nothing else is tried again when no answer came")
	f.DurationVar(&o.wait, "wait", 5*time.Second, "pause before the last step of the built-in sequence")
	f.StringVar(&o.email, "email", "", "who logs in (default FAIRLEAD_SMOKE_EMAIL)")
	f.StringVar(&o.passwordFile, "password-file", "", "file with the password (default FAIRLEAD_SMOKE_PASSWORD itself)")
	f.StringVar(&o.tokenFile, "token-file", "", "file with a bearer token, in place of logging in")
	f.StringVar(&o.ca, "ca", "", "file with the certificates that sign the application's, in place of the system's")
	f.BoolVar(&o.insecure, "insecure", false, "take any certificate")
	c.outputFlag(cmd)
	return cmd
}

// smoked is what -o json prints.
type smoked struct {
	URL    string          `json:"url"`
	Status verify.Status   `json:"status"`
	Took   time.Duration   `json:"duration_ns"`
	Steps  []verify.Result `json:"steps"`
}

func (c *cli) smoke(ctx context.Context, o smokeOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	steps, known, err := c.smokeSteps(o)
	if err != nil {
		return err
	}
	roots, err := o.tls()
	if err != nil {
		return err
	}
	secret, err := c.smokeSecrets(o)
	if err != nil {
		return err
	}
	retries := o.retries
	if retries == 0 {
		retries = -1 // verify takes 0 for "not said"
	}
	prober := verify.New(verify.Options{TLS: roots, Secret: secret, Retries: retries})
	limited, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	var tell func(verify.Result)
	if c.format == "" {
		tell = c.smokePrinter(steps)
	}
	report := prober.Run(limited, o.url, steps, known, tell)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	out := smoked{URL: o.url, Status: report.Status(), Took: report.Took, Steps: report.Steps}
	done, err := c.structured(out)
	if err != nil {
		return err
	}
	code := codeOfSmoke(report)
	if !done {
		c.printSmoked(out, o, code)
	}
	return exitWith(code)
}

// codeOfSmoke is the exit code of a run of smoke steps.
func codeOfSmoke(r verify.Report) int {
	switch {
	case errors.Is(r.Err, context.DeadlineExceeded):
		return exitTimeout
	case r.Status() == verify.Failed:
		return exitRefused
	case r.Status() == verify.CannotTest:
		return exitError1
	}
	return exitDone
}

func (o smokeOptions) check() error {
	own := o.file != "" || o.instance != ""
	_, wrong := verify.Address(o.url)
	switch {
	case o.url == "":
		return withHint(errors.New("--url is needed"), "for example --url http://127.0.0.1:8000")
	case wrong != nil:
		return fmt.Errorf("--url %w", wrong)
	case o.file != "" && o.instance != "":
		return errors.New("--file and --instance both say which steps: give one")
	case own && o.tokenFile != "":
		return withHint(errors.New("--token-file is of the built-in sequence only"), `write headers: {Authorization: "Bearer ${secret:NAME}"} into the steps`)
	case o.tokenFile != "" && (o.email != "" || o.passwordFile != ""):
		return errors.New("--token-file stands in place of --email and --password-file: give one")
	case o.ca != "" && o.insecure:
		return errors.New("--insecure takes any certificate, so that --ca says nothing: give one")
	case o.retries < 0 || o.retries > 20:
		return fmt.Errorf("--retries: %d is not between 0 and 20", o.retries)
	case o.timeout <= 0:
		return fmt.Errorf("--timeout: %s is no time", o.timeout)
	case o.wait < 0:
		return fmt.Errorf("--wait: %s is no time", o.wait)
	}
	return nil
}

// smokeSteps are the steps, and the variables that are known before them.
func (c *cli) smokeSteps(o smokeOptions) ([]verify.Step, map[string]string, error) {
	file := o.file
	if o.instance != "" {
		file = filepath.Join(o.instance, "instance.yaml")
	}
	if file != "" {
		data, err := readSmall(file)
		if err != nil {
			return nil, nil, err
		}
		steps, err := desired.ParseSmoke(file, data)
		return verify.Steps(steps), nil, err
	}
	var known map[string]string
	if o.tokenFile != "" {
		token, err := readLine(o.tokenFile)
		if err != nil {
			return nil, nil, err
		}
		known = map[string]string{verify.TokenVariable: token}
	}
	return verify.DefaultSteps(verify.Defaults{Token: known != nil, Wait: o.wait, Retries: o.retries}), known, nil
}

// smokeSecrets says what ${secret:NAME} is: the environment, and for the
// built-in sequence what flags say instead.
func (c *cli) smokeSecrets(o smokeOptions) (func(string) (string, bool), error) {
	given := map[string]string{}
	if o.email != "" {
		given[verify.EmailSecret] = o.email
	}
	if o.passwordFile != "" {
		password, err := readLine(o.passwordFile)
		if err != nil {
			return nil, err
		}
		given[verify.PasswordSecret] = password
	}
	return func(name string) (string, bool) {
		if v, there := given[name]; there {
			return v, true
		}
		v := c.getenv(name)
		return v, v != ""
	}, nil
}

func (o smokeOptions) tls() (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: o.insecure}
	if o.ca == "" {
		return cfg, nil
	}
	data, err := readSmall(o.ca)
	if err != nil {
		return nil, err
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("read %s: it holds no certificate in PEM", o.ca)
	}
	return cfg, nil
}

// readSmall reads a file of at most 1 MiB.
func readSmall(name string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > most {
		return nil, fmt.Errorf("read %s: it is larger than 1 MiB", name)
	}
	return data, nil
}

// readLine reads a file with one line, which may be secret.
func readLine(name string) (string, error) {
	data, err := readSmall(name)
	if err != nil {
		return "", err
	}
	line := strings.TrimSpace(string(data))
	if line == "" || strings.ContainsAny(line, "\r\n") {
		return "", fmt.Errorf("read %s: it does not hold one line", name)
	}
	return line, nil
}

// smokePrinter prints a line for each step as it ends.
func (c *cli) smokePrinter(steps []verify.Step) func(verify.Result) {
	name, request := 0, 0
	for _, s := range verify.Pending(steps) {
		name = max(name, utf8.RuneCountInString(s.Name))
		request = max(request, utf8.RuneCountInString(s.Request))
	}
	request = min(request, 48)
	p := c.paint(c.out)
	return func(r verify.Result) {
		mark := map[verify.Status]string{verify.Passed: p.green("✓"), verify.Failed: p.red("✗"),
			verify.CannotTest: p.yellow("?"), verify.Skipped: p.dim("-")}[r.Status]
		line := fmt.Sprintf("%s %-*s  %-*s", mark, name, oneLine(r.Name), request, clip(oneLine(r.Request), 48))
		if r.Status == verify.Skipped {
			fmt.Fprintf(c.out, "%s  %s\n", line, p.dim("skipped: "+oneLine(r.Message)))
			return
		}
		line += "  " + reconciler.Took(r.Took)
		if r.Tries > 1 {
			line += fmt.Sprintf(", %d tries", r.Tries)
		}
		fmt.Fprintln(c.out, line)
		switch r.Status {
		case verify.Failed:
			fmt.Fprintf(c.out, "    expected  %s\n    found     %s\n", oneLine(r.Expected), oneLine(r.Found))
		case verify.CannotTest:
			fmt.Fprintf(c.out, "    cannot test: %s\n", oneLine(r.Message))
		}
	}
}

func (c *cli) printSmoked(s smoked, o smokeOptions, code int) {
	p, counts := c.paint(c.out), map[verify.Status]int{}
	for _, step := range s.Steps {
		counts[step.Status]++
	}
	parts := []string{fmt.Sprintf("%d passed", counts[verify.Passed])}
	for _, other := range []struct {
		status verify.Status
		text   string
		paint  func(string) string
	}{{verify.Failed, "failed", p.red}, {verify.CannotTest, "could not be tested", p.yellow}, {verify.Skipped, "skipped", p.dim}} {
		if n := counts[other.status]; n > 0 {
			parts = append(parts, other.paint(fmt.Sprintf("%d %s", n, other.text)))
		}
	}
	fmt.Fprintf(c.out, "%s in %s\n", commas(parts), reconciler.Took(s.Took))
	if code == exitTimeout {
		c.saySmokeTimedOut(s, o)
		return // what the step lacked was time, whatever else it lacks
	}
	if o.file == "" && o.instance == "" && c.noCredentials(o) && counts[verify.Passed] > 0 && s.Status == verify.CannotTest {
		fmt.Fprintf(c.out, "  set %s and %s, or give --email and --password-file, or --token-file\n", verify.EmailSecret, verify.PasswordSecret)
	}
}

// saySmokeTimedOut says at which step the time ran out.
func (c *cli) saySmokeTimedOut(s smoked, o smokeOptions) {
	bad, found := verify.Report{Steps: s.Steps}.Bad()
	if !found {
		return
	}
	fmt.Fprintf(c.out, "  the time ran out at step %q: --timeout %s is for all steps together; give more, or see what is slow\n", oneLine(bad.Name), o.timeout)
}

// noCredentials says that the built-in sequence could not log in.
func (c *cli) noCredentials(o smokeOptions) bool {
	return o.tokenFile == "" && (o.email == "" && c.getenv(verify.EmailSecret) == "" ||
		o.passwordFile == "" && c.getenv(verify.PasswordSecret) == "")
}
