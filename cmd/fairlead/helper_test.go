package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/reconciler/drivertest"
	"github.com/fairlead/fairlead/server"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asProgram makes the test binary be the program itself, with an engine in
// memory, so that the command line is tested as a process with exit codes.
const asProgram = "FAIRLEAD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2]))
	}
	if os.Getenv(asProgram) == "" {
		os.Exit(runTests(m))
	}
	os.Exit(overMemory(os.Stdin, os.Stdout, os.Stderr, os.Getenv).main(os.Args[1:]))
}

// runTests runs them with a place for the program that some of them build.
func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fairlead-built")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("FAIRLEAD_TEST_BUILT", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// overMemory is the command line over an engine in memory.
func overMemory(in io.Reader, out, errs io.Writer, getenv func(string) string) *cli {
	return &cli{in: in, out: out, err: errs, getenv: getenv, version: "test", newEngine: newMemoryEngine}
}

// memoryEngine is drivertest's engine with what else the daemon wants.
type memoryEngine struct{ *drivertest.Engine }

func newMemoryEngine(engineOptions) (engine, error) {
	e := drivertest.New()
	for _, tag := range []string{"1", "2", "3"} {
		e.Push("example.com/app:"+tag, drivertest.Healthy())
	}
	e.Push("example.com/app:sick", drivertest.Behaviour{Check: true, UnhealthyAfter: time.Millisecond})
	e.Push("example.com/app:slow", drivertest.SlowStart(time.Hour))
	return memoryEngine{e}, nil
}

func (memoryEngine) Events(ctx context.Context) <-chan string {
	ch := make(chan string)
	go func() { <-ctx.Done(); close(ch) }()
	return ch
}

func (memoryEngine) Logs(ctx context.Context, instance, service string, follow bool, tail int, w io.Writer) error {
	if service == "nobody" {
		return fmt.Errorf("read logs of %s: there is no container of service %q", instance, service)
	}
	if _, err := fmt.Fprintf(w, "%s-web-1 | ready\n%[1]s-web-1 | tail=%d", instance, tail); err != nil || !follow {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func (memoryEngine) Signal(_ context.Context, instance, service, signal string) (int, error) {
	return 0, fmt.Errorf("signal %s of %s: there is no process in memory", service, instance)
}

func (m memoryEngine) Addresses(ctx context.Context, instance, service string) (list []netip.Addr, err error) {
	have, err := m.Observe(ctx, instance, false)
	for _, c := range have.Containers {
		for _, a := range c.Addresses {
			if c.Service == service {
				list = append(list, a)
			}
		}
	}
	return list, err
}

// limit bounds everything that a test waits for.
const limit = 60 * time.Second

// world is a directory in which the program is run.
type world struct {
	t    *testing.T
	dir  string
	data string
	repo string
	env  []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := scratch(t)
	w := &world{t: t, dir: dir, data: filepath.Join(dir, "data"), repo: filepath.Join(dir, "acme")}
	w.env = []string{asProgram + "=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "TZ=UTC",
		"FAIRLEAD_CONFIG=" + w.write("agent.yaml", ""), "FAIRLEAD_DATA=" + w.data, "FAIRLEAD_REPO=" + w.repo, "FAIRLEAD_POLL=1s", "FAIRLEAD_LISTEN=off"}
	return w
}

// scratch is a directory that is removed in the end, again and again: a child of
// a daemon that was killed may write for a moment longer, by which RemoveAll of
// t.TempDir would fail the test.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "fairlead-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		waitFor(t, dir+" is removed", func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

func (w *world) write(name, content string) string {
	w.t.Helper()
	name = filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644)); err != nil {
		w.t.Fatal(err)
	}
	return name
}

var someone = git.Author{Name: "Ada", Email: "ada@example.com"}

// begin makes the repository.
func (w *world) begin(files map[string]string) {
	w.t.Helper()
	if _, err := git.Init(w.repo, contents(files), someone); err != nil {
		w.t.Fatal(err)
	}
}

func contents(files map[string]string) map[string][]byte {
	out := map[string][]byte{}
	for name, content := range files {
		out[name] = []byte(content)
	}
	return out
}

// commit changes the repository and returns the new commit.
func (w *world) commit(message string, files map[string]string) string {
	w.t.Helper()
	r := git.Open(git.Options{Repo: w.repo})
	defer r.Close()
	if err := r.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	rev, err := r.Commit(w.t.Context(), git.CommitRequest{Files: contents(files), Message: message, Author: someone})
	if err != nil {
		w.t.Fatal(err)
	}
	return rev.Commit
}

const acmeInstance = `apiVersion: fairlead/v1
name: acme
health: {timeout: 5s, bake: 50ms}
`

func acmeCompose(tag, greeting string) string {
	return fmt.Sprintf(`services:
  web:
    image: example.com/app:%s
    environment: {GREETING: %q}
`, tag, greeting)
}

// result is what a run of the program came to.
type result struct {
	stdout, stderr string
	code           int
}

func (w *world) command(args ...string) *exec.Cmd { return w.commandFor(limit, args...) }

