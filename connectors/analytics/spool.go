package analytics

import (
	"bytes"
	"io"
	"os"
)

// inMemory is how much of a result is kept without a file, in bytes.
const inMemory = 1 << 20

// spool keeps a result until it is whole, in memory first and then in a file that
// has no name any more, so that nothing is left of it after a crash.
type spool struct {
	dir  string
	head bytes.Buffer
	file *os.File
}

func (s *spool) write(p []byte) error {
	if s.file == nil && s.head.Len()+len(p) <= inMemory {
		s.head.Write(p)
		return nil
	}
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "result-")
		if err != nil {
			return err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil {
			return err
		}
	}
	_, err := s.file.Write(p)
	return err
}

// reset forgets what is kept.
func (s *spool) reset() {
	s.close()
	s.head.Reset()
}

func (s *spool) copyTo(w io.Writer) error {
	if _, err := w.Write(s.head.Bytes()); err != nil || s.file == nil {
		return err
	}
	if _, err := s.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(w, s.file)
	return err
}

func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name: this removes it
		s.file = nil
	}
}
