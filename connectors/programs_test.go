package connectors_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// programs is a Program that notes what it is given.
type programs struct {
	mu    sync.Mutex
	sweep error
	swept int
	read  []string // what each run's program said
	do    func(ctx context.Context, run connectors.Run) (connectors.Report, error)
}

func (p *programs) Sweep(_ context.Context, instance string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.swept++
	if instance != inst {
		return fmt.Errorf("instance %s", instance)
	}
	return p.sweep
}

func (p *programs) Run(ctx context.Context, run connectors.Run) (connectors.Report, error) {
	data, err := os.ReadFile(filepath.Join(run.Program, "lib", "extractor.py"))
	if err != nil {
		return connectors.Report{}, err
	}
	p.mu.Lock()
	p.read = append(p.read, string(data))
	do := p.do
	p.mu.Unlock()
	if do != nil {
		return do(ctx, run)
	}
	_, _ = io.WriteString(run.Output, "the password is env-")
	_, _ = io.WriteString(run.Output, "value\n")
	return connectors.Report{}, os.WriteFile(filepath.Join(run.Job.Dir, "orders.csv"), []byte("id\n1\n"), 0o600)
}

func treeOf(text string) desired.FileTree {
	return desired.FileTree{Entries: []desired.FileEntry{{Path: "lib/extractor.py", Mode: 0o755, Content: []byte(text)}, {Path: "main.py", Link: "lib/extractor.py"}}}
}

func program(tree desired.FileTree) desired.ConnectorSpec {
	return desired.ConnectorSpec{Identity: tree.Hash(), Retries: 3, Keep: 2, Program: &desired.ProgramSource{Files: tree.Hash(), Env: map[string]string{"PASSWORD": "env-value"}}}
}

func (h *host) hands(spec desired.ConnectorSpec, trees ...desired.FileTree) {
	files := map[string]desired.FileTree{}
	for _, tree := range trees {
		files[tree.Hash()] = tree
	}
	h.Set(inst, reconciler.WantedConnectors{ByName: one(spec), Files: files, Commit: "c1"})
	synctest.Wait()
}

// withPrograms is a host that runs them.
func withPrograms(t *testing.T, f func(t *testing.T, h *host, p *programs)) {
	t.Helper()
	inBubble(t, func(t *testing.T, h *host) {
		p := &programs{}
		h.stop()
		h.opts.Program = p
		h.run()
		h.pub.judges(func(connectors.Publication) (connectors.Published, error) {
			return connectors.Published{Generation: -1, Tables: []connectors.TableResult{{Table: "orders", Outcome: connectors.OK, Rows: 1}}}, nil
		})
		f(t, h, p)
	})
}

// No program runs before what an earlier process left is gone; what is built in
// does not wait for that.
func TestNothingRunsBesideWhatWasLeft(t *testing.T) {
	withPrograms(t, func(t *testing.T, h *host, p *programs) {
		p.sweep = errors.New("the engine does not answer")
		tree := treeOf("one")
		specs := map[string]desired.ConnectorSpec{"prog": program(tree), "shop": source("", "orders")}
		h.Set(inst, reconciler.WantedConnectors{ByName: specs, Files: map[string]desired.FileTree{tree.Hash(): tree}})
		h.pass(5 * time.Minute)
		if len(p.read) != 0 || h.service("shop").count() != 1 || p.swept < 5 || p.swept > 15 {
			t.Errorf("%d programs and %d others ran, swept %d times", len(p.read), h.service("shop").count(), p.swept)
		}
		if s := h.stands("prog", reconciler.AttachmentPending, "HostProblem"); !strings.Contains(s.Message, "does not answer") {
			t.Errorf("status %+v", s)
		}
		p.mu.Lock()
		p.sweep = nil
		p.mu.Unlock()
		h.pass(time.Minute)
		h.stands("prog", reconciler.AttachmentLive, "")
		n := p.swept
		h.pass(time.Hour)
		if p.swept != n {
			t.Errorf("swept %d times more", p.swept-n)
		}
	})
}

// The files of a program are handed over once, and are there for each run that
// wants them: after a restart, after a change was taken back, and whatever a run
// did to its own.
func TestFilesOfPrograms(t *testing.T) {
	withPrograms(t, func(t *testing.T, h *host, p *programs) {
		first, second := treeOf("one"), treeOf("two")
		h.hands(program(first), first)
		h.hands(program(second), second)
		h.again(one(program(second)))
		h.want(one(program(first)))
		same(t, "programs", p.read, []string{"one", "two", "one"})
		if r := h.newest("shop"); r.Outcome != connectors.OK {
			t.Errorf("record %+v", r)
		}
		if data := h.logOf(3); !strings.Contains(data, "the password is (sensitive)\n") {
			t.Errorf("log %q", data)
		}
		if p := h.pub.last(); p.Built || p.Only != nil || filepath.Base(p.Dir) != "out" {
			t.Errorf("publication %+v", p)
		}
		same(t, "left", left(t, h.opts.Dir), []string{"shop/2/log", "shop/3/log"})
		file := filepath.Join(h.opts.Dir, inst, "programs", second.Hash()+".json")
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("mode %s", info.Mode())
		}
		must(t, os.WriteFile(file, []byte(`{"Entries":[{"path":"lib/extractor.py","content":"AAAA"}]}`), 0o600))
		h.want(one(program(second)))
		h.hands(program(second)) // and nothing to read
		if r := h.newest("shop"); r.Outcome != connectors.Failed || !strings.Contains(r.Error, "were changed") || r.Hint == "" {
			t.Errorf("record %+v", r)
		}
		h.hands(program(second), second)
		h.pass(2 * time.Minute)
		if r := h.newest("shop"); r.Outcome != connectors.OK || len(p.read) != 4 || p.read[3] != "two" {
			t.Errorf("record %+v", r)
		}
	})
}

