package postgres

import (
	"fmt"
	"strings"
)

// OIDs of types that are built in never change (src/include/catalog/pg_type.dat).
const (
	oidBool, oidBytea, oidInt8, oidInt2, oidInt4, oidText, oidOID        = 16, 17, 20, 21, 23, 25, 26
	oidJSON, oidXid, oidFloat4, oidFloat8, oidMoney, oidBpchar           = 114, 28, 700, 701, 790, 1042
	oidDate, oidTime, oidTimestamp, oidTimestampTZ, oidInterval          = 1082, 1083, 1114, 1184, 1186
	oidNumeric, oidUUID, oidJSONB, firstUserOID                   uint32 = 1700, 2950, 3802, 16384
)

// kind is what the catalog says of a type besides its name.
type kind struct {
	typtype  string // pg_type.typtype: b, c, d, e, m, p or r
	category string // pg_type.typcategory
	base     uint32 // of a domain
	basemod  int32
}

// form is how a column of a type comes: its type as DuckDB writes it, and the
// expression that writes it as a text that this type reads. %s is the column.
type form struct{ duck, expr string }

const (
	asIs   = "%s"
	asText = "(%s)::pg_catalog.text"
)

// forms are of types that need nothing but their OID.
var forms = map[uint32]form{
	oidBool:   {"BOOLEAN", asText}, // true and false instead of t and f
	oidInt2:   {"SMALLINT", asIs},
	oidInt4:   {"INTEGER", asIs},
	oidInt8:   {"BIGINT", asIs},
	oidOID:    {"UINTEGER", asIs},
	oidXid:    {"UINTEGER", asIs},
	oidFloat4: {"FLOAT", asIs},
	oidFloat8: {"DOUBLE", asIs},
	// Its text depends on the locale. Three places are what the currencies with
	// most of them have.
	oidMoney:  {"DECIMAL(22,3)", "(%s)::pg_catalog.numeric"},
	oidUUID:   {"UUID", asIs},
	oidJSON:   {"JSON", asIs},
	oidJSONB:  {"JSON", asIs},
	oidBpchar: {"VARCHAR", asText}, // blanks at the end are filling
	oidTime:   {"TIME", asIs},
	// Before our era DuckDB has (BC) behind the date, PostgreSQL BC at the end.
	oidDate:        {"DATE", `CASE WHEN %[1]s < '0001-01-01' AND pg_catalog.isfinite(%[1]s) THEN pg_catalog.regexp_replace((%[1]s)::pg_catalog.text, ' BC$', ' (BC)') ELSE (%[1]s)::pg_catalog.text END`},
	oidTimestamp:   {"TIMESTAMP", beforeEra},
	oidTimestampTZ: {"TIMESTAMPTZ", beforeEra},
	// Months, days and microseconds are what an interval is, in both.
	oidInterval: {"INTERVAL", `CASE WHEN pg_catalog.isfinite(%[1]s) THEN pg_catalog.concat(` +
		`(extract(year FROM %[1]s) * 12 + extract(month FROM %[1]s))::pg_catalog.int8, ' months ', extract(day FROM %[1]s)::pg_catalog.int8, ' days ', ` +
		`(extract(hour FROM %[1]s)::pg_catalog.int8 * 3600000000 + extract(minute FROM %[1]s)::pg_catalog.int8 * 60000000 + extract(microseconds FROM %[1]s)::pg_catalog.int8), ' microseconds') END`},
	// A byte is \xNN each.
	oidBytea: {"BLOB", `pg_catalog.regexp_replace(pg_catalog.encode(%s, 'hex'), '(..)', '\\x\1', 'g')`},
}

const beforeEra = `CASE WHEN %[1]s < '0001-01-01' AND pg_catalog.isfinite(%[1]s) THEN pg_catalog.regexp_replace((%[1]s)::pg_catalog.text, '^(\S+) (.*) BC$', '\1 (BC) \2') ELSE (%[1]s)::pg_catalog.text END`

// formOf maps a type. What is neither known nor an array or a row comes as its text.
func formOf(oid uint32, mod int32, of kind) form {
	for depth := 0; of.typtype == "d" && of.base != 0 && depth < 1; depth++ {
		oid, mod = of.base, of.basemod
	}
	if f, ok := forms[oid]; ok {
		return f
	}
	switch {
	case oid == oidNumeric:
		return numeric(mod)
	case of.category == "A", of.typtype == "c", of.typtype == "p" && of.category == "P":
		return form{"JSON", "pg_catalog.to_json(%s)"}
	}
	return form{"VARCHAR", asIs}
}

// numeric maps NUMERIC(p,s). One that says nothing of its size is DOUBLE: any
// DECIMAL would refuse some numbers. What DECIMAL cannot hold comes as text.
// The modifier is ((p << 16) | (s & 0x7ff)) + 4, and s is signed since 15.
func numeric(mod int32) form {
	if mod < 4 {
		return form{"DOUBLE", asIs}
	}
	p, s := (mod-4)>>16&0xffff, (mod-4)&0x7ff
	s = (s ^ 1024) - 1024
	if s < 0 {
		p, s = p-s, 0
	}
	p = max(p, s, 1)
	if p > 38 {
		return form{"VARCHAR", asIs}
	}
	return form{fmt.Sprintf("DECIMAL(%d,%d)", p, s), "nullif(%s, 'NaN')"}
}

// write is the expression of a column.
func (f form) write(column string) string {
	if f.expr == asIs {
		return column
	}
	if strings.Contains(f.expr, "%[1]s") {
		return fmt.Sprintf(f.expr, column)
	}
	return strings.Replace(f.expr, "%s", column, 1)
}

// quote makes an identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal makes a string constant of a text, with standard_conforming_strings on.
func literal(text string) string { return `'` + strings.ReplaceAll(text, `'`, `''`) + `'` }
