package desired

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// structFields returns the fields of a struct by their key. The syntax of a
// map's keys is put behind that of its values: "VALUES;KEYS".
func structFields(t reflect.Type) map[string]reflect.StructField {
	fields := map[string]reflect.StructField{}
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if keys := f.Tag.Get("keys"); keys != "" {
			f.Tag = reflect.StructTag(fmt.Sprintf("is:%q need:%q", f.Tag.Get("is")+";"+keys, f.Tag.Get("need")))
		}
		fields[key] = f
	}
	return fields
}

// scalar reads text, a number, or true or false.
func (r *reader) scalar(n *yaml.Node, v reflect.Value, at spot) {
	switch v.Kind() {
	case reflect.String:
		r.text(n, v, at)
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
			r.wrong(n, at, "true or false", "")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int:
		var got int64
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || n.Decode(&got) != nil {
			r.wrong(n, at, "a whole number", syntaxes[at.is].advice(n.Value))
			return
		}
		show := func(i int64) string { return strconv.FormatInt(i, 10) }
		if text := syntaxes[at.is].number(got, show); text != "" {
			r.add(n.Line, at.field, text, "")
		}
		v.SetInt(got)
	case reflect.Float64:
		r.hundredths(n, v, at)
	}
}

// hundredths reads a number with up to two digits after the point.
func (r *reader) hundredths(n *yaml.Node, v reflect.Value, at spot) {
	var got float64
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" && n.Tag != "!!float" || n.Decode(&got) != nil || math.IsNaN(got) {
		r.wrong(n, at, "a number", syntaxes[at.is].advice(n.Value))
		return
	}
	show := func(i int64) string { return strconv.FormatFloat(float64(i)/100, 'g', -1, 64) }
	bounded := math.Max(math.Min(math.Round(got*100), 1e12), -1e12)
	if text := syntaxes[at.is].number(int64(bounded), show); text != "" {
		r.add(n.Line, at.field, text, "")
	}
	v.SetFloat(bounded / 100)
}

// text reads a string. A variable's value may be a bare number or boolean, as
// it may in a compose file.
func (r *reader) text(n *yaml.Node, v reflect.Value, at spot) {
	bare := at.is == "envValue" && (n.Tag == "!!int" || n.Tag == "!!float" || n.Tag == "!!bool")
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" && !bare {
		hint := syntaxes[at.is].advice(n.Value)
		if n.Kind == yaml.ScalarNode {
			hint = "put it in quotes"
		}
		r.wrong(n, at, "text", hint)
		return
	}
	v.SetString(n.Value)
	rule := syntaxes[at.is]
	if r.secret(n, at) {
		rule.quiet = true
		if (r.kind.whole || at.is == "notify" || at.is == "notifySecret") && secretWhole.MatchString(n.Value) {
			return
		}
		if text := rule.text(secretUse.ReplaceAllString(n.Value, "xxxx")); text != "" && r.kind.places.MatchString(at.field) {
			r.add(n.Line, at.field, text, rule.advice(""))
		}
		return
	}
	if n.Value == "" && at.is != "envValue" {
		r.add(n.Line, at.field, "is empty", rule.advice(""))
		return
	}
	if text := rule.text(n.Value); text != "" {
		r.add(n.Line, at.field, text, rule.advice(n.Value))
	}
}

var (
	secretUse = regexp.MustCompile(`\$\{secret:([^}]*)\}?`)
	// secretWhole is a text that is one reference and nothing else.
	secretWhole = regexp.MustCompile(`^\$\{secret:[^}]*\}$`)
	secretName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)
)

// secret reports whether the text holds a secret reference, which is checked
// here in place of the text's own syntax.
func (r *reader) secret(n *yaml.Node, at spot) bool {
	found := secretUse.FindAllStringSubmatch(n.Value, -1)
	for _, m := range found {
		if !strings.HasSuffix(m[0], "}") || !secretName.MatchString(m[1]) {
			r.add(n.Line, at.field, fmt.Sprintf("%q is not a secret reference", clip(m[0])), "write ${secret:NAME}")
		}
		r.secrets[at.field] = n.Line
	}
	return len(found) > 0
}

