package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	// endGrace is what a process has between SIGTERM and SIGKILL.
	endGrace = 5 * time.Second
	// outputGrace is how long the output may be held open by somebody else.
	outputGrace = 2 * time.Second
	markName    = "FAIRLEAD_RUN"
	hostPath    = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// gate holds a process back until its limits are set, and stays its parent:
// where it is the first of its own PID namespace, everything ends with it.
const gate = `read -r _ || exit 125
exec </dev/null
umask 022
trap : TERM
"$@"
exit $?`

// errNotAllowed tells how a host opts in.
var errNotAllowed = errors.New("this host does not let connectors run as its processes")

// process is one program that runs on this host.
type process struct {
	argv    []string
	env     []string
	dir     string
	mark    string
	memory  int64 // bytes of data, for each process
	maxFile int64
	output  io.Writer
}

// onHost runs the program as a process of this host.
func (a *attempt) onHost(ctx context.Context, stop context.CancelCauseFunc) (ended, error) {
	if !a.opts.AllowHost {
		return ended{}, reconciler.Terminal(connectors.WithHint(errNotAllowed,
			"set connectors: {hostProcesses: true} in the host's agent.yaml, or leave host out: it then runs in a container"))
	}
	argv, err := command(a.run.Program, a.spec.Run)
	if err != nil {
		return ended{}, err
	}
	home := filepath.Join(a.scratch, "home") // for what it writes besides
	if err := os.Mkdir(home, 0o700); err != nil {
		return ended{}, err
	}
	deps, err := a.hostPackages(ctx)
	if err != nil {
		return ended{}, err
	}
	env := a.environment(a.run.Job.Dir, a.state(), home)
	env = withDeclared(a.spec.Env, env, append(python(deps), "PATH="+hostPath, "TMPDIR="+home))
	defer a.watch(ctx, a.run.Job.Dir, a.disk(), stop)()
	code, err := process{
		argv: argv, env: env, dir: a.run.Program, mark: a.marker(a.run.Instance, a.run.Source),
		memory: a.memory(), maxFile: a.disk(), output: a.output,
	}.run(ctx)
	return ended{code: code}, err
}

// hostPackages installs requirements with the host's Python.
func (a *attempt) hostPackages(ctx context.Context) (string, error) {
	if name, _, err := a.requirements(); err != nil || name == "" {
		return "", err
	}
	about := &bytes.Buffer{}
	version := process{argv: []string{"python3", "-c", "import sys, sysconfig; print(sys.version, sysconfig.get_platform())"},
		env: []string{"PATH=" + hostPath}, dir: "/", mark: a.marker(a.run.Instance, a.run.Source), output: about}
	if code, err := version.run(ctx); err != nil || code != 0 {
		return "", errors.Join(fmt.Errorf("ask the host's python3 for its version: exit code %d: %s", code, printable(about.String())), err)
	}
	return a.packages(ctx, "host "+about.String(), func(ctx context.Context, req, into string) (int, error) {
		build := filepath.Join(into, "build")
		return process{
			argv: append([]string{"python3"}, pipArguments(filepath.Join(into, "deps"), req)...),
			env:  append(pipEnvironment(a.spec.Env), "PATH="+hostPath, "HOME="+build, "TMPDIR="+build),
			dir:  a.run.Program, mark: a.marker(a.run.Instance, a.run.Source),
			memory: max(a.memory(), pipMemory), maxFile: maxPackages, output: a.output,
		}.run(ctx)
	})
}

// marker begins what is in the environment of every process of an instance's
// runs, or of those of one source.
func (r *Runner) marker(instance, source string) string {
	mark := markName + "=" + r.opts.Owner + "|" + instance + "|"
	if source != "" {
		mark += source + "|"
	}
	return mark
}

// run starts the process and waits for its end, and for that of all that it
// started. When ctx ends first, the error is its cause.
func (p process) run(ctx context.Context) (code int, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", p.argv[0], err)
	}
	defer r.Close()
	cmd, err := p.start(w)
	w.Close()
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", p.argv[0], err)
	}
	copied := make(chan struct{})
	go func() { defer close(copied); _, _ = io.Copy(p.output, r) }() // ends with the pipe
	exited := make(chan struct{})
	go func() { defer close(exited); _ = cmd.Wait() }() // what it came to is in ProcessState
	select {
	case <-exited:
	case <-ctx.Done():
		p.end(cmd.Process.Pid, exited)
		err = context.Cause(ctx)
	}
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // the group may be empty by now
	err = errors.Join(err, endMarked(context.WithoutCancel(ctx), p.mark))
	select {
	case <-copied:
	case <-time.After(outputGrace):
	}
	if err != nil {
		return 0, err
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}

// end asks the group to end, and makes it.
func (p process) end(pid int, exited <-chan struct{}) {
	_ = unix.Kill(-pid, unix.SIGTERM)
	select {
	case <-exited:
	case <-time.After(endGrace):
		_ = unix.Kill(-pid, unix.SIGKILL)
		<-exited
	}
}

// start starts the process in a session and, where we may, in a PID namespace of
// its own, which leaves nobody behind.
func (p process) start(output *os.File) (*exec.Cmd, error) {
	cmd, err := p.startIn(unix.CLONE_NEWPID, output)
	if errors.Is(err, unix.EPERM) {
		cmd, err = p.startIn(0, output)
	}
	return cmd, err
}

func (p process) startIn(flags uintptr, output *os.File) (*exec.Cmd, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", gate, "sh"}, p.argv...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, output, output
	cmd.Env = append(p.env[:len(p.env):len(p.env)], p.mark+strconv.Itoa(os.Getpid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: flags}
	gr, gw, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer gr.Close()
	defer gw.Close()
	cmd.Stdin = gr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	err = p.limit(cmd.Process.Pid)
	if err == nil {
		_, err = gw.WriteString("go\n")
	}
	if err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, err
	}
	return cmd, nil
}

// limit sets what the process, and each that it starts, may use.
func (p process) limit(pid int) error {
	limits := map[int]uint64{unix.RLIMIT_CORE: 0}
	if p.memory > 0 {
		limits[unix.RLIMIT_DATA] = uint64(p.memory)
	}
	if p.maxFile > 0 {
		limits[unix.RLIMIT_FSIZE] = uint64(p.maxFile)
	}
	for what, n := range limits {
		if err := unix.Prlimit(pid, what, &unix.Rlimit{Cur: n, Max: n}, nil); err != nil {
			return fmt.Errorf("set limits: %w", err)
		}
	}
	return nil
}

// endMarked kills every process whose environment has a variable that begins
// with mark, until there is none: one may start another meanwhile.
func endMarked(ctx context.Context, mark string) error {
	for round := 0; ; round++ {
		found, err := killMarked(mark)
		if err != nil || found == 0 {
			return err
		}
		if round == 100 {
			return fmt.Errorf("end processes of a connector: %d are still there", found)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func killMarked(mark string) (found int, err error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		if killIfMarked(pid, name+"/environ", []byte(mark)) {
			found++
		}
	}
	return found, nil
}

// killIfMarked holds on to the process while it looks, so that its number
// cannot mean another one when it is killed.
func killIfMarked(pid int, environ string, mark []byte) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	env, err := os.ReadFile(environ)
	if err != nil {
		return false // it ended, or is another user's
	}
	if !bytes.HasPrefix(env, mark) && !bytes.Contains(env, append([]byte{0}, mark...)) {
		return false
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}
