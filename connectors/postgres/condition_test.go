package postgres

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestConditionsStayBetweenTheirParentheses(t *testing.T) {
	for text, good := range map[string]bool{
		"a > 1": true, "a IN (1, 2) AND (b = ')' OR c = ';')": true, `"odd;)" = 1`: true, `a = E'it\'s )'`: true, `a = e'\\'`: true, "a[1] = 2": true,
		"note = 'it''s --'": true, `"a""b)" > 1`: true, "type'x' = a": true, `a = 'back\' AND b = ')'`: true,
		"": false, "  ": false, "a > 1;": false, "a) OR (b": false, "(a": false, "a'": false, `"a`: false, "a -- b": false, "a /* b */": false,
		"a = $$x$$": false, `a = E'x\'`: false, "a]": false, "a\x00": false, `a = type'x\' OR b = ')'`: true, `a = type'x\'')`: false,
	} {
		if err := checkCondition(text); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestTheServerAgreesWhatOneConditionIs: around what passes a row constructor
// parses, and with a parenthesis less it does not.
func TestTheServerAgreesWhatOneConditionIs(t *testing.T) {
	conn, err := running(t).admin("postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer leave(conn)
	piece := rapid.SampledFrom([]string{"1", " ", "'", "''", `"`, `\`, "e", "E'", "x'", "U&'", "(", ")", "[", "]", "=", ",", "a", "-", "--", "/*", "*/", "$", "$$", ";", "\n", "true", " OR ", "ARRAY", "é"})
	rapid.Check(t, func(t *rapid.T) {
		for range 40 {
			text := strings.Join(rapid.SliceOfN(piece, 1, 9).Draw(t, "text"), "")
			if checkCondition(text) != nil {
				continue
			}
			if _, err := conn.Prepare(t.Context(), "", "SELECT ROW(\n"+text+"\n)", nil); err != nil {
				continue
			}
			if _, err := conn.Prepare(t.Context(), "", "SELECT ROW(\n"+text+"\n", nil); err == nil {
				t.Fatalf("%q closes what it did not open", text)
			}
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, seed := range []string{"a > 1", "note = 'it''s'", `E'\''`, `"a"`, "1) OR (1", "e'\\'", "xe'\\'", "U&'\\'", "$1", "x'1'"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if checkCondition(text) != nil {
			return
		}
		if err := checkCondition("(\n" + text + "\n) AND (\n" + text + "\n)"); err != nil {
			t.Errorf("%q passes, and not between parentheses: %v", text, err)
		}
		for _, more := range []string{"\n)", "\n(", "\n'", "\n;", "\n--"} {
			if checkCondition(text+more) == nil {
				t.Errorf("%q hides what stands behind it: %q", text, more)
			}
		}
	})
}

func FuzzID(f *testing.F) {
	for _, seed := range []string{"a", "a.b", `"a.b".c`, `"a""b"`, `"`, ".", "a.b.c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		schema, name, err := parseID(id)
		if err != nil || schema == "" {
			return
		}
		again, same, err := parseID((table{Schema: schema, Name: name}).id())
		if err != nil || again != schema || same != name {
			t.Errorf("%q is %q and %q, then %q and %q, %v", id, schema, name, again, same, err)
		}
	})
}
