package files

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/connectors"
)

func lines(text string, f format, r reading) (string, came, error) {
	var out bytes.Buffer
	got, err := r.json(bufio.NewReaderSize(strings.NewReader(text), max(16, len(text)/1000)), f, &out)
	return out.String(), got, err
}

func TestJSONBecomesLines(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		f              format
		columns        []string
	}{
		{"array", "[ {\"a\": 1} ,\n{\"b\":[1,{\"x\":2}]}\n]\n", "{\"a\": 1}\n{\"b\":[1,{\"x\":2}]}\n", formatJSON, nil},
		{"empty array", "[]", "", formatJSON, nil},
		{"nothing", " \n", "", formatJSON, nil},
		{"one object of lines", "{\n  \"a\": \"x\\ny\",\n  \"b\": {}\n}", "{\"a\":\"x\\ny\",\"b\":{}}\n", formatJSON, nil},
		{"objects one after the other", "{\"a\":1}{\"a\":2} {\"a\":3}", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n", formatJSON, nil},
		{"lines", "{\"a\":1}\r\n\n{\"a\":\"}\\\"{\"}", "{\"a\":1}\n{\"a\":\"}\\\"{\"}\n", formatNDJSON, nil},
		{"an array that is called lines", "\xef\xbb\xbf[{\"a\":1}]", "{\"a\":1}\n", formatNDJSON, nil},
		{"columns", "[{\"a\":1,\"b\":{\"a\":2},\"c\":\"x,\"},{\"c\":null}]", "{\"b\":{\"a\":2},\"c\":\"x,\"}\n{\"c\":null}\n", formatJSON, []string{"c", "b"}},
	} {
		got, came, err := lines(c.in, c.f, reading{columns: c.columns})
		if err != nil || got != c.want || came.rows != int64(strings.Count(c.want, "\n")) {
			t.Errorf("%s: %q, %+v, %v", c.name, got, came, err)
		}
	}
}

