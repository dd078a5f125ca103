package analytics

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	maxTail = 4 << 10 // bytes of what a child said last
	// A control group counts more than RLIMIT_DATA does: its limit, with which the
	// kernel ends the child, lies above the other, with which an allocation fails.
	groupRoom = 256 << 20
)

// child is a process of this program, and our ends of its pipes. One goroutine
// at a time speaks with it; any may kill it.
type child struct {
	cmd     *exec.Cmd
	in, out *os.File
	said    *tail
	group   *cgroup
	dir     string        // its own, for what it writes; removed at its end
	dead    chan struct{} // is closed when it has ended and nothing of it is left
	ended   error         // how, after dead
	killed  atomic.Bool   // by us
}

// tail keeps the end of what is written to it, or, of a crash, the beginning: it
// is followed by stacks and registers that say nothing to anybody else.
type tail struct {
	mu      sync.Mutex
	text    []byte
	crashed bool
}

// crashes are how Go's runtime begins to tell of the end of a process.
var crashes = regexp.MustCompile(`(?m)^(SIG[A-Z]+: |fatal error: |panic: |runtime: )`)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if at := crashes.FindIndex(t.text); at != nil && !t.crashed {
		t.text, t.crashed = bytes.Clone(t.text[at[0]:]), true
	}
	switch {
	case len(t.text) <= maxTail:
	case t.crashed:
		t.text = t.text[:maxTail]
	default:
		t.text = bytes.Clone(t.text[len(t.text)-maxTail:])
	}
	return len(p), nil
}

// last is the last line but those of a stack.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, _, _ := strings.Cut(strings.TrimSpace(string(t.text)), "\n")
	return first
}

// startChild starts this program in a mode, in a directory of its own, with
// nothing of our environment: there may be secrets in it.
func startChild(command []string, mode, dir string, group *cgroup) (*child, error) {
	c := &child{said: &tail{}, group: group, dir: dir, dead: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		group.remove()
		return nil, fmt.Errorf("start %s child: %w", mode, err)
	}
	theirIn, ours, err := os.Pipe()
	if err != nil {
		return nil, c.notStarted(mode, err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return nil, c.notStarted(mode, err, theirIn, ours)
	}
	c.in, c.out = ours, out
	args := append(append([]string{}, command[1:]...), mode)
	c.cmd = exec.Command(command[0], args...)
	c.cmd.Dir, c.cmd.Stdin, c.cmd.Stdout, c.cmd.Stderr = dir, theirIn, theirOut, c.said
	// One arena of glibc's allocator a processor would multiply what is held.
	c.cmd.Env = []string{"HOME=" + dir, "TMPDIR=" + dir, "PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "MALLOC_ARENA_MAX=2"}
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.cmd.WaitDelay = time.Second // for what it started and what holds its standard error
	if err := c.cmd.Start(); err != nil {
		return nil, c.notStarted(mode, err, theirIn, ours, out, theirOut)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	// A core of a process with gigabytes fills the disk.
	_ = unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil)
	group.take(c.cmd.Process.Pid)
	go c.wait()
	return c, nil
}

func (c *child) notStarted(mode string, err error, files ...*os.File) error {
	for _, f := range files {
		_ = f.Close()
	}
	c.group.remove()
	_ = os.RemoveAll(c.dir)
	return fmt.Errorf("start %s child: %w", mode, err)
}

// wait takes away what is left of the child when it has ended. What it said is
// still in the pipe, so our end of it stays open until close.
func (c *child) wait() {
	err := c.cmd.Wait()
	c.ended = err
	c.group.remove()
	_ = os.RemoveAll(c.dir)
	close(c.dead)
}

// kill ends the child at once.
func (c *child) kill() {
	c.killed.Store(true)
	_ = c.cmd.Process.Kill() // it may have ended: that is as good
}

// close kills the child, waits for its end and gives the pipes back.
func (c *child) close() {
	c.kill()
	<-c.dead
	_, _ = c.in.Close(), c.out.Close()
}

// isDead reports whether the child has ended.
func (c *child) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// killedByOthers says that a signal that nobody can catch came from elsewhere:
// an operator, or the kernel because memory was short.
func (c *child) killedByOthers() bool {
	<-c.dead
	var exit *exec.ExitError
	if c.killed.Load() || !errors.As(c.ended, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// epitaph says how the child ended and what it said last.
func (c *child) epitaph() string {
	<-c.dead
	how := "it ended by itself"
	if c.ended != nil {
		how = c.ended.Error()
	}
	if c.killed.Load() {
		how = "it was ended"
	}
	if last := c.said.last(); last != "" {
		how += ": " + last
	}
	return how
}

// once has a child do one thing: a request to it, a reply from it.
func (a *Analytics) once(ctx context.Context, mode, dir string, limit int64, request, reply any) error {
	ctx, cancel := a.both(ctx)
	defer cancel()
	c, err := startChild(a.o.Command, mode, dir, a.groups.make(mode, limit+groupRoom))
	if err != nil {
		return err
	}
	defer c.close()
	_ = unix.Prlimit(c.cmd.Process.Pid, unix.RLIMIT_DATA, &unix.Rlimit{Cur: uint64(limit), Max: uint64(limit)}, nil)
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	err = wire.WriteMessage(c.in, request)
	_ = c.in.Close()
	if err == nil {
		err = readReply(c.out, reply)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", mode, context.Cause(ctx))
	}
	c.settle()
	return fmt.Errorf("%s: the child gave no answer (%s): %w", mode, c.epitaph(), err)
}

// settle gives a child that has closed its output the time to end, so that its
// own reason is seen.
func (c *child) settle() {
	patience := time.NewTimer(time.Second)
	defer patience.Stop()
	select {
	case <-c.dead:
	case <-patience.C:
		c.kill()
	}
}

func readReply(r io.Reader, reply any) error {
	kind, content, err := wire.ReadFrame(r)
	if err != nil {
		return err
	}
	if kind != wire.Message {
		return wire.ErrFrame
	}
	return json.Unmarshal(content, reply)
}

// tellUnconfined says once for each kind of child that the kernel of this host
// does not confine it altogether, and why.
func (a *Analytics) tellUnconfined(mode, why string) {
	a.mu.Lock()
	known := why == "" || a.lacking[mode] == why
	if a.lacking == nil {
		a.lacking = map[string]string{}
	}
	a.lacking[mode] = why
	a.mu.Unlock()
	if !known {
		a.o.Log.WithField("child", mode).Warn("the kernel does not confine this kind of child altogether, which goes on with its other limits: " + why)
	}
}

// Unconfined are the kinds of children that the kernel does not confine
// altogether, and why, as far as one was started.
func (a *Analytics) Unconfined() map[string]string {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]string{}
	for mode, why := range a.lacking {
		if why != "" {
			out[mode] = why
		}
	}
	return out
}
