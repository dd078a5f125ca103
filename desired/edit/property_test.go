package edit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// scribe writes YAML as people do: any style, comments anywhere.
type scribe struct {
	*rapid.T
	b    strings.Builder
	keys int
}

func (s *scribe) pick(label string, of ...string) string {
	return rapid.SampledFrom(of).Draw(s.T, label)
}

func (s *scribe) comment() string {
	return s.pick("comment", "", "", "  # why: [not] {this}", " # it's \"so\"", "   ")
}

func (s *scribe) between(pad string) {
	s.b.WriteString(s.pick("between", "", "", "", "\n", pad+"# a heading\n", "# at the left: x\n", "\n\n"+pad+"#\n"))
}

func (s *scribe) scalar(pad string) string {
	return s.pick("scalar", "1", "true", "plain words", "'it''s'", `"q: \"x\" # no"`, "${secret:TOKEN}", "", "~", "2026.10", "https://x/y#z", "a\n"+pad+"  b", "\"a\n"+pad+"  b\"") + s.comment() + "\n"
}

func (s *scribe) block(pad string) string {
	return s.pick("block", "|", ">-", "|+", "|2") + "\n" + pad + "  # no comment\n" + pad + "    more\n\n" + pad + "  end\n"
}

func (s *scribe) flow(depth int) string {
	var parts []string
	for range rapid.IntRange(0, 3).Draw(s.T, "n") {
		parts = append(parts, s.pick("in flow", "a", "'b, c'", `"]}"`, "1", "it's"))
	}
	if depth > 0 && rapid.Bool().Draw(s.T, "map") {
		s.keys++
		return fmt.Sprintf("{k%d: %s, other: [x]}", s.keys, s.flow(depth-1))
	}
	return "[" + strings.Join(parts, s.pick("comma", ", ", ",", " ,\n            ")) + s.pick("tail", "", ",", " ") + "]"
}

func (s *scribe) mapping(pad string, depth int) {
	if strings.HasSuffix(s.b.String(), "- ") {
		// the first key stands behind the dash
	} else {
		s.b.WriteString(pad)
	}
	for i := range rapid.IntRange(1, 4).Draw(s.T, "keys") {
		if i > 0 {
			s.between(pad)
			s.b.WriteString(pad)
		}
		s.keys++
		s.b.WriteString(fmt.Sprintf("key%d:", s.keys))
		s.value(pad, depth)
	}
}

func (s *scribe) value(pad string, depth int) {
	kind := rapid.IntRange(0, 7).Draw(s.T, "kind")
	if depth == 0 {
		kind %= 4
	}
	switch kind {
	case 0, 1:
		s.b.WriteString(" " + s.scalar(pad))
	case 2:
		s.b.WriteString(" " + s.block(pad))
	case 3:
		s.b.WriteString(" " + s.flow(2) + s.comment() + "\n")
	case 4, 5:
		s.b.WriteString(s.comment() + "\n")
		s.mapping(pad+s.pick("step", "  ", "    ", " "), depth-1)
	default:
		s.b.WriteString(s.comment() + "\n")
		s.list(pad+s.pick("dash", "", "  "), depth-1)
	}
}

func (s *scribe) list(pad string, depth int) {
	for range rapid.IntRange(1, 3).Draw(s.T, "items") {
		s.between(pad)
		s.b.WriteString(pad + "- ")
		if depth > 0 && rapid.Bool().Draw(s.T, "item map") {
			s.mapping(pad+"  ", depth-1)
		} else {
			s.b.WriteString(s.pick("item", "x", "'y'", "{a: 1}", "[1, 2]") + s.comment() + "\n")
		}
	}
}

