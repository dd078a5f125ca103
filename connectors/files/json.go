package files

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
)

const (
	maxDepth   = 128
	maxColumns = 10_000
)

// json writes objects as JSON lines: those of lines, of one array, or one after
// the other.
func (t reading) json(in *bufio.Reader, f format, to io.Writer) (got came, err error) {
	if start, _ := in.Peek(3); bytes.HasPrefix(start, bom) {
		_, _ = in.Discard(len(bom)) // they are in the buffer
	}
	if t.decoder != nil || t.skip > 0 {
		return got, wrong("Leave these options out", "options: encoding other than utf-8, and skip, are of csv and tsv")
	}
	r := &jsonReader{in: in, line: 1}
	w := &jsonWriter{to: to, wanted: t.columns, seen: map[string]int64{}}
	first, err := r.space()
	if errors.Is(err, io.EOF) {
		return got, nil // no row
	}
	if err != nil {
		return got, err
	}
	next := r.value
	switch {
	case first == '[':
		if err := r.array(); err != nil {
			return got, err
		}
		next = r.element
	case f == formatNDJSON:
		next = r.lineValue
	}
	for {
		row, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = w.row(row, r.begin)
		}
		if err == nil {
			got.rows++
			continue
		}
		if err := t.bad(err, &got); err != nil {
			return got, err
		}
	}
	got.columns = w.names
	for _, c := range t.columns {
		if got.rows > 0 && !slices.Contains(w.names, c) {
			return got, wrong("Name columns as the objects have them", "columns: there is no column %s; there are %s", short(c), shortList(w.names))
		}
	}
	return got, w.flush()
}

// jsonReader takes values off a stream, without a look into them.
type jsonReader struct {
	in    *bufio.Reader
	line  int64
	begin int64 // line of the value
	buf   []byte
	more  bool // an element was read
}

// space skips white space and gives the byte that follows, which stays.
func (r *jsonReader) space() (byte, error) {
	for {
		c, err := r.in.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c == '\n':
			r.line++
		case c != ' ' && c != '\t' && c != '\r':
			return c, r.in.UnreadByte()
		}
	}
}

func (r *jsonReader) wrong(what string) error {
	return wrong("See that it is JSON: one array of objects, or objects one after the other", "line %d: %s", r.line, what)
}

func (r *jsonReader) array() error {
	_, err := r.in.Discard(1)
	return err
}

// element is the next one of the array that is open.
func (r *jsonReader) element() ([]byte, error) {
	c, err := r.space()
	if errors.Is(err, io.EOF) {
		return nil, r.wrong("the array is not closed: the file is cut off")
	}
	if err == nil && c == ']' {
		_, _ = r.in.Discard(1) // it is in the buffer
		if _, err := r.space(); err == nil {
			return nil, r.wrong("something follows the array")
		} else if !errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, io.EOF
	}
	if err == nil && r.more {
		if c != ',' {
			return nil, r.wrong("a comma is missing between two values")
		}
		_, _ = r.in.Discard(1) // it is in the buffer
	}
	if err != nil {
		return nil, err
	}
	r.more = true
	row, err := r.value()
	if errors.Is(err, io.EOF) {
		err = r.wrong("the array is not closed: the file is cut off")
	}
	return row, err
}

// value is an object, from its brace to the one that closes it.
func (r *jsonReader) value() ([]byte, error) {
	c, err := r.space()
	if err != nil {
		return nil, err
	}
	if c != '{' {
		return nil, r.wrong("a value is no object: a row has to be one")
	}
	r.begin, r.buf = r.line, r.buf[:0]
	depth, quoted, escaped := 0, false, false
	for {
		if _, err := r.in.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = r.wrong("an object is not closed: the file is cut off")
			}
			return nil, err
		}
		part, _ := r.in.Peek(r.in.Buffered())
		n := 0
		for ; n < len(part); n++ {
			c := part[n]
			switch {
			case c == '\n':
				r.line++
				escaped = false
			case escaped:
				escaped = false
			case quoted:
				escaped, quoted = c == '\\', c != '"'
			case c == '"':
				quoted = true
			case c == '{' || c == '[':
				depth++
			case c == '}' || c == ']':
				depth--
			}
			if depth == 0 {
				n++
				break
			}
		}
		r.buf = append(r.buf, part[:n]...)
		_, _ = r.in.Discard(n) // they are in the buffer
		if depth == 0 {
			return r.buf, nil
		}
		if len(r.buf) > maxRow {
			return nil, wrong("A row has to be smaller", "line %d: an object has more than %d bytes", r.begin, maxRow)
		}
	}
}

// lineValue is the next line that is not empty.
func (r *jsonReader) lineValue() ([]byte, error) {
	for {
		r.buf = r.buf[:0]
		var part []byte
		var err error
		for {
			part, err = r.in.ReadSlice('\n')
			if len(r.buf)+len(part) > maxRow {
				return nil, wrong("A row has to be smaller", "line %d: a line has more than %d bytes", r.line, maxRow)
			}
			if err == nil && len(r.buf) == 0 {
				break // no copy
			}
			r.buf = append(r.buf, part...)
			part = r.buf
			if !errors.Is(err, bufio.ErrBufferFull) {
				break
			}
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(part) == 0) {
			return nil, err
		}
		r.begin = r.line
		r.line++
		if row := bytes.Trim(part, " \t\r\n"); len(row) > 0 {
			return row, nil
		}
	}
}