func TestWrongJSONIsSaidWithItsLine(t *testing.T) {
	deep := "{\"a\":" + strings.Repeat("[", 200) + strings.Repeat("]", 200) + "}"
	wide := "{"
	for i := range maxColumns + 1 {
		wide += fmt.Sprintf("\"k%d\":1,", i)
	}
	wide = strings.TrimSuffix(wide, ",") + "}"
	for _, c := range []struct {
		name, in, want string
		f              format
		skips          bool // the row can be left out
	}{
		{"cut array", "[{\"a\":1},\n", "line 2: the array is not closed", formatJSON, false},
		{"cut object", "[{\"a\":1},\n{\"a\":", "line 2: an object is not closed", formatJSON, false},
		{"comma", "[{} {}]", "line 1: a comma is missing", formatJSON, false},
		{"scalar", "[{},\n1]", "line 2: a value is no object", formatJSON, false},
		{"text after", "[{}]\n{}", "line 2: something follows", formatJSON, false},
		{"a broken line", "{\"a\":1}\n{\"a\":}\n{\"a\":3}\n", "line 2: it is not JSON", formatNDJSON, true},
		{"a broken object", "[{\"a\":1},{\"a\" 2},\n{\"a\":3}]", "line 1: it is not JSON", formatJSON, true},
		{"a line of another kind", "{\"a\":1}\n17\n{}\n", "line 2: it is no object", formatNDJSON, true},
		{"bytes", "{\"a\":1}\n{\"a\":\"\xff\"}\n{}\n", "line 2: a byte is not UTF-8", formatNDJSON, true},
		{"twice", "{\"a\":1}\n{\"a\":2,\"b\":1,\"a\":3}\n{}\n", "line 2: the name a is there twice", formatNDJSON, true},
		{"deep", "{}\n" + deep + "\n{}\n", "line 2: it is nested deeper than 128", formatNDJSON, true},
		{"wide", wide, "line 1: more than 10000 columns", formatNDJSON, false},
		{"long", "{\"a\":\"" + strings.Repeat("x", maxRow+1), "line 1: a line has more than", formatNDJSON, false},
		{"long object", "[{\"a\":\"" + strings.Repeat("x", maxRow+1), "line 1: an object has more than", formatJSON, false},
	} {
		if _, _, err := lines(c.in, c.f, reading{}); err == nil || !strings.HasPrefix(err.Error(), c.want) || connectors.Hint(err) == "" {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
		_, got, err := lines(c.in, c.f, reading{options: options{skipBad: true}})
		if (err == nil) != c.skips || c.skips && (got.bad != 1 || got.rows != 2) {
			t.Errorf("%s, left out: %+v, %v", c.name, got, err)
		}
	}
}

// TestAnyObjectsStayWhatTheyWere, whichever way they are written down.
func TestAnyObjectsStayWhatTheyWere(t *testing.T) {
	key := rapid.StringOfN(rapid.RuneFrom([]rune("ab\"\\{}[]:, \nž")), 1, 4, -1)
	rapid.Check(t, func(rt *rapid.T) {
		objects := rapid.SliceOfN(rapid.MapOfN(key, rapid.OneOf(rapid.StringOf(rapid.RuneFrom([]rune("a\"\\{}[],:\n"))).AsAny(), rapid.Int32().AsAny(),
			rapid.MapOfN(key, rapid.Bool(), 0, 2).AsAny(), rapid.SliceOfN(key, 0, 3).AsAny()), 0, 4), 0, 5).Draw(rt, "objects")
		var text []byte
		f := formatJSON
		switch rapid.IntRange(0, 2).Draw(rt, "form") {
		case 0:
			text, _ = json.Marshal(objects)
		case 1:
			text, _ = json.MarshalIndent(objects, " ", "\t")
		case 2:
			f = formatNDJSON
			for _, o := range objects {
				line, _ := json.Marshal(o)
				text = append(append(text, line...), '\n')
			}
		}
		out, got, err := lines(string(text), f, reading{})
		if err != nil || got.rows != int64(len(objects)) || strings.Count(out, "\n") != len(objects) {
			rt.Fatalf("%q: %q, %+v, %v", text, out, got, err)
		}
		names := map[string]bool{}
		for i, line := range strings.Split(strings.TrimSuffix(out, "\n"), "\n") {
			if len(objects) == 0 {
				break
			}
			var now, was map[string]any
			plain, _ := json.Marshal(objects[i])
			if json.Unmarshal([]byte(line), &now) != nil || json.Unmarshal(plain, &was) != nil || !reflect.DeepEqual(now, was) {
				rt.Fatalf("%q is not %q", line, plain)
			}
			for k := range was {
				names[k] = true
			}
		}
		for _, c := range got.columns {
			delete(names, c)
		}
		if len(names) > 0 {
			rt.Fatalf("columns %q lack %v", got.columns, names)
		}
	})
}

// FuzzJSON: what is written are lines of valid objects, as many as are said.
func FuzzJSON(f *testing.F) {
	for _, seed := range []string{`[{"a":1},{"b":[]}]`, "{\"a\":1}\n{\"a\":2}", `[{"a":"\\"}]`, `{"\u0061":1,"a":2}`, "[", `{"a":{"b":{}}}x`, "\xef\xbb\xbf[]"} {
		f.Add([]byte(seed), true, false)
		f.Add([]byte(seed), false, true)
	}
	f.Fuzz(func(t *testing.T, in []byte, ndjson, skip bool) {
		format := formatJSON
		if ndjson {
			format = formatNDJSON
		}
		out, got, err := lines(string(in), format, reading{options: options{skipBad: skip}})
		if err != nil {
			return
		}
		if int64(strings.Count(out, "\n")) != got.rows {
			t.Fatalf("%d rows, %q", got.rows, out)
		}
		for line := range strings.Lines(out) {
			if !json.Valid([]byte(line)) || line[0] != '{' {
				t.Fatalf("%q is no object", line)
			}
		}
	})
}

func TestGlobs(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"data/2026-*/orders-*.csv", "data/2026-01/orders-1.csv", true}, {"data/2026-*/orders-*.csv", "data/2026-01/x/orders-1.csv", false},
		{"**/*.csv", "a.csv", true}, {"**/*.csv", "x/y/a.csv", true}, {"data/**", "data/a/b", true}, {"data/**", "other/a", false}, {"a/**/b", "a/b", true}, {"a/**/b", "a/x/y/b", true},
		{"*.csv", ".csv", false}, {"*", ".hidden", false}, {".*", ".hidden", true}, {"**/*", ".git/config", false}, {"**/.git/*", "x/.git/config", true},
		{"o?.csv", "o1.csv", true}, {"o[12].csv", "o3.csv", false}, {`a\*b`, "a*b", true}, {`a\*b`, "axb", false}, {"plain.csv", "plain.csv", true},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("%s of %s: %t", c.name, c.pattern, got)
		}
	}
	for _, p := range []string{"[a", `a*\`, "a**/b", strings.Repeat("*a", 40)} {
		if checkGlob(p) == nil {
			t.Errorf("%s is taken", p)
		}
	}
	for _, name := range []string{`a*b[c]?\d`, "plain", `\`} {
		if p := exactly(name); !match(p, name) || match(p, name+"x") {
			t.Errorf("%s does not match just %s", p, name)
		}
	}
}

// FuzzGlob: what matches begins with the prefix that is listed, and a name
// matches the pattern of just it.
func FuzzGlob(f *testing.F) {
	f.Add("data/**/*.csv", "data/a/b.csv")
	f.Add("a[b-", "ab")
	f.Add("**/**/**/x", "a/b/c/x")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > 200 || len(name) > 200 || checkGlob(pattern) != nil {
			return
		}
		if match(pattern, name) && !strings.HasPrefix(name, prefix(pattern)) {
			t.Errorf("%q matches %q and is not listed", name, pattern)
		}
		if !strings.HasPrefix(name, ".") && !strings.Contains(name, "/.") && checkGlob(exactly(name)) == nil && !match(exactly(name), name) {
			t.Errorf("%q does not match itself", name)
		}
	})
}

// parquetFooter is metadata as parquet.thrift has it: a root with a, b{x} and c.
func parquetFooter() []byte {
	element := func(name string, children byte) []byte {
		out := append([]byte{0x48, byte(len(name))}, name...) // 4: binary
		if children > 0 {
			out = append(out, 0x15, children*2) // 5: i32
		}
		return append(out, 0)
	}
	out := []byte{0x15, 2, 0x19, 0x5c} // 1: version 1; 2: five structs
	for _, e := range [][]byte{element("schema", 3), element("a", 0), element("b", 1), element("x", 0), element("c", 0)} {
		out = append(out, e...)
	}
	return append(out, 0x16, 84, 0x19, 0x0c, 0) // 3: 42 rows; 4: no row groups
}

func TestParquetTellsColumnsAndRows(t *testing.T) {
	columns, rows, err := parseFooter(parquetFooter())
	if err != nil || rows != 42 || strings.Join(columns, " ") != "a b c" {
		t.Errorf("%q, %d, %v", columns, rows, err)
	}
	for i := range parquetFooter() {
		if _, _, err := parseFooter(parquetFooter()[:i]); err == nil && i < len(parquetFooter())-4 {
			t.Errorf("%d bytes of it are taken", i)
		}
	}
}

func FuzzParquetFooter(f *testing.F) {
	f.Add(parquetFooter())
	f.Add([]byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add(bytes.Repeat([]byte{0x1c}, 200))
	f.Fuzz(func(t *testing.T, data []byte) {
		if columns, rows, err := parseFooter(data); err == nil && (rows < 0 || len(columns) > len(data)) {
			t.Errorf("%q, %d", columns, rows)
		}
	})
}

func BenchmarkJSON(b *testing.B) {
	row := `{"id":1234567,"amount":19.90,"note":"a note of some words and \"quotes\"","tags":["a","b"]}`
	for name, c := range map[string]struct {
		text string
		f    format
	}{"lines": {strings.Repeat(row+"\n", 50_000), formatNDJSON}, "array": {"[" + strings.Repeat(row+",\n", 49_999) + row + "]", formatJSON}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(c.text)))
			for b.Loop() {
				got, err := reading{}.json(bufio.NewReaderSize(strings.NewReader(c.text), buffer), c.f, io.Discard)
				if err != nil || got.rows != 50_000 {
					b.Fatal(got, err)
				}
			}
		})
	}
}
