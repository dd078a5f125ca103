package pages

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fairlead/fairlead/connectors"
)

// The bounds of a result on a page; a download has all of it.
const (
	gridRow    = 256 << 10 // bytes of one row
	gridBytes  = 1 << 20   // bytes of all cells
	cellShort  = 120       // characters of a cell before it is folded
	cellLength = 8 << 10   // bytes of a cell
)

// grid is the result of a query as a page shows it. It is an io.Writer that
// takes the rows as API.Query writes them: one JSON array a line.
type grid struct {
	Columns   []gridColumn
	Rows      [][]cell
	Count     int64 // rows of the result
	Truncated bool  // the query has more rows than were asked for
	Took      time.Duration
	Left      int // rows that did not fit the page

	line  []byte
	long  bool // the line is longer than gridRow
	bytes int
}

// gridColumn is a column with how its values are shown.
type gridColumn struct {
	Name, Type string
	Kind       string // num, time, bool, json or text
}

// cell is one value. Text is its beginning when it is Long, All as much as a
// page shows.
type cell struct {
	Text, All string
	Null      bool
	Long      bool
	Cut       bool // not even All is all of it
}

func gridColumns(columns []connectors.Column) []gridColumn {
	out := make([]gridColumn, 0, len(columns))
	for _, c := range columns {
		out = append(out, gridColumn{Name: c.Name, Type: c.Type, Kind: columnKind(c.Type)})
	}
	return out
}

// columnKind sorts the types of DuckDB into those that a page tells apart.
func columnKind(typ string) string {
	switch {
	case strings.HasSuffix(typ, "]"), strings.HasPrefix(typ, "STRUCT"), strings.HasPrefix(typ, "MAP"), typ == "JSON":
		return "json"
	case strings.HasPrefix(typ, "DECIMAL"), strings.HasSuffix(typ, "INT"), typ == "INTEGER", typ == "DOUBLE", typ == "FLOAT", typ == "UINTEGER":
		return "num"
	case strings.HasPrefix(typ, "TIMESTAMP"), typ == "DATE", typ == "TIME":
		return "time"
	case typ == "BOOLEAN":
		return "bool"
	}
	return "text"
}

// Write takes whole lines or parts of them. It never fails: what does not fit
// is counted.
func (g *grid) Write(p []byte) (int, error) {
	n := len(p)
	for {
		part, rest, whole := bytes.Cut(p, []byte("\n"))
		if len(g.line)+len(part) > gridRow {
			g.line, g.long = g.line[:0], true
		}
		if !g.long {
			g.line = append(g.line, part...)
		}
		if !whole {
			return n, nil
		}
		g.add()
		g.line, g.long, p = g.line[:0], false, rest
	}
}

// add ends a line.
func (g *grid) add() {
	var values []json.RawMessage
	if g.long || g.Left > 0 || g.bytes+len(g.line) > gridBytes || json.Unmarshal(g.line, &values) != nil {
		g.Left++
		return
	}
	g.bytes += len(g.line)
	row := make([]cell, 0, len(values))
	for _, v := range values {
		row = append(row, newCell(v))
	}
	g.Rows = append(g.Rows, row)
}

func newCell(raw json.RawMessage) cell {
	if string(raw) == "null" {
		return cell{Null: true}
	}
	text := string(raw)
	var s string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil {
		text = s
	}
	c := cell{Text: text}
	if short := cutRunes(text, cellShort); len(short) < len(text) {
		c.Text, c.All, c.Long = short, text, true
	}
	if len(c.All) > cellLength {
		c.All, c.Cut = cutBytes(c.All, cellLength), true
	}
	return c
}

// number is the value of a cell, where it has one.
func (c cell) number() (float64, bool) {
	if c.Null || c.Long {
		return 0, false
	}
	f, err := strconv.ParseFloat(c.Text, 64)
	return f, err == nil && f-f == 0 // neither infinite nor no number
}

// cutRunes is as many characters of a text as are wanted at most.
func cutRunes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i]
		}
	}
	return s
}

// cutBytes cuts a text between two characters.
func cutBytes(s string, most int) string {
	for most > 0 && most < len(s) && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:min(most, len(s))]
}
