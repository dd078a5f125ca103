//go:build cgo

package duck

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"time"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// text writes a value that is not null as CSV has it: what a person reads, with
// nothing lost. Times are ISO 8601, bytes base64, what is nested JSON.
func (c *column) text(buf []byte, row int) []byte {
	switch c.id {
	case mapping.TypeBoolean:
		return strconv.AppendBool(buf, at[bool](c, row))
	case mapping.TypeTinyInt, mapping.TypeSmallInt, mapping.TypeInteger, mapping.TypeBigInt:
		return strconv.AppendInt(buf, c.signed(c.id, row), 10)
	case mapping.TypeUTinyInt, mapping.TypeUSmallInt, mapping.TypeUInteger, mapping.TypeUBigInt:
		return strconv.AppendUint(buf, c.unsigned(c.id, row), 10)
	case mapping.TypeFloat:
		return number(buf, float64(at[float32](c, row)), 32)
	case mapping.TypeDouble:
		return number(buf, at[float64](c, row), 64)
	case mapping.TypeDecimal:
		return c.decimal(buf, row)
	case mapping.TypeHugeInt, mapping.TypeUHugeInt:
		return c.huge(row).Append(buf, 10)
	case mapping.TypeVarchar:
		return append(buf, c.bytes(row)...)
	case mapping.TypeBlob:
		return base64.StdEncoding.AppendEncode(buf, c.bytes(row))
	case mapping.TypeUUID:
		return appendUUID(buf, c.uuid(row))
	case mapping.TypeEnum:
		return append(buf, c.words[c.unsigned(c.internal, row)]...)
	case mapping.TypeList, mapping.TypeArray, mapping.TypeStruct, mapping.TypeMap:
		return c.json(buf, row)
	}
	return c.when(buf, row)
}

// number writes a number as DuckDB's own readers and JSON take it; what is none
// as a word.
func number(buf []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(buf, "NaN"...)
	case math.IsInf(f, 1):
		return append(buf, "Infinity"...)
	case math.IsInf(f, -1):
		return append(buf, "-Infinity"...)
	}
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		return strconv.AppendFloat(buf, f, 'e', -1, bits)
	}
	return strconv.AppendFloat(buf, f, 'f', -1, bits)
}

func appendUUID(buf []byte, id [16]byte) []byte {
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			buf = append(buf, '-')
		}
		buf = hex.AppendEncode(buf, part)
	}
	return buf
}

// when writes dates and times. The engine's infinite ones are the words that it
// has for them.
func (c *column) when(buf []byte, row int) []byte {
	n := c.signed(c.id, row)
	if c.id != mapping.TypeTime {
		top := map[bool]int64{true: math.MaxInt32, false: math.MaxInt64}[c.id == mapping.TypeDate]
		switch n {
		case top:
			return append(buf, "infinity"...)
		case -top:
			return append(buf, "-infinity"...)
		}
	}
	const day, clock = "2006-01-02", "15:04:05.999999999"
	switch c.id {
	case mapping.TypeDate:
		return appendTime(buf, time.Unix(n*86400, 0), day)
	case mapping.TypeTime:
		if n == 86400e6 {
			return append(buf, "24:00:00"...)
		}
		return appendTime(buf, time.UnixMicro(n), clock)
	case mapping.TypeTimestampS:
		return appendTime(buf, time.Unix(n, 0), day+"T"+clock)
	case mapping.TypeTimestampMS:
		return appendTime(buf, time.UnixMilli(n), day+"T"+clock)
	case mapping.TypeTimestampNS:
		return appendTime(buf, time.Unix(0, n), day+"T"+clock)
	case mapping.TypeTimestampTZ:
		return append(appendTime(buf, time.UnixMicro(n), day+"T"+clock), 'Z')
	}
	return appendTime(buf, time.UnixMicro(n), day+"T"+clock)
}

func appendTime(buf []byte, t time.Time, layout string) []byte {
	return t.UTC().AppendFormat(buf, layout)
}
