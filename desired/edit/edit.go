package edit

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
)

// MaxFile is the largest file that is edited, in bytes.
const MaxFile = 1 << 20

// Errors that callers tell apart.
var (
	// ErrNotFound: there is nothing at the path.
	ErrNotFound = errors.New("there is nothing at this place")
	// ErrShape: the file has another form than the edit needs.
	ErrShape = errors.New("cannot be edited")
)

// Path leads to a value: strings are keys of mappings, ints are indices of
// lists. The empty path is the whole file.
type Path []any

// String writes a path as messages do: tables[2].name.
func (p Path) String() string {
	text := ""
	for _, step := range p {
		switch s := step.(type) {
		case int:
			text += "[" + strconv.Itoa(s) + "]"
		case string:
			if text != "" {
				text += "."
			}
			text += s
		}
	}
	if text == "" {
		return "the file"
	}
	return text
}

// Pair is a key with its value.
type Pair struct {
	Key   string
	Value any
}

// Map is a mapping in its order. Values are nil, bool, int, int64, float64,
// string, []any, []string and Map.
type Map []Pair

// Set gives the value at a path, which is made with all that leads there where it
// is missing: a new key goes behind the others. A list is only entered.
func Set(file []byte, path Path, value any) ([]byte, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("set: %w: no place is given", ErrShape)
	}
	return change(file, "set "+path.String(), func(d *document) (splice, error) { return d.set(path, value) },
		func(v any) (any, error) { return setIn(v, path, value) })
}

// Append adds entries to the list at a path, which is made where it is missing.
func Append(file []byte, path Path, values ...any) ([]byte, error) {
	if len(values) == 0 {
		return file, nil
	}
	return change(file, "append to "+path.String(), func(d *document) (splice, error) { return d.appendTo(path, values) },
		func(v any) (any, error) { return appendIn(v, path, values) })
}

// Delete removes what is at a path. A collection that becomes empty stays as {}
// or []. Comments that stand above what is removed stay.
func Delete(file []byte, path Path) ([]byte, error) {
	if len(path) == 0 {
		return nil, fmt.Errorf("delete: %w: no place is given", ErrShape)
	}
	return change(file, "delete "+path.String(), func(d *document) (splice, error) { return d.remove(path) },
		func(v any) (any, error) { return deleteIn(v, path) })
}

// Render writes a value as a file of its own.
func Render(value any) ([]byte, error) {
	w := writer{eol: "\n", step: 2, dash: 2}
	text, err := w.whole(value)
	return []byte(text), err
}

// splice replaces the bytes from begin to end.
type splice struct {
	begin, end int
	text       string
}

// change plans a splice, and proves that it makes of the file what it is to be.
func change(file []byte, what string, plan func(*document) (splice, error), meant func(any) (any, error)) (out []byte, err error) {
	d, err := read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	before, err := d.value()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	want, err := meant(before)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s, err := plan(d)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	out = d.apply(s)
	now, err := read(out)
	var got any
	if err == nil {
		got, err = now.value()
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		return nil, fmt.Errorf("%s: %w here without touching something else; change it by hand", what, ErrShape)
	}
	return out, nil
}

// Has says whether there is something at a path, be it null.
func Has(file []byte, path Path) bool {
	d, err := read(file)
	if err != nil {
		return false
	}
	n, rest, err := d.find(path)
	return err == nil && len(rest) == 0 && n != nil
}
