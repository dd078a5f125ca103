package verify

import (
	"bytes"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	sensitive  = "(sensitive)"
	maxExcerpt = 300 // characters of something shown
	// shortest is the least length of a saved value that is masked wherever it
	// turns up: masking every "1" would leave nothing to read. Secrets are
	// masked at any length.
	shortest = 4
)

// mask keeps what must not be shown out of what is shown.
type mask struct{ values []string }

func newMask(values ...string) *mask {
	m := &mask{}
	for _, v := range values {
		m.secret(v)
	}
	return m
}

// secret masks a value, also as JSON and URLs write it.
func (m *mask) secret(v string) {
	if v == "" {
		return
	}
	quoted, _ := json.Marshal(v) // a string can always be written
	for _, form := range []string{v, string(quoted[1 : len(quoted)-1]), url.PathEscape(v), url.QueryEscape(v)} {
		if !slices.Contains(m.values, form) {
			m.values = append(m.values, form)
		}
	}
	// One value may be a part of another.
	slices.SortFunc(m.values, func(a, b string) int { return len(b) - len(a) })
}

// saved masks a value that an answer gave, or that is only likely a secret.
func (m *mask) saved(v string) {
	if len(v) >= shortest {
		m.secret(v)
	}
}

// header masks what a header with a telling name sends, with and without its
// scheme: the reconciler hands secrets over filled in.
func (m *mask) header(name, value string) {
	if !telling.MatchString(name) {
		return
	}
	m.saved(value)
	if _, rest, found := strings.Cut(value, " "); found {
		m.saved(rest)
	}
}

// sent masks what a body sends in fields with telling names.
func (m *mask) sent(v any) {
	switch v := v.(type) {
	case map[string]any:
		for key, child := range v {
			if text, isText := child.(string); isText && telling.MatchString(key) {
				m.saved(text)
			}
			m.sent(child)
		}
	case []any:
		for _, child := range v {
			m.sent(child)
		}
	}
}

// text is one bounded line of a text without what is masked.
func (m *mask) text(s string) string { return excerpt(m.hide(s)) }

func (m *mask) hide(s string) string {
	for _, v := range m.values {
		s = strings.ReplaceAll(s, v, sensitive)
	}
	return s
}

// telling are the names of fields whose values are never shown, whether a step
// saves them or not.
var telling = regexp.MustCompile(`(?i)token|passw|secret|authori|cookie|credential|api[_-]?key|private[_-]?key`)

// pair is a field with a telling name in what is not whole JSON.
var pair = regexp.MustCompile(`(?i)("[^"]*(?:token|passw|secret|authori|cookie|credential|api[_-]?key|private[_-]?key)[^"]*"\s*:\s*)"(?:[^"\\]|\\.)*"?`)

// body is a bounded line of an answer's body.
func (m *mask) body(b []byte) string {
	if doc, err := decode(b); err == nil {
		if safe, err := compact(m.value(doc)); err == nil {
			return m.text(safe)
		}
	}
	return m.text(pair.ReplaceAllString(string(b), `${1}"`+sensitive+`"`))
}

// show is a value of an answer in one bounded line.
func (m *mask) show(v any, there bool) string {
	if !there {
		return "not there"
	}
	s, err := compact(m.value(v))
	if err != nil {
		return "a value that cannot be shown"
	}
	return m.text(s)
}

// value masks the fields with telling names, and texts before they are written
// as JSON.
func (m *mask) value(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, child := range v {
			if _, nested := child.(map[string]any); child != nil && !nested && telling.MatchString(key) {
				child = sensitive
			}
			out[m.hide(key)] = m.value(child)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, child := range v {
			out[i] = m.value(child)
		}
		return out
	case string:
		return m.hide(v)
	}
	return v
}

func compact(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSpace(b.String()), err
}

// excerpt is one line without control characters, cut to maxExcerpt.
func excerpt(s string) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) || r == utf8.RuneError {
			space = b.Len() > 0
			continue
		}
		if n >= maxExcerpt {
			return b.String() + "…"
		}
		if space {
			b.WriteByte(' ')
			n, space = n+1, false
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}
