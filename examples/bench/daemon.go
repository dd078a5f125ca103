package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// daemon is `fairlead run` on a repository of its own.
type daemon struct {
	bin    string
	config string
	data   string
	client *server.Client
	cmd    *exec.Cmd
	done   chan struct{} // closed when the process is gone
	https  *os.File      // a socket for the front that outlives it; nil: none

	mu   sync.Mutex
	said []line
}

// line is one line of the daemon's log and when it came.
type line struct {
	at   time.Time
	text string
}

// configure writes the configuration of a daemon that is not started yet.
func (b *bench) configure(name, repo, engine string, more ...string) (*daemon, error) {
	dir := filepath.Join(b.dir, name+"-home")
	d := &daemon{bin: b.bin, config: filepath.Join(dir, "agent.yaml"), data: filepath.Join(dir, "data"), done: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("configure daemon: %w", err)
	}
	text := fmt.Sprintf("repo: %q\ndata: %q\ndockerHost: %q\nlogFormat: json\n", repo, d.data, engine)
	if err := os.WriteFile(d.config, []byte(text+strings.Join(more, "")), 0o644); err != nil {
		return nil, fmt.Errorf("configure daemon: %w", err)
	}
	d.client = server.NewClient(filepath.Join(d.data, "fairlead.sock"), "")
	return d, nil
}

const upLimit = 30 * time.Second

// startDaemon starts one and waits until it answers.
func (b *bench) startDaemon(ctx context.Context, name, repo string) (*daemon, error) {
	d, err := b.configure(name, repo, b.host)
	if err != nil {
		return nil, err
	}
	b.daemons = append(b.daemons, d)
	return d, d.start(ctx)
}

// start starts it, once more after stop as well, and waits until it answers.
func (d *daemon) start(ctx context.Context) error {
	argv := []string{d.bin, "--config", d.config, "run"}
	env := cleanEnvironment()
	if d.https != nil { // as systemd passes it on: LISTEN_PID is the daemon's own
		argv = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, argv...)
		env = append(env, "LISTEN_FDS=1", "LISTEN_FDNAMES=https")
	}
	d.cmd, d.done = exec.Command(argv[0], argv[1:]...), make(chan struct{})
	d.cmd.Env = env
	if d.https != nil {
		d.cmd.ExtraFiles = []*os.File{d.https}
	}
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C reaches this process alone
	pipe, err := d.cmd.StderrPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		return fmt.Errorf("start daemon: %w", err)
	}
	go d.follow(pipe, d.cmd, d.done)
	err = until(ctx, upLimit, func() (bool, error) {
		select {
		case <-d.done:
			return false, errors.New("it ended at once")
		default:
			return d.client.Alive(ctx) == nil, nil
		}
	})
	if err != nil {
		return fmt.Errorf("start daemon: %w\n%s", err, d.tail())
	}
	return nil
}

// follow keeps the log until the process ends.
func (d *daemon) follow(pipe io.Reader, cmd *exec.Cmd, done chan<- struct{}) {
	defer close(done)
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		at := time.Now()
		var l struct{ Msg string }
		if json.Unmarshal(lines.Bytes(), &l) != nil || l.Msg == "" {
			l.Msg = lines.Text()
		}
		d.mu.Lock()
		d.said = append(d.said, line{at, l.Msg})
		d.mu.Unlock()
	}
	_ = cmd.Wait() // it was told to end
}

// when is when the daemon first said something that begins so, at or after a time.
func (d *daemon) when(prefix string, from time.Time) (time.Time, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, l := range d.said {
		if !l.at.Before(from) && strings.HasPrefix(l.text, prefix) {
			return l.at, true
		}
	}
	return time.Time{}, false
}

// since is what the daemon said from a time on, with how long after it.
func (d *daemon) since(from time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var text strings.Builder
	for _, l := range d.said {
		if !l.at.Before(from) {
			fmt.Fprintf(&text, "%8.3f s  %s\n", l.at.Sub(from).Seconds(), l.text)
		}
	}
	return text.String()
}

func (d *daemon) tail() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var last []string
	for _, l := range d.said[max(0, len(d.said)-8):] {
		last = append(last, l.text)
	}
	return strings.Join(last, "\n")
}

// stop ends the daemon; the containers keep running.
func (d *daemon) stop(ctx context.Context) error {
	if d.cmd == nil || d.cmd.Process == nil {
		return nil
	}
	select {
	case <-d.done:
		return nil
	default:
	}
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop daemon: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, upLimit)
	defer cancel()
	select {
	case <-d.done:
		return nil
	case <-ctx.Done():
		_ = d.cmd.Process.Kill() // it may be gone by now
		<-d.done
		return errors.New("stop daemon: it did not end by itself")
	}
}

const convergeLimit = 5 * time.Minute

// converged waits until an instance has applied a commit and come to rest.
func (d *daemon) converged(ctx context.Context, name, commit string) error {
	var last reconciler.Status
	err := until(ctx, convergeLimit, func() (bool, error) {
		s, err := d.client.Status(ctx, name)
		last = s
		return err == nil && s.Applied.Commit == commit && s.Phase == reconciler.PhaseIdle && s.LastPass.After(s.AppliedAt), nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s (phase %s): %w\n%s", name, last.Phase, err, d.tail())
	}
	return nil
}

// until asks again and again until it is so.
func until(ctx context.Context, limit time.Duration, so func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		if ok, err := so(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}
