package compose

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/compose-spec/compose-go/v2/template"
	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/desired"
)

func asJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestCorpusIsDeterministic loads every corpus file several times.
func TestCorpusIsDeterministic(t *testing.T) {
	for _, name := range corpus(t) {
		first := asJSON(t, loadCorpus(t, name))
		for range 3 {
			if again := asJSON(t, loadCorpus(t, name)); again != first {
				t.Fatalf("%s loaded again:\n%s\n%s", name, again, first)
			}
		}
	}
}

// TestOrderOfKeys loads corpus files with the keys of their mappings in
// another order: the project is the same.
func TestOrderOfKeys(t *testing.T) {
	names := corpus(t)
	rapid.Check(t, func(r *rapid.T) {
		name := rapid.SampledFrom(names).Draw(r, "name")
		repo := copyOf(t, name)
		main := repo[name+"/compose.yaml"]
		if bytes.Contains(main.Data, []byte("&")) { // an alias must stay behind its anchor
			return
		}
		main.Data = shuffled(r, main.Data)
		got, err := Load(desired.ComposeInput{Tree: repo, Dir: name, Name: name})
		if err != nil {
			r.Fatal(err)
		}
		want := loadCorpus(t, name)
		got.Notes, want.Notes = nil, nil // they name lines
		if asJSON(t, got) != asJSON(t, want) {
			r.Fatalf("the order of keys shows:\n%s\n%s", asJSON(t, got), asJSON(t, want))
		}
	})
}

func copyOf(t testing.TB, name string) fstest.MapFS {
	t.Helper()
	repo := fstest.MapFS{}
	root := filepath.Join("testdata/corpus", name)
	err := filepath.Walk(root, func(p string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		repo[name+strings.TrimPrefix(p, root)] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func shuffled(r *rapid.T, data []byte) []byte {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		r.Fatal(err)
	}
	visit(doc.Content[0], nil, func(_ []string, n *yaml.Node) {
		if n.Kind != yaml.MappingNode {
			if n.Tag == "!!null" {
				n.Value = "null"
			}
			return
		}
		pairs := len(n.Content) / 2
		order := rapid.Permutation(seq(pairs)).Draw(r, "order")
		next := make([]*yaml.Node, 0, len(n.Content))
		for _, i := range order {
			next = append(next, n.Content[2*i], n.Content[2*i+1])
		}
		n.Content = next
	})
	out, err := yaml.Marshal(&doc)
	if err != nil {
		r.Fatal(err)
	}
	return out
}

func seq(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = i
	}
	return s
}

// TestSubstituteLikeCompose holds our scanner against compose-go's template
// package: the values are the same, and we report exactly where it warns.
func TestSubstituteLikeCompose(t *testing.T) {
	warnings := &bytes.Buffer{}
	logrus.SetOutput(warnings)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	piece := rapid.SampledFrom([]string{
		"$A", "${A}", "$B", "${B}", "${EMPTY}", "${B:-x}", "${B-x}", "${A:-x}", "${EMPTY:-d}", "${EMPTY-d}", "${A:+y}", "${B:+y}", "${B+$A}",
		"${B:-${A}}", "${B:-${C}}", "${A:-${C}}", "${A:+${C}}", "$$", "$$B", "$", "$1", "text", " ", "}", "{", ":", "${", "${1}", "${A", "${A!x}", "${A:}", "${}", "${B:-$C}",
	})
	env := environment{"A": "1", "EMPTY": ""}
	rapid.Check(t, func(r *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 1, 5).Draw(r, "pieces"), "")
		warnings.Reset()
		want, err := template.Substitute(text, env.lookup)
		warned := warnings.Len() > 0
		warnings.Reset()
		v := newVariables()
		got, _ := v.substitute(text, env.lookup)
		if warnings.Len() > 0 {
			r.Fatalf("%q: compose-go was made to warn: %s", text, warnings)
		}
		switch {
		case err != nil:
			if len(v.wanted) == 0 {
				r.Fatalf("%q: nothing reported, compose-go says %v", text, err)
			}
		case warned != (len(v.wanted) > 0):
			r.Fatalf("%q: reported %v, compose-go warned: %t", text, v.wanted, warned)
		case len(v.wanted) == 0 && got != want:
			r.Fatalf("%q: got %q, want %q", text, got, want)
		}
	})
}

// TestSilence makes sure that nothing reaches the process-wide logger, and
// that no goroutine stays behind.
func TestSilence(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	out := &bytes.Buffer{}
	logrus.SetOutput(out)
	t.Cleanup(func() { logrus.SetOutput(os.Stderr) })
	for _, name := range corpus(t) {
		loadCorpus(t, name)
	}
	dirs, err := filepath.Glob("testdata/invalid/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs {
		if _, err := Load(desired.ComposeInput{Tree: os.DirFS(dir), Dir: "inst", Name: "acme"}); err == nil {
			t.Errorf("%s loads", dir)
		}
	}
	if out.Len() > 0 {
		t.Errorf("logged: %s", out)
	}
}

func FuzzLoad(f *testing.F) {
	for _, name := range corpus(f) {
		data, err := os.ReadFile(filepath.Join("testdata/corpus", name, "compose.yaml"))
		if err != nil {
			f.Fatal(err)
		}
		env, err := os.ReadFile(filepath.Join("testdata/corpus", name, ".env"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			f.Fatal(err)
		}
		f.Add(data, env)
	}
	for _, s := range []string{
		"services:\n  a: &a\n    <<: *a\n", "a: &a [*a]\n", "services: !reset null\n", "include: [x.yaml]\nservices: {a: {image: x, extends: {file: x.yaml, service: a}}}\n",
		"? [a]\n: b\n", "services: {1: {image: a}}\n", "--- {}\n---\nservices: {a: {image: !override x}}\n", "services: {a: {image: x, volumes: [{}]}}\n",
		"services: {a: {image: x, ports: [{target: -1}], ulimits: {nofile: }, deploy: {resources: {limits: }}}}\n",
	} {
		f.Add([]byte(s), []byte("A=$B\n"))
	}
	logged := &bytes.Buffer{}
	logrus.SetOutput(logged)
	temp := f.TempDir()
	f.Setenv("TMPDIR", temp)
	f.Fuzz(func(t *testing.T, data, env []byte) {
		if len(data) > 16<<10 || len(env) > 4<<10 {
			return
		}
		repo := fstest.MapFS{
			"inst/compose.yaml": {Data: data}, "inst/.env": {Data: env}, "inst/x.yaml": {Data: []byte("services: {a: {image: y}}\n")},
		}
		in := desired.ComposeInput{Tree: repo, Dir: "inst", Name: "acme"}
		logged.Reset()
		p, err := Load(in)
		q, err2 := Load(in)
		if logged.Len() > 0 {
			t.Fatalf("logged: %s", logged)
		}
		if !reflect.DeepEqual(p, q) || (err == nil) != (err2 == nil) {
			t.Fatalf("two loads differ:\n%+v %v\n%+v %v", p, err, q, err2)
		}
		var ps desired.Problems
		if err != nil && !errors.As(err, &ps) {
			t.Fatalf("not a problem of the files: %v", err)
		}
		all := asJSON(t, p) + asJSON(t, ps)
		if strings.Contains(all, temp) || strings.Contains(all, "fairlead-compose-") || strings.Contains(all, virtualRoot) && !bytes.Contains(data, []byte(virtualRoot)) {
			t.Fatalf("the temporary directory shows: %s", all)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	for _, name := range []string{"agnes-like", "include-parts", "prometheus-grafana"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				loadCorpus(b, name)
			}
		})
	}
}
