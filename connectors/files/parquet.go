package files

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const maxFooter = 64 << 20

// parquet copies a file as it is, and reads from its end what it holds.
func (t reading) parquet(in io.Reader, to *os.File) (got came, err error) {
	if len(t.columns) > 0 {
		return got, wrong("Leave columns out; queries choose theirs", "columns: they cannot be chosen of Parquet")
	}
	block := make([]byte, buffer)
	for {
		n, err := in.Read(block)
		if _, wrong := to.Write(block[:n]); wrong != nil {
			return got, wrong
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return got, err
		}
	}
	footer, err := readFooter(to)
	if err == nil {
		got.columns, got.rows, err = parseFooter(footer)
	}
	if err != nil {
		err = wrong("Write the file anew where it comes from", "Parquet: %w", err)
	}
	return got, err
}

// readFooter reads the metadata: PAR1 … metadata, its length, PAR1.
func readFooter(file *os.File) ([]byte, error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	var head [4]byte
	var tail [8]byte
	if size < 12 {
		return nil, errors.New("the file is too short to be any")
	}
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if _, err := file.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	length := int64(binary.LittleEndian.Uint32(tail[:4]))
	switch {
	case string(head[:]) != "PAR1":
		return nil, errors.New("the file does not begin as one, or is encrypted")
	case string(tail[4:]) != "PAR1":
		return nil, errors.New("the file does not end as one: it is cut off, or encrypted")
	case length > size-12 || length > maxFooter:
		return nil, fmt.Errorf("its metadata has %d bytes", length)
	}
	footer := make([]byte, length)
	_, err = file.ReadAt(footer, size-8-length)
	return footer, err
}

// parseFooter reads names of columns and the count of rows out of FileMetaData,
// which is Thrift in its compact form (parquet.thrift: 2 schema, 3 num_rows).
func parseFooter(data []byte) (columns []string, rows int64, err error) {
	t := &thrift{in: bytes.NewReader(data)}
	var schema []element
	found := false
	t.fields(0, func(id int16, kind byte) {
		switch {
		case id == 2 && kind == thriftList:
			n, of := t.list()
			for range n {
				if t.err != nil || of != thriftStruct {
					t.fail()
					return
				}
				schema = append(schema, t.element())
			}
		case id == 3 && kind == thriftI64:
			rows, found = t.zigzag(), true
		default:
			t.skip(kind, 0)
		}
	})
	if t.err != nil || len(schema) == 0 || !found || rows < 0 {
		return nil, 0, errors.New("its metadata cannot be read")
	}
	for i := 1; i < len(schema); i++ {
		columns = append(columns, schema[i].name)
		for left := schema[i].children; left > 0 && i+1 < len(schema); left-- {
			i++
			left += schema[i].children
		}
	}
	return columns, rows, nil
}

// element is a SchemaElement: 4 name, 5 num_children.
type element struct {
	name     string
	children int
}

func (t *thrift) element() (e element) {
	t.fields(0, func(id int16, kind byte) {
		switch {
		case id == 4 && kind == thriftBinary:
			e.name = string(t.binary())
		case id == 5 && kind == thriftI32:
			n := t.zigzag()
			if n < 0 || n > 1<<20 {
				t.fail()
				return
			}
			e.children = int(n)
		default:
			t.skip(kind, 0)
		}
	})
	return e
}

// The types of Thrift's compact protocol.
const (
	thriftI32, thriftI64, thriftBinary, thriftList, thriftStruct = 5, 6, 8, 9, 12
)

// thrift reads the compact protocol. After an error everything is empty.
type thrift struct {
	in  *bytes.Reader
	err error
}

func (t *thrift) fail() {
	if t.err == nil {
		t.err = errors.New("not Thrift")
	}
	t.in.Reset(nil)
}

func (t *thrift) byte() byte {
	b, err := t.in.ReadByte()
	if err != nil {
		t.fail()
	}
	return b
}

func (t *thrift) uvarint() uint64 {
	n, err := binary.ReadUvarint(t.in)
	if err != nil {
		t.fail()
		return 0
	}
	return n
}

func (t *thrift) zigzag() int64 {
	n := t.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (t *thrift) binary() []byte {
	n := t.uvarint()
	if n > uint64(t.in.Len()) {
		t.fail()
		return nil
	}
	out := make([]byte, n)
	_, _ = t.in.Read(out) // the length was checked
	return out
}

func (t *thrift) list() (n int, kind byte) {
	head := t.byte()
	size := uint64(head >> 4)
	if size == 15 {
		size = t.uvarint()
	}
	if size > uint64(t.in.Len()) { // each has a byte at least
		t.fail()
		return 0, 0
	}
	return int(size), head & 15
}

// fields calls each with every field of a struct; each has to read it.
func (t *thrift) fields(depth int, each func(id int16, kind byte)) {
	id := int16(0)
	for t.err == nil {
		head := t.byte()
		if head == 0 || depth > 64 {
			if head != 0 {
				t.fail()
			}
			return
		}
		if delta := head >> 4; delta != 0 {
			id += int16(delta)
		} else {
			id = int16(t.zigzag())
		}
		each(id, head&15)
	}
}

func (t *thrift) skip(kind byte, depth int) {
	switch kind {
	case 1, 2: // true and false are in the head
	case 3:
		t.byte()
	case 4, thriftI32, thriftI64:
		t.uvarint()
	case 7:
		for range 8 {
			t.byte()
		}
	case thriftBinary:
		t.binary()
	case thriftList, 10:
		n, of := t.list()
		for i := 0; i < n && t.err == nil; i++ {
			t.skipElement(of, depth+1)
		}
	case 11:
		t.skipMap(depth + 1)
	case thriftStruct:
		t.fields(depth, func(_ int16, kind byte) { t.skip(kind, depth+1) })
	default:
		t.fail()
	}
}

// skipElement is of a list or map, where a truth value has a byte of its own.
func (t *thrift) skipElement(kind byte, depth int) {
	if kind == 1 || kind == 2 {
		kind = 3
	}
	if depth > 64 {
		t.fail()
		return
	}
	t.skip(kind, depth)
}

func (t *thrift) skipMap(depth int) {
	n := t.uvarint()
	if n == 0 {
		return
	}
	kinds := t.byte()
	for i := uint64(0); i < n && t.err == nil; i++ {
		t.skipElement(kinds>>4, depth)
		t.skipElement(kinds&15, depth)
	}
}
