package connectors

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// The parts of a log that are kept, in bytes.
const (
	logHead = 512 << 10
	logTail = 512 << 10
)

// errLogEnded is given to a program that writes after its run.
var errLogEnded = errors.New("the run has ended")

// runLog is the log of one run: what was written first, and what was written
// last. The latter is in memory until the run ends.
type runLog struct {
	mu    sync.Mutex
	file  *os.File // nil: ended
	head  int      // bytes that the file has
	tail  []byte
	start int   // of the oldest byte in a tail that is full
	lost  int64 // bytes between them
	mask  io.WriteCloser
}

func newRunLog(path string, m *mask) (*runLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &runLog{file: f}
	l.mask = m.writer(writerFunc(l.write))
	return l, nil
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// Write implements io.Writer. A disk that is full does not end the run.
func (l *runLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return 0, errLogEnded
	}
	_, _ = l.mask.Write(p)
	return len(p), nil
}

// write takes what nobody has to be kept from.
func (l *runLog) write(p []byte) (int, error) {
	n := min(len(p), logHead-l.head)
	if n > 0 {
		if _, err := l.file.Write(p[:n]); err != nil {
			return 0, err
		}
		l.head += n
	}
	l.keep(p[n:])
	return len(p), nil
}

// keep puts bytes into the ring.
func (l *runLog) keep(p []byte) {
	if over := len(p) - logTail; over > 0 {
		l.lost += int64(over)
		p = p[over:]
	}
	if room := logTail - len(l.tail); room > 0 {
		n := min(room, len(p))
		l.tail, p = append(l.tail, p[:n]...), p[n:]
	}
	l.lost += int64(len(p))
	for len(p) > 0 {
		n := copy(l.tail[l.start:], p)
		l.start, p = (l.start+n)%logTail, p[n:]
	}
}

// rest is what the file does not have yet.
func (l *runLog) rest() []byte {
	var b bytes.Buffer
	if l.lost > 0 {
		fmt.Fprintf(&b, "\n… %d bytes are left out …\n", l.lost)
	}
	b.Write(l.tail[l.start:])
	b.Write(l.tail[:l.start])
	return b.Bytes()
}

// soFar is what a run that is under way has written besides the file.
func (l *runLog) soFar() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.rest()
}

// Close writes the last part.
func (l *runLog) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.mask.Close()
	_, werr := l.file.Write(l.rest())
	err = errors.Join(err, werr, l.file.Close())
	l.file, l.tail = nil, nil
	return err
}
