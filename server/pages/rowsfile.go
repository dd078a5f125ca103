package pages

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/fairlead/fairlead/connectors"
)

// fileWriter writes the rows of a download. API.Query gives JSON as an array a
// line; a file has an object a line, which programs read without knowing the
// columns. Other formats pass as they are.
type fileWriter struct {
	w       io.Writer
	json    bool
	columns []connectors.Column
	line    []byte
}

func (f *fileWriter) Write(p []byte) (int, error) {
	if !f.json {
		return f.w.Write(p)
	}
	n := len(p)
	for {
		part, rest, whole := bytes.Cut(p, []byte("\n"))
		f.line = append(f.line, part...)
		if !whole {
			return n, nil
		}
		object, err := f.object(f.line)
		if err == nil {
			_, err = f.w.Write(object)
		}
		if err != nil {
			return 0, err
		}
		f.line, p = f.line[:0], rest
	}
}

// object turns the array of a row into an object in the order of the columns.
func (f *fileWriter) object(line []byte) ([]byte, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(line, &values); err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(line)*2), '{')
	for i, v := range values {
		if i >= len(f.columns) {
			break
		}
		if i > 0 {
			out = append(out, ',')
		}
		name, err := json.Marshal(f.columns[i].Name)
		if err != nil {
			return nil, err
		}
		out = append(append(append(out, name...), ':'), v...)
	}
	return append(out, '}', '\n'), nil
}
