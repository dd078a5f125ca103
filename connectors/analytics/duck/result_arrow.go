//go:build cgo

package duck

import (
	"bytes"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/duckdb/duckdb-go/v2/mapping"
)

// arrowRows is how many rows a record of Arrow has: batches of the engine are so
// small that the frame of each would cost as much as its values.
const arrowRows = 32 << 10

// arrowEncoder writes a stream of Arrow IPC. HUGEINT is
// a decimal without a fraction, as the engine itself has it; UHUGEINT, UUID and
// ENUM are texts.
type arrowEncoder struct {
	out     bytes.Buffer
	writer  *ipc.Writer
	schema  *arrow.Schema
	builder *array.RecordBuilder
	pending int
}

// endOfStream are the bytes that the end of a stream takes.
const endOfStream = 8

func (e *arrowEncoder) begin(r *result, names []string, kinds []kind) error {
	fields := make([]arrow.Field, len(names))
	for i, name := range names {
		fields[i] = arrow.Field{Name: name, Type: arrowType(kinds[i]), Nullable: true}
	}
	e.schema = arrow.NewSchema(fields, nil)
	e.builder = array.NewRecordBuilder(memory.NewGoAllocator(), e.schema)
	e.writer = ipc.NewWriter(&e.out, ipc.WithSchema(e.schema))
	return nil
}

func (e *arrowEncoder) rows(r *result, b *batch, n int) error {
	for i := range b.columns {
		appendColumn(e.builder.Field(i), &b.columns[i], 0, n)
	}
	if e.pending += n; e.pending < arrowRows {
		return nil
	}
	return e.flush(r)
}

// flush writes what was gathered: all of it, or as much as there is room for.
func (e *arrowEncoder) flush(r *result) error {
	if e.pending == 0 {
		return nil
	}
	e.pending = 0
	record := e.builder.NewRecordBatch()
	defer record.Release()
	for n := record.NumRows(); n > 0; n /= 2 {
		size, err := e.sized(record, n)
		if err != nil {
			return err
		}
		if size+endOfStream > r.room() {
			if n == 1 {
				return r.full(size)
			}
			continue
		}
		part := record.NewSlice(0, n)
		err = e.writer.Write(part)
		part.Release()
		if err != nil {
			return err
		}
		r.tail.Rows += n
		if err := e.drain(r); err != nil {
			return err
		}
		if n < record.NumRows() {
			r.tail.Truncated = true
			return errStop
		}
		return nil
	}
	return nil
}

// sized is how many bytes the first n rows take, with the schema when it was not
// written yet.
func (e *arrowEncoder) sized(record arrow.RecordBatch, n int64) (int64, error) {
	var probe counter
	w := ipc.NewWriter(&probe, ipc.WithSchema(e.schema))
	part := record.NewSlice(0, n)
	defer part.Release()
	if err := w.Write(part); err != nil {
		return 0, err
	}
	return int64(probe), nil
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

func (e *arrowEncoder) drain(r *result) error {
	err := r.write(e.out.Bytes())
	e.out.Reset()
	return err
}

func (e *arrowEncoder) end(r *result) error {
	if err := e.flush(r); err != nil && err != errStop {
		return err
	}
	if err := e.writer.Close(); err != nil {
		return err
	}
	e.builder.Release()
	return e.drain(r)
}

func arrowType(k kind) arrow.DataType {
	if t, ok := map[mapping.Type]arrow.DataType{
		mapping.TypeBoolean: arrow.FixedWidthTypes.Boolean, mapping.TypeTinyInt: arrow.PrimitiveTypes.Int8,
		mapping.TypeSmallInt: arrow.PrimitiveTypes.Int16, mapping.TypeInteger: arrow.PrimitiveTypes.Int32,
		mapping.TypeBigInt: arrow.PrimitiveTypes.Int64, mapping.TypeUTinyInt: arrow.PrimitiveTypes.Uint8,
		mapping.TypeUSmallInt: arrow.PrimitiveTypes.Uint16, mapping.TypeUInteger: arrow.PrimitiveTypes.Uint32,
		mapping.TypeUBigInt: arrow.PrimitiveTypes.Uint64, mapping.TypeFloat: arrow.PrimitiveTypes.Float32,
		mapping.TypeDouble: arrow.PrimitiveTypes.Float64, mapping.TypeDate: arrow.FixedWidthTypes.Date32,
		mapping.TypeTime: arrow.FixedWidthTypes.Time64us, mapping.TypeBlob: arrow.BinaryTypes.Binary,
		mapping.TypeTimestamp: &arrow.TimestampType{Unit: arrow.Microsecond}, mapping.TypeTimestampS: &arrow.TimestampType{Unit: arrow.Second},
		mapping.TypeTimestampMS: &arrow.TimestampType{Unit: arrow.Millisecond}, mapping.TypeTimestampNS: &arrow.TimestampType{Unit: arrow.Nanosecond},
		mapping.TypeTimestampTZ: arrow.FixedWidthTypes.Timestamp_us,
	}[k.id]; ok {
		return t
	}
	switch k.id {
	case mapping.TypeHugeInt: // what sum() gives
		return &arrow.Decimal128Type{Precision: 38}
	case mapping.TypeDecimal:
		return &arrow.Decimal128Type{Precision: int32(k.width), Scale: int32(k.scale)}
	case mapping.TypeList:
		return arrow.ListOf(arrowType(k.inner[0]))
	case mapping.TypeArray:
		return arrow.FixedSizeListOf(int32(k.size), arrowType(k.inner[0]))
	case mapping.TypeMap:
		return arrow.MapOf(arrowType(k.inner[0]), arrowType(k.inner[1]))
	case mapping.TypeStruct:
		fields := make([]arrow.Field, len(k.inner))
		for i, inner := range k.inner {
			fields[i] = arrow.Field{Name: k.names[i], Type: arrowType(inner), Nullable: true}
		}
		return arrow.StructOf(fields...)
	}
	return arrow.BinaryTypes.String
}

// values are n values of a column as they lie in memory.
func values[T any](c *column, from, n int) []T {
	if n == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Add(c.data, uintptr(from)*unsafe.Sizeof(zero))), n)
}

