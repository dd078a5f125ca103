package bigquery

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fairlead/fairlead/connectors"
)

const datetime = "2006-01-02T15:04:05.999999"

// cursor is a column that only grows, and how far a run reaches back before what
// was there.
type cursor struct {
	at     int // in the schema
	kind   string
	back   time.Duration
	number int64 // of a cursor that is a number
}

// kinds are the types that a cursor may have, as queries name them.
func cursorKind(f field) string {
	switch f.Type {
	case "INTEGER", "INT64":
		return "INT64"
	case "TIMESTAMP", "DATE", "DATETIME":
		return f.Type
	}
	return ""
}

func readCursor(options map[string]string, s schema) (*cursor, error) {
	for key := range options {
		if key != "cursor" && key != "overlap" {
			return nil, connectors.WithHint(fmt.Errorf("options: there is no %q", key), "There are cursor and overlap")
		}
	}
	if options["cursor"] == "" {
		return nil, connectors.WithHint(errors.New("strategy incremental: options: cursor is missing"), "Name a column that only grows: updated_at, or an id of rows that never change")
	}
	c := &cursor{at: -1, back: time.Hour, number: 1000}
	for i, f := range s.Fields {
		if f.Name == options["cursor"] && f.Mode != "REPEATED" {
			c.at, c.kind = i, cursorKind(f)
		}
	}
	if c.at < 0 || c.kind == "" {
		return nil, fmt.Errorf("options: cursor: %s is no column that is read and is an INT64, TIMESTAMP, DATETIME or DATE", options["cursor"])
	}
	overlap := options["overlap"]
	if overlap == "" {
		return c, nil
	}
	var err error
	if c.kind == "INT64" {
		c.number, err = strconv.ParseInt(overlap, 10, 64)
	} else {
		c.back, err = time.ParseDuration(overlap)
	}
	if err != nil || c.number < 0 || c.back < 0 {
		return nil, connectors.WithHint(errors.New("options: overlap: cannot be read"), "Of a cursor that is a number it is a number: 1000; else a length of time: 1h, 48h")
	}
	return c, nil
}

// since is where a run begins whose last one came to past, as a parameter of a query.
func (c *cursor) since(past string) (string, error) {
	switch c.kind {
	case "DATE", "DATETIME":
		layout := time.DateOnly
		if c.kind == "DATETIME" {
			layout = datetime
		}
		t, err := time.Parse(layout, past)
		if err != nil {
			return "", fmt.Errorf("read the last %s", c.kind)
		}
		return t.Add(-c.back).Format(layout), nil
	}
	n, err := strconv.ParseInt(past, 10, 64)
	if err != nil {
		return "", fmt.Errorf("read the last %s", c.kind)
	}
	if c.kind == "TIMESTAMP" {
		return time.UnixMicro(n).Add(-c.back).UTC().Format("2006-01-02 15:04:05.999999") + "+00:00", nil
	}
	if less := n - c.number; less < n || c.number == 0 {
		return strconv.FormatInt(less, 10), nil
	}
	return strconv.FormatInt(-1<<63, 10), nil
}

// later is the greater of two values of the API; an empty one is less than all.
// Dates and times are in a form whose texts sort as they do.
func later(kind, a, b string) string {
	if a == "" {
		return b
	}
	if kind == "DATE" || kind == "DATETIME" {
		return max(a, b)
	}
	n, errA := strconv.ParseInt(a, 10, 64)
	m, errB := strconv.ParseInt(b, 10, 64)
	if errB != nil || errA == nil && n >= m {
		return a
	}
	return b
}
