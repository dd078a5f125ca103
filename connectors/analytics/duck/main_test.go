//go:build cgo

package duck

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// childMode is set for the processes that the tests start: this binary again.
const childMode = "FAIRLEAD_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) == probeMode {
		if err := once(context.Background(), os.Stdin, os.Stdout, job[wire.BuildRequest, wire.BuildReply]{placesOfBuild, probe}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if mode := os.Getenv(childMode); mode != "" {
		if err := Main(context.Background(), mode, os.Stdin, os.Stdout, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// process is a worker that really is one.
type process struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   io.Reader
	log   *bytes.Buffer
	ended chan error
	next  int64
}

func startChild(t testing.TB, setup wire.Setup) (*process, wire.Reply) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &process{cmd: exec.Command(exe), log: &bytes.Buffer{}, ended: make(chan error, 1)}
	c.cmd.Env = []string{childMode + "=" + wire.Worker}
	c.cmd.Stderr = c.log
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out, c.cmd.Stdout = r, w
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	go func() { c.ended <- c.cmd.Wait() }()
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.in.Close()
		_ = r.Close()
	})
	if err := wire.WriteMessage(c.in, setup); err != nil {
		t.Fatal(err)
	}
	reply, _, err := c.read()
	if err != nil {
		t.Fatalf("child did not come up: %v\n%s", err, c.log)
	}
	return c, reply
}

// ask sends a request and reads until its answer is complete.
func (c *process) ask(request wire.Request) (answer wire.Reply, head *wire.Head, data []byte, err error) {
	c.next++
	request.ID = c.next
	if err := wire.WriteMessage(c.in, request); err != nil {
		return wire.Reply{}, nil, nil, err
	}
	for {
		reply, piece, err := c.read()
		switch {
		case err != nil:
			return wire.Reply{}, nil, nil, err
		case piece != nil:
			data = append(data, piece...)
		case reply.ID != request.ID:
			return wire.Reply{}, nil, nil, fmt.Errorf("answer to %d, asked %d", reply.ID, request.ID)
		case reply.Head != nil:
			head = reply.Head
		default:
			return reply, head, data, nil
		}
	}
}

func (c *process) query(q wire.Query) (wire.Reply, *wire.Head, string, error) {
	reply, head, data, err := c.ask(wire.Request{Query: &q})
	return reply, head, string(data), err
}

func (c *process) read() (reply wire.Reply, data []byte, err error) {
	kind, content, err := wire.ReadFrame(c.out)
	if err != nil {
		return reply, nil, err
	}
	if kind == wire.Data {
		return reply, content, nil
	}
	return reply, nil, json.Unmarshal(content, &reply)
}

// warehouse is a directory with generations of sources as a publisher leaves them.
type warehouse struct {
	dir, temp string
	sources   []wire.Source
}

func (h *warehouse) setup() wire.Setup {
	return wire.Setup{Allowed: []string{h.dir}, Temp: h.temp, Memory: "512MB", MaxAddress: 2 << 30, MaxFile: 256 << 20, Threads: 2,
		Extensions: filepath.Join(h.dir, "extensions")}
}

func newWarehouse(t testing.TB) *warehouse {
	t.Helper()
	h := &warehouse{dir: t.TempDir(), temp: t.TempDir()}
	h.source(t, "shop", 1, map[string]string{
		"orders": "SELECT i::BIGINT AS id, 'v' || i AS name, (i % 100)::DECIMAL(12,2) AS amount, TIMESTAMP '2026-01-01' + to_seconds(i) AS at, " +
			"DATE '2026-01-01' + (i % 365)::INTEGER AS day, ['a', 'b'] AS tags FROM range(1000) t(i)",
		"items": "SELECT i::BIGINT AS id, (i % 10)::BIGINT AS k FROM range(100) t(i)",
	})
	h.source(t, "crm", 1, map[string]string{"customers": "SELECT i::INTEGER AS id, 'c' || i AS name FROM range(50) t(i)"})
	return h
}

// source writes a generation: a Parquet file a table, with what the engine says
// of its columns.
func (h *warehouse) source(t testing.TB, name string, generation int, tables map[string]string) wire.Source {
	t.Helper()
	e := testEngine(t)
	s := wire.Source{Name: name, Generation: generation, Dir: filepath.Join(h.dir, name, fmt.Sprint(generation))}
	if err := os.MkdirAll(filepath.Join(s.Dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, table := range sortedKeys(tables) {
		s.Tables = append(s.Tables, writeTable(t, e, s.Dir, table, tables[table]))
	}
	h.sources = append(h.sources, s)
	return s
}

func writeTable(t testing.TB, e *engine, dir, table, text string) connectors.ManifestTable {
	t.Helper()
	path := filepath.Join("data", table+".parquet")
	if err := e.exec(t.Context(), "COPY ("+text+") TO "+quoteText(filepath.Join(dir, path))+" (FORMAT parquet)"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	s, err := e.prepare(text)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	names, types := s.columns()
	return connectors.ManifestTable{Name: table, QueryMode: "local", Columns: heads(names, types),
		Files: []connectors.ManifestFile{{Path: path, Size: info.Size()}}}
}

func testEngine(t testing.TB) *engine {
	t.Helper()
	e, err := openEngine(engineOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func (h *warehouse) attach() wire.Attach {
	a := wire.Attach{Sources: h.sources, Flat: map[string]string{}}
	for _, s := range h.sources {
		for _, table := range s.Tables {
			a.Flat[table.Name] = s.Name + "." + table.Name
		}
	}
	return a
}

// startWith is a child that has what the warehouse has.
func (h *warehouse) startWith(t testing.TB) *process {
	t.Helper()
	c, reply := startChild(t, h.setup())
	if reply.Ready == nil {
		t.Fatalf("not ready: %+v\n%s", reply.Error, c.log)
	}
	a := h.attach()
	answer, _, _, err := c.ask(wire.Request{Attach: &a})
	if err != nil || answer.Attach == nil || len(answer.Attach.Failed) > 0 {
		t.Fatalf("attach: %+v, %v\n%s", answer, err, c.log)
	}
	return c
}

// ends waits for the process to end by itself.
func (c *process) ends(t testing.TB) error {
	t.Helper()
	select {
	case err := <-c.ended:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the child goes on")
		return nil
	}
}

func TestThereIsNoOtherMode(t *testing.T) {
	if err := Main(t.Context(), "dance", nil, io.Discard, io.Discard); !errors.Is(err, ErrMode) {
		t.Errorf("mode dance: %v", err)
	}
}