// present says which of n values are not null; nil: all.
func (c *column) present(from, n int) []bool {
	if c.valid == nil {
		return nil
	}
	out := make([]bool, n)
	for i := range out {
		out[i] = !c.null(from + i)
	}
	return out
}

// appendColumn copies n values of a column into a builder of its type.
func appendColumn(to array.Builder, c *column, from, n int) {
	ok := c.present(from, n)
	switch to := to.(type) {
	case *array.BooleanBuilder:
		to.AppendValues(values[bool](c, from, n), ok)
	case *array.Int8Builder:
		to.AppendValues(values[int8](c, from, n), ok)
	case *array.Int16Builder:
		to.AppendValues(values[int16](c, from, n), ok)
	case *array.Int32Builder:
		to.AppendValues(values[int32](c, from, n), ok)
	case *array.Int64Builder:
		to.AppendValues(values[int64](c, from, n), ok)
	case *array.Uint8Builder:
		to.AppendValues(values[uint8](c, from, n), ok)
	case *array.Uint16Builder:
		to.AppendValues(values[uint16](c, from, n), ok)
	case *array.Uint32Builder:
		to.AppendValues(values[uint32](c, from, n), ok)
	case *array.Uint64Builder:
		to.AppendValues(values[uint64](c, from, n), ok)
	case *array.Float32Builder:
		to.AppendValues(values[float32](c, from, n), ok)
	case *array.Float64Builder:
		to.AppendValues(values[float64](c, from, n), ok)
	case *array.Date32Builder:
		to.AppendValues(values[arrow.Date32](c, from, n), ok)
	case *array.Time64Builder:
		to.AppendValues(values[arrow.Time64](c, from, n), ok)
	case *array.TimestampBuilder:
		to.AppendValues(values[arrow.Timestamp](c, from, n), ok)
	default:
		for row := from; row < from+n; row++ {
			if c.null(row) {
				to.AppendNull()
			} else {
				appendOne(to, c, row)
			}
		}
	}
}

// appendOne copies a value that is not null.
func appendOne(to array.Builder, c *column, row int) {
	switch to := to.(type) {
	case *array.BinaryBuilder:
		to.Append(c.bytes(row))
	case *array.StringBuilder:
		if c.id == mapping.TypeVarchar {
			to.BinaryBuilder.Append(c.bytes(row))
		} else {
			to.Append(string(c.text(nil, row)))
		}
	case *array.Decimal128Builder:
		if c.id == mapping.TypeHugeInt || c.internal == mapping.TypeHugeInt {
			v := at[struct {
				low  uint64
				high int64
			}](c, row)
			to.Append(decimal128.New(v.high, v.low))
		} else {
			to.Append(decimal128.FromI64(c.signed(c.internal, row)))
		}
	case *array.ListBuilder:
		from, n := c.list(row)
		to.Append(true)
		appendColumn(to.ValueBuilder(), &c.kids[0], from, n)
	case *array.FixedSizeListBuilder:
		from, n := c.list(row)
		to.Append(true)
		appendColumn(to.ValueBuilder(), &c.kids[0], from, n)
	case *array.MapBuilder:
		from, n := c.list(row)
		to.Append(true)
		appendColumn(to.KeyBuilder(), &c.kids[0], from, n)
		appendColumn(to.ItemBuilder(), &c.kids[1], from, n)
	case *array.StructBuilder:
		to.Append(true)
		for i := range c.kids {
			appendColumn(to.FieldBuilder(i), &c.kids[i], row, 1)
		}
	default:
		to.AppendNull()
	}
}
