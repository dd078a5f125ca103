package edit

import (
	"errors"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const connector = `# Sales, as accounting wants them.
description: "orders" # quoted on purpose
schedule: daily 07:00,13:00   # Prague
timezone: Europe/Prague

keboola:
    url: https://connection.keboola.com
    token: ${secret:KEBOOLA_STORAGE_TOKEN}   # rotated in May

# What is wanted.
tables:
    # the big one
    - name: orders
      id: in.c-shop.orders
      columns: [id, 'total', "note",   ] # not the rest
      where: >-
        status = 'paid'
          and total > 0

    - {name: customers, id: in.c-shop.customers}
    # more to come
# the end
`

func TestEdits(t *testing.T) {
	set := func(path Path, value any) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return Set(b, path, value) }
	}
	del := func(path ...any) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return Delete(b, path) }
	}
	add := func(path Path, values ...any) func([]byte) ([]byte, error) {
		return func(b []byte) ([]byte, error) { return Append(b, path, values...) }
	}
	replaced := func(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }
	table := Map{{"name", "items"}, {"id", "in.c-shop.items"}, {"columns", []string{"a", "b, c"}}}
	for name, c := range map[string]struct {
		in   string
		edit func([]byte) ([]byte, error)
		want string
	}{
		"scalar with comment": {connector, set(Path{"schedule"}, "every 15m"), replaced(connector, "daily 07:00,13:00 ", "every 15m ")},
		"quoted scalar":       {connector, set(Path{"description"}, "a: b"), replaced(connector, `"orders"`, `"a: b"`)},
		"nested":              {connector, set(Path{"keboola", "token"}, "${secret:NEW}"), replaced(connector, "KEBOOLA_STORAGE_TOKEN", "NEW")},
		"in flow":             {connector, set(Path{"tables", 1, "name"}, "${x}, y"), replaced(connector, "{name: customers", `{name: "${x}, y"`)},
		"folded text":         {connector, set(Path{"tables", 0, "where"}, "x = 1"), replaced(connector, ">-\n        status = 'paid'\n          and total > 0", "x = 1")},
		"new key at the end":  {connector, set(Path{"owner"}, "sales"), replaced(connector, "in.c-shop.customers}\n", "in.c-shop.customers}\nowner: sales\n")},
		"new key in the middle": {connector, set(Path{"tables", 0, "owner"}, "o"),
			replaced(connector, "and total > 0\n", "and total > 0\n      owner: o\n")},
		"new key in flow":  {connector, set(Path{"tables", 1, "owner"}, "o"), replaced(connector, "in.c-shop.customers}", "in.c-shop.customers, owner: o}")},
		"append to block":  {connector, add(Path{"tables"}, table), replaced(connector, "in.c-shop.customers}\n", "in.c-shop.customers}\n    - name: items\n      id: in.c-shop.items\n      columns: [a, \"b, c\"]\n")},
		"append to flow":   {connector, add(Path{"tables", 0, "columns"}, "x"), replaced(connector, `"note",   ]`, `"note", x   ]`)},
		"delete item":      {connector, del("tables", 1), replaced(connector, "    - {name: customers, id: in.c-shop.customers}\n", "")},
		"delete first key": {connector, del("tables", 0, "name"), replaced(connector, "- name: orders\n      id", "- id")},
		"delete text":      {connector, del("tables", 0, "where"), replaced(connector, "      where: >-\n        status = 'paid'\n          and total > 0\n", "")},
		"delete mapping":   {connector, del("keboola"), replaced(connector, "keboola:\n    url: https://connection.keboola.com\n    token: ${secret:KEBOOLA_STORAGE_TOKEN}   # rotated in May\n", "")},
		"delete in flow":   {connector, del("tables", 1, "id"), replaced(connector, "{name: customers, id: in.c-shop.customers}", "{name: customers}")},
		"replace mapping": {connector, set(Path{"keboola"}, Map{{"url", "https://x"}}),
			replaced(connector, "    url: https://connection.keboola.com\n    token: ${secret:KEBOOLA_STORAGE_TOKEN}   # rotated in May", "    url: https://x   # rotated in May", "   # rotated in May", "   # rotated in May")},
		"replace list":          {connector, set(Path{"tables", 0, "columns"}, []string{"a"}), replaced(connector, "[id, 'total', \"note\",   ]", "[a]")},
		"empty file":            {"", set(Path{"a", "b"}, 1), "a:\n  b: 1\n"},
		"only comments":         {"# nothing yet", set(Path{"a"}, "b"), "# nothing yet\na: b\n"},
		"document mark":         {"--- # here\n", set(Path{"a"}, "b"), "--- # here\na: b\n"},
		"end mark":              {"a: 1\n...\n# after\n", set(Path{"b"}, 2), "a: 1\nb: 2\n...\n# after\n"},
		"no newline":            {"a: 1", set(Path{"b"}, "2"), "a: 1\nb: \"2\""},
		"no newline, set":       {"a: 1 # x", set(Path{"a"}, true), "a: true # x"},
		"no newline, delete":    {"a: 1\nb: 2", del("b"), "a: 1"},
		"crlf":                  {"a: 1\r\nl:\r\n  - x\r\n", add(Path{"l"}, Map{{"w", 1}, {"z", 2}}), "a: 1\r\nl:\r\n  - x\r\n  - w: 1\r\n    z: 2\r\n"},
		"crlf, set":             {"a: one two  \r\nb: 2\r\n", set(Path{"a"}, "x"), "a: x  \r\nb: 2\r\n"},
		"tabs in comments":      {"a:\t1\t# \tone\nb: 2\n", set(Path{"a"}, 3), "a:\t3\t# \tone\nb: 2\n"},
		"byte order mark":       {"\ufeffa: 1\n", set(Path{"a"}, 2), "\ufeffa: 2\n"},
		"anchor kept":           {"a: &x 1\nb: 2\n", set(Path{"a"}, 3), "a: &x 3\nb: 2\n"},
		"beside an alias":       {"x: &x {a: 1}\ny:\n  <<: *x\n  b: 2\n", set(Path{"y", "b"}, 3), "x: &x {a: 1}\ny:\n  <<: *x\n  b: 3\n"},
		"replace an alias":      {"x: &x 1\ny: *x # same\n", set(Path{"y"}, 2), "x: &x 1\ny: 2 # same\n"},
		"null":                  {"a:\nb:   # later\n", set(Path{"b"}, "x"), "a:\nb: x   # later\n"},
		"null becomes mapping":  {"release: # of the app\nb: 1\n", set(Path{"release", "channel"}, "stable"), "release: # of the app\n  channel: stable\nb: 1\n"},
		"empty list":            {"keboola: {url: u}\ntables: [] # none yet\n", add(Path{"tables"}, Map{{"name", "a"}}, Map{{"name", "b"}}), "keboola: {url: u}\ntables: # none yet\n  - name: a\n  - name: b\n"},
		"empty mapping":         {"a: {}\n", set(Path{"a", "b"}, "c"), "a:\n  b: c\n"},
		"missing list":          {"a: 1\n", add(Path{"l"}, "x", "y"), "a: 1\nl:\n  - x\n  - \"y\"\n"},
		"indentless list":       {"l:\n- a\n- b\nm: 1\n", add(Path{"l"}, "c"), "l:\n- a\n- b\n- c\nm: 1\n"},
		"like its neighbours":   {"l:\n- a\nm: 1\n", add(Path{"k"}, "c"), "l:\n- a\nm: 1\nk:\n- c\n"},
		"last one goes":         {"l:\n  - a # x\nm: 1\n", del("l", 0), "l: [] # x\nm: 1\n"},
		"last key goes":         {"l: {a: 1}\nm: 1\n", del("l", "a"), "l: {}\nm: 1\n"},
		"long text":             {"a: " + strings.Repeat("word ", 50) + "end\nb: 1\n", set(Path{"b"}, 2), "a: " + strings.Repeat("word ", 50) + "end\nb: 2\n"},
		"text over lines":       {"a: one\n  two\n\n  three # c\nb: 1\n", set(Path{"a"}, "x"), "a: x # c\nb: 1\n"},
		"literal with hash":     {"a: |\n  # no comment\n  x\n\n# comment\nb: 1\n", set(Path{"c"}, 1), "a: |\n  # no comment\n  x\n\n# comment\nb: 1\nc: 1\n"},
		"literal at the end":    {"a: |\n  x\n\n# comment\n", set(Path{"b"}, 1), "a: |\n  x\nb: 1\n\n# comment\n"},
		"kept newlines":         {"a: |+\n  x\n\n\n", set(Path{"b"}, 1), "a: |+\n  x\n\n\nb: 1\n"},
		"flow over lines":       {"a: {b: 1, # one\n  c: 2 # two\n}\nd: 3\n", set(Path{"a", "e"}, 4), "a: {b: 1, # one\n  c: 2, e: 4 # two\n}\nd: 3\n"},
		"flow at column 0":      {"a: [\n1,\n2\n]\nb: 1\n", add(Path{"a"}, 3), "a: [\n1,\n2, 3\n]\nb: 1\n"},
		"quotes with brackets":  {"a: {b: \"}\", c: '],''x', d: it's}\n", set(Path{"a", "e"}, 1), "a: {b: \"}\", c: '],''x', d: it's, e: 1}\n"},
		"several lines of text": {"a: 1\n", set(Path{"q"}, "SELECT 1\nFROM x\n"), "a: 1\nq: |\n  SELECT 1\n  FROM x\n"},
		"list of lists":         {"- - a\n  - b\n- c\n", add(Path{0}, "x"), "- - a\n  - b\n  - x\n- c\n"},
		"unicode":               {"á: ř # ž\nb: 1\n", set(Path{"á"}, "č"), "á: č # ž\nb: 1\n"},
		"root list":             {"- a\n", add(Path{}, "b"), "- a\n- b\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.edit([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("got\n%q\nwant\n%q", got, c.want)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		path Path
		want string
	}{
		"two documents":    {"a: 1\n---\nb: 1\n", Path{"a"}, "more than one document"},
		"not YAML":         {"a: [\n", Path{"a"}, "not YAML"},
		"odd line ends":    {"a: 1\rb: 2\r", Path{"a"}, "line ends"},
		"not UTF-8":        {"a: \xff\n", Path{"a"}, "UTF-8"},
		"through an alias": {"x: &x {a: 1}\ny: *x\n", Path{"y", "a"}, "alias"},
		"used elsewhere":   {"x: &x\n  a: 1\ny: *x\n", Path{"x", "a"}, "something else"},
		"a text":           {"a: 1\n", Path{"a", "b"}, "no mapping"},
		"no list":          {"a: {}\n", Path{"a", 0}, "no list"},
		"beyond the list":  {"a: [1]\n", Path{"a", 1}, "nothing"},
		"twice":            {"a: 1\na: 2\n", Path{"b"}, ""},
		"too large":        {"a: " + strings.Repeat("x", MaxFile) + "\n", Path{"a"}, "larger"},
	} {
		got, err := Set([]byte(c.in), c.path, 5)
		if name == "twice" { // the reader of YAML nodes lets it through, and so does an edit elsewhere
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := Delete([]byte("a: 1\n"), Path{"b"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete of nothing: %v", err)
	}
}

func TestRenderReadsBack(t *testing.T) {
	in := `{"description":"Sales, \"all\"","schedule":"daily 07:00","n":1.50,"big":12345678901234567890,"none":null,"yes":"yes","date":"2026-01-01","v":"2026.10",
		"keboola":{"url":"https://c.keboola.com","token":"${secret:T}"},"query":"SELECT 1\nFROM t","odd":"a\u0001\u0085\u2028 \\","tables":[{"name":"a","columns":["x",""]},{"name":"b"}],"e":[],"m":{}}`
	v, err := FromJSON([]byte(in))
	if err != nil {
		t.Fatal(err)
	}
	out, err := Render(v)
	if err != nil {
		t.Fatal(err)
	}
	var got, want any
	if err := yaml.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(in, "\t", "")), &want); err != nil {
		t.Fatal(err)
	}
	a, _ := yaml.Marshal(got)
	b, _ := yaml.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("got\n%s\nwant\n%s\nfrom\n%s", a, b, out)
	}
	if !strings.HasPrefix(string(out), "description: \"Sales, \\\"all\\\"\"\nschedule: daily 07:00\n") || !strings.Contains(string(out), "  token: ${secret:T}\n") {
		t.Errorf("it is written\n%s", out)
	}
	for _, bad := range []string{`{"a":1,"a":2}`, `{"a":1} x`, `[`, strings.Repeat("[", 100)} {
		if _, err := FromJSON([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
