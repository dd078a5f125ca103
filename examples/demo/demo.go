package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/examples/ports"
	"github.com/fairlead/fairlead/server"
)

// demo is one run of the program.
type demo struct {
	place
	out       printer
	bin       string
	port      string // of the front, on loopback
	rate      int    // of requests, a second
	client    *server.Client
	users     *users            // nil: nobody is there yet
	view      view              // of the step's outcome
	before    map[string]string // container IDs by service when the step began
	authority *authority
	leaf      *x509.Certificate // that the authority signed last
	key       string            // of this host, as the first handshake shows it
	asked     time.Time         // when the step's change began
	asker     *asker            // nil: nobody queries yet
	login     login             // to the pages
}

func newDemo(opt options, out io.Writer) (*demo, error) {
	p, err := newPlace(opt)
	if err != nil {
		return nil, err
	}
	bin, err := filepath.Abs(opt.bin)
	if err != nil {
		return nil, fmt.Errorf("use -bin: %w", err)
	}
	return &demo{place: p, out: newPrinter(out), bin: bin, rate: opt.rate, client: server.NewClient(p.socket(), "")}, nil
}

var errInterrupted = errors.New("interrupted")

// playLocked plays the demo. When it is interrupted, everything that it made goes again.
func (d *demo) playLocked(ctx context.Context) error {
	if err := d.claim(); err != nil {
		return err
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	err = d.play(ctx)
	if ctx.Err() == nil {
		return err
	}
	d.out.line("\nInterrupted. Everything that the demo made is removed.")
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), downLimit)
	defer cancel()
	return errors.Join(errInterrupted, d.down(limited))
}

const downLimit = 2 * time.Minute

func (d *demo) play(ctx context.Context) error {
	began := time.Now()
	if err := d.setUp(ctx); err != nil {
		return err
	}
	defer func() { d.users.leave(); d.asker.leave() }()
	all := steps()
	for i, s := range all {
		if err := d.playStep(ctx, fmt.Sprintf("%d/%d  %s", i+1, len(all), s.title), s); err != nil {
			return fmt.Errorf("step %q: %w\n%s", s.title, err, d.lookAround("What is there can be looked at:"))
		}
	}
	if err := d.userTotal(); err != nil {
		return err
	}
	if err := d.finish(ctx); err != nil {
		return err
	}
	d.out.line("\nThe demo took %s.", seconds(time.Since(began)))
	return nil
}

// finish shows where things stand and how to go on.
func (d *demo) finish(ctx context.Context) error {
	d.out.heading("Where things stand")
	for _, command := range [][]string{{"status"}, {"history"}} {
		if err := d.show(ctx, command...); err != nil {
			return err
		}
	}
	d.out.line("%s", d.lookAround("Everything is left running. To look around:"))
	return d.showPages(ctx)
}

func (d *demo) lookAround(intro string) string {
	return fmt.Sprintf(`
%[1]s

  export FAIRLEAD_CONFIG=%[2]s
  %[3]s status %[4]s
  %[3]s why app
  %[3]s events --follow
  docker compose -p %[4]s ps
  %[3]s cert show corporate
  %[3]s tables
  %[3]s query "SELECT * FROM customers"
  curl -k --resolve %[8]s:%[5]s:127.0.0.1 %[9]s
  git -C %[6]s log --oneline    # edit instances/%[4]s there, commit, and watch

The daemon's log is %[7]s. To remove everything: make demo-down`,
		intro, d.config(), d.bin, d.name, d.port, d.repo(), d.in("daemon.log"), d.host(), d.url("/version"))
}

// fairlead runs the program as a person would.
func (d *demo) fairlead(ctx context.Context, args ...string) (string, error) {
	return output(ctx, "", []string{"FAIRLEAD_CONFIG=" + d.config()}, append([]string{d.bin}, args...)...)
}

// fairleadCode is fairlead for commands that tell by their exit code how something ended.
func (d *demo) fairleadCode(ctx context.Context, args ...string) (int, string, error) {
	said, err := d.fairlead(ctx, args...)
	var exit *exec.ExitError
	if errors.As(err, &exit) && ctx.Err() == nil {
		return exit.ExitCode(), firstLine(said), nil
	}
	return 0, firstLine(said), err
}

// show prints a command with what it says. Tables are cut off where the terminal ends, as the command itself would do.
func (d *demo) show(ctx context.Context, args ...string) error {
	text, err := d.fairlead(ctx, args...)
	if err != nil {
		return err
	}
	write := d.out.table
	if args[0] == "why" || slices.Contains(args, "--full") {
		write = d.out.block
	}
	d.out.line("")
	write("$", append([]string{"fairlead " + strings.Join(args, " ")}, indented(text)...))
	return nil
}

