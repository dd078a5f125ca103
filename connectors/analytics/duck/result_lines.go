//go:build cgo

package duck

import "bytes"

// lines writes a row a line: an array of JSON values, or CSV (RFC 4180: fields
// apart by commas, lines by CR LF, quotes doubled). CSV begins with the names of
// the columns; an empty field is NULL and "" an empty text.
type lines struct {
	csv    bool
	line   []byte
	fields []byte
}

func (l *lines) begin(r *result, names []string, _ []kind) error {
	if !l.csv {
		return nil
	}
	l.line = l.line[:0]
	for i, name := range names {
		if i > 0 {
			l.line = append(l.line, ',')
		}
		l.line = csvField(l.line, []byte(name))
	}
	return r.write(append(l.line, '\r', '\n'))
}

func (l *lines) rows(r *result, b *batch, n int) error {
	for i := range n {
		if l.csv {
			l.record(b, i)
		} else {
			l.array(b, i)
		}
		if size := int64(len(l.line)); size > r.room() {
			return r.full(size)
		}
		if err := r.write(l.line); err != nil {
			return err
		}
		r.tail.Rows++
	}
	return nil
}

func (l *lines) end(*result) error { return nil }

func (l *lines) array(b *batch, row int) {
	l.line = append(l.line[:0], '[')
	for i := range b.columns {
		if i > 0 {
			l.line = append(l.line, ',')
		}
		l.line = b.columns[i].json(l.line, row)
	}
	l.line = append(l.line, ']', '\n')
}

func (l *lines) record(b *batch, row int) {
	l.line = l.line[:0]
	for i := range b.columns {
		if i > 0 {
			l.line = append(l.line, ',')
		}
		if b.columns[i].null(row) {
			// A line of one column that is empty would be no line at all for some readers;
			// they take it for a field without a value all the same (RFC 4180, 2.4).
			continue
		}
		l.fields = b.columns[i].text(l.fields[:0], row)
		l.line = csvField(l.line, l.fields)
	}
	l.line = append(l.line, '\r', '\n')
}

func csvField(line, field []byte) []byte {
	if len(field) > 0 && !bytes.ContainsAny(field, ",\"\r\n") && field[0] != ' ' && field[len(field)-1] != ' ' {
		return append(line, field...)
	}
	line = append(line, '"')
	for _, b := range field {
		if b == '"' {
			line = append(line, '"')
		}
		line = append(line, b)
	}
	return append(line, '"')
}
