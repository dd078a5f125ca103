package analytics

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

const (
	setupLimit  = 30 * time.Second
	attachLimit = time.Minute
	// A worker that was told to give up by its deadline has this long to do so.
	killAfter = 500 * time.Millisecond
	// One whose client has gone may end in peace within this time, since another
	// one costs half a second to start.
	hangUpAfter = 250 * time.Millisecond
	sendLimit   = 10 * time.Second
)

// errGone says that a worker is no more.
type errGone struct {
	how string
	// unheard says that it went before it can have begun what it was asked.
	unheard bool
}

func (e errGone) Error() string { return "the query worker ended: " + e.how }

// worker is a query worker. Whoever took it out of the idle ones speaks with it;
// what others read of it is under the lock of its instance.
type worker struct {
	*child
	reader *bufio.Reader
	id     int64 // of the last request
	setup  wire.Setup
	ready  wire.Ready

	// Under the lock of the instance.
	version   int64    // of the catalogue that it was brought to
	target    *catalog // that it is being brought to
	have      map[string]int
	failed    map[string]string // sources that could not be attached, and why
	remotes   string            // key of the remotes that it was set up with
	user      string            // whose query it has
	busy      bool
	idleSince time.Time
	retired   bool // to be ended when it is idle

	flat   map[string]string // that it was told
	system map[string]string // files of system tables, by name
}

// startWorker starts a worker and has it ready, with nothing attached.
func startWorker(ctx context.Context, command []string, setup wire.Setup, group *cgroup) (*worker, error) {
	c, err := startChild(command, wire.Worker, setup.Temp, group)
	if err != nil {
		return nil, err
	}
	w := &worker{child: c, reader: bufio.NewReaderSize(c.out, 64<<10), setup: setup, have: map[string]int{}}
	w.flat, w.system = map[string]string{}, map[string]string{}
	stop := context.AfterFunc(ctx, c.kill)
	defer stop()
	reply, err := w.ask(setupLimit, setup, 0)
	if err == nil && reply.Ready == nil {
		err = wire.ErrFrame
	}
	if err != nil {
		c.close()
		return nil, fmt.Errorf("start query worker: %w", err)
	}
	w.ready = *reply.Ready
	return w, nil
}

// ask sends a message and reads the one that answers it. An error of the worker
// is a *wire.Error; any other says that the worker is of no use any more.
func (w *worker) ask(limit time.Duration, message any, id int64) (wire.Reply, error) {
	if err := w.send(message); err != nil {
		return wire.Reply{}, err
	}
	_ = w.out.SetReadDeadline(time.Now().Add(limit))
	reply, data, err := w.receive()
	switch {
	case err != nil:
		return wire.Reply{}, w.broken(err)
	case data != nil || reply.ID != id:
		return wire.Reply{}, w.broken(wire.ErrFrame)
	case reply.Error != nil:
		return reply, reply.Error
	}
	return reply, nil
}

// send writes a message. When that cannot be done the worker has not begun.
func (w *worker) send(message any) error {
	_ = w.in.SetWriteDeadline(time.Now().Add(sendLimit))
	if err := wire.WriteMessage(w.in, message); err != nil {
		w.settle()
		w.kill()
		return errGone{w.epitaph(), true}
	}
	return nil
}

// receive reads one frame: a message, or a piece of a result.
func (w *worker) receive() (reply wire.Reply, data []byte, err error) {
	kind, content, err := wire.ReadFrame(w.reader)
	if err != nil {
		return reply, nil, err
	}
	if kind == wire.Data {
		return reply, content, nil
	}
	if err := json.Unmarshal(content, &reply); err != nil {
		return reply, nil, fmt.Errorf("read reply: %w", err)
	}
	return reply, nil, nil
}

// broken ends a worker that did not answer as it should, and says what happened.
func (w *worker) broken(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.kill()
		<-w.dead
		return fmt.Errorf("the query worker did not answer in time: %w", err)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		w.kill()
		return errGone{how: err.Error()}
	}
	w.settle()
	return errGone{how: w.epitaph()}
}

// attach has the worker attach what a catalogue has and it has not. What it has
// then, and what it could not attach, is returned; an error says that the worker
// is of no use any more, and culprit names the source it happened with if that
// is certain.
func (w *worker) attach(c *catalog, oneByOne bool) (have map[string]int, failed map[string]string, culprit string, err error) {
	have, failed = maps.Clone(w.have), map[string]string{}
	for _, part := range c.difference(w, oneByOne) {
		w.id++
		reply, err := w.ask(attachLimit, wire.Request{ID: w.id, Attach: &part}, w.id)
		if err == nil && reply.Attach == nil {
			err = w.broken(wire.ErrFrame)
		}
		var said *wire.Error
		if errors.As(err, &said) && said.Code != wire.CodeFatal {
			for _, s := range part.Sources {
				failed[s.Name] = said.Message
			}
			w.flat = unsure(w.flat, c.flat)
			continue
		}
		if err != nil {
			if len(part.Sources) == 1 {
				culprit = part.Sources[0].Name
			}
			return have, failed, culprit, err
		}
		maps.Copy(failed, reply.Attach.Failed)
		if have = reply.Attach.Have; have == nil {
			have = map[string]int{}
		}
	}
	for _, t := range c.system {
		if failed[systemSchema+"."+t.Name] == "" {
			w.system[t.Name] = t.File
		}
	}
	if len(failed) > 0 {
		w.flat = unsure(w.flat, c.flat)
	} else {
		w.flat = maps.Clone(c.flat)
	}
	return have, failed, "", nil
}

// unsure are the flat names that a worker may have, when it is not certain which
// were set: each is said again, or taken away, the next time.
func unsure(had, told map[string]string) map[string]string {
	out := map[string]string{}
	for _, names := range []map[string]string{had, told} {
		for name := range names {
			out[name] = "?"
		}
	}
	return out
}
