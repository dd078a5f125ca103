package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

func (c *cli) runCommand() *cobra.Command {
	var once bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Runs the daemon: follows the repository and keeps the containers as it says.
It ends with SIGTERM or SIGINT; the containers keep running.

With --once it makes one pass over every instance and ends with the worst of
their exit codes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !once && timeout != 0 {
				return errors.New("--timeout needs --once")
			}
			s, err := c.settings()
			if err != nil {
				return err
			}
			if once {
				return c.once(cmd.Context(), s, timeout)
			}
			return c.daemon(cmd.Context(), s)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "make one pass, wait for its outcome, and end")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --once: give up after this time (exit code 7)")
	return cmd
}

// logger sets the log up, once for the process.
func (c *cli) logger(s settings) *logrus.Entry {
	l := logrus.New()
	l.SetOutput(c.err)
	l.SetFormatter(&logrus.TextFormatter{FullTimestamp: true, DisableColors: !bool(c.paint(c.err))})
	if s.LogFormat == "json" {
		l.SetFormatter(&logrus.JSONFormatter{})
	}
	return logrus.NewEntry(l)
}

// start opens the data directory and puts the system together.
func (c *cli) start(s settings, l *lead, log *logrus.Entry, alone bool) (*system, error) {
	d, err := openData(s.Data)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.ensureRepo(), s.keyring().make(), s.commitKey().make()); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	sys, err := c.assemble(s, d, l, log, alone)
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	if err := sys.recall(log); err != nil {
		return nil, errors.Join(err, sys.Close())
	}
	return sys, nil
}

// daemon runs until ctx ends.
func (c *cli) daemon(ctx context.Context, s settings) error {
	c.useMemoryFor(false)
	log := c.logger(s)
	passed, err := inheritSockets(c.getenv, os.Getpid())
	if err != nil {
		return err
	}
	front := newLead(s, passed, log)
	if front != nil {
		front.onRoutes = c.useMemoryFor
	}
	sys, err := c.start(s, front, log, false)
	if err != nil {
		return errors.Join(err, passed.Close())
	}
	defer func() {
		if err := sys.Close(); err != nil {
			log.WithError(err).Error("Close data directory")
		}
	}()
	listener, err := server.Listen(filepath.Join(s.Data, "fairlead.sock"))
	if err != nil {
		return err
	}
	log.WithFields(logrus.Fields{"version": c.version, "repo": redactURL(s.Repo), "data": s.Data}).Info("Start")
	err = sys.serve(ctx, listener, log, func(state string) { c.notifySystemd(log, state) })
	log.Info("Stop; the containers keep running")
	return err
}

// serve runs the parts until ctx ends or one of them fails.
func (s *system) serve(ctx context.Context, l net.Listener, log *logrus.Entry, notify func(string)) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.api.Serve(ctx, l) })
	group.Go(func() error { runPeople(ctx, s.people, log); return nil })
	if s.lead != nil {
		group.Go(func() error { return s.lead.Run(ctx) })
	}
	if s.entrance != nil {
		visitors, leave := s.visitors(log)
		defer leave()
		group.Go(func() error { return s.entrance.Run(ctx, visitors) })
	}
	if s.notices != nil {
		group.Go(func() error { return unlessDone(ctx, s.notices.Run(ctx)) })
	}
	group.Go(func() error { s.keepCopies(ctx, log); return nil })
	s.firstLook(ctx, group, log)
	group.Go(func() error { return s.repo.Run(ctx) })
	group.Go(func() error { return unlessDone(ctx, s.releases.Run(ctx)) })
	group.Go(func() error { return s.manager.Run(ctx) })
	group.Go(func() error { return unlessDone(ctx, s.certs.Run(ctx)) })
	group.Go(func() error { return unlessDone(ctx, s.sources.Run(ctx)) })
	group.Go(func() error { freeMemory(ctx, s.events, s.repo.Changed(), s.copies.Made(), log); return nil })
	notify("READY=1")
	<-ctx.Done()
	notify("STOPPING=1")
	err := group.Wait()
	if copied := s.copies.Save(); copied != nil {
		log.WithError(copied).Error("Copy the database")
	}
	return err
}

// firstLookTime is how long the first pass waits for the newest revision. A
// remote that hangs must not keep the front from leading requests to what runs.
const firstLookTime = 5 * time.Second

// firstLook reads the repository before the first pass, so that it finds the
// newest revision.
func (s *system) firstLook(ctx context.Context, group *errgroup.Group, log *logrus.Entry) {
	read := make(chan error, 1)
	group.Go(func() error { read <- s.repo.Sync(ctx); return nil })
	timer := time.NewTimer(firstLookTime)
	defer timer.Stop()
	select {
	case err := <-read:
		if err != nil && ctx.Err() == nil {
			log.WithError(err).Warn("Read repository; what is known of it counts until it can be read")
		}
	case <-timer.C:
		log.Warn("The repository is still being read; what is known of it counts until then")
	case <-ctx.Done():
	}
}

