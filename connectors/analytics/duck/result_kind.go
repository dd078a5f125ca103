//go:build cgo

package duck

import (
	"fmt"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// kind is the type of a column, with those of what is in it.
type kind struct {
	id           mapping.Type
	json         bool // a VARCHAR that holds JSON
	width, scale uint8
	internal     mapping.Type // how a DECIMAL or an ENUM is stored
	words        []string     // of an ENUM
	names        []string     // of a STRUCT's or a UNION's fields
	inner        []kind       // of a LIST, an ARRAY, a STRUCT, a MAP (key, value), a UNION
	size         int          // of an ARRAY
	alias        string
}

func readKind(t mapping.LogicalType) kind {
	k := kind{id: mapping.GetTypeId(t), alias: mapping.LogicalTypeGetAlias(t)}
	k.json = k.alias == "JSON"
	child := func(c mapping.LogicalType) {
		k.inner = append(k.inner, readKind(c))
		mapping.DestroyLogicalType(&c)
	}
	switch k.id {
	case mapping.TypeDecimal:
		k.width, k.scale = mapping.DecimalWidth(t), mapping.DecimalScale(t)
		k.internal = mapping.DecimalInternalType(t)
	case mapping.TypeEnum:
		k.internal = mapping.EnumInternalType(t)
		for i := range mapping.EnumDictionarySize(t) {
			k.words = append(k.words, mapping.EnumDictionaryValue(t, mapping.IdxT(i)))
		}
	case mapping.TypeList:
		child(mapping.ListTypeChildType(t))
	case mapping.TypeArray:
		k.size = int(mapping.ArrayTypeArraySize(t))
		child(mapping.ArrayTypeChildType(t))
	case mapping.TypeMap:
		child(mapping.MapTypeKeyType(t))
		child(mapping.MapTypeValueType(t))
	case mapping.TypeStruct:
		for i := range mapping.StructTypeChildCount(t) {
			k.names = append(k.names, mapping.StructTypeChildName(t, i))
			child(mapping.StructTypeChildType(t, i))
		}
	case mapping.TypeUnion:
		for i := range mapping.UnionTypeMemberCount(t) {
			k.names = append(k.names, mapping.UnionTypeMemberName(t, i))
			child(mapping.UnionTypeMemberType(t, i))
		}
	}
	return k
}

// plain are the types whose values are read from memory as they are.
func plain(id mapping.Type) string {
	return map[mapping.Type]string{
		mapping.TypeBoolean: "BOOLEAN", mapping.TypeTinyInt: "TINYINT", mapping.TypeSmallInt: "SMALLINT",
		mapping.TypeInteger: "INTEGER", mapping.TypeBigInt: "BIGINT", mapping.TypeUTinyInt: "UTINYINT",
		mapping.TypeUSmallInt: "USMALLINT", mapping.TypeUInteger: "UINTEGER", mapping.TypeUBigInt: "UBIGINT",
		mapping.TypeFloat: "FLOAT", mapping.TypeDouble: "DOUBLE", mapping.TypeDate: "DATE", mapping.TypeTime: "TIME",
		mapping.TypeTimestamp: "TIMESTAMP", mapping.TypeTimestampS: "TIMESTAMP_S", mapping.TypeTimestampMS: "TIMESTAMP_MS",
		mapping.TypeTimestampNS: "TIMESTAMP_NS", mapping.TypeTimestampTZ: "TIMESTAMP WITH TIME ZONE",
		mapping.TypeVarchar: "VARCHAR", mapping.TypeBlob: "BLOB", mapping.TypeHugeInt: "HUGEINT",
		mapping.TypeUHugeInt: "UHUGEINT", mapping.TypeUUID: "UUID",
	}[id]
}

// cast are those whose values the engine writes as text.
func cast(id mapping.Type) string {
	return map[mapping.Type]string{
		mapping.TypeInterval: "INTERVAL", mapping.TypeBit: "BIT", mapping.TypeTimeTZ: "TIME WITH TIME ZONE",
		mapping.TypeTimeNS: "TIME_NS", mapping.TypeBigNum: "BIGNUM", mapping.TypeGeometry: "GEOMETRY",
		mapping.TypeVariant: "VARIANT", mapping.TypeSQLNull: "NULL",
	}[id]
}

// readable says whether values can be read from memory here; others are cast to
// text by the engine.
func (k kind) readable() bool {
	for _, inner := range k.inner {
		if !inner.readable() {
			return false
		}
	}
	switch k.id {
	case mapping.TypeDecimal, mapping.TypeEnum:
		return true
	case mapping.TypeList, mapping.TypeArray, mapping.TypeStruct, mapping.TypeMap:
		return len(k.inner) > 0
	}
	return plain(k.id) != ""
}

// String is the type as DuckDB writes it.
func (k kind) String() string {
	if k.json {
		return "JSON"
	}
	switch k.id {
	case mapping.TypeDecimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", k.width, k.scale)
	case mapping.TypeEnum:
		words := make([]string, len(k.words))
		for i, w := range k.words {
			words[i] = quoteText(w)
		}
		return "ENUM(" + strings.Join(words, ", ") + ")"
	case mapping.TypeList:
		return k.inner[0].String() + "[]"
	case mapping.TypeArray:
		return fmt.Sprintf("%s[%d]", k.inner[0], k.size)
	case mapping.TypeMap:
		return fmt.Sprintf("MAP(%s, %s)", k.inner[0], k.inner[1])
	case mapping.TypeStruct, mapping.TypeUnion:
		fields := make([]string, len(k.names))
		for i, name := range k.names {
			fields[i] = quoteName(name) + " " + k.inner[i].String()
		}
		word := map[bool]string{true: "STRUCT", false: "UNION"}[k.id == mapping.TypeStruct]
		return word + "(" + strings.Join(fields, ", ") + ")"
	}
	for _, name := range []string{plain(k.id), cast(k.id), k.alias} {
		if name != "" {
			return name
		}
	}
	return "VARCHAR"
}
