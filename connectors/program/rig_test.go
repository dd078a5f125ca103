package program_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/program"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler/docker"
)

// pythonImage is made by scripts/pythonimage.sh.
const pythonImage = "fairlead-test/python:bookworm"

// rig is a Runner over the real engine, and one connector.
type rig struct {
	testing.TB
	runner   *program.Runner
	owner    string
	instance string
	dir      string // of the program
	raw      *client.Client
	runs     int
}

func newRig(t testing.TB) *rig {
	t.Helper()
	owner := t.TempDir()
	r := &rig{TB: t, owner: owner, instance: fmt.Sprintf("fldt%08x", rand.Uint32()), dir: filepath.Join(owner, "program")}
	r.runner = newRunner(t, owner)
	r.check(os.Mkdir(r.dir, 0o755))
	var err error
	r.raw, err = client.NewClientWithOpts(client.WithHost(docker.DefaultHost), client.WithAPIVersionNegotiation())
	r.check(err)
	t.Cleanup(func() {
		r.check(r.runner.Sweep(context.Background(), r.instance))
		if left := r.containers(); len(left) > 0 {
			t.Errorf("containers are left: %v", left)
		}
		r.check(r.raw.Close())
	})
	return r
}

func newRunner(t testing.TB, owner string) *program.Runner {
	t.Helper()
	engine, err := docker.New(docker.Options{Owner: owner})
	if err != nil {
		t.Fatal(err)
	}
	return program.New(program.Options{Engine: engine, AllowHost: true, Owner: owner, Instances: filepath.Join(owner, "instances")})
}

func (r *rig) check(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// file writes a file of the program.
func (r *rig) file(name, content string) {
	r.Helper()
	r.check(os.WriteFile(filepath.Join(r.dir, name), []byte(content), 0o644))
}

// containers are the names of this rig's containers.
func (r *rig) containers() (names []string) {
	r.Helper()
	list, err := r.raw.ContainerList(context.Background(), container.ListOptions{All: true, Filters: filters.NewArgs(filters.Arg("name", r.instance))})
	r.check(err)
	for _, c := range list {
		names = append(names, c.Names...)
	}
	return names
}

// result is what became of a run.
type result struct {
	connectors.Report
	err error
	out string
	log *log
}

// log takes the output of a program, and tells when something was said.
type log struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	await string
	said  chan struct{}
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Write(p)
	if l.await != "" && strings.Contains(l.buf.String(), l.await) {
		l.await = ""
		close(l.said)
	}
	return len(p), nil
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// job is a run that is about to be made.
func (r *rig) job(p desired.ProgramSource) (connectors.Run, *log) {
	r.Helper()
	r.runs++
	out := filepath.Join(r.owner, "instances", r.instance, "runs", "shop", fmt.Sprint(r.runs), "out")
	r.check(os.MkdirAll(out, 0o755))
	l := &log{}
	return connectors.Run{
		Instance: r.instance, Source: "shop", Spec: desired.ConnectorSpec{Program: &p}, Program: r.dir,
		Job: connectors.Job{Dir: out, Now: time.Now()}, Output: l,
	}, l
}

func (r *rig) run(p desired.ProgramSource, change ...func(*connectors.Run)) result {
	r.Helper()
	run, l := r.job(p)
	for _, f := range change {
		f(&run)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	report, err := r.runner.Run(ctx, run)
	return result{report, err, run.Job.Dir, l}
}

// good runs the program and fails the test when it fails.
func (r *rig) good(p desired.ProgramSource, change ...func(*connectors.Run)) result {
	r.Helper()
	res := r.run(p, change...)
	if res.err != nil {
		r.Fatalf("%v\n%s", res.err, res.log)
	}
	return res
}

// bad runs the program, which is to fail with these words.
func (r *rig) bad(p desired.ProgramSource, words ...string) result {
	r.Helper()
	res := r.run(p)
	if res.err == nil {
		r.Fatalf("it did not fail\n%s", res.log)
	}
	text := res.err.Error() + " | " + connectors.Hint(res.err)
	for _, w := range words {
		if !strings.Contains(text, w) {
			r.Errorf("the error %q has no %q\n%s", text, w, res.log)
		}
	}
	return res
}

func (r *rig) read(res result, name string) string {
	r.Helper()
	data, err := os.ReadFile(filepath.Join(res.out, name))
	r.check(err)
	return string(data)
}

// facts decodes what a program wrote as JSON.
func (r *rig) facts(res result, name string) (m map[string]any) {
	r.Helper()
	r.check(json.Unmarshal([]byte(r.read(res, name)), &m))
	return m
}

var tierA = desired.ProgramSource{Files: "shop", Image: pythonImage}

var tierAHost = desired.ProgramSource{Files: "shop", Host: true}

// ways are the ways in which a tier a program runs.
func ways(t *testing.T, f func(t *testing.T, p desired.ProgramSource)) {
	t.Run("container", func(t *testing.T) { t.Parallel(); f(t, tierA) })
	t.Run("process", func(t *testing.T) { t.Parallel(); f(t, tierAHost) })
}
