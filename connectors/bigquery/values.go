package bigquery

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// line writes a row as one line of JSON, with every column in its order.
func (s schema) line(to *bytes.Buffer, r row) error {
	if len(r.F) != len(s.Fields) {
		return fmt.Errorf("a row has %d fields instead of %d", len(r.F), len(s.Fields))
	}
	if err := object(to, s.Fields, r.F, 0); err != nil {
		return err
	}
	return to.WriteByte('\n')
}

func object(to *bytes.Buffer, fields []field, cells []cell, depth int) error {
	to.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			to.WriteByte(',')
		}
		text(to, f.Name)
		to.WriteByte(':')
		if err := f.write(to, cells[i].V, depth); err != nil {
			return fmt.Errorf("column %s: %w", f.Name, err)
		}
	}
	to.WriteByte('}')
	return nil
}

// text writes a string of JSON. What is no UTF-8 becomes U+FFFD, as in Go.
func text(to *bytes.Buffer, s string) {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s)         // a string: it cannot fail
	to.Truncate(to.Len() - 1) // the line's end of Encode
}

func null(raw json.RawMessage) bool {
	return len(raw) == 0 || string(raw) == "null"
}

func (f field) write(to *bytes.Buffer, raw json.RawMessage, depth int) error {
	if depth > maxDepth {
		return errors.New("it is nested too deep")
	}
	if f.Mode != "REPEATED" {
		return f.one(to, raw, depth)
	}
	var cells []cell
	if !null(raw) {
		if err := json.Unmarshal(raw, &cells); err != nil {
			return errors.New("a repeated value is no list")
		}
	}
	to.WriteByte('[') // BigQuery has no list that is NULL
	for i, c := range cells {
		if i > 0 {
			to.WriteByte(',')
		}
		if err := f.one(to, c.V, depth+1); err != nil {
			return err
		}
	}
	to.WriteByte(']')
	return nil
}

func (f field) one(to *bytes.Buffer, raw json.RawMessage, depth int) error {
	if null(raw) {
		to.WriteString("null")
		return nil
	}
	if f.record() {
		var of row
		if err := json.Unmarshal(raw, &of); err != nil || len(of.F) != len(f.Fields) {
			return errors.New("a RECORD that does not fit its schema")
		}
		return object(to, f.Fields, of.F, depth+1)
	}
	var said string
	if err := json.Unmarshal(raw, &said); err != nil {
		return fmt.Errorf("a value of %s is no string", f.Type)
	}
	return f.scalar(to, said, depth)
}

// scalar writes one value in a form that DuckDB casts to the column's type.
func (f field) scalar(to *bytes.Buffer, said string, depth int) error {
	var err error
	switch f.Type {
	case "INTEGER", "INT64":
		var n int64
		if n, err = strconv.ParseInt(said, 10, 64); err == nil {
			to.WriteString(strconv.FormatInt(n, 10))
			return nil
		}
	case "BOOLEAN", "BOOL":
		if said == "true" || said == "false" {
			to.WriteString(said)
			return nil
		}
		err = errors.New("not true or false")
	case "FLOAT", "FLOAT64":
		var n float64
		if n, err = strconv.ParseFloat(said, 64); err == nil {
			said = strconv.FormatFloat(n, 'g', -1, 64)
			if !math.IsNaN(n) && !math.IsInf(n, 0) {
				to.WriteString(said)
				return nil
			}
		}
	case "TIMESTAMP":
		said, err = timestamp(said)
	case "INTERVAL":
		said, err = interval(said)
	case "BYTES":
		if depth == 0 {
			said, err = blob(said)
		}
	case "JSON":
		return compact(to, said)
	}
	if err != nil {
		return fmt.Errorf("a value of %s: %w", f.Type, err)
	}
	text(to, said)
	return nil
}

// compact puts a value of type JSON into the line as what it is. One that is too
// deep for DuckDB or is no JSON is an error.
func compact(to *bytes.Buffer, said string) error {
	if err := json.Compact(to, []byte(said)); err != nil {
		return errors.New("a value of JSON is none")
	}
	return nil
}

// timestamp writes microseconds of Unix as a time in UTC.
func timestamp(said string) (string, error) {
	n, err := micros(said)
	if err != nil {
		return "", err
	}
	return time.UnixMicro(n).UTC().Format("2006-01-02 15:04:05.999999") + "+00", nil
}

// blob writes bytes as DuckDB reads them in a text: \xNN each.
func blob(said string) (string, error) {
	data, err := base64.StdEncoding.DecodeString(said)
	if err != nil {
		return "", errors.New("not in base64")
	}
	digits := hex.EncodeToString(data)
	var b strings.Builder
	for i := 0; i < len(digits); i += 2 {
		b.WriteString(`\x` + digits[i:i+2])
	}
	return b.String(), nil
}

// interval reads [-]Y-M [-]D [-]H:M:S[.F], the canonical form of GoogleSQL, and
// writes months, days and microseconds, which DuckDB has too.
func interval(said string) (string, error) {
	parts := strings.Split(said, " ")
	if len(parts) != 3 {
		return "", errors.New("not of three parts")
	}
	months, err := mixed(parts[0], "-", 12)
	days, dayErr := strconv.ParseInt(parts[1], 10, 32)
	clock, fraction, _ := strings.Cut(parts[2], ".")
	seconds, clockErr := mixed(clock, ":", 60, 60)
	us, fractionErr := strconv.ParseUint((fraction + "000000")[:6], 10, 32)
	if errors.Join(err, dayErr, clockErr, fractionErr) != nil || len(fraction) > 9 {
		return "", errors.New("not as Y-M D H:M:S")
	}
	micro := seconds*1_000_000 + int64(us)
	if strings.HasPrefix(clock, "-") {
		micro = seconds*1_000_000 - int64(us)
	}
	return fmt.Sprintf("%d months %d days %d microseconds", months, days, micro), nil
}

// mixed reads numbers of falling worth with one sign before all of them.
func mixed(said, sep string, worth ...int64) (int64, error) {
	said, negative := strings.CutPrefix(said, "-")
	parts := strings.Split(said, sep)
	if len(parts) != len(worth)+1 {
		return 0, errors.New("parts are missing")
	}
	var total int64
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return 0, err
		}
		if i > 0 {
			total *= worth[i-1]
		}
		total += int64(n)
	}
	if negative {
		total = -total
	}
	return total, nil
}
