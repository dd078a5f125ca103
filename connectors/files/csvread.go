package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

const maxRow = 16 << 20 // bytes of one row, as the build takes it

var bom = []byte("\xef\xbb\xbf")

// badRow is a row that cannot be read; others can.
type badRow struct {
	line int64
	what string
}

func (b *badRow) Error() string { return fmt.Sprintf("line %d: %s", b.line, b.what) }

// csvReader reads rows of CSV of any dialect.
type csvReader struct {
	in           *bufio.Reader
	delim, quote byte

	line  int64  // of the last byte that was read, from 1
	begin int64  // line of the row
	raw   []byte // the row as it came, without its end
	plain bool   // raw has no quote

	text   []byte // of fields that had to be unquoted
	fields [][]byte
	quoted []bool
}

// newCSV makes a reader of UTF-8. A mark of byte order tells of UTF-16.
func newCSV(in *bufio.Reader, o options, f format) (*csvReader, error) {
	start, err := in.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	decoder := o.decoder
	switch {
	case o.encoding == "" && (bytes.HasPrefix(start, []byte{0xff, 0xfe}) || bytes.HasPrefix(start, []byte{0xfe, 0xff})):
		decoder = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)
	case decoder == nil && bytes.HasPrefix(start, bom):
		_, _ = in.Discard(len(bom)) // they are in the buffer
	}
	if decoder != nil {
		in = bufio.NewReaderSize(transform.NewReader(in, decoder.NewDecoder()), buffer)
	}
	r := &csvReader{in: in, delim: o.delimiter, quote: o.quote}
	for range o.skip {
		if _, err := r.readLine(nil); err != nil {
			break // io.EOF shows again
		}
	}
	if r.delim == 0 && f == formatTSV {
		r.delim = '\t'
	}
	if r.delim == 0 {
		r.delim, err = r.findDelimiter()
	} else {
		err = nil
	}
	return r, err
}

// findDelimiter takes the one of , ; tab | that is most often in the first row.
func (r *csvReader) findDelimiter() (byte, error) {
	start, err := r.in.Peek(64 << 10)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return 0, err
	}
	count, quoted := map[byte]int{}, false
	for _, c := range start {
		if c == r.quote && r.quote != 0 {
			quoted = !quoted
		} else if c == '\n' && !quoted && len(count) > 0 {
			break
		} else if !quoted {
			count[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t|") {
		if count[c] > count[best] {
			best = c
		}
	}
	return best, nil
}

// readLine appends a line with its end to what is there.
func (r *csvReader) readLine(to []byte) ([]byte, error) {
	for {
		part, err := r.in.ReadSlice('\n')
		if err == nil && to == nil {
			r.line++
			return part, nil // no copy: it is good until the next line
		}
		to = append(to, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(to) <= maxRow:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return to, wrong("See that quote and delimiter are those of the file", "line %d: a row has more than %d bytes", r.line+1, maxRow)
		case errors.Is(err, io.EOF) && len(part) > 0:
			err = nil // a last line without an end
		case errors.Is(err, io.EOF):
			return to, io.EOF
		}
		r.line++
		return to, err
	}
}

func withoutEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r"))
}

// next reads a row into fields. A *badRow is of that row alone; io.EOF is the end.
func (r *csvReader) next() error {
	line, err := r.readLine(nil)
	for err == nil && len(withoutEnd(line)) == 0 {
		line, err = r.readLine(nil) // an empty line is no row
	}
	if err != nil {
		return err
	}
	r.begin = r.line
	r.fields, r.quoted, r.text = r.fields[:0], r.quoted[:0], r.text[:0]
	if r.plain = r.quote == 0 || bytes.IndexByte(line, r.quote) < 0; r.plain {
		r.raw = withoutEnd(line)
		r.split(r.raw)
	} else if err := r.unquote(line); err != nil {
		return err
	}
	for _, f := range r.fields {
		if !utf8.Valid(f) {
			return &badRow{r.begin, "a byte is not UTF-8; set encoding"}
		}
	}
	return nil
}

