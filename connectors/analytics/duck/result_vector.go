//go:build cgo

package duck

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"unsafe"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// batch is a piece of a result: some thousand rows, column by column. It is in
// the engine's memory, and good only while it is handed over.
type batch struct {
	size    int
	columns []column
	kinds   []kind // of the columns, read once a result
}

// column is a vector of values.
type column struct {
	kind
	data  unsafe.Pointer
	valid unsafe.Pointer // a bit a row; nil: none is null
	kids  []column
}

func (b *batch) read(chunk mapping.DataChunk) {
	b.size = int(mapping.DataChunkGetSize(chunk))
	n := int(mapping.DataChunkGetColumnCount(chunk))
	if b.columns == nil {
		b.columns, b.kinds = make([]column, n), make([]kind, n)
		for i := range n {
			t := mapping.VectorGetColumnType(mapping.DataChunkGetVector(chunk, mapping.IdxT(i)))
			b.kinds[i] = readKind(t)
			mapping.DestroyLogicalType(&t)
		}
	}
	for i := range n {
		b.columns[i] = readColumn(mapping.DataChunkGetVector(chunk, mapping.IdxT(i)), b.kinds[i])
	}
}

func readColumn(v mapping.Vector, k kind) column {
	c := column{kind: k, data: mapping.VectorGetData(v), valid: mapping.VectorGetValidity(v)}
	switch k.id {
	case mapping.TypeList:
		c.kids = []column{readColumn(mapping.ListVectorGetChild(v), k.inner[0])}
	case mapping.TypeArray:
		c.kids = []column{readColumn(mapping.ArrayVectorGetChild(v), k.inner[0])}
	case mapping.TypeMap: // a list of structs of a key and a value
		entries := mapping.ListVectorGetChild(v)
		for i, inner := range k.inner {
			c.kids = append(c.kids, readColumn(mapping.StructVectorGetChild(entries, mapping.IdxT(i)), inner))
		}
	case mapping.TypeStruct:
		for i, inner := range k.inner {
			c.kids = append(c.kids, readColumn(mapping.StructVectorGetChild(v, mapping.IdxT(i)), inner))
		}
	}
	return c
}

func (c *column) null(row int) bool {
	if c.valid == nil {
		return false
	}
	word := *(*uint64)(unsafe.Add(c.valid, row/64*8))
	return word&(1<<(row%64)) == 0
}

// at reads the value of a row in the form that it has in memory.
func at[T any](c *column, row int) T {
	var zero T
	return *(*T)(unsafe.Add(c.data, uintptr(row)*unsafe.Sizeof(zero)))
}

// bytes is the content of a text or a BLOB, not copied. duckdb.h, duckdb_string_t:
// the length in four bytes, and up to 12 bytes in place or a pointer after the
// first four.
func (c *column) bytes(row int) []byte {
	const size, inlined = 16, 12
	p := unsafe.Add(c.data, row*size)
	n := *(*uint32)(p)
	if n <= inlined {
		return unsafe.Slice((*byte)(unsafe.Add(p, 4)), int(n))
	}
	return unsafe.Slice(*(**byte)(unsafe.Add(p, 8)), int(n))
}

// list is where the values of a list are among those of its child.
func (c *column) list(row int) (from, n int) {
	if c.id == mapping.TypeArray {
		return row * c.size, c.size
	}
	entry := at[[2]uint64](c, row)
	return int(entry[0]), int(entry[1])
}

// signed and unsigned read whole numbers, and those behind a DECIMAL or an ENUM.
func (c *column) signed(id mapping.Type, row int) int64 {
	switch id {
	case mapping.TypeTinyInt:
		return int64(at[int8](c, row))
	case mapping.TypeSmallInt:
		return int64(at[int16](c, row))
	case mapping.TypeInteger, mapping.TypeDate:
		return int64(at[int32](c, row))
	}
	return at[int64](c, row)
}

func (c *column) unsigned(id mapping.Type, row int) uint64 {
	switch id {
	case mapping.TypeUTinyInt:
		return uint64(at[uint8](c, row))
	case mapping.TypeUSmallInt:
		return uint64(at[uint16](c, row))
	case mapping.TypeUInteger:
		return uint64(at[uint32](c, row))
	}
	return at[uint64](c, row)
}

// huge reads a number of 128 bits: its low and its high half.
func (c *column) huge(row int) *big.Int {
	v := at[struct {
		low  uint64
		high int64
	}](c, row)
	n := big.NewInt(v.high)
	if c.id == mapping.TypeUHugeInt {
		n.SetUint64(uint64(v.high))
	}
	return n.Or(n.Lsh(n, 64), new(big.Int).SetUint64(v.low))
}

// uuid reads a UUID: the engine keeps it as a signed number with the first bit
// turned, so that numbers sort as UUIDs do.
func (c *column) uuid(row int) (id [16]byte) {
	v := at[[2]uint64](c, row)
	binary.BigEndian.PutUint64(id[:8], v[1]^(1<<63))
	binary.BigEndian.PutUint64(id[8:], v[0])
	return id
}

// decimal writes a DECIMAL with all of its digits.
func (c *column) decimal(buf []byte, row int) []byte {
	if c.internal == mapping.TypeHugeInt {
		n := c.huge(row)
		if n.Sign() < 0 {
			buf = append(buf, '-')
		}
		return point(buf, n.Abs(n).Append(nil, 10), int(c.scale))
	}
	n := c.signed(c.internal, row)
	if n < 0 {
		buf = append(buf, '-')
	}
	var digits [20]byte
	return point(buf, strconv.AppendUint(digits[:0], magnitude(n), 10), int(c.scale))
}

func magnitude(n int64) uint64 {
	if n == math.MinInt64 {
		return 1 << 63
	}
	return uint64(max(n, -n))
}

// point writes digits with a point before the last ones.
func point(buf, digits []byte, scale int) []byte {
	if scale == 0 {
		return append(buf, digits...)
	}
	whole := max(len(digits)-scale, 0)
	if whole == 0 {
		buf = append(buf, '0')
	}
	buf = append(append(buf, digits[:whole]...), '.')
	for range scale - len(digits) + whole {
		buf = append(buf, '0')
	}
	return append(buf, digits[whole:]...)
}

// value is a value for Go: nil, bool, int64, uint64, float64 or string.
func (c *column) value(row int) any {
	if c.null(row) {
		return nil
	}
	switch c.id {
	case mapping.TypeBoolean:
		return at[bool](c, row)
	case mapping.TypeTinyInt, mapping.TypeSmallInt, mapping.TypeInteger, mapping.TypeBigInt:
		return c.signed(c.id, row)
	case mapping.TypeUTinyInt, mapping.TypeUSmallInt, mapping.TypeUInteger, mapping.TypeUBigInt:
		return c.unsigned(c.id, row)
	case mapping.TypeFloat:
		return float64(at[float32](c, row))
	case mapping.TypeDouble:
		return at[float64](c, row)
	}
	return string(c.text(nil, row))
}
