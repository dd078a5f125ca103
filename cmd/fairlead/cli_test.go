package main

import (
	"bytes"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// waiters counts the goroutines that wait for a signal.
func waiters() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), ".untilSignal.func")
}

// TestRunLeavesNothingBehind: a run of the program in this process ends its wait
// for signals. It is not parallel, since others run the program here too.
func TestRunLeavesNothingBehind(t *testing.T) {
	before := waiters()
	for range 20 {
		var out bytes.Buffer
		c := overMemory(strings.NewReader(""), &out, &out, func(string) string { return "" })
		if code := c.main([]string{"version"}); code != exitDone {
			t.Fatalf("exit code %d: %s", code, out.String())
		}
	}
	if after := waiters(); after != before {
		t.Errorf("%d goroutines wait for signals, before there were %d", after, before)
	}
}

// TestFirstSignalEndsTheContext also shows that waiters sees the one there is.
func TestFirstSignalEndsTheContext(t *testing.T) {
	// Whatever comes late must not end the test binary.
	ours := make(chan os.Signal, 1)
	signal.Notify(ours, syscall.SIGTERM)
	defer signal.Stop(ours)
	before := waiters()
	ctx, stop := untilSignal()
	if n := waiters(); n != before+1 {
		t.Errorf("%d goroutines wait, before there were %d", n, before)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(limit):
		t.Error("the context goes on after SIGTERM")
	}
	stop()
	stop() // twice does no harm
	if n := waiters(); n != before {
		t.Errorf("%d goroutines wait afterwards, before there were %d", n, before)
	}
}