func drawFile(r *rapid.T) string {
	s := &scribe{T: r}
	s.b.WriteString(s.pick("head", "", "# head\n", "---\n", "\n"))
	s.mapping("", 3)
	s.b.WriteString(s.pick("tail", "", "# tail\n", "\n# tail", "\n\n"))
	text := s.b.String()
	// Whether a line end comes behind a block of text is a part of the text.
	if rapid.Bool().Draw(r, "no newline") && !strings.HasSuffix(strings.TrimRight(text, "\n"), "  end") {
		text = strings.TrimRight(text, "\n")
	}
	if rapid.IntRange(0, 4).Draw(r, "crlf") == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	return text
}

// drawPath goes to any value of a file.
func drawPath(r *rapid.T, n *yaml.Node) (path Path) {
	for n != nil && len(n.Content) > 0 && (len(path) == 0 || rapid.IntRange(0, 3).Draw(r, "deeper") > 0) {
		if n.Kind == yaml.SequenceNode {
			i := rapid.IntRange(0, len(n.Content)-1).Draw(r, "index")
			path, n = append(path, i), n.Content[i]
			continue
		}
		i := rapid.IntRange(0, len(n.Content)/2-1).Draw(r, "entry")
		path, n = append(path, n.Content[2*i].Value), n.Content[2*i+1]
	}
	return path
}

func drawValue(r *rapid.T) any {
	return rapid.SampledFrom([]any{"text", "", "a: b # c", "yes", "${secret:X}", 7, true, nil, "l1\nl2\n", []any{}, Map{},
		Map{{"name", "n"}, {"list", []any{"a", Map{{"b", 1}}}}}, []any{"x", Map{{"y", "z"}, {"w", "v"}}}, []string{"a", "b"}}).Draw(r, "value")
}

// TestEditsTouchNothingElse makes edits of files in every style. change itself
// proves what the result says; here it has to be possible, and all other bytes
// have to stay.
func TestEditsTouchNothingElse(t *testing.T) {
	t.Parallel()
	done, refused := 0, 0
	rapid.Check(t, func(r *rapid.T) {
		text := drawFile(r)
		d, err := read([]byte(text))
		if err != nil {
			r.Skip("the scribe wrote what is no YAML")
		}
		path := drawPath(r, d.root)
		var out []byte
		what := rapid.SampledFrom([]string{"set", "new", "append", "delete"}).Draw(r, "what")
		switch what {
		case "set":
			out, err = Set([]byte(text), path, drawValue(r))
		case "new":
			path = append(path[:len(path)-1:len(path)-1], "added")
			if n, _, _ := d.find(path[:len(path)-1]); n == nil || n.Kind != yaml.MappingNode {
				return
			}
			out, err = Set([]byte(text), path, drawValue(r))
		case "append":
			if n, _, _ := d.find(path); n == nil || n.Kind != yaml.SequenceNode {
				return
			}
			out, err = Append([]byte(text), path, drawValue(r), "last")
		default:
			out, err = Delete([]byte(text), path)
		}
		if done++; err != nil && strings.Contains(text, "|+") {
			return // an empty line beside it may be a part of it
		}
		if err != nil {
			refused++
			r.Fatalf("%s %s of\n%s\n%v", what, path, text, err)
		}
		wantRest(r, what, path, text, string(out))
	})
	t.Logf("%d edits, %d refused", done, refused)
}

// movedComment is one behind [] that becomes a list: it keeps standing behind the
// key, and wantRest sees it as taken away and put there.
var movedComment = regexp.MustCompile(`#[^\n]*`)

