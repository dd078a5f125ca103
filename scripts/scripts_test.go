// Package scripts holds the shell scripts behind the Makefile; its tests run them. They need the engine that 'make test'
// brings up, but no root.
package scripts

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

type result struct {
	code        int
	out, errout string
}

// run runs a program in dir with more environment; it ends the test only when the program could not be run.
func run(t *testing.T, dir string, env []string, name string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var out, errout strings.Builder
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), &out, &errout
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("run %s: %v", name, err)
	}
	return result{code: cmd.ProcessState.ExitCode(), out: out.String(), errout: errout.String()}
}

func script(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// module makes a Go module in a git repository, with these files committed.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26.0\n"
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	for _, args := range [][]string{
		{"init", "--quiet"}, {"add", "."},
		{"-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "first"},
	} {
		if got := run(t, dir, []string{"GIT_CONFIG_GLOBAL=/dev/null"}, "git", args...); got.code != 0 {
			t.Fatalf("git %v: %+v", args, got)
		}
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestShellSyntax(t *testing.T) {
	files, err := filepath.Glob("*.sh")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts %v: %v", files, err)
	}
	for _, file := range append(files, "../.ci/run") {
		if got := run(t, "", nil, "bash", "-n", file); got.code != 0 {
			t.Errorf("%s: %s", file, got.errout)
		}
	}
}

func TestEngineUpIsQuietWhenOneAnswers(t *testing.T) {
	if got := run(t, "", nil, script(t, "engine.sh"), "up"); got != (result{}) {
		t.Errorf("engine.sh up: %+v", got)
	}
	got := run(t, "", nil, script(t, "engine.sh"), "status")
	if got.code != 0 || !strings.HasPrefix(got.out, "engine ") {
		t.Errorf("engine.sh status: %+v", got)
	}
}

func TestEngineElsewhereIsNotReplaced(t *testing.T) {
	env := []string{"DOCKER_HOST=tcp://127.0.0.1:1"}
	got := run(t, "", env, script(t, "engine.sh"), "up")
	if got.code != 1 || !strings.Contains(got.errout, "no engine answers at DOCKER_HOST=tcp://127.0.0.1:1") {
		t.Errorf("engine.sh up: %+v", got)
	}
	if got := run(t, "", env, script(t, "engine.sh"), "status"); got.code != 1 {
		t.Errorf("engine.sh status: %+v", got)
	}
}

// TestEngineDownLeavesOthersAlone has a state directory in which no start is recorded.
func TestEngineDownLeavesOthersAlone(t *testing.T) {
	got := run(t, "", []string{"FAIRLEAD_ENGINE_ROOT=" + t.TempDir()}, script(t, "engine.sh"), "down")
	if got.code != 0 || !strings.Contains(got.errout, "nothing is stopped") {
		t.Errorf("engine.sh down: %+v", got)
	}
}

func TestEngineUsage(t *testing.T) {
	got := run(t, "", nil, script(t, "engine.sh"), "sideways")
	if got.code != 2 || !strings.Contains(got.errout, "scripts/engine.sh up") {
		t.Errorf("engine.sh sideways: %+v", got)
	}
}

func TestNeedIsQuietForWhatIsThere(t *testing.T) {
	if got := run(t, "", nil, script(t, "need.sh"), "bash", "no-such-package"); got != (result{}) {
		t.Errorf("need.sh bash: %+v", got)
	}
}

// TestBuildModule has a module proxy of its own, in a directory.
func TestBuildModule(t *testing.T) {
	proxy, dest := fileProxy(t, map[string]string{
		"go.mod":  "module example.com/tool\n\ngo 1.26.0\n",
		"main.go": "package main\n\nvar said string\n\nfunc main() { println(said) }\n",
	}), filepath.Join(t.TempDir(), "new", "tool")
	cache := filepath.Join(t.TempDir(), "mod")
	t.Cleanup(func() { // the test's context is over by then
		clean := exec.Command("go", "clean", "-modcache")
		clean.Env = append(os.Environ(), "GOMODCACHE="+cache)
		if out, err := clean.CombinedOutput(); err != nil {
			t.Errorf("remove the module cache: %v: %s", err, out)
		}
	})
	env := []string{"GOPROXY=file://" + proxy, "GONOSUMDB=*", "GOMODCACHE=" + cache}
	build := func(sum string) result {
		return run(t, "", env, "bash", "-euo", "pipefail", "-c", `. ./lib.sh; build_module "$@"`, "test",
			dest, "example.com/tool@v1.0.0", sum, ".", "-X main.said=hello")
	}
	got := build("h1:another=")
	if _, err := os.Stat(dest); got.code != 1 || !strings.Contains(got.errout, "want h1:another=") || err == nil {
		t.Fatalf("another checksum: %+v, binary %v", got, err)
	}
	_, after, _ := strings.Cut(got.errout, "has checksum ")
	sum, _, _ := strings.Cut(after, ",")
	if got := build(sum); got.code != 0 {
		t.Fatalf("build: %+v", got)
	}
	if got := run(t, "", nil, dest); got.code != 0 || got.errout != "hello\n" {
		t.Errorf("what was built: %+v", got)
	}
	if left, err := os.ReadDir(filepath.Dir(dest)); err != nil || len(left) != 1 {
		t.Errorf("beside it: %v, %v", left, err)
	}
	if got := build("h1:another="); got != (result{}) {
		t.Errorf("once it is there: %+v", got)
	}
}

// fileProxy lays example.com/tool v1.0.0 out as GOPROXY=file:// wants it.
func fileProxy(t *testing.T, files map[string]string) string {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, text := range files {
		f, err := w.Create("example.com/tool@v1.0.0/" + name)
		if err == nil {
			_, err = f.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := filepath.Join(dir, "example.com/tool/@v/v1.0.0")
	write(t, at+".info", `{"Version":"v1.0.0"}`)
	write(t, at+".mod", files["go.mod"])
	write(t, at+".zip", buf.String())
	return dir
}

func TestFuzzFindsEveryTargetAndFails(t *testing.T) {
	const good = `package a

import "testing"

func FuzzGood(f *testing.F) { f.Fuzz(func(t *testing.T, s string) {}) }
`
	const bad = `package b

import "testing"

func FuzzBad(f *testing.F) { f.Add("x"); f.Fuzz(func(t *testing.T, s string) { t.Fatal("always") }) }
`
	dir := module(t, map[string]string{"a/a_test.go": good, "b/b_test.go": bad})
	got := run(t, dir, nil, script(t, "fuzz.sh"), "10x", "./...")
	if got.code != 1 || !strings.Contains(got.out, "2 fuzz targets, 1 failed") ||
		!strings.Contains(got.errout, "failed: example.com/m/b FuzzBad") {
		t.Errorf("fuzz.sh: %+v", got)
	}
	if got := run(t, dir, nil, script(t, "fuzz.sh"), "10x", "./a"); got.code != 0 {
		t.Errorf("fuzz.sh ./a: %+v", got)
	}
}

func TestFuzzWithoutTargetsFails(t *testing.T) {
	dir := module(t, map[string]string{"a/a.go": "package a\n"})
	if got := run(t, dir, nil, script(t, "fuzz.sh"), "1x", "./..."); got.code != 1 {
		t.Errorf("fuzz.sh: %+v", got)
	}
}

// verifyModule generates out.txt from in.txt and has scripts/verify.sh, which works on the tree that it is in.
func verifyModule(t *testing.T) string {
	t.Helper()
	files := map[string]string{
		"a.go":    "// Package a is generated from.\npackage a\n\n//go:generate cp in.txt out.txt\n",
		"in.txt":  "one\n",
		"out.txt": "one\n",
	}
	for _, name := range []string{"verify.sh", "lib.sh"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files["scripts/"+name] = string(text)
	}
	return module(t, files)
}

func TestVerify(t *testing.T) {
	tests := []struct {
		name   string
		change map[string]string
		code   int
		says   string
	}{
		{"up to date", nil, 0, "up to date"},
		{"an edit of one's own", map[string]string{"notes.txt": "x"}, 0, "up to date"},
		{"stale", map[string]string{"in.txt": "two\n"}, 1, "generated files are stale"},
		{"edited and stale", map[string]string{"out.txt": "mine\n"}, 1, "generated files are stale"},
		{"untidy", map[string]string{"go.mod": "module example.com/m\n\ngo 1.26.0\n\nrequire golang.org/x/sys v0.49.0\n"}, 1, "not tidy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := verifyModule(t)
			for name, text := range tt.change {
				write(t, filepath.Join(dir, name), text)
			}
			got := run(t, dir, []string{"GOFLAGS=-mod=mod"}, "bash", "scripts/verify.sh")
			if got.code != tt.code || !strings.Contains(got.out+got.errout, tt.says) {
				t.Errorf("verify.sh: %+v", got)
			}
		})
	}
}
