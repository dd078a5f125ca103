// Command app is the small real program that the examples, the demo and the tests deploy: an HTTP server with a health
// endpoint and a version, the part of the data application's API that a smoke test speaks, streams of every kind that a
// proxy must pass on, a health check that works in an image without a shell, a one-shot job and a file writer.
// One static binary serves every image; what makes a build sick, slow or crashing is environment baked into the
// image, so compose can override it as well; config.go lists it. Only the standard library may be imported: the binary
// runs FROM scratch and its cached build is keyed by the sources of this directory alone.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "app:", err)
	var exit exitError
	if errors.As(err, &exit) {
		os.Exit(exit.code) //nolint:gocritic // the process ends here; the deferred stop has nothing left to do
	}
	os.Exit(1)
}

const usage = `usage: app [serve]            serve HTTP on $PORT (default 8000)
       app healthcheck        exit 0 when the server on $PORT says it is healthy, else 1
       app job [N] [DURATION] run once for DURATION (default 0s), then exit N (default 0)
       app write PATH [TEXT]  write TEXT (default the version) to PATH atomically
       app version            print the version`

// exitError ends the process with a chosen status.
type exitError struct {
	code   int
	reason string
}

func (e exitError) Error() string { return e.reason }

// run is main without the process: it dispatches one subcommand. Environment is read through getenv only.
func run(ctx context.Context, args []string, getenv func(string) string, out io.Writer) error {
	cfg, err := readConfig(getenv)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch args[0] {
	case "serve":
		return serve(ctx, cfg, out)
	case "healthcheck":
		return healthcheck(ctx, cfg.port)
	case "job":
		return job(ctx, cfg, args[1:], out)
	case "write":
		return write(cfg, args[1:])
	case "version":
		_, err := fmt.Fprintln(out, cfg.version)
		return err
	default:
		return exitError{code: 2, reason: fmt.Sprintf("unknown command %q\n%s", args[0], usage)}
	}
}
