package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	idleInstances = 10
	idleServices  = 5
)

// measureIdle reads what a daemon with 50 containers takes when nothing happens.
func measureIdle(ctx context.Context, b *bench) error {
	project := b.name("idle")
	r, err := makeRepo(ctx, filepath.Join(b.dir, project))
	if err != nil {
		return err
	}
	files, names := map[string]string{}, []string{}
	for i := range idleInstances {
		name := b.name("idle" + strconv.Itoa(i))
		names = append(names, name)
		files["instances/"+name+"/compose.yaml"] = composeFile(idleServices, b.images[0], b.images[0], "0")
	}
	commit, err := r.commit(ctx, files)
	if err != nil {
		return err
	}
	d, err := b.startDaemon(ctx, project, r.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := d.converged(ctx, name, commit); err != nil {
			return err
		}
	}
	if err := rest(ctx, b); err != nil {
		return err
	}
	if err := b.readIdle(ctx, d); err != nil {
		return err
	}
	if err := d.stop(ctx); err != nil {
		return err
	}
	for _, name := range names {
		if err := b.clear(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// rest lets the daemon come to rest.
func rest(ctx context.Context, b *bench) error {
	return pause(ctx, time.Duration(b.rounds(30, 8))*time.Second)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// readIdle reads memory each second of a while, and processor time over it. It holds at least one pass over everything,
// which brings in more of the program than rest needs.
func (b *bench) readIdle(ctx context.Context, d *daemon) error {
	pid := d.cmd.Process.Pid
	before, err := processorTime(pid)
	if err != nil {
		return err
	}
	var now series
	var peak float64
	seconds := b.rounds(60, 10)
	for range seconds {
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
		var reading float64
		if reading, peak, err = memory(pid); err != nil {
			return err
		}
		now = append(now, reading)
	}
	after, err := processorTime(pid)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("idle with %d containers: ", idleInstances*idleServices)
	b.figure(figure{name: what + "memory (VmRSS)", ours: now, unit: "MiB", limit: 30})
	b.figure(figure{name: what + "most memory ever (VmHWM)", ours: series{peak}, unit: "MiB"})
	b.figure(figure{name: what + "processor time a minute", ours: series{float64(after-before) / float64(time.Millisecond) * 60 / float64(seconds)}, unit: "ms"})
	return nil
}

// memory reads VmRSS and VmHWM, proc_pid_status(5), in MiB.
func memory(pid int) (now, peak float64, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory of the daemon: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseFloat(fields[1], 64) // the lines that are read hold a number
		switch fields[0] {
		case "VmRSS:":
			now = kib / 1024
		case "VmHWM:":
			peak = kib / 1024
		}
	}
	if now == 0 || peak == 0 {
		return 0, 0, errors.New("read memory of the daemon: the kernel does not tell")
	}
	return now, peak, nil
}

// processorTime is how long the process ran so far, from /proc/PID/schedstat: nanoseconds, where /proc/PID/stat has
// ticks of 10 ms. Threads that ended are not in it; a Go program keeps its threads.
func processorTime(pid int) (time.Duration, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		return 0, errors.New("read processor time of the daemon: it is gone")
	}
	var sum time.Duration
	for _, name := range threads {
		data, err := os.ReadFile(name)
		if err != nil {
			return 0, fmt.Errorf("read processor time of the daemon: %w", err)
		}
		ran, _, _ := strings.Cut(string(data), " ")
		ns, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read processor time of the daemon: %w", err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}
