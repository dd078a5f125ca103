package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/fairlead/fairlead/connectors/analytics/duck"
)

// childCommand is how this program starts itself to open DuckDB: the daemon
// never does so itself (DESIGN, "where DuckDB runs").
const childCommand = "child"

// child is the body of such a process. It ends with its parent, and a signal to
// the whole group must not end it before the parent says so.
func child(mode string) int {
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	if mode == noticeChild {
		return shoutChild()
	}
	if err := duck.Main(context.Background(), mode, os.Stdin, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitError1
	}
	return exitDone
}
