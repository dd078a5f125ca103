package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/fairlead/fairlead/examples/load"
)

// stage is a demo of its own beside whatever else is on this machine, played by the real program.
type stage struct {
	t *testing.T
	place
	demo, bin string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := output(t.Context(), root, nil, "scripts/engine.sh", "up"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s := &stage{t: t, demo: filepath.Join(dir, "demo"), bin: filepath.Join(dir, "fairlead")}
	s.place = place{dir: filepath.Join(dir, "state"), name: fmt.Sprintf("demo-t%d", os.Getpid())}
	if _, err := output(t.Context(), root, nil, "go", "build", "-buildvcs=false", "-o", s.demo, "./examples/demo"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), downLimit)
		defer cancel()
		if out, err := s.run(ctx, "down").CombinedOutput(); err != nil {
			t.Errorf("down: %v\n%s", err, out)
		}
	})
	return s
}

// run is half the users of a demo by hand: other tests need the machine at the same time.
func (s *stage) run(ctx context.Context, command ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.demo, append([]string{"-dir", s.dir, "-name", s.name, "-bin", s.bin, "-rate", "100"}, command...)...)
	cmd.Env = append(cleanEnvironment(), "NO_COLOR=1")
	return cmd
}

// playUntil plays until a line holds the text, sends the signal, and returns the exit code and what was printed.
func (s *stage) playUntil(text string, sig syscall.Signal) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 6*time.Minute)
	defer cancel()
	cmd := s.run(ctx)
	out, in, err := os.Pipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	_ = in.Close()
	var printed bytes.Buffer
	lines := bufio.NewScanner(io.TeeReader(out, &printed))
	for sent := false; lines.Scan(); {
		if !sent && strings.Contains(lines.Text(), text) {
			sent = true
			if err := cmd.Process.Signal(sig); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	_ = out.Close()
	_ = cmd.Wait() // its code is what is asked for
	return cmd.ProcessState.ExitCode(), printed.String()
}

// nothingLeft fails when anything of the demo is still there. address is that of its registry.
func (s *stage) nothingLeft(address string) {
	s.t.Helper()
	for _, list := range [][]string{
		{"ps", "-aq", "--filter", s.owned()}, {"network", "ls", "-q", "--filter", s.owned()},
		{"volume", "ls", "-q", "--filter", s.owned()}, {"image", "ls", "-q", "--filter", "reference=" + address + "/" + s.name + "/*"},
	} {
		if out, err := docker(s.t.Context(), list...); err != nil || out != "" {
			s.t.Errorf("docker %s: %q, %v", strings.Join(list, " "), out, err)
		}
	}
	if _, err := os.Lstat(s.dir); !os.IsNotExist(err) {
		s.t.Errorf("%s is still there (%v)", s.dir, err)
	}
	for _, cmdline := range processes(s.t) {
		if strings.Contains(cmdline, s.dir) {
			s.t.Errorf("still running: %s", cmdline)
		}
	}
}

// processes are the command lines of what runs on this machine.
func processes(t *testing.T) (all []string) {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if data, err := os.ReadFile(name); err == nil { // it may have ended since
			all = append(all, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return all
}

func (s *stage) down() {
	s.t.Helper()
	out, err := s.run(s.t.Context(), "down").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Nothing of the demo is left.") {
		s.t.Errorf("down: %v\n%s", err, out)
	}
}

// TestDemo plays the whole demo, then again over what the first left, and ends it by Ctrl-C.
func TestDemo(t *testing.T) {
	s := newStage(t)
	s.down() // with nothing there

	code, out := s.playUntil("no line holds this", syscall.SIGINT)
	if code != 0 || strings.Count(out, "✓") < 100 {
		t.Fatalf("exit code %d, %d checks\n%s", code, strings.Count(out, "✓"), out)
	}
	allAnswered(t, out)
	if strings.Contains(out, "\x1b[") {
		t.Error("colours without a terminal")
	}
	for _, name := range []string{"daemon", "registry", "authority", "postgres"} {
		if _, runs := s.running(name); !runs {
			t.Errorf("%s was not left running", name)
		}
	}
	if list, err := s.containers(t.Context()); err != nil || len(list) != 3 {
		t.Errorf("left running: %v, %v", list, err)
	}
	first := s.address()

	if code, out = s.playUntil(fmt.Sprintf("3/%d", len(steps())), syscall.SIGINT); code != 130 {
		t.Errorf("the second time: exit code %d\n%s", code, out)
	}
	s.nothingLeft(first)
	s.down()
	s.nothingLeft(first)
}

var (
	loads = regexp.MustCompile(`(?m)^ +load (\d+) requests, (\d+) failed`)
	total = regexp.MustCompile(`(?m)^In .* the users made (\d+) requests over \d+ connections: 0 failed,`)
)

// allAnswered checks what the demo says of the users' requests: it tells of them in each step after the first, there were
// many, and none failed.
func allAnswered(t *testing.T, out string) {
	t.Helper()
	lines := loads.FindAllStringSubmatch(out, -1)
	if want := len(steps()) - 1; len(lines) != want {
		t.Errorf("%d lines about requests, want %d", len(lines), want)
	}
	sum := 0
	for _, l := range lines {
		if l[2] != "0" {
			t.Errorf("a step says: %s", l[0])
		}
		n, err := strconv.Atoi(l[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	m := total.FindStringSubmatch(out)
	if m == nil {
		t.Fatal("nothing is said of all requests")
	}
	if all, err := strconv.Atoi(m[1]); err != nil || all < sum || sum < 1000 { // some end after the last step
		t.Errorf("%s requests in all, %d by steps", m[1], sum)
	}
	if interruptions := strings.Count(out, "app changed hands in"); interruptions < 8 {
		t.Errorf("%d interruptions are told of", interruptions)
	}
}

// TestInterrupted ends the demo at several points; afterwards, nothing may be left.
func TestInterrupted(t *testing.T) {
	s := newStage(t)
	step1 := fmt.Sprintf("1/%d", len(steps()))
	for _, at := range []string{"Setting up", "a registry serves", step1, "asked git commit -m \"Add the instance\"", "asked git commit -m \"Release 2026.11.3\""} {
		t.Run(at, func(t *testing.T) {
			s.t = t
			if code, out := s.playUntil(at, syscall.SIGINT); code != 130 {
				t.Errorf("exit code %d\n%s", code, out)
			}
			s.nothingLeft("127.0.0.1:*")
			s.down()
		})
	}
}

// TestKilled ends the demo where it cannot clean up.
func TestKilled(t *testing.T) {
	s := newStage(t)
	s.playUntil(fmt.Sprintf("2/%d", len(steps())), syscall.SIGKILL)
	address := s.address()
	if list, err := s.containers(t.Context()); err != nil || len(list) == 0 || address == "" {
		t.Fatalf("it was killed too early: %v, %v", list, err)
	}
	s.down()
	s.nothingLeft(address)
}

// TestForeignDirectory: a directory that holds something else is neither used nor removed.
func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "letter.txt")
	if err := os.WriteFile(mine, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := place{dir: dir, name: "demo"}
	if err := p.claim(); err == nil || !strings.Contains(err.Error(), "-dir") {
		t.Errorf("claim: %v", err)
	}
	if err := p.remove(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestPidOfAnotherProcess(t *testing.T) {
	p := place{dir: t.TempDir(), name: "demo"}
	if err := writeFile(p.in("daemon.pid"), fmt.Sprintf(`{"pid":%d,"start":"1"}`, os.Getpid())); err != nil {
		t.Fatal(err)
	}
	if _, runs := p.running("daemon"); runs {
		t.Error("a pid that was used again passes for the daemon")
	}
	if err := p.stop(t.Context(), "daemon"); err != nil {
		t.Error(err)
	}
}

func TestColours(t *testing.T) {
	var buf bytes.Buffer
	p := newPrinter(&buf)
	p.heading("x")
	if p.colour || strings.Contains(buf.String(), "\x1b") {
		t.Error("colours without a terminal")
	}
	p.colour = true
	if got := p.styled(styleOf("  -/+ container"), "x"); !strings.Contains(got, "\x1b["+yellow) {
		t.Errorf("no colour: %q", got)
	}
}

func TestFold(t *testing.T) {
	for _, c := range []struct {
		line  string
		width int
		want  []string
	}{
		{"as wide as it is", 0, []string{"as wide as it is"}},
		{"just so", 7, []string{"just so"}},
		{"one two three four", 9, []string{"one two", "  three", "  four"}},
		{"    in the margin", 10, []string{"    in the", "      margin"}},
		{"  averyverylongword and more", 10, []string{"  averyverylongword", "    and", "    more"}},
		{"a  table  row", 8, []string{"a  table", "  row"}},
		{"ü ü ü ü", 5, []string{"ü ü ü", "  ü"}},
		{"", 5, []string{""}},
	} {
		if got := fold(c.line, c.width); !slices.Equal(got, c.want) {
			t.Errorf("fold(%q, %d) = %q, want %q", c.line, c.width, got, c.want)
		}
	}
}

func TestWidth(t *testing.T) {
	var buf bytes.Buffer
	p := printer{w: &buf, width: 60}
	long := strings.Repeat("word ", 30)
	p.block("asked", []string{long})
	p.table("$", []string{long})
	lines := strings.Split(strings.TrimRight(buf.String(), "\n"), "\n")
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > 60 {
			t.Errorf("%d wide: %q", n, l)
		}
	}
	if len(lines) < 4 || !strings.HasSuffix(lines[len(lines)-1], "…") {
		t.Errorf("got %q", lines)
	}
}

func TestTimesAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0ms", 1234 * time.Microsecond: "1.2ms", 56789 * time.Microsecond: "56ms", 1499 * time.Millisecond: "1.50s", time.Minute: "60.00s",
	} {
		if got := rounded(d); got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
	}
}

func TestAFailedRequestFailsTheStep(t *testing.T) {
	if err := failedRequests(load.Report{Sent: 3, OK: 3}); err != nil {
		t.Error(err)
	}
	err := failedRequests(load.Report{Sent: 3, OK: 2, Failed: 1, Errors: map[string]int{"answered 503": 1}})
	if err == nil || !strings.Contains(err.Error(), "1 failed") || !strings.Contains(err.Error(), "answered 503") {
		t.Errorf("got %v", err)
	}
}

func TestShort(t *testing.T) {
	if got := short("a\n b"); got != "a b" {
		t.Errorf("got %q", got)
	}
	if got := []rune(short(strings.Repeat("ü", 200))); len(got) != 100 || got[99] != '…' {
		t.Errorf("got %d runes", len(got))
	}
}
