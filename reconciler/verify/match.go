package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lookup finds a field of a JSON value: names of fields and, in lists,
// numbers from 0 on, with dots between them.
func lookup(doc any, field string) (value any, there bool) {
	for part := range strings.SplitSeq(field, ".") {
		switch at := doc.(type) {
		case map[string]any:
			doc, there = at[part]
		case []any:
			doc, there = nil, false
			if i, err := strconv.ParseUint(part, 10, 31); err == nil && int(i) < len(at) && strconv.FormatUint(i, 10) == part {
				doc, there = at[i], true
			}
		default:
			return nil, false
		}
		if !there {
			return nil, false
		}
	}
	return doc, there
}

// mismatch is a field that is not as expected.
type mismatch struct{ field, want, got string }

// matchAll holds the fields of an answer against what is expected of them, in
// order of their names. Its error is an expectation that means nothing.
func matchAll(doc any, want map[string]any, m *mask) ([]mismatch, error) {
	var wrong []mismatch
	fields := make([]string, 0, len(want))
	for field := range want {
		fields = append(fields, field)
	}
	slices.Sort(fields)
	for _, field := range fields {
		value, there := lookup(doc, field)
		expected, ok, err := match(value, there, want[field], m)
		if err != nil {
			return nil, fmt.Errorf("expect.json.%s: %w", field, err)
		}
		if !ok {
			got := m.show(value, there)
			if last := field[strings.LastIndexByte(field, '.')+1:]; there && telling.MatchString(last) {
				got = sensitive
			}
			wrong = append(wrong, mismatch{field, expected, got})
		}
	}
	return wrong, nil
}

// match holds one value against what is expected: a value that must be equal,
// or a map of matchers that must all hold.
func match(value any, there bool, want any, m *mask) (expected string, ok bool, err error) {
	matchers, isMap := want.(map[string]any)
	if !isMap {
		return m.show(want, true), there && equal(want, value), nil
	}
	names := make([]string, 0, len(matchers))
	for name := range matchers {
		names = append(names, name)
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "", false, fmt.Errorf("a map holds no matcher: one of not, minItems, exists, matches")
	}
	ok = true
	var all []string
	for _, name := range names {
		text, held, err := matcher(name, matchers[name], value, there, m)
		if err != nil {
			return "", false, err
		}
		all, ok = append(all, text), ok && held
	}
	return strings.Join(all, " and "), ok, nil
}

// matcher is one of the matchers. All but exists want the field to be there.
func matcher(name string, want, value any, there bool, m *mask) (expected string, ok bool, err error) {
	switch name {
	case "not":
		return "not " + m.show(want, true), there && !equal(want, value), nil
	case "exists":
		wanted, isBool := want.(bool)
		if !isBool {
			return "", false, fmt.Errorf("exists is neither true nor false")
		}
		if wanted {
			return "there", there, nil
		}
		return "not there", !there, nil
	case "minItems":
		n, isCount := count(want)
		if !isCount {
			return "", false, fmt.Errorf("minItems is not a count")
		}
		list, isList := value.([]any)
		return fmt.Sprintf("a list of at least %d", n), isList && int64(len(list)) >= n, nil
	case "matches":
		text, _ := want.(string)
		re, err := regexp.Compile(text)
		if err != nil || text == "" {
			return "", false, fmt.Errorf("matches is not a regular expression")
		}
		got, isScalar := scalarText(value)
		return "a text that matches " + m.text(text), there && isScalar && re.MatchString(got), nil
	}
	return "", false, fmt.Errorf("there is no matcher %q", name)
}

// count is a number of items.
func count(v any) (int64, bool) {
	n, isNumber := toNumber(v)
	if !isNumber {
		return 0, false
	}
	i, err := strconv.ParseInt(n, 10, 32)
	return i, err == nil && i >= 0
}

// scalarText is a text, a number or a boolean as it is written.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// equal compares a value as YAML has it with one as JSON has it. Numbers are
// equal when they are the same number: 1, 1.0 and 1e0. A text is never equal
// to a number.
func equal(want, got any) bool {
	if w, isNumber := toNumber(want); isNumber {
		g, isNumber := toNumber(got)
		return isNumber && sameNumber(w, g)
	}
	switch want := want.(type) {
	case []any:
		list, isList := got.([]any)
		return isList && slices.EqualFunc(want, list, equal)
	case map[string]any:
		object, isMap := got.(map[string]any)
		if !isMap || len(object) != len(want) {
			return false
		}
		for key, w := range want {
			if g, there := object[key]; !there || !equal(w, g) {
				return false
			}
		}
		return true
	case string, bool, nil:
		return want == got
	}
	return false
}

// toNumber is a number as text.
func toNumber(v any) (string, bool) {
	switch v := v.(type) {
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64), !math.IsNaN(v) && !math.IsInf(v, 0)
	case json.Number:
		return v.String(), true
	}
	return "", false
}

// sameNumber compares decimals digit by digit: a float would take two large
// whole numbers for one, and a big number of an answer's exponent would not fit
// into memory.
func sameNumber(a, b string) bool {
	x, y := decimalOf(a), decimalOf(b)
	return x == y
}

// decimal is ±0.DIGITS × 10^exponent, with neither leading nor trailing zeros.
type decimal struct {
	negative bool
	digits   string
	exponent int64
}

func decimalOf(s string) decimal {
	var d decimal
	s, d.negative = strings.CutPrefix(s, "-")
	s = strings.TrimPrefix(s, "+")
	mantissa, exponent := s, ""
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, exponent = s[:i], s[i+1:]
	}
	whole, part, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimLeft(whole+part, "0")
	if digits == "" {
		return decimal{} // zero has no sign
	}
	shift, err := strconv.ParseInt(cmp.Or(exponent, "0"), 10, 64)
	if err != nil || shift > math.MaxInt64/2 || shift < math.MinInt64/2 {
		return decimal{d.negative, s, math.MaxInt64} // only equal to itself as written
	}
	d.exponent = shift + int64(len(digits)-len(part))
	d.digits = strings.TrimRight(digits, "0")
	return d
}