// wantRest holds what is outside of the edit to be what it was.
func wantRest(r *rapid.T, what string, path Path, before, after string) {
	head := 0
	for head < min(len(before), len(after)) && before[head] == after[head] {
		head++
	}
	tail := 0
	for tail < min(len(before), len(after))-head && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	gone := before[head : len(before)-tail]
	if (what == "new" || what == "append") && strings.Trim(movedComment.ReplaceAllString(gone, ""), "[]{}~ \r\n") != "" {
		r.Fatalf("%s %s took %q away:\n%s\n---\n%s", what, path, gone, before, after)
	}
	if n := strings.Count(before, "# a heading") + strings.Count(before, "# head"); what != "delete" && what != "set" && strings.Count(after, "# a heading")+strings.Count(after, "# head") != n {
		r.Fatalf("%s %s lost a comment:\n%s\n---\n%s", what, path, before, after)
	}
	if strings.Contains(before, "\r\n") && strings.Contains(strings.ReplaceAll(after, "\r\n", ""), "\n") {
		r.Fatalf("%s %s mixed the ends of lines: %q", what, path, after)
	}
	if before != "" && strings.HasSuffix(before, "\n") != strings.HasSuffix(after, "\n") && what != "delete" {
		r.Fatalf("%s %s changed the end of the file: %q to %q", what, path, before, after)
	}
}

// TestSetAndBack finds a file as it was when a key is added and taken away.
func TestSetAndBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		text := drawFile(r)
		if _, err := read([]byte(text)); err != nil {
			r.Skip("the scribe wrote what is no YAML")
		}
		out, err := Set([]byte(text), Path{"added"}, drawValue(r))
		if err != nil {
			r.Fatalf("%v of\n%s", err, text)
		}
		back, err := Delete(out, Path{"added"})
		if err != nil || string(back) != text {
			r.Fatalf("%v:\n%q\nbecame\n%q\nand\n%q", err, text, out, back)
		}
	})
}

// TestExamplesTakeEdits edits every YAML file of the examples.
func TestExamplesTakeEdits(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("../../examples", func(name string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".yaml") {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		d, err := read(text)
		if errors.Is(err, ErrShape) || err == nil && (d.root == nil || d.root.Kind != yaml.MappingNode || len(d.root.Content) == 0) {
			return nil // one that is wrong on purpose
		}
		if err != nil {
			return err
		}
		seen++
		for i := 0; i < len(d.root.Content); i += 2 {
			key := d.root.Content[i].Value
			if d.root.Content[i+1].Anchor != "" {
				continue // it is used elsewhere
			}
			if out, err := Set(text, Path{key}, "x"); err != nil || bytes.Count(out, []byte("\n")) > bytes.Count(text, []byte("\n")) {
				t.Errorf("%s: set %s: %v", name, key, err)
			}
			if _, err := Delete(text, Path{key}); err != nil {
				t.Errorf("%s: delete %s: %v", name, key, err)
			}
		}
		if out, err := Set(text, Path{"brandNew"}, Map{{"a", 1}}); err != nil || len(out) != len(text)+len("brandNew:\n  a: 1\n") && !bytes.Contains(out, []byte("    a: 1")) {
			t.Errorf("%s: add a key: %v", name, err)
		}
		return nil
	})
	if err != nil || seen < 20 {
		t.Fatalf("%d files: %v", seen, err)
	}
}

// FuzzEdit holds for whatever is given: no panic, and what comes out says what
// it is to.
func FuzzEdit(f *testing.F) {
	for _, seed := range []string{connector, "a: 1", "- a\n- b: {c: [d]}\n", "a: &x [1]\nb: *x\n", "? a\n: b\n", "a: |2\n   x\n", "{a: b}", "a:\r\n- b\r\n", "--- !t\na: !u b\n...\n", "a: \"\\\n  x\"\n"} {
		f.Add([]byte(seed), "a", uint8(0))
		f.Add([]byte(seed), "tables", uint8(1))
	}
	f.Fuzz(func(t *testing.T, file []byte, key string, index uint8) {
		for _, path := range []Path{{key}, {key, int(index)}, {int(index), key}, {key, key}} {
			for _, edit := range []func() ([]byte, error){
				func() ([]byte, error) { return Set(file, path, "v: #") },
				func() ([]byte, error) { return Append(file, path, Map{{"k", 1}}) },
				func() ([]byte, error) { return Delete(file, path) },
			} {
				if out, err := edit(); err == nil {
					if _, err := read(out); err != nil {
						t.Errorf("%q became %q: %v", file, out, err)
					}
				}
			}
		}
	})
}
