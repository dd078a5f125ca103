package edit

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// writer writes values in the manner of a file.
type writer struct {
	eol  string
	step int // how far a mapping is moved in
	dash int // how far the dashes of a list below a key are
	// bare says that the last line has no end, which a text of several lines
	// would be the shorter by.
	bare bool
}

// isBlock says whether a value is written over several lines outside of brackets.
func isBlock(value any) bool {
	switch v := value.(type) {
	case Map:
		return len(v) > 0
	case []any:
		return len(v) > 0
	case []string:
		return false // short, and written as [a, b]
	}
	return false
}

// whole writes a value as a document.
func (w writer) whole(value any) (string, error) {
	if !isBlock(value) {
		text, err := w.inline(value, false)
		return text + w.eol, err
	}
	text, err := w.block(value, 0)
	return text + w.eol, err
}

// block writes a collection from a column on, where the first line already is;
// the last line has no end.
func (w writer) block(value any, column int) (string, error) {
	var lines []string
	pad := strings.Repeat(" ", column)
	switch v := value.(type) {
	case Map:
		for _, p := range v {
			line, err := w.entry(p, column)
			if err != nil {
				return "", err
			}
			lines = append(lines, line)
		}
	case []any:
		for _, item := range v {
			text, err := w.below(item, column+2)
			if err != nil {
				return "", err
			}
			lines = append(lines, "- "+text)
		}
	default:
		return w.inline(value, false)
	}
	return strings.Join(lines, w.eol+pad), nil
}

// below writes an item of a list.
func (w writer) below(value any, column int) (string, error) {
	if isBlock(value) {
		return w.block(value, column)
	}
	return w.scalarOrInline(value, column)
}

func (w writer) entry(p Pair, column int) (string, error) {
	key, err := w.inline(p.Key, false)
	if err != nil {
		return "", err
	}
	if !isBlock(p.Value) {
		text, err := w.scalarOrInline(p.Value, column+w.step)
		return key + ": " + text, err
	}
	inner := column + w.step
	if _, list := p.Value.([]any); list {
		inner = column + w.dash
	}
	text, err := w.block(p.Value, inner)
	return key + ":" + w.eol + strings.Repeat(" ", inner) + text, err
}

// scalarOrInline writes a text of several lines as one where that is possible.
func (w writer) scalarOrInline(value any, column int) (string, error) {
	text, is := value.(string)
	if !is || w.bare || !literal(text) {
		return w.inline(value, false)
	}
	head, body := "|", text
	if !strings.HasSuffix(text, "\n") {
		head = "|-"
	}
	var b strings.Builder
	b.WriteString(head)
	for line := range strings.SplitSeq(strings.TrimSuffix(body, "\n"), "\n") {
		b.WriteString(w.eol)
		if line != "" {
			b.WriteString(strings.Repeat(" ", column) + line)
		}
	}
	return b.String(), nil
}

// literal says whether a text of several lines can be written as it is.
func literal(s string) bool {
	if !strings.Contains(strings.TrimSuffix(s, "\n"), "\n") || strings.HasSuffix(s, "\n\n") || strings.HasPrefix(s, " ") || strings.HasPrefix(s, "\n") {
		return false
	}
	for line := range strings.SplitSeq(s, "\n") {
		if line != strings.TrimRight(line, " \t") || strings.ContainsFunc(line, unprintable) {
			return false
		}
	}
	return true
}

func unprintable(c rune) bool {
	return c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfeff || c >= 0xfffe && c <= 0xffff || !unicode.IsPrint(c) && c > 0x7f
}

// inline writes a value on one line, in brackets where it is a collection.
func (w writer) inline(value any, flow bool) (string, error) {
	switch v := value.(type) {
	case nil:
		return "null", nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return strconv.Itoa(v), nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return "", fmt.Errorf("write value: %v is no number that YAML has everywhere", v)
		}
		return strconv.FormatFloat(v, 'g', -1, 64), nil
	case json.Number:
		return v.String(), nil
	case string:
		return quote(v, flow), nil
	case []string:
		var list []any
		for _, s := range v {
			list = append(list, s)
		}
		return w.inline(list, flow)
	case []any:
		return w.bracketed(len(v), "[", "]", func(i int) (string, error) { return w.inline(v[i], true) })
	case Map:
		return w.bracketed(len(v), "{", "}", func(i int) (string, error) {
			text, err := w.inline(v[i].Value, true)
			return quote(v[i].Key, true) + ": " + text, err
		})
	}
	return "", fmt.Errorf("write value: a %T cannot be written", value)
}

func (w writer) bracketed(n int, open, shut string, each func(int) (string, error)) (string, error) {
	parts := make([]string, n)
	for i := range n {
		var err error
		if parts[i], err = each(i); err != nil {
			return "", err
		}
	}
	return open + strings.Join(parts, ", ") + shut, nil
}

var (
	plainForm = regexp.MustCompile(`^[\pL0-9_./$+@(][^\x00-\x1f\x7f"'\\` + "`" + `]*$`)
	flowMarks = "[]{},"
)

// quote writes a text, without quotes where every reader of YAML takes it for
// just that text.
func quote(s string, flow bool) string {
	plain := plainForm.MatchString(s) && !strings.Contains(s, ": ") && !strings.Contains(s, " #") && !strings.HasSuffix(s, ":") &&
		!strings.HasSuffix(s, " ") && !(flow && strings.ContainsAny(s, flowMarks)) && !strings.ContainsFunc(s, unprintable) && utf8.ValidString(s)
	if plain && !slices.Contains([]string{"y", "n", "yes", "no", "on", "off"}, strings.ToLower(s)) {
		var n yaml.Node
		if yaml.Unmarshal([]byte(s), &n) == nil && len(n.Content) == 1 && n.Content[0].Kind == yaml.ScalarNode && n.Content[0].ShortTag() == "!!str" && n.Content[0].Value == s {
			return s
		}
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteRune('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case unprintable(c) && c > 0xffff:
			fmt.Fprintf(&b, `\U%08X`, c)
		case unprintable(c):
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// FromJSON is a JSON value with the keys of its objects in their order.
func FromJSON(data []byte) (any, error) {
	dec := json.NewDecoder(strings.NewReader(string(data)))
	dec.UseNumber()
	v, err := decodeJSON(dec, 0)
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	if dec.More() {
		return nil, fmt.Errorf("read JSON: there is more after the value")
	}
	return v, nil
}

const maxNesting = 64

func decodeJSON(dec *json.Decoder, depth int) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	delim, is := token.(json.Delim)
	if !is {
		return token, nil
	}
	if depth > maxNesting {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxNesting)
	}
	list, mapping := []any{}, Map{}
	for dec.More() {
		if delim == '[' {
			v, err := decodeJSON(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			continue
		}
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		v, err := decodeJSON(dec, depth+1)
		if err != nil {
			return nil, err
		}
		name, _ := key.(string)
		if slices.ContainsFunc(mapping, func(p Pair) bool { return p.Key == name }) {
			return nil, fmt.Errorf("the key %q stands twice", name)
		}
		mapping = append(mapping, Pair{name, v})
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if delim == '[' {
		return list, nil
	}
	return mapping, nil
}
