package compose

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

// walkModel looks at every key that the files set, and does with it what the
// table says: a note for what is ignored, a problem for what is refused. A key
// that the table does not have is a problem too: nothing is dropped in silence.
func (l *loader) walkModel() {
	table := map[string]key{}
	for _, k := range keys() {
		table[k.path] = k
	}
	v := modelWalk{table: table, seen: func(p []string, k key) { l.judge(p, k) }}
	v.value(reflect.ValueOf(struct {
		Services types.Services `yaml:"services"`
		Networks types.Networks `yaml:"networks"`
		Volumes  types.Volumes  `yaml:"volumes"`
		Secrets  types.Secrets  `yaml:"secrets"`
		Configs  types.Configs  `yaml:"configs"`
		Jobs     types.Jobs     `yaml:"jobs"`
		Models   types.Models   `yaml:"models"`
	}{l.model.Services, l.model.Networks, l.model.Volumes, l.model.Secrets, l.model.Configs, l.model.Jobs, l.model.Models}), nil, nil)
}

// isDefault tells of a value that compose-go filled in.
func (l *loader) isDefault(p []string) bool {
	return len(p) == 3 && p[2] == "name" && (p[0] == "configs" || p[0] == "secrets") && !l.written(p)
}

// written tells whether a file has the path itself.
func (l *loader) written(p []string) bool {
	_, n := l.find(p, 0)
	return n != nil
}

func (l *loader) judge(p []string, k key) {
	if l.isDefault(p) {
		return
	}
	switch {
	case k.fate == "":
		l.wrong(p, "the key is not known to this version", "take it out")
	case k.fate == refused:
		l.refuse(p, k)
	case k.fate == ignored && p[len(p)-1] == "build" && len(p) == 3:
		l.build(p)
	case k.fate == ignored:
		l.noteAt(p, "the key has no effect: "+k.text)
	}
}

func (l *loader) refuse(p []string, k key) {
	name := p[len(p)-1]
	if name == "use_service_name_alias" {
		if cfg := l.model.Services[p[1]].Networks[p[3]]; cfg.ServiceNameAliasEnabled() {
			return
		}
	}
	if len(p) == 2 { // jobs.NAME, models.NAME
		name = p[0]
	}
	l.wrong(p, fmt.Sprintf("%s is not supported by this version", name), k.text)
}

func (l *loader) build(p []string) {
	s := l.model.Services[p[1]]
	if s.Image != "" {
		l.noteAt(p, "set aside: the image "+s.Image+" is used as it is")
		return
	}
	l.wrong(p, "nothing is built here: the service needs an image", "build and push the image elsewhere, and name it under services."+p[1]+".image")
}

// modelWalk visits what is set in a value of compose-go's types.
type modelWalk struct {
	table map[string]key
	seen  func(p []string, k key)
}

func (w modelWalk) value(v reflect.Value, p, pattern []string) {
	if len(pattern) > 0 {
		if k, ok := w.table[strings.Join(pattern, ".")]; ok && !isZero(v) {
			w.seen(p, k)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			w.value(v.Elem(), p, pattern)
		}
	case reflect.Struct:
		w.fields(v, p, pattern)
	case reflect.Map:
		w.entries(v, p, pattern)
	case reflect.Slice:
		for i := range v.Len() {
			w.value(v.Index(i), append(slices.Clone(p), strconv.Itoa(i)), pattern)
		}
	default:
		if !isZero(v) {
			w.seen(p, key{})
		}
	}
}

func (w modelWalk) fields(v reflect.Value, p, pattern []string) {
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, ok := yamlName(f)
		switch {
		case f.Anonymous:
			w.fields(v.Field(i), p, pattern)
		case ok:
			w.value(v.Field(i), append(slices.Clone(p), name), append(slices.Clone(pattern), name))
		}
	}
}

func (w modelWalk) entries(v reflect.Value, p, pattern []string) {
	names := make([]string, 0, v.Len())
	for _, k := range v.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	for _, n := range names {
		e := v.MapIndex(reflect.ValueOf(n).Convert(v.Type().Key()))
		w.value(e, append(slices.Clone(p), n), append(slices.Clone(pattern), "*"))
		if whole := strings.Join(pattern, "."); len(pattern) == 1 && w.table[whole].fate == refused {
			w.seen(append(slices.Clone(p), n), w.table[whole])
		}
	}
}

// yamlName is the key that a field is written as; false for those that no
// file can write.
func yamlName(f reflect.StructField) (string, bool) {
	if !f.IsExported() || f.Name == "Extensions" {
		return "", false
	}
	tag, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	switch tag {
	case "-", "#extensions":
		return "", false
	case "":
		return strings.ToLower(f.Name), true
	}
	return tag, true
}

func isZero(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Map, reflect.Slice:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}

// suggest finds the key that an unknown one was probably meant to be.
func (l *loader) suggest(p []string) string {
	t := reflect.TypeOf(types.Config{})
	var more []string
	for _, part := range p[:len(p)-1] {
		var ok bool
		if t, ok = step(t, part); !ok {
			return ""
		}
	}
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return ""
	}
	if len(p) == 1 {
		more = append(more, "version")
	}
	return didYouMean(p[len(p)-1], append(fieldNames(t), more...))
}

func step(t reflect.Type, part string) (reflect.Type, bool) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Map, reflect.Slice:
		return t.Elem(), true
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				if in, ok := step(f.Type, part); ok {
					return in, true
				}
				continue
			}
			if name, ok := yamlName(f); ok && name == part {
				return f.Type, true
			}
		}
	}
	return nil, false
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, ok := yamlName(f)
		switch {
		case f.Anonymous:
			names = append(names, fieldNames(f.Type)...)
		case ok && !obsolete(t, name):
			names = append(names, name)
		}
	}
	return names
}

// obsolete names fields of the types that the schema does not allow.
func obsolete(t reflect.Type, name string) bool {
	switch name {
	case "net", "dockerfile", "log_driver", "log_opt":
		return true
	}
	return name == "name" && t == reflect.TypeFor[types.ServiceConfig]()
}