// downLocked removes what an earlier run left.
func (d *demo) downLocked(ctx context.Context) error {
	if d.ours() {
		unlock, err := d.lock()
		if err != nil {
			return err
		}
		defer unlock()
	}
	if err := d.down(ctx); err != nil {
		return err
	}
	d.out.line("Nothing of the demo is left.")
	return nil
}

// down stops what runs and removes what was made. It may be repeated after it was cut off.
func (d *demo) down(ctx context.Context) error {
	if err := errors.Join(d.stop(ctx, "daemon"), d.stop(ctx, "registry"), d.stop(ctx, "authority"), d.stop(ctx, "postgres"), d.removePostgres()); err != nil {
		return err
	}
	if _, err := docker(ctx, "version"); err != nil {
		if !d.ours() {
			return nil // no engine, and nothing was ever made
		}
		return fmt.Errorf("remove containers (start the engine by scripts/engine.sh up): %w", err)
	}
	if err := d.removeObjects(ctx); err != nil {
		return err
	}
	return d.remove()
}

// setUp makes everything that the story needs, after what an earlier demo left is gone.
func (d *demo) setUp(ctx context.Context) error {
	d.out.heading("Setting up in " + d.dir)
	for _, part := range []struct {
		says string
		do   func(context.Context) error
	}{
		{"a Docker engine answers", d.engineUp},
		{"nothing is left of an earlier demo", d.cleared},
		{"bin/fairlead is built", d.build},
		{"a registry serves ten releases of the app, of which some are sick", d.registryUp},
		{"openssl is there", d.opensslThere},
		{"a corporate authority, with a web server of its own", d.authorityUp},
		{"a git repository, with nothing in it yet", d.initRepository},
		{"a password that only this host knows, for the smoke test", d.writeSecret},
		{"a PostgreSQL with the customers of a shop", d.postgresUp},
		{"an image with Python", d.pythonThere},
		{"the daemon follows it", d.daemonUp},
		{"the first administrator", d.signInUp},
	} {
		began := time.Now()
		if err := part.do(ctx); err != nil {
			return err
		}
		d.out.block("", []string{fmt.Sprintf("%s (%s)", part.says, seconds(time.Since(began)))})
	}
	d.out.line("\nEach step can be watched at %s", d.login)
	return nil
}

// cleared removes an earlier demo and takes the directory again.
func (d *demo) cleared(ctx context.Context) error {
	if err := errors.Join(d.stop(ctx, "daemon"), d.stop(ctx, "registry"), d.stop(ctx, "authority"), d.stop(ctx, "postgres"), d.removePostgres(), d.removeObjects(ctx)); err != nil {
		return err
	}
	return d.empty()
}

func (d *demo) engineUp(ctx context.Context) error {
	if _, err := docker(ctx, "version"); err == nil {
		return nil
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	_, err = output(ctx, root, nil, "scripts/engine.sh", "up")
	return err
}

func (d *demo) build(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	_, err = output(ctx, root, []string{"CGO_ENABLED=1"}, "go", "build", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version=demo", "-o", d.bin, "./cmd/fairlead")
	return err
}

// moduleRoot is the checkout: the directory of go.mod at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("find checkout: run the demo inside it (make demo)")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

func (d *demo) registryUp(ctx context.Context) error {
	port, err := ports.Free()
	if err != nil {
		return err
	}
	d.port = strconv.Itoa(port)
	_, err = d.startRegistry(ctx)
	return err
}

const daemonLimit = 2 * time.Minute

func (d *demo) daemonUp(ctx context.Context) error {
	port, err := ports.Free()
	if err != nil {
		return err
	}
	d.login.address = "127.0.0.1:" + strconv.Itoa(port)
	config := fmt.Sprintf("repo: %q\npaths: [instances/*]\ndata: %q\ndockerHost: %q\npoll: 5s\nfront: {http: \"off\", https: %q}\nserver: {listen: %q}\n%s",
		d.repo(), d.data(), engineHost(), d.front(), d.login.address, d.fetchSettings())
	if err := writeFile(d.config(), config); err != nil {
		return fmt.Errorf("configure daemon: %w", err)
	}
	if err := d.start("daemon", d.bin, "--config", d.config(), "run"); err != nil {
		return err
	}
	ended := false
	err = waitUntil(ctx, daemonLimit, func() bool {
		_, runs := d.running("daemon")
		ended = !runs
		return ended || d.client.Alive(ctx) == nil
	})
	if err == nil && ended {
		err = errors.New("it ended")
	}
	if err != nil {
		return fmt.Errorf("start daemon: %w\n%s", err, d.tail("daemon"))
	}
	return nil
}
