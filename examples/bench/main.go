// Command bench measures Fairlead beside docker compose and beside the floor under both, the raw calls of the engine's
// API, in one run on one machine, and prints ratios. It brings its own registry, images and repositories, gives every
// object of the engine a name of its own and removes them all at the end. What is measured against what, and how to
// read it, is in docs/benchmarks.md. Nothing but measuring belongs here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// options are what the command line says.
type options struct {
	out   string // the file of figures for programs; empty: none
	quick bool
	only  []string
	bin   string // a fairlead that is built already

	switches int // of the soak
}

// section is one group of measurements.
type section struct {
	name  string
	run   func(context.Context, *bench) error
	named bool // it runs only when it is asked for by name
}

func sections() []section {
	return []section{
		{name: "noop", run: measureNoop},
		{name: "change", run: measureChange},
		{name: "rollback", run: measureRollback},
		{name: "deploy", run: measureDeploy},
		{name: "idle", run: measureIdle},
		{name: "front", run: measureFront},
		{name: "gap", run: measureGap},
		{name: "data", run: measureData},
		{name: "server", run: measureServer},
		{name: "soak", run: measureSoak, named: true},
	}
}

func run(args []string, out, errs io.Writer) int {
	if len(args) > 0 && args[0] == "part" {
		return runChild(args[1:], os.Stdin, out, errs)
	}
	opt, err := parse(args, errs)
	if err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err = measure(ctx, opt, out, errs)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(errs, "bench: interrupted; what it made is removed")
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(errs, "bench: "+err.Error())
		}
		return 130 // as a shell reports SIGINT
	case err != nil:
		fmt.Fprintln(errs, "bench: "+err.Error())
		return 1
	}
	return 0
}

func parse(args []string, errs io.Writer) (options, error) {
	var opt options
	var only string
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.StringVar(&opt.out, "o", "", "file that the figures are written to as JSON")
	flags.BoolVar(&opt.quick, "quick", false, "fewer rounds and containers: shows that it works, not how fast")
	flags.StringVar(&only, "only", "", "sections to run, of noop,change,rollback,deploy,idle,front,gap,data,server,soak (default all but soak)")
	flags.IntVar(&opt.switches, "n", 1000, "switches of the soak, in waves of ten")
	flags.StringVar(&opt.bin, "bin", "", "fairlead binary to measure (default: one is built from this checkout)")
	if err := flags.Parse(args); err != nil {
		return opt, err
	}
	err := checkOnly(&opt, only)
	if err == nil && opt.switches < 1 {
		err = fmt.Errorf("-n %d: is not a number of switches", opt.switches)
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(errs, "bench: "+err.Error())
	}
	return opt, err
}

func checkOnly(opt *options, only string) error {
	if only == "" {
		return nil
	}
	opt.only = strings.Split(only, ",")
	for _, name := range opt.only {
		if !slices.ContainsFunc(sections(), func(s section) bool { return s.name == name }) {
			return fmt.Errorf("-only %s: there is no section %q", only, name)
		}
	}
	return nil
}

const cleanLimit = 5 * time.Minute

// measure runs the sections, and removes what they made however they end.
func measure(ctx context.Context, opt options, out, errs io.Writer) (err error) {
	b, err := newBench(opt, errs)
	if err != nil {
		return err
	}
	defer func() {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanLimit)
		defer cancel()
		err = errors.Join(err, b.close(limited))
	}()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	for _, s := range sections() {
		if !slices.Contains(opt.only, s.name) && (s.named || len(opt.only) > 0) {
			continue
		}
		began := time.Now()
		if err := s.run(ctx, b); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
		b.tell("%s took %s", s.name, time.Since(began).Round(time.Second))
	}
	b.print(out)
	if opt.out == "" {
		return nil
	}
	return b.write(opt.out)
}