func (w *world) commandFor(most time.Duration, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(context.Background(), most)
	w.t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env, cmd.Dir = w.env, w.dir
	return cmd
}

// run runs the program to its end: within this process where nothing can tell
// the difference, for each start of a binary with the race detector and DuckDB
// takes a fifth of a second of a processor.
func (w *world) run(args ...string) result {
	w.t.Helper()
	var out, errs bytes.Buffer
	if w.within(args) {
		code := overMemory(strings.NewReader(""), &out, &errs, w.getenv).main(args)
		return result{out.String(), errs.String(), code}
	}
	cmd := w.command(args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("fairlead %s: %v", strings.Join(args, " "), err)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// within reports whether a command neither looks at the working directory nor
// has an environment that libraries could look at.
func (w *world) within(args []string) bool {
	for _, v := range w.env {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "FAIRLEAD_") && !slices.Contains([]string{asProgram, "HOME", "PATH", "TMPDIR", "TZ", "NO_COLOR", "SUDO_USER"}, name) {
			return false
		}
	}
	here := slices.ContainsFunc(args, func(a string) bool { return a == "." || strings.Contains(a, "/") && !filepath.IsAbs(a) })
	if here || len(args) == 0 || args[0] == "run" || args[0] == "init" || slices.Contains(args, "--repo") || slices.Contains(args, "test") {
		return false
	}
	return args[0] != "validate" || slices.ContainsFunc(args, filepath.IsAbs)
}

func (w *world) getenv(name string) string {
	for _, v := range slices.Backward(w.env) { // of several the last counts
		if value, found := strings.CutPrefix(v, name+"="); found {
			return value
		}
	}
	return ""
}

// must runs the program and fails the test unless it ends with the code.
func (w *world) must(code int, args ...string) result {
	w.t.Helper()
	r := w.run(args...)
	if r.code != code {
		w.t.Fatalf("fairlead %s ended with %d, want %d\n%s%s", strings.Join(args, " "), r.code, code, r.stdout, r.stderr)
	}
	return r
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// daemon is a running daemon.
type daemon struct {
	t    *testing.T
	cmd  *exec.Cmd
	log  *syncBuffer
	done chan error
}

// start runs the daemon until it answers.
func (w *world) start(args ...string) *daemon {
	w.t.Helper()
	d := &daemon{t: w.t, cmd: w.commandFor(5*limit, append([]string{"run"}, args...)...), log: &syncBuffer{}, done: make(chan error, 1)}
	d.cmd.Stderr = d.log
	if err := d.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { d.done <- d.cmd.Wait(); close(d.done) }()
	w.t.Cleanup(func() {
		_ = d.cmd.Process.Kill()
		for range d.done { // what it wrote is removed next
		}
	})
	client := server.NewClient(filepath.Join(w.data, "fairlead.sock"), "")
	defer client.Close()
	tick, end := time.NewTicker(10*time.Millisecond), time.After(limit)
	defer tick.Stop()
	for client.Alive(w.t.Context()) != nil {
		select {
		case err := <-d.done:
			w.t.Fatalf("the daemon ended: %v\n%s", err, d.log)
		case <-end:
			w.t.Fatal("the daemon does not answer")
		case <-tick.C:
		}
	}
	return d
}

// signal sends a signal and returns the exit code.
func (d *daemon) signal(s syscall.Signal) int {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
	select {
	case <-d.done:
	case <-time.After(limit):
		d.t.Fatal("the daemon does not end")
	}
	return d.cmd.ProcessState.ExitCode()
}

var volatile = []struct {
	find *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{40}\b`), "1f2e3d4c5b6a79880123456789abcdef01234567"},
	{regexp.MustCompile(`\b[0-9a-f]{8}\b`), "1f2e3d4c"},
	{regexp.MustCompile(`\b[0-9.]+(ms|s|m) ago`), "2s ago"},
	{regexp.MustCompile(`\bin [0-9.]+m?s\b`), "in 2s"},
	{regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`), "2026-11-20 12:00:00"},
	{regexp.MustCompile(`\bprocess \d+`), "process 4711"},
	{regexp.MustCompile(`TOOK +`), "TOOK  "},
}

// inTable is an age (a column of three and two spaces) or what an apply took.
var inTable = regexp.MustCompile(`\b[0-9.]+(ms|s|m) {2,}`)

// steady takes out of a text what is different in each run.
func (w *world) steady(s string) string {
	s = strings.ReplaceAll(s, w.dir, "/srv")
	if me := server.UserName(os.Getuid()); me != "root" {
		s = regexp.MustCompile(`\b`+regexp.QuoteMeta(me)+`\b`).ReplaceAllString(s, "root")
	}
	for _, v := range volatile {
		s = v.find.ReplaceAllString(s, v.with)
	}
	return inTable.ReplaceAllStringFunc(s, func(m string) string {
		if len(m) > 5 {
			return "51ms  "
		}
		return "2s   " // of a column that is wider after ten seconds, too
	})
}

// golden compares a text with a checked-in one.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is different (-update writes it anew); got:\n%s\nwant:\n%s", file, got, want)
	}
}
