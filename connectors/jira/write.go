package jira

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writer writes the rows of a table into NAME.ndjson.gz, or into a part NAME/PART.
type writer struct {
	dir, name string
	columns   []column

	file    *os.File
	zip     *gzip.Writer
	part    string
	parts   []string // that are finished
	rows    int64    // of finished files
	pending int64    // of the file that is open
	bytes   int64
}

// open begins a file; part is empty for a table that has none.
func (w *writer) open(part string) error {
	path := filepath.Join(w.dir, w.name+".ndjson.gz")
	if part != "" {
		if err := os.MkdirAll(filepath.Join(w.dir, w.name), 0o755); err != nil {
			return err
		}
		path = filepath.Join(w.dir, w.name, part+".ndjson.gz")
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	w.file, w.part, w.pending = file, part, 0
	w.zip, err = gzip.NewWriterLevel(file, gzip.BestSpeed)
	return err
}

// row writes one line, with every column in its order.
func (w *writer) row(of object) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	line.WriteByte('{')
	for i, c := range w.columns {
		if i > 0 {
			line.WriteByte(',')
		}
		for j, v := range []any{c.Name, c.from(of)} {
			if j == 1 {
				line.WriteByte(':')
			}
			if err := enc.Encode(v); err != nil {
				return fmt.Errorf("write column %s: %w", c.Name, err)
			}
			line.Truncate(line.Len() - 1) // the line's end of Encode
		}
	}
	line.WriteString("}\n")
	w.pending++
	_, err := w.zip.Write(line.Bytes())
	return err
}

// finish closes the file that is open, for good.
func (w *writer) finish() error {
	if w.file == nil {
		return nil
	}
	err := errors.Join(w.zip.Close(), w.file.Sync())
	if info, statErr := w.file.Stat(); statErr == nil {
		w.bytes += info.Size()
	}
	err = errors.Join(err, w.file.Close())
	w.file = nil
	if err != nil {
		return err
	}
	if w.part != "" {
		w.parts = append(w.parts, w.part)
	}
	w.rows += w.pending
	return nil
}

// abandon takes away the file that is open, and keeps those that are finished.
func (w *writer) abandon() {
	if w.file == nil {
		return
	}
	_ = w.file.Close() // it is removed, whatever became of it
	_ = os.Remove(w.file.Name())
	w.file = nil
}
