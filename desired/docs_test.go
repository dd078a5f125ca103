package desired

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

const configurationDoc = "../docs/configuration.md"

// The table of keys in docs/configuration.md is made from the types.
func TestConfigurationDocIsCurrent(t *testing.T) {
	data, err := os.ReadFile(configurationDoc)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, table := range []struct{ what, content string }{{"keys", keyTable(reflect.TypeFor[Instance]())}, {"connector keys", keyTable(reflect.TypeFor[Connector]())}} {
		begin, end := "<!-- "+table.what+": made by go test ./desired -run Doc -update -->\n", "<!-- end of "+table.what+" -->\n"
		head, rest, ok := strings.Cut(text, begin)
		_, tail, found := strings.Cut(rest, end)
		if !ok || !found {
			t.Fatalf("%s has no place for the %s", configurationDoc, table.what)
		}
		text = head + begin + table.content + end + tail
	}
	golden(t, configurationDoc, text)
}

var yamlBlock = regexp.MustCompile("(?s)```yaml\n(certificates:\n.*?)```")

// What the documents show of certificates is read without a problem.
func TestCertificatesInDocsAreRight(t *testing.T) {
	blocks := 0
	for _, file := range []string{configurationDoc, "../docs/acme.md", "../docs/certificate-sources.md", "../docs/certificates.md", "../docs/operations.md"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range yamlBlock.FindAllSubmatch(data, -1) {
			blocks++
			if _, err := ParseInstance(file, append([]byte("apiVersion: fairlead/v1\nname: a\n"), m[1]...)); err != nil {
				t.Errorf("%v\n%s", err, m[1])
			}
		}
	}
	if blocks < 6 {
		t.Errorf("found %d blocks", blocks)
	}
}

// keyTable lists the keys of a format.
func keyTable(t reflect.Type) string {
	var b strings.Builder
	b.WriteString("| key | value | default | example | meaning |\n| --- | --- | --- | --- | --- |\n")
	eachField(t, "", func(path string, f reflect.StructField) {
		standard := f.Tag.Get("default")
		if f.Tag.Get("need") != "" {
			standard = "required"
		}
		rule := syntaxes[f.Tag.Get("is")]
		example := rule.sample()
		if rule.words != nil {
			example = strings.Join(rule.words, " ")
		}
		switch elem(f.Type) {
		case reflect.TypeFor[Window]():
			example = windowExample
		case reflect.TypeFor[time.Time]():
			example = "2026-12-01T08:00:00Z"
		}
		if example != "" {
			example = "`" + strings.ReplaceAll(example, hex64, "…") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", path, kindInWords(f.Type), standard, example, f.Tag.Get("doc"))
	})
	return b.String()
}

func kindInWords(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[*Duration]():
		return "duration"
	case reflect.TypeFor[*Size]():
		return "size"
	case reflect.TypeFor[*Window]():
		return "window"
	case reflect.TypeFor[time.Time]():
		return "time"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + kindInWords(t.Elem())
	case reflect.Map:
		return "map of " + kindInWords(t.Elem())
	case reflect.Pointer:
		return kindInWords(t.Elem())
	case reflect.Struct:
		return "map"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Float64:
		return "number"
	case reflect.Interface:
		return "any value"
	}
	return "text"
}