func (r *csvReader) split(line []byte) {
	for {
		i := bytes.IndexByte(line, r.delim)
		if r.quoted = append(r.quoted, false); i < 0 {
			r.fields = append(r.fields, line)
			return
		}
		r.fields = append(r.fields, line[:i])
		line = line[i+1:]
	}
}

// unquote reads a row that has quotes, and the lines that it goes on in. A quote
// inside a field that began without one is a character as others.
func (r *csvReader) unquote(line []byte) error {
	var ends []int
	rest := line
	for {
		if len(rest) == 0 || rest[0] != r.quote {
			field := withoutEnd(rest)
			i := bytes.IndexByte(rest, r.delim)
			if i >= 0 {
				field = rest[:i]
			}
			r.text = append(r.text, field...)
			ends, r.quoted = append(ends, len(r.text)), append(r.quoted, false)
			if i < 0 {
				break
			}
			rest = rest[i+1:]
			continue
		}
		after, err := r.quotedField(rest[1:])
		if err != nil {
			return err
		}
		ends, r.quoted = append(ends, len(r.text)), append(r.quoted, true)
		if end := withoutEnd(after); len(end) == 0 {
			break
		} else if end[0] != r.delim {
			return &badRow{r.begin, "text after a closing quote"}
		}
		rest = after[1:]
	}
	begin := 0
	for _, end := range ends {
		r.fields = append(r.fields, r.text[begin:end])
		begin = end
	}
	return nil
}

// quotedField takes a field in quotes off, whose opening one is off already.
func (r *csvReader) quotedField(rest []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(rest, r.quote)
		if i < 0 {
			r.text = append(r.text, rest...)
			if len(r.text) > maxRow {
				return nil, wrong("See that quote is that of the file", "line %d: a row that begins here has more than %d bytes, and a quote is open", r.begin, maxRow)
			}
			next, err := r.readLine(nil)
			if errors.Is(err, io.EOF) {
				return nil, wrong("The file is cut off, or a quote is missing; set quote to none when the file has none", "line %d: the file ends inside of quotes that begin in this row", r.begin)
			}
			if err != nil {
				return nil, err
			}
			rest = next
			continue
		}
		r.text = append(r.text, rest[:i]...)
		if i+1 < len(rest) && rest[i+1] == r.quote {
			r.text = append(r.text, r.quote)
			rest = rest[i+2:]
			continue
		}
		return rest[i+1:], nil
	}
}

// header reads the names of columns: of the first row, or made up. said are
// warnings; first is true when that row is data, which is then in fields.
func (r *csvReader) header(o options) (names []string, said []string, first bool, err error) {
	if err := r.next(); err != nil {
		if bad := (*badRow)(nil); errors.As(err, &bad) {
			err = wrong("See that encoding, quote and skip are those of the file", "line %d: the header: %s", bad.line, bad.what)
		}
		if errors.Is(err, io.EOF) && len(o.names) > 0 {
			return o.names, nil, false, nil
		}
		return nil, nil, false, err
	}
	if len(o.names) > 0 && len(o.names) != len(r.fields) {
		return nil, nil, false, wrong("Set names to those of all columns", "line %d: %d fields, and options.names has %d", r.begin, len(r.fields), len(o.names))
	}
	for i, f := range r.fields {
		name := string(bytes.TrimSpace(f))
		if !o.header {
			name = fmt.Sprintf("column%d", i)
		}
		if len(o.names) > 0 {
			name = o.names[i]
		}
		names = append(names, name)
	}
	names, said = distinct(names)
	return slices.Clip(names), said, !o.header, nil
}

// distinct gives every column a name of its own, whatever its case.
func distinct(names []string) (out []string, said []string) {
	taken := map[string]bool{}
	for i, name := range names {
		was := name
		if name == "" {
			name = fmt.Sprintf("column%d", i)
		}
		for n, base := 2, name; taken[fold(name)]; n++ {
			name = fmt.Sprintf("%s_%d", base, n)
		}
		taken[fold(name)] = true
		out = append(out, name)
		if name != was {
			said = append(said, fmt.Sprintf("header: column %d is named %q, and is called %s", i+1, short(was), name))
		}
	}
	return out, said
}
