//go:build cgo

package duck

import (
	"fmt"
	"strconv"
	"strings"
)

// duckType is a type as DuckDB writes it, read so that it can be put into SQL
// again whoever wrote it, and so that it can be compared.
type duckType struct {
	name   string      // in capitals: BIGINT, DECIMAL, STRUCT, LIST, ENUM
	args   []int       // of DECIMAL; the length of an ARRAY
	labels []string    // fields of STRUCT and UNION, values of ENUM
	of     []*duckType // of the fields; element of LIST and ARRAY; key and value of MAP
}

const (
	maxTypeText  = 64 << 10
	maxTypeDepth = 16
)

// aliases are other names of the types that may be declared, from
// https://duckdb.org/docs/sql/data_types/overview.
func aliases() map[string]string {
	return map[string]string{
		"BOOL": "BOOLEAN", "LOGICAL": "BOOLEAN", "INT1": "TINYINT", "INT2": "SMALLINT", "SHORT": "SMALLINT",
		"INT": "INTEGER", "INT4": "INTEGER", "SIGNED": "INTEGER", "INT8": "BIGINT", "LONG": "BIGINT",
		"FLOAT4": "FLOAT", "REAL": "FLOAT", "FLOAT8": "DOUBLE", "NUMERIC": "DECIMAL", "STRING": "VARCHAR", "TEXT": "VARCHAR",
		"CHAR": "VARCHAR", "BPCHAR": "VARCHAR", "BYTEA": "BLOB", "BINARY": "BLOB", "VARBINARY": "BLOB", "DATETIME": "TIMESTAMP",
		"TIMESTAMP_US": "TIMESTAMP", "TIMESTAMPTZ": "TIMESTAMP WITH TIME ZONE", "TIMETZ": "TIME WITH TIME ZONE",
		"BITSTRING": "BIT", "VARINT": "BIGNUM",
	}
}

// known are the simple types.
func known() map[string]bool {
	return map[string]bool{
		"BOOLEAN": true, "TINYINT": true, "SMALLINT": true, "INTEGER": true, "BIGINT": true, "HUGEINT": true, "UTINYINT": true,
		"USMALLINT": true, "UINTEGER": true, "UBIGINT": true, "UHUGEINT": true, "FLOAT": true, "DOUBLE": true, "DECIMAL": true,
		"VARCHAR": true, "BLOB": true, "DATE": true, "TIME": true, "TIME_NS": true, "TIME WITH TIME ZONE": true, "TIMESTAMP": true,
		"TIMESTAMP_S": true, "TIMESTAMP_MS": true, "TIMESTAMP_NS": true, "TIMESTAMP WITH TIME ZONE": true, "INTERVAL": true,
		"BIT": true, "UUID": true, "JSON": true, "BIGNUM": true, "VARIANT": true, "GEOMETRY": true,
	}
}

// readType reads a type.
func readType(text string) (*duckType, error) {
	if len(text) > maxTypeText {
		return nil, fmt.Errorf("read type: %d bytes are more than %d", len(text), maxTypeText)
	}
	p := &typeReader{text: text}
	t, err := p.whole(0)
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.wrong("the end")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("read type %s: %w", short(text), err)
	}
	return t, nil
}

// typeReader goes through the text of a type.
type typeReader struct {
	text string
	at   int
}

func (p *typeReader) wrong(wanted string) error {
	return fmt.Errorf("%s is expected at %s", wanted, short(p.text[p.at:]+"…"))
}

func (p *typeReader) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\n\r", p.text[p.at]) >= 0 {
		p.at++
	}
}

