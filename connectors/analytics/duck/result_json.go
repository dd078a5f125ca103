//go:build cgo

package duck

import (
	"encoding/json"
	"math"
	"math/big"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// maxSafe is the largest whole number that every reader of JSON keeps: beyond
// 2^53-1 those that read numbers as doubles lose digits (RFC 8259, 6).
const maxSafe = 1<<53 - 1

// json writes a value as JSON. Whole numbers that every reader keeps are numbers,
// beyond that strings; DECIMAL is a string, since as a number it would lose its
// digits; NaN and infinity are the strings "NaN", "Infinity", "-Infinity". Times
// and everything else that JSON has not are strings.
func (c *column) json(buf []byte, row int) []byte {
	if c.null(row) {
		return append(buf, "null"...)
	}
	switch c.id {
	case mapping.TypeBoolean, mapping.TypeTinyInt, mapping.TypeSmallInt, mapping.TypeInteger,
		mapping.TypeUTinyInt, mapping.TypeUSmallInt, mapping.TypeUInteger:
		return c.text(buf, row)
	case mapping.TypeBigInt:
		return quotedIf(buf, magnitude(at[int64](c, row)) > maxSafe, c, row)
	case mapping.TypeUBigInt:
		return quotedIf(buf, at[uint64](c, row) > maxSafe, c, row)
	case mapping.TypeHugeInt, mapping.TypeUHugeInt:
		return quotedIf(buf, c.huge(row).CmpAbs(big.NewInt(maxSafe)) > 0, c, row)
	case mapping.TypeFloat:
		return quotedIf(buf, !finite(float64(at[float32](c, row))), c, row)
	case mapping.TypeDouble:
		return quotedIf(buf, !finite(at[float64](c, row)), c, row)
	case mapping.TypeVarchar:
		return c.jsonText(buf, row)
	case mapping.TypeEnum:
		return appendString(buf, []byte(c.words[c.unsigned(c.internal, row)]))
	case mapping.TypeList, mapping.TypeArray:
		return c.jsonList(buf, row)
	case mapping.TypeStruct:
		return c.jsonStruct(buf, row)
	case mapping.TypeMap:
		return c.jsonMap(buf, row)
	}
	return quotedIf(buf, true, c, row)
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// quotedIf writes a text that needs no escape.
func quotedIf(buf []byte, quoted bool, c *column, row int) []byte {
	if !quoted {
		return c.text(buf, row)
	}
	return append(c.text(append(buf, '"'), row), '"')
}

// jsonText writes a text; one of the type JSON is what it says, where it is valid.
func (c *column) jsonText(buf []byte, row int) []byte {
	text := c.bytes(row)
	if c.kind.json && json.Valid(text) {
		return append(buf, oneLine(text)...)
	}
	return appendString(buf, text)
}

// oneLine takes the line breaks out of JSON, in which they are never part of a
// value, since rows are lines.
func oneLine(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, b := range text {
		if b == '\n' || b == '\r' {
			b = ' '
		}
		out = append(out, b)
	}
	return out
}

func (c *column) jsonList(buf []byte, row int) []byte {
	buf = append(buf, '[')
	from, n := c.list(row)
	for i := range n {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = c.kids[0].json(buf, from+i)
	}
	return append(buf, ']')
}

func (c *column) jsonStruct(buf []byte, row int) []byte {
	if len(c.names) > 0 && c.names[0] == "" { // row(1, 2) has no names
		buf = append(buf, '[')
		for i := range c.kids {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = c.kids[i].json(buf, row)
		}
		return append(buf, ']')
	}
	buf = append(buf, '{')
	for i := range c.kids {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(appendString(buf, []byte(c.names[i])), ':')
		buf = c.kids[i].json(buf, row)
	}
	return append(buf, '}')
}

// jsonMap writes a map as an object; keys that are no texts are written as such.
func (c *column) jsonMap(buf []byte, row int) []byte {
	buf = append(buf, '{')
	from, n := c.list(row)
	for i := range n {
		if i > 0 {
			buf = append(buf, ',')
		}
		var key []byte
		if !c.kids[0].null(from + i) {
			key = c.kids[0].text(nil, from+i)
		}
		buf = append(appendString(buf, key), ':')
		buf = c.kids[1].json(buf, from+i)
	}
	return append(buf, '}')
}

// appendString writes a JSON string. Bytes that are no UTF-8, which the engine
// does not let in, would be the replacement character.
func appendString(buf, s []byte) []byte {
	const digits = "0123456789abcdef"
	buf = append(buf, '"')
	start := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= 0x20 && b != '"' && b != '\\' && b < utf8.RuneSelf {
			i++
			continue
		}
		if b >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		buf = append(buf, s[start:i]...)
		switch {
		case b == '"' || b == '\\':
			buf = append(buf, '\\', b)
		case b == '\n':
			buf = append(buf, `\n`...)
		case b == '\t':
			buf = append(buf, `\t`...)
		case b == '\r':
			buf = append(buf, `\r`...)
		case b >= utf8.RuneSelf:
			buf = append(buf, `\ufffd`...)
		default:
			buf = append(buf, '\\', 'u', '0', '0', digits[b>>4], digits[b&15])
		}
		i++
		start = i
	}
	return append(append(buf, s[start:]...), '"')
}
