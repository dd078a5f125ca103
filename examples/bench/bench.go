package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/fairlead/fairlead/examples/registry"
)

// bench is one run: a place of its own, and what was made in it.
type bench struct {
	report
	opt     options
	log     io.Writer
	dir     string
	prefix  string // of every name that is given to the engine
	host    string // the engine's address
	bin     string // fairlead
	compose string // docker compose
	images  [3]string
	raw     raw
	reg     *registry.Registry
	daemons []*daemon
}

const defaultEngine = "unix:///var/run/docker.sock"

// newBench touches nothing but a temporary directory.
func newBench(opt options, log io.Writer) (*bench, error) {
	b := &bench{opt: opt, log: log, host: os.Getenv("DOCKER_HOST"), bin: opt.bin}
	if b.host == "" {
		b.host = defaultEngine
	}
	var err error
	if b.raw, err = dialRaw(b.host); err != nil {
		return nil, err
	}
	id := make([]byte, 3)
	_, _ = rand.Read(id) // it never fails
	b.prefix = "flbench" + hex.EncodeToString(id)
	if b.dir, err = os.MkdirTemp("", b.prefix); err != nil {
		return nil, fmt.Errorf("make working directory: %w", err)
	}
	return b, nil
}

// setUp finds the contenders, and brings the images onto the engine.
func (b *bench) setUp(ctx context.Context) error {
	if err := b.findCompose(); err != nil {
		return err
	}
	if err := b.build(ctx); err != nil {
		return err
	}
	var err error
	if b.reg, err = registry.Start(registry.Options{}); err != nil {
		return err
	}
	for i := range b.images {
		tag := fmt.Sprintf("v%d", i+1)
		b.images[i], _, err = b.reg.Push(ctx, b.prefix, tag, registry.App{Version: tag, NoHealthcheck: true})
		if err == nil {
			err = b.raw.pull(ctx, b.images[i])
		}
		if err != nil {
			return fmt.Errorf("make image %s: %w", tag, err)
		}
	}
	info, err := b.raw.cli.Info(ctx)
	if err != nil {
		return fmt.Errorf("ask engine: %w", err)
	}
	load, _ := os.ReadFile("/proc/loadavg") // only for people
	b.note("Engine %s, %d processors, %d other containers, load %.14s at the start, %s.", info.ServerVersion, info.NCPU,
		info.Containers, load, time.Now().UTC().Format(time.DateOnly))
	b.tell("engine %s, images are there", info.ServerVersion)
	return nil
}

// findCompose finds the binary that scripts/compose-oracle.sh makes.
func (b *bench) findCompose() error {
	b.compose = os.Getenv("FAIRLEAD_COMPOSE_ORACLE")
	if b.compose == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find docker compose: %w", err)
		}
		b.compose = filepath.Join(cache, "fairlead", "docker-compose-v2.40.3")
	}
	if _, err := os.Stat(b.compose); err != nil {
		return fmt.Errorf("find docker compose (scripts/compose-oracle.sh makes it): %w", err)
	}
	return nil
}

// build makes the binary that people get.
func (b *bench) build(ctx context.Context) error {
	if b.bin != "" {
		var err error
		b.bin, err = filepath.Abs(b.bin)
		return err
	}
	b.bin = filepath.Join(b.dir, "fairlead")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.version=bench",
		"-o", b.bin, "github.com/fairlead/fairlead/cmd/fairlead")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build fairlead: %w\n%s", err, text)
	}
	return nil
}

// close removes everything that the run made.
func (b *bench) close(ctx context.Context) error {
	var errs []error
	for _, d := range b.daemons {
		errs = append(errs, d.stop(ctx))
	}
	errs = append(errs, b.clear(ctx, ""))
	if b.reg != nil {
		errs = append(errs, b.reg.Forget(ctx), b.reg.Close())
	}
	errs = append(errs, os.RemoveAll(b.dir))
	return errors.Join(errs...)
}

// clear removes the containers and networks of one project, or of all of this run.
func (b *bench) clear(ctx context.Context, project string) error {
	return b.raw.remove(ctx, func(p string) bool {
		return p == project || project == "" && strings.HasPrefix(p, b.prefix+"-")
	})
}

// name makes a name that nothing else on the engine has.
func (b *bench) name(what string) string { return b.prefix + "-" + what }

// tell says to people how far it is.
func (b *bench) tell(format string, args ...any) {
	fmt.Fprintf(b.log, "bench: "+format+"\n", args...)
}

// rounds is how often something is measured.
func (b *bench) rounds(full, quick int) int {
	if b.opt.quick {
		return quick
	}
	return full
}

// output runs a program to its end. What it said is in its error.
func output(ctx context.Context, dir string, env []string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnvironment(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	text, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return string(text), context.Cause(ctx)
	}
	if err != nil {
		return string(text), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, text)
	}
	return string(text), nil
}

// cleanEnvironment is without what is meant for another daemon or repository.
func cleanEnvironment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAIRLEAD_") && !strings.HasPrefix(v, "GIT_") && !strings.HasPrefix(v, "COMPOSE_") {
			env = append(env, v)
		}
	}
	return env
}
