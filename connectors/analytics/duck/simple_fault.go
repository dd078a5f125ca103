//go:build cgo

package duck

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/duckdb/duckdb-go/v2/mapping"
)

// errHost is an error of the machine and not of what a connector left: nothing
// that is made of it would be true.
var errHost = errors.New("the build cannot go on")

// content says what an error of the engine means for a table.
func (r *reader) content(err error, t *left, files ...leftFile) error {
	e, ok := errors.AsType[*engineError](err)
	if !ok {
		return err
	}
	host := strings.Contains(e.text, "No space left on device") || strings.Contains(e.text, "Disk quota exceeded") || strings.Contains(e.text, "File too large")
	if host || e.class == mapping.ErrorTypeFatal || e.class == mapping.ErrorTypeInternal {
		return fmt.Errorf("%w: %s", errHost, short(e.text))
	}
	f := wrong(badContent, "", explain(e.text), "").of(t.name)
	if r.taken != "" {
		f.Found = strings.ReplaceAll(f.Found, r.taken, extractFile)
	}
	for _, file := range files {
		f.Found = strings.ReplaceAll(f.Found, file.path, file.rel)
		if len(files) == 1 || strings.Contains(e.text, file.path) {
			f.File = file.rel
		}
	}
	switch {
	case e.class == mapping.ErrorTypeOutOfMemory:
		f.Code, f.Hint = badSize, "give builds more memory, or write the table in smaller parts"
	case t.base != "" && (e.class == mapping.ErrorTypeConversion || e.class == mapping.ErrorTypeOutOfRange):
		f.Code, f.Hint = badValue, "write the column as VARCHAR or with a type that is kept (docs/connectors.md)"
	case t.base != "":
		f.Code, f.Hint = badDamage, "write extract.duckdb anew: close it, and rename it only when it is whole"
	case strings.Contains(e.text, "CSV"):
		f.Hint = "write CSV as RFC 4180 has it, in UTF-8, with one kind of line end; or write Parquet"
	case strings.Contains(e.text, "JSON"):
		f.Hint = "write one JSON object a line, each with the same kinds of values"
	case strings.Contains(e.text, "arquet"):
		f.Hint = "write the Parquet file anew: it is empty, cut off or damaged"
	default:
		f.Hint = "declare a type that all values have, or mend the values"
	}
	return f
}

// explain keeps of a message of the engine what helps, and leaves out the rows
// that it quotes and the settings of its own.
func explain(text string) string {
	lines := strings.Split(text, "\n")
	said := []string{strings.TrimSpace(lines[0])}
	if strings.Contains(lines[0], "CSV Error on Line") {
		for _, l := range lines[1:] {
			for _, known := range []string{"Expected Number of Columns", "Value with unterminated quote", "Invalid unicode", "Maximum line size", "Error when converting"} {
				if strings.HasPrefix(strings.TrimSpace(l), known) {
					said = append(said, strings.TrimSpace(l))
				}
			}
		}
	}
	out := strings.Join(said, ": ")
	for _, advice := range []string{" Try ", " Possible "} {
		if i := strings.Index(out, advice); i > 0 {
			out = out[:i]
		}
	}
	return short(out)
}

// locate looks for the first value that does not fit, after a table could not be
// read: where it is helps more than what the engine said.
func (r *reader) locate(ctx context.Context, t *left, columns []keptColumn, runs []run, was error) error {
	f, ok := errors.AsType[*fault](was)
	if !ok || f.Code != badContent {
		return was
	}
	for _, one := range runs {
		for _, file := range one.files {
			single := one
			single.files = []leftFile{file}
			if found := r.first(ctx, columns, single); found != nil {
				return found.of(t.name + "." + found.Table)
			}
		}
	}
	return was
}

// first is the first value of a file that does not fit its column.
func (r *reader) first(ctx context.Context, columns []keptColumn, one run) *fault {
	var list, bad, name, value []string
	for i, c := range columns {
		x, ok := one.text(c)
		if !ok || c.to.name == "VARCHAR" {
			continue
		}
		id := "c" + strconv.Itoa(i)
		wrong := id + " IS NOT NULL AND NOT " + c.to.isValue(id)
		list, bad = append(list, x+" AS "+id), append(bad, "("+wrong+")")
		name, value = append(name, fmt.Sprintf("WHEN %s THEN %d", wrong, i)), append(value, fmt.Sprintf("WHEN %s THEN %s", wrong, id))
	}
	if len(list) == 0 {
		return nil
	}
	var found *fault
	_ = r.engine.rows(ctx, fmt.Sprintf("SELECT n, CASE %s END, left(CASE %s END, 80) FROM (SELECT row_number() OVER () AS n, %s FROM %s) WHERE %s ORDER BY n LIMIT 1",
		strings.Join(name, " "), strings.Join(value, " "), strings.Join(list, ", "), one.from(columns), strings.Join(bad, " OR ")),
		func(row []any) error { // when this fails too, the first error stands
			n, _ := row[0].(int64)
			i, err := strconv.Atoi(fmt.Sprint(row[1]))
			if err != nil || i < 0 || i >= len(columns) {
				return err
			}
			c := columns[i]
			found = wrong(badValue, one.files[0].rel, fmt.Sprintf("row %d: column %s: %q is no %s", n, c.name, short(fmt.Sprint(row[2])), c.to),
				"mend the value, or declare another type for the column; row 1 is the first one of data")
			found.Table = c.name
			return nil
		})
	return found
}
