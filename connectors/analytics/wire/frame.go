package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Kind is what a frame holds.
type Kind byte

// The kinds of frames.
const (
	Message Kind = 'm' // JSON
	Data    Kind = 'd' // a piece of a result
)

// MaxFrame bounds a frame, in bytes. The longest is the catalogue of thousands
// of tables.
const MaxFrame = 64 << 20

// ErrFrame is a frame that cannot be.
var ErrFrame = errors.New("not a frame")

// WriteFrame writes one frame: its kind, its length in four bytes, its content.
func WriteFrame(w io.Writer, kind Kind, content []byte) error {
	if len(content) > MaxFrame {
		return fmt.Errorf("write frame: %d bytes are more than %d", len(content), MaxFrame)
	}
	head := make([]byte, 5, 5+len(content))
	head[0] = byte(kind)
	binary.BigEndian.PutUint32(head[1:], uint32(len(content)))
	if _, err := w.Write(append(head, content...)); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// WriteMessage writes a value as a frame.
func WriteMessage(w io.Writer, v any) error {
	content, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	return WriteFrame(w, Message, content)
}

// ReadFrame reads one frame. At the end of the input the error is io.EOF.
func ReadFrame(r io.Reader) (Kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	kind, n := Kind(head[0]), binary.BigEndian.Uint32(head[1:])
	if kind != Message && kind != Data || n > MaxFrame {
		return 0, nil, fmt.Errorf("read frame: %w", ErrFrame)
	}
	content := make([]byte, n)
	if _, err := io.ReadFull(r, content); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return kind, content, nil
}
