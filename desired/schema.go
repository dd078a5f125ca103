package desired

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema (draft 2020-12) of instance.yaml, made from the
// types and their tags, as indented JSON with a final newline.
func Schema() ([]byte, error) {
	return schemaOf(reflect.TypeFor[Instance](), "Fairlead instance.yaml", "The desired state of one instance.")
}

// ConnectorSchema is the JSON Schema of connectors/NAME.yaml and
// connectors/NAME/connector.yaml.
func ConnectorSchema() ([]byte, error) {
	return schemaOf(reflect.TypeFor[Connector](), "Fairlead connector", "A source of data of an instance.")
}

func schemaOf(t reflect.Type, title, description string) ([]byte, error) {
	r := &jsonschema.Reflector{Anonymous: true, DoNotReference: true, Mapper: mapType}
	s := r.ReflectFromType(t)
	s.Title, s.Description = title, description
	describeSchema(s, t, "")
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JSON Schema: %w", err)
	}
	return append(b, '\n'), nil
}

// mapType gives the types that are written as text their schema.
func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: durationPattern, MinLength: ptr(uint64(1))}
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{Type: "string", Pattern: sizePattern}
	case reflect.TypeFor[Window]():
		return &jsonschema.Schema{Type: "string", Pattern: windowPattern, Examples: []any{windowExample}}
	}
	return nil
}

const windowExample = "Mon-Fri 02:00-05:00 Europe/Prague"

func ptr[T any](v T) *T { return &v }

// describeSchema walks a type and its schema side by side and adds what the
// tags say.
func describeSchema(s *jsonschema.Schema, t reflect.Type, field string) {
	s.Required = nil
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		p, _ := s.Properties.Get(key)
		at := join(field, key)
		p.Description = f.Tag.Get("doc")
		if f.Tag.Get("need") != "" {
			s.Required = append(s.Required, key)
		}
		describeProperty(p, f, at)
	}
}

func describeProperty(p *jsonschema.Schema, f reflect.StructField, at string) {
	rule, t := syntaxes[f.Tag.Get("is")], f.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	p.Default = schemaDefault(f.Tag.Get("default"), t)
	if keys := f.Tag.Get("keys"); keys != "" {
		p.PropertyNames = &jsonschema.Schema{Pattern: syntaxes[keys].pattern.String()}
	}
	p.UniqueItems = f.Tag.Get("unique") != ""
	switch {
	case t == reflect.TypeFor[Duration](), t == reflect.TypeFor[Size]():
		p.Examples = []any{rule.example}
	case t == reflect.TypeFor[time.Time]():
		p.Examples = []any{"2026-12-01T08:00:00Z"}
	case t == reflect.TypeFor[Window](), t.Kind() == reflect.Interface:
	case t.Kind() == reflect.Struct:
		describeSchema(p, t, at)
	case t.Kind() == reflect.Slice:
		if f.Tag.Get("empty") == "" {
			p.MinItems = ptr(uint64(1))
		}
		describeElement(p.Items, t.Elem(), rule, at)
	case t.Kind() == reflect.Map:
		describeElement(p.AdditionalProperties, t.Elem(), rule, at)
	default:
		restrict(p, rule)
	}
}

// describeElement describes what a list or a map holds.
func describeElement(p *jsonschema.Schema, t reflect.Type, rule syntax, at string) {
	if p == nil {
		return // of any shape
	}
	if t.Kind() == reflect.Struct {
		describeSchema(p, t, at)
		if t == reflect.TypeFor[Notify]() {
			short, long := &jsonschema.Schema{Type: "string"}, *p
			restrict(short, rule)
			*p = jsonschema.Schema{AnyOf: []*jsonschema.Schema{short, &long}}
		}
		return
	}
	restrict(p, rule)
}

// restrict says of a text or number what its syntax says.
func restrict(p *jsonschema.Schema, rule syntax) {
	if rule.example != "" {
		p.Examples = []any{schemaExample(rule.example, p.Type)}
	}
	if p.Type == "integer" && rule.max > 0 {
		p.Minimum, p.Maximum = number(rule.min), number(rule.max)
	}
	if p.Type == "number" && rule.max > 0 {
		p.Minimum, p.Maximum = hundredths(rule.min), hundredths(rule.max)
	}
	if p.Type != "string" {
		return
	}
	for _, w := range rule.words {
		p.Enum = append(p.Enum, w)
	}
	if rule.pattern != nil {
		p.Pattern = rule.pattern.String()
		if rule.secret {
			p.Pattern = "(" + p.Pattern + ")|" + secretUse.String()
		}
	}
	if rule.what == syntaxes["envValue"].what {
		p.Type, p.AnyOf = "", []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}
	}
}

func hundredths(i int64) json.Number {
	return json.Number(strconv.FormatFloat(float64(i)/100, 'f', -1, 64))
}

func number(i int64) json.Number { return json.Number(strconv.FormatInt(i, 10)) }

func schemaExample(s, kind string) any {
	if kind == "integer" || kind == "number" {
		return json.Number(s)
	}
	return s
}

// schemaDefault is the default as a value of the key's type; nil when the
// default is not a value but a rule in words.
func schemaDefault(s string, t reflect.Type) any {
	switch t.Kind() {
	case reflect.Bool:
		if v, err := strconv.ParseBool(s); err == nil {
			return v
		}
	case reflect.Int:
		if _, err := strconv.Atoi(s); err == nil {
			return json.Number(s)
		}
	case reflect.Int64:
		if _, err := ParseDuration(s); err == nil {
			return s
		}
		if _, err := ParseSize(s); err == nil {
			return s
		}
	case reflect.String:
		if s != "" && !strings.Contains(s, " ") {
			return s
		}
	}
	return nil
}
