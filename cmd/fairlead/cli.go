package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// cli is one run of the program.
type cli struct {
	in        io.Reader
	out, err  io.Writer
	getenv    func(string) string
	version   string
	newEngine func(engineOptions) (engine, error)

	given  *given // what flags said
	config string // --config
	format string // -o
	quiet  bool
}

// main runs the program and returns its exit code.
func (c *cli) main(args []string) int {
	ctx, stop := untilSignal()
	defer stop()
	root := c.root()
	root.SetArgs(args)
	root.SetIn(c.in)
	root.SetOut(c.out)
	root.SetErr(c.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = &exitError{code: exitError1, err: err}
	}
	if e.err != nil && errors.Is(e.err, context.Canceled) && ctx.Err() != nil {
		e.err = errors.New("interrupted")
	}
	if e.err != nil {
		c.complain(e.err)
	}
	return e.code
}

// untilSignal returns a context that the first SIGINT or SIGTERM ends; the
// second one ends the process at once. stop ends the wait for signals, and
// returns when nothing waits any more.
func untilSignal() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals, over, ended := make(chan os.Signal, 2), make(chan struct{}), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(ended)
		for _, act := range []func(){cancel, func() { os.Exit(exitError1) }} {
			select {
			case <-signals:
				act()
			case <-over:
				return
			}
		}
	}()
	return ctx, sync.OnceFunc(func() {
		signal.Stop(signals)
		close(over)
		<-ended
		cancel()
	})
}

// complain prints an error for a person: what is wrong, and what to do.
func (c *cli) complain(err error) {
	p := c.paint(c.err)
	var problems desired.Problems
	var answer *server.Error
	switch {
	case errors.As(err, &answer) && len(answer.Problems) > 0:
		problems = answer.Problems
		fallthrough
	case errors.As(err, &problems):
		if head, _, found := strings.Cut(err.Error(), problems.Error()); found && head != "" {
			fmt.Fprintln(c.err, p.red("Error: ")+strings.TrimRight(head, ": \n"))
		}
		c.listProblems(problems)
		return
	}
	fmt.Fprintln(c.err, p.red("Error: ")+err.Error())
	if hint := hintOf(err); hint != "" {
		fmt.Fprintln(c.err, "  "+hint)
	}
}

func (c *cli) listProblems(problems []desired.Problem) {
	for _, p := range problems {
		fmt.Fprintln(c.err, p.String())
	}
	fmt.Fprintln(c.err, reconciler.Count(len(problems), "problem"))
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

func withHint(err error, hint string) error { return &hinted{err, hint} }

func hintOf(err error) string {
	var h *hinted
	if errors.As(err, &h) {
		return h.hint
	}
	var e *server.Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}
