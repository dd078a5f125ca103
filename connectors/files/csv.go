package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// came is what came of one file.
type came struct {
	rows    int64
	columns []string
	bad     int64  // rows that were left out
	firstly string // the first of them
	said    []string
}

// reading is how the files of a table are read.
type reading struct {
	options
	types   map[string]string
	columns []string // that are wanted; none: all
}

// csv writes rows as RFC 4180 has them, in UTF-8, with a header, a newline at the
// end of each, and NULL as an empty field without quotes.
func (t reading) csv(in *bufio.Reader, f format, to io.Writer) (got came, err error) {
	r, err := newCSV(in, t.options, f)
	if err != nil {
		return got, err
	}
	names, said, data, err := r.header(t.options)
	if errors.Is(err, io.EOF) {
		return got, wrong("A file has to have a header at least; see that skip is right", "the file is empty")
	}
	if err != nil {
		return got, err
	}
	w := &csvWriter{to: to, names: names, null: t.null, rewrite: t.rewriters(names, t.types), raw: r.delim == ','}
	if w.pick, err = pick(names, t.columns); err != nil {
		return got, err
	}
	for _, i := range w.pick {
		got.columns = append(got.columns, names[i])
	}
	w.raw = w.raw && len(t.null) == 0 && len(w.pick) == len(names) && !slices.ContainsFunc(w.rewrite, func(r rewriter) bool { return r != nil })
	got.said = said
	if err := w.header(got.columns); err != nil {
		return got, err
	}
	return got, t.rows(r, w, data, &got)
}

// rows copies the rows; data says that the first is read already.
func (t reading) rows(r *csvReader, w *csvWriter, data bool, got *came) error {
	for {
		var err error
		if !data {
			err = r.next()
		}
		data = false
		if errors.Is(err, io.EOF) {
			return w.flush()
		}
		if err == nil && len(r.fields) != len(w.names) {
			err = &badRow{r.begin, fmt.Sprintf("%d fields instead of %d", len(r.fields), len(w.names))}
		}
		if err == nil {
			err = w.row(r)
		}
		if err == nil {
			got.rows++
			continue
		}
		if err := t.bad(err, got); err != nil {
			return err
		}
	}
}

// bad counts a row that is left out, or is the end.
func (t reading) bad(err error, got *came) error {
	bad, is := errors.AsType[*badRow](err)
	if !is {
		return err
	}
	if !t.skipBad {
		return wrong("Mend the file, or set badRows to skip to leave such rows out", "%w", bad)
	}
	if got.bad++; got.bad == 1 {
		got.firstly = bad.Error()
	}
	return nil
}

// pick finds the wanted columns among those there are; all when none are named.
func pick(names, wanted []string) (at []int, err error) {
	if len(wanted) == 0 {
		for i := range names {
			at = append(at, i)
		}
		return at, nil
	}
	for _, w := range wanted {
		i := slices.Index(names, w)
		if i < 0 {
			return nil, wrong("Name columns as the header has them", "columns: there is no column %s; there are %s", short(w), shortList(names))
		}
		at = append(at, i)
	}
	return at, nil
}

type csvWriter struct {
	to      io.Writer
	names   []string
	pick    []int
	null    map[string]bool
	rewrite []rewriter
	raw     bool // a row without quotes may be passed on as it is

	out   []byte
	value []byte
}

func (w *csvWriter) header(names []string) error {
	for i, n := range names {
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.out = appendQuoted(w.out, []byte(n))
	}
	w.out = append(w.out, '\n')
	return nil
}

// row writes one row. Of a bad one nothing is written.
func (w *csvWriter) row(r *csvReader) error {
	if w.raw && r.plain && bytes.IndexByte(r.raw, '"') < 0 && bytes.IndexByte(r.raw, '\r') < 0 {
		w.out = append(append(w.out, r.raw...), '\n')
		return w.room()
	}
	before := len(w.out)
	for n, i := range w.pick {
		if n > 0 {
			w.out = append(w.out, ',')
		}
		if err := w.field(r, i); err != nil {
			w.out = w.out[:before]
			return err
		}
	}
	w.out = append(w.out, '\n')
	return w.room()
}

func (w *csvWriter) field(r *csvReader, i int) error {
	f := r.fields[i]
	switch {
	case !r.quoted[i] && (len(f) == 0 || w.null[string(f)]):
		return nil // NULL
	case w.rewrite[i] != nil:
		out, ok := w.rewrite[i](bytes.TrimSpace(f), w.value[:0])
		if w.value = out; !ok {
			return &badRow{r.begin, fmt.Sprintf("column %s: %q is not of the form that is declared", w.names[i], short(string(f)))}
		}
		f = out
	case r.quoted[i]:
		w.out = appendQuoted(w.out, f)
		return nil
	}
	if bytes.ContainsAny(f, ",\"\r\n") {
		w.out = appendQuoted(w.out, f)
		return nil
	}
	w.out = append(w.out, f...)
	return nil
}

func appendQuoted(to, field []byte) []byte {
	to = append(to, '"')
	for {
		i := bytes.IndexByte(field, '"')
		if i < 0 {
			return append(append(to, field...), '"')
		}
		to = append(append(to, field[:i+1]...), '"')
		field = field[i+1:]
	}
}

func (w *csvWriter) room() error {
	if len(w.out) < buffer {
		return nil
	}
	return w.flush()
}

func (w *csvWriter) flush() error {
	_, err := w.to.Write(w.out)
	w.out = w.out[:0]
	if err != nil {
		return rest.Permanent(err)
	}
	return nil
}
