package files

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// jsonWriter checks objects and writes them as lines.
type jsonWriter struct {
	to     io.Writer
	wanted []string
	names  []string
	seen   map[string]int64 // the row that a column was in last
	rows   int64

	out  []byte
	flat bytes.Buffer
	vals [][2][]byte // key and value of the wanted columns
}

// row writes one object. Of a bad one nothing is written.
func (w *jsonWriter) row(row []byte, line int64) error {
	switch {
	case row[0] != '{':
		return &badRow{line, "it is no object"}
	case !utf8.Valid(row):
		return &badRow{line, "a byte is not UTF-8"}
	case !shallow(row):
		return &badRow{line, fmt.Sprintf("it is nested deeper than %d", maxDepth)}
	case !json.Valid(row):
		return &badRow{line, "it is not JSON"}
	}
	w.rows++
	if err := w.keys(row, line); err != nil {
		return err
	}
	if len(w.wanted) > 0 {
		row = w.chosen()
	} else if bytes.IndexByte(row, '\n') >= 0 || bytes.IndexByte(row, '\r') >= 0 {
		w.flat.Reset()
		if err := json.Compact(&w.flat, row); err != nil {
			return &badRow{line, "it is not JSON"}
		}
		row = w.flat.Bytes()
	}
	w.out = append(append(w.out, row...), '\n')
	if len(w.out) < buffer {
		return nil
	}
	return w.flush()
}

// keys notes the columns of an object that is valid. One that is there twice has
// no value that could be said.
func (w *jsonWriter) keys(row []byte, line int64) error {
	w.vals = w.vals[:0]
	for key, value := range members(row) {
		last, known := w.seen[string(key)]
		if last == w.rows {
			return &badRow{line, fmt.Sprintf("the name %s is there twice", short(string(key)))}
		}
		if !known && len(w.seen) >= maxColumns {
			return wrong("An object with a name for each of its rows is no row; bring it into another form", "line %d: more than %d columns", line, maxColumns)
		}
		name := key
		if bytes.IndexByte(key, '\\') >= 0 {
			var text string
			if err := json.Unmarshal(slices.Concat([]byte{'"'}, key, []byte{'"'}), &text); err != nil {
				return &badRow{line, "a name is not JSON"}
			}
			name = []byte(text)
		}
		if !known && (len(w.wanted) == 0 || slices.Contains(w.wanted, string(name))) && !slices.Contains(w.names, string(name)) {
			w.names = append(w.names, string(name))
		}
		w.seen[string(key)] = w.rows
		if len(w.wanted) > 0 && slices.Contains(w.wanted, string(name)) {
			w.vals = append(w.vals, [2][]byte{key, value})
		}
	}
	return nil
}

// chosen is an object of the wanted columns.
func (w *jsonWriter) chosen() []byte {
	w.flat.Reset()
	w.flat.WriteByte('{')
	for i, kv := range w.vals {
		if i > 0 {
			w.flat.WriteByte(',')
		}
		w.flat.WriteByte('"')
		w.flat.Write(kv[0])
		w.flat.WriteString(`":`)
		if err := json.Compact(&w.flat, kv[1]); err != nil {
			w.flat.WriteString("null") // the object is valid as a whole: it cannot be
		}
	}
	w.flat.WriteByte('}')
	return w.flat.Bytes()
}

func (w *jsonWriter) flush() error {
	_, err := w.to.Write(w.out)
	w.out = w.out[:0]
	if err != nil {
		return rest.Permanent(err)
	}
	return nil
}

// shallow reports whether a text is nested no deeper than is allowed.
func shallow(row []byte) bool {
	depth := 0
	for i := 0; i < len(row); i++ {
		switch row[i] {
		case '"':
			i = closing(row, i)
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
		case '}', ']':
			depth--
		}
	}
	return true
}

// closing is where the string ends that begins at i.
func closing(row []byte, i int) int {
	for i++; i < len(row); i++ {
		n := bytes.IndexByte(row[i:], '"')
		if n < 0 {
			return len(row)
		}
		i += n
		slashes := 0
		for i-1-slashes >= 0 && row[i-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return i
}

// members are the names, as they are written, and values of a valid object.
func members(row []byte) func(yield func(key, value []byte) bool) {
	return func(yield func(key, value []byte) bool) {
		for i := 1; i < len(row); {
			if row[i] != '"' { // white space, a comma, the last brace
				i++
				continue
			}
			end := closing(row, i)
			key := row[i+1 : end]
			for i = end + 1; row[i] != ':'; i++ {
			}
			begin := i + 1
			i = valueEnd(row, begin)
			if !yield(key, bytes.TrimSpace(row[begin:i])) {
				return
			}
		}
	}
}

// valueEnd is where the value ends that begins at i: at a comma or brace of the
// object that it is in.
func valueEnd(row []byte, i int) int {
	for depth := 0; i < len(row); i++ {
		switch row[i] {
		case '"':
			i = closing(row, i)
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth < 0 {
				return i
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}
