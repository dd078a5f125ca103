package desired

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// The checked-in schemas are what editors use.
func TestSchemaIsCurrent(t *testing.T) {
	for file, make := range map[string]func() ([]byte, error){"schema/instance.schema.json": Schema, "schema/connector.schema.json": ConnectorSchema} {
		got, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			write(t, file, string(got))
		}
		have, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, have) {
			t.Errorf("%s is stale (%v): run fairlead schema > desired/%s, or go test ./desired -run Schema -update", file, err, file)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema { return compile(t, Schema) }

func compile(t *testing.T, make func() ([]byte, error)) *jsonschema.Schema {
	t.Helper()
	data, err := make()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("instance.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("instance.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// schemaAccepts says whether the schema takes a YAML text, as editors read it.
func schemaAccepts(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		return err
	}
	return s.Validate(plainJSON(v))
}

// plainJSON turns what YAML reads into what JSON has: times are text there.
func plainJSON(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plainJSON(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plainJSON(v[i])
		}
	case interface{ Format(string) string }:
		return v.Format("2006-01-02T15:04:05Z07:00")
	}
	return v
}

func TestSchemaAccepts(t *testing.T) {
	s := compileSchema(t)
	files, err := filepath.Glob("../examples/*/instance.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, glob := range []string{"../examples/multi/instances/*/instance.yaml", "../examples/demo/*/instance.yaml", "../examples/certificates/*/instance.yaml"} {
		more, err := filepath.Glob(glob)
		if err != nil || len(more) == 0 {
			t.Errorf("%s: %v, %v", glob, more, err)
		}
		files = append(files, more...)
	}
	files = append(files, "testdata/spec-example.yaml")
	if len(files) < 5 {
		t.Errorf("only %d examples", len(files))
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("${secret:SMOKE_EMAIL}", "x", "${secret:SMOKE_PASSWORD}", "x").Replace(string(data))
		if err := schemaAccepts(t, s, text); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Each line is one structural mistake, which the reader and the schema refuse.
func TestSchemaRejectsWhatTheReaderRejects(t *testing.T) {
	s := compileSchema(t)
	const head = "apiVersion: fairlead/v1\nname: acme\n"
	if err := schemaAccepts(t, s, head); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "[]", "apiVersion: fairlead/v1", "name: acme", "apiVersion: fairlead/v2\nname: acme", "apiVersion: fairlead/v1\nname: Acme",
		head + "nope: 1", head + "suspend: true", head + "suspend: {}", head + "suspend: {reason: x, until: tomorrow}", head + "allowEmpty: yes please",
		head + "release: {image: 'a:b'}", head + "release: {version: 1.2}", head + "release: {digest: x}", head + "upgrade: {rollback: on}",
		head + "upgrade: {every: 5}", head + "upgrade: {window: always}", head + "upgrade: {busy: {url: 'http://a'}}",
		head + "compose: {files: compose.yaml}", head + "compose: {files: []}", head + "compose: {files: [a, a]}", head + "compose: {env: {1: a}}",
		head + "compose: {env: {A: [1]}}", head + "compose: {env: {'a b': x}}", head + "health: {timeout: 5 minutes}", head + "health: {port: 0}", head + "health: {service: ''}",
		head + "smoke: [{name: a, get: /, retries: -1}]", head + "smoke: [{name: a, get: /, retries: 21}]", head + "smoke: [{name: a, get: /, wait: 5}]",
		head + "smoke: [{name: a, get: /, headers: {'a b': c}}]", head + "smoke: [{name: a, get: /, headers: [a]}]", head + "smoke: [{name: a, get: /, expect: {statusIn: [99]}}]",
		head + "upgrade: {locks: ['app:data']}", head + "upgrade: {locks: app:/data}", head + "upgrade: {locks: ['a:/b', 'a:/b']}",
		head + "smoke: [{get: /}]", head + "certificates: {a: {}}", head + "certificates: {A: {domains: [a.b]}}", head + "certificates: {a: {domains: [a.b], fullchain: 'ftp://x'}}",
		head + "front: [{host: a}]", head + "policy: {hostMounts: [data]}", head + "notify: [x]", head + "retain: {generations: 0}", head + "retain: {generations: ten}",
	} {
		if err := schemaAccepts(t, s, text); err == nil {
			t.Errorf("the schema takes %q", text)
		}
		if _, err := ParseInstance("i", []byte(text)); err == nil {
			t.Errorf("the reader takes %q", text)
		}
	}
}

// What the schema calls an example or a default is right by the reader too.
func TestSyntaxSamples(t *testing.T) {
	for name, s := range syntaxes {
		if sample := s.sample(); sample != "" && s.max == 0 && !strings.Contains(sample, "${secret:") && s.text(sample) != "" {
			t.Errorf("%s: %s", name, s.text(sample))
		}
		if size, err := ParseSize(s.example); err == nil {
			if s.number(int64(size), func(int64) string { return "" }) != "" {
				t.Errorf("%s: %q is not in its bounds", name, s.example)
			}
			continue
		}
		if d, err := ParseDuration(s.example); s.min > 1e6 && (err != nil || s.number(int64(d), func(int64) string { return "" }) != "") {
			t.Errorf("%s: %q is not in its bounds", name, s.example)
		}
	}
}

// Of the broken examples the schema refuses those that are broken by
// themselves; the others need the files around them to be judged.
func TestSchemaOnInvalidExamples(t *testing.T) {
	s := compileSchema(t)
	takes := map[string]bool{"missing-file": true, "no-compose-file": true, "outside-repository": true, "against-policy": true,
		"release-of-nothing": true, "bad-connectors": true, "bad-front": true, "bad-health": true, "missing-secret": true}
	files, err := filepath.Glob("../examples/invalid/*/instance.yaml")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(f))
		if err := schemaAccepts(t, s, string(data)); (err == nil) != takes[name] {
			t.Errorf("%s: %v", name, err)
		}
	}
}
