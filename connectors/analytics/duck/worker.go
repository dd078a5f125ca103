//go:build cgo

package duck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// worker answers requests over what is attached, one at a time.
type worker struct {
	setup  wire.Setup
	engine *engine
	gate   *gate
	out    io.Writer
	log    io.Writer
	hide   *strings.Replacer // what no message holds: secrets and directories

	sources map[string]source    // that are attached, by name
	flat    map[string]flatName  // names without a source, in lower case
	views   map[string]tableView // that may be read, by name in lower case: orders, shop.orders
	made    map[string]tableView // those of them that the engine has, by the same
	system  map[string]bool      // tables of Fairlead's own
	remotes map[string]string    // alias -> why it is not attached; empty: it is
	types   map[string]bool      // types of columns that were found to be types
	sending
}

// runWorker reads Setup, then requests until the input ends. All of the engine's
// work is done by this thread and by those that the engine starts from it, since
// Landlock holds threads.
func runWorker(ctx context.Context, in io.Reader, out, log io.Writer) error {
	runtime.LockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	messages := readMessages(in, cancel)
	first, ok := <-messages
	if !ok {
		return nil
	}
	var setup wire.Setup
	if err := json.Unmarshal(first, &setup); err != nil {
		return fmt.Errorf("read set-up: %w", err)
	}
	w := newWorker(setup, out, log)
	ready, err := w.confine()
	if err == nil {
		err = w.open(ctx, &ready)
	}
	if err != nil {
		return errors.Join(err, wire.WriteMessage(out, wire.Reply{Error: &wire.Error{Code: wire.CodeFatal, Message: w.hidden(err.Error())}}))
	}
	if err := wire.WriteMessage(out, wire.Reply{Ready: &ready}); err != nil {
		return err
	}
	for message := range messages {
		if err := w.serve(ctx, message); err != nil {
			return err
		}
	}
	return nil
}

// readMessages reads ahead, so that the end of the input, which is that of
// whoever asks, ends a statement that is under way.
func readMessages(in io.Reader, end func()) <-chan []byte {
	messages := make(chan []byte)
	go func() {
		defer close(messages)
		defer end()
		for {
			kind, content, err := wire.ReadFrame(in)
			if err != nil || kind != wire.Message {
				return
			}
			messages <- content
		}
	}()
	return messages
}

func newWorker(setup wire.Setup, out, log io.Writer) *worker {
	return &worker{setup: setup, out: out, log: log, hide: hiding(setup), sources: map[string]source{},
		flat: map[string]flatName{}, made: map[string]tableView{}, system: map[string]bool{}, remotes: map[string]string{}, types: map[string]bool{}}
}

// confine takes the limits of the process, for good.
func (w *worker) confine() (wire.Ready, error) {
	ready := wire.Ready{Version: mapping.LibraryVersion(), Remotes: map[string]string{}, Landlock: true}
	// A file that grows too large is then an error and not a signal (setrlimit(2)).
	signal.Ignore(unix.SIGXFSZ)
	if err := (limits{Data: w.setup.MaxAddress, File: w.setup.MaxFile, Files: 4096, Nice: 5, OOM: 800}).apply(); err != nil {
		return ready, err
	}
	if err := w.confinement().landlock(); err != nil {
		ready.Landlock, ready.Unconfined = false, err.Error()
		_, _ = fmt.Fprintln(w.log, "worker:", err)
	}
	return ready, nil
}

// open opens the engine, attaches the remote databases and locks it. The order is
// that of the engine: extensions are loaded and databases of others attached
// before access is taken away, views are made by us alone and after it.
func (w *worker) open(ctx context.Context, ready *wire.Ready) (err error) {
	if w.engine, err = openEngine(engineOptions{Memory: w.setup.Memory, Threads: w.setup.Threads, Temp: w.setup.Temp,
		MaxTemp: megabytes(w.setup.MaxFile), Extensions: w.setup.Extensions}); err != nil {
		return err
	}
	if w.gate, err = newGate(ctx); err != nil {
		return err
	}
	w.attachRemotes(ctx, ready)
	if err := w.engine.exec(ctx, "SET parquet_metadata_cache = true", "CREATE SCHEMA fairlead"); err != nil {
		return fmt.Errorf("set up engine: %w", err)
	}
	if err := w.engine.lockDown(ctx, w.setup.Allowed); err != nil {
		return fmt.Errorf("lock engine: %w", err)
	}
	return nil
}

func megabytes(n int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%dMB", max(n>>20, 1))
}

// confinement are the directories of the worker. Names of hosts and certificates
// are read by the extensions of remote databases only.
func (w *worker) confinement() confinement {
	c := confinement{write: []string{w.setup.Temp, "/dev/null"}, network: len(w.setup.Remotes) > 0}
	c.read = append(append(c.read, w.setup.Allowed...), "/proc/self", "/sys/fs/cgroup", "/etc/localtime", "/usr/share/zoneinfo")
	if c.network {
		c.read = append(c.read, w.setup.Extensions, "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve")
	}
	return c
}

// serve does one request. An error ends the worker.
func (w *worker) serve(ctx context.Context, message []byte) error {
	var request wire.Request
	if err := json.Unmarshal(message, &request); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	reply, err := wire.Reply{ID: request.ID}, error(nil)
	switch {
	case request.Attach != nil:
		attached := w.attach(ctx, *request.Attach)
		reply.Attach = &attached
	case request.Query != nil:
		var tail wire.Tail
		if tail, err = w.query(ctx, request.ID, *request.Query); err == nil {
			reply.Tail = &tail
		}
	case request.Profile != nil:
		reply.Profile, err = w.profile(ctx, *request.Profile)
	default:
		err = &wire.Error{Code: wire.CodeFailed, Message: "the request asks for nothing"}
	}
	if errors.Is(err, errOutput) {
		return err
	}
	if err != nil {
		reply.Error = w.told(err)
	}
	if err := w.send(reply); err != nil {
		return err
	}
	if reply.Error != nil && reply.Error.Code == wire.CodeFatal {
		return fmt.Errorf("answer request: %w", reply.Error)
	}
	return nil
}

// hiding replaces what belongs to the host: its directories and its secrets.
func hiding(s wire.Setup) *strings.Replacer {
	var pairs []string
	for _, token := range s.Tokens {
		if len(token) > 3 {
			pairs = append(pairs, token, "(hidden)", strings.ReplaceAll(token, "'", "''"), "(hidden)")
		}
	}
	for _, dir := range append([]string{s.Temp, s.Extensions}, s.Allowed...) {
		if dir = strings.TrimSuffix(dir, "/"); dir != "" {
			pairs = append(pairs, dir+"/", "", dir, "(directory)")
		}
	}
	return strings.NewReplacer(pairs...)
}

func (w *worker) hidden(text string) string { return w.hide.Replace(text) }

// temporary makes a file of the worker's own; the caller removes it.
func (w *worker) temporary(pattern string) (string, error) {
	f, err := os.CreateTemp(w.setup.Temp, pattern)
	if err != nil {
		return "", fmt.Errorf("make temporary file: %w", err)
	}
	return f.Name(), f.Close()
}