// next takes one character when it is there.
func (p *typeReader) next(c byte) bool {
	if p.space(); p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

// word takes letters, digits and underscores.
func (p *typeReader) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

// words takes the words when they are all there.
func (p *typeReader) words(all ...string) bool {
	start := p.at
	for _, w := range all {
		if !strings.EqualFold(p.word(), w) {
			p.at = start
			return false
		}
	}
	return true
}

// quoted takes a text in quotes, in which a pair stands for one.
func (p *typeReader) quoted(q byte) (string, error) {
	if !p.next(q) {
		return "", p.wrong(string(q))
	}
	var b strings.Builder
	for p.at < len(p.text) {
		c := p.text[p.at]
		p.at++
		if c == q {
			if p.at >= len(p.text) || p.text[p.at] != q {
				return b.String(), nil
			}
			p.at++
		}
		b.WriteByte(c)
	}
	return "", p.wrong("a closing " + string(q))
}

// whole reads a type with the brackets behind it.
func (p *typeReader) whole(depth int) (*duckType, error) {
	if depth > maxTypeDepth {
		return nil, fmt.Errorf("more than %d levels", maxTypeDepth)
	}
	t, err := p.base(depth)
	for levels := depth; err == nil && p.next('['); levels++ {
		if levels > maxTypeDepth {
			return nil, fmt.Errorf("more than %d levels", maxTypeDepth)
		}
		list := &duckType{name: "LIST", of: []*duckType{t}}
		if digits := p.word(); digits != "" {
			n, wrong := strconv.Atoi(digits)
			if wrong != nil || n < 1 {
				return nil, p.wrong("a length")
			}
			list.name, list.args = "ARRAY", []int{n}
		}
		if !p.next(']') {
			return nil, p.wrong("]")
		}
		t = list
	}
	return t, err
}

func (p *typeReader) base(depth int) (*duckType, error) {
	name := strings.ToUpper(p.word())
	if full, ok := aliases()[name]; ok {
		name = full
	}
	switch {
	case name == "STRUCT" || name == "UNION":
		return p.fields(name, depth)
	case name == "MAP":
		return p.pair(depth)
	case name == "ENUM":
		return p.enum()
	case name == "DECIMAL":
		return p.decimal()
	case name == "DOUBLE":
		p.words("PRECISION")
	case name == "TIMESTAMP" || name == "TIME":
		if p.words("WITH", "TIME", "ZONE") {
			name += " WITH TIME ZONE"
		} else {
			p.words("WITHOUT", "TIME", "ZONE")
		}
	case name == "VARCHAR" && p.next('('): // a length means nothing to DuckDB
		if p.word() == "" || !p.next(')') {
			return nil, p.wrong("a length")
		}
	}
	if !known()[name] {
		return nil, fmt.Errorf("%q is no type that is known here", short(name))
	}
	return &duckType{name: name}, nil
}

func (p *typeReader) fields(name string, depth int) (*duckType, error) {
	t := &duckType{name: name}
	if !p.next('(') {
		return nil, p.wrong("(")
	}
	for {
		label, err := p.label()
		if err != nil {
			return nil, err
		}
		of, err := p.whole(depth + 1)
		if err != nil {
			return nil, err
		}
		t.labels, t.of = append(t.labels, label), append(t.of, of)
		if p.next(')') {
			return t, nil
		}
		if !p.next(',') {
			return nil, p.wrong(", or )")
		}
	}
}

// label is the name of a field. A row without names has none, which the C
// interface of DuckDB cannot read.
func (p *typeReader) label() (string, error) {
	if p.space(); p.at < len(p.text) && p.text[p.at] == '"' {
		label, err := p.quoted('"')
		if err == nil && label == "" {
			err = p.wrong("the name of a field")
		}
		return label, err
	}
	start := p.at
	label := p.word()
	if p.space(); label == "" || p.at >= len(p.text) || strings.IndexByte(",)([", p.text[p.at]) >= 0 {
		p.at = start
		return "", p.wrong("the name of a field")
	}
	return label, nil
}

func (p *typeReader) pair(depth int) (*duckType, error) {
	if !p.next('(') {
		return nil, p.wrong("(")
	}
	key, err := p.whole(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.next(',') {
		return nil, p.wrong(",")
	}
	value, err := p.whole(depth + 1)
	if err != nil {
		return nil, err
	}
	if !p.next(')') {
		return nil, p.wrong(")")
	}
	return &duckType{name: "MAP", of: []*duckType{key, value}}, nil
}

func (p *typeReader) enum() (*duckType, error) {
	t := &duckType{name: "ENUM"}
	if !p.next('(') {
		return nil, p.wrong("(")
	}
	for {
		value, err := p.quoted('\'')
		if err != nil {
			return nil, err
		}
		t.labels = append(t.labels, value)
		if p.next(')') {
			return t, nil
		}
		if !p.next(',') {
			return nil, p.wrong(", or )")
		}
	}
}

func (p *typeReader) decimal() (*duckType, error) {
	t := &duckType{name: "DECIMAL", args: []int{18, 3}}
	if !p.next('(') {
		return t, nil
	}
	precision, err := strconv.Atoi(p.word())
	scale := 0
	if err == nil && p.next(',') {
		scale, err = strconv.Atoi(p.word())
	}
	if err != nil || precision < 1 || precision > 38 || scale < 0 || scale > precision || !p.next(')') {
		return nil, p.wrong("a precision up to 38 and a scale up to it")
	}
	t.args = []int{precision, scale}
	return t, nil
}

// String writes the type as DuckDB does.
func (t *duckType) String() string {
	switch t.name {
	case "LIST":
		return t.of[0].String() + "[]"
	case "ARRAY":
		return fmt.Sprintf("%s[%d]", t.of[0], t.args[0])
	case "MAP":
		return fmt.Sprintf("MAP(%s, %s)", t.of[0], t.of[1])
	case "DECIMAL":
		return fmt.Sprintf("DECIMAL(%d,%d)", t.args[0], t.args[1])
	case "STRUCT", "UNION":
		fields := make([]string, len(t.of))
		for i, of := range t.of {
			fields[i] = quoteName(t.labels[i]) + " " + of.String()
		}
		return t.name + "(" + strings.Join(fields, ", ") + ")"
	case "ENUM":
		values := make([]string, len(t.labels))
		for i, v := range t.labels {
			values[i] = quoteText(v)
		}
		return "ENUM(" + strings.Join(values, ", ") + ")"
	}
	return t.name
}
