package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// process is a program in the background that outlives this one. Pids are used again, so its start is part of it.
type process struct {
	PID   int    `json:"pid"`
	Start string `json:"start"` // in clock ticks since boot, proc_pid_stat(5)
}

// start runs a program in a session of its own, so that Ctrl-C in the terminal does not reach it, and remembers it in
// name.pid. What it prints goes to name.log.
func (p place) start(name string, argv ...string) error {
	log, err := os.OpenFile(p.in(name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = cleanEnvironment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	go func() { _ = cmd.Wait() }() // reaped when it ends before we do
	start, err := startOf(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("start %s: it ended at once: %s", name, p.tail(name))
	}
	data, err := json.Marshal(process{cmd.Process.Pid, start})
	if err != nil {
		return err
	}
	return writeFile(p.in(name+".pid"), string(data))
}

// cleanEnvironment is the environment without settings that are meant for another daemon.
func cleanEnvironment() (env []string) {
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "FAIRLEAD_") {
			env = append(env, v)
		}
	}
	return env
}

// startOf tells when a process started; an error when it is gone. A zombie is gone: where the first process is no
// init, it stays for good.
func startOf(pid int) (string, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	_, rest, _ := bytes.Cut(stat, []byte(") ")) // the name before may hold blanks
	fields := strings.Fields(string(rest))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return "", fs.ErrNotExist
	}
	return fields[19], nil
}

// running returns the process of name.pid while it runs.
func (p place) running(name string) (process, bool) {
	var proc process
	data, err := os.ReadFile(p.in(name + ".pid"))
	if err != nil || json.Unmarshal(data, &proc) != nil {
		return proc, false
	}
	start, err := startOf(proc.PID)
	return proc, err == nil && start == proc.Start
}

const stopLimit = 30 * time.Second

// stop ends the process of name.pid and waits until it is gone; without one there is nothing to do.
func (p place) stop(ctx context.Context, name string) error {
	proc, runs := p.running(name)
	if !runs {
		return nil
	}
	if err := syscall.Kill(proc.PID, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	gone := func() bool { _, runs := p.running(name); return !runs }
	if waitUntil(ctx, stopLimit, gone) == nil {
		return nil
	}
	if err := syscall.Kill(proc.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop %s: %w", name, err)
	}
	return waitUntil(ctx, stopLimit, gone)
}

var errTimeout = errors.New("it takes too long")

// waitUntil looks until done says so, for at most limit.
func waitUntil(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w: not within %s", errTimeout, limit))
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
	return nil
}

// tail is the end of a background program's log.
func (p place) tail(name string) string {
	data, err := os.ReadFile(p.in(name + ".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}

// output runs a program to its end. Its error holds what the program said.
func output(ctx context.Context, dir string, env []string, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnvironment(), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	// Ctrl-C reaches this process alone; it decides what ends.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return out.String(), context.Cause(ctx)
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, strings.TrimSpace(errs.String()+out.String()))
	}
	return out.String(), nil
}
