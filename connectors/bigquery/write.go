package bigquery

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/connectors"
)

var errLarge = errors.New("the table is larger than is allowed")

// writer writes rows into NAME.ndjson.gz, or, of a part, NAME/PART.ndjson.gz.
type writer struct {
	schema schema
	cursor int // the column whose greatest value is kept; -1: none
	most   int64

	file   *os.File
	zip    *gzip.Writer
	line   bytes.Buffer
	rows   int64
	plain  int64
	newest string
}

func create(dir, name, part string, s schema, most int64) (*writer, error) {
	path := filepath.Join(dir, name+".ndjson.gz")
	if part != "" {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
		path = filepath.Join(dir, name, part+".ndjson.gz")
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	zip, _ := gzip.NewWriterLevel(file, gzip.BestSpeed) // the level is a valid one
	return &writer{schema: s, cursor: -1, most: most, file: file, zip: zip}, nil
}

func (w *writer) row(r row) error {
	w.line.Reset()
	if err := w.schema.line(&w.line, r); err != nil {
		return err
	}
	if w.plain += int64(w.line.Len()); w.plain > w.most {
		return connectors.WithHint(errLarge, "Read less (columns, where), or raise max_bytes")
	}
	if w.cursor >= 0 {
		var said string
		if raw := r.F[w.cursor].V; !null(raw) && json.Unmarshal(raw, &said) == nil {
			w.newest = later(w.schema.Fields[w.cursor].Type, w.newest, said)
		}
	}
	w.rows++
	_, err := w.zip.Write(w.line.Bytes())
	return err
}

// close ends the file and returns its size.
func (w *writer) close() (int64, error) {
	err := errors.Join(w.zip.Close(), w.file.Sync())
	info, statErr := w.file.Stat()
	if err = errors.Join(err, statErr, w.file.Close()); err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func discard(dir, name string) {
	_ = os.Remove(filepath.Join(dir, name+".ndjson.gz"))
	_ = os.RemoveAll(filepath.Join(dir, name)) // Dir is thrown away with the run in any case
}
