package compose

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/types"
)

var update = flag.Bool("update", false, "write the golden files")

// leaves lists every key of compose-go's types, in the notation of the table.
func leaves(t reflect.Type, prefix string, covered func(string) bool, seen func(string)) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if covered(prefix) {
		seen(prefix)
		return
	}
	switch {
	case t.Kind() == reflect.Map && !isScalar(t.Elem()):
		leaves(t.Elem(), prefix+".*", covered, seen)
	case t.Kind() == reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			name, ok := yamlName(f)
			switch {
			case f.Anonymous:
				leaves(f.Type, prefix, covered, seen)
			case ok:
				leaves(f.Type, strings.TrimPrefix(prefix+"."+name, "."), covered, seen)
			}
		}
	default:
		seen(prefix)
	}
}

func isScalar(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t.Kind() != reflect.Struct && t.Kind() != reflect.Map
}

// TestEveryKeyIsDecided fails when compose-go learns a key that the table does
// not have: whoever upgrades it has to decide what becomes of the key.
func TestEveryKeyIsDecided(t *testing.T) {
	table := map[string]bool{}
	for _, k := range keys() {
		if table[k.path] {
			t.Errorf("%s is in the table twice", k.path)
		}
		table[k.path] = true
		if k.fate == refused && k.text == "" {
			t.Errorf("%s is refused without a way out", k.path)
		}
	}
	found := map[string]bool{}
	for prefix, typ := range map[string]reflect.Type{
		"services.*": reflect.TypeFor[types.ServiceConfig](), "networks.*": reflect.TypeFor[types.NetworkConfig](),
		"volumes.*": reflect.TypeFor[types.VolumeConfig](), "configs.*": reflect.TypeFor[types.ConfigObjConfig](),
		"secrets.*": reflect.TypeFor[types.SecretConfig](), "": reflect.TypeFor[types.Project](),
	} {
		leaves(typ, prefix, func(p string) bool { return table[p] }, func(p string) {
			found[p] = true
			top, _, _ := strings.Cut(p, ".")
			if !table[p] && (prefix != "" || !slices.Contains([]string{"services", "networks", "volumes", "configs", "secrets"}, top)) {
				t.Errorf("the key %s of compose-go is not in the table of keys.go", p)
			}
		})
	}
	for p := range table {
		if !found[p] {
			t.Errorf("the table has %s, which compose-go does not", p)
		}
	}
}

// TestLeavesSeeEmbeddedFields guards the walk that the test above relies on.
func TestLeavesSeeEmbeddedFields(t *testing.T) {
	var got []string
	leaves(reflect.TypeFor[types.ServiceConfig](), "services.*", func(string) bool { return false }, func(p string) { got = append(got, p) })
	for _, want := range []string{"services.*.image", "services.*.expose", "services.*.volumes.bind.propagation", "services.*.networks.*.aliases", "services.*.deploy.resources.limits.pids"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among the %d leaves", want, len(got))
		}
	}
}

const (
	tableBegin = "<!-- table: written by go test ./desired/compose -update -->\n"
	tableEnd   = "<!-- end of table -->\n"
)

// TestDocs keeps docs/compose.md and the table together.
func TestDocs(t *testing.T) {
	const name = "../../docs/compose.md"
	doc, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(doc, []byte(tableBegin))
	_, after, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has lost the marks around its table", name)
	}
	want := slices.Concat(before, []byte(tableBegin), []byte(printTable()), []byte(tableEnd), after)
	if bytes.Equal(doc, want) {
		return
	}
	if *update {
		if err := os.WriteFile(name, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatalf("%s does not match the table in keys.go: run go test ./desired/compose -run TestDocs -update", name)
}

func printTable() string {
	var b strings.Builder
	section := ""
	for _, k := range keys() {
		top, rest, _ := strings.Cut(k.path, ".*.")
		if rest == "" {
			top, rest = "other", k.path
		}
		if top != section {
			fmt.Fprintf(&b, "\n### `%s`\n\n| key | | |\n| --- | --- | --- |\n", top)
			section = top
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", rest, k.fate, k.text)
	}
	b.WriteString("\n")
	return b.String()
}
