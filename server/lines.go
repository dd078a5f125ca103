package server

import (
	"bytes"
	"sync"
)

// lineWriter hands on what is written to it, line by line.
type lineWriter struct {
	mu   sync.Mutex
	part []byte
	emit func(LogLine) error
}

// maxLogLine bounds a line; a longer one comes in pieces.
const maxLogLine = 1 << 20

func (l *lineWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, p...)
	for {
		end := bytes.IndexByte(l.part, '\n')
		if end < 0 && len(l.part) < maxLogLine {
			return len(p), nil
		}
		line := l.part
		if end >= 0 {
			line = l.part[:end]
		}
		if err := l.emit(LogLine{string(line)}); err != nil {
			return 0, err
		}
		l.part = append(l.part[:0], l.part[min(len(line)+1, len(l.part)):]...)
	}
}

// rest hands on a last line without an end.
func (l *lineWriter) rest() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.part) == 0 {
		return nil
	}
	line := LogLine{string(l.part)}
	l.part = nil
	return l.emit(line)
}