// special reads the values that have a type of their own.
func (r *reader) special(n *yaml.Node, v reflect.Value, at spot) {
	switch v.Interface().(type) {
	case Duration:
		r.duration(n, v, at)
	case Size:
		r.size(n, v, at)
	case Window:
		const hint = `for example "Mon-Fri 02:00-05:00 Europe/Prague"`
		if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
			r.wrong(n, at, "text", hint)
			return
		}
		w, err := ParseWindow(n.Value)
		if err != nil {
			r.add(n.Line, at.field, err.Error(), hint)
			return
		}
		v.Set(reflect.ValueOf(w))
	case time.Time:
		t, err := time.Parse(time.RFC3339, n.Value)
		if n.Kind != yaml.ScalarNode || err != nil {
			r.add(n.Line, at.field, "is not a time with a zone", "for example 2026-12-01T08:00:00Z")
			return
		}
		v.Set(reflect.ValueOf(t))
	}
}

func (r *reader) duration(n *yaml.Node, v reflect.Value, at spot) {
	rule := syntaxes[at.is]
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := rule.advice("")
		if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
			hint = "give it a unit: " + clip(n.Value) + "s"
		}
		r.wrong(n, at, "a duration", hint)
		return
	}
	d, err := ParseDuration(n.Value)
	if err != nil {
		r.add(n.Line, at.field, err.Error(), rule.advice(n.Value)+", 1h30m, 14d")
		return
	}
	show := func(i int64) string { return Duration(i).String() }
	if text := rule.number(int64(d), show); text != "" {
		r.add(n.Line, at.field, text, "")
	}
	v.Set(reflect.ValueOf(d))
}

func (r *reader) size(n *yaml.Node, v reflect.Value, at spot) {
	rule := syntaxes[at.is]
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint := rule.advice("")
		if n.Kind == yaml.ScalarNode && n.Tag == "!!int" {
			hint = "give it a unit: " + clip(n.Value) + "MiB"
		}
		r.wrong(n, at, "a size", hint)
		return
	}
	size, err := ParseSize(n.Value)
	if err != nil {
		r.add(n.Line, at.field, err.Error(), rule.advice(n.Value))
		return
	}
	if text := rule.number(int64(size), func(i int64) string { return Size(i).String() }); text != "" {
		r.add(n.Line, at.field, text, "")
	}
	v.Set(reflect.ValueOf(size))
}

// free reads a value of any shape: the body of a request, a wanted answer.
func (r *reader) free(n *yaml.Node, at spot) (any, error) {
	if r.values++; r.values > maxValues || at.depth > maxDepth {
		return nil, errTooMuch
	}
	switch n.Kind {
	case yaml.AliasNode:
		at.depth++
		return r.free(n.Alias, at)
	case yaml.MappingNode:
		m := map[string]any{}
		err := r.pairs(n, at, func(key *yaml.Node, child spot, value *yaml.Node) error {
			got, err := r.free(value, child)
			m[key.Value] = got
			return err
		})
		return m, err
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			got, err := r.free(c, spot{field: fmt.Sprintf("%s[%d]", at.field, i), depth: at.depth + 1})
			if err != nil {
				return nil, err
			}
			list[i] = got
		}
		return list, nil
	}
	return r.freeScalar(n, at), nil
}

// freeScalar reads what JSON can say too: not .inf, .nan or a private tag.
func (r *reader) freeScalar(n *yaml.Node, at spot) any {
	var got any
	switch n.Tag {
	case "!!null":
		return nil
	case "!!str", "!!timestamp":
		r.secret(n, at)
		return n.Value
	case "!!int", "!!float", "!!bool":
		err := n.Decode(&got)
		if f, ok := got.(float64); err == nil && (!ok || !math.IsInf(f, 0) && !math.IsNaN(f)) {
			return got
		}
	}
	r.wrong(n, at, "a value of JSON", "put it in quotes")
	return nil
}
