package desired

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files anew")

// golden compares with a checked-in file, or writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./desired -update writes it\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

func parseText(lines ...string) string {
	_, err := ParseInstance("instance.yaml", []byte(strings.Join(lines, "\n")))
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseSpecExample(t *testing.T) {
	data, err := os.ReadFile("testdata/spec-example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseInstance("instance.yaml", data)
	if err != nil {
		t.Fatal(err)
	}
	if got.Suspend.Until != time.Date(2026, 12, 1, 8, 0, 0, 0, time.UTC) {
		t.Errorf("until is %v", got.Suspend.Until)
	}
	if w := got.Upgrade.Window; w.Zone.String() != "Europe/Prague" || w.Start != 120 || w.End != 300 || len(w.Days) != 5 {
		t.Errorf("window is %+v", w)
	}
	if got.Compose.Env["DOMAIN"] != "data.acme.com" || got.Health.Port != 8000 || *got.Health.Timeout != Duration(2*time.Minute) {
		t.Errorf("compose %+v, health %+v", got.Compose, got.Health)
	}
	if got.Smoke[1].Body.(map[string]any)["email"] != "${secret:SMOKE_EMAIL}" {
		t.Errorf("body is %v", got.Smoke[1].Body)
	}
	if got.Certificates["data"].Reload[0] != (Reload{Service: "caddy", Signal: "SIGUSR1"}) || got.Front[0].HSTS != 31536000 {
		t.Errorf("certificates %+v, front %+v", got.Certificates, got.Front)
	}
}

// Each file of testdata/problems is an instance.yaml with much wrong with it;
// beside it is every problem that it has.
func TestParseProblems(t *testing.T) {
	files, err := filepath.Glob("testdata/problems/*.yaml")
	if err != nil || len(files) < 8 {
		t.Fatalf("found %d files: %v", len(files), err)
	}
	for _, f := range files {
		t.Run(filepath.Base(f), func(t *testing.T) {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			_, err = ParseInstance("instance.yaml", data)
			if err == nil {
				t.Fatal("nothing is wrong")
			}
			golden(t, strings.TrimSuffix(f, ".yaml")+".golden", err.Error()+"\n")
		})
	}
}

func TestParseBounds(t *testing.T) {
	head := "apiVersion: fairlead/v1\nname: a\n"
	bomb := head + "notify: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for i := range 8 {
		prev, next := string(rune('a'+i)), string(rune('b'+i))
		bomb += "x" + next + ": &" + next + " [" + strings.Repeat("*"+prev+", ", 9) + "*" + prev + "]\n"
	}
	bomb += "smoke: [{name: a, post: /, body: *i}]\n"
	tests := map[string]struct{ in, want string }{
		"large":  {head + "# " + strings.Repeat("x", maxBytes), "larger than 1024 KiB"},
		"deep":   {head + "smoke: [{name: a, post: /, body: " + strings.Repeat("[", 60) + "1" + strings.Repeat("]", 60) + "}]", "nested too deeply"},
		"deeper": {head + "smoke: " + strings.Repeat("[", 200_000), "is not YAML"},
		"bomb":   {bomb, "too many values"},
		"cycle":  {head + "smoke: [{name: a, post: /, body: &a [*a]}]", "nested too deeply"},
		"many":   {head + "notify: [" + strings.Repeat("lark://b,", 30_000) + "]", "too many values"},
		"wrong":  {head + "notify: [" + strings.Repeat("a,", 9_000) + "]", "there are more problems"},
		"two":    {head + "---\n" + head, "more than one document"},
		"second": {head + "---\n{", "is not YAML"},
		"empty":  {"", "the file is empty"},
		"blank":  {"# nothing\n", "the file is empty"},
		"null":   {"~", "has no value"},
		"text":   {"hello", "is text, not a map"},
		"binary": {"\x00\x01\x02", "is not YAML"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got := parseText(tt.in)
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %.300q, want %q", got, tt.want)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("took %v", d)
			}
			if n := strings.Count(got, "\n"); n > maxProblems {
				t.Errorf("%d problems", n)
			}
		})
	}
}

func TestAliasesAreRead(t *testing.T) {
	got, err := ParseInstance("i", []byte("apiVersion: fairlead/v1\nname: a\nhealth: {timeout: &t 9s, bake: *t}\n"))
	if err != nil || *got.Health.Bake != Duration(9*time.Second) {
		t.Errorf("%+v %v", got.Health, err)
	}
}

// Every tag of the types names a syntax, has a key and a description.
func TestTagsAreComplete(t *testing.T) {
	n := 0
	eachField(reflect.TypeFor[Instance](), "", func(path string, f reflect.StructField) {
		n++
		for _, tag := range []string{"is", "keys"} {
			if name := f.Tag.Get(tag); name != "" {
				if _, ok := syntaxes[name]; !ok {
					t.Errorf("%s: there is no syntax %q", path, name)
				}
			}
		}
		if f.Tag.Get("doc") == "" || strings.HasSuffix(path, ".") {
			t.Errorf("%s has no key or no description", path)
		}
		if k := elem(f.Type).Kind(); f.Tag.Get("is") == "" && (k == reflect.String || k == reflect.Int) {
			t.Errorf("%s has no syntax", path)
		}
	})
	if n < 60 {
		t.Errorf("only %d fields", n)
	}
}

// eachField visits the fields of a struct and of those below it.
func eachField(t reflect.Type, at string, visit func(string, reflect.StructField)) {
	for i := range t.NumField() {
		f := t.Field(i)
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		visit(join(at, key), f)
		if e := elem(f.Type); e.Kind() == reflect.Struct && e != reflect.TypeFor[Window]() && e != reflect.TypeFor[time.Time]() {
			eachField(e, join(at, key), visit)
		}
	}
}

// elem is what is at the end of pointers, lists and maps.
func elem(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	return t
}

func testdata() fs.FS { return os.DirFS("testdata") }