// unlessDone leaves out the error of a part that ended because it was to.
func unlessDone(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// useMemoryFor trades a little processor time for memory as long as no requests
// are led, unless the operator set the Go runtime otherwise. Under requests the
// collector would take a good part of the processor.
func (c *cli) useMemoryFor(requests bool) {
	if c.getenv("GOGC") != "" {
		return
	}
	percent := 50
	if requests {
		percent = 100
	}
	debug.SetGCPercent(percent)
}

// restAfter is how long nothing happens before memory is given back, and
// pagesEvery how often the pages of the program are, at rest: looking at the
// repository and the containers brings most of them in again.
const (
	restAfter  = 5 * time.Second
	pagesEvery = time.Second
)

// freeMemory gives memory back to the system some time after something was
// done: reading a repository and the compose files takes many times what is
// kept of them, and looking at a copy of the database does.
func freeMemory(ctx context.Context, events *reconciler.Events, changed, copied <-chan struct{}, log *logrus.Entry) {
	happened, stop := events.Listen()
	defer stop()
	timer, ticker := time.NewTimer(restAfter), time.NewTicker(pagesEvery)
	defer timer.Stop()
	defer ticker.Stop()
	program, err := programPages()
	if err != nil {
		log.WithError(err).Warn("Rest with the whole program in memory")
	}
	resting := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-happened:
			resting = false
			timer.Reset(restAfter)
		case <-changed:
			resting = false
			timer.Reset(restAfter)
		case <-copied:
			timer.Reset(restAfter)
		case <-timer.C:
			resting = true
			debug.FreeOSMemory()
		case <-ticker.C:
			if !resting {
				continue
			}
			if err := program.giveBack(); err != nil {
				log.WithError(err).Warn("Rest with the whole program in memory")
				program = nil
			}
		}
	}
}

// once makes one pass over every instance.
func (c *cli) once(ctx context.Context, s settings, timeout time.Duration) error {
	ctx, cancel := withTimeout(ctx, timeout)
	defer cancel()
	return inTime(ctx, c.onceWithin(ctx, s))
}

func (c *cli) onceWithin(ctx context.Context, s settings) error {
	log := c.logger(s)
	sys, err := c.start(s, nil, log, true)
	if err != nil {
		return err
	}
	defer sys.Close()
	source, err := sys.api.Sync(ctx)
	if err := firstError(context.Cause(ctx), err); err != nil {
		return &exitError{codeOfError(err), err}
	}
	instances := sys.manager.Instances()
	if len(instances) == 0 && len(source.Problems) > 0 {
		return &exitError{exitRefused, noInstance(source)}
	}
	if len(instances) == 0 {
		return noInstance(source)
	}
	code := c.complainOfSource(source)
	codes := make([]int, len(instances))
	group := new(errgroup.Group)
	for i, r := range instances {
		group.Go(func() error {
			codes[i] = c.onceOne(ctx, sys, r.Name())
			return nil
		})
	}
	_ = group.Wait() // none of them returns an error
	for _, one := range codes {
		code = worse(code, one)
	}
	overview := server.Overview{Source: source}
	for _, r := range instances {
		overview.Instances = append(overview.Instances, r.Status())
	}
	width, _ := terminal(c.out)
	printOverview(c.out, c.paint(c.out), overview, time.Now(), width)
	return exitWith(code)
}

func (c *cli) onceOne(ctx context.Context, sys *system, name string) int {
	result, err := sys.api.Reconcile(ctx, name, server.ReconcileRequest{Wait: true}, nil)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.complain(fmt.Errorf("%s: %w", name, err))
		return codeOfError(err)
	}
	code := codeOfResult(result, lastRecord(ctx, sys.api, name))
	if err := sys.certs.Sync(ctx, name); err != nil {
		c.complain(fmt.Errorf("%s: %w", name, err))
		code = worse(code, codeOfError(err))
	}
	return code
}

func lastRecord(ctx context.Context, b interface {
	History(ctx context.Context, name string, limit int) ([]reconciler.Record, error)
}, name string) *reconciler.Record {
	list, err := b.History(ctx, name, 1)
	if err != nil || len(list) == 0 {
		return nil
	}
	return &list[0]
}

// errTimeout ends what --timeout bounds.
var errTimeout = errors.New("timed out")

func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("%w after %s", errTimeout, d))
}

// inTime says that the time was over where that is what an operation failed of,
// at whichever step: scripts go by the code.
func inTime(ctx context.Context, err error) error {
	over := context.Cause(ctx)
	if errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, errTimeout) && errors.Is(over, errTimeout) {
		return &exitError{exitTimeout, over}
	}
	return err
}

// notifySystemd tells the service manager where one asks to be told, as
// sd_notify(3) has it. An address that begins with @ is an abstract one.
func (c *cli) notifySystemd(log *logrus.Entry, state string) {
	address := c.getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	if err := sendState(address, state); err != nil {
		log.WithError(err).Warn("Notify systemd")
	}
}

func sendState(address, state string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(state + "\n"))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("it does not read")
	}
	return err
}