func (h *host) logOf(id int64) string {
	h.t.Helper()
	f, err := h.Log(inst, "shop", id)
	must(h.t, err)
	defer f.Close()
	data, err := io.ReadAll(f)
	must(h.t, err)
	return string(data)
}

// Of a program that failed only what its runner vouches for is taken, and a
// table beside it is not taken for gone.
func TestProgramThatFails(t *testing.T) {
	withPrograms(t, func(t *testing.T, h *host, p *programs) {
		tree := treeOf("one")
		p.do = func(context.Context, connectors.Run) (connectors.Report, error) {
			return connectors.Report{}, errors.New("exit code 1")
		}
		h.hands(program(tree), tree)
		if h.pub.count() != 0 {
			t.Error("it was published")
		}
		h.stands("shop", reconciler.AttachmentFailed, "RunFailed")
		p.mu.Lock()
		p.do = func(context.Context, connectors.Run) (connectors.Report, error) {
			return connectors.Report{Tables: []connectors.TableResult{{Table: "orders", Outcome: connectors.OK}, {Table: "events", Outcome: connectors.Failed, Error: "cut short"}}}, errors.New("exit code 1")
		}
		p.mu.Unlock()
		h.pass(2 * time.Minute)
		if p := h.pub.last(); !slices.Equal(p.Only, []string{"orders"}) {
			t.Errorf("publication %+v", p)
		}
		if s := h.stands("shop", reconciler.AttachmentDegraded, "Partial"); !strings.Contains(s.Message, "events: cut short") {
			t.Errorf("status %+v", s)
		}
	})
}

// A process that died in the middle of a run: the run is a failed one, is made
// again after a pause, and nothing of it lies about.
func TestInterrupted(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		spec := source("", "orders")
		spec.Retries = 0
		h.service("shop").does(lasts(time.Hour))
		h.want(one(spec))
		h.pass(time.Minute)
		h.mem.mu.Lock()
		notes := maps.Clone(h.mem.notes)
		h.mem.mu.Unlock()
		dir := filepath.Join(h.opts.Dir, inst, "runs", "shop", "1", "out")
		h.stop()
		must(t, os.MkdirAll(dir, 0o700))
		must(t, os.WriteFile(filepath.Join(dir, "half.csv"), []byte("x"), 0o600))
		h.mem.notes = notes
		h.service("shop").does(nil)
		h.service("shop").times()
		h.run()
		h.want(one(spec))
		if r := h.newest("shop"); r.Outcome != connectors.Failed || !strings.Contains(r.Error, "interrupted") {
			t.Errorf("record %+v", r)
		}
		same(t, "left", left(t, h.opts.Dir), []string{"shop/1/log"})
		h.pass(30 * time.Second)
		same(t, "at once", h.service("shop").times(), nil)
		h.again(one(spec)) // it is written down
		h.pass(10 * time.Second)
		same(t, "after another restart", h.service("shop").times(), nil)
		h.pass(time.Minute)
		if r := h.newest("shop"); r.ID != 2 || r.Outcome != connectors.OK || r.Cause != connectors.CauseRetry {
			t.Errorf("record %+v", r)
		}
	})
}

// Files that were damaged after they were taken are taken again.
func TestDamagedFilesAreTakenAgain(t *testing.T) {
	withPrograms(t, func(t *testing.T, h *host, p *programs) {
		tree := treeOf("one")
		spec := program(tree)
		spec.Schedule = &desired.Schedule{Text: "every 1h"}
		h.hands(spec, tree)
		must(t, os.Remove(filepath.Join(h.opts.Dir, inst, "programs", tree.Hash()+".json")))
		h.pass(time.Hour)
		h.stands("shop", reconciler.AttachmentDegraded, "RunFailed")
		h.hands(spec, tree)
		h.pass(time.Hour)
		h.stands("shop", reconciler.AttachmentLive, "")
	})
}

// While the engine does not answer nothing is given up.
func TestEngineThatIsAway(t *testing.T) {
	withPrograms(t, func(t *testing.T, h *host, p *programs) {
		p.do = func(context.Context, connectors.Run) (connectors.Report, error) {
			return connectors.Report{}, fmt.Errorf("make container: %w", reconciler.ErrUnreachable)
		}
		tree := treeOf("one")
		spec := program(tree)
		spec.Retries = 0
		h.hands(spec, tree)
		h.pass(24 * time.Hour)
		p.mu.Lock()
		if n := len(p.read); n < 20 || n > 40 {
			t.Errorf("tried %d times in a day", n)
		}
		p.do = nil
		p.mu.Unlock()
		h.pass(time.Hour)
		h.stands("shop", reconciler.AttachmentLive, "")
	})
}

// A restart is no reason to say that things stand so since then.
func TestSinceOutlivesARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, h *host) {
		h.want(one(source("", "orders")))
		at := h.stands("shop", reconciler.AttachmentLive, "").Since
		h.pass(time.Hour)
		h.again(one(source("", "orders")))
		if got := h.stands("shop", reconciler.AttachmentLive, "").Since; !got.Equal(at) {
			t.Errorf("since %s, not %s", got, at)
		}
	})
}
