package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"

	"github.com/fairlead/fairlead/connectors"
)

const sample = 64 << 10 // of a file that columns are told by

// Discover lists the files below Dir and those that Paths name, with columns as
// the first 64 KiB tell them. A file that cannot be read is listed without.
func (s *Source) Discover(ctx context.Context, limit int) (found []connectors.Discovered, more bool, err error) {
	defer s.close()
	spec := connectors.TableSpec{Paths: slices.Clone(s.settings.Paths)}
	if s.settings.Dir != "" {
		spec.Paths = append(spec.Paths, "**/*")
	}
	only, err := s.onlyHost(nil)
	if err != nil {
		return nil, false, err
	}
	objects, err := s.find(ctx, spec, only, min(limit*4+100, s.settings.MaxFiles))
	if _, is := errors.AsType[tooMany](err); is {
		more, err = true, nil
		slices.SortFunc(objects, func(a, b object) int { return natural(a.shown, b.shown) })
	}
	if err != nil {
		return nil, false, err
	}
	taken := map[string]bool{}
	for _, o := range objects {
		if formatOf(o.name) == "" {
			continue
		}
		if len(found) == limit {
			return found, true, nil
		}
		d := connectors.Discovered{ID: o.shown, Name: connectors.Propose(taken, stem(path.Base(o.name)), stem(o.name)), Columns: s.columns(ctx, o, only)}
		if o.size >= 0 {
			d.Bytes = &o.size
		}
		found = append(found, d)
	}
	return found, more, nil
}

// columns are told by the start of a file; those of Parquet stand at its end.
func (s *Source) columns(ctx context.Context, o object, only string) []connectors.Column {
	from, err := s.storeOf(o.place, only)
	if err != nil || ctx.Err() != nil {
		return nil
	}
	in, err := openStream(ctx, from, &o, nil)
	if err != nil {
		return nil
	}
	defer in.Close()
	left := s.settings.MaxBytes
	if start := bufio.NewReaderSize(in, 16); isZip(start) {
		return nil // its directory is at its end
	} else if file, err := unpack(start, "", o.name, "", &left); err == nil {
		defer file.close()
		return guess(file)
	}
	return nil
}

func isZip(in *bufio.Reader) bool {
	start, _ := in.Peek(4)
	return string(start) == "PK\x03\x04"
}

// guess reads rows of the start of a file.
func guess(file *opened) []connectors.Column {
	start, err := io.ReadAll(io.LimitReader(file.Reader, sample))
	if err != nil || file.format == formatParquet {
		return nil
	}
	o, _ := parseOptions(nil) // the defaults are valid
	in := bufio.NewReaderSize(bytes.NewReader(start), buffer)
	if file.format == formatJSON || file.format == formatNDJSON {
		return guessJSON(reading{options: o}, in, file.format)
	}
	r, err := newCSV(in, o, file.format)
	if err != nil {
		return nil
	}
	names, _, _, err := r.header(o)
	if err != nil {
		return nil
	}
	types := make([]string, len(names))
	for r.next() == nil && (r.line < 2000 && r.rest() || len(start) < sample) {
		for i := range min(len(names), len(r.fields)) {
			if f := r.fields[i]; len(f) > 0 {
				types[i] = wider(types[i], typeOfText(string(f)))
			}
		}
	}
	return named(names, types)
}

// rest says that a row was not cut off by the end of the sample.
func (r *csvReader) rest() bool { _, err := r.in.Peek(1); return err == nil }

func named(names, types []string) (out []connectors.Column) {
	for i, n := range names {
		t := types[i]
		if t == "" {
			t = "VARCHAR"
		}
		out = append(out, connectors.Column{Name: n, Type: t})
	}
	return out
}

func guessJSON(t reading, in *bufio.Reader, f format) []connectors.Column {
	var rows bytes.Buffer
	got, _ := t.json(in, f, &rows) // the start of a file ends anywhere
	_ = got
	w := &jsonWriter{seen: map[string]int64{}}
	var types []string
	for line := range bytes.Lines(rows.Bytes()) {
		w.rows++
		line = bytes.TrimSpace(line)
		if w.keys(line, 0) != nil {
			break
		}
		types = append(types, make([]string, len(w.names)-len(types))...)
		for key, value := range members(line) {
			if i := slices.Index(w.names, string(key)); i >= 0 && string(value) != "null" {
				types[i] = wider(types[i], typeOfJSON(value))
			}
		}
	}
	return named(w.names, types)
}

func typeOfJSON(value []byte) string {
	var text string
	switch {
	case value[0] == '{' || value[0] == '[':
		return "JSON"
	case value[0] == 't' || value[0] == 'f':
		return "BOOLEAN"
	case value[0] == '"':
		if json.Unmarshal(value, &text) == nil && (dayRegexp.MatchString(text) || momentRegexp.MatchString(text)) {
			return typeOfText(text)
		}
		return "VARCHAR"
	}
	return typeOfText(string(value))
}

var (
	dayRegexp    = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$`)
	momentRegexp = regexp.MustCompile(`^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[ T]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?Z?$`)
	codeRegexp   = regexp.MustCompile(`^[+-]?0\d`) // a zip code, not a number
)

func typeOfText(s string) string {
	switch _, err := strconv.ParseInt(s, 10, 64); {
	case codeRegexp.MatchString(s):
		return "VARCHAR"
	case err == nil:
		return "BIGINT"
	case s == "true" || s == "false":
		return "BOOLEAN"
	case dayRegexp.MatchString(s):
		return "DATE"
	case momentRegexp.MatchString(s):
		return "TIMESTAMP"
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil && s[len(s)-1] >= '0' && s[len(s)-1] <= '9' {
		return "DOUBLE"
	}
	return "VARCHAR"
}

// wider is the type that takes values of both.
func wider(a, b string) string {
	pair := func(x, y string) bool { return a == x && b == y || a == y && b == x }
	switch {
	case a == "" || a == b:
		return b
	case pair("BIGINT", "DOUBLE"):
		return "DOUBLE"
	case pair("DATE", "TIMESTAMP"):
		return "TIMESTAMP"
	}
	return "VARCHAR"
}
