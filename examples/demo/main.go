// Command demo plays Fairlead on real containers: a commit becomes running containers, a bad commit does no harm, a
// sick release is rolled back, drift is healed, git revert brings the old state back, releases arrive by themselves and
// are undone when they are bad, a corporate authority signs and rotates the certificate, and connectors bring data that
// answers queries all the while, with a steady stream of requests through the front. It brings its own registry, images,
// authority and database, needs no internet, checks everything that it claims, and leaves things running to look around
// in. The story is the tables in steps.go, releases.go, corporate.go and data.go; nothing but the demo belongs here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: demo [flags]           play the demo and leave things running
       demo [flags] down      remove everything that the demo made

flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	opt, command, err := parse(args, errs)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	d, err := newDemo(opt, out)
	if err == nil {
		err = d.command(ctx, command)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return 130 // as a shell reports SIGINT
	}
	fmt.Fprintln(errs, "demo: "+err.Error())
	return 1
}

func (d *demo) command(ctx context.Context, name string) error {
	switch name {
	case "":
		return d.playLocked(ctx)
	case "down":
		return d.downLocked(ctx)
	case "registry": // what play starts in the background
		return serveRegistry(ctx, d.place)
	case "authority":
		return serveAuthority(ctx, d.place)
	case "postgres":
		return servePostgres(ctx, d.place)
	}
	return fmt.Errorf("unknown command %q: there are down and, without a name, the demo itself", name)
}

func parse(args []string, errs io.Writer) (options, string, error) {
	var opt options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&opt.dir, "dir", "", "where everything is kept (default $XDG_STATE_HOME or ~/.local/state, fairlead-demo in it)")
	flags.StringVar(&opt.name, "name", "demo", "name of the instance, and with it of the containers")
	flags.StringVar(&opt.bin, "bin", "bin/fairlead", "where the fairlead binary is built")
	flags.IntVar(&opt.rate, "rate", perSecond, "how many requests a second the users of the app make, 1 to 1000")
	flags.Usage = func() { fmt.Fprint(errs, usage); flags.PrintDefaults() }
	if err := flags.Parse(args); err != nil {
		return opt, "", err
	}
	if opt.rate < 1 || opt.rate > 1000 {
		fmt.Fprintln(errs, "demo: use -rate: it is from 1 to 1000")
		return opt, "", errors.New("rate out of bounds")
	}
	if flags.NArg() > 1 {
		flags.Usage()
		return opt, "", errors.New("too many arguments")
	}
	return opt, flags.Arg(0), nil
}
