//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/analytics/wire"
)

// frameSize is how much of a result goes into one frame.
const frameSize = 256 << 10

// errOutput says that whoever asked does not take the answer any more.
var errOutput = errors.New("answer is not taken")

// encoder writes rows in a format.
type encoder interface {
	begin(r *result, names []string, kinds []kind) error
	// rows writes the first n rows of a batch; errStop says that there is no room
	// for all of them.
	rows(r *result, b *batch, n int) error
	end(r *result) error
}

// result is the answer to a query, as it is written.
type result struct {
	worker  *worker
	id      int64
	query   wire.Query
	encoder encoder
	columns []connectors.Column
	names   []string
	kinds   []kind
	begun   bool
	buffer  []byte
	tail    wire.Tail
}

func (r *result) open(e encoder, columns []connectors.Column, names []string, kinds []kind) {
	r.encoder, r.columns, r.names, r.kinds = e, columns, names, kinds
}

// begin tells the columns: not before there is a row or an end, so that most
// errors come alone.
func (r *result) begin() error {
	if r.begun {
		return nil
	}
	r.begun = true
	if err := r.worker.send(wire.Reply{ID: r.id, Head: &wire.Head{Columns: r.columns}}); err != nil || r.encoder == nil {
		return err
	}
	return r.encoder.begin(r, r.names, r.kinds)
}

func (r *result) add(b *batch) error {
	if err := r.begin(); err != nil {
		return err
	}
	n := min(int64(b.size), r.query.MaxRows-r.tail.Rows)
	if err := r.encoder.rows(r, b, int(n)); err != nil {
		return err
	}
	if n < int64(b.size) {
		r.tail.Truncated = true
		return errStop
	}
	return nil
}

func (r *result) finish() error {
	if err := r.begin(); err != nil {
		return err
	}
	if err := r.encoder.end(r); err != nil {
		return err
	}
	return r.flush()
}

// room is how many bytes may still be written.
func (r *result) room() int64 { return r.query.MaxBytes - r.tail.Bytes }

// full ends a result that has no room for another row of n bytes.
func (r *result) full(n int64) error {
	if r.tail.Rows == 0 {
		return &wire.Error{Code: wire.CodeTooLarge, Message: fmt.Sprintf("one row alone has %d bytes; a result may have %d", n, r.query.MaxBytes),
			Hint: "Ask for fewer columns, or a part of the long ones: left(column, 1000)."}
	}
	r.tail.Truncated = true
	return errStop
}

// write takes a piece of the result; whole frames are sent.
func (r *result) write(data []byte) error {
	r.tail.Bytes += int64(len(data))
	if r.buffer = append(r.buffer, data...); len(r.buffer) < frameSize {
		return nil
	}
	return r.flush()
}

func (r *result) flush() error {
	for rest := r.buffer; len(rest) > 0; {
		n := min(len(rest), 4*frameSize)
		if err := r.worker.sendData(rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	r.buffer = r.buffer[:0]
	return nil
}

// sendFile sends a result that is a file.
func (r *result) sendFile(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("send result: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("send result: %w", err)
	}
	if info.Size() > r.query.MaxBytes {
		return &wire.Error{Code: wire.CodeTooLarge, Message: fmt.Sprintf("the result has %d bytes; it may have %d", info.Size(), r.query.MaxBytes),
			Hint: "Ask for less, with a LIMIT or fewer columns."}
	}
	if err := r.begin(); err != nil {
		return err
	}
	for piece := make([]byte, frameSize); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := f.Read(piece)
		if errors.Is(err, io.EOF) {
			return r.flush()
		} else if err != nil {
			return fmt.Errorf("send result: %w", err)
		}
		if err := r.write(piece[:n]); err != nil {
			return err
		}
	}
}

func removeAll(path string) error {
	if path == "" {
		return nil
	}
	return os.RemoveAll(path)
}

// sending is held by whoever writes a message.
type sending struct{ sync.Mutex }

func (w *worker) send(reply wire.Reply) error {
	w.Lock()
	defer w.Unlock()
	if err := wire.WriteMessage(w.out, reply); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

func (w *worker) sendData(data []byte) error {
	w.Lock()
	defer w.Unlock()
	if err := wire.WriteFrame(w.out, wire.Data, data); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// exitOverdue is the status of a worker that ended itself.
const exitOverdue = 3

// giveUp ends the process when a statement goes on after it was interrupted.
func (w *worker) giveUp(id int64) func() {
	return func() {
		if w.TryLock() { // else nobody reads
			_ = wire.WriteMessage(w.out, wire.Reply{ID: id, Error: w.classified(context.DeadlineExceeded)})
		}
		os.Exit(exitOverdue)
	}
}
