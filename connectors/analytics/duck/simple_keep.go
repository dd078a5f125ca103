//go:build cgo

package duck

import (
	"fmt"
	"strings"
)

// kept is the type that a value has in Parquet without losing anything, and how
// it is cast to it. What DuckDB 1.5.6 makes of the others was found out by
// writing and reading them: HUGEINT becomes DOUBLE, INTERVAL is refused below
// zero and rounded, TIME WITH TIME ZONE loses its zone, an UNION its tag.
func kept(t *duckType) (*duckType, error) {
	switch t.name {
	case "HUGEINT", "UHUGEINT":
		return &duckType{name: "DECIMAL", args: []int{38, 0}}, nil
	case "ENUM", "BIT", "BIGNUM", "INTERVAL", "TIME WITH TIME ZONE", "TIME_NS":
		return &duckType{name: "VARCHAR"}, nil
	case "TIMESTAMP_S", "TIMESTAMP_MS":
		return &duckType{name: "TIMESTAMP"}, nil
	case "UNION", "VARIANT":
		return &duckType{name: "JSON"}, nil
	case "GEOMETRY":
		return nil, fmt.Errorf("type %s cannot be kept", t.name)
	case "ARRAY":
		return inside(&duckType{name: "LIST", of: t.of})
	case "LIST", "MAP", "STRUCT":
		return inside(t)
	}
	return t, nil
}

// inside is kept for what a nested type is made of.
func inside(t *duckType) (*duckType, error) {
	out := &duckType{name: t.name, labels: t.labels}
	for _, of := range t.of {
		if of.has("UNION", "VARIANT") {
			return nil, fmt.Errorf("type %s inside of %s cannot be kept", of.name, t.name)
		}
		k, err := kept(of)
		if err != nil {
			return nil, err
		}
		out.of = append(out.of, k)
	}
	return out, nil
}

// has reports whether a type is one of these, or has one inside.
func (t *duckType) has(names ...string) bool {
	for _, n := range names {
		if t.name == n {
			return true
		}
	}
	for _, of := range t.of {
		if of.has(names...) {
			return true
		}
	}
	return false
}

func (t *duckType) nested() bool { return len(t.of) > 0 }

func (t *duckType) integer() bool {
	return strings.HasSuffix(t.name, "INT") || t.name == "INTEGER" || t.name == "UINTEGER"
}

// fits is a condition on a text x: that it is a value of the type as a whole.
// DuckDB's own casts round 1.5 to 2 and 12.345 to 12.35, take 0x10 for 16, and
// drop the time of a date and the zone of a timestamp. Empty: the cast says all.
func (t *duckType) fits(x string) string {
	switch {
	case t.integer():
		return "regexp_full_match(" + x + `, '\s*[+-]?[0-9]+(\.0*)?\s*')`
	case t.name == "DECIMAL":
		return fmt.Sprintf(`regexp_full_match(%s, '\s*[+-]?[0-9]*(\.[0-9]{0,%d}0*)?\s*')`, x, t.args[1])
	case t.name == "DATE":
		return "NOT regexp_matches(" + x + `, '[0-9][T ].*[1-9]')`
	}
	return ""
}

// cast is an expression that makes a text into the type.
func (t *duckType) cast(x string) string {
	if t.name == "TIMESTAMP" { // with a zone: as UTC has it
		return "CASE WHEN regexp_matches(" + x + `, ':[0-9.]+ ?[+-][0-9]') THEN CAST(CAST(` + x + ` AS TIMESTAMPTZ) AT TIME ZONE 'UTC' AS TIMESTAMP) ELSE CAST(` + x + " AS TIMESTAMP) END"
	}
	return "CAST(" + x + " AS " + t.String() + ")"
}

// isValue is a condition on a text x that is not null: that cast takes it.
func (t *duckType) isValue(x string) string {
	try := "TRY_CAST(" + x + " AS " + t.String() + ") IS NOT NULL"
	if f := t.fits(x); f != "" {
		return "(" + f + " AND " + try + ")"
	}
	return try
}

// fromText is an expression that makes a text into the type, strictly: what does
// not fit is an error that names the column.
func fromText(x, column string, to *duckType) string {
	if to.name == "VARCHAR" {
		return x
	}
	f := to.fits(x)
	if f == "" {
		return to.cast(x)
	}
	said := quoteText(fmt.Sprintf("column %s: a value is no %s", column, to))
	return "CASE WHEN " + x + " IS NULL OR " + f + " THEN " + to.cast(x) + " ELSE error(" + said + ") END"
}

// fromValue is an expression that makes a value of one type into another without
// losing anything of it.
func fromValue(x, column string, from, to *duckType) string {
	switch {
	case from.String() == to.String():
		return x
	case from.name == "UNION":
		return "to_json(" + x + ")"
	case from.name == "VARCHAR":
		return fromText(x, column, to)
	case to.name == "VARCHAR" || from.nested() || to.nested() || from.name == "JSON" || to.name == "JSON":
		return "CAST(" + x + " AS " + to.String() + ")"
	}
	there := "CAST(" + x + " AS " + to.String() + ")"
	said := quoteText(fmt.Sprintf("column %s: a value of %s is no %s", column, from, to))
	return "CASE WHEN CAST(" + there + " AS " + from.String() + ") IS NOT DISTINCT FROM " + x + " THEN " + there + " ELSE error(" + said + ") END"
}
