package connectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

// The variables of a child process: where it works, and at which step it is
// killed.
const (
	childDir  = "FAIRLEAD_TEST_CONNECTORS_DIR"
	childStep = "FAIRLEAD_TEST_CONNECTORS_STEP"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// diskMemory is a Memory of files, each replaced in one step.
type diskMemory struct {
	dir  string
	step func(string)
}

func (m diskMemory) file(key string) string {
	return filepath.Join(m.dir, strings.ReplaceAll(key, "/", "+"))
}

func (m diskMemory) Get(key string) ([]byte, error) {
	data, err := os.ReadFile(m.file(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

func (m diskMemory) Put(key string, value []byte) error {
	tmp := m.file(key) + "~"
	if err := os.WriteFile(tmp, value, 0o600); err != nil {
		return err
	}
	m.step("have written " + key)
	if err := os.Rename(tmp, m.file(key)); err != nil {
		return err
	}
	m.step("have remembered " + key)
	return nil
}

// diskPublisher has the newest number that was read, of each generation: a
// generation holds all numbers up to it, if none was ever skipped.
type diskPublisher struct {
	dir  string
	step func(string)
}

type held struct {
	Identity string `json:"identity"`
	Numbers  []int  `json:"numbers"`
}

func (p diskPublisher) generations() (out []held) {
	for n := 1; ; n++ {
		data, err := os.ReadFile(filepath.Join(p.dir, strconv.Itoa(n)))
		if err != nil {
			return out
		}
		var h held
		if json.Unmarshal(data, &h) != nil {
			return out
		}
		out = append(out, h)
	}
}

func (p diskPublisher) Publish(_ context.Context, pub connectors.Publication) (connectors.Published, error) {
	gens := p.generations()
	now := held{Identity: pub.Identity}
	if pub.Tables[0].Changes {
		if pub.Base < 1 || pub.Base > len(gens) {
			return connectors.Published{}, fmt.Errorf("there is no base %d", pub.Base)
		}
		now.Numbers = gens[pub.Base-1].Numbers
	}
	data, err := os.ReadFile(filepath.Join(pub.Dir, "orders.ndjson"))
	if err != nil {
		return connectors.Published{}, err
	}
	var came []int
	if err := json.Unmarshal(data, &came); err != nil {
		return connectors.Published{}, err
	}
	now.Numbers = slices.Compact(slices.Sorted(slices.Values(append(now.Numbers, came...))))
	out, err := json.Marshal(now)
	if err != nil {
		return connectors.Published{}, err
	}
	file := filepath.Join(p.dir, strconv.Itoa(len(gens)+1))
	p.step("write generation")
	if err := errors.Join(os.WriteFile(file+"~", out, 0o600), os.Rename(file+"~", file)); err != nil {
		return connectors.Published{}, err
	}
	p.step("have written generation")
	return connectors.Published{Generation: len(gens) + 1, Tables: pub.Tables}, nil
}

func (p diskPublisher) Keep(string, map[string]string) {}

func (p diskPublisher) Attached(string) (out []connectors.Attached) {
	if gens := p.generations(); len(gens) > 0 {
		out = append(out, connectors.Attached{Source: "shop", Generation: len(gens), Identity: gens[len(gens)-1].Identity})
	}
	return out
}

// counter is a service that has numbers up to now: each run reads those that
// came since its state, or all.
type counter struct{ dir string }

func (c counter) Discover(context.Context, int) ([]connectors.Discovered, bool, error) {
	return nil, false, nil
}

func (c counter) Sync(_ context.Context, j connectors.Job) (connectors.Report, error) {
	lock, err := os.OpenFile(filepath.Join(c.dir, "running"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return connectors.Report{}, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return connectors.Report{}, errors.New("another run is under way")
	}
	data, _ := os.ReadFile(filepath.Join(c.dir, "count"))
	last, _ := strconv.Atoi(string(data))
	last++
	if err := os.WriteFile(filepath.Join(c.dir, "count"), []byte(strconv.Itoa(last)), 0o600); err != nil {
		return connectors.Report{}, err
	}
	s, _ := connectors.ReadState(j.State)
	from := s.Tables["orders"].Since
	var came []int
	for n := int(from) + 1; n <= last; n++ {
		came = append(came, n)
	}
	out, err := json.Marshal(came)
	if err != nil {
		return connectors.Report{}, err
	}
	s.Tables["orders"] = connectors.Left{Since: int64(last)}
	return connectors.Report{
		Tables: []connectors.TableResult{{Table: "orders", Outcome: connectors.OK, Changes: from > 0, Rows: int64(len(came))}},
		State:  s.Kept(j.Tables).Encode(),
	}, os.WriteFile(filepath.Join(j.Dir, "orders.ndjson"), out, 0o600)
}

// onDisk is a Manager of which everything is in a directory.
func onDisk(dir string, step func(string)) (*connectors.Manager, diskMemory, diskPublisher) {
	mem, pub := diskMemory{filepath.Join(dir, "memory"), step}, diskPublisher{filepath.Join(dir, "data"), step}
	o := connectors.Options{Dir: filepath.Join(dir, "instances"), Memory: mem, Publisher: pub, MinFree: -1, Seed: "vm1",
		Sources: func(context.Context, desired.ConnectorSpec) (connectors.Source, error) { return counter{dir}, nil }}
	return connectors.New(o.WithSteps(step)), mem, pub
}

// runs asks for so many runs and waits until they have ended.
func runs(ctx context.Context, m *connectors.Manager, many int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	ended := make(chan error, 1)
	defer func() { <-ended }()
	defer cancel()
	go func() { ended <- m.Run(ctx) }()
	spec := source("", "orders")
	spec.Keep = 2
	m.Set(inst, reconciler.WantedConnectors{ByName: one(spec), Commit: "c1"})
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for done := 0; ; <-look.C {
		if err := ctx.Err(); err != nil {
			all, _ := m.Runs(inst, "shop", 3)
			return fmt.Errorf("%w; %+v", err, all)
		}
		if _, running := m.Progress(inst, "shop"); running {
			continue
		}
		if done == many {
			return nil
		}
		switch _, err := m.Trigger(ctx, inst, "shop", nil); {
		case err == nil:
			done++
		case !errors.Is(err, connectors.ErrRunning) && !errors.Is(err, connectors.ErrNotReady):
			return err
		}
	}
}

// child makes runs, and may not live to the end.
func child(dir string) error {
	var mu sync.Mutex
	n, at := 0, os.Getenv(childStep)
	step := func(string) {
		mu.Lock()
		defer mu.Unlock()
		if n++; strconv.Itoa(n) == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // it arrives
		}
	}
	m, _, _ := onDisk(dir, step)
	return runs(context.Background(), m, 2)
}

// Killed before each thing that is done to the disk, the notes or the data: the
// next process goes on from there. No number is ever missing, no run is left
// open, no number of a run is given twice, and nothing lies about.
func TestKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	must(t, err)
	for n := 1; ; n++ {
		dir := place(t)
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childStep, n))
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		killed := errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if err != nil && !killed {
			t.Fatalf("step %d: %v: %s", n, err, out)
		}
		checkAfterKill(t, dir)
		if t.Failed() {
			t.Fatalf("killed before step %d", n)
		}
		_ = os.RemoveAll(dir)
		if !killed {
			if n < 25 {
				t.Fatalf("only %d steps", n-1)
			}
			t.Logf("%d steps", n-1)
			return
		}
	}
}

func checkAfterKill(t *testing.T, dir string) {
	t.Helper()
	m, mem, pub := onDisk(dir, func(string) {})
	note, err := mem.Get(inst + "/shop")
	must(t, err)
	aheadOf(t, note, pub)
	must(t, runs(t.Context(), m, 1))
	all, err := m.Runs(inst, "shop", 0)
	must(t, err)
	for i, r := range all {
		if r.Outcome == "" || i > 0 && all[i-1].ID <= r.ID {
			t.Errorf("record %+v", r)
		}
	}
	gens := pub.generations()
	last, _ := os.ReadFile(filepath.Join(dir, "count"))
	if have := gens[len(gens)-1].Numbers; strconv.Itoa(len(have)) != string(last) || have[len(have)-1] != len(have) {
		t.Errorf("of %s numbers there are %v", last, have)
	}
	if files := left(t, filepath.Join(dir, "instances")); len(files) > 2 || slices.ContainsFunc(files, func(f string) bool { return filepath.Base(f) != "log" }) {
		t.Errorf("left %q", files)
	}
	note, err = mem.Get(inst + "/shop")
	must(t, err)
	aheadOf(t, note, pub)
}

// aheadOf looks whether the state says of numbers that they are there which are
// not.
func aheadOf(t *testing.T, note []byte, pub diskPublisher) {
	t.Helper()
	raw, _, base, err := connectors.StateOf(note)
	must(t, err)
	s, _ := connectors.ReadState(raw)
	since := int(s.Tables["orders"].Since)
	if gens := pub.generations(); since > 0 && (base > len(gens) || !slices.Contains(gens[base-1].Numbers, since)) {
		t.Errorf("the state says %d, and generation %d of %d has other numbers", since, base, len(gens))
	}
}

// place is a quick directory for a child.
func place(t testing.TB) string {
	t.Helper()
	dir := quick(t)
	must(t, errors.Join(os.Mkdir(filepath.Join(dir, "memory"), 0o700), os.Mkdir(filepath.Join(dir, "data"), 0o700)))
	return dir
}
