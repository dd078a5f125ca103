package program

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/reconciler"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]os.FileMode
		run   []string
		want  string
		err   string
	}{
		{"python", map[string]os.FileMode{"extractor.py": 0o644, "lib.py": 0o644}, nil, "python3 extractor.py", ""},
		{"shell", map[string]os.FileMode{"extractor.sh": 0o644}, nil, "sh extractor.sh", ""},
		{"executable", map[string]os.FileMode{"extractor": 0o755}, nil, "./extractor", ""},
		{"script", map[string]os.FileMode{"extractor.rb": 0o755}, nil, "./extractor.rb", ""},
		{"said", map[string]os.FileMode{"extractor.py": 0o644}, []string{"node", "x.js"}, "node x.js", ""},
		{"none", map[string]os.FileMode{"main.py": 0o644, "extractors.py": 0o644}, nil, "", "no file extractor.*"},
		{"two", map[string]os.FileMode{"extractor.py": 0o644, "extractor.sh": 0o644}, nil, "", "any of extractor.py, extractor.sh"},
		{"not executable", map[string]os.FileMode{"extractor.bin": 0o644}, nil, "", "extractor.bin is not executable"},
	} {
		dir := t.TempDir()
		for name, mode := range c.files {
			if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		got, err := command(dir, c.run)
		if strings.Join(got, " ") != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		if err != nil && !reconciler.IsTerminal(err) {
			t.Errorf("%s: it is tried again", c.name)
		}
	}
}

func TestTableOf(t *testing.T) {
	for name, want := range map[string]string{
		"orders.csv": "orders", "orders.csv.gz": "orders", "orders.NDJSON": "orders", "orders.jsonl.gz": "orders", "a.b.parquet": "a.b",
		"_meta.json": "", "_state.json": "", ".hidden.csv": "", "notes.txt": "", "orders": "", "extract.duckdb": "", "orders.gz": "",
	} {
		if got := tableOf(name, false); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if tableOf("orders", true) != "orders" {
		t.Error("a directory is no table")
	}
}

func TestNamesFiles(t *testing.T) {
	for text, want := range map[string]bool{
		"requests==2.32.5\n": false, "# -r other.txt": false, "a @ https://example.com/a-1.0.zip": false, "": false,
		"-r other.txt": true, "a\n  --find-links vendor": true, "./vendor/a.whl": true, "vendor/a": true, "a.whl": true, "a @ file:///x": true,
	} {
		if got := namesFiles([]byte(text)); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// Packages are others when the interpreter, the file, or a file that it names is.
func TestPackagesKey(t *testing.T) {
	dir := t.TempDir()
	wheel := filepath.Join(dir, "a.whl")
	key := func(interpreter, content string) string {
		t.Helper()
		k, err := packagesKey(dir, interpreter, []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	var seen []string
	for _, w := range []string{"one", "two"} {
		if err := os.WriteFile(wheel, []byte(w), 0o644); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{key("x", "a"), key("y", "a"), key("x", "b"), key("x", "./a.whl")} {
			if !slices.Contains(seen, k) {
				seen = append(seen, k)
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d keys: %v", len(seen), seen)
	}
}

func TestHideValues(t *testing.T) {
	got := hideValues("no https://me:hush-hush@index/ in eu", map[string]string{"PIP_INDEX_URL": "hush-hush", "SHORT": "eu"})
	if got != "no https://me:(sensitive)@index/ in eu" {
		t.Error(got)
	}
}

// Whatever is written passes as it is, and a last line is one, short and harmless.
func FuzzLastLine(f *testing.F) {
	f.Add([]byte("a\nERROR: b\nc\n"), 3)
	f.Add([]byte("\x1b[31mred\r\n\xff\n\n"), 1)
	f.Add(bytes.Repeat([]byte("long"), 1000), 7)
	f.Fuzz(func(t *testing.T, data []byte, piece int) {
		var to bytes.Buffer
		l := &lastLine{to: &to, wanted: "ERROR"}
		piece = max(piece%64, 1)
		for rest := data; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			if n, err := l.Write(rest[:min(piece, len(rest))]); err != nil || n != min(piece, len(rest)) {
				t.Fatal(n, err)
			}
		}
		if !bytes.Equal(to.Bytes(), data) {
			t.Error("something was changed")
		}
		if text := l.text(); len(text) > 3*maxLine || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			t.Errorf("%q", text)
		}
	})
}
