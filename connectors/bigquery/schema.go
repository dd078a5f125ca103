package bigquery

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
)

const maxDepth = 16 // RECORDs are nested 15 levels at most

// schema is that of a table or of a result.
type schema struct {
	Fields []field `json:"fields"`
}

// field is a column, or a part of a RECORD. The API has the names of legacy SQL
// for types; those of GoogleSQL are taken too.
type field struct {
	Name      string  `json:"name"`
	Type      string  `json:"type"`
	Mode      string  `json:"mode"` // NULLABLE, REQUIRED or REPEATED
	Fields    []field `json:"fields"`
	Precision number  `json:"precision"`
	Scale     number  `json:"scale"`
}

func (s schema) plain() []connectors.Column {
	out := make([]connectors.Column, 0, len(s.Fields))
	for _, f := range s.Fields {
		out = append(out, connectors.Column{Name: f.Name, Type: f.duck(0)})
	}
	return out
}

func (s schema) field(name string) *field {
	for i, f := range s.Fields {
		if strings.EqualFold(f.Name, name) { // names differ in more than case
			return &s.Fields[i]
		}
	}
	return nil
}

func (f field) record() bool { return f.Type == "RECORD" || f.Type == "STRUCT" }

// duck is the type as DuckDB writes it. depth is 0 for a column.
func (f field) duck(depth int) string {
	name := f.single(depth)
	if f.Mode == "REPEATED" && name != "JSON" {
		return name + "[]"
	}
	return name
}

// single is the type of one value. Bytes inside of others stay in base64: a BLOB
// is not read out of JSON.
func (f field) single(depth int) string {
	switch f.Type {
	case "INTEGER", "INT64":
		return "BIGINT"
	case "FLOAT", "FLOAT64":
		return "DOUBLE"
	case "BOOLEAN", "BOOL":
		return "BOOLEAN"
	case "NUMERIC":
		return f.decimal("DECIMAL(38,9)", 38, 9)
	case "BIGNUMERIC":
		return f.decimal("VARCHAR", 0, 0)
	case "DATE", "TIME", "INTERVAL", "JSON":
		return f.Type
	case "DATETIME":
		return "TIMESTAMP"
	case "TIMESTAMP":
		return "TIMESTAMPTZ"
	case "BYTES":
		if depth == 0 && f.Mode != "REPEATED" {
			return "BLOB"
		}
	case "RECORD", "STRUCT":
		return f.fields(depth)
	}
	return "VARCHAR"
}

// decimal is a DECIMAL of the declared size; whole is what one without it is.
func (f field) decimal(whole string, p, s number) string {
	if f.Precision > 0 {
		p, s = f.Precision, f.Scale
	}
	if p < 1 || p > 38 || s < 0 || s > p {
		return whole
	}
	return fmt.Sprintf("DECIMAL(%d,%d)", p, s)
}

// fields is a STRUCT. One that is nested deeper than is possible, or has names
// that DuckDB takes for the same, comes as JSON.
func (f field) fields(depth int) string {
	seen, parts := map[string]bool{}, make([]string, 0, len(f.Fields))
	for _, of := range f.Fields {
		if name := strings.ToLower(of.Name); seen[name] || name == "" {
			return "JSON"
		} else {
			seen[name] = true
		}
		parts = append(parts, `"`+strings.ReplaceAll(of.Name, `"`, `""`)+`" `+deeper(of, depth))
	}
	if len(parts) == 0 || depth >= maxDepth {
		return "JSON"
	}
	return "STRUCT(" + strings.Join(parts, ", ") + ")"
}

func deeper(f field, depth int) string {
	if depth >= maxDepth {
		return "JSON"
	}
	return f.duck(depth + 1)
}

// row is a row as the API gives it: fields with values, in the order of the schema.
type row struct {
	F []cell `json:"f"`
}

type cell struct {
	V json.RawMessage `json:"v"`
}

// rowsPage is a page of tabledata.list or jobs.getQueryResults.
type rowsPage struct {
	Complete *bool   `json:"jobComplete"` // of a query
	Schema   schema  `json:"schema"`      // of a query
	Total    *number `json:"totalRows"`
	Next     string  `json:"pageToken"`
	Rows     []row   `json:"rows"`
}

// micros reads a time of the API with useInt64Timestamp: microseconds of Unix.
func micros(text string) (int64, error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("a TIMESTAMP that is no number of microseconds")
	}
	return n, nil
}

// text is a value that has to be a string.
func (c cell) text() (s string, err error) {
	if err = json.Unmarshal(c.V, &s); err != nil || null(c.V) {
		return "", errors.New("a value that has to be a text is none")
	}
	return s, nil
}
