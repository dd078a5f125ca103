package verify

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// variables are what steps have saved, and where secrets come from.
type variables struct {
	saved  map[string]string
	secret func(string) (string, bool)
	mask   *mask
}

const secretPrefix = "secret:"

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// fill replaces each ${name} and ${secret:NAME}; $${ stands for a plain ${.
// escape is applied to what is put in, nil: nothing is.
func (v *variables) fill(text string, escape func(string) string) (string, error) {
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteByte('{')
			text = rest
			continue
		}
		name, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", fmt.Errorf("${ has no } (write $${ for a plain ${)")
		}
		value, err := v.value(name)
		if err != nil {
			return "", err
		}
		if escape != nil {
			value = escape(value)
		}
		b.WriteString(value)
		text = after
	}
}

// value is what ${name} stands for.
func (v *variables) value(name string) (string, error) {
	if secret, ok := strings.CutPrefix(name, secretPrefix); ok {
		value, there := v.secret(secret)
		if !there || value == "" {
			return "", fmt.Errorf("the secret %s is not set", excerpt(secret))
		}
		v.mask.secret(value)
		return value, nil
	}
	if !variableName.MatchString(name) {
		return "", fmt.Errorf("${%s} is not a variable (write $${ for a plain ${)", excerpt(name))
	}
	value, there := v.saved[name]
	if !there {
		return "", fmt.Errorf("no step before has saved %q", name)
	}
	return value, nil
}

// path fills a path with query. What is put in cannot leave its segment or its
// parameter: it comes from an answer.
func (v *variables) path(text string) (string, error) {
	before, query, asked := strings.Cut(text, "?")
	filled, err := v.fill(before, segment)
	if err != nil || !asked {
		return filled, err
	}
	query, err = v.fill(query, url.QueryEscape)
	return filled + "?" + query, err
}

// segment also escapes what a path alone would make of "." and "..".
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// body fills the texts of a free value; the keys of its maps stay.
func (v *variables) body(value any) (any, error) {
	switch value := value.(type) {
	case string:
		return v.fill(value, nil)
	case []any:
		out := make([]any, len(value))
		for i, child := range value {
			filled, err := v.body(child)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(value))
		for key, child := range value {
			filled, err := v.body(child)
			if err != nil {
				return nil, err
			}
			out[key] = filled
		}
		return out, nil
	}
	return value, nil
}
